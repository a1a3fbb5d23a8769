//! What is wanted: the configuration and the attachments, as the plan's [`Network`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use netd_api::config::Config;
use netd_api::config::model::{self, PortRole, PortVlans, vlan_interface};
use nix::libc;

use crate::attach::Record;
use crate::plan::{
    FdbKey, Link, LinkKind, Network, Route, RouteKey, RouteTarget, Setting, VlanMembership, VlanTable,
};

mod next_hops;

use next_hops::Collector;

/// Name of the one bridge.
pub const BRIDGE: &str = "bridge";
/// MTU in bytes of a port whose configuration says nothing.
pub const DEFAULT_MTU_BYTES: u32 = 1500;
/// Metric of the route that ends a VRF: worse than anything an operator may set.
const END_OF_VRF_METRIC: u32 = 4_278_198_272;

/// Everything that decides what is wanted.
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Front-panel ports of this switch.
    pub ports: &'a BTreeSet<String>,
    /// Attachments.
    pub attachments: &'a BTreeMap<String, Record>,
    /// Hardware address of the bridge and its VLAN interfaces; it must not change as ports come and go.
    pub bridge_mac: &'a str,
    /// Whether routes go by next hop objects.
    pub objects: bool,
}

/// The network that is wanted.
pub fn network(inputs: &Inputs) -> Network {
    let mut network = Network::default();
    add_vrfs(inputs, &mut network);
    for name in inputs.ports {
        let port = inputs.config.ports.get(name);
        network.links.insert(name.clone(), front_panel_port(port));
    }
    for record in inputs.attachments.values() {
        network.links.insert(record.port.clone(), attachment_port(record));
    }
    for (name, loopback) in &inputs.config.loopbacks {
        let mut link = Link { up: true, ..Link::new(LinkKind::Dummy) };
        add_layer3(&mut link, &loopback.layer3);
        link.set(Setting::LinkLocal, false);
        network.links.insert(name.clone(), link);
    }
    add_bridge(inputs, &mut network);
    add_routes(inputs, &mut network);
    for entry in &inputs.config.fdb {
        let key = FdbKey { mac: entry.mac.to_string(), vlan_id: entry.vlan_id, tunnel: None };
        network.fdb.insert(key, entry.port.clone());
    }
    network
}

fn add_vrfs(inputs: &Inputs, network: &mut Network) {
    for (name, vrf) in &inputs.config.vrfs {
        let link = Link { up: true, ..Link::new(LinkKind::Vrf { table: vrf.table }) };
        network.links.insert(name.clone(), link);
        // Without an end, a lookup that finds nothing in a VRF goes on in the main table.
        for prefix in ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()) {
            let key = RouteKey { table: vrf.table, prefix, metric: END_OF_VRF_METRIC };
            network.routes.push(Route { key, target: RouteTarget::Unreachable });
        }
    }
}

/// A port the configuration does not mention is down and outside the bridge.
fn front_panel_port(port: Option<&model::Port>) -> Link {
    let mut link = Link::new(LinkKind::Hardware);
    link.set(Setting::Mtu, port.and_then(|port| port.mtu_bytes).unwrap_or(DEFAULT_MTU_BYTES));
    link.set(Setting::LinkLocal, false);
    link.set(Setting::Alias, port.map_or("", |port| &port.description));
    let Some(port) = port else {
        return link;
    };
    link.up = port.enabled;
    match &port.role {
        PortRole::Unused => {}
        PortRole::Bridged(vlans) => {
            link.master = Some(BRIDGE.to_owned());
            link.vlans = vlan_table(vlans);
        }
        PortRole::Routed(layer3) => add_layer3(&mut link, layer3),
    }
    link
}

fn attachment_port(record: &Record) -> Link {
    let mut link = Link { up: true, ..Link::new(LinkKind::Veth) };
    link.set(Setting::Mtu, record.mtu_bytes);
    link.set(Setting::LinkLocal, false);
    link.set(Setting::Alias, record.key.as_str());
    link.master = Some(BRIDGE.to_owned());
    link.vlans = vlan_table(&record.vlans());
    link
}

fn vlan_table(vlans: &PortVlans) -> VlanTable {
    let mut table = VlanTable::default();
    for range in &vlans.tagged {
        table.insert(range.first, range.last, VlanMembership::default());
    }
    if let Some(id) = vlans.untagged {
        table.insert(id, id, VlanMembership { pvid: true, untagged: true });
    }
    table
}

fn add_layer3(link: &mut Link, layer3: &model::Layer3) {
    link.master.clone_from(&layer3.vrf);
    link.addresses.clone_from(&layer3.addresses);
    link.set(Setting::LinkLocal, true);
}

