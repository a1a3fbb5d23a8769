//! Tables of the kernel as streams: all rows, the right ones, at a cost that grows as the table does.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use common::{batch, isolated};
use netd::kernel::packet::PacketSocket;
use netd::plan::{FdbKey, Network, Route as Intended, RouteKey, RouteTarget};
use netd::state::query::Query;
use netd::state::stream::{Source, write_table};
use netd_api::state::{DISCARD_REASONS, Discard, FdbEntry, MdbEntry, Neighbour, Route};
use netd_api::table::{End, Filter, Rows};
use nix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;

fn source(desired: Network) -> Source {
    Source {
        config: Arc::default(),
        desired: Arc::new(desired),
        ports: BTreeSet::new(),
        attachments: BTreeMap::new(),
        alarms: Vec::new(),
    }
}

fn written(source: &Source, table: &str, filter: Filter) -> Vec<u8> {
    let query = Query::parse(table, filter).expect("a filter");
    let mut text = Vec::new();
    write_table(source, &query, &mut text).expect("the table");
    text
}

fn read<T: DeserializeOwned>(source: &Source, table: &str, filter: Filter) -> (Vec<T>, End) {
    let text = written(source, table, filter);
    let mut rows = Rows::new(BufReader::new(text.as_slice()));
    let read = rows.by_ref().collect::<Result<_, _>>().expect("rows");
    (read, rows.end().expect("an end").clone())
}

fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

fn mac(number: u32) -> String {
    format!("02:00:00:{:02x}:{:02x}:{:02x}", number >> 16, number >> 8 & 255, number & 255)
}

/// A bridge with a port, up, and an address beside them.
fn make_links() {
    let links = [
        "link add name bridge type bridge",
        "link add name swp1 master bridge type veth peer name host1",
        "link add name swp2 type veth peer name host2",
        "link set lo up",
        "link set bridge up",
        "link set swp1 up",
        "link set host1 up",
        "link set host2 up",
        "link set swp2 up",
        "address add 192.0.2.1/24 dev swp2",
        "address add 2001:db8::1/64 dev swp2 nodad",
    ];
    batch("ip", links.into_iter().map(str::to_owned));
}

#[test]
fn route_table_streams_every_route_by_rising_prefixes() {
    isolated("route_table_streams_every_route_by_rising_prefixes", || {
        make_links();
        batch("ip", (0..5000).map(|n| format!("route add blackhole {}/32 proto bird", address(n))));
        let (rows, end) = read::<Route>(&source(Network::default()), "routes", Filter::default());
        assert_eq!(end, End::Complete { rows: rows.len() as u64, local: 0 });
        let bird: Vec<&str> =
            rows.iter().filter(|row| row.protocol == "bird").map(|row| row.prefix.as_str()).collect();
        let expected: Vec<String> = (0..5000).map(|n| format!("{}/32", address(n))).collect();
        assert_eq!(bird, expected);
        let own: Vec<&str> =
            rows.iter().map(|row| row.kind.as_str()).filter(|kind| *kind == "local").collect();
        assert!(own.is_empty(), "addresses of the switch itself are no rows: {own:?}");
    });
}

