//! Two switches with a LAG between them, and hosts of one VLAN on both.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::View;
use qemu_tests::patch::{From, Impairment};
use serde_json::Value;

use super::numbered::{Stream, Tally};
use crate::lab::fabric::{Fabric, Link, Spec, Switch};
use crate::lab::{Lab, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::of_fabric(
        "hosts of one VLAN on two switches reach each other over an LACP LAG, by frames with its tag",
        &PAIR,
        hosts_reach_each_other,
    )
    .takes(14),
    Scenario::of_fabric(
        "a member of a LAG that is pulled costs a flow less than a second, and so does one that is plugged in again",
        &PAIR,
        pulled_cable,
    )
    .alone()
    .takes(25),
    Scenario::of_fabric(
        "a member of a LAG that is cut one way is not used any more, though its carrier stays",
        &PAIR,
        cut_one_way,
    )
    .alone()
    .takes(30),
];

/// swp1 and swp2 are for hosts in VLAN 10; swp3 and swp4 are the trunk; swp5 is routed and has this address.
macro_rules! document {
    ($address:literal) => {
        concat!(
            r#"
[ports."swp[1-2]"]
vlan.access = 10

[ports."swp[3-4]"]
autoneg = false
speed = "10G"
duplex = "full"

[lags.trunk]
members = ["swp3", "swp4"]
mode = "lacp"
lacp-rate = "fast"
vlan.trunk = ["10"]

[vlans.10]
name = "servers"

[ports.swp5]
addresses = [""#,
            $address,
            "/24\"]\n"
        )
    };
}

static PAIR: Spec = Spec {
    name: "pair",
    switches: &[
        Switch { name: "east", ports: 5, document: document!("10.0.5.1") },
        Switch { name: "west", ports: 5, document: document!("10.0.5.2") },
    ],
    links: &[
        Link { a: (0, 3), b: (1, 3), patched: true },
        Link { a: (0, 4), b: (1, 4), patched: true },
        // Nothing stands between these: what the switches say to each other needs no harness.
        Link { a: (0, 5), b: (1, 5), patched: false },
    ],
    converged: trunk_is_whole,
};
const EAST: usize = 0;
const WEST: usize = 1;
/// The cables of the trunk.
const LINKS: [usize; 2] = [0, 1];

/// LACP at the fast rate gives a partner up after three seconds; agreeing anew takes a few more.
const SOON: Duration = Duration::from_secs(40);
/// Numbered frames a second.
const RATE: u32 = 200;
/// Frames that must cross before and after a disturbance.
const MARGIN: u64 = RATE as u64 / 2;

/// The members that a switch's trunk sends by, and the partner it has.
fn active(switch: &Lab) -> Result<(Vec<String>, String)> {
    let lags: Value = serde_json::from_str(&switch.vm.run("corten show lags --json")?)?;
    let members = lags[0]["members"].as_array().context("no members")?;
    let active = members.iter().filter(|member| member["active"] == true);
    let active = active.filter_map(|member| member["port"].as_str()).map(str::to_owned).collect();
    Ok((active, lags[0]["partner"].as_str().unwrap_or_default().to_owned()))
}

/// Waits until both switches send by these ports, to each other.
fn trunk_has(fabric: &Fabric, ports: &[&str]) -> Result<()> {
    eventually("both switches use the members that work", SOON, || {
        let mut partners = Vec::new();
        for switch in &fabric.switches {
            let (active, partner) = active(switch)?;
            ensure!(active == ports, "{} sends by {active:?} instead of {ports:?}", switch.vm.name());
            partners.push(partner);
        }
        ensure!(partners[0] != partners[1], "both have the partner {}", partners[0]);
        Ok(())
    })
}

fn trunk_is_whole(fabric: &Fabric) -> Result<()> {
    trunk_has(fabric, &["swp3", "swp4"])
}

/// Each switch reaches the other's routed port by the cable between them.
fn neighbours_answer(fabric: &Fabric) -> Result<()> {
    for (switch, other) in [(EAST, "10.0.5.2"), (WEST, "10.0.5.1")] {
        eventually("a switch answers over the direct cable", SOON, || {
            fabric.switches[switch].vm.run(&format!("busybox ping -c 1 -W 2 {other}")).map(drop)
        })?;
    }
    Ok(())
}

fn hosts_reach_each_other(fabric: &Fabric, _: &Run) -> Result<String> {
    trunk_is_whole(fabric)?;
    neighbours_answer(fabric)?;
    let hosts = [(EAST, 1), (EAST, 2), (WEST, 1), (WEST, 2)].into_iter().enumerate().map(
        |(number, (switch, port))| {
            fabric.host(switch, port, |config| config.address(&format!("10.0.10.{}/24", 101 + number)))
        },
    );
    let hosts = hosts.collect::<Result<Vec<_>>>()?;
    for from in &hosts {
        for to in &hosts {
            if from.mac() != to.mac() {
                from.ping_all_answered(to.ip(false)?, 2)?;
            }
        }
    }
    // What goes from one switch to the other has its tag, by whichever cable it goes.
    let payload = fresh_payload("trunk");
    let carries = |bytes: &[u8], payload: &str| View::parse(bytes).is_some_and(|view| view.carries(payload));
    let captures = LINKS.into_iter().map(|link| {
        let payload = payload.clone();
        Ok(fabric.patch(link)?.capture_if(From::A, move |bytes| carries(bytes, &payload)))
    });
    let captures = captures.collect::<Result<Vec<_>>>()?;
    let arrived = fabric.switches[WEST].vm.wire(1)?.capture_text(&payload);
    let broadcast = qemu_tests::frame::Mac::BROADCAST;
    let frame = super::frames::frame(Fabric::mac_of_host(EAST, 1), broadcast, None, &payload);
    ensure!(fabric.switches[EAST].vm.wire(1)?.send(&frame), "the machine did not take a frame");
    let came = arrived.wait_for("frame from the other switch", SOON, |view| view.carries(&payload))?;
    ensure!(came.view().is_some_and(|view| view.vlan_id.is_none()), "it has a tag on an access port");
    let tags: Vec<Option<u16>> = captures
        .iter()
        .flat_map(|capture| capture.drain())
        .map(|captured| captured.view().and_then(|view| view.vlan_id))
        .collect();
    ensure!(tags == [Some(10)], "the frame crossed with the tags {tags:?} instead of once in VLAN 10");
    Ok(String::new())
}

/// A stream from a host of one switch to one of the other, and the cable it goes by.
fn stream(fabric: &Fabric) -> Result<(Stream, usize)> {
    trunk_is_whole(fabric)?;
    let before = passed(fabric)?;
    let (from, to) = (fabric.switches[EAST].vm.wire(2)?, fabric.switches[WEST].vm.wire(2)?);
    let mut stream = Stream::start(from, to, RATE)?;
    stream.wait_for_more(MARGIN, SOON)?;
    let after = passed(fabric)?;
    let link = LINKS.into_iter().find(|link| after[*link] - before[*link] > MARGIN / 2);
    Ok((stream, link.context("the stream goes by no cable")?))
}

/// Frames that went from east to west by each cable.
fn passed(fabric: &Fabric) -> Result<[u64; 2]> {
    Ok([fabric.patch(0)?.counters(From::A).passed, fabric.patch(1)?.counters(From::A).passed])
}

/// The ports of a cable.
fn port_of(link: usize) -> &'static str {
    ["swp3", "swp4"][link]
}

