//! Measurements of netd in the booted image: at rest, in bulk, when links go down, when its tables are shown, beside a
//! viewer who asks all the time. They run by
//! `cargo os bench netd` alone.

mod bulk;
mod million;
mod pulls;
mod rest;
mod sizes;
mod tables;
mod viewer;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Lab, Topology};
use crate::runner::Scenario;

pub const SCENARIOS: [Scenario; 7] = [
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
    Scenario::new(
        "routes and addresses that are shown, beside the kernel's own tools",
        Topology::Measured,
        tables::measure,
    ),
    Scenario::new(
        "a change beside a viewer who takes whatever netd gives",
        Topology::Measured,
        viewer::measure,
    ),
    Scenario::new(
        "a million routes that are applied, shown and taken back",
        Topology::Measured,
        million::measure,
    ),
    Scenario::new(
        "tunnels, VRFs and subinterfaces, as many as a document may have",
        Topology::Measured,
        sizes::measure,
    ),
];

/// Seconds between the two moments of /proc/uptime that a script prints as its last line.
fn span(lab: &Lab, script: &str, within: Duration) -> Result<f64> {
    let text = lab.vm.run_within(script, within)?;
    let line = text.lines().last().unwrap_or_default();
    let (from, to) = line.split_once(' ').with_context(|| format!("no times: {text}"))?;
    Ok(to.parse::<f64>()? - from.parse::<f64>()?)
}