#[test]
fn route_lookup_is_the_kernels() {
    isolated("route_lookup_is_the_kernels", || {
        make_links();
        let routes = [
            "route add 198.51.0.0/16 via 192.0.2.9 metric 20",
            "route add 198.51.100.0/24 via 192.0.2.8 metric 20",
            "route add 198.51.100.0/24 via 192.0.2.7 metric 10 proto bgp",
            "route add blackhole 203.0.113.0/24",
            "route add unreachable default metric 4278198272",
            "route add 2001:db8:5::/48 via 2001:db8::9",
        ];
        batch("ip", routes.into_iter().map(str::to_owned));
        let source = source(Network::default());
        let found = |addresses: &[&str]| {
            let filter = Filter { addresses: texts(addresses), ..Filter::default() };
            let rows = read::<Route>(&source, "routes", filter).0;
            rows.iter().map(|row| format!("{} {}", row.prefix, row.metric)).collect::<Vec<_>>()
        };
        assert_eq!(found(&["198.51.100.7"]), ["198.51.100.0/24 10"]);
        assert_eq!(found(&["198.51.7.7"]), ["198.51.0.0/16 20"]);
        assert_eq!(found(&["192.0.2.77"]), ["192.0.2.0/24 0"]);
        assert_eq!(found(&["2001:db8:5::1"]), ["2001:db8:5::/48 1024"]);
        // The kernel tells that it drops these, not by which route.
        assert_eq!(found(&["203.0.113.9"]), ["203.0.113.0/24 0"]);
        assert_eq!(found(&["100.64.0.1"]), ["0.0.0.0/0 4278198272"]);
        // The switch itself.
        assert_eq!(found(&["192.0.2.1"]), ["192.0.2.1/32 0"]);
        assert_eq!(found(&["198.51.100.7", "198.51.100.8"]).len(), 1);
        let bgp = Filter {
            addresses: texts(&["198.51.7.7"]),
            protocol: Some("bgp".to_owned()),
            ..Filter::default()
        };
        assert_eq!(read::<Route>(&source, "routes", bgp).0, []);
    });
}

#[test]
fn route_table_is_filtered_by_prefix_and_protocol_and_shows_what_is_missing() {
    isolated("route_table_is_filtered_by_prefix_and_protocol_and_shows_what_is_missing", || {
        make_links();
        let routes = (0..50).map(|n| format!("route add blackhole {}/32 proto {}", address(n), 199 - n % 2));
        batch("ip", routes);
        let intended = |n: u32| Intended {
            key: RouteKey { table: 254, prefix: format!("{}/32", address(n)).parse().unwrap(), metric: 0 },
            target: RouteTarget::Blackhole,
        };
        let source =
            source(Network { routes: (0..60).step_by(2).map(intended).collect(), ..Network::default() });
        let rows = |filter: Filter| read::<Route>(&source, "routes", filter).0;
        let all = rows(Filter::default());
        let wanted: Vec<&Route> = all.iter().filter(|row| row.wanted).collect();
        assert_eq!(wanted.len(), 30);
        assert_eq!(wanted.iter().filter(|row| !row.kernel).count(), 5);
        let one =
            |n: u32| rows(Filter { prefixes: texts(&[&format!("{}/32", address(n))]), ..Filter::default() });
        assert_eq!(one(7).iter().map(|row| (row.wanted, row.kernel)).collect::<Vec<_>>(), [(false, true)]);
        assert_eq!(one(8).iter().map(|row| (row.wanted, row.kernel)).collect::<Vec<_>>(), [(true, true)]);
        assert_eq!(one(58).iter().map(|row| (row.wanted, row.kernel)).collect::<Vec<_>>(), [(true, false)]);
        let of =
            |protocol: &str| rows(Filter { protocol: Some(protocol.to_owned()), ..Filter::default() }).len();
        assert_eq!((of("static"), of("198"), of("nobody")), (30, 25, 0));
        assert!(rows(Filter { vrf: Some("blue".to_owned()), ..Filter::default() }).is_empty());
    });
}

