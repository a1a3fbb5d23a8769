//! Ports that become something else while the switch runs, and what ports of the bridge are not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::waiting::pause;

use super::bridge::mac_of;
use super::frames::{At, cross, cross_once};
use super::lag::leave_once_by;
use super::objects::{changed, lag_document, with_document};
use super::routing::on_routed_port;
use super::sender::{SOON, Sender, resolved};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 5] = [
    Scenario::new(
        "a port forwards as soon as the change that puts it into a VLAN is done",
        Topology::Switch,
        forwards_at_once,
    )
    .takes(20),
    Scenario::new(
        "an untagged member of a VLAN becomes a tagged one, and is one at once",
        Topology::Switch,
        untagged_to_tagged,
    ),
    Scenario::new(
        "a port goes from a VLAN into a LAG in the change that deletes another LAG, and back",
        Topology::Switch,
        into_another_lag,
    )
    .takes(15),
    Scenario::new(
        "ports of the bridge have no address and say nothing of themselves",
        Topology::Switch,
        no_addresses_on_bridge_ports,
    )
    .waits()
    .takes(8),
    Scenario::new(
        "a VLAN's interface is as wide as its ports, and routes what they take",
        Topology::Switch,
        jumbo_vlan,
    )
    .takes(10),
];

const JUMBO_BYTES: usize = 9216;
/// How long a port that comes up may take to speak of itself.
const TO_SPEAK: Duration = Duration::from_secs(3);

/// A routed port goes down and up again on its way into a VLAN, and the kernel tells of carriers a second late then.
fn forwards_at_once(lab: &Lab, _: &Run) -> Result<String> {
    let with = |role: &str| format!("{}\n[ports.swp12]\n{role}\n", lab.document);
    let (routed, bridged) = (with("addresses = [\"10.0.12.1/24\"]"), with("vlan.access = 50"));
    with_document(lab, &routed, || {
        for round in 1..=3 {
            lab.apply_ok(&routed)?;
            lab.apply_ok(&bridged)?;
            cross(lab, At(9, None), At(12, None), Mac::BROADCAST)
                .and_then(|()| cross(lab, At(12, None), At(9, None), Mac::BROADCAST))
                .with_context(|| format!("right after change {round}"))?;
        }
        Ok(())
    })
}

fn untagged_to_tagged(lab: &Lab, _: &Run) -> Result<String> {
    let tagged = changed(
        lab,
        "[ports.\"swp[9-10]\"]\nvlan.access = 50\n",
        "[ports.swp9]\nvlan.access = 50\n\n[ports.swp10]\nvlan.trunk = [\"50\"]\n",
    )?;
    with_document(lab, &tagged, || {
        cross(lab, At(9, None), At(10, Some(50)), Mac::BROADCAST)?;
        cross(lab, At(10, Some(50)), At(9, None), Mac::BROADCAST)?;
        lab.apply_ok(&lab.document)?;
        cross(lab, At(9, None), At(10, None), Mac::BROADCAST)?;
        cross(lab, At(10, None), At(9, None), Mac::BROADCAST)
    })
}

fn into_another_lag(lab: &Lab, _: &Run) -> Result<String> {
    let before = lag_document(lab, "static")?;
    let mut after = before.clone();
    for (from, to) in [
        (
            "[ports.\"swp[9-10]\"]\nvlan.access = 50\n",
            "[ports.swp9]\nvlan.access = 50\n\n[ports.swp12]\nvlan.access = 20\n",
        ),
        (
            "[lags.bundle]\nmembers = [\"swp11\", \"swp12\"]\nmode = \"static\"\nvlan.access = 20\n",
            "[lags.second]\nmembers = [\"swp10\", \"swp11\"]\nmode = \"static\"\nvlan.access = 50\n",
        ),
    ] {
        ensure!(after.contains(from), "the document lacks {from:?}");
        after = after.replace(from, to);
    }
    let lags = || -> Result<Vec<String>> {
        let rows = lab.show("lags")?;
        Ok(rows.iter().filter_map(|row| row["name"].as_str()).map(str::to_owned).collect())
    };
    with_document(lab, &before, || {
        leave_once_by(lab, &[11, 12])?;
        lab.apply_ok(&after)?;
        ensure!(lags()? == ["second"], "there are {:?}", lags()?);
        eventually("swp10 and swp11 are one LAG in VLAN 50, and swp12 is in VLAN 20", SOON, || {
            for member in [10, 11] {
                cross_once(lab, At(member, None), At(9, None))?;
            }
            cross(lab, At(3, None), At(12, None), Mac::BROADCAST)?;
            cross(lab, At(12, None), At(3, None), Mac::BROADCAST)
        })?;
        lab.apply_ok(&before)?;
        ensure!(lags()? == ["bundle"], "there are {:?}", lags()?);
        leave_once_by(lab, &[11, 12])
    })
}

