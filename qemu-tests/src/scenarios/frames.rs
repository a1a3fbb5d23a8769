//! Layer 2: access ports, trunks, native VLANs.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::{Frame, Mac};
use qemu_tests::wire::Capture;

use super::objects::changed;
use super::routing::on_routed_port;
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::new("access ports of one VLAN exchange frames", Topology::Switch, access_ports_exchange),
    Scenario::new("another VLAN sees no frame, broadcast included", Topology::Switch, vlans_are_apart)
        .takes(13),
    Scenario::new("a learned address is sent to its port alone", Topology::Switch, learned_addresses),
    Scenario::new("a trunk carries each VLAN with its tag", Topology::Switch, trunks_tag),
    Scenario::new("frames of the native VLAN carry no tag on a trunk", Topology::Switch, native_vlan),
    Scenario::new("a port that the document does not mention carries nothing", Topology::Switch, unused_port),
];

/// How long a frame may take to cross.
const SOON: Duration = Duration::from_secs(5);

/// A frame on a port: its tag, if any.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) u16, pub(super) Option<u16>);

pub(super) fn frame(source: Mac, destination: Mac, tag: Option<u16>, payload: &str) -> Vec<u8> {
    let frame = Frame::new(source, destination).payload(payload);
    tag.map_or(frame.clone(), |tag| frame.vlan(tag)).build()
}

/// Sends a payload in at one place and checks that it comes out at another with the right tag.
pub(super) fn cross(lab: &Lab, from: At, to: At, destination: Mac) -> Result<()> {
    let payload = fresh_payload("cross");
    let capture = lab.vm.wire(to.0)?.capture_text(&payload);
    let sent = lab.vm.wire(from.0)?.send(&frame(Mac::of_host(from.0), destination, from.1, &payload));
    ensure!(sent, "the machine did not take a frame on swp{}", from.0);
    let what = format!("frame from swp{} to {destination}", from.0);
    let captured = capture.wait_for(&what, SOON, |view| view.carries(&payload))?;
    let view = captured.view().context("a captured frame is too short")?;
    ensure!(
        view.vlan_id == to.1,
        "{what} came out of swp{} with tag {:?} instead of {:?}",
        to.0,
        view.vlan_id,
        to.1
    );
    ensure!(
        view.source == Mac::of_host(from.0) && view.destination == destination,
        "{what} had its addresses changed"
    );
    Ok(())
}

/// The same of a broadcast that must come out once.
pub(super) fn cross_once(lab: &Lab, from: At, to: At) -> Result<()> {
    let payload = fresh_payload("once");
    let capture = lab.vm.wire(to.0)?.capture_text(&payload);
    let sent = lab.vm.wire(from.0)?.send(&frame(Mac::of_host(from.0), Mac::BROADCAST, from.1, &payload));
    ensure!(sent, "the machine did not take a frame on swp{}", from.0);
    // It follows the frame through the same queues: once it has come out, no copy of that one is to come.
    cross(lab, from, to, Mac::BROADCAST)?;
    let copies = capture.drain().len();
    ensure!(copies == 1, "a frame from swp{} came out of swp{} {copies} times", from.0, to.0);
    Ok(())
}

/// Sends a payload that must not come out of some ports, though it does come out of `witness`. Frames that
/// are sent afterwards prove that it would have come by then: one more by the same port, and one to each of the
/// silent ports.
fn nothing_on(lab: &Lab, from: At, destination: Mac, witness: Option<u16>, silent: &[u16]) -> Result<()> {
    let payload = fresh_payload("silent");
    let watch =
        |port: u16| -> Result<(u16, Capture)> { Ok((port, lab.vm.wire(port)?.capture_text(&payload))) };
    let silent = silent.iter().map(|&port| watch(port)).collect::<Result<Vec<_>>>()?;
    let witness = witness.map(watch).transpose()?;
    for _ in 0..3 {
        ensure!(
            lab.vm.wire(from.0)?.send(&frame(Mac::of_host(from.0), destination, from.1, &payload)),
            "not sent"
        );
    }
    if let Some((_, capture)) = &witness {
        capture.wait_for("the frame itself", SOON, |view| view.carries(&payload))?;
    }
    taken_in(lab, from.0)?;
    // Each silent port gets a frame of its own after the one it must not get.
    for (port, _) in &silent {
        fence(lab, *port)?;
    }
    for (port, capture) in &silent {
        if let Some(captured) = capture.drain().first() {
            bail!("a frame from swp{} to {destination} came out of swp{port}: {:?}", from.0, captured.view());
        }
    }
    Ok(())
}

/// Waits until the bridge has dealt with all that went in by a port: what goes in behind it comes out again.
fn taken_in(lab: &Lab, port: u16) -> Result<()> {
    let (from, to) = match port {
        1 => (At(1, None), At(2, None)),
        3 => (At(3, None), At(4, None)),
        5 => (At(5, Some(10)), At(1, None)),
        6 => (At(6, None), At(1, None)),
        // Admin down: nothing goes in at all.
        12 => return Ok(()),
        _ => bail!("swp{port} has no fellow"),
    };
    cross(lab, from, to, Mac::BROADCAST)
}

