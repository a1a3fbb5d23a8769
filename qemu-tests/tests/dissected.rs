//! Frames that tests build are what another program, tcpdump of the root of peers, takes them for.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::IpAddr;
use std::time::{Duration, Instant};

use corten_test_peer::{Network, Peer, PeerRoot};
use qemu_tests::frame::{Frame, Mac};
use qemu_tests::lacp::Partner;
use qemu_tests::packet::{Membership, Packet, advertisement, membership, query};
use qemu_tests::patch::{self, From, Impairment, Patch};
use qemu_tests::pcap;
use qemu_tests::wire::Wire;

const SOON: Duration = Duration::from_secs(10);
/// What tcpdump says of frames that are not as they should be: too short, or with wrong checksums or lengths.
const COMPLAINTS: [&str; 8] =
    ["[|", "bad", "wrong", "incorrect", "invalid", "malformed", "truncated", "missing"];

/// A cable with a switch at one end and a host at the other.
struct Cable {
    patch: Patch,
    switch: Wire,
    host: Wire,
    _folder: tempfile::TempDir,
}

impl Cable {
    fn new() -> Cable {
        let folder = tempfile::tempdir().unwrap();
        let cables = patch::cables(folder.path(), "link");
        let patch = Patch::new("link", &cables, 1).unwrap();
        let [switch, host] = [("switch", 0), ("host", 1)]
            .map(|(name, end)| Wire::open(name, &cables[end].local, &cables[end].remote).unwrap());
        Cable { patch, switch, host, _folder: folder }
    }

    /// What tcpdump says of the first frames that the cable takes from its host, as many as there are.
    fn read(&self, frames: usize, send: impl FnOnce()) -> String {
        let capture = self.patch.capture_if(From::B, |_| true);
        send();
        let deadline = Instant::now() + SOON;
        let captured: Vec<_> = (0..frames).map_while(|_| capture.next_before(deadline)).collect();
        assert_eq!(captured.len(), frames, "frames on the cable");
        dissected(&captured)
    }

    fn read_frame(&self, frame: &Frame) -> String {
        self.read(1, || assert!(self.host.send(&frame.build())))
    }
}

fn dissected(frames: &[qemu_tests::wire::Captured]) -> String {
    let peer = Peer::start(&PeerRoot::find().unwrap(), &Network::New).unwrap();
    pcap::write(&peer.path("/tmp/frames.pcap"), frames).unwrap();
    let words = ["-n", "-e", "-vvv", "-Z", "root", "-r", "/tmp/frames.pcap"];
    let output = peer.command("tcpdump").args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tcpdump: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Fails where a phrase is not in what was said, or a complaint is.
fn says(text: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(text.contains(phrase), "no {phrase:?} in\n{text}");
    }
    for complaint in COMPLAINTS {
        assert!(!text.contains(complaint), "{complaint:?} in\n{text}");
    }
}

fn addresses(source: &str, other: &str) -> (IpAddr, IpAddr) {
    (source.parse().unwrap(), other.parse().unwrap())
}

#[test]
fn lacpdu_of_a_partner_is_read_as_such() {
    let cable = Cable::new();
    let _partner = Partner::start(std::slice::from_ref(&cable.host), Mac::of_host(700)).unwrap();
    // Of the switch: its priority, system, key, port, and a state that is active and no more.
    let mut switch = vec![1, 1, 1, 20, 0x80, 0, 2, 0xc0, 0, 0, 0, 9, 0, 7, 0, 0x80, 0, 3, 0b101, 0, 0, 0];
    switch.resize(110, 0);
    let frame = Frame::new(Mac([2, 0xc0, 0, 0, 0, 9]), Mac([1, 0x80, 0xc2, 0, 0, 2]));
    let frame = frame.ethertype(0x8809).payload(switch).build();
    let text = cable.read(1, || assert!(cable.switch.send(&frame)));
    let actor =
        format!("System {}, System Priority 32768, Key 1, Port 1, Port Priority 255", Mac::of_host(700));
    says(
        &text,
        &[
            "> 01:80:c2:00:00:02, ethertype Slow Protocols (0x8809), length 124: LACPv1, length 110",
            "Actor Information TLV (0x01), length 20",
            &actor,
            "State Flags [Activity, Timeout, Aggregation, Synchronization, Collecting, Distributing]",
            "Partner Information TLV (0x02), length 20",
            "System 02:c0:00:00:00:09, System Priority 32768, Key 7, Port 3, Port Priority 128",
            "State Flags [Activity, Aggregation]",
            "Collector Information TLV (0x03), length 16",
            "Terminator TLV (0x00), length 0",
        ],
    );
}

