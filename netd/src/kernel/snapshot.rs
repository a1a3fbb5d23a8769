//! The kernel's state as a whole: raw for showing, and as the plan's [`Network`] for comparing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use nix::libc;

use super::address::{AddressRecord, HELD_PROTOCOL};
use super::connection::Connection;
use super::ethtool::Ethtool;
use super::extack::KernelError;
use super::link::{LinkRecord, OWN_GROUP};
use super::mdb::MdbRecord;
use super::neighbour::NeighbourRecord;
use super::route::OWN_PROTOCOL;
use super::route_targets::RouteTargets;
use super::{
    address, fdb, filter, held_route, link, mdb, neighbour, next_hop, qdisc, querier, route, rule, vlan,
};
use crate::plan::{
    Direction, FdbKey, FilterKey, HeldRoute, Link, LinkKind, MdbKey, NeighbourKey, Network, Offer, Setting,
    Value, VlanTable,
};

/// Which links a snapshot takes in besides those netd made.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Front-panel ports.
    pub ports: BTreeSet<String>,
    /// Switch sides of attachments.
    pub attachments: BTreeSet<String>,
    /// Further names netd wants to use, so that a foreign link in the way is seen.
    pub names: BTreeSet<String>,
    /// Links whose speed, duplex, negotiation and FEC are asked for: each costs requests of its own.
    pub ethtool: BTreeSet<String>,
}

impl Scope {
    fn takes_in(&self, record: &LinkRecord) -> bool {
        record.group == OWN_GROUP
            || [&self.ports, &self.attachments, &self.names].iter().any(|names| names.contains(&record.name))
    }
}

/// Links with what hangs on them.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    /// Links by index.
    pub links: BTreeMap<u32, LinkRecord>,
    /// VLANs of bridge ports and bridges, by index.
    pub vlans: BTreeMap<u32, VlanTable>,
    /// Addresses, those of a link together, the primary one first.
    pub addresses: Vec<AddressRecord>,
    /// Those that netd holds meanwhile.
    pub held: Vec<AddressRecord>,
}

impl Interfaces {
    /// Dumps links, VLANs and addresses.
    pub fn take(connection: &mut Connection, counters: bool) -> Result<Interfaces, KernelError> {
        let links = link::dump(connection, counters)?.into_iter().map(|link| (link.index, link)).collect();
        let mut addresses = address::dump_with_held(connection)?;
        let held = addresses.extract_if(.., |row| row.is_held()).collect();
        addresses.sort_by_key(|row| row.index);
        Ok(Interfaces { links, vlans: vlan::dump(connection)?, addresses, held })
    }

    /// Name of the link with this index; empty for none.
    pub fn name(&self, index: u32) -> &str {
        self.links.get(&index).map_or("", |link| &link.name)
    }

    /// All links by name, for who looks for many.
    pub fn names(&self) -> HashMap<&str, &LinkRecord> {
        self.links.values().map(|link| (link.name.as_str(), link)).collect()
    }

    /// The link of this name.
    pub fn by_name(&self, name: &str) -> Option<&LinkRecord> {
        self.links.values().find(|link| link.name == name)
    }

    /// The bridge of this name.
    pub fn bridge(&self, name: &str) -> Option<&LinkRecord> {
        self.by_name(name).filter(|link| link.kind == "bridge")
    }

    /// The routes of the addresses that netd holds, with their links' indexes.
    fn held_addresses(&self) -> impl Iterator<Item = (u32, HeldRoute)> {
        self.held.iter().filter_map(|row| {
            let table = self.local_table(self.links.get(&row.index)?);
            Some((row.index, held_route::of_address(row, table)?))
        })
    }

    /// The table with the routes to addresses of a link: that of its VRF.
    fn local_table(&self, link: &LinkRecord) -> u32 {
        let mut vrfs = [Some(link), self.links.get(&link.master)].into_iter().flatten();
        vrfs.find(|link| link.kind == "vrf").map_or(libc::RT_TABLE_LOCAL.into(), |vrf| vrf.table)
    }

    /// Addresses of the link with this index.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &AddressRecord> {
        let first = self.addresses.partition_point(|row| row.index < index);
        self.addresses[first..].iter().take_while(move |row| row.index == index)
    }
}

/// What a snapshot comes by of hosts: it goes through their entries anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Learned addresses count that were heard within so many seconds.
    pub heard_within_s: u32,
    /// Neighbours count that were known to be there within so many milliseconds.
    pub known_within_ms: u64,
    /// The VLAN of each learned address.
    pub learned: Vec<u16>,
    /// The neighbours: index of the interface, and address.
    pub neighbours: Vec<(u32, IpAddr)>,
    /// Names of the interfaces.
    pub names: BTreeMap<u32, String>,
    /// Whether a snapshot has seen both.
    pub complete: bool,
}

