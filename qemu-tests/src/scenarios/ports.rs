//! Ports themselves: speed and duplex, states, hardware addresses.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::machine;
use qemu_tests::tools::USE;
use serde_json::Value;

use super::bridge::mac_of;
use super::frames::{At, cross};
use super::objects::{changed, with_document};
use super::reach::reaches;
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::new("speed and duplex settle as the document says", Topology::Switch, speed_and_duplex)
        .takes(31),
    Scenario::new(
        "a port that negotiates offers the one speed the document names, and all again without it",
        Topology::Netdevsim,
        one_speed_is_offered,
    ),
    Scenario::new(
        "what a driver refuses is told in its words, at its line, and nothing changes",
        Topology::Switch,
        driver_refuses,
    )
    .takes(13),
    Scenario::new(
        "a pulled cable shows in the port's state and stops its frames, and so does its end",
        Topology::Switch,
        pulled_cable,
    ),
    Scenario::new("a port that is not enabled is down and carries nothing", Topology::Switch, disabled_port),
    Scenario::new(
        "a custom hardware address is the one that frames go to and come from, until it is unset",
        Topology::Switch,
        custom_mac,
    ),
];

const SOON: Duration = Duration::from_secs(20);
const CUSTOM: &str = "02:aa:00:00:00:07";

/// The lab's document with more keys for swp1 and swp2.
fn with_keys(lab: &Lab, keys: &str) -> Result<String> {
    let section = "[ports.\"swp[1-2]\"]\nvlan.access = 10\n";
    changed(lab, section, &format!("{section}{keys}"))
}

fn speed_and_duplex(lab: &Lab, _: &Run) -> Result<String> {
    for (speed, duplex, mbps) in [("1G", "full", 1_000), ("100M", "half", 100), ("25G", "full", 25_000)] {
        let keys = format!("autoneg = false\nspeed = \"{speed}\"\nduplex = \"{duplex}\"\n");
        with_document(lab, &with_keys(lab, &keys)?, || {
            for name in ["swp1", "swp2"] {
                let port = lab.port(name)?;
                ensure!(port["speed_mbps"] == mbps && port["duplex"] == duplex, "{name}: {port}");
            }
            // Not only told: frames go on.
            eventually("frames cross", SOON, || cross(lab, At(1, None), At(2, None), Mac::BROADCAST))?;
            reaches(lab, At(2, None), Mac::of_host(2), Mac::BROADCAST, &[1, 5, 6])
        })?;
    }
    Ok(String::new())
}

fn driver_refuses(lab: &Lab, _: &Run) -> Result<String> {
    let mut told = String::new();
    for (keys, words) in
        [("fec = \"rs\"\n", "Operation not supported"), ("autoneg = true\n", "link settings update failed")]
    {
        let document = with_keys(lab, &format!("description = \"refused\"\n{keys}"))?;
        let line = document.lines().position(|line| keys.starts_with(line) && !line.is_empty());
        let line = line.context("the document lacks the key")? + 1;
        let before = lab.visible_state()?;
        let output = lab.apply(&document)?;
        let text = output.text;
        ensure!(output.status == 1, "{keys:?} was taken by a driver that has nothing of the kind: {text}");
        ensure!(text.contains("swp1"), "the error does not name the port: {text}");
        ensure!(text.contains(&format!("line {line}: swp")), "the error does not say line {line}: {text}");
        ensure!(text.contains(words), "the error lacks the driver's words, {words:?}: {text}");
        ensure!(lab.visible_state()? == before, "a refused change left something behind");
        // Who tried it, and why it did not come about, is in the log, too.
        let log = lab.vm.run("journalctl -b -u netd --no-pager -o cat -n 20")?;
        let logged =
            |line: &str| line.contains("configuration not applied") && line.contains("user=\"root\"");
        ensure!(
            log.lines().any(|line| line.contains("ERROR") && logged(line) && line.contains(words)),
            "the refusal is not in the log: {log}"
        );
        told += text.lines().find(|line| line.contains("swp1")).unwrap_or_default();
        told += "\n";
    }
    Ok(told)
}