#[test]
fn entries_are_filtered_by_what_tells_them_apart() {
    isolated("entries_are_filtered_by_what_tells_them_apart", || {
        make_links();
        batch("bridge", (1..=300).map(|n| format!("fdb add {} dev swp1 master static", mac(n))));
        batch("bridge", (1..=5).map(|n| format!("mdb add dev bridge port swp1 grp 239.1.1.{n} permanent")));
        let neighbours =
            (1..=9).map(|n| format!("neighbour add 192.0.2.1{n} lladdr {} dev swp2 nud permanent", mac(n)));
        batch("ip", neighbours);
        let key = FdbKey { mac: mac(999), vlan_id: 10, tunnel: None };
        let source = source(Network { fdb: [(key, "swp1".to_owned())].into(), ..Network::default() });
        let fdb = |filter: Filter| read::<FdbEntry>(&source, "fdb", filter);
        let all = fdb(Filter::default()).0;
        assert_eq!(all.iter().filter(|row| row.kind == "static" && row.kernel).count(), 300);
        assert!(
            all.windows(2)
                .all(|two| (two[0].vlan_id, &two[0].mac) <= (two[1].vlan_id, &two[1].mac) || !two[1].kernel)
        );
        let one = fdb(Filter { macs: texts(&[&mac(7)]), ..Filter::default() }).0;
        assert_eq!(
            one.iter().map(|row| (row.mac.clone(), row.port.as_str())).collect::<Vec<_>>(),
            [(mac(7), "swp1")]
        );
        assert!(fdb(Filter { macs: texts(&[&mac(998)]), ..Filter::default() }).0.is_empty());
        let missing = fdb(Filter { macs: texts(&[&mac(999)]), ..Filter::default() }).0;
        assert_eq!(missing.iter().map(|row| (row.wanted, row.kernel)).collect::<Vec<_>>(), [(true, false)]);
        let at = |port: &str| fdb(Filter { interfaces: texts(&[port]), ..Filter::default() }).0;
        assert!(at("swp1").len() > 300 && at("swp1").iter().all(|row| row.port == "swp1"));
        assert!(at("swp2").is_empty());
        let (rest, end) = fdb(Filter { without_local: Some(true), ..Filter::default() });
        // Others may be learned meanwhile.
        let local = all.iter().filter(|row| row.kind == "local").count() as u64;
        assert!(local > 0 && rest.iter().all(|row| row.kind != "local"));
        assert_eq!(end, End::Complete { rows: rest.len() as u64, local });
        let groups = Filter { addresses: texts(&["239.1.1.3"]), ..Filter::default() };
        assert_eq!(read::<MdbEntry>(&source, "mdb", groups).0.len(), 1);
        let neighbours = |filter: Filter| read::<Neighbour>(&source, "neighbours", filter).0;
        let order: Vec<String> = neighbours(Filter::default()).into_iter().map(|row| row.address).collect();
        assert!(order.len() >= 9 && order.contains(&"192.0.2.15".to_owned()), "{order:?}");
        let one =
            Filter { addresses: texts(&["192.0.2.15"]), interfaces: texts(&["swp2"]), ..Filter::default() };
        assert_eq!(neighbours(one).len(), 1);
        assert!(
            neighbours(Filter { interfaces: texts(&["swp1"]), ..Filter::default() })
                .iter()
                .all(|row| row.device == "swp1")
        );
    });
}

/// Sends frames of an Ethernet type that nobody listens to (IEEE 802, for experiments) out of the link of this name.
fn send_unknown(link: &str, count: u64) {
    let index = nix::net::if_::if_nametoindex(link).expect("the link");
    let mut socket = PacketSocket::open().expect("a packet socket");
    socket.find_interfaces().expect("the interfaces");
    let mut frame = [0xff; 60];
    frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
    (0..count).for_each(|_| socket.send(index, &frame).expect("sent"));
}

