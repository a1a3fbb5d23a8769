//! The kernel room against the running kernel, in a network namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

#[path = "kernel/addresses.rs"]
mod addresses;
mod common;
#[path = "kernel/comparison.rs"]
mod comparison;
#[path = "kernel/entries.rs"]
mod entries;
#[path = "kernel/events.rs"]
mod events;
#[path = "kernel/exchange.rs"]
mod exchange;
#[path = "kernel/filters.rs"]
mod filters;
#[path = "kernel/history.rs"]
mod history;
#[path = "kernel/hosts.rs"]
mod hosts;
#[path = "kernel/iproute2.rs"]
mod iproute2;
#[path = "kernel/lags.rs"]
mod lags;
#[path = "kernel/limits.rs"]
mod limits;
#[path = "kernel/links.rs"]
mod links;
mod model;
#[path = "kernel/mtu.rs"]
mod mtu;
#[path = "common/network.rs"]
mod network;
#[path = "kernel/ports.rs"]
mod ports;
#[path = "kernel/random_documents.rs"]
mod random_documents;
#[path = "kernel/room.rs"]
mod room;
#[path = "kernel/routes.rs"]
mod routes;
#[path = "kernel/rules.rs"]
mod rules;
#[path = "common/service.rs"]
mod service;
#[path = "kernel/snooping.rs"]
mod snooping;
#[path = "kernel/storm.rs"]
mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::{isolated, workload_namespace};
use model::numbers as random;
use netd::attach::{check_request, workload};
use netd::kernel::monitor::{Event, Monitor};
use netd::kernel::snapshot::Scope;
use netd::kernel::unreported::Unreported;
use netd::kernel::{Connection, address, link};
use netd::plan::{
    FdbKey, Link, LinkKind, NeighbourKey, Network, NextHop, NextHopId, NextHopObject, Route, RouteKey,
    RouteTarget, Setting, plan,
};
use netd::transaction::{Backend, Kernel, Reason, commit, reconcile};
use netd_api::attach::AttachRequest;
use room::Room;

const BRIDGE: &str = "bridge";
const TUNNEL: &str = "vxlan10";

/// A bridge with addresses and a tunnel in it, entries, and a route of each kind. Works on kernels without
/// VLAN filtering too.
fn wanted() -> Network {
    let mut bridge = Link::new(LinkKind::Bridge);
    bridge.up = true;
    bridge.set(Setting::Alias, "everything");
    bridge.set(Setting::Mac, "02:00:00:00:00:01");
    bridge.set(Setting::Mtu, 1400u32);
    bridge.set(Setting::LinkLocal, false);
    bridge.set(Setting::AgeingTime, 60_000u32);
    bridge.set(Setting::ForwardDelay, 0u32);
    bridge.addresses =
        ["192.0.2.1/24", "198.51.100.1/31", "2001:db8::1/64"].map(|a| a.parse().unwrap()).to_vec();
    let kind = LinkKind::Vxlan { vni: 10, local: "192.0.2.1".parse().unwrap(), port: 4789 };
    let mut tunnel = Link { up: true, master: Some(BRIDGE.to_owned()), ..Link::new(kind) };
    tunnel.set(Setting::Learning, true);
    tunnel.set(Setting::Isolated, true);
    tunnel.set(Setting::PathCost, 40u32);
    let links = [(BRIDGE.to_owned(), bridge), (TUNNEL.to_owned(), tunnel)];
    let flood = |remote: &str| {
        let tunnel = Some((TUNNEL.to_owned(), remote.parse().unwrap()));
        (FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel }, TUNNEL.to_owned())
    };
    let neighbour = NeighbourKey { device: BRIDGE.to_owned(), address: "192.0.2.7".parse().unwrap() };
    let mut network = Network {
        links: links.into(),
        next_hops: next_hops(),
        routes: routes(),
        fdb: [flood("192.0.2.20"), flood("192.0.2.21")].into(),
        neighbours: [(neighbour, "02:00:00:00:00:07".to_owned())].into(),
        ..Network::default()
    };
    network.sort();
    network
}

fn id(number: u32) -> NextHopId {
    NextHopId(NextHopId::FIRST + number)
}

