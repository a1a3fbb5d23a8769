//! What a good document means, once ranges, profiles, defaults and next hops are filled in.
#![allow(clippy::unwrap_used)] // the helpers of tests may fail loudly, too

use std::sync::Arc;

use netd_api::config::model::{
    Allow, DriftSection, Duplex, Fec, HashPolicy, LacpSelect, LagMode, ManagementAddress, NextHop, PortRole,
    PortVlans, Route, RouteTarget,
};
use netd_api::config::model::{AttachmentUse, Inventory};
use netd_api::config::{Config, Place, parse};
use netd_api::state::VlanRange;

fn everything() -> Config {
    parse(include_str!("config/everything/switch.toml")).unwrap()
}

fn bridged<'c>(config: &'c Config, port: &str) -> &'c PortVlans {
    match &config.ports[port].ethernet.role {
        PortRole::Bridged(port) => &port.vlans,
        other => panic!("{port} is {other:?}"),
    }
}

fn hops(target: &RouteTarget) -> &[NextHop] {
    match target {
        RouteTarget::NextHops(hops) => hops,
        other => panic!("{other:?}"),
    }
}

fn place_of(text: &str, needle: &str) -> Place {
    let before = &text[..text.find(needle).unwrap()];
    let line = u32::try_from(before.lines().count()).unwrap();
    Place { line: line + u32::from(before.ends_with('\n')), column: 0 }
}

#[test]
fn a_range_configures_each_of_its_ports() {
    let config = everything();
    for number in 2..=24 {
        let vlans = bridged(&config, &format!("swp{number}"));
        assert_eq!(vlans.untagged, Some(1));
        assert_eq!(vlans.tagged, [VlanRange { first: 10, last: 20 }, VlanRange { first: 30, last: 30 }]);
    }
    assert_eq!(bridged(&config, "swp49s3").tagged.last(), Some(&VlanRange { first: 100, last: 200 }));
    assert!(!config.ports.contains_key("swp28"));
}

#[test]
fn a_port_overrides_its_profile_key_by_key() {
    let config = everything();
    let plain = &config.ports["swp25"].ethernet;
    assert_eq!((plain.mtu_bytes, plain.enabled), (Some(9000), true));
    assert_eq!(bridged(&config, "swp25").untagged, Some(20));
    let own = &config.ports["swp31"].ethernet;
    assert_eq!((own.mtu_bytes, own.enabled), (Some(9000), false));
    assert_eq!(bridged(&config, "swp31").untagged, Some(21));
}

#[test]
fn the_native_vlan_is_not_also_tagged() {
    let config = parse("version = 1\n[ports.swp1]\nvlan = { trunk = [\"1-4094\"], native = 10 }").unwrap();
    let vlans = bridged(&config, "swp1");
    assert_eq!(vlans.tagged, [VlanRange { first: 1, last: 9 }, VlanRange { first: 11, last: 4094 }]);
    assert!(vlans.carries(10) && vlans.carries(4094));
}

#[test]
fn next_hops_find_their_interface_and_metrics_the_kernels_default() {
    let config = everything();
    let ecmp = hops(&config.routes[0].target);
    assert_eq!(
        ecmp.iter().map(|hop| (&*hop.device, hop.weight, hop.on_link)).collect::<Vec<_>>(),
        [("vlan10", 1, false), ("vlan10", 3, false)]
    );
    assert_eq!(config.routes[0].metric, 0);
    let link_local = &hops(&config.routes[1].target)[0];
    assert_eq!((&*link_local.device, link_local.on_link), ("vlan10", true));
    assert_eq!(config.routes[1].metric, 2048);
    let direct = &hops(&config.routes[2].target)[0];
    assert_eq!((direct.via, &*direct.device), (None, "swp48"));
    assert_eq!(config.routes[3].target, RouteTarget::Blackhole);
    let v6 = parse("version = 1\n[[routes]]\nprefix = \"::/0\"\nblackhole = true").unwrap();
    assert_eq!(v6.routes[0].metric, 1024);
}

#[test]
fn an_empty_document_means_dhcp_and_a_closed_control_plane() {
    let config = parse("version = 1").unwrap();
    assert_eq!(config.management.address, ManagementAddress::Dhcp);
    assert_eq!(config.management.vrf, None);
    assert!(config.ports.is_empty());
    assert_eq!(
        config.control_plane.allow.into_iter().collect::<Vec<_>>(),
        [Allow::Arp, Allow::Icmp, Allow::Nd]
    );
}

#[test]
fn a_management_vrf_has_a_table_with_or_without_a_section() {
    let vrf = everything().management.vrf.unwrap();
    assert_eq!((vrf.name.as_str(), vrf.table, vrf.defined), ("mgmt", 1000, false));
    let vrf = parse("version = 1\nmanagement.vrf = \"m\"\nvrfs.m.table = 7").unwrap().management.vrf.unwrap();
    assert_eq!((vrf.table, vrf.defined), (7, true));
}

