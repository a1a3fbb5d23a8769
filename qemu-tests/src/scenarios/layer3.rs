//! How packets are routed one by one: which route, how large, how far, and who is told when they are not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Mac, View};
use qemu_tests::packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, advertisement, asks_for, icmp_error};
use serde_json::Value;

use super::flows::{used, ways};
use super::objects::{changed, with_document};
use super::routing::on_routed_port;
use super::sender::{SOON, Sender, resolved, route};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 7] = [
    Scenario::new(
        "an IPv6 address that a host has already is refused with its line, or told when its link comes up",
        Topology::Switch,
        address_of_another,
    )
    .waits()
    .takes(23),
    Scenario::new("the longest matching prefix decides, by IPv4 and IPv6", Topology::Switch, longest_prefix)
        .takes(10),
    Scenario::new(
        "a packet too large for its way is told so, or cut where that is allowed",
        Topology::Switch,
        too_large,
    ),
    Scenario::new(
        "who sends a packet that goes no further is told why by ICMP and ICMPv6",
        Topology::Switch,
        icmp_errors,
    ),
    Scenario::new("a family that is not routed stays where it is", Topology::Switch, family_not_routed),
    Scenario::new(
        "a route by a VLAN whose ports have no carrier gives way to another",
        Topology::Switch,
        carrier_of_a_vlan,
    ),
    Scenario::new("ports of every kind take MTUs below that of IPv6", Topology::Switch, small_mtus),
];

fn longest_prefix(lab: &Lab, _: &Run) -> Result<String> {
    let (seven, eight) = ("via = [\"10.0.7.2\"]", "via = [\"10.0.8.2\"]");
    let (seven6, eight6) = ("via = [\"2001:db8:7::2\"]", "via = [\"2001:db8:8::2\"]");
    let document = lab.document.clone()
        + &route("10.77.0.0/16", seven)
        + &route("10.77.1.0/24", eight)
        + &route("10.77.1.128/25", seven)
        + &route("10.77.1.129/32", eight)
        + &route("2001:db8:77::/48", seven6)
        + &route("2001:db8:77:1::/64", eight6)
        + &route("2001:db8:77:1::9/128", seven6);
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let (at7, at8) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
        resolved(&at7, 7)?;
        resolved(&at8, 8)?;
        for (to, port) in [
            ("10.77.0.1", 7),
            ("10.77.255.255", 7),
            ("10.77.1.1", 8),
            ("10.77.1.128", 7),
            ("10.77.1.129", 8),
            ("10.77.1.130", 7),
            ("2001:db8:77::1", 7),
            ("2001:db8:77:1::8", 8),
            ("2001:db8:77:1::9", 7),
            ("2001:db8:77:2::9", 7),
        ] {
            sender.goes_to(to, port, if port == 7 { &at7 } else { &at8 })?;
        }
        Ok(())
    })
}

