//! What the kernel tells of by itself, and what netd is not woken for.

use std::net::IpAddr;
use std::time::Duration;

use netd::kernel::monitor::{Event, Monitor};
use netd::kernel::packet::PacketSocket;
use netd::kernel::wire::Message;
use netd::kernel::{batch, link, neighbour, neighbour_table};
use netd::plan::{
    Action, FdbKey, LinkKind, MdbKey, NeighbourKey, NextHopId, NextHopObject, RouteKey, RouteTarget, Setting,
};

use crate::common::isolated;
use crate::room::{BRIDGE, Room, address, create, master, set};

/// A monitor with the runtime it lives in.
struct Watch {
    runtime: tokio::runtime::Runtime,
    monitor: Monitor,
}

impl Watch {
    fn new() -> Watch {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let inside = runtime.enter();
        let monitor = Monitor::open().expect("the monitor");
        drop(inside);
        Watch { runtime, monitor }
    }

    /// The events up to the one `last` recognises.
    fn until(&mut self, awaited: &str, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        let all = self.runtime.block_on(async {
            let limit = Duration::from_secs(10);
            tokio::time::timeout(limit, async {
                while !seen.iter().any(&last) {
                    seen.extend(self.monitor.next().await.expect("events"));
                }
            })
            .await
        });
        assert!(all.is_ok(), "no {awaited} within 10 s, only {seen:?}");
        seen
    }

    /// The events so far: makes one and waits for it.
    fn so_far(&mut self, room: &mut Room) -> Vec<Event> {
        room.carry_out([create("marker", LinkKind::Bridge, &[])]);
        let marks = |event: &Event| matches!(event, Event::Link(link) if link.name == "marker");
        let mut seen = self.until("marker", marks);
        seen.retain(|event| !matches!(event, Event::Link(_) | Event::BridgePort { .. }));
        room.carry_out([Action::DeleteLink { name: "marker".to_owned(), kind: LinkKind::Bridge }]);
        self.until("end of the marker", |event| matches!(event, Event::LinkGone { .. }));
        seen
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(prefix: &str) -> RouteKey {
    RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric: 5 }
}

/// Objects of netd's of each kind that events are about.
fn objects() -> Vec<Action> {
    let id = NextHopId(NextHopId::FIRST);
    let single = NextHopObject::Single { via: None, device: "swp1".to_owned(), on_link: false, v6: false };
    let tunnel = Some(("vxlan10".to_owned(), ip("198.51.100.2")));
    let flood = FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel };
    let member = MdbKey { group: ip("239.1.2.3"), vlan_id: 0, port: "swp2".to_owned() };
    let neighbour = NeighbourKey { device: "swp1".to_owned(), address: ip("192.0.2.7") };
    vec![
        Action::NextHop { id, from: None, to: Some(single) },
        Action::Route { key: key("10.1.0.0/16"), from: None, to: Some(RouteTarget::Blackhole) },
        Action::Fdb { key: flood, from: None, to: Some("vxlan10".to_owned()) },
        Action::Mdb { key: member, add: true },
        Action::Neighbour { key: neighbour, from: None, to: Some("02:00:00:00:00:07".to_owned()) },
    ]
}

/// The same objects, removed.
fn removals() -> Vec<Action> {
    let reverse = |action: Action| match action {
        Action::NextHop { id, to, .. } => Action::NextHop { id, from: to, to: None },
        Action::Route { key, to, .. } => Action::Route { key, from: to, to: None },
        Action::Fdb { key, to, .. } => Action::Fdb { key, from: to, to: None },
        Action::Mdb { key, .. } => Action::Mdb { key, add: false },
        Action::Neighbour { key, to, .. } => Action::Neighbour { key, from: to, to: None },
        other => other,
    };
    objects().into_iter().map(reverse).collect()
}

