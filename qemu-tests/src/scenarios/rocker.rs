//! Ports of the emulated ASIC.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Frame, Mac};

use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new("ports of the ASIC have their names and are bridged", Topology::Rocker, named_and_bridged)
        .takes(33),
    Scenario::new("static forwarding entries are offloaded to the ASIC", Topology::Rocker, fdb_offloaded),
    Scenario::new(
        "IPv4 routes over routed ports are offloaded to the ASIC",
        Topology::Rocker,
        routes_offloaded,
    ),
    Scenario::new(
        "tagged frames cross the ASIC without the switch's processor",
        Topology::Rocker,
        frames_cross_in_hardware,
    ),
];

/// Frames sent to tell the ways apart.
const FRAMES: u64 = 1000;

fn named_and_bridged(lab: &Lab, _: &Run) -> Result<String> {
    for number in 1..=4 {
        let port = lab.port(&format!("swp{number}"))?;
        ensure!(port["driver"] == "rocker", "swp{number} is no port of the ASIC: {port}");
        ensure!(
            port["switch_id"].as_str().is_some_and(|id| !id.is_empty()),
            "swp{number} has no ASIC: {port}"
        );
        let name = lab.vm.run(&format!("cat /sys/class/net/swp{number}/phys_port_name"))?;
        ensure!(name.trim().ends_with(&format!("p{number}")), "swp{number} is the ASIC's {name}");
    }
    for number in 1..=2 {
        let port = lab.port(&format!("swp{number}"))?;
        ensure!(port["hardware"] == "offloaded", "the ASIC does not forward for swp{number}: {port}");
        ensure!(port["tagged_vlans"][0]["first"] == 10, "swp{number} does not carry VLAN 10: {port}");
        lab.vm.run(&format!("test -e /sys/class/net/swp{number}/brport"))?;
    }
    Ok(String::new())
}

fn fdb_offloaded(lab: &Lab, _: &Run) -> Result<String> {
    eventually("static entries are offloaded", Duration::from_secs(20), || {
        let fdb = lab.show("fdb")?;
        for number in 1..=2 {
            let mac = Mac::of_host(number).to_string();
            let entry = fdb.iter().find(|entry| entry["mac"] == mac.as_str() && entry["vlan_id"] == 10);
            let entry = entry.with_context(|| format!("no entry for {mac}"))?;
            ensure!(
                entry["port"] == format!("swp{number}").as_str()
                    && entry["kind"] == "static"
                    && entry["hardware"] == "offloaded",
                "{entry}"
            );
        }
        Ok(())
    })?;
    Ok(String::new())
}

fn routes_offloaded(lab: &Lab, _: &Run) -> Result<String> {
    let gateway = lab.host(4, |config| {
        config.address("10.0.4.2/24").address("10.99.0.1/24").gateway(std::net::Ipv4Addr::new(10, 0, 4, 1))
    })?;
    let other =
        lab.host(3, |config| config.address("10.0.3.2/24").gateway(std::net::Ipv4Addr::new(10, 0, 3, 1)))?;
    gateway.ping_until_answered("10.0.4.1".parse()?, Duration::from_secs(20))?;
    other.ping_until_answered("10.0.3.1".parse()?, Duration::from_secs(20))?;
    // Only now that the next hop is resolved: while it is not, the kernel's driver drops its entry after a
    // few seconds and leaves a route in the device that leads nowhere.
    let route = "\n[[routes]]\nprefix = \"10.99.0.0/24\"\nvia = [\"10.0.4.2\"]\n";
    lab.with_document(&(lab.document.clone() + route), || {
        other
            .ping_until_answered("10.99.0.1".parse()?, Duration::from_secs(20))
            .with_context(|| device_routes(lab).unwrap_or_else(|error| error.to_string()))?;
        eventually("routes are offloaded", Duration::from_secs(20), || {
            let routes = lab.show("routes")?;
            for prefix in ["10.99.0.0/24", "10.0.3.0/24", "10.0.4.0/24"] {
                let route = routes.iter().find(|route| route["prefix"] == prefix);
                let route = route.with_context(|| format!("no route to {prefix}"))?;
                ensure!(route["hardware"] == "offloaded", "{route}");
            }
            Ok(())
        })
    })?;
    Ok(String::new())
}

/// Tables of the device behind routing, for error messages: its IPv4 routes, its next hops.
fn device_routes(lab: &Lab) -> Result<String> {
    let mut text = lab.vm.sh("corten show routes; corten show neighbours")?.text;
    for (command, table) in [
        ("query-rocker-of-dpa-flows", serde_json::json!({ "name": "sw1", "tbl-id": 30 })),
        ("query-rocker-of-dpa-groups", serde_json::json!({ "name": "sw1", "type": 2 })),
    ] {
        let rows = lab.vm.qmp().execute_with(command, table)?;
        for row in rows.as_array().into_iter().flatten() {
            text += &format!("{row}\n");
        }
    }
    Ok(text)
}

/// Packets the guest's processor received on a port. The driver counts only what the ASIC handed up.
fn received_by_processor(lab: &Lab, port: u16) -> Result<u64> {
    let text = lab.vm.run(&format!("cat /sys/class/net/swp{port}/statistics/rx_packets"))?;
    text.trim().parse().with_context(|| format!("the counter of swp{port} reads {text:?}"))
}

fn frames_cross_in_hardware(lab: &Lab, _: &Run) -> Result<String> {
    // First that the counter tells: a broadcast is for the processor, too.
    let before = received_by_processor(lab, 1)?;
    let (from, to) = (lab.vm.wire(1)?, lab.vm.wire(2)?);
    let payload = fresh_payload("up");
    for _ in 0..20 {
        from.send(&Frame::new(Mac::of_host(1), Mac::BROADCAST).vlan(10).payload(&payload).build());
    }
    eventually("the processor counts broadcasts", Duration::from_secs(10), || {
        let count = received_by_processor(lab, 1)?.saturating_sub(before);
        ensure!(count >= 20, "it counted {count} of 20, so the counter shows nothing");
        Ok(())
    })?;

    let payload = fresh_payload("hardware");
    let capture = to.capture_text(&payload);
    let before = (received_by_processor(lab, 1)?, received_by_processor(lab, 2)?);
    for _ in 0..FRAMES {
        let frame = Frame::new(Mac::of_host(1), Mac::of_host(2)).vlan(10).payload(&payload).build();
        ensure!(from.send(&frame), "the machine did not take a frame");
    }
    for count in 0..FRAMES {
        let captured = capture
            .wait_for("tagged frame", Duration::from_secs(5), |view| view.carries(&payload))
            .with_context(|| format!("{count} of {FRAMES} frames crossed"))?;
        let tag = captured.view().and_then(|view| view.vlan_id);
        ensure!(tag == Some(10), "a frame came out with tag {tag:?}");
    }
    let after = (received_by_processor(lab, 1)?, received_by_processor(lab, 2)?);
    let seen = (after.0 - before.0) + (after.1 - before.1);
    ensure!(seen <= FRAMES / 100, "the processor received {seen} packets while {FRAMES} crossed");
    Ok(format!("{FRAMES} frames crossed, the processor received {seen} packets meanwhile"))
}