/// Waits until a port is shown with these states.
fn shown(lab: &Lab, name: &str, admin_up: bool, oper_state: &str) -> Result<Value> {
    eventually(&format!("{name} is {oper_state}"), SOON, || {
        let port = lab.port(name)?;
        ensure!(port["admin_up"] == admin_up && port["oper_state"] == oper_state, "{port}");
        Ok(port)
    })
}

fn pulled_cable(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.set_link(2, false)?;
    let outcome = shown(lab, "swp2", true, "down").and_then(|port| {
        ensure!(port["wanted_up"] == true, "a pulled cable changed what is wanted: {port}");
        // A frame that is on its way to a pulled port goes nowhere; the others do not suffer.
        let others = || -> Result<()> {
            cross(lab, At(1, None), At(5, Some(10)), Mac::BROADCAST)?;
            cross(lab, At(6, None), At(1, None), Mac::BROADCAST)
        };
        others()?;
        let payload = crate::lab::fresh_payload("pulled");
        let capture = lab.vm.wire(2)?.capture_text(&payload);
        lab.vm.wire(1)?.send(&super::frames::frame(Mac::of_host(1), Mac::BROADCAST, None, &payload));
        others()?;
        ensure!(capture.drain().is_empty(), "a frame left by a port without a cable");
        Ok(())
    });
    lab.vm.set_link(2, true)?;
    outcome?;
    shown(lab, "swp2", true, "up")?;
    eventually("frames cross again", SOON, || cross(lab, At(1, None), At(2, None), Mac::BROADCAST))?;
    routed_port_follows(lab)
}

/// The route of a routed port's own network goes and comes with its link.
fn routed_port_follows(lab: &Lab) -> Result<String> {
    let usable = |wanted: bool| {
        eventually("the network of swp8 follows its link", SOON, || {
            let routes = lab.show("routes")?;
            let route = routes.iter().find(|route| route["prefix"] == "10.0.8.0/24");
            let dead = route.is_none_or(|route| route["next_hops"][0]["dead"] == true);
            ensure!(dead != wanted, "{route:?}");
            Ok(())
        })
    };
    lab.vm.set_link(8, false)?;
    let outcome = shown(lab, "swp8", true, "down").and_then(|_| usable(false));
    lab.vm.set_link(8, true)?;
    outcome?;
    shown(lab, "swp8", true, "up")?;
    usable(true)?;
    Ok(String::new())
}

fn disabled_port(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.replace(
        "[ports.\"swp[1-2]\"]\nvlan.access = 10\n",
        "[ports.swp1]\nvlan.access = 10\n\n[ports.swp2]\nenabled = false\nvlan.access = 10\n",
    );
    ensure!(document != lab.document, "the lab has no swp2");
    with_document(lab, &document, || {
        let port = shown(lab, "swp2", false, "down")?;
        ensure!(port["wanted_up"] == false, "{port}");
        let payload = crate::lab::fresh_payload("disabled");
        let (in_by_it, out_by_it) =
            (lab.vm.wire(1)?.capture_text(&payload), lab.vm.wire(2)?.capture_text(&payload));
        for port in [1, 2] {
            let frame = super::frames::frame(Mac::of_host(port), Mac::BROADCAST, None, &payload);
            // Whether the machine takes a frame for a port that is down is its own business.
            let _ = lab.vm.wire(port)?.try_send(&frame);
        }
        cross(lab, At(1, None), At(5, Some(10)), Mac::BROADCAST)?;
        cross(lab, At(6, None), At(1, None), Mac::BROADCAST)?;
        ensure!(out_by_it.drain().is_empty(), "a frame left by a port that is not enabled");
        ensure!(in_by_it.drain().is_empty(), "a frame came in by a port that is not enabled");
        Ok(())
    })
}

