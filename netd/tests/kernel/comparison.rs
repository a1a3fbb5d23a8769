//! What is left of what was before a change, asked of the kernel and of hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netd::comparison::record::Record;
use netd::comparison::watch::Watch;
use netd::kernel::link;
use netd::kernel::unreported::Unreported;
use netd::transaction::{Backend, Kernel};
use netd_api::comparison::{Compared, Verdict};

use crate::common::{batch, isolated};
use crate::room::{BRIDGE, Room, address};

const PATIENCE: Duration = Duration::from_secs(30);

fn lines(program: &str, commands: &[&str]) {
    batch(program, commands.iter().map(|command| (*command).to_owned()));
}

fn recorded() -> Record {
    Record::take(&BTreeMap::new(), true).expect("the kernel's links")
}

/// Objects of a kind that a record has, each with its number.
fn objects(record: &Record, kind: &str) -> Vec<(String, u64)> {
    record.kinds[kind].iter().map(|(object, count)| (object.to_owned(), count)).collect()
}

/// Waits until a watch shows what is expected of a kind.
fn until(watch: &Watch, kind: &str, what: &str, expected: impl Fn(&Compared) -> bool) -> Compared {
    let begun = Instant::now();
    loop {
        let latest = watch.latest();
        let row = latest.kinds.into_iter().find(|row| row.kind == kind);
        if let Some(row) = &row
            && expected(row)
        {
            return row.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {row:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a port of the bridge takes addresses: before that it learns none.
fn wait_until_forwarding(room: &mut Room, port: &str) {
    let begun = Instant::now();
    let forwards = |room: &mut Room| {
        let link = link::find_by_name(&mut room.connection, port).expect("a query");
        link.is_some_and(|link| link.forwards)
    };
    while !forwards(room) {
        assert!(begun.elapsed() < PATIENCE, "{port} does not forward");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn gone(row: &Compared) -> Vec<&str> {
    row.differences.iter().filter(|row| row.now == 0).map(|row| row.object.as_str()).collect()
}

#[test]
fn host_that_answers_is_there_and_one_that_does_not_any_more_is_lost() {
    isolated("comparison::host_that_answers_is_there_and_one_that_does_not_any_more_is_lost", || {
        let mut room = Room::new();
        let mut host = room.add_host("swp1");
        // A link-local address would be heard or not, as it comes.
        host.inside(|| {
            lines("ip", &["link set eth0 addrgenmode none", "address flush dev eth0 scope link"]);
        });
        for own in ["192.0.2.1/24", "2001:db8::1/64"] {
            room.carry_out([address("swp1", own)]);
        }
        for own in ["192.0.2.7/24", "192.0.2.8/24", "2001:db8::7/64"] {
            host.add_address(own);
        }
        // As if it had just answered; one that was never there beside it.
        let mac = "02:00:00:00:02:01";
        let learn = |address: &str, state: &str| {
            format!("neighbour replace {address} dev swp1 lladdr {mac} nud {state}")
        };
        let entries = [
            learn("192.0.2.7", "reachable"),
            learn("192.0.2.8", "reachable"),
            learn("2001:db8::7", "reachable"),
            learn("192.0.2.9", "permanent"),
            "neighbour replace 192.0.2.10 dev swp1 nud failed".to_owned(),
        ];
        batch("ip", entries.into_iter());
        let record = recorded();
        let known = [("swp1 192.0.2.7", 1), ("swp1 192.0.2.8", 1), ("swp1 2001:db8::7", 1)];
        assert_eq!(objects(&record, "neighbour"), known.map(|(object, count)| (object.to_owned(), count)));
        assert_eq!(objects(&record, "port"), [("swp1".to_owned(), 1)]);
        let watch = Watch::start(Arc::new(record));
        until(&watch, "neighbour", "all answer", |row| row.verdict == Verdict::Same && row.objects == 3);
        drop(watch);
        // Now one is silent, and its entry is what it was.
        host.inside(|| lines("ip", &["address delete 192.0.2.8/24 dev eth0"]));
        lines("ip", &["neighbour replace 192.0.2.8 dev swp1 lladdr 02:00:00:00:02:01 nud reachable"]);
        let record = recorded();
        let watch = Watch::start(Arc::new(record));
        let row = until(&watch, "neighbour", "one is lost", |row| gone(row) == ["swp1 192.0.2.8"]);
        assert_eq!((row.verdict, row.objects, row.lost), (Verdict::Lost, 3, 1));
        // It comes back.
        host.add_address("192.0.2.8/24");
        until(&watch, "neighbour", "it is back", |row| row.verdict == Verdict::Same);
    });
}

#[test]
fn carrier_routes_and_learned_addresses_are_compared_by_what_the_kernel_shows() {
    isolated(
        "comparison::carrier_routes_and_learned_addresses_are_compared_by_what_the_kernel_shows",
        || {
            let mut room = Room::new();
            room.add_pair("swp1", "host1");
            room.add_pair("swp2", "host2");
            room.add_bridge();
            lines(
                "ip",
                &[
                    "link set swp1 master bridge",
                    "address add 192.0.2.1/24 dev swp2",
                    "address add 2001:db8::1/64 dev swp2 nodad",
                    "route add default via 192.0.2.9",
                    "route add 0.0.0.0/8 via 192.0.2.10",
                    "route add 203.0.113.0/24 via 192.0.2.9",
                    "route add default via 2001:db8::9",
                    "route add default via 192.0.2.11 metric 7",
                ],
            );
            wait_until_forwarding(&mut room, "swp1");
            let mac = |number: u32| format!("02:00:00:00:03:{number:02x}");
            batch("bridge", (0..40).map(|n| format!("fdb add {} dev swp1 master dynamic", mac(n))));
            batch("bridge", (40..50).map(|n| format!("fdb add {} dev swp1 master static", mac(n))));
            let record = recorded();
            let of = |kind| objects(&record, kind);
            assert_eq!(of("port"), ["swp1", "swp2"].map(|port| (port.to_owned(), 1)));
            assert_eq!(of("default-route"), [("0.0.0.0/0", 1), ("::/0", 1)].map(|(o, n)| (o.to_owned(), n)));
            // The peer of the port may have been heard as well. Where the kernel has VLANs, they are in VLAN 1, too.
            let assert_learned = |record: &Record| {
                let learned = objects(record, "fdb");
                assert!(learned.iter().any(|(vlan, _)| vlan == "no VLAN"), "{learned:?}");
                assert!(learned.iter().all(|(_, count)| [40, 41].contains(count)), "{learned:?}");
            };
            assert_learned(&record);
            // A transaction sees the same of hosts on its way.
            let mut hosts = netd::comparison::hosts();
            let mut unreported = Unreported::default();
            let kernel =
                Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), &mut unreported);
            kernel.seeing(Some(&mut hosts)).snapshot().expect("a snapshot");
            let mut other = Record::take(&BTreeMap::new(), false).expect("the kernel's links");
            assert!(!other.kinds.contains_key("fdb") && !other.kinds.contains_key("neighbour"));
            other.add(&hosts);
            // The peer may have been heard since.
            assert_learned(&other);
            other.kinds.insert("fdb".to_owned(), record.kinds["fdb"].clone());
            assert_eq!(other.kinds, record.kinds);
            let watch = Watch::start(Arc::new(record));
            let kinds = ["port", "lag", "fdb", "default-route", "attachment"];
            for kind in kinds {
                until(&watch, kind, "nothing is lost", |row| row.verdict == Verdict::Same);
            }
            lines("ip", &["route del ::/0"]);
            until(&watch, "default-route", "one is gone", |row| gone(row) == ["::/0"]);
            // One of another metric still leads everywhere; then a part of all is left.
            lines("ip", &["route del default via 192.0.2.9"]);
            let looks = watch.latest().looks;
            until(&watch, "default-route", "another leads there", |row| {
                gone(row) == ["::/0"] && watch.latest().looks > looks + 2
            });
            lines("ip", &["route del default via 192.0.2.11 metric 7"]);
            until(&watch, "default-route", "both are gone", |row| gone(row) == ["0.0.0.0/0", "::/0"]);
            // 39 of 40 are none too few.
            lines("bridge", &[&format!("fdb del {} dev swp1 master", mac(0))]);
            let looks = watch.latest().looks;
            until(&watch, "fdb", "one is no loss", |row| {
                row.verdict == Verdict::Same && watch.latest().looks > looks + 2
            });
            batch("bridge", (1..4).map(|n| format!("fdb del {} dev swp1 master", mac(n))));
            let row = until(&watch, "fdb", "four are", |row| row.verdict == Verdict::Fewer);
            let counts = (row.differences[0].before, row.differences[0].now);
            assert!([40, 41].contains(&counts.0) && [36, 37].contains(&counts.1), "{counts:?}");
            lines("ip", &["link set host2 down"]);
            until(&watch, "port", "it has no carrier", |row| gone(row) == ["swp2"]);
            lines("ip", &["link set host2 up"]);
            until(&watch, "port", "it has its carrier again", |row| row.verdict == Verdict::Same);
        },
    );
}

/// More neighbours than are kept each by itself.
const NEIGHBOURS: u32 = 3000;

#[test]
fn many_neighbours_are_counted_for_each_interface() {
    isolated("comparison::many_neighbours_are_counted_for_each_interface", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        room.add_pair("swp2", "host2");
        lines("ip", &["address add 10.0.0.1/8 dev swp1"]);
        let ip = |number: u32| format!("10.1.{}.{}", number / 250, number % 250 + 1);
        // More than the kernel keeps of those it learned itself.
        let entries = (0..NEIGHBOURS).map(|number| {
            let port = 1 + number % 2;
            format!(
                "neighbour add {} dev swp{port} lladdr 02:00:00:00:05:01 nud reachable extern_learn",
                ip(number)
            )
        });
        batch("ip", entries);
        let record = recorded();
        let half = u64::from(NEIGHBOURS) / 2;
        let found = objects(&record, "neighbour");
        assert_eq!(found, [("swp1".to_owned(), half), ("swp2".to_owned(), half)]);
        let bytes = serde_json::to_vec(&record).expect("JSON").len();
        assert!(bytes < 1000, "a record of few objects has {bytes} bytes");
        let watch = Watch::start(Arc::new(record));
        until(&watch, "neighbour", "they are there", |row| row.verdict == Verdict::Same && row.objects == 2);
        lines("ip", &["neighbour flush dev swp2"]);
        let row = until(&watch, "neighbour", "those of an interface are gone", |row| gone(row) == ["swp2"]);
        assert_eq!((row.lost, row.differences[0].before), (1, half));
    });
}
