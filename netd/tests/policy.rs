//! The control-plane rules against the running kernel, in network namespaces of their own.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
#[path = "policy/raw.rs"]
mod raw;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{batch, isolated, workload_namespace};
use netd::attach::{check_request, workload};
use netd::kernel::{Connection, address, link};
use netd::policy;
use netd_api::attach::AttachRequest;

const ALLOWED: u16 = 2222;
/// How long to wait for what must not come.
const SILENCE: Duration = Duration::from_millis(300);
/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rules of a switch that allows one service, with `more` sections.
fn rules(more: &str) -> String {
    let text = format!(
        "version = 1\n[control-plane]\nallow = [\"icmp\", \"arp\", \"nd\", \"tcp/{ALLOWED}\", \"udp/{ALLOWED}\"]\n{more}"
    );
    policy::ruleset(&netd_api::config::parse(&text).expect("a valid document"))
}

const VRF: &str = "[vrfs.blue]\ntable = 1001\n[ports.swp3]\nvrf = \"blue\"\n";

fn load(ruleset: &str, previous: &str) {
    policy::load(Path::new(policy::NFT), ruleset, previous).expect("the rules");
}

fn nft(words: &[&str]) -> (bool, String) {
    let output = Command::new(policy::NFT).args(words).output().expect("nft");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a set holds.
fn elements(set: &str) -> String {
    let (found, text) = nft(&["-n", "list", "set", "inet", "corten", set]);
    assert!(found, "there is no set {set}");
    text.split_once("elements").map(|(_, elements)| elements.to_owned()).unwrap_or_default()
}

/// A host on a port of the switch: `port` has `own`, the host `peer`.
struct Host(OwnedFd);

impl Host {
    fn on(port: &str, own: &str, peer: &str) -> Host {
        let request = AttachRequest {
            key: format!("default/{port}/eth0"),
            interface: "eth0".to_owned(),
            untagged_vlan: 10,
            addresses: vec![peer.to_owned()],
            ..AttachRequest::default()
        };
        let record = check_request(&request).expect("a valid request");
        let (namespace, socket) = workload_namespace();
        let mut outside = Connection::open().expect("netlink");
        workload::create(&mut outside, &record, &namespace, socket).expect("the pair");
        let links = link::dump(&mut outside, false).unwrap();
        let index = links.iter().find(|link| link.name == record.port).unwrap().index;
        outside.request(link::rename(index, port)).expect("renaming");
        outside.request(address::add(index, &own.parse().unwrap(), false)).expect("an address");
        outside.request(link::set_up_by_index(index)).expect("up");
        Host(namespace)
    }

    /// Runs `body` in the host's namespace. Sockets made there stay there.
    fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = self.0.try_clone().unwrap();
        std::thread::spawn(move || {
            nix::sched::setns(File::from(namespace), nix::sched::CloneFlags::CLONE_NEWNET).expect("setns");
            body()
        })
        .join()
        .expect("the thread")
    }

    fn connect(&self, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
        self.run(move || TcpStream::connect_timeout(&to, patience))
    }

    fn udp(&self, at: SocketAddr) -> UdpSocket {
        self.run(move || udp(at))
    }

    /// Runs ip(8) in the host's namespace.
    fn ip(&self, words: &'static str) {
        self.run(move || {
            let status = Command::new("ip").args(words.split(' ')).status().expect("ip(8) of iproute2");
            assert!(status.success(), "ip {words}");
        });
    }

    /// Sends a frame as it is.
    fn send(&self, frame: Vec<u8>) {
        self.run(move || raw::send("eth0", &frame));
    }
}