fn custom_mac(lab: &Lab, _: &Run) -> Result<String> {
    let born = mac_of(lab, "swp7")?;
    ensure!(born == lab.vm.port_mac(7), "swp7 has {born} though none is configured");
    let routed = "description = \"routed\"\n";
    let document = changed(lab, routed, &format!("{routed}mac = \"{CUSTOM}\"\n"))?;
    let custom: Mac = CUSTOM.parse()?;
    with_document(lab, &document, || {
        ensure!(lab.port("swp7")?["mac"] == CUSTOM, "`corten show ports` has another address");
        speaks_as(lab, custom)
    })?;
    ensure!(lab.port("swp7")?["mac"] == born.to_string().as_str(), "swp7 has not its own address again");
    speaks_as(lab, born)?;
    Ok(String::new())
}

/// Checks that the switch answers on swp7 from this address, by both families, and hears frames to it alone.
fn speaks_as(lab: &Lab, mac: Mac) -> Result<()> {
    let host = lab.member(7, 7)?;
    let capture = lab.vm.wire(7)?.capture();
    host.ping_until_answered("10.0.7.1".parse()?, SOON)?;
    host.ping_until_answered("2001:db8:7::1".parse()?, SOON)?;
    let mut heard = 0;
    for captured in capture.drain() {
        let view = captured.view().context("a captured frame is too short")?;
        heard += 1;
        if view.source != mac {
            bail!("a frame came from {} instead of {mac}: {view:?}", view.source);
        }
    }
    ensure!(heard >= 4, "{heard} frames are too few for two resolutions and two answers");
    Ok(())
}

/// Whether a port negotiates, and the link modes it offers, as ethtool(8) tells.
fn offered(lab: &Lab, port: &str) -> Result<(bool, Vec<String>)> {
    let text = lab.vm.run(&format!("{USE}ethtool {port}"))?;
    let (_, advertised) = text.split_once("Advertised link modes:").with_context(|| text.clone())?;
    let (modes, rest) = advertised.split_once("Advertised pause").with_context(|| text.clone())?;
    let negotiates = rest.contains("Auto-negotiation: on");
    Ok((negotiates, modes.split_whitespace().map(str::to_owned).collect()))
}

