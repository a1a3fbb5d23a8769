//! The state netd shows: kernel records joined with what is wanted, as the types of [`netd_api::state`].
//!
//! Pure but for what [`crate::kernel::device`] reads of sysfs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::config::Config;
use netd_api::config::model::vlan_interface;
use netd_api::state::{
    FdbEntry, Interface, Lag, LagMember, MdbEntry, Neighbour, NextHop, Port, Route, Vlan, VlanRange,
};
use nix::libc;

use crate::alarms::is_alarm;
use crate::attach::Record;
use crate::desired::BRIDGE;
use crate::kernel::fdb::FdbRecord;
use crate::kernel::link::LinkRecord;
use crate::kernel::mdb::MdbRecord;
use crate::kernel::neighbour::NeighbourRecord;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::kernel::snapshot::Interfaces;
use crate::kernel::{address::AddressRecord, device, lag};
use crate::plan::{self, FdbKey, Network, Setting, Value};
use crate::platform::MANAGEMENT;

/// Rows of a page when the caller does not say, and at most.
pub const PAGE_ROWS: usize = 1000;

/// The address whose entries tell where a tunnel sends what has no known place.
const FLOOD: &str = "00:00:00:00:00:00";

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
        let by_port: BTreeMap<&str, &Record> =
            self.attachments.values().map(|record| (record.port.as_str(), record)).collect();
        let mut rows: Vec<Port> = self
            .interfaces
            .links
            .values()
            .filter_map(|link| {
                let attachment = by_port.get(link.name.as_str());
                let kind = match attachment {
                    Some(_) => "attachment",
                    None if link.name == MANAGEMENT => "management",
                    None if self.ports.contains(&link.name) => "front-panel",
                    None if self.config.lags.contains_key(&link.name) && link.kind == "bond" => "lag",
                    None => return None,
                };
                Some(self.port(link, kind, attachment.copied()))
            })
            .collect();
        let order =
            |kind: &str| ["management", "front-panel", "lag", "attachment"].iter().position(|k| *k == kind);
        rows.sort_by_cached_key(|port| (order(&port.kind), natural(&port.name)));
        rows
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
        for vlan in rows.values_mut() {
            if vlan.hardware.is_empty() {
                vlan.hardware = hardware(false);
            }
            vlan.untagged_ports.sort_by_cached_key(|name| natural(name));
            vlan.tagged_ports.sort_by_cached_key(|name| natural(name));
            if let Some(link) = self.interfaces.by_name(&vlan_interface(vlan.id)) {
                vlan.addresses = self.addresses(link.index);
                vlan.vrf = self.vrf_of(link);
                vlan.oper_state = oper_state(link.oper_state).to_owned();
            }
        }
        rows.into_values().collect()
    }

    /// All LAGs of the configuration with the members the kernel has in them.
    pub fn lag_rows(&self) -> Vec<Lag> {
        let links = self.interfaces.links.values();
        let lags = links.filter(|link| link.kind == "bond");
        let mut rows: Vec<Lag> = lags.map(|link| self.lag(link)).collect();
        rows.sort_by_cached_key(|lag| natural(&lag.name));
        rows
    }

    fn lag(&self, link: &LinkRecord) -> Lag {
        let lacp = link.lacp == Some(true);
        let member = |member: &LinkRecord| {
            let record = member.member;
            let chosen = !lacp || record.aggregator == link.aggregator.id;
            LagMember {
                port: member.name.clone(),
                link_up: record.link_up,
                active: record.active && record.link_up && chosen,
                link_failures: record.link_failures,
                aggregator: if lacp { record.aggregator } else { 0 },
                actor_state: if lacp { lag::state_names(record.actor_state) } else { Vec::new() },
                // While no partner was heard the driver makes one up.
                partner_state: match lacp && !link.aggregator.partner.is_empty() {
                    true => lag::state_names(record.partner_state),
                    false => Vec::new(),
                },
            }
        };
        let members = self.interfaces.links.values().filter(|member| member.master == link.index);
        let mut members: Vec<LagMember> = members.map(member).collect();
        members.sort_by_cached_key(|member| natural(&member.port));
        let number =
            |setting: Setting| link.settings.get(&setting).and_then(Value::number).unwrap_or_default();
        let fast = link.settings.get(&Setting::LacpFast).is_some_and(Value::is_on);
        let lacp_rate = match (lacp, fast) {
            (false, _) => "",
            (true, true) => "fast",
            (true, false) => "slow",
        };
        Lag {
            name: link.name.clone(),
            mode: match link.lacp {
                Some(true) => "lacp",
                Some(false) => "static",
                None => "other",
            }
            .to_owned(),
            lacp_rate: lacp_rate.to_owned(),
            hash: hash_policy(number(Setting::HashPolicy)),
            min_links: number(Setting::MinLinks),
            admin_up: link.is_up(),
            oper_state: oper_state(link.oper_state).to_owned(),
            aggregator: link.aggregator.id,
            partner: link.aggregator.partner.clone(),
            partner_key: link.aggregator.partner_key,
            members,
            wanted: self.config.lags.contains_key(&link.name),
        }
    }

    /// All interfaces of the switch that are no ports. `tunnels` are the entries of the tunnels' own forwarding
    /// databases.
    pub fn interface_rows(&self, tunnels: &[FdbRecord]) -> Vec<Interface> {
        let links = self.interfaces.links.values();
        let mut rows: Vec<Interface> = links.filter_map(|link| self.interface(link, tunnels)).collect();
        let kinds = ["loopback", "vlan", "subinterface", "vxlan", "vrf"];
        let order = |kind: &str| kinds.iter().position(|known| *known == kind);
        rows.sort_by_cached_key(|row| (order(&row.kind), natural(&row.name)));
        rows
    }

    fn interface(&self, link: &LinkRecord, tunnels: &[FdbRecord]) -> Option<Interface> {
        let lower = self.interfaces.name(link.lower);
        let kind = match link.kind.as_str() {
            "dummy" => "loopback",
            "vlan" if lower == BRIDGE => "vlan",
            "vlan" => "subinterface",
            "vxlan" => "vxlan",
            "vrf" => "vrf",
            _ => return None,
        };
        let mut row = Interface {
            name: link.name.clone(),
            kind: kind.to_owned(),
            description: link.alias.clone(),
            ifindex: link.index,
            admin_up: link.is_up(),
            oper_state: oper_state(link.oper_state).to_owned(),
            mtu_bytes: link.mtu_bytes,
            mac: link.mac.clone(),
            addresses: self.addresses(link.index),
            vrf: self.vrf_of(link),
            vlan_id: link.vlan_id,
            wanted: self.desired.links.contains_key(&link.name),
            counters: link.counters,
            ..Interface::default()
        };
        match kind {
            "subinterface" => row.parent = lower.to_owned(),
            "vxlan" => {
                let runs = self.interfaces.vlans.get(&link.index).map_or(&[][..], |vlans| vlans.runs());
                row.vlan_id = runs.iter().find(|run| run.membership.pvid).map_or(0, |run| run.first);
                row.vni = link.vxlan.vni;
                row.local = link.vxlan.local.map(|local| local.to_string()).unwrap_or_default();
                row.udp_port = link.vxlan.port;
                let flood = tunnels.iter().filter(|entry| entry.index == link.index && entry.mac == FLOOD);
                let remotes: BTreeSet<IpAddr> = flood.filter_map(|entry| entry.remote).collect();
                row.remotes = remotes.iter().map(IpAddr::to_string).collect();
            }
            "vrf" => {
                row.table = link.table;
                let members = self.interfaces.links.values().filter(|member| member.master == link.index);
                row.members = members.map(|member| member.name.clone()).collect();
                row.members.sort_by_cached_key(|name| natural(name));
            }
            _ => {}
        }
        Some(row)
    }

    /// VRF names by routing table; the main table has the empty name.
    fn vrfs(&self) -> BTreeMap<u32, String> {
        let vrfs = self.interfaces.links.values().filter(|link| link.kind == "vrf");
        let main = (u32::from(libc::RT_TABLE_MAIN), String::new());
        vrfs.map(|link| (link.table, link.name.clone())).chain([main]).collect()
    }

    /// Routes of all VRFs, with their sort keys; wanted ones that the kernel lacks included.
    pub fn route_rows(&self, records: &[RouteRecord]) -> Vec<(String, Route)> {
        let vrfs = self.vrfs();
        let mut missing: BTreeMap<&plan::RouteKey, &plan::Route> =
            self.desired.routes.iter().map(|route| (&route.key, route)).collect();
        let mut rows = Vec::new();
        for record in records {
            let hidden = matches!(
                record.kind,
                libc::RTN_LOCAL | libc::RTN_BROADCAST | libc::RTN_ANYCAST | libc::RTN_MULTICAST
            );
            // Of the switch's own addresses those of loopbacks are shown: no connected route tells of them.
            let (hidden, table) = match self.is_loopback_address(record) {
                true if record.table == u32::from(libc::RT_TABLE_LOCAL) => {
                    (false, libc::RT_TABLE_MAIN.into())
                }
                true => (false, record.table),
                false => (hidden, record.table),
            };
            let Some(vrf) = vrfs.get(&table).filter(|_| !hidden) else {
                continue;
            };
            let key = plan::RouteKey { table: record.table, prefix: record.prefix, metric: record.metric };
            let wanted = if record.protocol == OWN_PROTOCOL { missing.remove(&key) } else { None };
            rows.push((
                route_key(vrf, &record.prefix, record.metric, record.protocol),
                self.route(record, vrf, wanted),
            ));
        }
        for (key, route) in missing {
            let vrf = self.table_name(key.table, &vrfs);
            let row = self.missing_route(route, vrf);
            rows.push((route_key(&row.vrf, &key.prefix, key.metric, OWN_PROTOCOL), row));
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Whether a route leads to a loopback's own address.
    fn is_loopback_address(&self, record: &RouteRecord) -> bool {
        let of_loopback =
            |index: u32| self.interfaces.links.get(&index).is_some_and(|link| link.kind == "dummy");
        record.kind == libc::RTN_LOCAL && record.next_hops.first().is_some_and(|hop| of_loopback(hop.index))
    }

    fn table_name(&self, table: u32, vrfs: &BTreeMap<u32, String>) -> String {
        let configured =
            || self.config.vrfs.iter().find(|(_, vrf)| vrf.table == table).map(|(name, _)| name.clone());
        vrfs.get(&table).cloned().or_else(configured).unwrap_or_default()
    }

    /// Whether only the processor sends packets out of a link.
    fn is_software(&self, name: &str) -> bool {
        let port = self.ports.contains(name) || name == MANAGEMENT;
        port && self.interfaces.by_name(name).is_some_and(|link| link.switch_id.is_empty())
            || self.attachments.values().any(|record| record.port == name)
    }

    fn route(&self, record: &RouteRecord, vrf: &str, wanted: Option<&plan::Route>) -> Route {
        let is_software = |name: &str| self.is_software(name);
        let alarm = wanted.is_some_and(|route| is_alarm(self.desired, route, record.hardware(), is_software));
        let hop = |hop: &route::NextHopRecord| NextHop {
            via: hop.via.map(|via| via.to_string()).unwrap_or_default(),
            device: self.interfaces.name(hop.index).to_owned(),
            weight: hop.weight,
            dead: hop.is_dead(),
        };
        Route {
            prefix: record.prefix.to_string(),
            vrf: vrf.to_owned(),
            protocol: route::protocol_name(record.protocol),
            kind: route::kind_name(record.kind).to_owned(),
            metric: record.metric,
            // IPv6 gives even a blackhole the device `lo`.
            next_hops: record
                .next_hops
                .iter()
                .filter(|_| matches!(record.kind, libc::RTN_UNICAST | libc::RTN_LOCAL))
                .map(hop)
                .collect(),
            wanted: wanted.is_some(),
            kernel: true,
            hardware: record.hardware().to_owned(),
            alarm,
        }
    }

    /// ARP and ND entries, with their sort keys.
    pub fn neighbour_rows(&self, records: &[NeighbourRecord]) -> Vec<(String, Neighbour)> {
        let mut missing = self.desired.neighbours.clone();
        let mut rows: Vec<(String, Neighbour)> = records
            .iter()
            .filter_map(|record| {
                let link = self.interfaces.links.get(&record.index)?;
                let key = plan::NeighbourKey { device: link.name.clone(), address: record.address };
                let wanted = record.is_own() && missing.remove(&key).is_some();
                let row = Neighbour {
                    wanted,
                    kernel: true,
                    address: record.address.to_string(),
                    mac: record.mac.clone(),
                    device: link.name.clone(),
                    state: record.state_name().to_owned(),
                    vrf: self.vrf_of(link),
                    hardware: hardware(record.flags & libc::NTF_OFFLOADED != 0),
                };
                Some((format!("{} {} {}", row.vrf, link.name, address_key(record.address)), row))
            })
            .collect();
        rows.extend(missing.into_iter().map(|(key, mac)| {
            let vrf = self.interfaces.by_name(&key.device).map(|link| self.vrf_of(link)).unwrap_or_default();
            let sort = format!("{vrf} {} {}", key.device, address_key(key.address));
            let address = key.address.to_string();
            let row =
                Neighbour { address, mac, device: key.device, vrf, wanted: true, ..missing_neighbour() };
            (sort, row)
        }));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Forwarding entries, with their sort keys.
    pub fn fdb_rows(&self, records: &[FdbRecord]) -> Vec<(String, FdbEntry)> {
        let mut missing = self.desired.fdb.clone();
        missing.retain(|key, _| key.tunnel.is_none());
        let mut rows: Vec<(String, FdbEntry)> = records
            .iter()
            .map(|record| {
                let key = FdbKey { mac: record.mac.clone(), vlan_id: record.vlan_id, tunnel: None };
                let wanted = record.kind() == "static" && missing.remove(&key).is_some();
                let row = FdbEntry {
                    wanted,
                    kernel: true,
                    mac: record.mac.clone(),
                    vlan_id: record.vlan_id,
                    port: self.interfaces.name(record.index).to_owned(),
                    kind: record.kind().to_owned(),
                    hardware: hardware(record.is_offloaded()),
                };
                (format!("{:04} {} {}", row.vlan_id, row.mac, row.port), row)
            })
            .collect();
        rows.extend(missing.into_iter().map(|(key, port)| {
            let row = FdbEntry {
                mac: key.mac,
                vlan_id: key.vlan_id,
                port,
                kind: "static".to_owned(),
                wanted: true,
                kernel: false,
                hardware: hardware(false),
            };
            (format!("{:04} {} {}", row.vlan_id, row.mac, row.port), row)
        }));
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Members of multicast groups, with their sort keys.
    pub fn mdb_rows(&self, records: &[MdbRecord]) -> Vec<(String, MdbEntry)> {
        let mut missing = self.desired.mdb.clone();
        let mut rows = Vec::new();
        let mut add = |group: IpAddr, row: MdbEntry| {
            rows.push((format!("{:04} {} {}", row.vlan_id, address_key(group), row.port), row));
        };
        for record in records {
            let port = self.interfaces.name(record.index).to_owned();
            let key = plan::MdbKey { group: record.group, vlan_id: record.vlan_id, port: port.clone() };
            let row = MdbEntry {
                group: record.group.to_string(),
                vlan_id: record.vlan_id,
                port,
                kind: if record.permanent { "static" } else { "learned" }.to_owned(),
                wanted: record.permanent && missing.remove(&key),
                kernel: true,
                hardware: hardware(record.offloaded),
            };
            add(record.group, row);
        }
        for key in missing {
            let row = MdbEntry {
                group: key.group.to_string(),
                vlan_id: key.vlan_id,
                port: key.port,
                kind: "static".to_owned(),
                wanted: true,
                kernel: false,
                hardware: hardware(false),
            };
            add(key.group, row);
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// A route that is wanted and not there.
    fn missing_route(&self, route: &plan::Route, vrf: String) -> Route {
        let kind = match route.target {
            plan::RouteTarget::Blackhole => "blackhole",
            plan::RouteTarget::Unreachable => "unreachable",
            plan::RouteTarget::Object(_) | plan::RouteTarget::NextHops(_) => "unicast",
        };
        Route {
            prefix: route.key.prefix.to_string(),
            vrf,
            protocol: route::protocol_name(OWN_PROTOCOL),
            kind: kind.to_owned(),
            metric: route.key.metric,
            next_hops: self.wanted_hops(&route.target),
            wanted: true,
            kernel: false,
            hardware: "software".to_owned(),
            alarm: false,
        }
    }

    fn wanted_hops(&self, target: &plan::RouteTarget) -> Vec<NextHop> {
        let hop = |via: Option<IpAddr>, device: &str, weight: u16| NextHop {
            via: via.map(|via| via.to_string()).unwrap_or_default(),
            device: device.to_owned(),
            weight,
            dead: true,
        };
        let object = |id: &plan::NextHopId, weight: u16| match self.desired.next_hops.get(id) {
            Some(plan::NextHopObject::Single { via, device, .. }) => Some(hop(*via, device, weight)),
            _ => None,
        };
        match target {
            plan::RouteTarget::Blackhole | plan::RouteTarget::Unreachable => Vec::new(),
            plan::RouteTarget::NextHops(hops) => {
                hops.iter().map(|way| hop(way.via, &way.device, way.weight)).collect()
            }
            plan::RouteTarget::Object(id) => match self.desired.next_hops.get(id) {
                Some(plan::NextHopObject::Group(members)) => {
                    members.iter().filter_map(|(id, weight)| object(id, *weight)).collect()
                }
                _ => object(id, 1).into_iter().collect(),
            },
        }
    }
}

/// A static entry that is wanted and not there, but for what tells it apart.
fn missing_neighbour() -> Neighbour {
    Neighbour { state: "none".to_owned(), hardware: hardware(false), ..Neighbour::default() }
}

fn hardware(offloaded: bool) -> String {
    if offloaded { "offloaded" } else { "software" }.to_owned()
}

/// The name of a policy that spreads frames (`BOND_XMIT_POLICY_…`, linux/if_bonding.h).
fn hash_policy(number: u32) -> String {
    match number {
        0 => "layer2".to_owned(),
        1 => "layer3+4".to_owned(),
        2 => "layer2+3".to_owned(),
        other => other.to_string(),
    }
}

fn show_address(row: &AddressRecord) -> String {
    row.address.to_string()
}

/// Text whose order is that of the addresses.
fn address_key(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("4{:08x}", u32::from(address)),
        IpAddr::V6(address) => format!("6{:032x}", u128::from(address)),
    }
}

fn route_key(vrf: &str, prefix: &IpNet, metric: u32, protocol: u8) -> String {
    format!("{vrf} {}/{:03} {metric:010} {protocol:03}", address_key(prefix.addr()), prefix.prefix_len())
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

/// One page of rows that are sorted by their keys, and the cursor of the next; empty on the last. The
/// cursor is the key of the last row, so rows that come and go meanwhile do no harm. Rows of equal keys
/// are never torn apart.
pub fn page<T>(rows: Vec<(String, T)>, cursor: &str, limit: u32) -> (Vec<T>, String) {
    let limit =
        usize::try_from(limit).ok().filter(|limit| (1..=PAGE_ROWS).contains(limit)).unwrap_or(PAGE_ROWS);
    let mut rest = rows.into_iter().filter(|(key, _)| cursor.is_empty() || key.as_str() > cursor).peekable();
    let (mut page, mut last) = (Vec::new(), String::new());
    while let Some((key, row)) = rest.next_if(|(key, _)| page.len() < limit || *key == last) {
        page.push(row);
        last = key;
    }
    let next = if rest.peek().is_some() { last } else { String::new() };
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_row_once() {
        let rows = || (0..25).map(|n| (format!("{:03}", n / 2), n)).collect::<Vec<_>>();
        let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let (page, next) = page(rows(), &cursor, 4);
            seen.extend(page);
            pages += 1;
            if next.is_empty() {
                break;
            }
            cursor = next;
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
        assert_eq!(pages, 7);
    }

    /// What the rows of these links are joined from, with nothing configured but `document`.
    fn with_view<T>(links: Vec<LinkRecord>, document: &str, rows: impl FnOnce(View<'_>) -> T) -> T {
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

    fn link(index: u32, name: &str, kind: &str) -> LinkRecord {
        LinkRecord { index, name: name.to_owned(), kind: kind.to_owned(), ..LinkRecord::default() }
    }

    #[test]
    fn a_lag_is_shown_with_its_partner_and_members_and_one_nobody_answers_has_none() {
        let lag_of = |partner: &str| {
            let aggregator = lag::Aggregator { id: 1, partner_key: 9, partner: partner.to_owned() };
            let settings = [(Setting::HashPolicy, Value::Number(1)), (Setting::MinLinks, Value::Number(2))];
            let record = lag::MemberRecord {
                active: true,
                link_up: true,
                aggregator: 1,
                actor_state: 0x3d,
                partner_state: 0x3d,
                ..lag::MemberRecord::default()
            };
            let other = lag::MemberRecord { aggregator: 2, ..record };
            vec![
                LinkRecord {
                    lacp: Some(true),
                    aggregator,
                    settings: settings.into(),
                    oper_state: 6,
                    ..link(9, "uplink", "bond")
                },
                LinkRecord { master: 9, member: other, ..link(4, "swp10", "") },
                LinkRecord { master: 9, member: record, ..link(5, "swp2", "") },
                link(6, "swp3", ""),
            ]
        };
        let rows = with_view(lag_of("02:00:5e:00:53:01"), "version = 1\n", |view| view.lag_rows());
        let [lag] = rows.as_slice() else { panic!("one LAG: {rows:?}") };
        assert_eq!(
            (lag.mode.as_str(), lag.lacp_rate.as_str(), lag.hash.as_str()),
            ("lacp", "slow", "layer3+4")
        );
        assert_eq!((lag.min_links, lag.partner.as_str(), lag.wanted), (2, "02:00:5e:00:53:01", false));
        let members: Vec<_> = lag.members.iter().map(|row| (row.port.as_str(), row.active)).collect();
        assert_eq!(members, [("swp2", true), ("swp10", false)], "the second is of another aggregator");
        assert!(lag.members[0].partner_state.contains(&"distributing".to_owned()));
        let rows = with_view(lag_of(""), "version = 1\n", |view| view.lag_rows());
        assert!(rows[0].partner.is_empty() && rows[0].members[0].partner_state.is_empty(), "{rows:?}");
    }

    #[test]
    fn interfaces_that_are_no_ports_are_shown_with_what_their_kind_has() {
        let remote = |last: u8| FdbRecord {
            index: 3,
            bridge: 0,
            mac: FLOOD.to_owned(),
            vlan_id: 0,
            remote: Some([192, 0, 2, last].into()),
            state: 0,
            flags: 0,
        };
        let vxlan =
            crate::kernel::vxlan::VxlanRecord { vni: 10_010, local: Some([192, 0, 2, 1].into()), port: 4789 };
        let links = vec![
            link(1, BRIDGE, "bridge"),
            link(2, "lo0", "dummy"),
            LinkRecord { vxlan, ..link(3, "vx10", "vxlan") },
            LinkRecord { table: 1001, ..link(4, "blue", "vrf") },
            LinkRecord { lower: 1, vlan_id: 10, master: 4, ..link(5, "vlan10", "vlan") },
            LinkRecord { lower: 7, vlan_id: 20, ..link(6, "swp1.20", "vlan") },
            link(7, "swp1", ""),
        ];
        let mut other = remote(9);
        other.mac = "02:00:00:00:00:01".to_owned();
        let entries = [remote(3), remote(2), other];
        let rows = with_view(links, "version = 1\n", |view| view.interface_rows(&entries));
        let kinds: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.kind.as_str())).collect();
        let wanted = [
            ("lo0", "loopback"),
            ("vlan10", "vlan"),
            ("swp1.20", "subinterface"),
            ("vx10", "vxlan"),
            ("blue", "vrf"),
        ];
        assert_eq!(kinds, wanted);
        assert_eq!((rows[1].vlan_id, rows[1].vrf.as_str()), (10, "blue"));
        assert_eq!((rows[2].vlan_id, rows[2].parent.as_str()), (20, "swp1"));
        assert_eq!((rows[3].vni, rows[3].local.as_str(), rows[3].udp_port), (10_010, "192.0.2.1", 4789));
        assert_eq!(rows[3].remotes, ["192.0.2.2", "192.0.2.3"]);
        assert_eq!((rows[4].table, rows[4].members.as_slice()), (1001, &["vlan10".to_owned()][..]));
    }

    #[test]
    fn ports_sort_by_number() {
        let mut names = ["swp10", "swp2s1", "swp2", "mgmt0"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["mgmt0", "swp2", "swp2s1", "swp10"]);
    }
}