/// Runs a command of iproute2 and answers what it prints.
fn shown(program: &str, words: &str) -> String {
    let output = Command::new(program).args(words.split(' ')).output().expect("iproute2");
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until something is shown.
fn until_shown(program: &str, words: &str, what: &str) -> String {
    let began = std::time::Instant::now();
    loop {
        let text = shown(program, words);
        if text.contains(what) {
            return text;
        }
        assert!(began.elapsed() < PATIENCE, "{program} {words} shows no {what}: {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A bridge of ports with hosts behind them, which has an address itself.
fn bridge(ports: &[&str]) {
    let mut commands = vec!["link add name bridge type bridge".to_owned(), "link set bridge up".to_owned()];
    commands.push("address add 10.0.10.1/24 dev bridge".to_owned());
    commands.extend(ports.iter().map(|port| format!("link set {port} master bridge")));
    batch("ip", commands.into_iter());
}

/// Routes packets, and tells nobody of a shorter way.
fn forward_packets() {
    for (setting, value) in
        [("ip_forward", "1"), ("conf/all/send_redirects", "0"), ("conf/default/send_redirects", "0")]
    {
        std::fs::write(format!("/proc/sys/net/ipv4/{setting}"), value).expect("a setting");
    }
}

fn udp(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse::<IpAddr>().unwrap(), port)
}

/// Sends a word from one end and awaits it at the other, both ways.
fn exchange(mut one: &TcpStream, mut other: &TcpStream) {
    for stream in [one, other] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut word = [0; 4];
    one.write_all(b"ping").unwrap();
    other.read_exact(&mut word).expect("the question");
    other.write_all(b"pong").unwrap();
    one.read_exact(&mut word).expect("the answer");
}

fn ready() {
    let mut outside = Connection::open().expect("netlink");
    outside.request(link::set_admin("lo", true)).expect("lo");
}

#[test]
fn answers_of_an_allowed_service_are_not_taken_for_questions() {
    isolated("answers_of_an_allowed_service_are_not_taken_for_questions", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        load(&rules(""), "");
        let service = TcpListener::bind(at("0.0.0.0", ALLOWED)).unwrap();
        let client = host.connect(at("192.0.2.1", ALLOWED), PATIENCE).expect("the allowed service");
        exchange(&client, &service.accept().unwrap().0);
        let (service, client) = (udp(at("0.0.0.0", ALLOWED)), host.udp(at("0.0.0.0", 0)));
        client.send_to(b"ping", at("192.0.2.1", ALLOWED)).unwrap();
        let (_, from) = service.recv_from(&mut [0; 4]).expect("the question");
        service.send_to(b"pong", from).unwrap();
        client.recv_from(&mut [0; 4]).expect("the answer");
        assert_eq!(elements("asked4_main"), "");
        // A probe of what is not allowed leaves nothing either, and gets nothing.
        let _other = TcpListener::bind(at("0.0.0.0", ALLOWED + 1)).unwrap();
        assert!(host.connect(at("192.0.2.1", ALLOWED + 1), SILENCE).is_err());
        assert_eq!(elements("asked4_main"), "");
    });
}

#[test]
fn what_the_switch_asks_is_answered_also_after_the_rules_were_replaced() {
    isolated("what_the_switch_asks_is_answered_also_after_the_rules_were_replaced", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        load(&rules(""), "");
        let server = host.run(|| TcpListener::bind(at("0.0.0.0", 4000)).unwrap());
        let own = TcpStream::connect_timeout(&at("192.0.2.2", 4000), PATIENCE).expect("a connection");
        let far = server.accept().unwrap().0;
        exchange(&own, &far);
        assert!(elements("asked4_main").contains("192.0.2.2 . 6 . 4000"), "{}", elements("asked4_main"));
        // Kept for as long as it is used, not only for as long as opening may take.
        let expires = elements("asked4_main").split_once("expires ").expect("a timeout").1.to_owned();
        let seconds: u32 = expires.split('s').next().unwrap().parse().expect("seconds");
        assert!(seconds > 7000, "{seconds}");
        let (server, client) = (host.udp(at("0.0.0.0", 5000)), udp(at("0.0.0.0", 0)));
        client.send_to(b"ping", at("192.0.2.2", 5000)).unwrap();
        let (_, from) = server.recv_from(&mut [0; 4]).expect("the question");
        server.send_to(b"pong", from).unwrap();
        client.recv_from(&mut [0; 4]).expect("the answer");
        for (new, previous) in [(rules(VRF), rules("")), (rules(""), rules(VRF))] {
            load(&new, &previous);
            exchange(&far, &own);
        }
    });
}

#[test]
fn a_connection_of_a_service_that_is_no_longer_allowed_ends() {
    isolated("a_connection_of_a_service_that_is_no_longer_allowed_ends", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        load(&rules(""), "");
        let service = TcpListener::bind(at("0.0.0.0", ALLOWED)).unwrap();
        let mut client = host.connect(at("192.0.2.1", ALLOWED), PATIENCE).expect("the allowed service");
        let mut own = service.accept().unwrap().0;
        exchange(&client, &own);
        let none = policy::ruleset(&netd_api::config::parse("version = 1\n").unwrap());
        load(&none, &rules(""));
        own.write_all(b"more").unwrap();
        client.write_all(b"more").unwrap();
        own.set_read_timeout(Some(SILENCE)).unwrap();
        assert!(own.read(&mut [0; 4]).is_err(), "still reached");
        assert_eq!(elements("asked4_main"), "");
    });
}