fn next_hops() -> BTreeMap<NextHopId, NextHopObject> {
    let single = |via: &str, v6| NextHopObject::Single {
        via: via.parse().ok(),
        device: BRIDGE.to_owned(),
        on_link: false,
        v6,
    };
    [
        (id(1), single("192.0.2.7", false)),
        (id(2), single("192.0.2.8", false)),
        (id(3), NextHopObject::Group(vec![(id(1), 3), (id(2), 1)])),
        (id(4), single("2001:db8::8", true)),
    ]
    .into()
}

fn routes() -> Vec<Route> {
    let hop =
        |via: &str, weight| NextHop { via: via.parse().ok(), device: BRIDGE.into(), weight, on_link: false };
    let route = |prefix: &str, metric, target| Route {
        key: RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric },
        target,
    };
    let inline = |hops: &[NextHop]| RouteTarget::inline(hops.to_vec());
    vec![
        route("203.0.113.0/24", 0, inline(&[hop("192.0.2.7", 1)])),
        route("0.0.0.0/0", 30, inline(&[hop("192.0.2.9", 3), hop("192.0.2.8", 1)])),
        route("10.0.0.0/8", 0, RouteTarget::Blackhole),
        route("10.1.0.0/16", 0, RouteTarget::Unreachable),
        route("10.2.0.0/16", 0, inline(&[hop("", 1)])),
        route("10.3.0.0/16", 0, RouteTarget::Object(id(3))),
        route("2001:db8:1::/48", 1024, inline(&[hop("2001:db8::8", 1), hop("2001:db8::9", 1)])),
        route("2001:db8:2::/48", 1024, RouteTarget::Blackhole),
        route("2001:db8:3::/48", 1024, RouteTarget::Object(id(4))),
    ]
}

fn with_kernel<T>(body: impl FnOnce(&mut Kernel) -> T) -> T {
    let mut connection = Connection::open().expect("netlink");
    let scope = Scope { names: [BRIDGE.to_owned()].into(), ..Scope::default() };
    let dark = BTreeSet::new();
    let unreported = &mut Unreported::default();
    body(&mut Kernel::new(&mut connection, &scope, BRIDGE, dark, unreported))
}

fn differences(want: &Network, found: &Network) -> Vec<String> {
    plan(want, found).iter().map(|step| step.action.to_string()).collect()
}

#[test]
fn what_is_committed_is_read_back_and_a_second_commit_does_nothing() {
    isolated("what_is_committed_is_read_back_and_a_second_commit_does_nothing", || {
        with_kernel(|kernel| {
            let first = commit(kernel, &wanted()).expect("the commit");
            assert!(first.steps > 10, "{first:?}");
            assert_eq!(differences(&wanted(), &kernel.snapshot().unwrap()), Vec::<String>::new());
            assert_eq!(commit(kernel, &wanted()).expect("again").steps, 0);
        });
        // Another connection, as after a restart.
        with_kernel(|kernel| assert_eq!(commit(kernel, &wanted()).expect("after a restart").steps, 0));
    });
}

#[test]
fn a_refused_step_is_told_in_the_kernels_words_and_everything_is_undone() {
    isolated("a_refused_step_is_told_in_the_kernels_words_and_everything_is_undone", || {
        with_kernel(|kernel| {
            commit(kernel, &wanted()).expect("the first commit");
            let before = kernel.snapshot().unwrap();
            let mut broken = wanted();
            let bridge = broken.links.get_mut(BRIDGE).unwrap();
            bridge.addresses.remove(1);
            bridge.set(Setting::Mtu, 1300u32);
            broken.links.insert("lo9".to_owned(), Link { up: true, ..Link::new(LinkKind::Bridge) });
            let hop =
                NextHop { via: "10.99.0.1".parse().ok(), device: BRIDGE.into(), weight: 1, on_link: false };
            let key = RouteKey { table: 254, prefix: "172.16.0.0/12".parse().unwrap(), metric: 0 };
            broken.routes.push(Route { key, target: RouteTarget::inline(vec![hop]) });
            broken.sort();
            let error = commit(kernel, &broken).unwrap_err();
            assert!(matches!(error.reason, Reason::Refused { .. }));
            let text = error.to_string();
            assert!(
                text.contains("route 172.16.0.0/12") && text.contains("Nexthop has invalid gateway"),
                "{text}"
            );
            assert_eq!(error.left, Vec::<String>::new());
            let after = kernel.snapshot().unwrap();
            assert_eq!(differences(&before, &after), Vec::<String>::new());
            assert_eq!(after.links.len(), before.links.len());
        });
    });
}

