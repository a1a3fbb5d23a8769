//! Measurements of netd in the booted image: at rest, in bulk, and when links go down. They run by
//! `cargo os bench netd` alone.

mod bulk;
mod pulls;
mod rest;

use crate::lab::Topology;
use crate::runner::Scenario;

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "the switch at rest with 64 ports: netd's wake-ups, memory",
        Topology::Measured,
        rest::measure,
    ),
    Scenario::new(
        "routes and VLANs in bulk, beside the kernel's own tools",
        Topology::Measured,
        bulk::measure,
    ),
    Scenario::new(
        "a link that goes down, to a subscriber and to the smaller ECMP group",
        Topology::Measured,
        pulls::measure,
    ),
];
