//! Routes and next hop objects.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use netd::kernel::unreported::Unreported;
use netd::kernel::{batch, link, route};
use netd::plan::{Action, NextHop, NextHopId, NextHopObject, Route, RouteKey, RouteTarget};
use netd::transaction::{Backend, Kernel};
use nix::errno::Errno;

use crate::common::isolated;
use crate::room::{BRIDGE, Room, address};

fn id(number: u32) -> NextHopId {
    NextHopId(NextHopId::FIRST + number)
}

fn single(via: Option<&str>, device: &str, v6: bool) -> NextHopObject {
    let via = via.map(|via| via.parse().unwrap());
    NextHopObject::Single { via, device: device.to_owned(), on_link: false, v6 }
}

fn group(members: &[(u32, u16)]) -> NextHopObject {
    NextHopObject::Group(members.iter().map(|(number, weight)| (id(*number), *weight)).collect())
}

fn add_object(number: u32, object: NextHopObject) -> Action {
    Action::NextHop { id: id(number), from: None, to: Some(object) }
}

fn key(prefix: &str, metric: u32) -> RouteKey {
    RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric }
}

fn add_route(prefix: &str, metric: u32, target: RouteTarget) -> Action {
    Action::Route { key: key(prefix, metric), from: None, to: Some(target) }
}

fn inline(via: &str, device: &str) -> RouteTarget {
    let via = via.parse().ok();
    RouteTarget::inline(vec![NextHop { via, device: device.to_owned(), weight: 1, on_link: false }])
}

/// Two links with carriers and addresses.
fn two_links() -> Room {
    let mut room = Room::new();
    for number in [1, 2] {
        let name = format!("swp{number}");
        room.add_pair(&name, &format!("host{number}"));
        room.carry_out([
            address(&name, &format!("192.0.2.{}/25", (number - 1) * 128 + 1)),
            address(&name, &format!("2001:db8:{number}::1/64")),
        ]);
    }
    room
}

#[test]
fn objects_groups_and_routes_over_them_are_found_as_they_were_set() {
    isolated("routes::objects_groups_and_routes_over_them_are_found_as_they_were_set", || {
        let mut room = two_links();
        let on_link = NextHopObject::Single {
            via: "203.0.113.9".parse().ok(),
            device: "swp2".to_owned(),
            on_link: true,
            v6: false,
        };
        let objects = [
            (1, single(Some("192.0.2.9"), "swp1", false)),
            (2, single(Some("192.0.2.139"), "swp2", false)),
            (3, single(Some("2001:db8:1::9"), "swp1", true)),
            (4, single(None, "swp1", false)),
            (5, single(None, "swp1", true)),
            (6, on_link),
            (7, group(&[(1, 256), (2, 1)])),
        ];
        room.carry_out(objects.iter().map(|(number, object)| add_object(*number, object.clone())));
        let routes = [
            ("10.1.0.0/16", 0, RouteTarget::Object(id(1))),
            ("10.2.0.0/16", 20, RouteTarget::Object(id(7))),
            // An IPv4 destination over an IPv6 gateway (RFC 8950).
            ("10.3.0.0/16", 0, RouteTarget::Object(id(3))),
            ("10.4.0.0/16", 0, RouteTarget::Object(id(4))),
            ("2001:db8:100::/48", 1024, RouteTarget::Object(id(3))),
            ("2001:db8:200::/48", 1024, RouteTarget::Object(id(5))),
        ];
        room.carry_out(
            routes.iter().map(|(prefix, metric, target)| add_route(prefix, *metric, target.clone())),
        );
        let found = room.snapshot();
        assert_eq!(found.next_hops.len(), objects.len());
        for (number, object) in &objects {
            assert_eq!(found.next_hops.get(&id(*number)), Some(object), "{number}");
        }
        let mut expected: Vec<Route> = routes
            .into_iter()
            .map(|(prefix, metric, target)| Route { key: key(prefix, metric), target })
            .collect();
        expected.sort_by_key(|route| route.key);
        assert_eq!(found.routes, expected);
        // Retargeted in place, and back to a single one by way of the group.
        let (from, to) = (Some(group(&[(1, 256), (2, 1)])), Some(group(&[(2, 3)])));
        room.carry_out([Action::NextHop { id: id(7), from, to: to.clone() }]);
        assert_eq!(room.snapshot().next_hops.get(&id(7)), to.as_ref());
        let replaced = Action::Route {
            key: key("10.2.0.0/16", 20),
            from: Some(RouteTarget::Object(id(7))),
            to: Some(RouteTarget::Object(id(2))),
        };
        room.carry_out([replaced]);
        let delete = |number| Action::NextHop { id: id(number), from: Some(group(&[(2, 3)])), to: None };
        room.carry_out([delete(7), delete(7)]);
        let found = room.snapshot();
        assert!(found.routes.iter().any(|route| route.target == RouteTarget::Object(id(2))));
        assert!(!found.next_hops.contains_key(&id(7)));
    });
}

