//! What a switch has beyond ports and VLANs: LAGs, isolated ports, tunnels, subinterfaces.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Mac, View};

use super::flows::{settled, used};
use super::frames::{At, cross, cross_once, frame};
use super::lag::{by_members, leave_once_by};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::new("isolated ports cannot talk to each other", Topology::Switch, isolated_ports).takes(13),
    Scenario::new(
        "a static LAG sends each frame by one member, and survives the loss of it",
        Topology::Switch,
        static_lag,
    )
    .also_on_two_cpus()
    .takes(16),
    Scenario::new("LACP without a partner uses no member twice", Topology::Switch, lacp_alone),
    Scenario::new("a VXLAN tunnel joins a VLAN to a remote end point", Topology::Switch, vxlan),
    Scenario::new("a subinterface routes the frames of its tag", Topology::Switch, subinterface),
    Scenario::new("an interface that does not forward routes nothing", Topology::Switch, forwarding_off),
];

const SOON: Duration = Duration::from_secs(20);

/// Applies a changed document, looks, and brings the lab's own back, whatever came of it.
pub(super) fn with_document(lab: &Lab, document: &str, look: impl FnOnce() -> Result<()>) -> Result<String> {
    lab.with_document(document, look)?;
    // Until the ports are up again in their places, for whoever looks next.
    for (from, to) in [(1, 2), (3, 4), (9, 10)] {
        eventually(&format!("swp{from} reaches swp{to} again"), SOON, || {
            cross(lab, At(from, None), At(to, None), Mac::BROADCAST)
        })?;
    }
    eventually("routed ports are as before", SOON, || {
        for port in ["swp7", "swp8"] {
            let row = lab.port(port)?;
            let addresses = row["addresses"].as_array().map_or(0, Vec::len);
            ensure!(row["oper_state"] == "up" && row["vrf"] == "" && addresses == 3, "{row}");
        }
        Ok(())
    })?;
    Ok(String::new())
}

/// The lab's document with a section's text replaced.
pub(super) fn changed(lab: &Lab, from: &str, to: &str) -> Result<String> {
    ensure!(lab.document.contains(from), "the lab's document lacks {from:?}");
    Ok(lab.document.replace(from, to))
}

fn isolated_ports(lab: &Lab, _: &Run) -> Result<String> {
    let document = changed(
        lab,
        "[ports.\"swp[3-4]\"]\ndescription = \"clients\"\nvlan.access = 20\n",
        "[ports.\"swp[3-4]\"]\ndescription = \"clients\"\nvlan.access = 20\nisolated = true\n",
    )?;
    with_document(lab, &document, || {
        // Both still reach the trunk, and it reaches them; not each other.
        eventually("swp3 reaches the trunk", SOON, || {
            cross(lab, At(3, None), At(5, Some(20)), Mac::BROADCAST)
        })?;
        cross(lab, At(5, Some(20)), At(4, None), Mac::BROADCAST)?;
        cross(lab, At(4, None), At(5, Some(20)), Mac::BROADCAST)?;
        for (from, other) in [(3, 4), (4, 3)] {
            let payload = fresh_payload("isolated");
            let silent = lab.vm.wire(other)?.capture_text(&payload);
            let trunk = lab.vm.wire(5)?.capture_text(&payload);
            // To everybody, to somebody unknown, and to the very host on the other port, whose place is known.
            for destination in [Mac::of_host(other), Mac::of_host(700), Mac::BROADCAST] {
                lab.vm.wire(from)?.send(&frame(Mac::of_host(from), destination, None, &payload));
            }
            let broadcast = |view: &View<'_>| view.carries(&payload) && view.destination == Mac::BROADCAST;
            trunk.wait_for("the frame on the trunk", SOON, broadcast)?;
            cross(lab, At(5, Some(20)), At(other, None), Mac::BROADCAST)?;
            ensure!(silent.drain().is_empty(), "swp{from} reached swp{other} though both are isolated");
        }
        Ok(())
    })
}

/// swp11 and swp12 as a LAG in VLAN 20.
pub(super) fn lag_document(lab: &Lab, mode: &str) -> Result<String> {
    let document = changed(lab, "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n\n", "")?;
    Ok(document
        + &format!(
            "\n[lags.bundle]\nmembers = [\"swp11\", \"swp12\"]\nmode = \"{mode}\"\nvlan.access = 20\n"
        ))
}