fn one_speed_is_offered(lab: &Lab, _: &Run) -> Result<String> {
    lab.needs_tool("ethtool")?;
    let port = format!("swp{}", machine::NEGOTIATING);
    let all = offered(lab, &port)?;
    ensure!(all.0 && all.1.len() > 3, "before anything was set: {all:?}");
    let named = |keys: &str| format!("{}\n[ports.{port}]\n{keys}", lab.document);
    let check = |expected: (bool, &[&str])| {
        let found = offered(lab, &port)?;
        ensure!(found.0 == expected.0 && found.1 == expected.1, "{found:?} instead of {expected:?}");
        Ok(())
    };
    let as_before = |after: &str| {
        let found = offered(lab, &port)?;
        ensure!(found == all, "after {after}: {found:?} instead of {all:?}");
        Ok(())
    };
    let is_fixed = || {
        ensure!(!offered(lab, &port)?.0, "it negotiates");
        Ok(())
    };
    let (slow, full): (&[&str], &[&str]) = (&["100baseT/Half", "100baseT/Full"], &["100baseT/Full"]);
    for (keys, expected) in [
        ("speed = \"100M\"\n", (true, slow)),
        ("speed = \"100M\"\nduplex = \"full\"\n", (true, full)),
        ("autoneg = true\nspeed = \"100M\"\n", (true, slow)),
    ] {
        lab.with_document(&named(keys), || {
            check(expected).with_context(|| keys.to_owned())?;
            // What somebody else has it offer is drift.
            for other in [
                "speed 10 duplex half autoneg on",
                "speed 100 duplex full autoneg on",
                "advertise 0x2f autoneg on",
            ] {
                lab.vm.run(&format!("{USE}ethtool -s {port} {other}"))?;
                eventually("the offer is repaired", SOON, || check(expected))
                    .with_context(|| format!("{keys}, after {other}"))?;
            }
            // Whoever starts anew finds it as it is wanted, and knows what was before. The driver resets the link
            // at each setting, so it must not be set again.
            let flaps = || {
                eventually("its link is up", SOON, || {
                    let state =
                        lab.vm.run(&format!("cd /sys/class/net/{port}; cat carrier carrier_changes"))?;
                    let (up, changes) = state.trim().split_once('\n').with_context(|| state.clone())?;
                    ensure!(up == "1", "{state}");
                    Ok(changes.to_owned())
                })
            };
            let before = flaps()?;
            lab.vm.run("systemctl restart netd.service")?;
            lab.wait_for_netd(SOON)?;
            check(expected).with_context(|| format!("{keys}, after a restart of netd"))?;
            let after = flaps()?;
            ensure!(before == after, "{keys}: the link changed {before} times, and {after} after a restart");
            Ok(())
        })?;
        as_before(keys)?;
    }
    // The port is down now, so that nothing but the setting itself tells of it.
    lab.vm.run(&format!("{USE}ethtool -s {port} advertise 0x00f autoneg on"))?;
    eventually("a speed that was taken away is offered again", SOON, || as_before("taking one away"))?;
    let fixed = named("autoneg = false\nspeed = \"100M\"\nduplex = \"full\"\n");
    lab.with_document(&fixed, is_fixed)?;
    as_before("a fixed speed")?;
    // From a fixed speed to whatever it is fixed at, or to an offered one: what ran before does not matter.
    lab.with_document(&fixed, || {
        lab.apply_ok(&named("autoneg = false\n"))?;
        is_fixed()?;
        lab.apply_ok(&fixed)?;
        lab.apply_ok(&named("speed = \"100M\"\n"))?;
        check((true, slow))
    })?;
    // One part of it stays while the other goes.
    lab.with_document(&named("speed = \"100M\"\nduplex = \"full\"\n"), || {
        lab.with_document(&named("speed = \"100M\"\n"), || check((true, slow)))
    })?;
    let answer = lab.apply(&named("speed = \"25G\"\n"))?;
    let told = "cannot offer 25000 Mbit/s, only 10 Mbit/s half duplex, 10 Mbit/s full duplex, 100";
    ensure!(answer.status != 0 && answer.text.contains(told), "{}", answer.text);
    // Undone, since the simulated ASIC's port refuses its part of the change.
    let refused = format!("{}\n[ports.swp3]\nspeed = \"100M\"\n", named("speed = \"100M\"\n"));
    let answer = lab.apply(&refused)?;
    ensure!(answer.status != 0, "the simulated port took a speed: {}", answer.text);
    as_before("undoing")?;
    // Whatever somebody had it offer before netd was first to set it is what it offers again.
    replug(lab, &port)?;
    as_before("it was plugged in anew")?;
    lab.vm.run(&format!("{USE}ethtool -s {port} advertise 0x00a autoneg on"))?;
    lab.with_document(&named("speed = \"100M\"\n"), || check((true, slow)))?;
    check((true, &["10baseT/Full", "100baseT/Full"])).context("after some were offered before")?;
    replug(lab, &port)?;
    // The first document that sets it knows what was offered, as every later one does.
    lab.vm.run(&format!("{USE}ethtool -s {port} advertise 0x00e autoneg on"))?;
    lab.with_document(&named("duplex = \"full\"\n"), || {
        check((true, &["10baseT/Full", "100baseT/Full"])).context("one duplex of those offered before")
    })?;
    check((true, &["10baseT/Full", "100baseT/Half", "100baseT/Full"]))?;
    replug(lab, &port)?;
    Ok(all.1.join(" "))
}

/// Takes a port from its driver and gives it back: to netd it is another one.
fn replug(lab: &Lab, port: &str) -> Result<()> {
    let place = format!("/sys/class/net/{port}");
    lab.vm.run(&format!(
        "device=$(readlink -f {place}/device); cd $(readlink -f {place}/device/driver); \
         echo ${{device##*/}} >unbind; echo ${{device##*/}} >bind"
    ))?;
    eventually("the port has its name again", SOON, || lab.vm.run(&format!("ls -d {place}")).map(|_| ()))
}
