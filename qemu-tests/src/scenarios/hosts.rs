//! What hosts on ports hear of the switch's addresses, and what it hears of theirs (RFC 5227, RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::arp;
use qemu_tests::frame::{Mac, View};
use qemu_tests::host::Host;
use qemu_tests::packet::{ETHERTYPE_IPV6, advertises};
use qemu_tests::wire::Capture;

use super::alarms::{wait_for_alarm, wait_for_end};
use super::bridge::mac_of;
use super::objects::{changed, with_document};
use super::routing::on_routed_port;
use super::sender::{SOON, Sender};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "hosts hear of an address when it is new, when its hardware address is, and when their port comes up",
        Topology::Switch,
        hosts_are_told,
    )
    .waits()
    .takes(15),
    Scenario::new(
        "an IPv4 address that a host has already is refused with its line, and one it takes is defended",
        Topology::Switch,
        address_of_another,
    )
    .waits()
    .takes(60),
    Scenario::new(
        "the switch asks as the first of its addresses, also once their order is another, and answers meanwhile",
        Topology::Switch,
        order_of_addresses,
    ),
];

const CUSTOM: &str = "02:aa:00:00:00:07";
const WORDS: &str = "another host on the link";

/// Waits until hosts hear which hardware address has these addresses.
pub(super) fn told(capture: &Capture, mac: Mac, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
    let announces = |view: &View<'_>| {
        view.source == mac && view.destination == Mac::BROADCAST && arp::announces(view, v4)
    };
    capture.wait_for("gratuitous ARP", SOON, announces)?;
    // Both are sent at about the same time, in either order: the second one comes two seconds later.
    let advertises = |view: &View<'_>| {
        view.source == mac && view.ethertype == ETHERTYPE_IPV6 && advertises(view.payload, v6)
    };
    capture.wait_for("unsolicited neighbour advertisement", SOON, advertises)?;
    Ok(())
}

fn hosts_are_told(lab: &Lab, _: &Run) -> Result<String> {
    let (vlan4, vlan6): (Ipv4Addr, Ipv6Addr) = ("10.0.10.1".parse()?, "2001:db8:10::1".parse()?);
    let (port4, port6): (Ipv4Addr, Ipv6Addr) = ("10.0.7.1".parse()?, "2001:db8:7::1".parse()?);
    // A routed port, and a port of a VLAN whose interface had its carrier all the time.
    for (number, interface, v4, v6) in [(7, "swp7", port4, port6), (2, "vlan10", vlan4, vlan6)] {
        let mac = mac_of(lab, interface)?;
        lab.vm.set_link(number, false)?;
        let down = eventually(&format!("swp{number} is down"), SOON, || {
            let port = lab.port(&format!("swp{number}"))?;
            ensure!(port["oper_state"] == "down", "{port}");
            Ok(())
        });
        let capture = lab.vm.wire(number)?.capture();
        lab.vm.set_link(number, true)?;
        down?;
        told(&capture, mac, v4, v6).with_context(|| format!("swp{number} is plugged in"))?;
    }
    let routed = "description = \"routed\"\n";
    let document = changed(lab, routed, &format!("{routed}mac = \"{CUSTOM}\"\n"))?;
    let capture = lab.vm.wire(7)?.capture();
    with_document(lab, &document, || told(&capture, CUSTOM.parse()?, port4, port6))?;
    let document =
        lab.document.replace("10.0.7.1/24", "10.0.7.8/24").replace("2001:db8:7::1/64", "2001:db8:7::8/64");
    capture.drain();
    let mac = mac_of(lab, "swp7")?;
    with_document(lab, &document, || told(&capture, mac, "10.0.7.8".parse()?, "2001:db8:7::8".parse()?))
}

/// Has a host on swp7 answer whoever asks for its address for as long as something is done.
fn while_a_host_has<T>(lab: &Lab, address: Ipv4Addr, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let wire = lab.vm.wire(7)?;
    let questions =
        wire.capture_if(move |frame| View::parse(frame).is_some_and(|view| arp::asks_for(&view, address)));
    thread::scope(|scope| {
        // Dropped with whatever ends the work, a panic included.
        let (works, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.try_recv() == Err(TryRecvError::Empty) {
                let Some(asked) = questions.next_before(Instant::now() + Duration::from_millis(100)) else {
                    continue;
                };
                if let Some(view) = asked.view() {
                    wire.send(&arp::reply(Mac::of_host(7), address, view.source).build());
                }
            }
        });
        let _works = works;
        work()
    })
}

