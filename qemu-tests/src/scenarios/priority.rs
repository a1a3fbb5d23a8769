//! 802.1p priorities: kept by the bridge, mapped by the interfaces of the switch.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Frame, Mac};
use qemu_tests::packet::Packet;

use super::bridge::mac_of;
use super::frames::At;
use super::objects::{changed, with_document};
use crate::lab::{Lab, Topology, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 2] = [
    Scenario::new(
        "the bridge keeps the priority of a tag, and of a frame that has nothing but one",
        Topology::Switch,
        bridged_priorities,
    ),
    Scenario::new(
        "a routed packet's tag has the priority that the maps make of the one it came with",
        Topology::Switch,
        routed_priorities,
    )
    .takes(27),
];

const SOON: Duration = Duration::from_secs(20);

/// Sends a frame in at a port and tells the tag with which it comes out of another.
fn tag_of(
    lab: &Lab,
    from: u16,
    to: u16,
    build: impl Fn(&str) -> Result<Vec<u8>>,
) -> Result<(Option<u16>, u8)> {
    let payload = fresh_payload("priority");
    let capture = lab.vm.wire(to)?.capture_text(&payload);
    ensure!(lab.vm.wire(from)?.send(&build(&payload)?), "the machine did not take a frame on swp{from}");
    let what = format!("frame from swp{from}");
    let captured = capture.wait_for(&what, SOON, |view| view.carries(&payload))?;
    let view = captured.view().context("a captured frame is too short")?;
    Ok((view.vlan_id, view.priority))
}

fn bridged_priorities(lab: &Lab, _: &Run) -> Result<String> {
    let broadcast = |port: u16| Frame::new(Mac::of_host(port), Mac::BROADCAST);
    for priority in 0..8 {
        let tagged = |payload: &str| Ok(broadcast(5).tag(20, priority).payload(payload).build());
        let tag = tag_of(lab, 5, 6, tagged)?;
        ensure!(tag == (Some(20), priority), "priority {priority} of a trunk became {tag:?}");
        // VLAN 0: a priority, and the VLAN that an untagged frame would have.
        let without_vlan = |payload: &str| Ok(broadcast(3).tag(0, priority).payload(payload).build());
        let tag = tag_of(lab, 3, 5, without_vlan)?;
        ensure!(tag == (Some(20), priority), "priority {priority} without a VLAN became {tag:?}");
    }
    let untagged = |payload: &str| Ok(broadcast(3).payload(payload).build());
    let tag = tag_of(lab, 3, 5, untagged)?;
    ensure!(tag == (Some(20), 0), "a frame without a tag left with {tag:?}");
    Ok(String::new())
}

/// swp11.100 takes priorities in, vlan20 and swp12.200 give them out.
fn mapped(lab: &Lab) -> Result<String> {
    let document = changed(
        lab,
        "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n",
        "[ports.\"swp[11-12]\"]\n\n\
         [subinterfaces.\"swp11.100\"]\naddresses = [\"10.0.111.1/24\", \"2001:db8:111::1/64\"]\npcp.ingress = { 5 = 3, 6 = 7 }\n\n\
         [subinterfaces.\"swp12.200\"]\naddresses = [\"10.0.112.1/24\", \"2001:db8:112::1/64\"]\npcp.egress = { 3 = 6, 7 = 1 }\n",
    )?;
    ensure!(document.contains("name = \"clients\"\n"), "the lab has no VLAN of clients");
    Ok(document.replace(
        "name = \"clients\"\n",
        "name = \"clients\"\npcp.egress = { 3 = 4 }\npcp.ingress = { 2 = 3 }\n",
    ))
}

/// A packet by hand from one tagged network to another.
struct Path {
    from: At,
    router: Mac,
    to: u16,
}

impl Path {
    fn tag(&self, lab: &Lab, source: &str, destination: &str, priority: u8) -> Result<(Option<u16>, u8)> {
        tag_of(lab, self.from.0, self.to, |payload| {
            // The TOS byte stays 0: the tag alone speaks of priority.
            let packet = Packet::udp(source.parse()?, destination.parse()?).payload(payload);
            let frame = packet.frame(Mac::of_host(self.from.0), self.router)?;
            Ok(self.from.1.map_or(frame.clone(), |vlan| frame.tag(vlan, priority)).build())
        })
    }
}

fn routed_priorities(lab: &Lab, _: &Run) -> Result<String> {
    with_document(lab, &mapped(lab)?, || {
        let near =
            lab.host(11, |config| config.vlan(100).address("10.0.111.2/24").address("2001:db8:111::2/64"))?;
        let far =
            lab.host(12, |config| config.vlan(200).address("10.0.112.2/24").address("2001:db8:112::2/64"))?;
        let trunk =
            lab.host(5, |config| config.vlan(20).address("10.0.20.105/24").address("2001:db8:20::105/64"))?;
        for (host, network) in [(&near, "111"), (&far, "112"), (&trunk, "20")] {
            host.ping_until_answered(format!("10.0.{network}.1").parse()?, SOON)?;
            host.ping_until_answered(format!("2001:db8:{network}::1").parse()?, SOON)?;
        }
        let from_swp11 = mac_of(lab, "swp11.100")?;
        let out = Path { from: At(11, Some(100)), router: from_swp11, to: 12 };
        let bridged = Path { from: At(11, Some(100)), router: from_swp11, to: 5 };
        let back = Path { from: At(5, Some(20)), router: mac_of(lab, "vlan20")?, to: 12 };
        // (in, out by swp12.200, out by vlan20): a priority without a place in a map is 0.
        for (priority, by_subinterface, by_vlan) in [(5, 6, 4), (6, 1, 0), (3, 0, 0), (0, 0, 0)] {
            for (source, far, trunk) in [
                ("10.0.111.2", "10.0.112.2", "10.0.20.105"),
                ("2001:db8:111::2", "2001:db8:112::2", "2001:db8:20::105"),
            ] {
                let tag = out.tag(lab, source, far, priority)?;
                ensure!(tag == (Some(200), by_subinterface), "priority {priority} to {far} became {tag:?}");
                let tag = bridged.tag(lab, source, trunk, priority)?;
                ensure!(tag == (Some(20), by_vlan), "priority {priority} to {trunk} became {tag:?}");
            }
        }
        for (priority, expected) in [(2, 6), (5, 0)] {
            let tag = back.tag(lab, "10.0.20.105", "10.0.112.2", priority)?;
            ensure!(tag == (Some(200), expected), "priority {priority} from VLAN 20 became {tag:?}");
        }
        // What the document no longer says is undone.
        lab.apply_ok(&mapped(lab)?.replace("pcp.egress = { 3 = 6, 7 = 1 }\n", "pcp.egress = { 7 = 2 }\n"))?;
        for (priority, expected) in [(5, 0), (6, 2)] {
            let tag = out.tag(lab, "10.0.111.2", "10.0.112.2", priority)?;
            ensure!(tag == (Some(200), expected), "priority {priority} became {tag:?} by the changed map");
        }
        Ok(())
    })
}