fn too_large(lab: &Lab, _: &Run) -> Result<String> {
    const NARROW: usize = 1400;
    let document = changed(
        lab,
        "addresses = [\"10.0.8.1/24\", \"2001:db8:8::1/64\"]\n",
        &format!("addresses = [\"10.0.8.1/24\", \"2001:db8:8::1/64\"]\nmtu = {NARROW}\n"),
    )?;
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let at8 = on_routed_port(lab, 8, None)?;
        resolved(&at8, 8)?;
        let payload = fresh_payload("mtu");
        let capture = lab.vm.wire(8)?.capture_if(is_udp);
        for to in ["10.0.8.2", "2001:db8:8::2"] {
            sender.send(&sender.packet(to)?.dont_fragment().payload(&payload).padded_to(NARROW))?;
            let came = capture.wait_for("packet that just fits", SOON, |view| view.carries(&payload))?;
            ensure!(came.bytes.len() == NARROW + 14, "it came with {} bytes", came.bytes.len());
        }
        for (to, kind, code) in [("10.0.8.2", 3, 4), ("2001:db8:8::2", 2, 0)] {
            let packet = sender.packet(to)?.dont_fragment();
            let too_long = |payload: &str| packet.payload(payload).padded_to(NARROW + 1);
            let told = sender.is_told_of("an error", too_long, kind, code)?;
            ensure!(told.mtu as usize == NARROW, "{to}: the sender was told {told:?}");
        }
        // IPv4 routers cut what may be cut: the pieces come, none too large, and no error.
        let payload = fresh_payload("cut");
        capture.drain();
        let errors = lab.vm.wire(1)?.capture_text(&payload);
        sender.send(&sender.packet("10.0.8.2")?.payload(&payload).padded_to(1500))?;
        let mut sizes = BTreeMap::new();
        let deadline = Instant::now() + SOON;
        while sizes.values().sum::<usize>() < 1500 - 20 {
            let captured = capture.next_before(deadline);
            let captured = captured.with_context(|| format!("only these pieces came: {sizes:?}"))?;
            let view = captured.view().context("a captured frame is too short")?;
            let length = ipv4_length(view.payload).context("a captured packet is too short")?;
            ensure!(length <= NARROW, "a piece has {length} bytes");
            let offset = u16::from_be_bytes([view.payload[6] & 0x1f, view.payload[7]]);
            sizes.insert(offset, length - 20);
        }
        ensure!(sizes.len() == 2, "pieces of {sizes:?} bytes");
        for captured in errors.drain() {
            let told = captured.view().and_then(|view| icmp_error(view.ethertype, view.payload));
            ensure!(
                told.is_none_or(|told| told.code != 4),
                "the sender was told {told:?} of a packet that was cut"
            );
        }
        Ok(())
    })
}

/// Whether a frame carries UDP, or a piece of it.
fn is_udp(frame: &[u8]) -> bool {
    const UDP: Option<&u8> = Some(&17);
    View::parse(frame).is_some_and(|view| match view.ethertype {
        ETHERTYPE_IPV4 => view.payload.get(9) == UDP,
        ETHERTYPE_IPV6 => view.payload.get(6) == UDP,
        _ => false,
    })
}

fn ipv4_length(packet: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?)))
}

fn icmp_errors(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone()
        + &route("10.77.1.0/24", "unreachable = true")
        + &route("10.77.2.0/24", "blackhole = true")
        + &route("2001:db8:77:2::/64", "blackhole = true");
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let at8 = on_routed_port(lab, 8, None)?;
        resolved(&at8, 8)?;
        sender.passed_by()?;
        for (what, to, kind, code) in [
            ("no route", "10.78.0.1", 3, 0),
            ("no route", "2001:db8:78::1", 1, 0),
            ("a route that says so", "10.77.1.1", 3, 1),
            ("a neighbour that does not answer", "10.0.8.200", 3, 1),
            ("a neighbour that does not answer", "2001:db8:8::200", 1, 3),
        ] {
            sender.is_told(&format!("{what} to {to}"), &sender.packet(to)?, kind, code)?;
        }
        for (to, kind) in [("10.0.8.2", 11), ("2001:db8:8::2", 3)] {
            let packet = sender.packet(to)?;
            sender.is_told(&format!("the last hop to {to}"), &packet.clone().hop_limit(1), kind, 0)?;
            // One hop more is enough, and is used up.
            let payload = fresh_payload("hops");
            let capture = lab.vm.wire(8)?.capture_text(&payload);
            sender.send(&packet.hop_limit(2).payload(&payload))?;
            let came = capture.wait_for("packet of two hops", SOON, |view| view.carries(&payload))?;
            let view = came.view().context("a captured frame is too short")?;
            let hops = view.payload[if to.contains(':') { 7 } else { 8 }];
            ensure!(hops == 1, "a packet of two hops had {hops} left after one");
        }
        sender.vanishes("10.77.2.1")?;
        sender.vanishes("2001:db8:77:2::1")
    })
}

