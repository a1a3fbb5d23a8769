//! What a switch has beyond ports and VLANs: LAGs, isolated ports, groups, tunnels, subinterfaces.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Frame, Mac};

use super::frames::{At, cross, frame};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 8] = [
    Scenario::new("isolated ports cannot talk to each other", Topology::Switch, isolated_ports),
    Scenario::new(
        "a static LAG sends each frame by one member, and survives the loss of it",
        Topology::Switch,
        static_lag,
    ),
    Scenario::new("LACP without a partner uses no member twice", Topology::Switch, lacp_alone),
    Scenario::new("a multicast group reaches its static members alone", Topology::Switch, static_group),
    Scenario::new("a VXLAN tunnel joins a VLAN to a remote end point", Topology::Switch, vxlan),
    Scenario::new("a subinterface routes the frames of its tag", Topology::Switch, subinterface),
    Scenario::new("an interface that does not forward routes nothing", Topology::Switch, forwarding_off),
    Scenario::new("a custom hardware address comes and goes", Topology::Switch, custom_mac),
];

const SOON: Duration = Duration::from_secs(20);

/// Applies a changed document, looks, and brings the lab's own back, whatever came of it.
pub(super) fn with_document(lab: &Lab, document: &str, look: impl FnOnce() -> Result<()>) -> Result<String> {
    lab.apply_ok(document)?;
    let outcome = look();
    lab.apply_ok(&lab.document)?;
    outcome?;
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
fn changed(lab: &Lab, from: &str, to: &str) -> Result<String> {
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
        let payload = fresh_payload("isolated");
        let silent = lab.vm.wire(4)?.capture_text(&payload);
        let trunk = lab.vm.wire(5)?.capture_text(&payload);
        for _ in 0..3 {
            lab.vm.wire(3)?.send(&frame(Mac::of_host(3), Mac::BROADCAST, None, &payload));
        }
        trunk.wait_for("the frame on the trunk", SOON, |view| view.carries(&payload))?;
        cross(lab, At(5, Some(20)), At(4, None), Mac::BROADCAST)?;
        ensure!(silent.drain().is_empty(), "an isolated port reached another");
        Ok(())
    })
}

/// swp11 and swp12 as a LAG in VLAN 20.
fn lag_document(lab: &Lab, mode: &str) -> Result<String> {
    let document = changed(lab, "[ports.swp11]\ndescription = \"pulled\"\nvlan.access = 60\n\n", "")?;
    Ok(document
        + &format!(
            "\n[lags.bundle]\nmembers = [\"swp11\", \"swp12\"]\nmode = \"{mode}\"\nvlan.access = 20\n"
        ))
}