#[test]
fn an_address_that_another_host_has_is_found_out_and_a_free_one_is_ready_when_the_change_is_made() {
    isolated(
        "an_address_that_another_host_has_is_found_out_and_a_free_one_is_ready_when_the_change_is_made",
        || {
            let mut room = Room::new();
            room.add_pair("swp1", "host1");
            let taken = room::address("host1", "2001:db8::7/64");
            room.carry_out([taken]);
            settle_addresses(&mut room.connection);
            let Room { mut connection, scope } = room;
            let wish = |address: &str| {
                let mut network = Network::default();
                let addresses = vec![address.parse().unwrap()];
                network.links.insert("swp1".to_owned(), Link { up: true, addresses, ..model_port() });
                network
            };
            let dark = BTreeSet::new();
            let unreported = &mut Unreported::default();
            let mut kernel = Kernel::new(&mut connection, &scope, BRIDGE, dark, unreported);
            let before = kernel.snapshot().unwrap();
            let error = commit(&mut kernel, &wish("2001:db8::7/64")).expect_err("host1 has it");
            assert!(matches!(error.reason, Reason::Duplicate(_)), "{error}");
            assert!(error.left.is_empty(), "{error}");
            assert_eq!(kernel.snapshot().unwrap(), before);
            commit(&mut kernel, &wish("2001:db8::8/64")).expect("nobody has it");
            let rows = address::dump(&mut connection).unwrap();
            let row = rows.iter().find(|row| row.address.to_string() == "2001:db8::8/64").expect("it is set");
            assert!(!row.is_tentative() && !row.is_duplicate(), "{row:?}");
        },
    );
}