#[test]
fn discards_are_told_of_the_ports_that_are_asked_for_and_are_unknown_where_nobody_counts() {
    isolated("discards_are_told_of_the_ports_that_are_asked_for_and_are_unknown_where_nobody_counts", || {
        make_links();
        let mut source = source(Network::default());
        source.ports = ["swp1", "swp2"].map(str::to_owned).into();
        let rows = |port: &str| {
            read::<Discard>(&source, "discards", Filter { interfaces: texts(&[port]), ..Filter::default() }).0
        };
        let (all, end) = read::<Discard>(&source, "discards", Filter::default());
        assert_eq!(end, End::Complete { rows: 2 * DISCARD_REASONS.len() as u64, local: 0 });
        assert!(all.iter().take(DISCARD_REASONS.len()).all(|row| row.port == "swp1"), "{all:?}");
        let count = |direction: &str, reason: &str| {
            let rows = rows("swp2");
            assert_eq!(rows.len(), DISCARD_REASONS.len());
            let row = rows.iter().find(|row| row.direction == direction && row.reason == reason);
            let row = row.expect("a row for each reason");
            (row.frames, row.counted_by.clone())
        };
        // A bridge drops such frames without a word, and no driver of these counts others.
        for (direction, reason) in
            [("in", "vlan"), ("in", "untagged"), ("in", "too-long"), ("out", "too-long")]
        {
            assert_eq!(count(direction, reason), (None, None), "{direction} {reason}");
        }
        let (before, by) = count("in", "other");
        assert_eq!(by.as_deref(), Some("kernel"));
        send_unknown("host2", 3);
        assert!(count("in", "other").0 >= before.map(|before| before + 3), "{before:?}");
        assert_eq!(rows("swp9"), []);
    });
}

/// The shortest of some times of the processor, in this process and the kernel: what else the machine does counts for
/// nothing.
fn time(work: impl Fn()) -> Duration {
    let now =
        || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread"));
    let once = || {
        let begun = now();
        work();
        now() - begun
    };
    (0..3).map(|_| once()).min().unwrap()
}

#[test]
fn table_costs_grow_no_faster_than_the_table() {
    isolated("table_costs_grow_no_faster_than_the_table", || {
        make_links();
        let source = source(Network::default());
        let small = 4000;
        let whole = |table: &'static str| {
            time(|| {
                written(&source, table, Filter::default());
            })
        };
        let grow = |range: std::ops::Range<u32>| {
            batch("ip", range.clone().map(|n| format!("route add blackhole {}/32", address(n))));
            batch("bridge", range.clone().map(|n| format!("fdb add {} dev swp1 master static", mac(n + 1))));
            let neighbour =
                |n| format!("neighbour add {} lladdr {} dev swp2 nud permanent", address(n), mac(n + 1));
            batch("ip", range.map(neighbour));
        };
        let tables = ["routes", "fdb", "neighbours"];
        grow(0..small);
        let before = tables.map(whole);
        grow(small..4 * small);
        let after = tables.map(whole);
        for (table, (before, after)) in tables.into_iter().zip(before.into_iter().zip(after)) {
            println!("{table}: {before:?}, four times as long {after:?}");
            assert!(after <= 8 * before, "{table}: {before:?}, four times as long {after:?}");
        }
        // What is found costs what one entry costs.
        let found = time(|| {
            written(&source, "fdb", Filter { macs: texts(&[&mac(9)]), ..Filter::default() });
            written(&source, "routes", Filter { addresses: texts(&["192.0.2.77"]), ..Filter::default() });
        });
        let [routes, fdb, _] = after;
        assert!(found * 4 <= routes + fdb, "{found:?} for one of {routes:?} and {fdb:?}");
    });
}

#[test]
fn alarms_are_told_without_asking_the_kernel_and_take_no_filter() {
    use netd_api::alarm::{Alarm, AlarmKind, Severity};
    // Outside of any namespace of its own: nothing of the kernel is read.
    let alarm = |object: &str| Alarm {
        kind: AlarmKind::GroupsFull,
        object: object.to_owned(),
        severity: Severity::Warning,
        since_s: 7,
        text: "full".to_owned(),
        remedy: String::new(),
    };
    let alarms = vec![alarm("swp1"), alarm("swp2")];
    let source = Source { alarms: alarms.clone(), ..source(Network::default()) };
    let (read, end): (Vec<Alarm>, End) = read(&source, "alarms", Filter::default());
    assert_eq!((read, end), (alarms, End::Complete { rows: 2, local: 0 }));
    let filter = Filter { vlan_id: Some(7), ..Filter::default() };
    assert_eq!(Query::parse("alarms", filter).expect_err("refused").words(), "filter: alarms has no vlan_id");
}
