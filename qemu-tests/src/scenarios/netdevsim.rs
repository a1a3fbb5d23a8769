//! What hardware says of routes and next hops, on the ports of a simulated ASIC (netdevsim).
//!
//! It forwards nothing and says so: a route it takes has its packets trapped. How much it takes, and whether it
//! takes routes at all, can be set (devlink resources, debugfs).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::alarms::wait_for_alarm;
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 7] = [
    Scenario::new("the image's own kernel has nothing that only tests need", Topology::Switch, shipped),
    Scenario::new(
        "ports of an ASIC that a driver only simulates are front-panel ports",
        Topology::Netdevsim,
        ports,
    ),
    Scenario::new(
        "a route whose packets the hardware traps is an alarm until it is gone",
        Topology::Netdevsim,
        trapped,
    ),
    Scenario::new(
        "a route that the hardware fails to take is an alarm until it takes it",
        Topology::Netdevsim,
        failed,
    ),
    Scenario::new("netd that is started anew tells the alarms there are", Topology::Netdevsim, restarted),
    Scenario::new(
        "routes spell out their next hops where the hardware has no room for next hop objects",
        Topology::Netdevsim,
        next_hops_full,
    ),
    Scenario::new(
        "a change with more routes than the hardware takes is refused in the driver's words",
        Topology::Netdevsim,
        routes_full,
    ),
];

/// How long the switch may take for something simple.
const SOON: Duration = Duration::from_secs(20);
/// The ASIC, as devlink names it.
const ASIC: &str = "netdevsim/netdevsim1";
/// Whether routes are refused, by debugfs.
const FAIL: &str = "/sys/kernel/debug/netdevsim/netdevsim1/fib/fail_route_offload";

fn route(prefix: &str, rest: &str) -> String {
    format!("\n[[routes]]\nprefix = \"{prefix}\"\n{rest}\n")
}

/// Looks at the lab with some more in its document.
fn with_more<T>(lab: &Lab, more: &str, look: impl FnOnce() -> Result<T>) -> Result<T> {
    lab.with_document(&(lab.document.clone() + more), look)
}

/// The row of a route.
fn shown(lab: &Lab, prefix: &str) -> Result<Value> {
    let rows = lab.show("routes")?;
    let row = rows.into_iter().find(|row| row["prefix"] == prefix && row["protocol"] == "static");
    row.with_context(|| format!("`corten show routes` has no {prefix}"))
}

/// Waits until a route is wanted, in the kernel, and the hardware says that of it.
fn wait_for(lab: &Lab, prefix: &str, hardware: &str, alarm: bool) -> Result<()> {
    eventually(&format!("{prefix} is {hardware}"), SOON, || {
        let row = shown(lab, prefix)?;
        ensure!(
            row["wanted"] == true
                && row["kernel"] == true
                && row["hardware"] == hardware
                && row["alarm"] == alarm,
            "{row}"
        );
        Ok(())
    })
}

/// Collects events in the guest, from how things stand on.
struct Events<'a>(&'a Lab);

