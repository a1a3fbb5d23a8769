//! The state netd shows: kernel records joined with what is wanted, as the types of [`netd_api::state`].
//!
//! Short tables are answered whole. Long ones ([`stream`]) are written as the kernel shows them, filtered by a
//! [`query`]. Pure but for those and what [`crate::kernel::device`] reads of sysfs.

mod discards;
mod fdb;
mod interfaces;
mod lag_reason;
mod lags;
mod mdb;
mod neighbours;
pub mod pending;
pub mod query;
pub mod reader;
mod reason;
mod routes;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};

use netd_api::config::Config;
use netd_api::config::model::vlan_interface;
use netd_api::state::{Port, Vlan, VlanRange};

use crate::attach::Record;
use crate::desired::BRIDGE;
use crate::kernel::address::AddressRecord;
use crate::kernel::device;
use crate::kernel::link::LinkRecord;
use crate::kernel::snapshot::Interfaces;
use crate::plan::Network;
use crate::platform::MANAGEMENT;

/// What state is joined from.
pub struct View<'a> {
    /// Links, VLANs, addresses.
    pub interfaces: &'a Interfaces,
    /// The running configuration.
    pub config: &'a Config,
    /// What is wanted.
    pub desired: &'a Network,
    /// Front-panel ports.
    pub ports: &'a BTreeSet<String>,
    /// Attachments by key.
    pub attachments: &'a BTreeMap<String, Record>,
}

impl View<'_> {
    /// Name of the VRF a link is in; empty for none.
    fn vrf_of(&self, link: &LinkRecord) -> String {
        let master = self.interfaces.links.get(&link.master);
        master.filter(|master| master.kind == "vrf").map(|master| master.name.clone()).unwrap_or_default()
    }

    /// Name of the LAG a link is a member of; empty for none.
    fn lag_of(&self, link: &LinkRecord) -> String {
        let master = self.interfaces.links.get(&link.master);
        master.filter(|master| master.kind == "bond").map(|master| master.name.clone()).unwrap_or_default()
    }

    fn addresses(&self, index: u32) -> Vec<String> {
        self.interfaces.addresses_of(index).map(show_address).collect()
    }

    /// All ports: management, front panel, attachments, each in natural order.
    pub fn port_rows(&self) -> Vec<Port> {
        self.port_links().map(|(link, kind, attachment)| self.port(link, kind, attachment)).collect()
    }

    /// The links that are ports, in the order of their rows: each with its kind and its attachment.
    fn port_links(&self) -> impl Iterator<Item = (&LinkRecord, &'static str, Option<&Record>)> {
        let by_port: BTreeMap<&str, &Record> =
            self.attachments.values().map(|record| (record.port.as_str(), record)).collect();
        let kind = |link: &LinkRecord| match by_port.get(link.name.as_str()) {
            Some(_) => Some("attachment"),
            None if link.name == MANAGEMENT => Some("management"),
            None if self.ports.contains(&link.name) => Some("front-panel"),
            None if self.config.lags.contains_key(&link.name) && link.kind == "bond" => Some("lag"),
            None => None,
        };
        let links = self.interfaces.links.values();
        let mut links: Vec<_> = links
            .filter_map(|link| Some((link, kind(link)?, by_port.get(link.name.as_str()).copied())))
            .collect();
        let order =
            |kind: &str| ["management", "front-panel", "lag", "attachment"].iter().position(|k| *k == kind);
        links.sort_by_cached_key(|(link, kind, _)| (order(kind), natural(&link.name)));
        links.into_iter()
    }

    fn port(&self, link: &LinkRecord, kind: &str, attachment: Option<&Record>) -> Port {
        let wanted = self.desired.links.get(&link.name);
        let hardware = attachment.is_none();
        let vlans = self.interfaces.vlans.get(&link.index);
        let runs = vlans.map_or(&[][..], |vlans| vlans.runs());
        let untagged_vlan = runs.iter().find(|run| run.membership.pvid).map_or(0, |run| run.first);
        let tagged = runs.iter().filter(|run| !run.membership.untagged);
        let tagged = tagged.map(|run| VlanRange { first: run.first, last: run.last });
        Port {
            name: link.name.clone(),
            kind: kind.to_owned(),
            description: if hardware { link.alias.clone() } else { String::new() },
            ifindex: link.index,
            // The management port is networkd's, which always wants it up.
            wanted_up: wanted.map_or(kind == "management", |link| link.up),
            admin_up: link.is_up(),
            oper_state: oper_state(link.oper_state).to_owned(),
            speed_mbps: if hardware { device::speed_mbps(&link.name) } else { 0 },
            duplex: if hardware { device::duplex(&link.name) } else { String::new() },
            mtu_bytes: link.mtu_bytes,
            mac: link.mac.clone(),
            untagged_vlan,
            tagged_vlans: tagged.collect(),
            addresses: self.addresses(link.index),
            vrf: self.vrf_of(link),
            driver: device::driver(&link.name).unwrap_or_else(|| link.kind.clone()),
            hardware: if link.switch_id.is_empty() { "software" } else { "offloaded" }.to_owned(),
            switch_id: link.switch_id.clone(),
            lag: self.lag_of(link),
            attachment: attachment.map(|record| record.key.clone()).unwrap_or_default(),
            counters: link.counters,
            reason: reason::of(self.config, link, kind),
            // The view does not remember; whoever asks it fills this in.
            carrier_changed_s: 0,
            carrier_losses: link.carrier_losses,
        }
    }

    /// All VLANs: those of the configuration, and those the bridge carries.
    pub fn vlan_rows(&self) -> Vec<Vlan> {
        let mut rows: BTreeMap<u16, Vlan> = BTreeMap::new();
        let row = |rows: &mut BTreeMap<u16, Vlan>, id: u16, change: &dyn Fn(&mut Vlan)| {
            change(rows.entry(id).or_insert_with(|| Vlan { id, ..Vlan::default() }));
        };
        for (id, vlan) in &self.config.vlans {
            row(&mut rows, *id, &|row| {
                row.name.clone_from(&vlan.name);
                row.wanted = true;
            });
        }
        let bridge = self.interfaces.by_name(BRIDGE).map(|link| link.index);
        for link in self.interfaces.links.values().filter(|link| bridge == Some(link.master)) {
            let runs = self.interfaces.vlans.get(&link.index).map_or(&[][..], |vlans| vlans.runs());
            for (run, id) in runs.iter().flat_map(|run| (run.first..=run.last).map(move |id| (run, id))) {
                row(&mut rows, id, &|row| {
                    let untagged = run.membership.untagged;
                    let ports = if untagged { &mut row.untagged_ports } else { &mut row.tagged_ports };
                    ports.push(link.name.clone());
                    row.kernel = true;
                    if !link.switch_id.is_empty() {
                        row.hardware = hardware(true);
                    }
                });
            }
        }
        for link in self.desired.links.values().filter(|link| link.master.as_deref() == Some(BRIDGE)) {
            for id in link.vlans.runs().iter().flat_map(|run| run.first..=run.last) {
                row(&mut rows, id, &|row| row.wanted = true);
            }
        }
        let links = self.interfaces.names();
        for vlan in rows.values_mut() {
            if vlan.hardware.is_empty() {
                vlan.hardware = hardware(false);
            }
            vlan.untagged_ports.sort_by_cached_key(|name| natural(name));
            vlan.tagged_ports.sort_by_cached_key(|name| natural(name));
            if let Some(link) = links.get(vlan_interface(vlan.id).as_str()) {
                vlan.addresses = self.addresses(link.index);
                vlan.vrf = self.vrf_of(link);
                vlan.oper_state = oper_state(link.oper_state).to_owned();
            }
        }
        rows.into_values().collect()
    }
}

