//! How a change walks through: confirmation, rollback, history, drift, events.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qemu_tests::frame::Mac;
use serde_json::Value;

use super::frames::{At, cross};
use crate::lab::{Lab, Topology, USER, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 9] = [
    Scenario::new("an unconfirmed change is taken back when its time runs out", Topology::Switch, expires)
        .waits()
        .takes(11),
    Scenario::new(
        "a confirmation survives a kill of netd, and so does its end",
        Topology::Switch,
        survives_a_kill,
    )
    .waits()
    .takes(22),
    Scenario::new(
        "a confirmed change stays, and a rollback brings the one before back",
        Topology::Switch,
        confirmed_and_rolled_back,
    )
    .takes(9),
    Scenario::new(
        "rollback is compared, waits for its confirmation, and is not taking back",
        Topology::Switch,
        rollback_waits,
    ),
    Scenario::new("lockout is confirmed by force alone", Topology::Switch, lockout_needs_force),
    Scenario::new(
        "change that cuts the SSH session it is made in waits for its confirmation by itself",
        Topology::Switch,
        cut_session_waits,
    ),
    Scenario::new(
        "a diff tells the steps of a change and takes none",
        Topology::Switch,
        diff_changes_nothing,
    )
    .takes(9),
    Scenario::new(
        "what somebody changed behind netd's back is repaired, or only reported",
        Topology::Switch,
        drift,
    ),
    Scenario::new(
        "a link that goes down reaches a subscriber, and ECMP shrinks, while another port flaps",
        Topology::Switch,
        link_down_while_another_flaps,
    )
    .also_on_two_cpus()
    .takes(12),
];

const SOON: Duration = Duration::from_secs(30);

/// The lab's document with another text for swp7.
fn renamed(lab: &Lab, name: &str) -> Result<String> {
    ensure!(lab.document.contains("description = \"routed\""), "the lab has no routed port");
    Ok(lab.document.replace("description = \"routed\"", &format!("description = \"{name}\"")))
}

fn description(lab: &Lab) -> Result<String> {
    Ok(lab.port("swp7")?["description"].as_str().unwrap_or_default().to_owned())
}

fn apply_unconfirmed(lab: &Lab, document: &str, seconds: u32) -> Result<()> {
    lab.write_file("/run/corten-test.toml", document)?;
    let text = lab.vm.run(&format!("corten apply /run/corten-test.toml --confirm {seconds}"))?;
    ensure!(text.contains("confirm"), "the console does not say how to confirm: {text}");
    Ok(())
}

fn startup(lab: &Lab) -> Result<String> {
    lab.vm.run("cat /var/lib/corten/netd/startup.toml")
}

/// What the history says of each generation.
fn generations(lab: &Lab) -> Result<BTreeMap<u64, String>> {
    let text = lab.vm.run("corten history --json")?;
    let rows: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("no rows: {text}"))?;
    let row = |row: &Value| Some((row["generation"].as_u64()?, row["state"].as_str()?.to_owned()));
    rows.iter().map(row).collect::<Option<_>>().with_context(|| format!("other rows: {text}"))
}

fn expires(lab: &Lab, _: &Run) -> Result<String> {
    let port = || -> Result<String> {
        lab.vm.run("cd /sys/class/net/swp7; cat mtu address ifalias; cat speed duplex 2>&1; true")
    };
    let before = port()?;
    let text = "expires\"\nmtu = 4000\nspeed = \"10G\"\nmac = \"02:00:00:00:07:07\"\nduplex = \"full";
    apply_unconfirmed(lab, &renamed(lab, text)?, 15)?;
    let changed = port()?;
    for value in ["expires", "4000", "10000", "02:00:00:00:07:07", "full"] {
        ensure!(changed.contains(value), "swp7 has no {value}:\n{changed}");
    }
    let (changed_to, state) = generations(lab)?.pop_last().context("no history")?;
    ensure!(state == "unconfirmed", "the history says of the change that it is {state}");
    ensure!(!startup(lab)?.contains("expires"), "an unconfirmed change would survive a reboot");
    eventually("the change is taken back", SOON, || {
        ensure!(description(lab)? == "routed", "it is still there");
        let after = port()?;
        if after != before {
            let said = lab.vm.run(
                "journalctl -b -u netd --no-pager -o cat | tail -n 20; cat /run/corten/link-modes.json",
            )?;
            bail!("not all is as before:\n{before}now:\n{after}{said}");
        }
        Ok(())
    })?;
    let after = generations(lab)?;
    let state = after.get(&changed_to).context("the history lacks the change")?;
    ensure!(state == "rolled-back", "the history says of the change that it is {state}");
    Ok(String::new())
}