#[test]
fn igmp_messages_are_read_as_such() {
    let cable = Cable::new();
    let (host, group) = addresses("192.0.2.9", "239.1.2.3");
    let report = membership(Mac::of_host(1), host, group, Membership::Join).unwrap();
    says(
        &cable.read_frame(&report),
        &["> 01:00:5e:01:02:03", "192.0.2.9 > 239.1.2.3: igmp v2 report 239.1.2.3"],
    );
    let leave = membership(Mac::of_host(1), host, group, Membership::Leave).unwrap();
    says(&cable.read_frame(&leave), &["> 01:00:5e:00:00:02", "192.0.2.9 > 224.0.0.2: igmp leave 239.1.2.3"]);
    says(&cable.read_frame(&query(Mac::of_host(2), host)), &["ttl 1", "> 224.0.0.1: igmp query v2"]);
}

#[test]
fn mld_messages_are_read_as_such() {
    let cable = Cable::new();
    let (host, group) = addresses("fe80::9", "ff05::1:2:3");
    let report = membership(Mac::of_host(1), host, group, Membership::Join).unwrap();
    says(
        &cable.read_frame(&report),
        &[
            "> 33:33:00:02:00:03",
            "hlim 1",
            "HBH (rtalert: 0x0000)",
            "[icmp6 sum ok] ICMP6, multicast listener report",
            "addr: ff05::1:2:3",
        ],
    );
    let done = membership(Mac::of_host(1), host, group, Membership::Leave).unwrap();
    says(&cable.read_frame(&done), &["> ff02::2:", "multicast listener done", "addr: ff05::1:2:3"]);
    let question = query(Mac::of_host(2), host);
    says(&cable.read_frame(&question), &["> ff02::1:", "multicast listener query", "max resp delay: 1000"]);
}

#[test]
fn datagrams_and_advertisements_are_read_as_such() {
    let cable = Cable::new();
    let frame = |source: &str, to: &str| {
        let (source, to) = addresses(source, to);
        Packet::udp(source, to).payload("x").padded_to(200).frame(Mac::of_host(1), Mac::of_host(2)).unwrap()
    };
    let tagged = cable.read_frame(&frame("192.0.2.1", "192.0.2.2").tag(30, 5));
    says(&tagged, &["vlan 30, p 5, ethertype IPv4", "192.0.2.1.9 > 192.0.2.2.9: [no cksum] UDP, length 172"]);
    says(
        &cable.read_frame(&frame("2001:db8::1", "2001:db8::2")),
        &["2001:db8::1.9 > 2001:db8::2.9: [udp sum ok] UDP, length 152"],
    );
    says(
        &cable.read_frame(&advertisement(Mac::of_host(1), "2001:db8::1".parse().unwrap())),
        &["[icmp6 sum ok] ICMP6, neighbor advertisement", "tgt is 2001:db8::1, Flags [override]"],
    );
}

/// The reader does see what is wrong: else the tests above could not fail.
#[test]
fn damaged_frames_are_complained_of() {
    let cable = Cable::new();
    let (host, group) = addresses("192.0.2.9", "239.1.2.3");
    let mut frame = membership(Mac::of_host(1), host, group, Membership::Join).unwrap().build();
    // The last byte of the group, which the checksum is of.
    frame[14 + 20 + 7] ^= 1;
    let text = cable.read(1, || assert!(cable.host.send(&frame)));
    assert!(text.contains("bad igmp cksum"), "{text}");

    cable.patch.impair(From::B, Impairment::cut());
    let whole = cable.read(1, || assert!(cable.host.send(&frame)));
    assert!(whole.contains("239.1.2.2"), "what is captured has gone into a cable that is cut: {whole}");
}