fn static_lag(lab: &Lab, _: &Run) -> Result<String> {
    let document = lag_document(lab, "static")?;
    with_document(lab, &document, || {
        leave_once_by(lab, &[11, 12])?;
        for pulled in [11, 12] {
            lab.vm.set_link(pulled, false)?;
            let outcome = leave_once_by(lab, &[23 - pulled]);
            lab.vm.set_link(pulled, true)?;
            outcome.with_context(|| format!("with swp{pulled} pulled"))?;
            leave_once_by(lab, &[11, 12]).with_context(|| format!("with swp{pulled} plugged in again"))?;
        }
        // What comes in by a member comes out in the VLAN, once.
        for member in [11, 12] {
            cross_once(lab, At(member, None), At(3, None))?;
        }
        let row = lab.port("bundle")?;
        ensure!(row["kind"] == "lag" && row["untagged_vlan"] == 20, "the LAG is shown as {row}");
        Ok(())
    })
}

fn lacp_alone(lab: &Lab, _: &Run) -> Result<String> {
    // LACP runs only where the kernel knows that both directions work at once, which virtio does not tell.
    let untold = lag_document(lab, "lacp")?;
    with_document(lab, &untold, || {
        eventually("it is told why no member carries", SOON, || {
            let shown = lab.vm.run("corten show lags")?;
            let why =
                "LACP needs full duplex, and its driver reports none: set speed, duplex and autoneg = false";
            for port in [11, 12] {
                ensure!(shown.contains(&format!("swp{port}: {why}\n")), "{shown}");
            }
            ensure!(shown.contains("0/2 active"), "{shown}");
            Ok(())
        })
    })?;
    let document = untold + "\n[ports.\"swp[11-12]\"]\nautoneg = false\nspeed = \"10G\"\nduplex = \"full\"\n";
    with_document(lab, &document, || {
        // The switch speaks LACP (01:80:c2:00:00:02, slow protocols) on each member.
        for port in [11, 12] {
            let capture = lab.vm.wire(port)?.capture_if(|bytes| bytes.get(12..14) == Some(&[0x88, 0x09]));
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            ensure!(capture.next_before(deadline).is_some(), "no LACP on swp{port}");
        }
        // Without a partner each member is a link of its own, and one of them is used.
        let alone = settled("one member carries the flows", SOON, || {
            let used = used(&by_members(lab)?);
            ensure!(used.len() == 1, "flows leave by {used:?}");
            Ok(used)
        })?;
        for member in alone {
            leave_once_by(lab, &[member])?;
        }
        Ok(())
    })
}

/// Where a VXLAN packet's inner frame begins: Ethernet, IPv4, UDP, VXLAN.
const INNER: usize = 14 + 20 + 8 + 8;