fn no_addresses_on_bridge_ports(lab: &Lab, _: &Run) -> Result<String> {
    for port in [1, 5, 9] {
        let shown = lab.vm.run(&format!("/usr/bin/ip -o address show dev swp{port}"))?;
        ensure!(shown.trim().is_empty(), "swp{port} has {shown}");
    }
    let own = mac_of(lab, "swp9")?;
    let capture =
        lab.vm.wire(9)?.capture_if(move |frame| frame.get(6..12).is_some_and(|source| *source == own.0));
    lab.replug(9)?;
    eventually("swp9 forwards again", SOON, || cross(lab, At(10, None), At(9, None), Mac::BROADCAST))?;
    // Solicitations and reports follow a carrier within a second or two.
    pause(TO_SPEAK);
    let said = capture.drain();
    ensure!(said.is_empty(), "swp9 said {:02x?}", said[0].bytes);
    Ok(String::new())
}

fn jumbo_vlan(lab: &Lab, _: &Run) -> Result<String> {
    let mut document = lab.document.clone();
    for (from, to) in [
        ("[ports.\"swp[1-2]\"]\n", "[ports.\"swp[1-2]\"]\nmtu = 9216\n"),
        ("description = \"trunk\"\n", "description = \"trunk\"\nmtu = 9216\n"),
        ("description = \"native\"\n", "description = \"native\"\nmtu = 9216\n"),
        ("[ports.swp8]\n", "[ports.swp8]\nmtu = 9216\n"),
    ] {
        ensure!(document.contains(from), "the lab's document lacks {from:?}");
        document = document.replace(from, to);
    }
    let width = |interface: &str| -> Result<usize> {
        let text = lab.vm.run(&format!("cat /sys/class/net/{interface}/mtu"))?;
        text.trim().parse().with_context(|| format!("{interface} has an MTU of {text:?}"))
    };
    ensure!(width("vlan10")? == 1500, "vlan10 has an MTU of {}", width("vlan10")?);
    with_document(lab, &document, || {
        ensure!(width("vlan10")? == JUMBO_BYTES, "vlan10 has an MTU of {}", width("vlan10")?);
        let sender = Sender::in_vlan_10(lab, 1)?;
        let at8 = on_routed_port(lab, 8, None)?;
        resolved(&at8, 8)?;
        for to in ["10.0.8.2", "2001:db8:8::2"] {
            let payload = fresh_payload("jumbo");
            let capture = lab.vm.wire(8)?.capture_text(&payload);
            let packet = sender.packet(to)?.dont_fragment().payload(&payload).padded_to(JUMBO_BYTES);
            sender.send(&packet)?;
            let came = capture.wait_for("jumbo packet", SOON, |view| view.carries(&payload))?;
            ensure!(came.bytes.len() == JUMBO_BYTES + 14, "it came with {} bytes", came.bytes.len());
        }
        // One narrow port is enough.
        lab.apply_ok(
            &document.replace("description = \"trunk\"\nmtu = 9216\n", "description = \"trunk\"\n"),
        )?;
        ensure!(width("vlan10")? == 1500, "vlan10 has an MTU of {}", width("vlan10")?);
        Ok(())
    })
}