/// On how many members a frame from swp3 comes out.
fn copies(lab: &Lab, members: &[u16]) -> Result<usize> {
    let payload = fresh_payload("lag");
    let captures = members
        .iter()
        .map(|&port| Ok(lab.vm.wire(port)?.capture_text(&payload)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(lab.vm.wire(3)?.send(&frame(Mac::of_host(3), Mac::BROADCAST, None, &payload)), "not sent");
    cross(lab, At(3, None), At(4, None), Mac::BROADCAST)?;
    std::thread::sleep(Duration::from_millis(100));
    Ok(captures.iter().map(|capture| capture.drain().len()).sum())
}

fn static_lag(lab: &Lab, _: &Run) -> Result<String> {
    let document = lag_document(lab, "static")?;
    with_document(lab, &document, || {
        eventually("the LAG carries frames once", SOON, || {
            let copies = copies(lab, &[11, 12])?;
            ensure!(copies == 1, "a frame came out {copies} times");
            Ok(())
        })?;
        for pulled in [11, 12] {
            lab.vm.set_link(pulled, false)?;
            let other = 23 - pulled;
            let outcome = eventually("the other member carries on", SOON, || {
                let copies = copies(lab, &[other])?;
                ensure!(copies == 1, "a frame came out {copies} times");
                Ok(())
            });
            lab.vm.set_link(pulled, true)?;
            outcome?;
        }
        // What comes in by a member comes out in the VLAN.
        eventually("frames come in by a member", SOON, || {
            cross(lab, At(12, None), At(3, None), Mac::BROADCAST)
        })?;
        let row = lab.port("bundle")?;
        ensure!(row["kind"] == "lag" && row["untagged_vlan"] == 20, "the LAG is shown as {row}");
        Ok(())
    })
}

fn lacp_alone(lab: &Lab, _: &Run) -> Result<String> {
    // LACP runs only where the kernel knows that both directions work at once, which virtio does not tell.
    let document = lag_document(lab, "lacp")?
        + "\n[ports.\"swp[11-12]\"]\nautoneg = false\nspeed = \"10G\"\nduplex = \"full\"\n";
    with_document(lab, &document, || {
        // The switch speaks LACP (01:80:c2:00:00:02, slow protocols) on each member.
        for port in [11, 12] {
            let capture = lab.vm.wire(port)?.capture_if(|bytes| bytes.get(12..14) == Some(&[0x88, 0x09]));
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            ensure!(capture.next_before(deadline).is_some(), "no LACP on swp{port}");
        }
        let copies = copies(lab, &[11, 12])?;
        ensure!(copies <= 1, "without a partner a frame came out {copies} times");
        Ok(())
    })
}

fn static_group(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.clone()
        + "\n[[mdb]]\ngroup = \"239.1.1.1\"\nvlan = 20\nports = [\"swp4\"]\n\n[bridge]\nigmp-snooping = true\nquerier = true\n";
    let group = Mac([0x01, 0x00, 0x5e, 0x01, 0x01, 0x01]);
    with_document(lab, &document, || {
        let rows = lab.show("mdb")?;
        ensure!(rows.iter().any(|row| row["group"] == "239.1.1.1" && row["port"] == "swp4"), "{rows:?}");
        // Snooping prunes only once there is a querier, and it waits a while before it trusts itself.
        eventually("the group leaves by its member alone", Duration::from_secs(60), || {
            let payload = fresh_payload("group");
            let member = lab.vm.wire(4)?.capture_text(&payload);
            let other = lab.vm.wire(5)?.capture_text(&payload);
            lab.vm.wire(3)?.send(&multicast(group, [239, 1, 1, 1], &payload));
            member.wait_for("the group's frame", SOON, |view| view.carries(&payload))?;
            cross(lab, At(3, None), At(5, Some(20)), Mac::BROADCAST)?;
            ensure!(other.drain().is_empty(), "the frame left by a port that is no member");
            Ok(())
        })
    })
}

/// An IPv4 frame to a group: a bridge prunes by the IP header, not by the hardware address alone.
fn multicast(group: Mac, address: [u8; 4], payload: &str) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 8, 17, 0, 0, 10, 0, 20, 103];
    packet.extend(address);
    packet.extend([0x1f, 0x90, 0x1f, 0x90, 0, 0, 0, 0]);
    packet.extend(payload.as_bytes());
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[24..26].copy_from_slice(&(total - 20).to_be_bytes());
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    Frame::new(Mac::of_host(3), group).ethertype(0x0800).payload(packet).build()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
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

fn custom_mac(lab: &Lab, _: &Run) -> Result<String> {
    let born = lab.port("swp7")?["mac"].as_str().context("no address")?.to_owned();
    let document = changed(
        lab,
        "description = \"routed\"\n",
        "description = \"routed\"\nmac = \"02:aa:00:00:00:07\"\n",
    )?;
    with_document(lab, &document, || {
        let mac = lab.port("swp7")?["mac"].clone();
        ensure!(mac == "02:aa:00:00:00:07", "swp7 has {mac}");
        Ok(())
    })?;
    let mac = lab.port("swp7")?["mac"].clone();
    ensure!(mac == born.as_str(), "swp7 has {mac} instead of {born} when none is configured");
    Ok(String::new())
}