/// A host on swp7 that has an address the switch wants, while `work` is done.
fn while_a_host_has<T>(lab: &Lab, address: Ipv6Addr, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let wire = lab.vm.wire(7)?;
    let questions = wire.capture_if(move |frame| {
        View::parse(frame)
            .is_some_and(|view| view.ethertype == ETHERTYPE_IPV6 && asks_for(view.payload, address))
    });
    thread::scope(|scope| {
        // Dropped with whatever ends the work, a panic included.
        let (works, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.try_recv() == Err(TryRecvError::Empty) {
                if questions.next_before(Instant::now() + Duration::from_millis(100)).is_some() {
                    wire.send(&advertisement(Mac::of_host(7), address).build());
                }
            }
        });
        let _works = works;
        work()
    })
}

fn address_of_another(lab: &Lab, _: &Run) -> Result<String> {
    let (other, line) = (Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 9), "2001:db8:7::9/64");
    let document = changed(lab, "2001:db8:7::1/64", line)?;
    let line = document.lines().position(|text| text.contains(line)).context("no such line")? + 1;
    let words = "another host on the link uses th";
    let now = || -> Result<(Value, String)> { Ok((lab.port("swp7")?, lab.vm.run("corten config")?)) };
    let told_at = |row: &Value| (row["addresses"].clone(), row["oper_state"].clone());
    let before = now()?;
    let refused = while_a_host_has(lab, other, || lab.apply(&document))?;
    ensure!(
        refused.status != 0 && refused.text.contains(words) && refused.text.contains(&format!("line {line}")),
        "the apply ended with {}: {}",
        refused.status,
        refused.text
    );
    eventually("everything is as before", SOON, || {
        let after = now()?;
        ensure!(told_at(&after.0) == told_at(&before.0) && after.1 == before.1, "{after:?}");
        Ok(())
    })?;
    with_document(lab, &document, || {
        // It was waited for, so that it can be used at once.
        let shown = lab.vm.run("/usr/bin/ip -6 address show dev swp7 to 2001:db8:7::9")?;
        ensure!(shown.contains("2001:db8:7::9") && !shown.contains("tentative"), "{shown}");
        // A port that comes up asks again.
        let comes_up = || lab.vm.run("/usr/bin/ip link set swp7 down && /usr/bin/ip link set swp7 up");
        let told = || lab.vm.run("corten show system --json");
        while_a_host_has(lab, other, || {
            // One answer may be missed: virtio's driver tells the machine only after the port has asked that it
            // listens to all nodes' group.
            eventually("a port that came up asks, and hears the host", 3 * SOON, || {
                comes_up()?;
                eventually("the switch tells that a host has its address", SOON / 4, || {
                    let system = told()?;
                    ensure!(system.contains(words) && system.contains("swp7"), "{system}");
                    Ok(())
                })
            })
        })?;
        comes_up()?;
        eventually("nothing is wrong any more", SOON, || {
            let system = told()?;
            ensure!(!system.contains(words), "{system}");
            Ok(())
        })
    })
}

fn family_not_routed(lab: &Lab, _: &Run) -> Result<String> {
    let (v4, v6) = ("10.0.8.2", "2001:db8:8::2");
    for (key, silent, routed) in [("ipv4", v4, v6), ("ipv6", v6, v4)] {
        let document = lab.document.clone() + &format!("\n[routing]\n{key} = false\n");
        with_document(lab, &document, || {
            let sender = Sender::in_vlan_10(lab, 1)?;
            let at8 = on_routed_port(lab, 8, None)?;
            resolved(&at8, 8)?;
            sender.goes_to(routed, 8, &at8).with_context(|| format!("with {key} off"))?;
            sender.vanishes(silent).with_context(|| format!("with {key} off"))
        })?;
        let sender = Sender::in_vlan_10(lab, 1)?;
        let at8 = on_routed_port(lab, 8, None)?;
        resolved(&at8, 8)?;
        sender.goes_to(silent, 8, &at8).with_context(|| format!("with {key} on again"))?;
    }
    Ok(String::new())
}

