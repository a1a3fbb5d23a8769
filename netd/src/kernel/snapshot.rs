//! The kernel's state as a whole: raw for showing, and as the plan's [`Network`] for comparing.

use std::collections::{BTreeMap, BTreeSet};

use nix::libc;

use super::address::AddressRecord;
use super::connection::Connection;
use super::extack::KernelError;
use super::link::{LinkRecord, OWN_GROUP};
use super::route::{OWN_PROTOCOL, RouteRecord};
use super::vlan::PortVlans;
use super::{address, fdb, link, route, vlan};
use crate::plan::{FdbKey, Link, LinkKind, Network, NextHop, Route, RouteKey, RouteTarget, VlanTable};

/// Which links a snapshot takes in besides those netd made.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Front-panel ports.
    pub ports: BTreeSet<String>,
    /// Switch sides of attachments.
    pub attachments: BTreeSet<String>,
    /// Further names netd wants to use, so that a foreign link in the way is seen.
    pub names: BTreeSet<String>,
}

/// Links with what hangs on them.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    /// Links by index.
    pub links: BTreeMap<u32, LinkRecord>,
    /// VLANs of bridge ports and bridges, by index.
    pub vlans: BTreeMap<u32, PortVlans>,
    /// Addresses.
    pub addresses: Vec<AddressRecord>,
}

impl Interfaces {
    /// Dumps links, VLANs and addresses.
    pub fn take(connection: &mut Connection, counters: bool) -> Result<Interfaces, KernelError> {
        let links = link::dump(connection, counters)?.into_iter().map(|link| (link.index, link)).collect();
        Ok(Interfaces { links, vlans: vlan::dump(connection)?, addresses: address::dump(connection)? })
    }

    /// Name of the link with this index; empty for none.
    pub fn name(&self, index: u32) -> &str {
        self.links.get(&index).map_or("", |link| &link.name)
    }

    /// The link of this name.
    pub fn by_name(&self, name: &str) -> Option<&LinkRecord> {
        self.links.values().find(|link| link.name == name)
    }

    /// Addresses of the link with this index, but for link-local ones the kernel made.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &AddressRecord> {
        self.addresses.iter().filter(move |row| row.index == index)
    }
}

/// The objects of netd as the kernel holds them. `bridge` is the name of netd's bridge.
pub fn network(connection: &mut Connection, scope: &Scope, bridge: &str) -> Result<Network, KernelError> {
    let interfaces = Interfaces::take(connection, false)?;
    let mut network = Network::default();
    for record in interfaces.links.values() {
        let managed = record.group == OWN_GROUP
            || scope.ports.contains(&record.name)
            || scope.attachments.contains(&record.name)
            || scope.names.contains(&record.name);
        if managed {
            network.links.insert(record.name.clone(), to_link(record, &interfaces, scope));
        }
    }
    for record in route::dump(connection, Some(OWN_PROTOCOL))? {
        network.routes.extend(to_route(&record, &interfaces));
    }
    if let Some(bridge) = interfaces.by_name(bridge) {
        for entry in fdb::dump(connection, bridge.index)? {
            if entry.kind() == "static" && entry.vlan_id != 0 {
                let key = FdbKey { mac: entry.mac, vlan_id: entry.vlan_id };
                network.fdb.insert(key, interfaces.name(entry.index).to_owned());
            }
        }
    }
    Ok(network)
}

fn to_link(record: &LinkRecord, interfaces: &Interfaces, scope: &Scope) -> Link {
    let (mut addresses, mut foreign_addresses) = (Vec::new(), Vec::new());
    for row in interfaces.addresses_of(record.index) {
        if row.is_own() {
            addresses.push(row.address);
        } else {
            foreign_addresses.push(row.address);
        }
    }
    let name = |index: u32| Some(interfaces.name(index).to_owned()).filter(|name| !name.is_empty());
    Link {
        kind: kind(record, interfaces, scope),
        owned: record.group == OWN_GROUP,
        up: record.is_up(),
        mtu_bytes: Some(record.mtu_bytes),
        mac: Some(record.mac.clone()),
        alias: record.alias.clone(),
        master: name(record.master),
        link_local: Some(record.link_local),
        vlans: VlanTable(interfaces.vlans.get(&record.index).cloned().unwrap_or_default()),
        addresses,
        foreign_addresses,
    }
}

fn kind(record: &LinkRecord, interfaces: &Interfaces, scope: &Scope) -> LinkKind {
    match record.kind.as_str() {
        _ if scope.ports.contains(&record.name) => LinkKind::Hardware,
        "" => LinkKind::Hardware,
        "veth" => LinkKind::Veth,
        "bridge" => {
            LinkKind::Bridge { vlan_filtering: record.vlan_filtering, default_pvid: record.vlan_default_pvid }
        }
        "vlan" => LinkKind::Vlan { parent: interfaces.name(record.lower).to_owned(), id: record.vlan_id },
        "vrf" => LinkKind::Vrf { table: record.table },
        "dummy" => LinkKind::Dummy,
        other => LinkKind::Other { kind: other.to_owned() },
    }
}

fn to_route(record: &RouteRecord, interfaces: &Interfaces) -> Option<Route> {
    let target = match record.kind {
        libc::RTN_BLACKHOLE => RouteTarget::Blackhole,
        libc::RTN_UNREACHABLE => RouteTarget::Unreachable,
        libc::RTN_UNICAST => RouteTarget::NextHops(
            record
                .next_hops
                .iter()
                .map(|hop| NextHop {
                    via: hop.via,
                    device: interfaces.name(hop.index).to_owned(),
                    weight: hop.weight,
                    on_link: hop.is_on_link(),
                })
                .collect(),
        ),
        _ => return None,
    };
    let key = RouteKey { table: record.table, prefix: record.prefix, metric: record.metric };
    Some(Route { key, target })
}