fn kill(lab: &Lab) -> Result<()> {
    lab.vm.run("kill -9 $(systemctl show -p MainPID --value netd.service)")?;
    lab.wait_for_netd(SOON)
}

fn survives_a_kill(lab: &Lab, _: &Run) -> Result<String> {
    apply_unconfirmed(lab, &renamed(lab, "killed")?, 40)?;
    kill(lab)?;
    ensure!(description(lab)? == "killed", "the change went with netd");
    eventually("the change is taken back in time", Duration::from_secs(40), || {
        ensure!(description(lab)? == "routed", "it is still there");
        Ok(())
    })?;
    kill(lab)?;
    ensure!(description(lab)? == "routed", "what was taken back is there again");
    Ok(String::new())
}

fn confirmed_and_rolled_back(lab: &Lab, _: &Run) -> Result<String> {
    apply_unconfirmed(lab, &renamed(lab, "kept")?, 60)?;
    lab.vm.run("corten confirm")?;
    ensure!(startup(lab)?.contains("kept"), "a confirmed change would not survive a reboot");
    let text = lab.vm.run("corten rollback --no-confirm")?;
    ensure!(text.contains("swp7: set description \"routed\""), "the steps are not told:\n{text}");
    ensure!(description(lab)? == "routed", "the change before is not back");
    ensure!(!startup(lab)?.contains("kept"), "a reboot would bring back what was rolled back");
    Ok(String::new())
}

fn rollback_waits(lab: &Lab, _: &Run) -> Result<String> {
    lab.restoring(|| {
        lab.apply_ok(&renamed(lab, "kept")?)?;
        let text = lab.vm.run("corten rollback -1")?;
        ensure!(text.contains("unless you confirm it"), "it is for good:\n{text}");
        ensure!(description(lab)? == "routed", "the change before is not back");
        ensure!(startup(lab)?.contains("kept"), "what was not confirmed would survive a reboot");
        let text = lab.vm.run("corten take-back")?;
        ensure!(text.contains("is taken back: generation"), "another word: {text}");
        ensure!(description(lab)? == "kept", "what ran before is not back");
        // Once more would be a step further, which is asked first.
        for command in ["corten take-back", "corten rollback"] {
            let output = lab.vm.run(&format!("{command} 2>&1; test $? -eq 1"))?;
            ensure!(output.contains("was taken back already"), "{command}: {output}");
            ensure!(description(lab)? == "kept", "{command} went a generation back");
        }
        Ok(())
    })?;
    Ok(String::new())
}

fn lockout_needs_force(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.replacen("role = \"admin\"", "role = \"view\"", 1);
    ensure!(document != lab.document, "the lab has no administrator");
    let said = |command: &str, input: Option<&str>| -> Result<(bool, String)> {
        let output = lab.ssh_with_input(USER, command, input)?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    };
    let words = "no administrator could log in any more";
    let (done, text) = said("apply -", Some(&document))?;
    ensure!(!done && text.contains(words), "it is applied for good: {text}");
    let (done, text) = said("apply - --confirm 60", Some(&document))?;
    ensure!(done && text.contains(words), "no warning: {text}");
    let (done, text) = said("confirm", None)?;
    ensure!(!done && text.contains(words), "the lockout is confirmed: {text}");
    let (done, text) = said("take-back", None)?;
    ensure!(done, "who applied it cannot take it back: {text}");
    ensure!(startup(lab)?.contains("role = \"admin\""), "nobody administers the switch");
    Ok(String::new())
}

fn cut_session_waits(lab: &Lab, _: &Run) -> Result<String> {
    let document = lab.document.replacen("vrf = \"mgmt\"\n", "", 1);
    ensure!(document != lab.document, "the lab has no management VRF");
    lab.restoring(|| {
        // Out of the VRF, and into it again.
        cut_session(lab, &document)?;
        cut_session(lab, &lab.document)?;
        eventually("mgmt0 leaves the main table", SOON, || {
            let left = lab.vm.run("ip route show table main dev mgmt0")?;
            ensure!(left.trim().is_empty(), "{left}");
            Ok(())
        })
    })?;
    Ok(String::new())
}

