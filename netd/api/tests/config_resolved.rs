//! What a good document means, once ranges, profiles, defaults and next hops are filled in.
#![allow(clippy::unwrap_used)] // the helpers of tests may fail loudly, too

use netd_api::config::model::{Allow, ManagementAddress, NextHop, PortRole, PortVlans, RouteTarget};
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
