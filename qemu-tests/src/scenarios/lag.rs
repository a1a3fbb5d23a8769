//! LAGs that negotiate: members come, fail and fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::lacp::Partner;
use qemu_tests::packet::Packet;
use serde_json::Value;

use super::bridge::mac_of;
use super::flows::{settled, used, ways};
use super::frames::{At, cross_once};
use super::objects::{lag_document, with_document};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 5] = [
    Scenario::new(
        "an LACP LAG spreads flows over its members, survives one that fails or falls silent, and shows it",
        Topology::Switch,
        lacp_with_a_partner,
    )
    .waits()
    .takes(32),
    Scenario::new(
        "a LAG keeps its address and LACP system whatever its members, and these have their own again",
        Topology::Switch,
        keeps_its_address,
    ),
    Scenario::new(
        "a LAG chooses among members that differ as the document says, and as usual without a word",
        Topology::Switch,
        chooses_members,
    ),
    Scenario::new(
        "a change that needs a LACP partner is done at once, and says that it waits for one",
        Topology::Switch,
        pending_on_the_partner,
    )
    .waits()
    .takes(20),
    Scenario::new(
        "of two LACP partners the one by the faster members is chosen when bandwidth decides",
        Topology::Switch,
        faster_partner,
    )
    .waits()
    .takes(20),
];

/// A partner that is silent for three times the fast interval is gone; agreeing anew takes a few more.
const SOON: Duration = Duration::from_secs(30);
const MEMBERS: [u16; 2] = [11, 12];
/// How often all flows are sent once they leave as they should.
const STEADY: usize = 3;

/// A LAG of swp11 and swp12. LACP runs only where the kernel knows that both directions work at once, which virtio does
/// not tell.
fn negotiating(lab: &Lab) -> Result<String> {
    let document =
        lag_document(lab, "lacp")?.replace("mode = \"lacp\"\n", "mode = \"lacp\"\nlacp-rate = \"fast\"\n");
    Ok(document + "\n[ports.\"swp[11-12]\"]\nautoneg = false\nspeed = \"10G\"\nduplex = \"full\"\n")
}

fn lacp_with_a_partner(lab: &Lab, _: &Run) -> Result<String> {
    let mut detail = String::new();
    with_document(lab, &negotiating(lab)?, || {
        let wires = [lab.vm.wire(11)?.clone(), lab.vm.wire(12)?.clone()];
        let partner = Partner::start(&wires, Mac::of_host(600))?;
        all_members(lab, &partner)?;
        shows(lab, &MEMBERS)?;
        detail += &format!("{:?} flows by each of swp11 and swp12\n", counts(&by_members(lab)?));
        // What comes in by either member comes out in the VLAN, once.
        for member in MEMBERS {
            cross_once(lab, At(member, None), At(3, None))?;
        }
        for (index, failed) in MEMBERS.into_iter().enumerate() {
            let other = MEMBERS[1 - index];
            lab.vm.set_link(failed, false)?;
            let outcome = leave_once_by(lab, &[other]).and_then(|()| shows(lab, &[other]));
            let outcome = outcome.with_context(|| format!("with swp{failed} pulled"));
            lab.vm.set_link(failed, true)?;
            outcome?;
            all_members(lab, &partner).with_context(|| format!("with swp{failed} plugged in again"))?;
        }
        // The carrier stays: only LACP can tell that nobody is there.
        partner.silence(0, true);
        let outcome = leave_once_by(lab, &[12]).and_then(|()| shows(lab, &[12]));
        let outcome = outcome.context("with a silent partner on swp11");
        let port = lab.port("swp11")?;
        partner.silence(0, false);
        outcome?;
        ensure!(port["oper_state"] == "up", "the silent member has no carrier: {port}");
        all_members(lab, &partner).context("with the partner speaking again")
    })?;
    Ok(detail)
}

