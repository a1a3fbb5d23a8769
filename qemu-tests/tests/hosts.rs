//! Hosts and wires back to back, without a switch between them: what the scenarios rely on.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use qemu_tests::frame::{Frame, Mac};
use qemu_tests::host::{Connection, Host, HostConfig};
use qemu_tests::random::run_token;
use qemu_tests::wire::Wire;

const SOON: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_millis(200);

struct Pair {
    a: Host,
    b: Host,
    _wires: (Wire, Wire),
    _folder: tempfile::TempDir,
}

fn host(number: u16) -> HostConfig {
    HostConfig::new(&format!("h{number}"), Mac::of_host(number))
        .address(&format!("192.0.2.{number}/24"))
        .address(&format!("2001:db8::{number}/64"))
}

fn pair(a: HostConfig, b: HostConfig) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let wires = Wire::pair(folder.path()).unwrap();
    let (a, b) = (Host::start(&wires.0, a).unwrap(), Host::start(&wires.1, b).unwrap());
    Pair { a, b, _wires: wires, _folder: folder }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn two_hosts_ping_each_other_over_both_families() {
    let pair = pair(host(1), host(2));
    for address in ["192.0.2.2", "2001:db8::2"] {
        assert_eq!(pair.a.ping_all_answered(ip(address), 20).unwrap().received, 20);
    }
}

#[test]
fn a_ping_nobody_answers_is_lost() {
    let pair = pair(host(1), host(2));
    for address in ["192.0.2.77", "2001:db8::77"] {
        assert_eq!(pair.a.ping(ip(address), 2, MOMENT).unwrap().received, 0);
    }
    assert!(pair.a.ping_until_answered(ip("192.0.2.77"), MOMENT).is_err());
}

#[test]
fn ten_megabytes_arrive_unchanged() {
    let pair = pair(host(1), host(2));
    for address in ["192.0.2.2", "2001:db8::2"] {
        let moved =
            pair.a.transfer(&pair.b, ip(address), 5001, 10_000_000, 42, Duration::from_secs(60)).unwrap();
        assert_eq!(moved.bytes, 10_000_000);
    }
}

#[test]
fn hosts_meet_only_inside_one_vlan() {
    let same = pair(host(1).vlan(10), host(2).vlan(10));
    same.a.ping_all_answered(ip("192.0.2.2"), 3).unwrap();
    let other = pair(host(1).vlan(10), host(2).vlan(20));
    assert_eq!(other.a.ping(ip("192.0.2.2"), 2, MOMENT).unwrap().received, 0);
    let untagged = pair(host(1).vlan(10), host(2));
    assert_eq!(untagged.a.ping(ip("192.0.2.2"), 2, MOMENT).unwrap().received, 0);
}

#[test]
fn a_gateway_host_answers_for_the_network_behind_it() {
    let pair = pair(host(1).gateway(ip("192.0.2.2")), host(2).address("198.51.100.1/24"));
    pair.a.ping_all_answered(ip("198.51.100.1"), 3).unwrap();
}

#[test]
fn a_closed_port_refuses_and_an_absent_host_is_silent() {
    let pair = pair(host(1), host(2).http("hello"));
    // Both hosts run and know each other: what follows is about ports.
    pair.a.ping_until_answered(ip("192.0.2.2"), SOON).unwrap();
    let connect =
        |to: &str| pair.a.connect(to.parse::<SocketAddr>().unwrap(), Duration::from_secs(1)).unwrap();
    assert_eq!(connect("192.0.2.2:80"), Connection::Open);
    assert_eq!(connect("192.0.2.2:22"), Connection::Refused);
    assert_eq!(connect("192.0.2.99:22"), Connection::Silent);
}

#[test]
fn the_page_of_a_host_is_served_again_and_again() {
    let pair = pair(host(1), host(2).http("hello from h2"));
    for _ in 0..4 {
        let response = pair.a.http_get(ip("192.0.2.2"), SOON).unwrap();
        assert!(
            response.starts_with("HTTP/1.0 200 OK\r\n") && response.ends_with("hello from h2"),
            "{response}"
        );
    }
}

#[test]
fn a_capture_holds_what_fits_its_filter() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = Wire::pair(folder.path()).unwrap();
    let marked = b.capture_text(run_token());
    let all = b.capture();
    let frame = |text: &str| Frame::new(Mac::of_host(1), Mac::BROADCAST).payload(text).build();
    assert!(a.send(&frame("something else")));
    assert!(a.send(&frame(run_token())));
    let captured = marked.wait_for("marked frame", SOON, |view| view.carries(run_token())).unwrap();
    assert_eq!(captured.view().unwrap().source, Mac::of_host(1));
    assert_eq!(all.drain().len(), 2);
    assert!(marked.drain().is_empty());
}

#[test]
fn a_frame_for_a_switch_that_is_off_is_lost_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let wire = Wire::open("swp1", &folder.path().join("h"), &folder.path().join("q")).unwrap();
    assert!(!wire.send(&[0; 60]));
    assert!(!wire.try_send(&[0; 60]));
    assert_eq!((wire.counters().sent, wire.counters().not_sent), (0, 2));
}

#[test]
fn sixty_two_idle_hosts_cost_next_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hosts: Vec<(Wire, Host)> = (1..=62_u16)
        .map(|number| {
            let socket = |side: &str| folder.path().join(format!("{number}{side}"));
            let wire = Wire::open(&format!("swp{number}"), &socket("h"), &socket("q")).unwrap();
            let host = Host::start(&wire, host(number)).unwrap();
            (wire, host)
        })
        .collect();
    let ticks = || {
        let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
        used.user_time().tv_sec() * 1_000_000
            + used.user_time().tv_usec()
            + used.system_time().tv_sec() * 1_000_000
            + used.system_time().tv_usec()
    };
    // Other tests of this program may run meanwhile, so the quietest of a few periods counts.
    let quietest = (0..20)
        .map(|_| {
            let before = ticks();
            std::thread::sleep(Duration::from_millis(250));
            ticks() - before
        })
        .min()
        .unwrap();
    assert!(quietest < 12_500, "{} hosts used {quietest} µs of processor time in 250 ms", hosts.len());
}
