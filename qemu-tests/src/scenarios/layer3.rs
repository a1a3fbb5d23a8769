//! How packets are routed one by one: which route, how large, how far, and who is told when they are not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::{Mac, View};
use qemu_tests::host::Host;
use qemu_tests::packet::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, IcmpError, Packet, advertisement, asks_for, icmp_error,
};
use qemu_tests::wire::Capture;
use serde_json::Value;

use super::bridge::mac_of;
use super::objects::{changed, with_document};
use super::reach::PORTS;
use super::routing::on_routed_port;
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 7] = [
    Scenario::new(
        "an IPv6 address that a host has already is refused with its line, or told when its link comes up",
        Topology::Switch,
        address_of_another,
    ),
    Scenario::new("the longest matching prefix decides, by IPv4 and IPv6", Topology::Switch, longest_prefix),
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
        "ECMP spreads flows, keeps each on its way, and survives the loss of a next hop",
        Topology::Switch,
        ecmp,
    ),
    Scenario::new("two VRFs have the same prefixes and never meet", Topology::Switch, vrfs_are_apart),
];

const SOON: Duration = Duration::from_secs(20);

/// A station that sends packets by hand to a router, while a host answers for it.
struct Sender<'a> {
    lab: &'a Lab,
    port: u16,
    router: Mac,
    host: Host,
}

impl<'a> Sender<'a> {
    /// On an access port of VLAN 10.
    fn in_vlan_10(lab: &'a Lab, port: u16) -> Result<Self> {
        Sender::new(lab, port, "vlan10", lab.member(port, 10)?)
    }

    fn new(lab: &'a Lab, port: u16, interface: &str, host: Host) -> Result<Self> {
        Ok(Sender { lab, port, router: mac_of(lab, interface)?, host })
    }

    fn packet(&self, to: &str) -> Result<Packet> {
        let to: IpAddr = to.parse()?;
        Ok(Packet::udp(self.host.ip(to.is_ipv6())?, to))
    }

    fn send(&self, packet: &Packet) -> Result<()> {
        let frame = packet.frame(self.host.mac(), self.router)?.build();
        ensure!(self.lab.vm.wire(self.port)?.send(&frame), "the machine did not take a frame");
        Ok(())
    }

    /// The only port by which a packet leaves, and the station it is for there.
    fn leaves_by(&self, to: &str) -> Result<(u16, Mac)> {
        let payload = fresh_payload("route");
        // The host it is for may well tell the sender that nobody listens there.
        let watched = watch(self.lab, &payload, false)?;
        self.send(&self.packet(to)?.payload(&payload))?;
        let deadline = Instant::now() + SOON;
        let left = loop {
            let found = watched.iter().find_map(|(port, capture)| {
                capture.next_before(Instant::now() + Duration::from_millis(10)).map(|frame| (*port, frame))
            });
            match found {
                Some(found) => break found,
                None if Instant::now() >= deadline => bail!("a packet to {to} came out nowhere"),
                None => {}
            }
        };
        self.passed_by()?;
        for (port, capture) in &watched {
            ensure!(
                capture.drain().is_empty(),
                "a packet to {to} came out of swp{port} besides swp{}",
                left.0
            );
        }
        let view = left.1.view().context("a captured frame is too short")?;
        Ok((left.0, view.destination))
    }

    /// Checks by which port a packet leaves, and that it is addressed to this host there.
    fn goes_to(&self, to: &str, port: u16, host: &Host) -> Result<()> {
        let (left, destination) = self.leaves_by(to)?;
        ensure!(
            (left, destination) == (port, host.mac()),
            "a packet to {to} left by swp{left} for {destination} instead of swp{port} for {}",
            host.mac()
        );
        Ok(())
    }

    /// Waits until the router answers, which it does after what was sent before.
    fn passed_by(&self) -> Result<()> {
        let gateway: IpAddr = match self.port {
            7 | 11 => "10.0.7.1",
            _ => "10.0.10.1",
        }
        .parse()?;
        self.host.ping_all_answered(gateway, 2).map(drop)
    }

    /// Checks that the sender is told this error of a packet. It is sent again while nothing comes: routers
    /// hold back errors when there are many (RFC 1812, section 4.3.2.8).
    fn is_told(&self, what: &str, packet: &Packet, kind: u8, code: u8) -> Result<IcmpError> {
        let payload = fresh_payload("error");
        let capture = self.lab.vm.wire(self.port)?.capture_text(&payload);
        let packet = packet.clone().payload(&payload);
        eventually(what, SOON, || {
            self.send(&packet)?;
            let told = self.error_among(&capture)?;
            ensure!((told.kind, told.code) == (kind, code), "the sender was told {told:?}");
            Ok(told)
        })
    }

