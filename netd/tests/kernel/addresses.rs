//! Addresses: their order is part of what is desired.

use std::collections::BTreeSet;
use std::process::Command;

use ipnet::IpNet;
use netd::kernel::address::{self, AddressRecord};
use netd::kernel::route;
use netd::kernel::unreported::Unreported;
use netd::kernel::{batch, link};
use netd::plan::{Action, HeldRoute, LinkKind, Network, Setting, plan};
use netd::transaction::{Kernel, commit};

use crate::common::isolated;
use crate::exchange::{self, Flow, lost_during};
use crate::network::desired;
use crate::room::{BRIDGE, Room, create, set};

fn wanted(room: &Room, addresses: &[&str], more: &str) -> Network {
    let list: Vec<String> = addresses.iter().map(|address| format!("{address:?}")).collect();
    let document = format!("version = 1\n[ports.swp1]\naddresses = [{}]\n{more}", list.join(", "));
    let mut network = desired(&netd_api::config::parse(&document).expect("valid"), &room.scope.ports);
    network.links.remove(BRIDGE);
    network
}

fn apply(room: &mut Room, addresses: &[&str]) {
    apply_with(room, addresses, "");
}

/// Applies a document that has, after the addresses, something more.
fn apply_with(room: &mut Room, addresses: &[&str], more: &str) {
    let network = wanted(room, addresses, more);
    let unreported = &mut Unreported::default();
    let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
    commit(&mut kernel, &network).unwrap_or_else(|error| panic!("{addresses:?}: {error}"));
    assert_eq!(plan(&network, &room.snapshot()), Vec::new(), "{addresses:?}");
}

/// The address that the switch speaks as to a destination.
fn source(destination: &str) -> String {
    let output = Command::new("ip").args(["route", "get", destination]).output().expect("ip(8) of iproute2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|word| *word != "src");
    words.nth(1).unwrap_or_else(|| panic!("{destination}: {text}")).to_owned()
}

/// Whether the switch has an address for which it never asks other hosts.
fn is_any_exempt() -> bool {
    let output = Command::new("ip").args(["address", "show", "dev", "swp1"]).output().expect("ip(8)");
    String::from_utf8_lossy(&output.stdout).contains("nodad")
}

#[test]
fn addresses_stand_in_the_order_of_the_document_whatever_came_before() {
    isolated("addresses::addresses_stand_in_the_order_of_the_document_whatever_came_before", || {
        // Both ways of the kernel: whether a second address of a subnet goes along with the first.
        for promote in ["0", "1"] {
            for scope in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries"), promote)
                    .unwrap();
            }
            let mut room = Room::new();
            room.add_pair("swp1", "host1");
            let (a, b, c) = ("10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/24");
            let (d, e) = ("2001:db8::1/64", "2001:db8::2/64");
            for (addresses, v4, v6) in [
                ([a, b, c, d, e], "10.0.0.1", "2001:db8::1"),
                ([b, a, c, e, d], "10.0.0.2", "2001:db8::2"),
                ([c, b, a, e, d], "10.0.0.2", "2001:db8::2"),
                ([a, c, b, d, e], "10.0.0.1", "2001:db8::1"),
            ] {
                apply(&mut room, &addresses);
                assert_eq!(source("10.0.0.99"), v4, "{addresses:?}");
                assert_eq!(source("2001:db8::99"), v6, "{addresses:?}");
                assert!(!is_any_exempt(), "{addresses:?}: others are never asked for an address");
                // As a switch that boots with this document.
                let reordered = room.snapshot().links["swp1"].addresses.clone();
                apply(&mut room, &[]);
                apply(&mut room, &addresses);
                assert_eq!(room.snapshot().links["swp1"].addresses, reordered, "{addresses:?}");
            }
            room.connection.request(netd::kernel::link::delete("swp1")).unwrap();
        }
    });
}

