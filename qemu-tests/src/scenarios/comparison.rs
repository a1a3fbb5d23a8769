//! What a change cost the network, and changes that confirm themselves if that is nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::Mac;
use serde_json::Value;

use super::frames::frame;
use super::objects::{changed, with_document};
use crate::lab::{Lab, Topology, eventually, fresh_payload};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new(
        "change that cuts a host off tells so, does not confirm itself and is taken back",
        Topology::Switch,
        cut_host,
    )
    .waits()
    .takes(50),
    Scenario::new(
        "change that costs nothing for good confirms itself, though a port bounces",
        Topology::Switch,
        harmless,
    )
    .waits()
    .takes(60),
    Scenario::new(
        "netd that is killed while a change waits still knows what was before it",
        Topology::Switch,
        killed,
    )
    .waits()
    .takes(100),
    Scenario::new(
        "learned addresses that are gone after a change are fewer until they are heard again",
        Topology::Switch,
        fewer_addresses,
    )
    .waits()
    .takes(30),
];

const SOON: Duration = Duration::from_secs(30);
/// A document that is to wait.
const PATH: &str = "/run/corten-test.toml";

/// Forgets the hosts of behaviours before: of those none answers any more. The shell's own ip(8) knows no `fdb_flush`.
fn forget_hosts(lab: &Lab) -> Result<()> {
    lab.vm
        .run("/usr/bin/ip neighbour flush all && /usr/bin/ip link set bridge type bridge fdb_flush")
        .map(drop)
}

/// The lab's document with another text for swp7, which no host notices.
fn renamed(lab: &Lab, name: &str) -> Result<String> {
    changed(lab, "description = \"routed\"", &format!("description = \"{name}\""))
}

/// Applies a document that confirms itself in so many seconds if nothing is lost; what the console says.
fn apply_if_same(lab: &Lab, document: &str, seconds: u32) -> Result<String> {
    lab.write_file(PATH, document)?;
    lab.vm.run(&format!("corten apply {PATH} --confirm {seconds} --if-same"))
}

fn pending(lab: &Lab) -> Result<Value> {
    Ok(serde_json::from_str(&lab.vm.run("corten show pending --json")?)?)
}

/// The comparison of a kind, of the change that waits.
fn compared(lab: &Lab, kind: &str) -> Result<Value> {
    let pending = pending(lab)?;
    let kinds = pending["comparison"]["kinds"].as_array().with_context(|| format!("no kinds: {pending}"))?;
    let row = kinds.iter().find(|row| row["kind"] == kind);
    row.cloned().with_context(|| format!("nothing of {kind}: {pending}"))
}

/// Waits until the comparison of a kind has this verdict.
fn until(lab: &Lab, kind: &str, verdict: &str) -> Result<Value> {
    eventually(&format!("{kind}: {verdict}"), SOON, || {
        let row = compared(lab, kind)?;
        ensure!(row["verdict"] == verdict, "{row}");
        Ok(row)
    })
}

/// Waits until nothing waits; state and reason of the newest generation then.
fn ended(lab: &Lab, within: Duration) -> Result<(String, String)> {
    eventually("the time of the change is up", within, || {
        let pending = pending(lab)?;
        ensure!(pending.is_null(), "it waits still: {pending}");
        Ok(())
    })?;
    let history: Vec<Value> = serde_json::from_str(&lab.vm.run("corten history --json")?)?;
    let newest = history.first().context("no history")?;
    let text = |field: &str| newest[field].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("reason")))
}

fn startup_has(lab: &Lab, text: &str) -> Result<bool> {
    Ok(lab.vm.run("cat /var/lib/corten/netd/startup.toml")?.contains(text))
}

fn cut_host(lab: &Lab, _: &Run) -> Result<String> {
    forget_hosts(lab)?;
    let (cut, other) = (lab.member(1, 10)?, lab.member(3, 20)?);
    for host in [&cut, &other] {
        lab.vm.run(&format!("corten ping {} --count 2", host.ip(false)?))?;
        lab.vm.run(&format!("corten ping {} --count 2", host.ip(true)?))?;
    }
    let document = changed(
        lab,
        "[ports.\"swp[1-2]\"]\nvlan.access = 10\n",
        "[ports.swp1]\nvlan.access = 20\n\n[ports.swp2]\nvlan.access = 10\n",
    )?;
    let said = apply_if_same(lab, &document, 30)?;
    let address = cut.ip(false)?.to_string();
    let lost = |text: &str| {
        text.lines().any(|line| line.starts_with(" lost ") && line.contains(&format!("vlan10 {address}")))
    };
    ensure!(lost(&said), "the console does not tell that {address} is lost:\n{said}");
    ensure!(said.contains("It confirms itself at "), "it does not say that it confirms itself:\n{said}");
    let shown = lab.vm.run("corten show pending")?;
    ensure!(lost(&shown), "`show pending` does not tell it:\n{shown}");
    let row = compared(lab, "neighbour")?;
    let differences = row["differences"].to_string();
    let still = format!("vlan20 {}", other.ip(false)?);
    ensure!(!differences.contains(&still), "a host that answers is lost: {row}");
    ensure!(compared(lab, "port")?["verdict"] == "same", "a port is lost: {}", compared(lab, "port")?);
    let (state, reason) = ended(lab, 2 * SOON)?;
    ensure!(state == "rolled-back", "it is {state}: {reason}");
    ensure!(
        reason.starts_with("it did not confirm itself: ") && reason.contains("lost neighbour vlan10 "),
        "the history says {reason}"
    );
    eventually("the host is reached again", SOON, || {
        lab.vm.run(&format!("corten ping {address} --count 1"))
    })?;
    Ok(String::new())
}