    fn error_among(&self, capture: &Capture) -> Result<IcmpError> {
        let deadline = Instant::now() + Duration::from_secs(4);
        while let Some(captured) = capture.next_before(deadline) {
            let told = captured.view().and_then(|view| icmp_error(view.ethertype, view.payload));
            if let Some(told) = told {
                return Ok(told);
            }
        }
        bail!("the sender was told nothing")
    }

    /// Checks that a packet leaves nowhere and nobody is told.
    fn vanishes(&self, to: &str) -> Result<()> {
        let payload = fresh_payload("vanish");
        let watched = watch(self.lab, &payload, true)?;
        self.send(&self.packet(to)?.payload(&payload))?;
        self.passed_by()?;
        for (port, capture) in &watched {
            ensure!(capture.drain().is_empty(), "something of a packet to {to} came out of swp{port}");
        }
        Ok(())
    }
}

/// Captures of a payload on all ports, with or without the ICMP errors that quote it.
fn watch(lab: &Lab, payload: &str, errors: bool) -> Result<Vec<(u16, Capture)>> {
    let on = |port: u16| {
        let payload = payload.to_owned();
        let capture = lab.vm.wire(port)?.capture_if(move |bytes| {
            let carrier = View::parse(bytes).filter(|view| view.carries(&payload));
            carrier.is_some_and(|view| errors || icmp_error(view.ethertype, view.payload).is_none())
        });
        Ok((port, capture))
    };
    (1..=PORTS).map(on).collect()
}

fn route(prefix: &str, target: &str) -> String {
    format!("\n[[routes]]\nprefix = \"{prefix}\"\n{target}\n")
}

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