impl<'a> Events<'a> {
    fn watch(lab: &'a Lab) -> Result<Events<'a>> {
        lab.vm.run(
            "rm -f /run/corten-test.events && systemd-run --quiet --collect --unit=corten-test-events \
             -p StandardOutput=file:/run/corten-test.events corten events --json",
        )?;
        let events = Events(lab);
        eventually("events are told", SOON, || {
            ensure!(!events.all()?.is_empty(), "none yet");
            Ok(())
        })?;
        Ok(events)
    }

    fn all(&self) -> Result<Vec<Value>> {
        let text = self.0.vm.run("cat /run/corten-test.events")?;
        text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    }

    /// Details of the news of a kind about an object, waiting until there is one.
    fn wait_for(&self, kind: &str, object: &str) -> Result<String> {
        eventually(&format!("event {kind} of {object}"), SOON, || {
            let all = self.all()?;
            let told = |event: &&Value| {
                event["kind"] == kind && event["object"] == object && event["snapshot"] != true
            };
            let event = all.iter().rfind(told).with_context(|| format!("only {all:?}"))?;
            Ok(event["detail"].as_str().unwrap_or_default().to_owned())
        })
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        // It ends with the machine at the latest.
        let _ = self.0.vm.sh("systemctl stop corten-test-events.service");
    }
}

fn shipped(lab: &Lab, _: &Run) -> Result<String> {
    let release = lab.vm.run("uname -r")?.trim().to_owned();
    ensure!(!release.ends_with("-test"), "it is {release}");
    let found = lab.vm.run("zcat /proc/config.gz | grep -E '^CONFIG_(DEBUG_FS|NETDEVSIM)=' || true")?;
    ensure!(found.is_empty(), "{found}");
    Ok(release)
}

fn ports(lab: &Lab, _: &Run) -> Result<String> {
    for number in 1..=4 {
        let name = format!("swp{number}");
        let port = lab.port(&name)?;
        ensure!(
            port["kind"] == "front-panel"
                && port["driver"] == "netdevsim"
                && port["hardware"] == "offloaded"
                && port["switch_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{port}"
        );
        let asic = lab.vm.run(&format!("cat /sys/class/net/{name}/phys_port_name"))?;
        ensure!(asic.trim() == format!("p{number}"), "{name} is the ASIC's {asic}");
        ensure!(port["wanted_up"] == (number <= 2) && port["admin_up"] == (number <= 2), "{port}");
    }
    Ok(lab.vm.run("uname -r")?.trim().to_owned())
}

fn trapped(lab: &Lab, _: &Run) -> Result<String> {
    let events = Events::watch(lab)?;
    let (four, six) = ("10.99.0.0/24", "2001:db8:99::/48");
    let routes = route(four, "via = \"10.0.1.2\"")
        + &route(six, "via = \"2001:db8:1::2\"")
        + &route("10.98.0.0/24", "unreachable = true");
    with_more(lab, &routes, || {
        for prefix in [four, six] {
            wait_for(lab, prefix, "trapped", true)?;
            let detail = events.wait_for("alarm", prefix)?;
            ensure!(detail.starts_with("trapped: "), "{prefix}: {detail}");
            wait_for_alarm(lab, "route-not-in-hardware", prefix)?;
        }
        // Nothing but the processor tells a sender that something is unreachable.
        wait_for(lab, "10.98.0.0/24", "trapped", false)?;
        let table = lab.vm.run("corten show routes")?;
        for (prefix, marked) in [(four, true), (six, true), ("10.98.0.0/24", false)] {
            let line = table.lines().find(|line| line.starts_with(prefix)).context("not in the table")?;
            ensure!(line.contains("ALARM trapped") == marked, "{line}");
        }
        Ok(String::new())
    })?;
    for prefix in [four, six] {
        events.wait_for("alarm-cleared", prefix)?;
    }
    let told: Vec<Value> = events.all()?;
    let wrong = told.iter().find(|event| event["object"] == "10.98.0.0/24" && event["kind"] == "alarm");
    ensure!(wrong.is_none(), "an alarm of a route that is for the processor: {wrong:?}");
    Ok(String::new())
}

/// Sets whether the hardware fails to take routes.
fn set_failing(lab: &Lab, failing: bool) -> Result<()> {
    let word = if failing { "Y" } else { "N" };
    let mounted = "grep -q debugfs /proc/mounts || mount -t debugfs none /sys/kernel/debug";
    lab.vm.run(&format!("({mounted}) && echo {word} >{FAIL}")).map(drop)
}

fn failed(lab: &Lab, _: &Run) -> Result<String> {
    let events = Events::watch(lab)?;
    set_failing(lab, true)?;
    let prefix = "10.98.0.0/24";
    let outcome = with_more(lab, &route(prefix, "unreachable = true"), || {
        wait_for(lab, prefix, "failed", true)?;
        let detail = events.wait_for("alarm", prefix)?;
        ensure!(detail.starts_with("failed: "), "{detail}");
        let table = lab.vm.run("corten show routes")?;
        ensure!(table.contains("ALARM failed"), "{table}");
        // There is room again; the driver tries what is set anew, and netd sets anew what somebody removes.
        set_failing(lab, false)?;
        lab.vm.run(&format!("/usr/bin/ip route del unreachable {prefix}"))?;
        events.wait_for("alarm-cleared", prefix)?;
        wait_for(lab, prefix, "trapped", false)?;
        Ok(String::new())
    });
    set_failing(lab, false)?;
    outcome
}

fn restarted(lab: &Lab, _: &Run) -> Result<String> {
    let prefix = "10.99.0.0/24";
    with_more(lab, &route(prefix, "via = \"10.0.1.2\""), || {
        wait_for(lab, prefix, "trapped", true)?;
        let before = wait_for_alarm(lab, "route-not-in-hardware", prefix)?;
        lab.vm.run("systemctl restart netd.service")?;
        lab.wait_for_netd(Duration::from_secs(60))?;
        let after = wait_for_alarm(lab, "route-not-in-hardware", prefix)?;
        let since = |row: &Value| row["since_s"].as_u64().unwrap_or_default();
        ensure!(since(&before).abs_diff(since(&after)) <= 1, "a restart made {before} young: {after}");
        // What a reader finds first is how things stand.
        eventually("the alarm is part of how things stand", SOON, || {
            let text = lab.vm.sh("timeout 2 corten events --json")?.text;
            let line = text
                .lines()
                .find(|line| line.contains("route-not-in-hardware"))
                .with_context(|| text.clone())?;
            ensure!(line.contains(prefix) && line.contains("trapped"), "{line}");
            Ok(())
        })?;
        Ok(String::new())
    })
}

/// Gives a table of the ASIC so much room. For that the driver starts anew: its ports go and come back.
fn resize(lab: &Lab, table: &str, entries: u64) -> Result<()> {
    lab.vm.run(&format!("devlink resource set {ASIC} path {table} size {entries}"))?;
    lab.vm.run(&format!("devlink dev reload {ASIC}"))?;
    eventually("the ports are back", SOON, || {
        for name in ["swp1", "swp2"] {
            let port = lab.port(name)?;
            let addresses = port["addresses"].as_array().map_or(0, Vec::len);
            ensure!(port["admin_up"] == true && addresses == 3, "{port}");
        }
        Ok(())
    })
}

/// Room without a limit that matters.
const PLENTY: u64 = 1_000_000;

fn next_hops_full(lab: &Lab, _: &Run) -> Result<String> {
    let two_ways = route("10.97.0.0/24", "via = [\"10.0.1.2\", \"10.0.2.2\"]");
    let objects = "/usr/bin/ip nexthop show | wc -l";
    // Two next hops and a group of two take four entries.
    with_more(lab, &two_ways, || {
        let count = lab.vm.run(objects)?;
        ensure!(count.trim() == "3", "{} next hop objects where there is room", count.trim());
        Ok(String::new())
    })?;
    resize(lab, "nexthops", 3)?;
    let events = Events::watch(lab)?;
    let outcome = with_more(lab, &two_ways, || {
        let words = events.wait_for("fallback", "next-hops")?;
        ensure!(words.contains("netdevsim: Exceeded number of supported nexthops"), "{words}");
        let row = shown(lab, "10.97.0.0/24")?;
        ensure!(row["kernel"] == true && row["next_hops"].as_array().map(Vec::len) == Some(2), "{row}");
        let kernel = lab.vm.run("/usr/bin/ip route show 10.97.0.0/24")?;
        ensure!(!kernel.contains("nhid"), "the route stands on an object: {kernel}");
        let count = lab.vm.run(objects)?;
        ensure!(count.trim() == "0", "{} next hop objects are left", count.trim());
        restart_changes_nothing(lab)?;
        Ok(words)
    });
    resize(lab, "nexthops", PLENTY)?;
    outcome
}

/// netd goes on as it was, without a change in the kernel.
fn restart_changes_nothing(lab: &Lab) -> Result<()> {
    lab.vm.run(
        "rm -f /run/corten-test.monitor && systemd-run --quiet --collect --unit=corten-test-monitor \
         -p StandardOutput=file:/run/corten-test.monitor /usr/bin/ip monitor route nexthop",
    )?;
    lab.vm.run("systemctl restart netd.service")?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    lab.vm.run("systemctl stop corten-test-monitor.service")?;
    let changes = lab.vm.run("cat /run/corten-test.monitor")?;
    let changes: Vec<&str> = changes.lines().filter(|line| line.contains("10.97.0.0/24")).collect();
    ensure!(changes.is_empty(), "a restart of netd changed {changes:?}");
    Ok(())
}

fn routes_full(lab: &Lab, _: &Run) -> Result<String> {
    // Enough for what every switch has; much less than the document asks for.
    resize(lab, "IPv4/fib", 60)?;
    let before = lab.visible_state()?;
    let routes: String =
        (0..100).map(|number| route(&format!("10.200.{number}.0/24"), "via = \"10.0.1.2\"")).collect();
    let outcome = lab.apply(&(lab.document.clone() + &routes));
    let after = lab.visible_state();
    resize(lab, "IPv4/fib", PLENTY)?;
    let output = outcome?;
    ensure!(output.status != 0, "it was applied");
    let words = output.text.trim();
    ensure!(
        words.contains("netdevsim: Exceeded number of supported fib entries") && words.contains("line "),
        "{words}"
    );
    ensure!(after? == before, "something of the refused change is left");
    Ok(words.to_owned())
}