fn harmless(lab: &Lab, _: &Run) -> Result<String> {
    lab.restoring(|| {
        forget_hosts(lab)?;
        let host = lab.member(1, 10)?;
        lab.vm.run(&format!("corten ping {} --count 2", host.ip(false)?))?;
        let said = apply_if_same(lab, &renamed(lab, "harmless")?, 40)?;
        // A verdict begins its line.
        let has = |verdict: &str| said.lines().any(|line| line.split_whitespace().next() == Some(verdict));
        ensure!(has("same") && !has("lost") && !has("fewer"), "something is lost:\n{said}");
        let routes = compared(lab, "default-route")?;
        ensure!(routes["objects"].as_u64() >= Some(1), "that of the management VRF is not seen: {routes}");
        lab.vm.set_link(2, false)?;
        let lost = until(lab, "port", "lost");
        lab.vm.set_link(2, true)?;
        let lost = lost?;
        ensure!(lost["differences"][0]["object"] == "swp2", "{lost}");
        until(lab, "port", "same")?;
        ensure!(!startup_has(lab, "harmless")?, "it is confirmed before its time is up");
        let (state, reason) = ended(lab, 2 * SOON)?;
        ensure!(state == "running", "it is {state}: {reason}");
        ensure!(startup_has(lab, "harmless")?, "a reboot would take it back");
        Ok(())
    })?;
    Ok(String::new())
}

fn killed(lab: &Lab, _: &Run) -> Result<String> {
    lab.restoring(|| {
        forget_hosts(lab)?;
        apply_if_same(lab, &renamed(lab, "killed")?, 40)?;
        lab.vm.run("kill -9 $(systemctl show -p MainPID --value netd.service)")?;
        // What goes meanwhile was there before the change.
        lab.vm.set_link(2, false)?;
        let outcome = lab.wait_for_netd(SOON).and_then(|()| until(lab, "port", "lost"));
        lab.vm.set_link(2, true)?;
        let lost = outcome?;
        ensure!(lost["differences"][0]["object"] == "swp2" && lost["lost"] == 1, "{lost}");
        until(lab, "port", "same")?;
        let (state, reason) = ended(lab, 2 * SOON)?;
        ensure!(state == "running", "it is {state}: {reason}");
        // Without its record nothing is the same.
        apply_if_same(lab, &renamed(lab, "lost record")?, 40)?;
        lab.vm.run(
            "rm /run/corten/comparison.json; kill -9 $(systemctl show -p MainPID --value netd.service)",
        )?;
        lab.wait_for_netd(SOON)?;
        let pending = pending(lab)?;
        ensure!(pending["comparison"]["progress"] == "not-recorded", "{pending}");
        let (state, reason) = ended(lab, 2 * SOON)?;
        ensure!(state == "rolled-back" && reason.contains("is not recorded"), "it is {state}: {reason}");
        Ok(())
    })?;
    Ok(String::new())
}

/// Hosts on each of two ports.
const ADDRESSES: u16 = 20;

/// Has hosts of numbers of their own be heard on a port.
fn heard(lab: &Lab, port: u16) -> Result<()> {
    for number in 0..ADDRESSES {
        let source = Mac::of_host(700 + 100 * port + number);
        let frame = frame(source, Mac::BROADCAST, None, &fresh_payload("heard"));
        ensure!(lab.vm.wire(port)?.send(&frame), "the machine did not take a frame on swp{port}");
    }
    Ok(())
}

fn fewer_addresses(lab: &Lab, _: &Run) -> Result<String> {
    let document = renamed(lab, "addresses")?;
    with_document(lab, &lab.document.clone(), || {
        forget_hosts(lab)?;
        let all = u64::from(2 * ADDRESSES);
        eventually("the addresses are learned", SOON, || {
            heard(lab, 1)?;
            heard(lab, 2)?;
            let fdb = lab.show("fdb --vlan 10")?;
            let learned = fdb.iter().filter(|entry| entry["kind"] == "learned").count() as u64;
            ensure!(learned == all, "{learned} are");
            Ok(())
        })?;
        lab.write_file(PATH, &document)?;
        lab.vm.run(&format!("corten apply {PATH} --confirm 10m"))?;
        until(lab, "fdb", "same")?;
        // A link that bounces takes along what was learned by it.
        lab.vm.set_link(2, false)?;
        let lost = until(lab, "port", "lost");
        lab.vm.set_link(2, true)?;
        lost?;
        until(lab, "port", "same")?;
        let row = until(lab, "fdb", "fewer")?;
        let vlan = &row["differences"][0];
        let counts = (vlan["before"].as_u64(), vlan["now"].as_u64());
        ensure!(vlan["object"] == "VLAN 10" && counts == (Some(all), Some(all / 2)), "{row}");
        let shown = lab.vm.run("corten show pending")?;
        ensure!(shown.contains(&format!("VLAN 10: {} addresses of {all}", all / 2)), "{shown}");
        eventually("they are heard again", SOON, || {
            heard(lab, 2)?;
            let row = compared(lab, "fdb")?;
            ensure!(row["verdict"] == "same", "{row}");
            Ok(())
        })?;
        lab.vm.run("corten take-back").map(drop)
    })
}