impl Hosts {
    fn see(&mut self, record: &NeighbourRecord, interfaces: &Interfaces) {
        let name = interfaces.name(record.index);
        if !name.is_empty() && record.is_known_within(self.known_within_ms) {
            self.names.entry(record.index).or_insert_with(|| name.to_owned());
            self.neighbours.push((record.index, record.address));
        }
    }
}

/// The objects of netd as the kernel holds them. `bridge` is the name of netd's bridge, whose static forwarding
/// entries are left out without `fdb`: the kernel goes through ports times VLANs many of its own for them.
pub fn network(
    connection: &mut Connection,
    scope: &Scope,
    bridge: &str,
    fdb: bool,
) -> Result<Network, KernelError> {
    network_with(connection, scope, bridge, fdb, None)
}

/// The same, with what it comes by of hosts.
pub fn network_with(
    connection: &mut Connection,
    scope: &Scope,
    bridge: &str,
    fdb: bool,
    mut hosts: Option<&mut Hosts>,
) -> Result<Network, KernelError> {
    let interfaces = Interfaces::take(connection, false)?;
    let managed = interfaces.links.values().filter(|record| scope.takes_in(record));
    let mut network = Network {
        links: managed.map(|record| (record.name.clone(), to_link(record, &interfaces, scope))).collect(),
        ..Network::default()
    };
    add_ethtool(scope, &interfaces, &mut network);
    for record in next_hop::dump(connection)? {
        let object = record.to_object(|index| interfaces.name(index).to_owned());
        network.next_hops.insert(record.id, object);
    }
    let mut targets = RouteTargets::new(&interfaces);
    let mut held: Vec<(u32, HeldRoute)> = interfaces.held_addresses().collect();
    network.routes = route::dump_with(connection, Some(OWN_PROTOCOL), |record| {
        held.extend(held_route::of_ipv6_address(record));
        targets.route(record)
    })?;
    network.sort();
    if !held.is_empty() {
        held.extend(route::dump_with(connection, Some(HELD_PROTOCOL), held_route::of_subnet)?);
    }
    for (index, route) in held {
        if let Some(link) = network.links.get_mut(interfaces.name(index)) {
            link.held_routes.insert(route);
        }
    }
    network.rules = rule::dump(connection)?;
    add_filters(connection, &interfaces, &mut network)?;
    if let Some(bridge) = interfaces.bridge(bridge) {
        if let Some(link) = network.links.get_mut(&bridge.name) {
            link.queriers = querier::dump(connection, bridge.index)?;
        }
        if fdb {
            add_fdb(connection, &interfaces, bridge, &mut network, hosts.as_deref_mut())?;
        }
        add_mdb(connection, &interfaces, bridge, &mut network)?;
        network.fold_link_groups();
    }
    add_tunnels(connection, &interfaces, &mut network)?;
    for record in neighbour::dump(connection)? {
        if let Some(hosts) = &mut hosts {
            hosts.see(&record, &interfaces);
        }
        if record.is_own() && record.is_permanent() {
            let device = interfaces.name(record.index).to_owned();
            network.neighbours.insert(NeighbourKey { device, address: record.address }, record.mac);
        }
    }
    if let Some(hosts) = hosts {
        hosts.complete = fdb;
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
    let mut settings = record.settings.clone();
    settings.insert(Setting::Mtu, Value::Number(record.mtu_bytes));
    settings.insert(Setting::Mac, Value::Text(record.mac.clone()));
    settings.insert(Setting::Alias, Value::Text(record.alias.clone()));
    Link {
        kind: kind(record, interfaces, scope),
        owned: record.group == OWN_GROUP,
        up: record.is_up(),
        carrier: record.has_carrier(),
        master: name(record.master),
        settings,
        offer: Offer::default(),
        vlans: interfaces.vlans.get(&record.index).cloned().unwrap_or_default(),
        queriers: VlanTable::default(),
        link_groups: VlanTable::default(),
        clsact: false,
        foreign_filters: false,
        addresses,
        foreign_addresses,
        held_routes: BTreeSet::new(),
    }
}

/// Links of a kind netd makes, but in a way it does not, are something else.
fn kind(record: &LinkRecord, interfaces: &Interfaces, scope: &Scope) -> LinkKind {
    if record.kind.is_empty() || scope.ports.contains(&record.name) {
        return LinkKind::Hardware;
    }
    match (record.kind.as_str(), record.lacp, record.vxlan.local) {
        ("veth", ..) => LinkKind::Veth,
        ("bridge", ..) => LinkKind::Bridge,
        ("vlan", ..) => {
            LinkKind::Vlan { parent: interfaces.name(record.lower).to_owned(), id: record.vlan_id }
        }
        ("vrf", ..) => LinkKind::Vrf { table: record.table },
        ("dummy", ..) => LinkKind::Dummy,
        ("bond", Some(lacp), _) => LinkKind::Lag { lacp },
        ("vxlan", _, Some(local)) => {
            LinkKind::Vxlan { vni: record.vxlan.vni, local, port: record.vxlan.port }
        }
        _ => LinkKind::Other { kind: record.kind.clone() },
    }
}

/// Adds the settings that only drivers tell.
fn add_ethtool(scope: &Scope, interfaces: &Interfaces, network: &mut Network) {
    let asked = interfaces.links.values().filter(|record| scope.ethtool.contains(&record.name));
    let mut asked = asked.peekable();
    if asked.peek().is_none() {
        return;
    }
    let mut ethtool = match Ethtool::open() {
        Ok(ethtool) => ethtool,
        Err(error) => return tracing::warn!("reading speeds: {error}"),
    };
    for record in asked {
        if let Some(link) = network.links.get_mut(&record.name) {
            let (settings, offer) = ethtool.settings(record.index);
            link.settings.extend(settings);
            link.offer = offer;
        }
    }
}

/// Filters of frames on links that have any.
fn add_filters(
    connection: &mut Connection,
    interfaces: &Interfaces,
    network: &mut Network,
) -> Result<(), KernelError> {
    for index in qdisc::dump_clsact(connection)? {
        let name = interfaces.name(index);
        let Some(link) = network.links.get_mut(name) else { continue };
        link.clsact = true;
        for (_, direction) in Direction::NAMES {
            for record in filter::dump(connection, index, direction)? {
                if record.is_own() {
                    let key = FilterKey { link: name.to_owned(), direction, preference: record.preference };
                    network.filters.insert(key, record.filter);
                } else {
                    link.foreign_filters = true;
                }
            }
        }
    }
    Ok(())
}

/// Static entries of the bridge.
fn add_fdb(
    connection: &mut Connection,
    interfaces: &Interfaces,
    bridge: &LinkRecord,
    network: &mut Network,
    hosts: Option<&mut Hosts>,
) -> Result<(), KernelError> {
    let entries = match hosts {
        None => fdb::dump_static(connection, bridge.index)?,
        Some(hosts) => {
            let both = fdb::dump_static_and_learned(connection, bridge.index, hosts.heard_within_s)?;
            hosts.learned = both.1;
            both.0
        }
    };
    for entry in entries {
        if entry.vlan_id != 0 {
            let key = FdbKey { mac: entry.mac, vlan_id: entry.vlan_id, tunnel: None };
            network.fdb.insert(key, interfaces.name(entry.index).to_owned());
        }
    }
    Ok(())
}

/// Static entries of netd's own tunnels.
fn add_tunnels(
    connection: &mut Connection,
    interfaces: &Interfaces,
    network: &mut Network,
) -> Result<(), KernelError> {
    let tunnels = interfaces.links.values();
    for tunnel in tunnels.filter(|record| record.kind == "vxlan" && record.group == OWN_GROUP) {
        for entry in fdb::dump_tunnel(connection, tunnel.index)?.into_iter().filter(|row| row.is_static()) {
            let remote = entry.remote.map(|remote| (tunnel.name.clone(), remote));
            let key = FdbKey { mac: entry.mac, vlan_id: 0, tunnel: remote };
            network.fdb.insert(key, tunnel.name.clone());
        }
    }
    Ok(())
}

fn add_mdb(
    connection: &mut Connection,
    interfaces: &Interfaces,
    bridge: &LinkRecord,
    network: &mut Network,
) -> Result<(), KernelError> {
    let rows = match mdb::dump(connection) {
        // A kernel without multicast snooping has no groups either.
        Err(error) if error.is_unsupported() => Vec::new(),
        rows => rows?,
    };
    for row in rows.into_iter().filter(|row| row.bridge == bridge.index && MdbRecord::is_own(row)) {
        let port = interfaces.name(row.index).to_owned();
        network.mdb.insert(MdbKey { group: row.group, vlan_id: row.vlan_id, port });
    }
    Ok(())
}