/// The bridge, with its VLAN interfaces and its own membership in their VLANs.
fn add_bridge(inputs: &Inputs, network: &mut Network) {
    let mut bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
    bridge.set(Setting::VlanFiltering, true);
    bridge.set(Setting::DefaultPvid, 0_u32);
    bridge.set(Setting::LinkLocal, false);
    bridge.set(Setting::Mac, inputs.bridge_mac);
    // Front-panel ports alone: a workload must change nothing for others, and asks for its own MTU.
    let members = || {
        let of_bridge = |link: &&Link| link.master.as_deref() == Some(BRIDGE);
        inputs.ports.iter().filter_map(|name| network.links.get(name)).filter(of_bridge)
    };
    let widest = members().filter_map(|link| link.number(Setting::Mtu)).max().unwrap_or(DEFAULT_MTU_BYTES);
    bridge.set(Setting::Mtu, widest.max(DEFAULT_MTU_BYTES));
    let mut interfaces = Vec::new();
    for (&id, vlan) in inputs.config.vlans.iter().filter(|(_, vlan)| vlan.has_interface()) {
        bridge.vlans.insert(id, id, VlanMembership::default());
        let mut link = Link { up: true, ..Link::new(LinkKind::Vlan { parent: BRIDGE.to_owned(), id }) };
        link.set(Setting::Alias, vlan.name.as_str());
        // What the switch sends into a VLAN must fit through each of its front-panel ports: a bridge
        // does not fragment.
        let narrowest = members()
            .filter(|link| link.vlans.get(id).is_some())
            .filter_map(|link| link.number(Setting::Mtu))
            .min()
            .unwrap_or(DEFAULT_MTU_BYTES);
        link.set(Setting::Mtu, narrowest);
        add_layer3(&mut link, &vlan.layer3);
        interfaces.push((vlan_interface(id), link));
    }
    network.links.extend(interfaces);
    network.links.insert(BRIDGE.to_owned(), bridge);
}

fn add_routes(inputs: &Inputs, network: &mut Network) {
    let config = inputs.config;
    let mut collector = Collector::default();
    let mut waiting = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let table = match &route.vrf {
            Some(vrf) => config.vrfs.get(&**vrf).map(|vrf| vrf.table),
            None => Some(u32::from(libc::RT_TABLE_MAIN)),
        };
        // The parser only lets VRFs through that are defined.
        let Some(table) = table else { continue };
        let key = RouteKey { table, prefix: route.prefix, metric: route.metric };
        let place = match &route.target {
            model::RouteTarget::Blackhole => None,
            model::RouteTarget::NextHops(hops) => Some(collector.add(hops, route.prefix.addr().is_ipv6())),
        };
        waiting.push((key, place));
    }
    let targets = collector.finish(inputs.objects);
    network.routes.extend(waiting.into_iter().map(|(key, place)| Route {
        key,
        target: place.map_or(RouteTarget::Blackhole, |place| targets.get(place)),
    }));
    network.next_hops = targets.next_hops;
    network.sort();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(document: &str) -> Network {
        wanted_with(document, &BTreeMap::new())
    }

    fn wanted_with(document: &str, attachments: &BTreeMap<String, Record>) -> Network {
        let config = netd_api::config::parse(document).expect("a valid document");
        let ports = (1..=4).map(|n| format!("swp{n}")).collect();
        network(&Inputs { config: &config, ports: &ports, attachments, bridge_mac: "02:00:00:00:00:01" })
    }

    #[test]
    fn ports_the_configuration_does_not_mention_are_down_and_outside_the_bridge() {
        let network = wanted("version = 1\n[ports.swp1]\nvlan.access = 10\n");
        assert!(network.links["swp1"].up);
        assert_eq!(network.links["swp1"].master.as_deref(), Some(BRIDGE));
        assert!(!network.links["swp2"].up);
        assert_eq!(network.links["swp2"].master, None);
    }

    #[test]
    fn an_interface_of_a_vlan_is_as_narrow_as_its_narrowest_port() {
        let network = wanted(
            "version = 1\n[ports.swp1]\nmtu = 9000\nvlan.access = 10\n[ports.swp2]\nmtu = 4000\nvlan.trunk = [10]\n\
             [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n",
        );
        assert_eq!(network.links["vlan10"].number(Setting::Mtu), Some(4000));
        assert_eq!(network.links[BRIDGE].number(Setting::Mtu), Some(9000));
    }

    #[test]
    fn a_workload_changes_the_mtu_of_no_interface_but_its_own() {
        let document = "version = 1\n[ports.swp1]\nvlan.access = 10\n[vlans.10]\naddresses = [\"10.0.10.1/24\"]\n\
                        [vlans.20]\naddresses = [\"10.0.20.1/24\"]\n";
        let alone = wanted(document);
        for mtu_bytes in [576, 9000] {
            let request = netd_api::attach::AttachRequest {
                key: "default/web/eth0".to_owned(),
                interface: "eth0".to_owned(),
                untagged_vlan: 10,
                tagged_vlans: vec![netd_api::state::VlanRange { first: 20, last: 20 }],
                mtu_bytes,
                ..netd_api::attach::AttachRequest::default()
            };
            let record = crate::attach::check_request(&request).expect("a valid request");
            let mut network = wanted_with(document, &[(record.key.clone(), record.clone())].into());
            assert_eq!(network.links.remove(&record.port).expect("its port").mtu_bytes, Some(mtu_bytes));
            assert_eq!(network, alone);
        }
    }

    #[test]
    fn a_vrf_ends_lookups_in_both_families() {
        let network = wanted("version = 1\n[vrfs.blue]\ntable = 1001\n");
        assert_eq!(network.routes.len(), 2);
        assert!(network.routes.iter().all(|route| route.target == RouteTarget::Unreachable));
    }
}
