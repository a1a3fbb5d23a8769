//! VXLAN tunnels of other widths than usual, and with another end.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;

use super::frames::frame;
use super::objects::{changed, with_document};
use super::routing::on_routed_port;
use super::sender::{SOON, Sender, resolved};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "a tunnel over wide links carries what they take, and a packet too large for it is told so",
        Topology::Switch,
        wide_and_narrow,
    )
    .takes(15),
    Scenario::new(
        "a tunnel whose own address changes speaks as the new one",
        Topology::Switch,
        another_local_address,
    ),
    Scenario::new("a frame to all goes to each end of a tunnel, whole", Topology::Switch, every_end),
];

/// Outer headers (RFC 7348, figure 1): IPv4, UDP and VXLAN.
const OUTER: usize = 20 + 8 + 8;
const ETHERNET: usize = 14;
const WIDE: usize = 9216;
/// A station behind the tunnel that a static neighbour names.
const FAR: &str = "10.0.10.77";

/// A tunnel from VLAN 10 to the host on swp8, and that station.
fn with_tunnel(document: &str) -> String {
    format!(
        "{document}\n[vxlans.tunnel]\nvni = 5010\nvlan = 10\nlocal = \"198.51.100.1\"\nremotes = [\"10.0.8.2\"]\n\
         \n[[neighbours]]\naddress = \"{FAR}\"\nmac = \"02:aa:00:00:00:77\"\ndev = \"vlan10\"\n"
    )
}

/// The lab's document with wide ports everywhere, but for swp8 where it is to be narrow.
fn wide(lab: &Lab, narrow_way_out: bool) -> Result<String> {
    let mut document = lab.document.clone();
    let mut ports = vec![
        "[ports.\"swp[1-2]\"]\n",
        "[ports.swp7]\n",
        "description = \"trunk\"\n",
        "description = \"native\"\n",
    ];
    if !narrow_way_out {
        ports.push("[ports.swp8]\n");
    }
    for port in ports {
        ensure!(document.contains(port), "the lab's document lacks {port:?}");
        document = document.replace(port, &format!("{port}mtu = {WIDE}\n"));
    }
    Ok(with_tunnel(&document))
}

fn wide_and_narrow(lab: &Lab, _: &Run) -> Result<String> {
    with_document(lab, &wide(lab, false)?, || {
        let remote = on_routed_port(lab, 8, None)?;
        resolved(&remote, 8)?;
        let near = Sender::new(lab, 7, "swp7", on_routed_port(lab, 7, None)?)?;
        near.passed_by()?;
        let wire = lab.vm.wire(8)?;
        // A frame of 4000 bytes in the VLAN, as one packet of 36 bytes more.
        let payload = fresh_payload("wide");
        let capture = wire.capture_text(&payload);
        let mut inner = frame(Mac::of_host(1), Mac::of_host(777), None, &payload);
        inner.resize(4000, 0);
        eventually("a wide frame leaves by the tunnel", SOON, || {
            lab.vm.wire(1)?.send(&inner);
            let packet =
                capture.next_before(Instant::now() + Duration::from_secs(2)).context("nothing came")?;
            ensure!(packet.bytes.len() == ETHERNET + OUTER + 4000, "it has {} bytes", packet.bytes.len());
            ensure!(packet.bytes[20..22] == [0x40, 0], "it is a fragment: {:02x?}", &packet.bytes[20..22]);
            Ok(())
        })?;
        // And one that is routed into the VLAN, which must not be cut.
        let payload = fresh_payload("routed");
        let capture = wire.capture_text(&payload);
        near.send(&near.packet(FAR)?.dont_fragment().payload(&payload).padded_to(4000))?;
        let packet = capture.next_before(Instant::now() + SOON).context("a routed packet is lost")?;
        let expected = ETHERNET + OUTER + ETHERNET + 4000;
        ensure!(packet.bytes.len() == expected, "it has {} bytes", packet.bytes.len());
        Ok(())
    })?;
    with_document(lab, &wide(lab, true)?, || {
        let near = Sender::new(lab, 7, "swp7", on_routed_port(lab, 7, None)?)?;
        near.passed_by()?;
        let packet = near.packet(FAR)?.dont_fragment();
        let too_long = |payload: &str| packet.payload(payload).padded_to(4000);
        let told = near.is_told_of("a packet that is too large for the tunnel", too_long, 3, 4)?;
        // The way out takes 1500 bytes, of which the tunnel needs 50 for itself (its inner Ethernet header included).
        ensure!(told.mtu == 1450, "the sender was told {told:?}");
        Ok(())
    })
}

fn every_end(lab: &Lab, _: &Run) -> Result<String> {
    let ends = ["10.0.8.2", "10.0.8.3"];
    let document = wide(lab, false)?;
    let document = document.replace("remotes = [\"10.0.8.2\"]", &format!("remotes = {ends:?}"));
    with_document(lab, &document, || {
        let host = lab.host(8, |config| {
            let config = config.address("10.0.8.2/24").address("10.0.8.3/24");
            config.address("2001:db8:8::2/64")
        })?;
        resolved(&host, 8)?;
        let payload = fresh_payload("ends");
        let mut inner = frame(Mac::of_host(1), Mac::BROADCAST, None, &payload);
        inner.resize(4000, 0);
        let capture = lab.vm.wire(8)?.capture_text(&payload);
        let mut heard = BTreeSet::new();
        eventually("a frame leaves to both ends", SOON, || {
            lab.vm.wire(1)?.send(&inner);
            let deadline = Instant::now() + Duration::from_secs(2);
            while heard.len() < ends.len()
                && let Some(packet) = capture.next_before(deadline)
            {
                ensure!(packet.bytes.len() == ETHERNET + OUTER + 4000, "it has {} bytes", packet.bytes.len());
                let end: [u8; 4] = packet.bytes.get(30..34).context("a short packet")?.try_into()?;
                heard.insert(Ipv4Addr::from(end).to_string());
            }
            ensure!(heard.iter().eq(&ends), "it went to {heard:?}");
            Ok(())
        })
    })
}

fn another_local_address(lab: &Lab, _: &Run) -> Result<String> {
    let document = with_tunnel(&lab.document);
    let other = changed(
        lab,
        "addresses = [\"198.51.100.1/32\"]",
        "addresses = [\"198.51.100.1/32\", \"198.51.100.9/32\"]",
    )?;
    let other = with_tunnel(&other).replace("local = \"198.51.100.1\"", "local = \"198.51.100.9\"");
    with_document(lab, &document, || {
        let remote = on_routed_port(lab, 8, None)?;
        resolved(&remote, 8)?;
        let speaks_as = |last: u8| {
            let payload = fresh_payload("local");
            let capture = lab.vm.wire(8)?.capture_text(&payload);
            eventually("a frame leaves by the tunnel", SOON, || {
                lab.vm.wire(1)?.send(&frame(Mac::of_host(1), Mac::BROADCAST, None, &payload));
                let packet =
                    capture.next_before(Instant::now() + Duration::from_secs(2)).context("nothing came")?;
                let source = packet.bytes.get(26..30).context("a short packet")?;
                ensure!(source == [198, 51, 100, last], "it comes from {source:?}");
                Ok(())
            })
        };
        speaks_as(1)?;
        lab.apply_ok(&other)?;
        speaks_as(9)?;
        lab.apply_ok(&document)?;
        speaks_as(1)
    })
}