#[test]
fn settings_are_found_by_their_path() {
    let text = include_str!("config/everything/switch.toml");
    let config = everything();
    let line = |path: &str| config.locate(path).map(|place| place.line);
    assert_eq!(line("ports.swp1.mtu"), Some(place_of(text, "mtu = 9216").line));
    assert_eq!(line("ports.swp7.vlan.trunk"), Some(place_of(text, "vlan.trunk").line));
    assert_eq!(line("ports.swp7"), Some(place_of(text, "[ports.\"swp[2-24]").line));
    // What the document leaves out is at the place of what is around it.
    assert_eq!(line("ports.swp7.mtu"), line("ports.swp7"));
    assert_eq!(line("vlans.10.addresses[1]"), Some(place_of(text, "addresses = [\"10.0.10.1/24\", ").line));
    assert_eq!(config.locate("nothing"), None);
    // So are the keys of a route, of which there may be too many.
    assert_eq!(line("routes[1].via"), line("routes[1]"));
    assert_eq!(line("routes[1]"), Some(place_of(text, "[[routes]]\nprefix = \"::/0\"").line));
}

#[test]
fn members_have_the_mtu_of_their_lag_and_nothing_else_of_it() {
    let config = everything();
    let uplink = &config.lags["uplink"];
    assert_eq!(uplink.members, ["swp45", "swp46"]);
    assert_eq!(
        (uplink.mode, uplink.hash, uplink.min_links),
        (LagMode::Lacp { fast: true, select: LacpSelect::Stable }, HashPolicy::Layer2And3, 2)
    );
    for name in &uplink.members {
        let member = &config.ports[name].ethernet;
        assert_eq!(member.role, PortRole::Member("uplink".to_owned()));
        assert_eq!((member.mtu_bytes, member.mac, member.enabled), (Some(9216), None, true));
    }
    assert_eq!(config.ports["swp45"].link_mode.speed_mbps, Some(2500));
    // A port that only a LAG mentions is where the LAG mentions it.
    let text = include_str!("config/everything/switch.toml");
    let line = place_of(text, "members = [\"swp[45-46]\"]").line;
    assert_eq!(config.ports["swp46"].place.line, line);
    assert_eq!(config.locate("ports.swp46").map(|place| place.line), Some(line));
}

#[test]
fn a_lag_is_a_port_of_the_bridge_or_routes_like_one() {
    let config = everything();
    let PortRole::Bridged(uplink) = &config.lags["uplink"].ethernet.role else { panic!("not bridged") };
    assert!(uplink.vlans.carries(15) && uplink.isolated && uplink.learning);
    assert_eq!(config.ethernet("uplink"), Some(&config.lags["uplink"].ethernet));
    let core = &config.lags["core"];
    assert_eq!((core.mode, core.hash, core.min_links), (LagMode::Static, HashPolicy::Layer3And4, 1));
    assert_eq!(core.ethernet.role, PortRole::Unused);
    let sub = &config.subinterfaces["core.100"];
    assert_eq!((sub.parent.as_str(), sub.vlan_id, sub.mtu_bytes), ("core", 100, Some(1400)));
    assert_eq!((sub.enabled, sub.layer3.vrf.as_deref(), sub.layer3.forwarding), (true, Some("red"), true));
    let sub = &config.subinterfaces["swp47.7"];
    assert_eq!((sub.enabled, sub.layer3.forwarding), (false, false));
}

