//! Admission: whether a valid configuration fits the switch at hand.

use std::collections::{BTreeMap, BTreeSet};

use super::bridging::{self, MAX_BRIDGE_PORTS};
use super::model::{AttachmentUse, Config, Inventory, Place, PortRole};
use super::names::split_name;
use super::reader::nearest;
use crate::diagnostic::Diagnostic;
use crate::state::VlanRange;

impl Config {
    /// Checks the configuration against the switch at hand: its ports, and what is attached to it now.
    /// An empty answer means that it may be applied.
    pub fn admit(&self, inventory: &Inventory) -> Vec<Diagnostic> {
        let mut diagnostics = missing_ports(self, inventory);
        diagnostics.extend(inventory.attachments.iter().flat_map(|attachment| lost_vlans(self, attachment)));
        diagnostics.extend(too_many_bridge_ports(self, inventory));
        diagnostics.sort();
        diagnostics
    }

    /// Number of ports, LAGs and tunnels that are in the bridge.
    pub fn bridge_ports(&self) -> usize {
        bridging::bridge_ports(self).len()
    }

    /// Whether the VLAN exists: it has a section, or a port, LAG or VXLAN carries it. An attachment may only join a
    /// VLAN that exists.
    pub fn has_vlan(&self, vlan_id: u16) -> bool {
        let carried =
            |role: &PortRole| matches!(role, PortRole::Bridged(port) if port.vlans.carries(vlan_id));
        self.vlans.contains_key(&vlan_id)
            || self.ethernets().any(|(_, ethernet)| carried(&ethernet.role))
            || self.vxlans.values().any(|vxlan| vxlan.vlan_id == vlan_id)
    }
}

/// Ports of workloads are ports of the bridge too.
fn too_many_bridge_ports(config: &Config, inventory: &Inventory) -> Option<Diagnostic> {
    let (ports, attached) = (bridging::bridge_ports(config), inventory.attachments.len());
    let most = MAX_BRIDGE_PORTS.saturating_sub(attached);
    let (Place { line, column }, path) = ports.get(most)?.clone();
    let message = format!(
        "the bridge would have {} ports, LAGs and tunnels, and it has {attached} of workloads: at most {MAX_BRIDGE_PORTS} are possible",
        ports.len()
    );
    Some(Diagnostic { line, column, path, message })
}

/// One diagnostic for each section that names ports this switch has not.
fn missing_ports(config: &Config, inventory: &Inventory) -> Vec<Diagnostic> {
    let mut missing: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
    for (name, port) in config.ports.iter().filter(|(name, _)| !exists(name, config, inventory)) {
        missing.entry(port.place).or_default().push(name);
    }
    let report = |(place, names): (Place, Vec<&str>)| {
        let what = match names.as_slice() {
            [one] => format!("no port {one} on this switch"),
            _ => format!(
                "no ports {} on this switch",
                summary(&names.iter().map(|name| (*name).to_owned()).collect())
            ),
        };
        let near = match names.as_slice() {
            [one] => nearest(one, inventory.ports.iter().map(String::as_str))
                .filter(|near| near.len() == one.len()),
            _ => None,
        };
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let message = match inventory.ports.is_empty() {
            true => format!("{what}: it has no front-panel ports"),
            false => format!("{what}: it has {}{near}", summary(&inventory.ports)),
        };
        let Place { line, column } = place;
        Diagnostic { line, column, path: format!("ports.{}", names.first().unwrap_or(&"")), message }
    };
    missing.into_iter().map(report).collect()
}

/// Whether the switch has the port, or will have it once ports are split as the configuration says; a port
/// that is split exists by its parts.
fn exists(name: &str, config: &Config, inventory: &Inventory) -> bool {
    let has_parts = |whole: &str| {
        let prefix = format!("{whole}s");
        inventory.ports.range(prefix.clone()..).next().is_some_and(|part| part.starts_with(&prefix))
    };
    let parts =
        |whole: &str| config.ports.get(whole).and_then(|port| port.breakout).filter(|parts| *parts > 1);
    inventory.ports.contains(name)
        || match split_name(name) {
            Some((whole, part)) => {
                parts(whole).is_some_and(|parts| part < u32::from(parts))
                    && (inventory.ports.contains(whole) || has_parts(whole))
            }
            None => config.ports.get(name).is_some_and(|port| port.breakout.is_some()) && has_parts(name),
        }
}

/// Port names in short: neighbours in number become a range.
fn summary(names: &BTreeSet<String>) -> String {
    let mut numbers: Vec<u32> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for name in names {
        match name.strip_prefix("swp").and_then(|number| number.parse().ok()) {
            Some(number) => numbers.push(number),
            None => others.push(name),
        }
    }
    numbers.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u32, u32)| match first == last {
        true => format!("swp{first}"),
        false => format!("swp{first} to swp{last}"),
    };
    let mut parts: Vec<String> = runs.iter().map(run).chain(others.into_iter().map(str::to_owned)).collect();
    const SHOWN: usize = 12;
    if parts.len() > SHOWN {
        let more = parts.len() - SHOWN;
        parts.truncate(SHOWN);
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

/// One diagnostic for an attachment whose VLANs are gone.
fn lost_vlans(config: &Config, attachment: &AttachmentUse) -> Option<Diagnostic> {
    let ids = attachment.vlans.iter().flat_map(|VlanRange { first, last }| *first..=*last);
    let lost: Vec<u16> = ids.filter(|id| (1..=4094).contains(id) && !config.has_vlan(*id)).collect();
    let first = lost.first()?;
    let others = match lost.len() {
        1 => String::new(),
        n => format!(" (and {} more of its VLANs)", n - 1),
    };
    let Place { line, column } = config.locate("vlans").unwrap_or(Place { line: 1, column: 1 });
    let message = format!(
        "VLAN {first}{others} is in use by attachment {} and would be gone: keep [vlans.{first}], or stop the workload first",
        attachment.key
    );
    Some(Diagnostic { line, column, path: format!("vlans.{first}"), message })
}