/// IPv6 addresses of a link, each with who set it and how long it holds, in order.
fn ipv6_of(room: &mut Room, name: &str) -> Vec<(String, u8, u8)> {
    let index = room.index(name);
    let records = address::dump(&mut room.connection).expect("addresses");
    let of_link = |record: &&AddressRecord| record.index == index && record.address.addr().is_ipv6();
    let told = |record: &AddressRecord| (record.address.to_string(), record.protocol, record.scope);
    let mut found: Vec<_> = records.iter().filter(of_link).map(told).collect();
    found.sort();
    found
}

/// Routes of a link in the words of ip(8).
fn ipv6_routes() -> String {
    let output = Command::new("ip").args(["-6", "route", "show", "dev", "swp1"]).output().expect("ip(8)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a link has a link-local address.
fn wait_for_link_local(room: &mut Room) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !ipv6_of(room, "swp1").iter().any(|(address, ..)| address.starts_with("fe80::")) {
        assert!(std::time::Instant::now() < deadline, "no link-local address within 30 s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn link_local_address_follows_the_hardware_address() {
    isolated("addresses::link_local_address_follows_the_hardware_address", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        apply(&mut room, &["2001:db8::1/64", "fe80::1/64"]);
        wait_for_link_local(&mut room);
        let losses = |room: &mut Room| {
            let record = link::find_by_name(&mut room.connection, "swp1").expect("a query").expect("swp1");
            (record.carrier_losses, record.has_carrier())
        };
        let (before, routes, carrier) = (ipv6_of(&mut room, "swp1"), ipv6_routes(), losses(&mut room));
        room.carry_out([set("swp1", Setting::Mac, "02:00:5e:00:53:01")]);
        let after = ipv6_of(&mut room, "swp1");
        assert!(after.iter().any(|(address, ..)| address == "fe80::5eff:fe00:5301/64"), "{after:?}");
        assert_eq!(after.len(), before.len(), "{before:?} {after:?}");
        for kept in ["2001:db8::1/64", "fe80::1/64"] {
            let of = |rows: &[(String, u8, u8)]| rows.iter().find(|(address, ..)| address == kept).cloned();
            assert_eq!(of(&after), of(&before), "{kept}");
            assert!(of(&after).is_some(), "{after:?}");
        }
        assert_eq!((ipv6_routes(), losses(&mut room)), (routes, carrier), "nothing went with it");
        // As a switch that boots with this hardware address.
        room.connection.request(link::set_admin("swp1", false)).expect("down");
        room.connection.request(link::set_admin("swp1", true)).expect("up");
        wait_for_link_local(&mut room);
        let link_local = |rows: Vec<(String, u8, u8)>| -> Vec<_> {
            rows.into_iter().filter(|(address, ..)| address.starts_with("fe80::5e")).collect()
        };
        assert_eq!(link_local(ipv6_of(&mut room, "swp1")), link_local(after), "and as the kernel sets it");
        // The same again changes nothing.
        let known = ipv6_of(&mut room, "swp1");
        room.carry_out([set("swp1", Setting::Mac, "02:00:5e:00:53:01")]);
        assert_eq!(ipv6_of(&mut room, "swp1"), known);
    });
}

/// Sets settings of the kernel that come in two: for all links, and for those to come.
fn set_sysctl(family: &str, name: &str, value: &str) {
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/{family}/conf/{scope}/{name}");
        std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

/// Carries out a command of ip(8).
fn ip(command: &str) {
    let status = Command::new("ip").args(command.split_whitespace()).status().expect("ip(8) of iproute2");
    assert!(status.success(), "ip {command}: {status}");
}

/// Routes and addresses that are held by netd, whatever link they are of.
fn held(room: &mut Room) -> Vec<IpNet> {
    let mut routes = route::dump(&mut room.connection, None).expect("routes");
    routes.retain(netd::kernel::held_route::is_held);
    let mut addresses = address::dump_with_held(&mut room.connection).expect("addresses");
    addresses.retain(AddressRecord::is_held);
    let routes = routes.iter().map(|record| record.prefix);
    routes.chain(addresses.iter().map(|record| record.address)).collect()
}

/// Has addresses of both families change their order over and over while hosts exchange packets with the switch, as each
/// of them, and through it. No packet is lost.
fn reorder_under_packets(vrf: Option<&str>) {
    let orders = [
        ["10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64", "2001:db8::2/64"],
        ["10.0.0.2/24", "10.0.0.1/24", "2001:db8::2/64", "2001:db8::1/64"],
    ];
    // As on the switch.
    set_sysctl("ipv4", "promote_secondaries", "1");
    set_sysctl("ipv4", "arp_ignore", "1");
    set_sysctl("ipv4", "forwarding", "1");
    set_sysctl("ipv6", "forwarding", "1");
    let mut room = Room::new();
    if let Some(vrf) = vrf
        && !room.can_make(&create(vrf, LinkKind::Vrf { table: 1001 }, &[]))
    {
        return;
    }
    let (mut near, mut far) = (room.add_host("swp1"), room.add_host("swp2"));
    // Nothing of netd's: a network from which packets are forwarded.
    room.scope.ports.remove("swp2");
    let more = vrf.map(|vrf| format!("vrf = \"{vrf}\"\n[vrfs.{vrf}]\ntable = 1001\n")).unwrap_or_default();
    apply_with(&mut room, &orders[0], &more);
    if let Some(vrf) = vrf {
        ip(&format!("link set swp2 master {vrf}"));
    }
    ip("address add 10.0.9.1/24 dev swp2");
    ip("address add 2001:db8:9::1/64 dev swp2 nodad");
    ["10.0.0.9/24", "2001:db8::9/64"].iter().for_each(|address| near.add_address(address));
    ["10.0.9.9/24", "2001:db8:9::9/64"].iter().for_each(|address| far.add_address(address));
    near.inside(|| {
        ip("route add 10.0.9.0/24 via 10.0.0.1");
        ip("route add 2001:db8:9::/64 via 2001:db8::1");
    });
    far.inside(|| {
        ip("route add 10.0.0.0/24 via 10.0.9.1");
        ip("route add 2001:db8::/64 via 2001:db8:9::1");
    });
    let mut flows = Vec::new();
    for address in ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"] {
        flows.push(near.inside(|| Flow::echo(address)));
    }
    for (address, any) in [("10.0.0.9:7", "10.0.9.9:0"), ("[2001:db8::9]:7", "[2001:db8:9::9]:0")] {
        let (asks, answers) =
            (far.inside(|| exchange::socket(any)), near.inside(|| exchange::socket(address)));
        flows.push(Flow::new(&format!("{address} by the switch"), asks, answers));
    }
    let lost = lost_during(&flows, |wait| {
        for _ in 0..25 {
            wait();
            apply_with(&mut room, &orders[1], &more);
            wait();
            apply_with(&mut room, &orders[0], &more);
        }
        wait();
    });
    assert!(lost.is_empty(), "{} lost, of these: {:#?}", lost.len(), &lost[..lost.len().min(9)]);
    assert_eq!(held(&mut room), [], "none is left");
}

#[test]
fn addresses_are_reordered_without_losing_packets() {
    isolated("addresses::addresses_are_reordered_without_losing_packets", || {
        reorder_under_packets(None);
    });
}

#[test]
fn addresses_of_a_vrf_are_reordered_without_losing_packets() {
    isolated("addresses::addresses_of_a_vrf_are_reordered_without_losing_packets", || {
        reorder_under_packets(Some("blue"));
    });
}

#[test]
fn a_new_first_address_takes_no_route_of_the_one_that_was_alone() {
    isolated("addresses::a_new_first_address_takes_no_route_of_the_one_that_was_alone", || {
        set_sysctl("ipv4", "promote_secondaries", "1");
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        apply(&mut room, &["10.0.0.1/24", "2001:db8::1/64"]);
        // Of another program: nobody sets them anew.
        ip("route add 203.0.113.0/24 via 10.0.0.9");
        ip("route add 2001:db8:99::/48 via 2001:db8::9");
        let theirs = |room: &mut Room| -> Vec<String> {
            let records = route::dump(&mut room.connection, Some(3)).expect("routes");
            records.iter().map(|record| record.prefix.to_string()).collect()
        };
        assert_eq!(theirs(&mut room), ["203.0.113.0/24", "2001:db8:99::/48"]);
        apply(&mut room, &["10.0.0.2/24", "10.0.0.1/24", "2001:db8::2/64", "2001:db8::1/64"]);
        assert_eq!(theirs(&mut room), ["203.0.113.0/24", "2001:db8:99::/48"]);
        assert_eq!(source("10.0.0.99"), "10.0.0.2");
        assert_eq!(source("2001:db8::99"), "2001:db8::2");
        // Nor does one that replaces all others, nor the same with other prefix lengths.
        for length in ["24", "25", "32", "31", "30", "28"] {
            apply(&mut room, &[&format!("10.0.0.5/{length}"), "2001:db8::2/64"]);
            assert_eq!(theirs(&mut room), ["203.0.113.0/24", "2001:db8:99::/48"], "{length}");
            assert_eq!(held(&mut room), [], "{length}");
        }
    });
}

#[test]
fn held_routes_that_were_left_are_found_and_released() {
    isolated("addresses::held_routes_that_were_left_are_found_and_released", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let addresses = ["10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/64"];
        apply(&mut room, &addresses);
        // The table of a VRF takes them as well.
        let routes: Vec<HeldRoute> = [
            ("10.0.0.1/32", true, 255),
            ("10.0.0.2/31", true, 255),
            ("2001:db8::1/128", true, 255),
            ("10.0.0.0/24", false, 254),
            ("2001:db8::/64", false, 254),
            ("2001:db8::1/128", true, 1001),
            ("10.0.0.0/24", false, 1001),
            ("2001:db8::/64", false, 1001),
        ]
        .into_iter()
        .map(|(prefix, local, table)| HeldRoute { local, prefix: prefix.parse().unwrap(), table })
        .collect();
        let hold = |route: &HeldRoute| Action::HoldRoute { link: "swp1".to_owned(), route: *route };
        // Held twice is held once.
        room.carry_out(routes.iter().chain(&routes).map(hold));
        assert_eq!(held(&mut room).len(), routes.len());
        let found = room.snapshot();
        assert_eq!(found.links["swp1"].held_routes, routes.into_iter().collect());
        assert_eq!(found.routes, [], "none is of the configuration");
        apply(&mut room, &addresses);
        assert_eq!(held(&mut room), []);
        assert_eq!(room.snapshot().links["swp1"].held_routes, BTreeSet::new());
    });
}

#[test]
fn held_routes_of_ipv6_stay_until_the_kernel_has_its_own() {
    isolated("addresses::held_routes_of_ipv6_stay_until_the_kernel_has_its_own", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let link = || "swp1".to_owned();
        // Many, since the kernel takes its time for each.
        let addresses: Vec<IpNet> =
            (1..=64).map(|last| format!("2001:db8::{last:x}/64").parse().expect("an address")).collect();
        let route = |address: &IpNet| HeldRoute { local: true, prefix: address.addr().into(), table: 255 };
        let each = |action: &dyn Fn(&IpNet) -> Action| addresses.iter().map(action).collect::<Vec<_>>();
        let add =
            each(&|address| Action::AddAddress { link: link(), address: *address, detect_duplicates: false });
        let hold = each(&|address| Action::HoldRoute { link: link(), route: route(address) });
        let withdraw = each(&|address| Action::WithdrawAddress { link: link(), address: *address });
        let release =
            each(&|address| Action::ReleaseRoute { link: link(), route: route(address), left: false });
        room.carry_out(add.clone());
        let index = room.index("swp1");
        for _ in 0..20 {
            for actions in [&hold, &withdraw, &add, &release] {
                let actions: Vec<&Action> = actions.iter().collect();
                let outcomes = batch::execute(&mut room.connection, &actions);
                assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            }
            let last = addresses[63].addr();
            let found = route::lookup(&mut room.connection, last, Some(index)).expect("a lookup");
            let kind = found.map(|record| (route::kind_name(record.kind), record.metric));
            assert_eq!(kind, Some(("local", 0)), "the kernel's own route to {last}");
        }
    });
}
