//! The largest documents that `check` accepts, of what the host's kernel does not have.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::objects::with_document;
use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new("a bridge of 1023 ports, most of them tunnels, is applied", Topology::Switch, tunnels),
    Scenario::new("1024 VRFs are applied", Topology::Switch, vrfs),
    Scenario::new("a subinterface in each of 4094 VLANs is applied", Topology::Switch, subinterfaces),
];

/// Ports of the lab that are in the bridge.
const BRIDGED: u16 = 9;
const MOST_BRIDGE_PORTS: u16 = 1023;

fn tunnels(lab: &Lab, _: &Run) -> Result<String> {
    let mut document = lab.document.clone();
    for vlan in 100..100 + MOST_BRIDGE_PORTS - BRIDGED {
        writeln!(
            document,
            "[vxlans.v{vlan}]\nvni = {vlan}\nvlan = {vlan}\nlocal = \"198.51.100.1\"\nremotes = [\"10.0.8.2\"]"
        )?;
    }
    with_document(lab, &document, || Ok(()))
}

fn vrfs(lab: &Lab, _: &Run) -> Result<String> {
    let mut document = lab.document.clone();
    for number in 0..1024 {
        writeln!(document, "[vrfs.v{number}]\ntable = {}", 10_000 + number)?;
    }
    with_document(lab, &document, || Ok(()))
}

fn subinterfaces(lab: &Lab, _: &Run) -> Result<String> {
    let parent = "[ports.swp11]\ndescription = \"pulled\"\n";
    let (before, after) = lab.document.split_once(parent).context("the lab has no swp11")?;
    let after = after.strip_prefix("vlan.access = 60\n").context("swp11 is in another VLAN")?;
    let mut document = format!("{before}{parent}{after}\n");
    for vlan in 1..=4094 {
        writeln!(document, "[subinterfaces.\"swp11.{vlan}\"]")?;
    }
    with_document(lab, &document, || Ok(()))
}