fn address_of_another(lab: &Lab, _: &Run) -> Result<String> {
    let other: Ipv4Addr = "10.0.7.9".parse()?;
    let document = changed(lab, "10.0.7.1/24", "10.0.7.9/24")?;
    let line = document.lines().position(|text| text.contains("10.0.7.9/24")).context("no such line")? + 1;
    let problems = || lab.vm.run("corten show system --json");
    let before = lab.visible_state()?;
    let refused = while_a_host_has(lab, other, || lab.apply(&document))?;
    ensure!(
        refused.status != 0 && refused.text.contains(WORDS) && refused.text.contains(&format!("line {line}")),
        "the apply ended with {}: {}",
        refused.status,
        refused.text
    );
    ensure!(lab.visible_state()? == before, "a refused change left something behind");
    let heard = lab.vm.wire(7)?.capture();
    with_document(lab, &document, || {
        // Before that it is not the switch's: the switch asks for it first.
        heard.wait_for("announcement of the new address", SOON, |view| arp::announces(view, other))?;
        // A host that takes the address later is told whose it is, and so is the operator.
        let mac = mac_of(lab, "swp7")?;
        while_a_host_has(lab, other, || {
            let capture = lab.vm.wire(7)?.capture();
            let (wire, host) = (lab.vm.wire(7)?, Mac::of_host(7));
            eventually("the switch defends its address", SOON, || {
                wire.send(&arp::announcement(host, other).build());
                let defends = |view: &View<'_>| view.source == mac && arp::announces(view, other);
                capture.wait_for("announcement", Duration::from_secs(2), defends)?;
                let problems = problems()?;
                ensure!(problems.contains(WORDS) && problems.contains(&host.to_string()), "{problems}");
                Ok(())
            })
        })?;
        let row = wait_for_alarm(lab, "duplicate-address", "10.0.7.9/24")?;
        ensure!(row["severity"] == "critical" && row["remedy"] == "show neighbours swp7", "{row}");
        // The host is silent from now on.
        eventually("nothing is wrong any more", Duration::from_secs(60), || {
            let problems = problems()?;
            ensure!(!problems.contains(WORDS), "{problems}");
            Ok(())
        })?;
        wait_for_end(lab, "duplicate-address", "10.0.7.9/24")
    })
}

fn order_of_addresses(lab: &Lab, _: &Run) -> Result<String> {
    let of = |addresses: [&str; 2]| {
        changed(lab, "\"10.0.7.1/24\"", &format!("\"{}/24\", \"{}/24\"", addresses[0], addresses[1]))
    };
    let (one, two) = ("10.0.7.1", "10.0.7.5");
    let sender = Sender::in_vlan_10(lab, 1)?;
    let mut stranger = 90;
    let mut asks_as = |address: &str| -> Result<()> {
        // Somebody whom nobody asked for yet.
        stranger += 1;
        let (to, expected) = (Ipv4Addr::new(10, 0, 7, stranger), address.parse::<Ipv4Addr>()?);
        let capture = lab.vm.wire(7)?.capture();
        eventually("the switch asks for a host", SOON, || {
            sender.send(&sender.packet(&to.to_string())?)?;
            let asks = |view: &View<'_>| arp::asks_for(view, to);
            let asked = capture.wait_for("question", Duration::from_secs(2), asks)?;
            let (asker, _) = asked.view().and_then(|view| arp::addresses(&view)).context("no question")?;
            ensure!(asker == expected, "{asker} asks instead of {expected}");
            Ok(())
        })
    };
    let all = [one, two, "2001:db8:7::1"];
    with_document(lab, &of([one, two])?, || {
        asks_as(one)?;
        let host = on_routed_port(lab, 7, None)?;
        answered_meanwhile(&host, &all, || lab.apply_ok(&of([two, one])?))?;
        asks_as(two)?;
        answered_meanwhile(&host, &all, || lab.apply_ok(&of([one, two])?))?;
        asks_as(one)
    })?;
    // The same in a VRF, whose table has the routes to addresses as well.
    let in_blue = |addresses| -> Result<String> {
        let document = of(addresses)?.replace("[ports.swp7]\n", "[ports.swp7]\nvrf = \"blue\"\n");
        let (document, _) = document.split_once("[[routes]]").context("the lab has no routes")?;
        Ok(format!("{document}[vrfs.blue]\ntable = 1001\n"))
    };
    with_document(lab, &in_blue([one, two])?, || {
        let host = on_routed_port(lab, 7, None)?;
        answered_meanwhile(&host, &all, || lab.apply_ok(&in_blue([two, one])?))?;
        answered_meanwhile(&host, &all, || lab.apply_ok(&in_blue([one, two])?))
    })
}

/// Does something while a host pings addresses of the switch over and over: each time it is answered.
fn answered_meanwhile(host: &Host, addresses: &[&str], work: impl FnOnce() -> Result<()>) -> Result<()> {
    let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    addresses.iter().try_for_each(|address| host.ping_all_answered(*address, 1).map(drop))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let pinging = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for address in &addresses {
                    let answered = host.ping(*address, 1, SOON)?.received;
                    ensure!(answered == 1, "{address} did not answer while the order changed");
                }
            }
            Ok(())
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        let answered = pinging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.and(answered)
    })
}