/// Sends a frame to a port by the shortest way it has and waits for it.
fn fence(lab: &Lab, port: u16) -> Result<()> {
    let (from, to) = match port {
        1 => (At(2, None), At(1, None)),
        2 => (At(1, None), At(2, None)),
        3 => (At(4, None), At(3, None)),
        4 => (At(3, None), At(4, None)),
        5 => (At(3, None), At(5, Some(20))),
        6 => (At(3, None), At(6, Some(20))),
        7 | 8 => return routed_fence(lab, port),
        9 => (At(10, None), At(9, None)),
        10 => (At(9, None), At(10, None)),
        11 => (At(12, None), At(11, None)),
        12 => (At(11, None), At(12, None)),
        _ => bail!("swp{port} has no neighbour, so its silence shows nothing"),
    };
    cross(lab, from, to, Mac::BROADCAST)
}

/// The same for a routed port: what leaves by it is routed.
fn routed_fence(lab: &Lab, port: u16) -> Result<()> {
    let (member, behind) = (lab.member(1, 10)?, on_routed_port(lab, port, None)?);
    member.ping_until_answered(behind.ip(false)?, SOON)
}

fn access_ports_exchange(lab: &Lab, _: &Run) -> Result<String> {
    for destination in [Mac::BROADCAST, Mac::of_host(2)] {
        cross(lab, At(1, None), At(2, None), destination)?;
    }
    cross(lab, At(2, None), At(1, None), Mac::of_host(1))?;
    cross(lab, At(1, None), At(2, None), Mac::of_host(2))?;
    cross(lab, At(3, None), At(4, None), Mac::BROADCAST)?;
    Ok(String::new())
}

fn vlans_are_apart(lab: &Lab, _: &Run) -> Result<String> {
    // swp12 is a neighbour of swp11, so that the silence of both can be shown.
    let document = changed(lab, "[ports.swp11]\n", "[ports.\"swp[11-12]\"]\n")?;
    lab.with_document(&document, || {
        eventually("swp11 and swp12 exchange frames", 4 * SOON, || {
            cross(lab, At(11, None), At(12, None), Mac::BROADCAST)
        })?;
        let unknown = Mac::of_host(700);
        let others: [u16; 6] = [7, 8, 9, 10, 11, 12];
        for (destination, others) in [
            (Mac::BROADCAST, &others[..]),
            (unknown, &others[2..]),
            (Mac([0x01, 0, 0x5e, 0, 0, 0xfb]), &others[2..]),
        ] {
            nothing_on(lab, At(1, None), destination, Some(2), &[&[3, 4][..], others].concat())?;
            nothing_on(lab, At(3, None), destination, Some(4), &[&[1, 2][..], others].concat())?;
        }
        // The address of a host in the other VLAN opens no way either, nor does a forged tag on an access port.
        cross(lab, At(4, None), At(3, None), Mac::BROADCAST)?;
        nothing_on(lab, At(1, None), Mac::of_host(4), None, &[3, 4])?;
        nothing_on(lab, At(1, Some(20)), Mac::BROADCAST, None, &[3, 4])
    })?;
    Ok(String::new())
}

fn learned_addresses(lab: &Lab, _: &Run) -> Result<String> {
    cross(lab, At(2, None), At(1, None), Mac::BROADCAST)?;
    nothing_on(lab, At(1, None), Mac::of_host(2), Some(2), &[5, 6])?;
    let fdb = lab.show("fdb")?;
    let mac = Mac::of_host(2).to_string();
    let entry = fdb.iter().find(|entry| entry["mac"] == mac.as_str() && entry["kind"] == "learned");
    let entry = entry.with_context(|| format!("`corten show fdb` has no learned {mac}"))?;
    ensure!(entry["port"] == "swp2" && entry["vlan_id"] == 10, "{mac} was learned as {entry}");
    Ok(String::new())
}

fn trunks_tag(lab: &Lab, _: &Run) -> Result<String> {
    cross(lab, At(1, None), At(5, Some(10)), Mac::BROADCAST)?;
    cross(lab, At(3, None), At(5, Some(20)), Mac::BROADCAST)?;
    cross(lab, At(5, Some(10)), At(1, None), Mac::BROADCAST)?;
    cross(lab, At(5, Some(20)), At(3, None), Mac::BROADCAST)?;
    cross(lab, At(5, Some(20)), At(6, Some(20)), Mac::BROADCAST)?;
    // Neither another VLAN's tag nor, without a native VLAN, an untagged frame gets in.
    nothing_on(lab, At(5, Some(50)), Mac::BROADCAST, None, &[1, 3, 6, 9, 10])?;
    nothing_on(lab, At(5, None), Mac::BROADCAST, None, &[1, 3, 6, 9, 10])?;
    Ok(String::new())
}

fn native_vlan(lab: &Lab, _: &Run) -> Result<String> {
    cross(lab, At(1, None), At(6, None), Mac::BROADCAST)?;
    cross(lab, At(6, None), At(1, None), Mac::BROADCAST)?;
    cross(lab, At(6, None), At(5, Some(10)), Mac::BROADCAST)?;
    cross(lab, At(6, Some(20)), At(3, None), Mac::BROADCAST)?;
    nothing_on(lab, At(6, None), Mac::BROADCAST, Some(1), &[3, 4])?;
    Ok(String::new())
}

fn unused_port(lab: &Lab, _: &Run) -> Result<String> {
    nothing_on(lab, At(12, None), Mac::BROADCAST, None, &[1, 3, 5, 6, 7, 9])?;
    nothing_on(lab, At(12, Some(10)), Mac::BROADCAST, None, &[1, 3, 5, 6, 9])?;
    let port = lab.port("swp12")?;
    ensure!(port["wanted_up"] == false && port["admin_up"] == false, "swp12 is up: {port}");
    Ok(String::new())
}