fn prepared() -> Room {
    let mut room = Room::new();
    room.add_bridge();
    room.add_pair("swp1", "host1");
    room.add_pair("swp2", "host2");
    let tunnel = LinkKind::Vxlan { vni: 10, local: ip("198.51.100.1"), port: 4789 };
    room.carry_out([create("vxlan10", tunnel, &[]), master("swp2", BRIDGE)]);
    room.carry_out([address("swp1", "192.0.2.1/24")]);
    room
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = events
        .iter()
        .map(|event| match event {
            Event::RouteLost(_) => "route lost",
            Event::RouteReplaced(_) => "route replaced",
            Event::NextHop(_) => "next hop",
            Event::Fdb(_) => "fdb",
            Event::Mdb(_) => "mdb",
            Event::Rule => "rule",
            Event::Neighbour(_) => "neighbour",
            Event::PortSet => "port set",
            Event::Overrun => "overrun",
            _ => "other",
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn what_others_do_to_objects_of_netd_is_told_and_what_netd_does_itself_is_not() {
    isolated("events::what_others_do_to_objects_of_netd_is_told_and_what_netd_does_itself_is_not", || {
        let (mut room, mut other) = (prepared(), Room::new());
        let mut watch = Watch::new();
        watch.monitor.ignore_changes_by(room.connection.port_id().unwrap()).unwrap();
        room.carry_out(objects());
        // Of these the kernel does not say who made them.
        let nameless = ["fdb", "mdb", "neighbour"];
        assert_eq!(kinds(&watch.so_far(&mut room)), nameless);
        other.carry_out(removals());
        let all = ["fdb", "mdb", "neighbour", "next hop", "route lost"];
        assert_eq!(kinds(&watch.so_far(&mut room)), all);
        room.carry_out(objects());
        room.carry_out(removals());
        assert_eq!(kinds(&watch.so_far(&mut room)), nameless);
    });
}

#[test]
fn routes_that_another_program_sets_under_netds_protocol_are_told_and_netds_own_are_not() {
    isolated(
        "events::routes_that_another_program_sets_under_netds_protocol_are_told_and_netds_own_are_not",
        || {
            let (mut room, mut other) = (prepared(), Room::new());
            let mut watch = Watch::new();
            watch.monitor.ignore_changes_by(room.connection.port_id().unwrap()).unwrap();
            let set = |prefix: &str| {
                [Action::Route { key: key(prefix), from: None, to: Some(RouteTarget::Blackhole) }]
            };
            for (hear, number) in [(false, 1), (true, 2), (false, 3)] {
                // Only what was not heard before is news to whoever begins to listen.
                assert_eq!(watch.monitor.hear_recoveries(hear), Ok(hear));
                assert_eq!(watch.monitor.hear_recoveries(hear), Ok(false));
                // Hardware speaks by the kernel; that is tried where there is some.
                room.carry_out(set(&format!("10.{number}.1.0/24")));
                other.carry_out(set(&format!("10.{number}.2.0/24")));
                let told: Vec<String> = watch
                    .so_far(&mut room)
                    .iter()
                    .map(|event| match event {
                        Event::RouteReplaced(route) => route.prefix.to_string(),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert_eq!(told, [format!("10.{number}.2.0/24")]);
            }
        },
    );
}

#[test]
fn a_route_of_another_that_takes_the_place_of_netds_is_told() {
    isolated("events::a_route_of_another_that_takes_the_place_of_netds_is_told", || {
        let mut room = prepared();
        room.carry_out([Action::Route {
            key: key("10.1.0.0/16"),
            from: None,
            to: Some(RouteTarget::Blackhole),
        }]);
        let mut watch = Watch::new();
        let replace = |replace: bool, last: u8| {
            let how = nix::libc::NLM_F_CREATE | if replace { nix::libc::NLM_F_REPLACE } else { 0 };
            let blackhole = nix::libc::RTN_BLACKHOLE;
            let header = [nix::libc::AF_INET as u8, 16, 0, 0, 254, 4, 0, blackhole, 0, 0, 0, 0];
            Message::new(nix::libc::RTM_NEWROUTE, how as u16, &header)
                .ip(nix::libc::RTA_DST, IpAddr::from([10, last, 0, 0]))
                .u32(nix::libc::RTA_PRIORITY, 5)
        };
        room.connection.request(replace(false, 9)).expect("a route of another's");
        assert_eq!(watch.so_far(&mut room), []);
        room.connection.request(replace(true, 1)).expect("a route in the place of netd's");
        let seen = watch.so_far(&mut room);
        match seen.as_slice() {
            [Event::RouteReplaced(route)] => {
                assert_eq!((route.key(), route.protocol), (key("10.1.0.0/16"), 4))
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn ten_thousands_of_routes_wake_nobody_and_events_that_are_lost_are_told() {
    isolated("events::ten_thousands_of_routes_wake_nobody_and_events_that_are_lost_are_told", || {
        let mut room = prepared();
        let mut watch = Watch::new();
        let prefix = |number: u32| ipnet::Ipv4Net::new((0x0b00_0000 + number).into(), 32).unwrap();
        let actions: Vec<Action> = (0..20_000)
            .map(|number| {
                let key = RouteKey { table: 254, prefix: prefix(number).into(), metric: 5 };
                Action::Route { key, from: None, to: Some(RouteTarget::Blackhole) }
            })
            .collect();
        let outcomes = batch::execute(&mut room.connection, &actions.iter().collect::<Vec<_>>());
        assert!(outcomes.iter().all(Result::is_ok));
        // An ARP entry as the kernel learns them all day.
        let mut header = [0; 12];
        header[0] = nix::libc::AF_INET as u8;
        header[4..8].copy_from_slice(&room.index("swp1").to_ne_bytes());
        header[8..10].copy_from_slice(&nix::libc::NUD_REACHABLE.to_ne_bytes());
        let learned = Message::new(nix::libc::RTM_NEWNEIGH, nix::libc::NLM_F_CREATE as u16, &header)
            .ip(nix::libc::NDA_DST, ip("192.0.2.99"))
            .attribute(nix::libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 9]);
        room.connection.request(learned).expect("a learned neighbour");
        assert_eq!(watch.so_far(&mut room), []);
        // More link events than the buffer holds.
        let flips = (0..30_000).map(|number| link::set_admin("host1", number % 2 == 0));
        assert!(room.connection.batch(flips).iter().all(Result::is_ok));
        let seen = watch.until("overrun", |event| *event == Event::Overrun);
        assert!(seen.contains(&Event::Overrun));
    });
}

#[test]
fn an_address_is_told_when_it_can_be_used_and_when_it_is_lost() {
    isolated("events::an_address_is_told_when_it_can_be_used_and_when_it_is_lost", || {
        let mut room = prepared();
        let mut watch = Watch::new();
        let (link, address) = ("swp1".to_owned(), "2001:db8::1/64".parse().unwrap());
        room.carry_out([Action::AddAddress { link: link.clone(), address, detect_duplicates: true }]);
        let seen = watch.until("address", |event| matches!(event, Event::AddressReady(_)));
        assert!(!seen.iter().any(|event| matches!(event, Event::AddressLost(_))), "{seen:?}");
        room.carry_out([Action::DeleteAddress { link, address }]);
        watch.until("loss", |event| matches!(event, Event::AddressLost(row) if row.address == address));
    });
}

#[test]
fn how_somebody_sets_a_port_without_a_carrier_is_told() {
    isolated("events::how_somebody_sets_a_port_without_a_carrier_is_told", || {
        let mut room = Room::new();
        room.add_tap("swp9");
        let mut watch = Watch::new();
        assert_eq!(watch.so_far(&mut room), []);
        room.carry_out([set("swp9", Setting::Speed, 100u32)]);
        watch.until("event of the port", |event| *event == Event::PortSet);
        assert_eq!(watch.so_far(&mut room), []);
    });
}

/// A frame from a host that the bridge has not heard yet.
fn speak(socket: &PacketSocket, index: u32, number: u16) {
    let [high, low] = number.to_be_bytes();
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&[0xff; 6]);
    frame[6..12].copy_from_slice(&[2, 0xa1, 0, 0, high, low]);
    // IEEE 802 Local Experimental.
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    socket.send(index, &frame).expect("a frame");
}

#[test]
fn what_hosts_have_the_bridge_learn_is_told_in_samples_and_only_while_that_is_wanted() {
    isolated(
        "events::what_hosts_have_the_bridge_learn_is_told_in_samples_and_only_while_that_is_wanted",
        || {
            let mut room = prepared();
            let mut socket = PacketSocket::open().expect("a packet socket");
            socket.find_interfaces().expect("the interfaces");
            let host = room.index("host2");
            let mut watch = Watch::new();
            let learn = |range: std::ops::Range<u16>| range.for_each(|number| speak(&socket, host, number));
            let growth = |watch: &mut Watch, room: &mut Room| {
                let seen = watch.so_far(room);
                seen.iter().filter(|event| **event == Event::Growth).count()
            };
            learn(0..200);
            assert_eq!(growth(&mut watch, &mut room), 0);
            watch.monitor.hear_growth(Some(1)).unwrap();
            learn(200..300);
            // The marker has an entry of its own.
            let told = growth(&mut watch, &mut room);
            assert!((100..=105).contains(&told), "{told}");
            watch.monitor.hear_growth(Some(64)).unwrap();
            learn(300..4300);
            // Of 4000, each with a chance of one in 64: 62 or so.
            let told = growth(&mut watch, &mut room);
            assert!((10..=200).contains(&told), "{told}");
            watch.monitor.hear_growth(None).unwrap();
            learn(4300..4400);
            assert_eq!(growth(&mut watch, &mut room), 0);
            let bridge = link::find_by_name(&mut room.connection, BRIDGE).unwrap().expect("the bridge");
            assert!(bridge.learned >= 4400, "{} are learned", bridge.learned);
        },
    );
}

#[test]
fn neighbours_that_do_not_answer_are_counted_and_told_in_samples() {
    isolated("events::neighbours_that_do_not_answer_are_counted_and_told_in_samples", || {
        let mut room = prepared();
        let mut watch = Watch::new();
        watch.monitor.hear_growth(Some(1)).unwrap();
        let index = room.index("swp1");
        let entry = |number: u16, state: u16| {
            let [high, low] = number.to_be_bytes();
            let mut header = [0; 12];
            header[0] = nix::libc::AF_INET as u8;
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            header[8..10].copy_from_slice(&state.to_ne_bytes());
            let how = nix::libc::NLM_F_CREATE | nix::libc::NLM_F_REPLACE;
            Message::new(nix::libc::RTM_NEWNEIGH, how as u16, &header)
                .ip(nix::libc::NDA_DST, IpAddr::from([10, 9, high, low]))
                .attribute(nix::libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 9])
        };
        let unanswered = |room: &mut Room| {
            let counts = neighbour::unanswered(&mut room.connection).expect("a dump");
            counts.get(&index).copied().unwrap_or(0)
        };
        assert_eq!(unanswered(&mut room), 0);
        let (count, rounds) = (200, 6);
        for _ in 0..rounds {
            for state in [nix::libc::NUD_STALE, nix::libc::NUD_FAILED] {
                let outcomes = room.connection.batch((0..count).map(|number| entry(number, state)));
                // All namespaces of the machine share one table of neighbours.
                assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            }
        }
        assert!(unanswered(&mut room) >= 100, "{}", unanswered(&mut room));
        let seen = watch.so_far(&mut room);
        let told = seen.iter().filter(|event| **event == Event::Growth).count();
        // Of 1200, each with a chance of one in 64: 19 or so.
        assert!((1..=100).contains(&told), "{told}");
        let tables = neighbour_table::dump(&mut room.connection).expect("the tables");
        assert_eq!(tables.iter().map(|table| table.v6).collect::<Vec<_>>(), [false, true]);
        assert!(tables[0].entries >= 100 && tables[0].most > 0, "{tables:?}");
    });
}
