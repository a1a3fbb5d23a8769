//! VRFs: routes of their own.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use qemu_tests::host::HostConfig;

use super::objects::with_document;
use super::sender::{SOON, Sender, resolved, route};
use crate::lab::{Lab, Topology, USER, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new("two VRFs have the same prefixes and never meet", Topology::Switch, vrfs_are_apart)
        .takes(16),
    Scenario::new(
        "a host with an address that the switch has in another VRF is reached",
        Topology::Switch,
        local_addresses_are_of_one_vrf,
    )
    .takes(16),
    Scenario::new(
        "a port with the address of whoever manages the switch locks nobody out",
        Topology::Switch,
        management_is_apart,
    )
    .takes(12),
];

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

/// VRF blue on swp7 and swp8, and in the default VRF what are hosts' addresses in blue: that of the host on swp8, and
/// that of a loopback to which blue has a route.
fn local_addresses_are_of_one_vrf(lab: &Lab, _: &Run) -> Result<String> {
    let (document, _) = lab.document.split_once("[[routes]]").context("the lab has no routes")?;
    let mut document = document.to_owned();
    for (from, to) in [
        ("[ports.swp7]\n", "[ports.swp7]\nvrf = \"blue\"\n"),
        ("[ports.swp8]\n", "[ports.swp8]\nvrf = \"blue\"\n"),
        (
            "description = \"pulled\"\nvlan.access = 60\n",
            "addresses = [\"10.0.8.2/24\", \"2001:db8:8::2/64\"]\n",
        ),
    ] {
        ensure!(document.contains(from), "the lab's document lacks {from:?}");
        document = document.replace(from, to);
    }
    document += "[vrfs.blue]\ntable = 1001\n";
    document += &route("198.51.100.1/32", "via = [\"10.0.8.2\"]\nvrf = \"blue\"");
    with_document(lab, &document, || {
        let like = |port: u16| {
            let [v4, v6] = [format!("10.0.{port}."), format!("2001:db8:{port}::")];
            let gateways: [IpAddr; 2] = [format!("{v4}1").parse()?, format!("{v6}1").parse()?];
            lab.host(port, |config| {
                let config = config.address(&format!("{v4}2/24")).address(&format!("{v6}2/64"));
                gateways.into_iter().fold(config, HostConfig::gateway)
            })
        };
        let (near, far) = (like(7)?, like(8)?);
        resolved(&near, 7)?;
        resolved(&far, 8)?;
        let sender = Sender::new(lab, 7, "swp7", near)?;
        for to in ["10.0.8.2", "2001:db8:8::2", "198.51.100.1"] {
            sender.goes_to(to, 8, &far)?;
            let payload = fresh_payload("hops");
            let capture = lab.vm.wire(8)?.capture_text(&payload);
            sender.send(&sender.packet(to)?.hop_limit(64).payload(&payload))?;
            let came = capture.wait_for("packet of 64 hops", SOON, |view| view.carries(&payload))?;
            let view = came.view().context("a captured frame is too short")?;
            let hops = view.payload[if to.contains(':') { 7 } else { 8 }];
            ensure!(hops == 63, "a packet to {to} of 64 hops had {hops} left behind one router");
        }
        // What the far host answers comes back.
        sender.host.ping_all_answered("10.0.8.2".parse()?, 2)?;
        sender.host.ping_all_answered("2001:db8:8::2".parse()?, 2)?;
        // The other way around: blue's address is none of the default VRF, which has no route to it.
        let default = Sender::in_vlan_10(lab, 1)?;
        for (to, kind) in [("10.0.7.1", 3), ("2001:db8:7::1", 1)] {
            default.is_told(&format!("a packet to {to} of VRF blue"), &default.packet(to)?, kind, 0)?;
        }
        Ok(())
    })
}

/// QEMU's own address on the management network, from which all sessions come, and the switch's own there.
const MANAGEMENT: [&str; 2] = ["10.0.2.2", "10.0.2.15"];

fn management_is_apart(lab: &Lab, _: &Run) -> Result<String> {
    let from = "description = \"pulled\"\nvlan.access = 60\n";
    ensure!(lab.document.contains(from), "the lab's document lacks {from:?}");
    ensure!(lab.document.contains("vrf = \"mgmt\""), "the management port is in no VRF");
    let [manager, own] = MANAGEMENT;
    let shown = lab.vm.run("/usr/bin/ip -4 -o address show mgmt0")?;
    ensure!(shown.contains(&format!(" {own}/")), "the switch is managed by another address: {shown}");
    for address in MANAGEMENT {
        let document = lab.document.replace(from, &format!("addresses = [\"{address}/24\"]\n"));
        with_document(lab, &document, || {
            let way = lab.vm.run(&format!("/usr/bin/ip route get {manager} vrf mgmt"))?;
            ensure!(way.contains("dev mgmt0") && !way.starts_with("local"), "in VRF mgmt: {way}");
            for _ in 0..2 {
                let session = lab.ssh(USER, "show ports swp11")?;
                let text = String::from_utf8_lossy(&session.stdout).into_owned();
                ensure!(session.status.success() && text.contains("swp11"), "no session: {session:?}");
            }
            Ok(())
        })
        .with_context(|| format!("with {address} on swp11"))?;
    }
    Ok(String::new())
}