/// Checks that no frame came twice and that only so many are missing.
fn costs_at_most(tally: &Tally, frames: usize) -> Result<()> {
    ensure!(tally.repeated == 0, "{} frames came twice", tally.repeated);
    ensure!(tally.missing.len() <= frames, "{} ({RATE} a second)", tally.gaps());
    Ok(())
}

fn pulled_cable(fabric: &Fabric, _: &Run) -> Result<String> {
    let (mut flow, used) = stream(fabric)?;
    let other = 1 - used;
    fabric.set_link(used, false)?;
    flow.wait_for_more(MARGIN, SOON)?;
    trunk_has(fabric, &[port_of(other)])?;
    let pulled = flow.finish()?;
    costs_at_most(&pulled, RATE as usize)?;
    // When the cable comes back, one side sends by it a moment before the other listens: netd leaves the kernel's
    // bonding at coupled control (IEEE 802.1AX), which collects and distributes at once.
    let (from, to) = (fabric.switches[EAST].vm.wire(1)?, fabric.switches[WEST].vm.wire(1)?);
    let mut flow = Stream::start(from, to, RATE)?;
    flow.wait_for_more(MARGIN, SOON)?;
    fabric.set_link(used, true)?;
    trunk_is_whole(fabric)?;
    flow.wait_for_more(MARGIN, SOON)?;
    let plugged = flow.finish()?;
    costs_at_most(&plugged, RATE as usize).context("when the cable is plugged in again")?;
    Ok(format!("pulled: {}; plugged in again: {}", pulled.gaps(), plugged.gaps()))
}

fn cut_one_way(fabric: &Fabric, _: &Run) -> Result<String> {
    let (mut flow, used) = stream(fabric)?;
    fabric.patch(used)?.impair(From::A, Impairment::cut());
    trunk_has(fabric, &[port_of(1 - used)])?;
    for switch in &fabric.switches {
        let port = switch.port(port_of(used))?;
        ensure!(port["oper_state"] == "up", "the cut cable's port has no carrier: {port}");
    }
    flow.wait_for_more(MARGIN, SOON)?;
    let cut = flow.finish()?;
    // West hears nothing for three seconds, asks for three more, and says so by the other direction, which works.
    // On translated processors its clocks are late.
    costs_at_most(&cut, 15 * RATE as usize)?;
    ensure!(!cut.missing.is_empty(), "a cut cable cost nothing, so the flow did not go by it");
    fabric.patch(used)?.mend();
    trunk_is_whole(fabric).context("once the cable is mended")?;
    Ok(format!("cut: {}", cut.gaps()))
}