fn vxlan(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone()
        + "\n[vxlans.tunnel]\nvni = 5010\nvlan = 10\nlocal = \"198.51.100.1\"\nremotes = [\"10.0.8.2\"]\n";
    with_document(lab, &document, || {
        let remote = lab.host(8, |config| config.address("10.0.8.2/24").gateway([10, 0, 8, 1]))?;
        remote.ping_until_answered("10.0.8.1".parse()?, SOON)?;
        let payload = fresh_payload("vxlan");
        let wire = lab.vm.wire(8)?;
        let capture = wire.capture_text(&payload);
        let inner = frame(Mac::of_host(1), Mac::BROADCAST, None, &payload);
        eventually("a frame of VLAN 10 leaves by the tunnel", SOON, || {
            lab.vm.wire(1)?.send(&inner);
            let deadline = std::time::Instant::now() + Duration::from_secs(2);
            let packet = capture.next_before(deadline).context("nothing came")?;
            let bytes = packet.bytes.get(INNER..).context("a short packet")?;
            ensure!(packet.bytes[36..38] == 4789_u16.to_be_bytes(), "not to the VXLAN port");
            ensure!(packet.bytes[46..49] == [0, 0x13, 0x92], "another network identifier");
            ensure!(bytes.starts_with(&inner[..14]), "the inner frame was changed");
            Ok(())
        })?;
        // Two end points of IPv4 that forbid fragments, without a checksum; what does not fit is dropped.
        let sizes = |bytes: usize| -> Result<Option<Vec<u8>>> {
            let payload = fresh_payload("vxlan-size");
            let capture = wire.capture_text(&payload);
            let mut frame = frame(Mac::of_host(1), Mac::BROADCAST, None, &payload);
            frame.resize(14 + bytes, 0);
            lab.vm.wire(1)?.send(&frame);
            let deadline = std::time::Instant::now() + Duration::from_secs(2);
            Ok(capture.next_before(deadline).map(|captured| captured.bytes.to_vec()))
        };
        let largest = sizes(1450)?.context("a frame with 1450 bytes does not leave by the tunnel")?;
        ensure!(largest.len() == 14 + 1500, "the packet has {} bytes", largest.len());
        ensure!(largest[20] & 0x40 != 0, "fragments are allowed: {:02x}", largest[20]);
        ensure!(
            (largest[22], &largest[40..42]) == (64, &[0, 0][..]),
            "TTL or checksum: {:02x?}",
            &largest[..42]
        );
        ensure!(sizes(1451)?.is_none(), "a frame that is too large left by the tunnel");
        // And back: what comes in by the tunnel comes out in the VLAN.
        let payload = fresh_payload("vxlan-in");
        let out = lab.vm.wire(1)?.capture_text(&payload);
        let mut datagram = vec![0x08, 0, 0, 0, 0, 0x13, 0x92, 0];
        datagram.extend(frame(Mac::of_host(900), Mac::BROADCAST, None, &payload));
        remote.send_udp("198.51.100.1:4789".parse()?, &datagram).or_else(|_| {
            // The switch's own address is reached by its gateway on the port.
            anyhow::bail!("the end point cannot be reached")
        })?;
        out.wait_for("the frame from the tunnel", SOON, |view| view.carries(&payload))?;
        // Whoever spoke from the other end is known to be there: frames to him leave by the tunnel alone.
        let payload = fresh_payload("vxlan-known");
        let (tunnel, member) = (wire.capture_text(&payload), lab.vm.wire(2)?.capture_text(&payload));
        lab.vm.wire(1)?.send(&frame(Mac::of_host(1), Mac::of_host(900), None, &payload));
        let deadline = std::time::Instant::now() + SOON;
        let packet = tunnel.next_before(deadline).context("nothing came by the tunnel")?;
        let inner = packet.bytes.get(INNER..).context("a short packet")?;
        ensure!(inner.starts_with(&Mac::of_host(900).0), "the inner frame was changed");
        cross(lab, At(1, None), At(2, None), Mac::BROADCAST)?;
        ensure!(member.drain().is_empty(), "a frame to the other end left by swp2, too");
        Ok(())
    })
}

fn subinterface(lab: &Lab, _: &Run) -> Result<String> {
    let document = changed(
        lab,
        "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n",
        "[ports.swp11]\ndescription = \"parent\"\n\n[subinterfaces.\"swp11.100\"]\naddresses = [\"10.0.111.1/24\"]\n",
    )?;
    with_document(lab, &document, || {
        let host = lab.host(11, |config| {
            config.vlan(100).address("10.0.111.2/24").gateway(std::net::Ipv4Addr::new(10, 0, 111, 1))
        })?;
        host.ping_until_answered("10.0.111.1".parse()?, SOON)?;
        let member = lab.member(1, 10)?;
        member.ping_until_answered("10.0.10.1".parse()?, SOON)?;
        host.ping_until_answered("10.0.10.101".parse()?, SOON)?;
        Ok(())
    })
}

fn forwarding_off(lab: &Lab, _: &Run) -> Result<String> {
    let document = changed(
        lab,
        "addresses = [\"10.0.7.1/24\", \"2001:db8:7::1/64\"]\n",
        "addresses = [\"10.0.7.1/24\", \"2001:db8:7::1/64\"]\nforwarding = false\n",
    )?;
    let (host, member) = (lab.member(7, 7)?, lab.member(1, 10)?);
    let _ = &member;
    host.ping_until_answered("10.0.10.101".parse()?, SOON)?;
    with_document(lab, &document, || {
        host.ping_until_answered("10.0.7.1".parse()?, SOON)?;
        for far in ["10.0.10.101", "2001:db8:10::101"] {
            let report = host.ping(far.parse()?, 2, Duration::from_secs(1))?;
            ensure!(report.received == 0, "{far} answers though the port forwards nothing");
        }
        Ok(())
    })?;
    host.ping_until_answered("10.0.10.101".parse()?, SOON)?;
    Ok(String::new())
}
