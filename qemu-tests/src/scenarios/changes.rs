//! How a change walks through: confirmation, rollback, history, drift, events.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 6] = [
    Scenario::new("an unconfirmed change is taken back when its time runs out", Topology::Switch, expires)
        .waits()
        .takes(12),
    Scenario::new(
        "a confirmation survives a kill of netd, and so does its end",
        Topology::Switch,
        survives_a_kill,
    )
    .waits()
    .takes(30),
    Scenario::new(
        "a confirmed change stays, and a rollback brings the one before back",
        Topology::Switch,
        confirmed_and_rolled_back,
    ),
    Scenario::new(
        "a diff tells the steps of a change and takes none",
        Topology::Switch,
        diff_changes_nothing,
    ),
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
    .also_on_two_cpus(),
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

fn expires(lab: &Lab, _: &Run) -> Result<String> {
    let port = || -> Result<String> {
        lab.vm.run("cd /sys/class/net/swp7; cat mtu address ifalias; cat speed duplex 2>&1; true")
    };
    let before = port()?;
    let text = "expires\"\nmtu = 4000\nspeed = \"10G\"\nmac = \"02:00:00:00:07:07\"\nduplex = \"full";
    apply_unconfirmed(lab, &renamed(lab, text)?, 5)?;
    let changed = port()?;
    for value in ["4000", "10000", "02:00:00:00:07:07", "full"] {
        ensure!(changed.contains(value), "swp7 has no {value}:\n{changed}");
    }
    ensure!(description(lab)? == "expires", "the change is not there");
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
    let history = lab.vm.run("corten history")?;
    ensure!(history.contains("rolled"), "the history says nothing of it:\n{history}");
    Ok(String::new())
}

fn kill(lab: &Lab) -> Result<()> {
    lab.vm.run("kill -9 $(systemctl show -p MainPID --value netd.service)")?;
    lab.wait_for_netd(SOON)
}

fn survives_a_kill(lab: &Lab, _: &Run) -> Result<String> {
    apply_unconfirmed(lab, &renamed(lab, "killed")?, 20)?;
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
    lab.vm.run("corten rollback")?;
    ensure!(description(lab)? == "routed", "the change before is not back");
    ensure!(!startup(lab)?.contains("kept"), "a reboot would bring back what was rolled back");
    Ok(String::new())
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
    lab.vm.run("ip link set swp7 mtu 1400")?;
    eventually("the drift is told", SOON, || {
        let log = lab.vm.run("journalctl -b -u netd --no-pager | grep 'only reported' || true")?;
        ensure!(log.contains("swp7"), "netd does not say it: {log}");
        Ok(())
    })?;
    let mtu = lab.port("swp7")?["mtu_bytes"].clone();
    ensure!(mtu == 1400, "what is only to be reported was changed to {mtu}");
    Ok(String::new())
}

/// Reads events in the guest into a file, with a port watched; swp8 is since it carries an ECMP route.
const WATCH: &str = "systemd-run --quiet --collect --unit=corten-test-events -p StandardOutput=file:/run/corten-test.events \
                     corten events --json --watch swp11";

fn link_down_while_another_flaps(lab: &Lab, _: &Run) -> Result<String> {
    lab.vm.run("rm -f /run/corten-test.events")?;
    lab.vm.run(WATCH)?;
    let outcome = pulled_while_flapping(lab);
    lab.vm.sh("systemctl stop corten-test-events.service")?;
    for port in [8, 11, 12] {
        lab.vm.set_link(port, true)?;
    }
    eventually("swp8 is up again", SOON, || {
        ensure!(lab.port("swp8")?["oper_state"] == "up", "it is not");
        let ways = ways(lab)?;
        ensure!(ways == ["10.0.7.2", "10.0.8.2"], "the group is not whole: {ways:?}");
        Ok(())
    })?;
    outcome
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

fn pulled_while_flapping(lab: &Lab) -> Result<String> {
    eventually("the stream begins", SOON, || {
        ensure!(!events(lab)?.is_empty(), "no event yet");
        Ok(())
    })?;
    let whole = ways(lab)?;
    ensure!(whole == ["10.0.7.2", "10.0.8.2"], "no ECMP to begin with: {whole:?}");
    // The flap makes the kernel hold back its own event for up to a second.
    lab.vm.set_link(12, false)?;
    lab.vm.set_link(11, false)?;
    lab.vm.set_link(8, false)?;
    eventually("both pulls are told", SOON, || {
        let told = events(lab)?;
        for port in ["swp8", "swp11"] {
            let down = |event: &&Value| {
                event["kind"] == "link-down" && event["object"] == port && event["snapshot"] != true
            };
            ensure!(told.iter().any(|event| down(&event)), "nothing of {port} among {} events", told.len());
        }
        Ok(())
    })?;
    let shrunk = ways(lab)?;
    ensure!(shrunk == ["10.0.7.2"], "the group did not shrink: {shrunk:?}");
    Ok(String::new())
}