fn hardware(offloaded: bool) -> String {
    if offloaded { "offloaded" } else { "software" }.to_owned()
}

fn show_address(row: &AddressRecord) -> String {
    row.address.to_string()
}

/// RFC 2863 operational states by `IF_OPER_…` number.
fn oper_state(state: u8) -> &'static str {
    match state {
        2 => "down",
        3 => "lower-layer-down",
        4 => "testing",
        5 => "dormant",
        6 => "up",
        // 1 is "not present", which no link that is shown can be.
        _ => "unknown",
    }
}

/// Sorts `swp2` before `swp10`.
fn natural(name: &str) -> (String, u64, String) {
    let start = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let end = name[start..].find(|c: char| !c.is_ascii_digit()).map_or(name.len(), |length| start + length);
    (name[..start].to_owned(), name[start..end].parse().unwrap_or(0), name[end..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rows of these links are joined from, with nothing configured but `document`.
    pub(super) fn with_view<T>(
        links: Vec<LinkRecord>,
        document: &str,
        rows: impl FnOnce(View<'_>) -> T,
    ) -> T {
        let interfaces = Interfaces {
            links: links.into_iter().map(|link| (link.index, link)).collect(),
            ..Interfaces::default()
        };
        let config = netd_api::config::parse(document).unwrap();
        let (desired, ports, attachments) = Default::default();
        rows(View {
            interfaces: &interfaces,
            config: &config,
            desired: &desired,
            ports: &ports,
            attachments: &attachments,
        })
    }

    pub(super) fn link(index: u32, name: &str, kind: &str) -> LinkRecord {
        LinkRecord { index, name: name.to_owned(), kind: kind.to_owned(), ..LinkRecord::default() }
    }

    #[test]
    fn ports_sort_by_number() {
        let mut names = ["swp10", "swp2s1", "swp2", "mgmt0"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["mgmt0", "swp2", "swp2s1", "swp10"]);
    }
}
