//! The behaviours, a file for each part of the switch.

mod boot;
mod changes;
mod console;
mod containers;
mod control_plane;
mod first_boot;
mod frames;
mod kernel_dump;
mod kills;
mod measured;
mod mistakes;
mod netdevsim;
pub mod numbered;
mod objects;
mod resilience;
mod rocker;
mod routing;

use crate::runner::Scenario;

/// All behaviours. On each machine they run in this order.
pub fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(boot::SCENARIOS);
    all.extend(frames::SCENARIOS);
    all.extend(routing::SCENARIOS);
    all.extend(objects::SCENARIOS);
    all.extend(changes::SCENARIOS);
    all.extend(mistakes::SCENARIOS);
    all.extend(control_plane::SCENARIOS);
    all.extend(resilience::SCENARIOS);
    all.extend(kills::SCENARIOS);
    all.extend(console::SCENARIOS);
    all.extend(containers::SCENARIOS);
    all.extend(rocker::SCENARIOS);
    all.extend(netdevsim::SCENARIOS);
    all.extend(first_boot::SCENARIOS);
    all.extend(measured::SCENARIOS);
    all
}