/// Makes a change over SSH that moves the management network, and confirms it in the next session.
fn cut_session(lab: &Lab, document: &str) -> Result<()> {
    let output = lab.ssh_with_input(USER, "diff -", Some(document))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.starts_with("Warning: this SSH session comes in over mgmt0 and may end"), "{text}");
    // The session may be gone before it answers.
    let _ = lab.ssh_with_input(USER, "apply -", Some(document))?;
    let pending: Value = serde_json::from_str(&lab.vm.run("corten show pending --json")?)?;
    ensure!(pending["left_s"].as_u64().is_some_and(|left| left <= 120), "it is for good: {pending}");
    eventually("the change is confirmed in another session", Duration::from_secs(60), || {
        let output = lab.ssh(USER, "confirm")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}

fn diff_changes_nothing(lab: &Lab, _: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    lab.write_file("/run/corten-test.toml", &renamed(lab, "different")?)?;
    let text = lab.vm.run("corten diff /run/corten-test.toml")?;
    ensure!(text.contains("swp7: set description \"different\""), "the steps are not told:\n{text}");
    ensure!(lab.visible_state()? == before, "a diff changed something");
    Ok(String::new())
}

fn drift(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.run("ip link set swp7 mtu 1400")?;
    eventually("the MTU is repaired", SOON, || {
        let mtu = lab.port("swp7")?["mtu_bytes"].clone();
        ensure!(mtu == 1500, "swp7 has {mtu}");
        Ok(())
    })?;
    lab.vm.run("ip route del 10.99.0.0/24")?;
    eventually("the route is repaired", SOON, || {
        ensure!(lab.vm.run("ip route show 10.99.0.0/24")?.contains("10.0.8.2"), "it is not there");
        Ok(())
    })?;
    let document = lab.document.clone() + "\n[drift]\nports = \"report\"\nroutes = \"report\"\n";
    lab.with_document(&document, || {
        only_reported(lab)?;
        flaps_are_no_drift(lab)
    })
}

/// What a link takes along comes back with it, though what somebody takes away is only told of.
fn flaps_are_no_drift(lab: &Lab) -> Result<String> {
    let told =
        || lab.vm.run("journalctl -b -u netd --no-pager | grep 'only reported' | grep -v swp7 || true");
    let become_ways = |what: &str, expected: &[&str]| {
        eventually(what, SOON, || {
            let ways = ways(lab)?;
            ensure!(ways == expected, "{ways:?}");
            Ok(())
        })
    };
    let before = told()?;
    for _ in 0..3 {
        lab.vm.set_link(8, false)?;
        let shrunk = become_ways("the group shrinks", &["10.0.7.2"]);
        lab.vm.set_link(8, true)?;
        shrunk?;
        become_ways("the group is whole", &["10.0.7.2", "10.0.8.2"])?;
    }
    let after = told()?;
    ensure!(before == after, "a link that flapped is taken for drift:\n{after}");
    Ok(String::new())
}

fn only_reported(lab: &Lab) -> Result<String> {
    let reports = || -> Result<usize> {
        let log = lab.vm.run("journalctl -b -u netd --no-pager | grep 'only reported' || true")?;
        Ok(log.lines().filter(|line| line.contains("swp7")).count())
    };
    let before = reports()?;
    lab.vm.run("ip link set swp7 mtu 1400")?;
    eventually("the drift is told", SOON, || {
        ensure!(reports()? > before, "netd does not say it");
        Ok(())
    })?;
    let mtu = lab.port("swp7")?["mtu_bytes"].clone();
    ensure!(mtu == 1400, "what is only to be reported was changed to {mtu}");
    Ok(String::new())
}

/// Reads events in the guest into a file, with a port watched; swp8 is since it carries an ECMP route.
const WATCH: &str = "rm -f /run/corten-test.events; \
                     systemd-run --quiet --collect --unit=corten-test-events -p StandardOutput=file:/run/corten-test.events \
                     corten events --json --watch swp11";
/// Waits for the event of the port that flaps, which comes from the kernel.
const FLAPPED: &str = "until grep -q '\"kind\":\"link-down\",\"object\":\"swp10\"' /run/corten-test.events; \
                       do busybox sleep 0.02; done";
/// For how long the kernel holds back events of links after one (net/core/link_watch.c).
const HOLD: Duration = Duration::from_secs(1);
/// How much of that time a slow machine needs to look at the ports that were pulled last.
const TO_LOOK: Duration = Duration::from_millis(300);
/// How often it is tried to pull all ports, and to look at them, within that time.
const TRIES: u32 = 8;

fn link_down_while_another_flaps(lab: &Lab, _: &Run) -> Result<String> {
    let mut late = Vec::new();
    for _ in 0..TRIES {
        lab.vm.run(WATCH)?;
        let outcome = pulled_while_flapping(lab);
        lab.vm.sh("systemctl stop corten-test-events.service")?;
        for port in 8..=11 {
            lab.vm.set_link(port, true)?;
        }
        eventually("all is as before", SOON, || {
            ensure!(lab.port("swp8")?["oper_state"] == "up", "swp8 is not up");
            let ways = ways(lab)?;
            ensure!(ways == ["10.0.7.2", "10.0.8.2"], "the group is not whole: {ways:?}");
            cross(lab, At(9, None), At(10, None), Mac::BROADCAST)
        })?;
        match outcome? {
            Outcome::Shown => return Ok(late.join("; ")),
            Outcome::Late(why) => late.push(why),
        }
    }
    bail!("{TRIES} times netd did not tell of pulled ports before the kernel did: {late:?}")
}

/// Gateways of the lab's ECMP route.
fn ways(lab: &Lab) -> Result<Vec<String>> {
    let routes = lab.show("routes")?;
    let route = routes.iter().find(|route| route["prefix"] == "10.98.0.0/24").context("no ECMP route")?;
    let hops = route["next_hops"].as_array().context("no next hops")?;
    let mut ways: Vec<String> =
        hops.iter().filter_map(|hop| hop["via"].as_str()).map(str::to_owned).collect();
    ways.sort();
    Ok(ways)
}

fn events(lab: &Lab) -> Result<Vec<Value>> {
    let text = lab.vm.run("cat /run/corten-test.events")?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no event: {line}"))).collect()
}

/// Number and source of the event that a port went down.
fn link_down(events: &[Value], port: &str) -> Result<(u64, String)> {
    let down =
        |event: &&Value| event["kind"] == "link-down" && event["object"] == port && event["snapshot"] != true;
    let event = events.iter().find(down).with_context(|| format!("nothing of {port}: {events:?}"))?;
    let source = event["source"].as_str().context("an event without a source")?;
    Ok((event["seq"].as_u64().context("an event without a number")?, source.to_owned()))
}

/// What a try to pull ports while the kernel holds back its events came to.
enum Outcome {
    Shown,
    /// The machine, or netd, was too slow for the kernel's second.
    Late(String),
}

fn pulled_while_flapping(lab: &Lab) -> Result<Outcome> {
    eventually("the stream begins", SOON, || {
        ensure!(!events(lab)?.is_empty(), "no event yet");
        Ok(())
    })?;
    let whole = ways(lab)?;
    ensure!(whole == ["10.0.7.2", "10.0.8.2"], "no ECMP to begin with: {whole:?}");
    let began = Instant::now();
    lab.vm.set_link(10, false)?;
    lab.vm.run(FLAPPED)?;
    // The kernel has sent the event of swp10 and holds back the others; nobody watches swp9.
    for port in [9, 11, 8] {
        lab.vm.set_link(port, false)?;
    }
    let took = began.elapsed();
    if took >= HOLD - TO_LOOK {
        return Ok(Outcome::Late(format!("the ports were pulled within {} ms", took.as_millis())));
    }
    let downs = eventually("an event of each pull", SOON, || {
        let events = events(lab)?;
        ["swp8", "swp9", "swp10", "swp11"]
            .into_iter()
            .map(|port| link_down(&events, port))
            .collect::<Result<Vec<_>>>()
    })?;
    let [(eight, by_poll), (nine, by_kernel), (_, flap), (eleven, watched)] = &downs[..] else {
        bail!("four ports were asked for: {downs:?}");
    };
    for (port, source, expected) in
        [(8, by_poll, "poll"), (11, watched, "poll"), (9, by_kernel, "netlink"), (10, flap, "netlink")]
    {
        ensure!(source == expected, "that swp{port} went down came from {source} instead of {expected}");
    }
    let shrunk = ways(lab)?;
    ensure!(shrunk == ["10.0.7.2"], "the group did not shrink: {shrunk:?}");
    // Though swp9 was pulled first.
    if eight > nine || eleven > nine {
        return Ok(Outcome::Late(format!("swp8 and swp11 came after what the kernel held back: {downs:?}")));
    }
    Ok(Outcome::Shown)
}