/// Waits until the switch knows the host on a routed port, by both families.
fn resolved(host: &Host, port: u16) -> Result<()> {
    host.ping_until_answered(format!("10.0.{port}.1").parse()?, SOON)?;
    host.ping_until_answered(format!("2001:db8:{port}::1").parse()?, SOON)
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
            let packet = sender.packet(to)?.dont_fragment().padded_to(NARROW + 1);
            let told = sender.is_told_of(&packet, NARROW + 1, kind, code)?;
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

impl Sender<'_> {
    /// [`Sender::is_told`] for a packet that keeps its size.
    fn is_told_of(&self, packet: &Packet, bytes: usize, kind: u8, code: u8) -> Result<IcmpError> {
        let payload = fresh_payload("error");
        let capture = self.lab.vm.wire(self.port)?.capture_text(&payload);
        let packet = packet.clone().payload(&payload).padded_to(bytes);
        eventually("an error", SOON, || {
            self.send(&packet)?;
            let told = self.error_among(&capture)?;
            ensure!((told.kind, told.code) == (kind, code), "the sender was told {told:?}");
            Ok(told)
        })
    }
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
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if questions.next_before(Instant::now() + Duration::from_millis(100)).is_some() {
                    wire.send(&advertisement(Mac::of_host(7), address).build());
                }
            }
        });
        let outcome = work();
        ended.store(true, Ordering::Relaxed);
        outcome
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
            comes_up()?;
            eventually("the switch tells that a host has its address", SOON, || {
                let system = told()?;
                ensure!(system.contains(words) && system.contains("swp7"), "{system}");
                Ok(())
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

/// Flows sent to see how they are spread.
const FLOWS: u16 = 64;

fn ecmp(lab: &Lab, _: &Run) -> Result<String> {
    let document =
        lab.document.clone() + &route("2001:db8:98::/64", "via = [\"2001:db8:7::2\", \"2001:db8:8::2\"]");
    let mut detail = String::new();
    with_document(lab, &document, || {
        let sender = Sender::in_vlan_10(lab, 1)?;
        let (at7, at8) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
        resolved(&at7, 7)?;
        resolved(&at8, 8)?;
        for prefix in ["10.98.0.", "2001:db8:98::"] {
            let first = ways_of_flows(&sender, prefix)?;
            let by_seven = first.values().filter(|port| **port == 7).count();
            // A fair spread misses these bounds once in a million runs.
            ensure!((12..=52).contains(&by_seven), "{by_seven} of {FLOWS} flows to {prefix} leave by swp7");
            ensure!(ways_of_flows(&sender, prefix)? == first, "flows to {prefix} changed their way");
            detail += &format!("{by_seven} of {FLOWS} flows to {prefix} by swp7\n");
        }
        lab.vm.set_link(8, false)?;
        let outcome = eventually("all flows leave by the next hop that is left", SOON, || {
            for prefix in ["10.98.0.", "2001:db8:98::"] {
                let ways = ways_of_flows(&sender, prefix)?;
                ensure!(ways.values().all(|port| *port == 7), "flows to {prefix} take {ways:?}");
            }
            Ok(())
        });
        lab.vm.set_link(8, true)?;
        outcome?;
        eventually("both next hops serve again", SOON, || {
            resolved(&at8, 8)?;
            for prefix in ["10.98.0.", "2001:db8:98::"] {
                let used: BTreeSet<u16> = ways_of_flows(&sender, prefix)?.into_values().collect();
                ensure!(used == BTreeSet::from([7, 8]), "flows to {prefix} take {used:?}");
            }
            Ok(())
        })
    })?;
    Ok(detail)
}

/// By which of swp7 and swp8 each of many flows leaves. All must arrive.
fn ways_of_flows(sender: &Sender<'_>, prefix: &str) -> Result<BTreeMap<u16, u16>> {
    let label = fresh_payload("flow");
    let captures = [7, 8]
        .into_iter()
        .map(|port| Ok((port, sender.lab.vm.wire(port)?.capture_text(&label))))
        .collect::<Result<Vec<_>>>()?;
    for flow in 1..=FLOWS {
        let packet = sender.packet(&format!("{prefix}{flow}"))?.from_port(20_000 + flow);
        sender.send(&packet.payload(format!("{label}{flow:03};")))?;
    }
    let mut ways = BTreeMap::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    while ways.len() < usize::from(FLOWS) {
        ensure!(Instant::now() < deadline, "{} of {FLOWS} flows to {prefix} arrived", ways.len());
        for (port, capture) in &captures {
            while let Some(captured) = capture.next_before(Instant::now() + Duration::from_millis(10)) {
                let text = String::from_utf8_lossy(&captured.bytes).into_owned();
                let number = text.split(&label).nth(1).and_then(|rest| rest.get(..3)?.parse().ok());
                ways.insert(number.context("a flow without a number")?, *port);
            }
        }
    }
    Ok(ways)
}

/// Two VRFs, each with 10.0.7.0/24, 10.0.8.0/24 and a route to 10.77.0.0/24: blue on swp7 and swp8, green on
/// swp11 and swp12.
fn two_vrfs(lab: &Lab) -> Result<String> {
    let (document, _) = lab.document.split_once("[[routes]]").context("the lab has no routes")?;
    let mut document = document.to_owned();
    for (from, to) in [
        ("[ports.swp7]\n", "[ports.swp7]\nvrf = \"blue\"\n"),
        ("[ports.swp8]\n", "[ports.swp8]\nvrf = \"blue\"\n"),
        (
            "description = \"pulled\"\nvlan.access = 60\n",
            "addresses = [\"10.0.7.1/24\", \"2001:db8:7::1/64\"]\nvrf = \"green\"\n\n\
             [ports.swp12]\naddresses = [\"10.0.8.1/24\", \"2001:db8:8::1/64\"]\nvrf = \"green\"\n",
        ),
    ] {
        ensure!(document.contains(from), "the lab's document lacks {from:?}");
        document = document.replace(from, to);
    }
    document += "[vrfs.blue]\ntable = 1001\n\n[vrfs.green]\ntable = 1002\n";
    for vrf in ["blue", "green"] {
        document += &route("10.77.0.0/24", &format!("via = [\"10.0.8.2\"]\nvrf = \"{vrf}\""));
        document += &route("2001:db8:77::/64", &format!("via = [\"2001:db8:8::2\"]\nvrf = \"{vrf}\""));
    }
    Ok(document)
}

fn vrfs_are_apart(lab: &Lab, _: &Run) -> Result<String> {
    with_document(lab, &two_vrfs(lab)?, || {
        let like = |port: u16, network: u16| {
            lab.host(port, |config| {
                let config = config.address(&format!("10.0.{network}.2/24"));
                config.address(&format!("2001:db8:{network}::2/64"))
            })
        };
        let (blue_near, blue_far) = (like(7, 7)?, like(8, 8)?);
        let (green_near, green_far) = (like(11, 7)?, like(12, 8)?);
        for (host, network) in [(&blue_near, 7), (&blue_far, 8), (&green_near, 7), (&green_far, 8)] {
            resolved(host, network)?;
        }
        let blue = Sender::new(lab, 7, "swp7", blue_near)?;
        let green = Sender::new(lab, 11, "swp11", green_near)?;
        for to in ["10.0.8.2", "10.77.0.1", "2001:db8:8::2", "2001:db8:77::1"] {
            blue.goes_to(to, 8, &blue_far).context("from VRF blue")?;
            green.goes_to(to, 12, &green_far).context("from VRF green")?;
        }
        // Neither VRF leads to the default one, nor does that lead to them.
        let default = Sender::in_vlan_10(lab, 1)?;
        for (sender, to, kind, code) in [
            (&blue, "10.0.10.101", 3, 1),
            (&green, "10.0.10.101", 3, 1),
            (&blue, "2001:db8:10::101", 1, 0),
            (&default, "10.0.8.2", 3, 0),
            (&default, "10.77.0.1", 3, 0),
            (&default, "2001:db8:77::1", 1, 0),
        ] {
            let what = format!("a packet from swp{} to {to} that has no way", sender.port);
            sender.is_told(&what, &sender.packet(to)?, kind, code)?;
        }
        Ok(())
    })
}