#[test]
fn what_a_port_says_of_its_link_is_kept_apart_from_its_role() {
    let config = everything();
    let port = &config.ports["swp51"];
    let mode = port.link_mode;
    assert_eq!((mode.speed_mbps, mode.duplex), (Some(10_000), Some(Duplex::Full)));
    assert_eq!((mode.autoneg, mode.fec), (Some(false), Some(Fec::Rs)));
    let PortRole::Bridged(bridged) = &port.ethernet.role else { panic!("not bridged") };
    assert_eq!((bridged.vlans.untagged, bridged.isolated, bridged.learning), (Some(20), true, false));
    let routed = &config.ports["swp52"].ethernet;
    assert_eq!(routed.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:52:01"));
    assert!(matches!(&routed.role, PortRole::Routed(layer3) if !layer3.forwarding));
    assert_eq!((config.ports["swp49"].breakout, config.ports["swp49s3"].breakout), (Some(4), None));
}

#[test]
fn the_bridge_has_its_tables_and_its_tunnels() {
    let config = everything();
    let bridge = &config.bridge;
    assert_eq!((bridge.ageing_time_s, bridge.stp, bridge.priority), (600, true, 4096));
    assert!(bridge.igmp_snooping && bridge.querier);
    assert_eq!([10, 40].map(|id| config.vlans[&id].querier), [None, Some(false)]);
    assert_eq!(config.fdb[0].port, "uplink");
    assert_eq!(config.mdb[0].ports, ["swp1", "swp2", "swp3", "swp4", "uplink"]);
    let vxlan = &config.vxlans["overlay"];
    assert_eq!((vxlan.vni, vxlan.vlan_id, vxlan.port, vxlan.remotes.len()), (10_020, 20, 4789, 2));
    let alone = parse("version = 1").unwrap().bridge;
    assert_eq!((alone.ageing_time_s, alone.stp, alone.priority), (300, false, 32768));
    assert!(alone.igmp_snooping && !alone.querier);
    let only_vxlan = "version = 1\n[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\"]\n[vxlans.a]\nvni = 1\nvlan = 7\n\
                      local = \"198.51.100.1\"\nremotes = [\"198.51.100.2\"]\n";
    assert!(parse(only_vxlan).unwrap().has_vlan(7));
}

/// A document with two ports and so many tunnels in the bridge.
fn with_tunnels(count: usize) -> String {
    let ports = "version = 1\n[ports.\"swp[1-2]\"]\nvlan.trunk = [\"2-1100\"]\n[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\"]\n";
    let tunnels = (2..count + 2).map(|vlan| {
        format!("[vxlans.v{vlan}]\nvni = {vlan}\nvlan = {vlan}\nlocal = \"198.51.100.1\"\nremotes = [\"198.51.100.2\"]\n")
    });
    ports.to_owned() + &tunnels.collect::<String>()
}

#[test]
fn bridge_ports_beyond_the_kernels_limit_are_refused_with_the_number() {
    let inventory = |attached: usize| Inventory {
        ports: ["swp1", "swp2"].map(str::to_owned).into(),
        attachments: vec![AttachmentUse::default(); attached],
    };
    let config = parse(&with_tunnels(1021)).unwrap();
    assert_eq!(config.admit(&inventory(0)), []);
    // Line 2 is that of the ports, line 4 that of the loopback, and each tunnel has five.
    let refused = config.admit(&inventory(2));
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].line, 6 + 5 * 1019);
    assert!(
        refused[0].message.contains("1023 ports, LAGs and tunnels, and it has 2 of workloads"),
        "{refused:?}"
    );
    let refused = parse(&with_tunnels(1022)).unwrap_err();
    assert_eq!((refused.len(), refused[0].line), (1, 6 + 5 * 1021));
    assert!(refused[0].message.contains("1024 ports, LAGs and tunnels: at most 1023"), "{refused:?}");
}

#[test]
fn routing_is_on_unless_it_is_turned_off() {
    let config = everything();
    assert!(config.routing.ipv4 && !config.routing.ipv6);
    assert!(config.vlans[&10].layer3.forwarding && !config.vlans[&40].layer3.forwarding);
    assert_eq!(config.neighbours[0].device, "vlan40");
    let routing = parse("version = 1").unwrap().routing;
    assert!(routing.ipv4 && routing.ipv6);
}

#[test]
fn drift_is_repaired_unless_it_is_only_to_be_reported() {
    let drift = everything().drift;
    assert!(!drift.repairs(DriftSection::Routes));
    assert!(drift.repairs(DriftSection::Vlans) && drift.repairs(DriftSection::Ports));
}

#[test]
fn a_distance_is_a_metric_counted_from_the_default() {
    let config = everything();
    let find = |target: &str| {
        let prefix: ipnet::IpNet = target.parse().unwrap();
        config
            .routes
            .iter()
            .find(|route| route.prefix == prefix && route.target != RouteTarget::Blackhole)
            .unwrap()
    };
    assert_eq!((find("203.0.113.0/24").metric, find("203.0.113.0/24").installed), (0, true));
    let unreachable = config.routes.iter().find(|route| route.target == RouteTarget::Unreachable).unwrap();
    assert_eq!((unreachable.metric, unreachable.installed), (199, true));
    assert_eq!((find("2001:db8:ffff::/48").metric, find("2001:db8:ffff::/48").installed), (1026, true));
    let never = find("203.0.113.128/25");
    assert!(!never.installed);
    assert_eq!(&*hops(&never.target)[0].device, "core.100");
    for family in ["0.0.0.0/0", "::/0"] {
        let route = format!("[[routes]]\nprefix = \"{family}\"\nblackhole = true\n");
        let metric = |text: &str| parse(&format!("version = 1\n{text}")).unwrap().routes[0].metric;
        assert_eq!(metric(&route), metric(&format!("{route}distance = 1\n")));
    }
}

#[test]
fn routes_are_small_and_share_what_they_have_in_common() {
    assert!(size_of::<Route>() <= 72, "{} bytes", size_of::<Route>());
    let route =
        |number: u32, via: &str| format!("[[routes]]\nprefix = \"10.1.{number}.0/24\"\nvia = {via}\n");
    let routes: String = (0..8).map(|number| route(number, "[\"10.0.0.2\"]")).collect();
    let other = route(100, "\"10.0.0.2\" # the same in other words");
    let text = format!("version = 1\n[ports.swp1]\naddresses = [\"10.0.0.1/24\"]\n{routes}{other}");
    let config = parse(&text).unwrap();
    let shared = |route: &Route| match &route.target {
        RouteTarget::NextHops(hops) => Arc::clone(hops),
        other => panic!("{other:?}"),
    };
    assert!(config.routes.iter().all(|route| Arc::ptr_eq(&shared(route), &shared(&config.routes[0]))));
    assert_eq!(config.locate("routes[5].via[0]"), Some(config.routes[5].place));
    assert_eq!(config.routes[5].place.line, place_of(&text, "10.1.5.0").line - 1);
}