#[test]
fn who_traces_the_way_to_the_switch_is_told_that_the_port_is_closed() {
    isolated("who_traces_the_way_to_the_switch_is_told_that_the_port_is_closed", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        load(&rules(""), "");
        let probe = |port: u16, patience: Duration| {
            let socket = host.udp(at("192.0.2.2", 0));
            socket.connect(at("192.0.2.1", port)).unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            socket.send(b"probe").unwrap();
            socket.recv(&mut [0; 4]).unwrap_err().kind()
        };
        assert_eq!(probe(33_434, PATIENCE), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(probe(33_433, SILENCE), std::io::ErrorKind::WouldBlock);
        // Nor is anybody answered where ICMP is not allowed.
        let none = "version = 1\n[control-plane]\nallow = [\"arp\"]\n";
        load(&policy::ruleset(&netd_api::config::parse(none).unwrap()), &rules(""));
        assert_eq!(probe(33_435, SILENCE), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn sources_are_compared_with_the_way_back_where_that_is_asked_for_and_no_chain_is_left() {
    isolated("sources_are_compared_with_the_way_back_where_that_is_asked_for_and_no_chain_is_left", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        let _other = Host::on("swp2", "198.51.100.1/24", "198.51.100.2/24");
        // What the host on swp1 sends as one of swp2's subnet.
        let forged = host.run(|| {
            let mut inside = Connection::open().expect("netlink");
            let links = link::dump(&mut inside, false).unwrap();
            let index = links.iter().find(|link| link.name == "eth0").unwrap().index;
            inside
                .request(address::add(index, &"198.51.100.7/32".parse().unwrap(), false))
                .expect("an address");
            udp(at("198.51.100.7", 0))
        });
        let service = udp(at("0.0.0.0", ALLOWED));
        let arrives = |socket: &UdpSocket| {
            service.set_read_timeout(Some(SILENCE)).unwrap();
            socket.send_to(b"ping", at("192.0.2.1", ALLOWED)).unwrap();
            service.recv_from(&mut [0; 4]).is_ok()
        };
        let honest = host.udp(at("192.0.2.2", 0));
        let with = |setting: &str| rules(&format!("[routing]\nreverse-path = \"{setting}\"\n"));
        let mut previous = String::new();
        for (setting, forged_arrives) in
            [("strict", false), ("loose", true), ("strict", false), ("off", true)]
        {
            load(&with(setting), &previous);
            previous = with(setting);
            assert_eq!((arrives(&honest), arrives(&forged)), (true, forged_arrives), "{setting}");
        }
        assert!(!nft(&["list", "ruleset"]).1.contains("reverse_path"));
    });
}

#[test]
fn arp_is_believed_of_hosts_of_the_subnet_with_addresses_of_one_host() {
    isolated("arp_is_believed_of_hosts_of_the_subnet_with_addresses_of_one_host", || {
        ready();
        let host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        let asks = |mac: [u8; 6], sender: [u8; 4]| host.send(raw::arp_request(mac, sender, [192, 0, 2, 1]));
        let own = [2, 0, 0, 0, 9, 1];
        let port = "[ports.swp1]\naddresses = [\"192.0.2.1/24\"]\n";
        load(&rules(port), "");
        for mac in [[1, 0, 0x5e, 0, 0, 1], [0xff; 6]] {
            asks(mac, [192, 0, 2, 66]);
        }
        asks(own, [198, 51, 100, 9]);
        asks(own, [192, 0, 2, 77]);
        // Behind them.
        let known = until_shown("ip", "neighbour show dev swp1", "192.0.2.77");
        assert!(!known.contains("192.0.2.66") && !known.contains("198.51.100.9"), "{known}");
        // What the document says is there may ask, too.
        let more = format!(
            "{port}[[routes]]\nprefix = \"203.0.113.0/24\"\nvia = \"198.51.100.9\"\ndev = \"swp1\"\n"
        );
        load(&rules(&more), &rules(port));
        asks(own, [198, 51, 100, 9]);
        until_shown("ip", "neighbour show dev swp1", "198.51.100.9");
    });
}

#[test]
fn reports_that_igmp_and_mld_do_not_allow_make_no_members() {
    isolated("reports_that_igmp_and_mld_do_not_allow_make_no_members", || {
        ready();
        let host = Host::on("swp1", "203.0.113.1/32", "10.0.10.2/24");
        bridge(&["swp1"]);
        load(&rules(""), "");
        let mdb = "mdb show dev bridge";
        host.send(raw::igmp_report(2, [239, 1, 1, 1]));
        host.send(raw::igmp_report(1, [10, 0, 10, 77]));
        host.send(raw::mld_report(64, "fe80::2", "ff05::1:1"));
        host.send(raw::mld_report(1, "2001:db8::2", "ff05::1:2"));
        host.send(raw::mld_report(1, "fe80::2", "2001:db8::77"));
        host.send(raw::igmp3_report(&[[10, 0, 10, 78], [239, 1, 1, 2]]));
        host.send(raw::mld2_report(&["2001:db8::78", "ff05::1:3"]));
        // The same of groups.
        host.send(raw::igmp_report(1, [239, 1, 1, 9]));
        host.send(raw::mld_report(1, "fe80::2", "ff05::1:9"));
        host.send(raw::igmp3_report(&[[239, 1, 1, 10], [239, 1, 1, 11]]));
        host.send(raw::mld2_report(&["ff05::1:10", "ff05::1:11"]));
        for right in ["239.1.1.9", "ff05::1:9", "239.1.1.10", "239.1.1.11", "ff05::1:10"] {
            until_shown("bridge", mdb, right);
        }
        let known = until_shown("bridge", mdb, "ff05::1:11");
        let wrong = [
            "239.1.1.1 ",
            "10.0.10.77",
            "ff05::1:1 ",
            "ff05::1:2 ",
            "2001:db8::",
            "10.0.10.78",
            "239.1.1.2 ",
            "ff05::1:3 ",
        ];
        for wrong in wrong {
            assert!(!known.contains(wrong), "{wrong} in {known}");
        }
    });
}

#[test]
fn mac_control_frames_stay_on_their_link() {
    isolated("mac_control_frames_stay_on_their_link", || {
        ready();
        let one = Host::on("swp1", "203.0.113.1/32", "10.0.10.2/24");
        let two = Host::on("swp2", "203.0.113.2/32", "10.0.10.3/24");
        bridge(&["swp1", "swp2"]);
        load(&rules(""), "");
        let ears = two.run(raw::Ears::open);
        let to_all = |ether_type: u16, last: u8| {
            let mut frame = [[0xff; 6], [2, 0, 0, 0, 9, 1]].concat();
            frame.extend(ether_type.to_be_bytes());
            frame.resize(60, last);
            frame
        };
        one.send(to_all(0x8808, 7));
        one.send(to_all(0x88b5, 8));
        // Behind it.
        let heard = ears.until(PATIENCE, |frame| frame.get(12..14) == Some(&[0x88, 0xb5]));
        assert!(heard.iter().all(|frame| frame.get(12..14) != Some(&[0x88, 0x08])), "{heard:x?}");
    });
}

#[test]
fn packets_of_link_local_addresses_are_not_routed() {
    isolated("packets_of_link_local_addresses_are_not_routed", || {
        ready();
        forward_packets();
        let one = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        let two = Host::on("swp2", "198.51.100.1/24", "198.51.100.2/24");
        one.ip("route add default via 192.0.2.1");
        one.ip("address add 169.254.7.7/32 dev eth0");
        two.ip("route add default via 198.51.100.1");
        load(&rules(""), "");
        let server = two.udp(at("198.51.100.2", 5000));
        let arrives = |from: &str| {
            let socket = one.udp(at(from, 0));
            socket.send_to(b"ping", at("198.51.100.2", 5000)).unwrap();
            server.set_read_timeout(Some(SILENCE)).unwrap();
            server.recv_from(&mut [0; 4]).is_ok()
        };
        // Until neighbours are resolved.
        let began = std::time::Instant::now();
        while !arrives("192.0.2.2") {
            assert!(began.elapsed() < PATIENCE, "nothing is routed at all");
        }
        assert!(!arrives("169.254.7.7"));
        assert!(arrives("192.0.2.2"));
    });
}

#[test]
fn isolated_hosts_do_not_meet_behind_the_router_either() {
    isolated("isolated_hosts_do_not_meet_behind_the_router_either", || {
        ready();
        forward_packets();
        let one = Host::on("swp1", "203.0.113.1/32", "10.0.10.2/24");
        let two = Host::on("swp2", "203.0.113.2/32", "10.0.10.3/24");
        bridge(&["swp1", "swp2"]);
        one.ip("route add 10.0.10.3/32 via 10.0.10.1");
        two.ip("route add 10.0.10.2/32 via 10.0.10.1");
        let server = two.udp(at("10.0.10.3", 5000));
        let client = one.udp(at("10.0.10.2", 0));
        let arrives = || {
            client.send_to(b"ping", at("10.0.10.3", 5000)).unwrap();
            server.set_read_timeout(Some(SILENCE)).unwrap();
            server.recv_from(&mut [0; 4]).is_ok()
        };
        // Kernels whose bridge knows no VLANs have no interface of one: the bridge itself stands for it.
        let with = |isolated: &str| {
            let document = format!(
                "[ports.swp1]\nvlan.access = 10\nisolated = true\n[ports.swp2]\nvlan.access = 10\n{isolated}\
                 [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n"
            );
            rules(&document).replace("\"vlan10\"", "\"bridge\"")
        };
        load(&with(""), "");
        let began = std::time::Instant::now();
        while !arrives() {
            assert!(began.elapsed() < PATIENCE, "an isolated host does not reach one that is not");
        }
        load(&with("isolated = true\n"), &with(""));
        assert!(!arrives());
        // To the switch they speak as before.
        assert!(one.connect(at("10.0.10.1", ALLOWED + 1), SILENCE).is_err());
        let service = TcpListener::bind(at("0.0.0.0", ALLOWED)).unwrap();
        let stream = one.connect(at("10.0.10.1", ALLOWED), PATIENCE).expect("the allowed service");
        exchange(&stream, &service.accept().unwrap().0);
        load(&with(""), &with("isolated = true\n"));
        assert!(arrives());
        // No rule of the bridge's is left.
        assert!(!nft(&["list", "ruleset"]).1.contains("oifname { \"swp1\", \"swp2\" } meta mark"));
    });
}

#[test]
fn an_answer_is_accepted_only_in_the_vrf_it_was_asked_in() {
    isolated("an_answer_is_accepted_only_in_the_vrf_it_was_asked_in", || {
        ready();
        // The kernel need have no VRFs: without one, what comes in by swp3 is of the default VRF, while
        // what leaves by it is of `blue`.
        let host = Host::on("swp3", "198.51.100.1/24", "198.51.100.2/24");
        load(&rules(VRF), "");
        let (server, client) = (host.udp(at("0.0.0.0", 5000)), udp(at("0.0.0.0", 0)));
        client.send_to(b"ping", at("198.51.100.2", 5000)).unwrap();
        let (_, from) = server.recv_from(&mut [0; 4]).expect("the question");
        server.send_to(b"pong", from).unwrap();
        client.set_read_timeout(Some(SILENCE)).unwrap();
        assert!(client.recv_from(&mut [0; 4]).is_err(), "an answer in another VRF was accepted");
        assert!(elements("asked4_1001").contains("198.51.100.2 . 17 . 5000"), "{}", elements("asked4_1001"));
        assert_eq!(elements("asked4_main"), "");
        // Without the VRF its sets go, even if nobody could note any more that they were there.
        load(&rules(""), &rules(VRF));
        assert!(!nft(&["list", "ruleset"]).1.contains("1001"));
        for (before, cut_off) in [("", VRF), (VRF, ""), (VRF, VRF)] {
            let may_be = policy::either(&rules(before), &rules(cut_off));
            load(&rules(cut_off), "");
            load(&rules(""), &policy::either(&may_be, &rules("")));
            assert!(!nft(&["list", "ruleset"]).1.contains("1001"), "{before:?}, then {cut_off:?}");
        }
    });
}

const TUNNEL: &str = "[loopbacks.lo0]\naddresses = [\"192.0.2.1/32\"]\n[ports.swp1]\nvlan.access = 10\n[vxlans.vx10]\n\
                      vni = 10010\nvlan = 10\nlocal = \"192.0.2.1\"\nremotes = [\"192.0.2.2\"]\n";

#[test]
fn vxlan_packets_leave_the_sets_of_questions_empty() {
    isolated("vxlan_packets_leave_the_sets_of_questions_empty", || {
        ready();
        let _host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        batch(
            "ip",
            [
                "link add vx10 type vxlan id 10010 local 192.0.2.1 remote 192.0.2.2 dstport 4789",
                "address add 198.51.100.1/24 dev vx10",
                "link set vx10 up",
                "neighbour add 198.51.100.2 lladdr 02:00:00:00:00:02 dev vx10 nud permanent",
            ]
            .into_iter()
            .map(str::to_owned),
        );
        load(&rules(TUNNEL), "");
        // Each flow inside has a source port of its own outside (RFC 7348, 5).
        for _ in 0..500 {
            udp(at("198.51.100.1", 0)).send_to(b"flow", at("198.51.100.2", 9)).unwrap();
        }
        let held = elements("asked4_main");
        assert!(held.contains("198.51.100.2 . 17 . 9"), "the switch's own questions are kept: {held}");
        assert!(!held.contains(". 17 . 4789 ."), "{held}");
    });
}

#[test]
fn questions_that_find_no_room_are_counted_and_others_are_not() {
    isolated("questions_that_find_no_room_are_counted_and_others_are_not", || {
        ready();
        let _host = Host::on("swp1", "192.0.2.1/24", "192.0.2.2/24");
        load(&rules(""), "");
        let unnoted = || {
            let counters = netd::kernel::nft_counters::packets(policy::TABLE).expect("counters");
            counters.get("unnoted_main").copied()
        };
        let ask = || udp(at("192.0.2.1", 0)).send_to(b"question", at("192.0.2.2", 53)).unwrap();
        ask();
        assert_eq!(unnoted(), Some(0), "a question that has room");
        let fill = |numbers: std::ops::Range<u32>| {
            let elements: Vec<String> = numbers.map(|n| format!("198.18.0.{n} . 17 . 9 . 9")).collect();
            nft(&["add element inet corten asked4_main", &format!("{{ {} }}", elements.join(", "))]).0
        };
        assert!(fill(1..200), "there is room for many");
        let few = rules("most-questions = 64\n");
        load(&few, &rules(""));
        assert!(fill(1..65) && !fill(65..66), "there is room for 64");
        // After a load that ended halfway, too.
        load(&rules(""), &few);
        assert!(fill(1..200), "there is room for many");
        load(&few, &policy::either(&rules(""), &few));
        assert!(fill(1..65) && !fill(65..66), "there is room for 64");
        ask();
        assert_eq!(unnoted(), Some(1), "a question that has none");
        // What answers for an allowed service is no question.
        udp(at("192.0.2.1", ALLOWED)).send_to(b"answer", at("192.0.2.2", 5001)).unwrap();
        assert_eq!(unnoted(), Some(1));
        // Rules that are loaded anew go on counting.
        load(&few, &few);
        ask();
        assert_eq!(unnoted(), Some(2));
        load(&rules(""), &few);
        ask();
        assert_eq!((unnoted(), fill(200..250)), (Some(2), true), "there is room for many again");
    });
}