#[test]
fn route_that_others_put_in_the_place_of_netds_stays() {
    isolated("routes::route_that_others_put_in_the_place_of_netds_stays", || {
        let ip = |words: &str| {
            let output = Command::new("ip").args(words.split(' ')).output().expect("ip(8) of iproute2");
            assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut room = two_links();
        let routes = [
            ("10.1.0.0/16", "192.0.2.9"),
            ("10.2.0.0/16", "192.0.2.9"),
            ("2001:db8:100::/48", "2001:db8:1::9"),
        ];
        room.carry_out(routes.map(|(prefix, via)| add_route(prefix, 20, inline(via, "swp1"))));
        let scope = room.scope.clone();
        let unreported = &mut Unreported::default();
        let mut kernel = Kernel::new(&mut room.connection, &scope, BRIDGE, BTreeSet::new(), unreported);
        assert_eq!(kernel.snapshot().expect("a look").routes.len(), routes.len());
        // After netd has looked, and before it acts.
        ip("route replace 10.1.0.0/16 via 192.0.2.8 metric 20 proto bgp");
        ip("-6 route replace 2001:db8:100::/48 via 2001:db8:1::8 metric 20 proto bgp");
        let replace = |(prefix, via): (&str, &str)| {
            let (from, to) = (inline(via, "swp1"), inline(&format!("{}7", &via[..via.len() - 1]), "swp1"));
            Action::Route { key: key(prefix, 20), from: Some(from), to: Some(to) }
        };
        let actions = routes.map(replace);
        let outcomes = kernel.execute(&actions.iter().collect::<Vec<_>>());
        let errors: Vec<_> =
            outcomes.into_iter().map(|outcome| outcome.err().map(|error| error.errno)).collect();
        assert_eq!(errors, [Some(Errno::EEXIST), None, Some(Errno::EEXIST)]);
        let shown = ip("route show 10.1.0.0/16") + &ip("-6 route show 2001:db8:100::/48");
        assert!(shown.contains("192.0.2.8") && shown.contains("2001:db8:1::8"), "{shown}");
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(ip("route show 10.2.0.0/16").contains("via 192.0.2.7"));
        // Once it has looked again, what others replaced in the meantime is theirs, and the rest netd's.
        let left: Vec<String> = kernel
            .snapshot()
            .expect("a look")
            .routes
            .iter()
            .map(|route| route.key.prefix.to_string())
            .collect();
        assert_eq!(left, ["10.2.0.0/16"]);
    });
}

#[test]
fn objects_of_others_are_not_seen_and_an_id_in_use_is_refused() {
    isolated("routes::objects_of_others_are_not_seen_and_an_id_in_use_is_refused", || {
        let mut room = two_links();
        room.carry_out([add_object(1, single(None, "swp1", false))]);
        let again = room.refusal(&add_object(1, single(None, "swp2", false)));
        assert_eq!(again.errno, Errno::EEXIST);
        // RTM_NEWNEXTHOP with another protocol, and with an id outside netd's range.
        let index = room.index("swp1");
        for (number, protocol) in [(id(2).0, 4), (9, route::OWN_PROTOCOL)] {
            let header = [nix::libc::AF_INET as u8, 0, protocol, 0, 0, 0, 0, 0];
            let how = (nix::libc::NLM_F_CREATE | nix::libc::NLM_F_EXCL) as u16;
            let foreign = netd::kernel::wire::Message::new(104, how, &header).u32(1, number).u32(5, index);
            room.connection.request(foreign).expect("a foreign next hop");
        }
        assert_eq!(room.snapshot().next_hops.keys().copied().collect::<Vec<_>>(), [id(1)]);
    });
}

#[test]
fn a_link_without_a_carrier_takes_its_objects_along_and_gets_none_and_groups_shrink() {
    isolated(
        "routes::a_link_without_a_carrier_takes_its_objects_along_and_gets_none_and_groups_shrink",
        || {
            let mut room = two_links();
            room.carry_out([
                add_object(1, single(Some("192.0.2.9"), "swp1", false)),
                add_object(2, single(Some("192.0.2.139"), "swp2", false)),
                add_object(3, group(&[(1, 1), (2, 1)])),
                add_route("10.1.0.0/16", 0, RouteTarget::Object(id(3))),
                add_route("10.2.0.0/16", 0, RouteTarget::Object(id(1))),
            ]);
            room.connection.request(link::set_admin("host1", false)).unwrap();
            // The kernel acts when it looks; asking for the link's state makes it look.
            let index = room.index("swp1");
            let mut states = netd::kernel::link_state::LinkStates::open().unwrap();
            assert_eq!(states.ask(&[index]).unwrap(), [(index, false)]);
            let found = room.snapshot();
            assert_eq!(found.next_hops.get(&id(1)), None);
            assert_eq!(found.next_hops.get(&id(3)), Some(&group(&[(2, 1)])));
            let left: Vec<_> = found.routes.iter().map(|route| route.key).collect();
            assert_eq!(left, [key("10.1.0.0/16", 0)]);
            let refusal = room.refusal(&add_object(1, single(Some("192.0.2.9"), "swp1", false)));
            assert_eq!(refusal.words(), Some("Carrier for nexthop device is down"));
        },
    );
}

#[test]
fn a_refused_route_is_told_in_the_kernels_words_with_the_place_of_the_mistake() {
    isolated("routes::a_refused_route_is_told_in_the_kernels_words_with_the_place_of_the_mistake", || {
        let mut room = two_links();
        let refusal = room.refusal(&add_route("10.1.0.0/16", 0, inline("10.99.0.1", "swp1")));
        assert_eq!(refusal.words(), Some("Nexthop has invalid gateway"));
        let refusal = room.refusal(&add_route("10.1.0.0/16", 0, RouteTarget::Object(id(99))));
        assert_eq!(refusal.words(), Some("Nexthop id does not exist"));
        let unknown = room.refusal(&add_route("10.1.0.0/16", 0, inline("192.0.2.9", "nothing")));
        assert_eq!(unknown.words(), Some("there is no interface nothing"));
        // RTM_NEWNEXTHOP with a device's index that is too short.
        let header = [nix::libc::AF_INET as u8, 0, 4, 0, 0, 0, 0, 0];
        let broken = netd::kernel::wire::Message::new(104, 0, &header).u32(1, 9).u8(5, 1);
        let error = room.connection.request(broken).unwrap_err();
        assert_eq!(error.offset(), Some(16 + 8 + 8), "{error:?}");
    });
}

/// Whether ip(8) adds or deletes an IPv6 route.
fn ip_route(verb: &str, route: &str) -> bool {
    let words = ["-6", "route", verb].into_iter().chain(route.split_whitespace());
    Command::new("ip").args(words).output().expect("ip(8) of iproute2").status.success()
}

#[test]
fn ipv6_next_hops_are_refused_where_check_says_so() {
    isolated("routes::ipv6_next_hops_are_refused_where_check_says_so", || {
        let _room = two_links();
        // As in netd-api's next_hop_covers.rs.
        for (other, by_host, by_link) in [
            ("2001:db8:9::/48 via 2001:db8:1::9 dev swp1", true, false),
            ("2001:db8:9::/64 dev swp1", true, false),
            ("2001:db8:1::/80 via 2001:db8:1::9 dev swp1", false, true),
            ("blackhole 2001:db8:1::5/128", true, true),
            ("default via 2001:db8:1::9 dev swp1", true, true),
            ("2001:db8:1::/64 via 2001:db8:1::9 dev swp1 metric 1024", true, true),
            ("2001:db8::/32 via 2001:db8:2::9 dev swp2", true, true),
            ("2001:db8:1::/80 dev swp1", true, true),
            ("2001:db8:1::/80 via 2001:db8:2::9 dev swp2", true, true),
            ("2001:db8:9::/64 dev swp2", true, true),
            ("unreachable 2001:db8:9::/64", true, true),
        ] {
            assert!(ip_route("add", other), "{other}");
            let taken = [
                "2001:db8:a::/48 via 2001:db8:1::5 dev swp1",
                "2001:db8:b::/48 via 2001:db8:9::5 dev swp2 onlink",
            ]
            .map(|route| ip_route("add", route) && ip_route("delete", route));
            assert_eq!(taken, [by_host, by_link], "{other}");
            assert!(ip_route("delete", other), "{other}");
        }
    });
}

fn many(count: u32) -> impl Iterator<Item = RouteKey> {
    let prefix = |number: u32| Ipv4Net::new((0x0a00_0000 + number).into(), 32).unwrap();
    (0..count).map(move |number| RouteKey { table: 254, prefix: IpNet::V4(prefix(number)), metric: 7 })
}

#[test]
fn of_many_routes_just_those_that_fail_are_told_and_all_others_are_there() {
    isolated("routes::of_many_routes_just_those_that_fail_are_told_and_all_others_are_there", || {
        let mut room = two_links();
        let shared = inline("192.0.2.9", "swp1");
        let actions: Vec<Action> = many(20_000)
            .enumerate()
            .map(|(number, key)| {
                let to = if number % 7 == 3 { RouteTarget::Object(id(99)) } else { shared.clone() };
                Action::Route { key, from: None, to: Some(to) }
            })
            .collect();
        let outcomes = batch::execute(&mut room.connection, &actions.iter().collect::<Vec<_>>());
        assert_eq!(outcomes.len(), actions.len());
        for (number, outcome) in outcomes.iter().enumerate() {
            let words = outcome.as_ref().err().and_then(|error| error.words());
            assert_eq!(words, (number % 7 == 3).then_some("Nexthop id does not exist"), "{number}");
        }
        // Now that most are there, nearly all fail, and each is told all the same.
        let outcomes = batch::execute(&mut room.connection, &actions.iter().collect::<Vec<_>>());
        let exists = outcomes.iter().filter(|outcome| matches!(outcome, Err(e) if e.errno == Errno::EEXIST));
        assert_eq!(exists.count(), 20_000 - 20_000 / 7);
        let found = room.snapshot().routes;
        let kept: Vec<RouteKey> =
            many(20_000).enumerate().filter(|(number, _)| number % 7 != 3).map(|(_, key)| key).collect();
        assert_eq!(found.iter().map(|route| route.key).collect::<Vec<_>>(), kept);
        // Their target is held once.
        let targets = found.iter().map(|route| match &route.target {
            RouteTarget::NextHops(hops) => Arc::as_ptr(hops),
            other => panic!("{other}"),
        });
        assert!(targets.clone().all(|target| Some(target) == targets.clone().next()));
        let deletes: Vec<Action> =
            many(20_000).map(|key| Action::Route { key, from: Some(shared.clone()), to: None }).collect();
        let outcomes = batch::execute(&mut room.connection, &deletes.iter().collect::<Vec<_>>());
        assert!(outcomes.iter().all(Result::is_ok), "removing what is gone is success");
        assert_eq!(room.snapshot().routes, []);
    });
}

#[test]
fn routes_with_next_hops_spelled_out_are_found_whatever_the_order() {
    isolated("routes::routes_with_next_hops_spelled_out_are_found_whatever_the_order", || {
        let mut room = two_links();
        let hop = |via: &str, device: &str, weight| NextHop {
            via: via.parse().ok(),
            device: device.to_owned(),
            weight,
            on_link: false,
        };
        let v4 = RouteTarget::inline(vec![hop("192.0.2.139", "swp2", 3), hop("192.0.2.9", "swp1", 256)]);
        let v6 = RouteTarget::inline(vec![hop("2001:db8:2::9", "swp2", 1), hop("2001:db8:1::9", "swp1", 2)]);
        room.carry_out([
            add_route("10.1.0.0/16", 0, v4.clone()),
            add_route("2001:db8:100::/48", 1024, v6.clone()),
            add_route("10.2.0.0/16", 0, inline("", "swp1")),
            add_route("10.3.0.0/16", 0, RouteTarget::Blackhole),
            add_route("2001:db8:200::/48", 1024, RouteTarget::Unreachable),
        ]);
        let found = room.snapshot().routes;
        let target = |prefix: &str| {
            let prefix: IpNet = prefix.parse().unwrap();
            found.iter().find(|route| route.key.prefix == prefix).map(|route| route.target.clone())
        };
        assert_eq!(target("10.1.0.0/16"), Some(v4));
        assert_eq!(target("2001:db8:100::/48"), Some(v6.clone()));
        assert_eq!(target("10.2.0.0/16"), Some(inline("", "swp1")));
        assert_eq!(target("10.3.0.0/16"), Some(RouteTarget::Blackhole));
        assert_eq!(target("2001:db8:200::/48"), Some(RouteTarget::Unreachable));
        let fewer = inline("2001:db8:2::9", "swp2");
        let change =
            Action::Route { key: key("2001:db8:100::/48", 1024), from: Some(v6), to: Some(fewer.clone()) };
        room.carry_out([change]);
        let found = room.snapshot().routes;
        assert!(found.contains(&Route { key: key("2001:db8:100::/48", 1024), target: fewer }), "{found:?}");
    });
}