fn keeps_its_address(lab: &Lab, _: &Run) -> Result<String> {
    let both = lag_document(lab, "lacp")?;
    let of = |members: &str| both.replace("[\"swp11\", \"swp12\"]", members);
    let system = || lab.vm.run("cat /sys/class/net/bundle/bonding/ad_actor_system");
    let mut known: Option<Mac> = None;
    for members in [&["swp12"][..], &["swp11"], &["swp12", "swp11"], &["swp11"]] {
        lab.with_document(&of(&format!("{members:?}")), || {
            let lag = mac_of(lab, "bundle")?;
            ensure!(*known.get_or_insert(lag) == lag, "with {members:?} it has {lag}, and had {known:?}");
            ensure!(system()?.trim() == lag.to_string(), "with {members:?} its system is {}", system()?);
            for number in MEMBERS {
                let (name, own) = (format!("swp{number}"), lab.vm.port_mac(number));
                let expected = if members.contains(&name.as_str()) { lag } else { own };
                let found = mac_of(lab, &name)?;
                ensure!(found == expected, "with {members:?} {name} has {found} instead of {expected}");
            }
            // What somebody who boots with this document has.
            lab.vm.run("systemctl restart netd.service")?;
            lab.wait_for_netd(SOON)?;
            ensure!(mac_of(lab, "bundle")? == lag, "a netd that was started anew gives it another address");
            Ok(())
        })?;
    }
    for number in MEMBERS {
        let (found, own) = (mac_of(lab, &format!("swp{number}"))?, lab.vm.port_mac(number));
        ensure!(found == own, "without a LAG swp{number} has {found} instead of {own}");
    }
    Ok(format!("{known:?}"))
}

fn faster_partner(lab: &Lab, _: &Run) -> Result<String> {
    let document =
        negotiating(lab)?.replace("mode = \"lacp\"\n", "mode = \"lacp\"\nlacp-select = \"bandwidth\"\n");
    let both = "[ports.\"swp[11-12]\"]\nautoneg = false\nspeed = \"10G\"\nduplex = \"full\"\n";
    ensure!(document.contains(both), "the members have other speeds");
    for (fast, slow) in [(11, 12), (12, 11)] {
        let of = |port: u16, speed: &str| {
            format!("[ports.swp{port}]\nautoneg = false\nspeed = \"{speed}\"\nduplex = \"full\"\n")
        };
        let document = document.replace(both, &(of(fast, "10G") + &of(slow, "1G")));
        with_document(lab, &document, || {
            let partner = |port: u16| Partner::start(&[lab.vm.wire(port)?.clone()], Mac::of_host(600 + port));
            let (_slower, faster) = (partner(slow)?, partner(fast)?);
            let chosen = Mac::of_host(600 + fast).to_string();
            eventually("the faster partner is chosen", 3 * SOON, || {
                let lags: Value = serde_json::from_str(&lab.vm.run("corten show lags --json")?)?;
                ensure!(lags[0]["partner"] == chosen, "another partner: {lags}");
                // Until both sides have heard of it, the member carries now and then.
                ensure!(faster.agreed() == BTreeSet::from([0]), "it has not agreed: {lags}");
                Ok(())
            })?;
            leave_once_by(lab, &[fast])
        })
        .with_context(|| format!("with swp{fast} ten times as fast"))?;
    }
    Ok(String::new())
}

fn chooses_members(lab: &Lab, _: &Run) -> Result<String> {
    let document = lag_document(lab, "lacp")?;
    for (line, expected) in [
        ("lacp-select = \"bandwidth\"\n", "bandwidth 1"),
        ("lacp-select = \"count\"\nlacp-rate = \"fast\"\n", "count 2"),
        ("", "stable 0"),
    ] {
        let document = document.replace("mode = \"lacp\"\n", &format!("mode = \"lacp\"\n{line}"));
        lab.with_document(&document, || {
            let shown = lab.vm.run("cat /sys/class/net/bundle/bonding/ad_select")?;
            ensure!(shown.trim() == expected, "with {line:?} it is {shown}");
            lab.is_well()
        })?;
    }
    Ok(String::new())
}