/// Waits until both ends of the pair have the address the kernel gives them, and nobody asks for any address any
/// more: an end that still asks defends none.
fn settle_addresses(connection: &mut Connection) {
    let began = Instant::now();
    loop {
        let rows = address::dump(connection).unwrap();
        let own = rows.iter().filter(|row| row.address.to_string().starts_with("fe80:")).count();
        if own == 2 && !rows.iter().any(|row| row.is_tentative()) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{rows:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port of which nothing is wanted.
fn model_port() -> Link {
    Link::new(LinkKind::Hardware)
}

#[test]
fn routes_that_a_link_takes_along_are_noticed_and_brought_back() {
    isolated("routes_that_a_link_takes_along_are_noticed_and_brought_back", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        with_kernel(|kernel| {
            commit(kernel, &wanted()).expect("the commit");
            let _inside = runtime.enter();
            let mut monitor = Monitor::open().expect("the monitor");
            kernel.connection.request(link::set_admin(BRIDGE, false)).expect("down");
            // Of IPv4 routes and next hops that go along the kernel says nothing: the link's own event stands for
            // them. IPv6 routes and neighbours have one each.
            let is_down =
                |event: &Event| matches!(event, Event::Link(link) if link.name == BRIDGE && !link.is_up());
            let is_lost = |event: &Event| matches!(event, Event::RouteLost(route) if route.prefix.to_string() == "2001:db8:1::/48");
            let mut seen = Vec::new();
            let noticed = runtime.block_on(tokio::time::timeout(Duration::from_secs(10), async {
                while !(seen.iter().any(is_down) && seen.iter().any(is_lost)) {
                    seen.extend(monitor.next().await.expect("events"));
                }
            }));
            assert!(noticed.is_ok(), "within 10 s only {seen:?}");
            let done = reconcile(kernel, &wanted(), |_| true).expect("reconcile");
            assert_eq!(done.failed, []);
            let repaired: Vec<String> = done.repaired.iter().map(ToString::to_string).collect();
            for object in ["route 203.0.113.0/24", "next hop 1073741825", "neighbour 192.0.2.7"] {
                assert!(repaired.iter().any(|step| step.contains(object)), "{object}: {repaired:?}");
            }
            assert_eq!(differences(&wanted(), &kernel.snapshot().unwrap()), Vec::<String>::new());
        });
    });
}

#[test]
fn a_workloads_interface_is_born_inside_its_namespace_with_address_and_route() {
    isolated("a_workloads_interface_is_born_inside_its_namespace_with_address_and_route", || {
        let request = AttachRequest {
            key: "default/web/eth0".to_owned(),
            interface: "eth0".to_owned(),
            untagged_vlan: 10,
            addresses: vec!["10.0.10.80/24".to_owned(), "2001:db8:10::80/64".to_owned()],
            gateways: vec!["10.0.10.1".to_owned(), "2001:db8:10::1".to_owned()],
            mtu_bytes: 1400,
            ..AttachRequest::default()
        };
        let record = check_request(&request).expect("a valid request");
        let (namespace, socket) = workload_namespace();
        let mut outside = Connection::open().expect("netlink");
        workload::create(&mut outside, &record, &namespace, socket.try_clone().unwrap()).expect("the pair");
        let names = |connection: &mut Connection| {
            link::dump(connection, false).unwrap().into_iter().map(|link| link.name).collect::<Vec<_>>()
        };
        assert!(names(&mut outside).contains(&record.port));
        assert!(!names(&mut outside).contains(&"eth0".to_owned()));
        let mut inside = Connection::adopt(socket).expect("the socket inside");
        let eth0 =
            link::dump(&mut inside, false).unwrap().into_iter().find(|link| link.name == "eth0").unwrap();
        assert_eq!((eth0.mac.as_str(), eth0.mtu_bytes, eth0.is_up()), (record.mac.as_str(), 1400, true));
        let addresses: Vec<String> = address::dump(&mut inside)
            .unwrap()
            .iter()
            .filter(|row| row.index == eth0.index)
            .map(|row| row.address.to_string())
            .collect();
        assert!(
            addresses.contains(&"10.0.10.80/24".to_owned())
                && addresses.contains(&"2001:db8:10::80/64".to_owned()),
            "{addresses:?}"
        );
        workload::delete(&mut outside, &record.port).expect("removing the pair");
        workload::delete(&mut outside, &record.port).expect("removing what is gone");
        assert!(!names(&mut outside).contains(&record.port));
    });
}

#[test]
fn a_port_with_a_smaller_mtu_leaves_the_bridge_as_wide_as_it_is_wanted() {
    isolated("a_port_with_a_smaller_mtu_leaves_the_bridge_as_wide_as_it_is_wanted", || {
        with_kernel(|kernel| {
            let mut wanted = wanted();
            // What a bridge has by itself, too.
            wanted.links.get_mut(BRIDGE).unwrap().set(Setting::Mtu, 1500u32);
            commit(kernel, &wanted).expect("the commit");
            let request = AttachRequest {
                key: "default/web/eth0".to_owned(),
                interface: "eth0".to_owned(),
                untagged_vlan: 10,
                mtu_bytes: 1400,
                ..AttachRequest::default()
            };
            let record = check_request(&request).expect("a valid request");
            let (namespace, socket) = workload_namespace();
            workload::create(kernel.connection, &record, &namespace, socket).expect("the pair");
            let links = link::dump(kernel.connection, false).unwrap();
            let bridge = links.iter().find(|link| link.name == BRIDGE).unwrap().index;
            kernel.connection.request(link::set_master(&record.port, bridge)).expect("into the bridge");
            let links = link::dump(kernel.connection, false).unwrap();
            assert_eq!(links.iter().find(|link| link.name == BRIDGE).unwrap().mtu_bytes, 1500);
            assert_eq!(links.iter().find(|link| link.name == record.port).unwrap().mtu_bytes, 1400);
        });
    });
}

#[test]
fn descriptors_that_are_not_what_they_should_be_are_refused() {
    isolated("descriptors_that_are_not_what_they_should_be_are_refused", || {
        let (namespace, socket) = workload_namespace();
        let (other, _) = workload_namespace();
        let file = || OwnedFd::from(File::open("/proc/self/status").unwrap());
        let own = OwnedFd::from(File::open("/proc/self/ns/net").unwrap());
        use netd::kernel::netns::{DescriptorError as E, check};
        assert_eq!(check(&namespace, &socket), Ok(()));
        assert_eq!(check(&file(), &socket), Err(E::NotANamespace));
        assert_eq!(
            check(&OwnedFd::from(File::open("/proc/self/ns/uts").unwrap()), &socket),
            Err(E::NotANamespace)
        );
        assert_eq!(check(&own, &socket), Err(E::OwnNamespace));
        assert_eq!(check(&namespace, &file()), Err(E::NotNetlink));
        assert_eq!(check(&other, &socket), Err(E::Mismatch));
    });
}