/// swp11 and swp12 are the ports of VLAN 60. A static neighbour never fails, so the carrier alone tells.
fn carrier_of_a_vlan(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone()
        + "\n[ports.swp12]\nvlan.trunk = [60]\n\n[vlans.60]\naddresses = [\"10.0.60.1/24\"]\n\
           [[neighbours]]\naddress = \"10.0.60.2\"\nmac = \"02:aa:00:00:00:60\"\ndev = \"vlan60\"\n"
        + &route("10.77.0.0/24", "via = [\"10.0.60.2\"]")
        + &route("10.77.0.0/24", "via = [\"10.0.8.2\"]\nmetric = 10")
        + &route("10.79.0.0/24", "via = [\"10.0.60.2\", \"10.0.8.2\"]");
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let at8 = on_routed_port(lab, 8, None)?;
        resolved(&at8, 8)?;
        let leaves_by = |port: u16| {
            eventually(&format!("packets leave by swp{port}"), SOON, || {
                let payload = fresh_payload("carrier");
                let capture = lab.vm.wire(port)?.capture_text(&payload);
                sender.send(&sender.packet("10.77.0.1")?.payload(&payload))?;
                let deadline = Instant::now() + Duration::from_secs(2);
                capture.next_before(deadline).map(drop).context("nothing came")
            })
        };
        // Of flows over both none is lost.
        let flows = || {
            ways(lab, [8, 11], |flow, payload| {
                let packet = sender.packet(&format!("10.79.0.{flow}"))?.from_port(20_000 + flow);
                sender.send(&packet.payload(payload))
            })
        };
        leaves_by(11)?;
        let spread = used(&flows()?);
        ensure!(spread == BTreeSet::from([8, 11]), "flows leave by {spread:?}");
        // One of two ports is enough.
        lab.vm.set_link(12, false)?;
        let stayed = lab.port_says("swp12", "no carrier").and_then(|()| leaves_by(11));
        lab.vm.set_link(11, false)?;
        let moved = stayed.and_then(|()| leaves_by(8)).and_then(|()| {
            let left = used(&flows()?);
            ensure!(left == BTreeSet::from([8]), "flows leave by {left:?}");
            let rows = lab.show("interfaces")?;
            let row = rows.iter().find(|row| row["name"] == "vlan60").context("no vlan60")?;
            ensure!(row["oper_state"] != "up", "vlan60 is up without a port: {row}");
            // Nor is there a way to its subnet.
            sender.is_told("no route", &sender.packet("10.0.60.9")?, 3, 0).map(drop)
        });
        lab.vm.set_link(11, true)?;
        lab.vm.set_link(12, true)?;
        moved?;
        leaves_by(11)
    })
}

/// A port and a LAG in VLANs, a VLAN interface, a routed port and a subinterface: all that IPv4 allows.
fn small_mtus(lab: &Lab, _: &Run) -> Result<String> {
    for mtu in [68, 1279] {
        let (document, _) = lab.document.split_once("[[routes]]").context("the lab has no routes")?;
        let document = document
            .replace("vlan.access = 60\n", &format!("vlan.access = 60\nmtu = {mtu}\n"))
            .replace(
                "addresses = [\"10.0.7.1/24\", \"2001:db8:7::1/64\"]\n",
                &format!("addresses = [\"10.0.7.1/24\"]\nmtu = {mtu}\n"),
            )
            .replace("addresses = [\"10.0.8.1/24\", \"2001:db8:8::1/64\"]\n", &format!("mtu = {mtu}\n"));
        let document = document
            + &format!(
                "[lags.small]\nmembers = [\"swp12\"]\nmode = \"static\"\nmtu = {mtu}\nvlan.trunk = [61]\n\
                 [vlans.60]\naddresses = [\"10.0.60.1/24\"]\n[vlans.61]\naddresses = [\"10.0.61.1/24\"]\n\
                 [subinterfaces.\"swp8.5\"]\naddresses = [\"10.0.5.1/24\"]\n"
            );
        with_document(lab, &document, || {
            for name in ["swp7", "swp8", "swp11"] {
                let row = lab.port(name)?;
                ensure!(row["mtu_bytes"] == mtu, "{row}");
            }
            Ok(())
        })?;
    }
    Ok(String::new())
}