fn pending_on_the_partner(lab: &Lab, _: &Run) -> Result<String> {
    let of_bundle = || -> Result<BTreeMap<String, Value>> {
        let shown: Value = serde_json::from_str(&lab.vm.run("corten show pending --json")?)?;
        let rows = shown["pending"].as_array().into_iter().flatten();
        let rows = rows.filter(|row| row["object"] == "bundle" || row["lag"] == "bundle");
        Ok(rows.map(|row| (row["object"].as_str().unwrap_or_default().to_owned(), row.clone())).collect())
    };
    lab.restoring(|| {
        lab.write_file("/run/corten-test.toml", &negotiating(lab)?)?;
        let said = lab.vm.run("corten apply /run/corten-test.toml")?;
        let lines = said.lines().skip_while(|line| !line.starts_with("Pending, as others"));
        // Without a partner the kernel uses one member.
        let told = lines.filter(|line| line.contains("  in bundle: ")).count();
        ensure!((1..=MEMBERS.len()).contains(&told), "no member is told of: {said}");
        eventually("the other member is known to hear nobody", SOON, || {
            let rows = of_bundle()?;
            let row = rows.values().next().filter(|_| rows.len() == 1);
            let row = row.with_context(|| format!("not one member: {rows:?}"))?;
            ensure!(row["reason"] == "hears no LACP partner" && row["changed"] == true, "{row}");
            Ok(())
        })?;
        let wires = [lab.vm.wire(11)?.clone(), lab.vm.wire(12)?.clone()];
        let partner = Partner::start(&wires, Mac::of_host(600))?;
        all_members(lab, &partner)?;
        eventually("nothing of the LAG is pending", SOON, || {
            let rows = of_bundle()?;
            ensure!(rows.is_empty(), "{rows:?}");
            Ok(())
        })?;
        Ok(String::new())
    })
}

/// Waits until both sides use both members. A side that has not heard the other when it spoke first hears it again
/// after 30 seconds (IEEE 802.1AX, Slow_Periodic_Time).
fn all_members(lab: &Lab, partner: &Partner) -> Result<()> {
    eventually("both members are agreed on", 3 * SOON, || {
        let agreed = partner.agreed();
        ensure!(agreed == BTreeSet::from([0, 1]), "the switch uses members {agreed:?}");
        Ok(())
    })?;
    leave_once_by(lab, &MEMBERS)
}

/// `corten show lags` has the partner, and these members as those that frames go through.
fn shows(lab: &Lab, active: &[u16]) -> Result<()> {
    eventually("the LAG shows which members it uses", SOON, || {
        let lags: Value = serde_json::from_str(&lab.vm.run("corten show lags --json")?)?;
        let lag = &lags[0];
        ensure!(lag["partner"] == Mac::of_host(600).to_string(), "another partner: {lags}");
        let members = lag["members"].as_array().context("no members")?;
        let used = members.iter().filter(|member| member["active"] == true).map(|member| &member["port"]);
        let expected = active.iter().map(|port| Value::from(format!("swp{port}")));
        ensure!(used.cloned().eq(expected), "other members are used: {lags}");
        let line = format!("{}/{} active", active.len(), MEMBERS.len());
        let table = lab.vm.run("corten show lags")?;
        ensure!(table.contains(&line), "no {line:?}:\n{table}");
        Ok(())
    })
}

/// Waits until flows leave by these members and no other. From then on each packet does, once.
pub(super) fn leave_once_by(lab: &Lab, members: &[u16]) -> Result<()> {
    let expected: BTreeSet<u16> = members.iter().copied().collect();
    let check = || {
        let used = used(&by_members(lab)?);
        ensure!(used == expected, "flows leave by {used:?} instead of {expected:?}");
        Ok(())
    };
    settled("flows leave by the members there are", SOON, check)?;
    (0..STEADY).try_for_each(|_| check()).context("once they did")
}

fn counts(ways: &BTreeMap<u16, u16>) -> [usize; 2] {
    MEMBERS.map(|member| ways.values().filter(|way| **way == member).count())
}

/// By which member each of many flows from swp3 leaves.
pub(super) fn by_members(lab: &Lab) -> Result<BTreeMap<u16, u16>> {
    ways(lab, MEMBERS, |flow, payload| {
        let packet = Packet::udp("10.0.20.103".parse()?, "10.0.20.200".parse()?).from_port(20_000 + flow);
        // To a station whose place is not known: the frame leaves by every port of the VLAN, the LAG among them.
        let frame = packet.payload(payload).frame(Mac::of_host(3), Mac::of_host(650))?;
        ensure!(lab.vm.wire(3)?.send(&frame.build()), "the machine did not take a frame");
        Ok(())
    })
}
