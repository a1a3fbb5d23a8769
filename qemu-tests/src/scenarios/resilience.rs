//! Frames while netd is killed, and proof that the check would notice a gap.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::numbered::{Stream, Tally};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "numbered frames cross without a gap while netd is killed, and the state is right again after",
        Topology::Switch,
        netd_killed,
    )
    .soaks("netd-kill")
    .alone()
    .also_on_two_cpus(),
    Scenario::new(
        "netd that hangs at its work is started anew, and at rest nothing watches it",
        Topology::Switch,
        netd_hangs,
    )
    .waits()
    .takes(60),
    Scenario::new("the check for gaps notices a flap of the port", Topology::Switch, a_flap_is_noticed)
        .alone(),
];

/// Frames a second. Each fits well within what translated processors forward.
const RATE: u32 = 200;
/// The same where other machines run beside this one.
const SLOW_RATE: u32 = 100;
/// Kills of a long run.
const KILLS: u32 = 20;

/// Sends so many numbered frames a second from swp9 to swp10 around a disturbance, and for a second before and after.
pub(super) fn frames_around(lab: &Lab, rate: u32, disturb: impl FnOnce() -> Result<()>) -> Result<Tally> {
    let mut stream = Stream::start(lab.vm.wire(9)?, lab.vm.wire(10)?, rate)?;
    stream.wait_for_more(rate.into(), Duration::from_secs(30))?;
    disturb()?;
    stream.wait_for_more(rate.into(), Duration::from_secs(60))?;
    stream.finish()
}

fn netd_killed(lab: &Lab, run: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    let mut sent = 0;
    let kills = run.rounds("netd-kill", 1, KILLS, |_, _| {
        let tally = frames_around(lab, RATE, || kill_netd(lab))?;
        ensure!(tally.missing.is_empty(), "{} ({RATE} a second)", tally.gaps());
        sent += tally.sent;
        is_as_before(lab, &before, Duration::from_secs(20))
    })?;
    Ok(format!("{kills} kill(s), {sent} frames at {RATE} a second, none missing"))
}

/// Waits until what an operator could see of the switch is as it was.
pub(super) fn is_as_before(lab: &Lab, before: &Value, timeout: Duration) -> Result<()> {
    eventually("the state is as before", timeout, || {
        let after = lab.visible_state()?;
        ensure!(after == *before, "{}", differing(before, &after));
        Ok(())
    })
}

/// The parts of two states that differ, a line each.
fn differing(before: &Value, after: &Value) -> String {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            let lines = a.iter().filter(|(key, value)| b[*key] != **value);
            lines
                .map(|(key, value)| format!("{key}: {}", differing(value, &b[key])))
                .collect::<Vec<_>>()
                .join("\n")
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let lines = a.iter().zip(b).filter(|(a, b)| a != b);
            lines.map(|(a, b)| format!("{a} before, {b} after")).collect::<Vec<_>>().join("\n")
        }
        _ => format!("{before} before, {after} after"),
    }
}

/// Kills netd and waits until systemd has brought it back.
fn kill_netd(lab: &Lab) -> Result<()> {
    let pid = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
    let pid = pid.trim();
    ensure!(pid != "0", "netd does not run");
    let end = lab.arm_end_of_netd(Duration::from_secs(20))?;
    lab.vm.run(&format!("kill -9 {pid}"))?;
    end.wait().context("netd was killed")?;
    lab.wait_for_netd(Duration::from_secs(60))
}

fn a_flap_is_noticed(lab: &Lab, _: &Run) -> Result<String> {
    let tally = frames_around(lab, RATE, || {
        lab.vm.set_link(10, false)?;
        lab.vm.run("until [ $(cat /sys/class/net/swp10/carrier) = 0 ]; do sleep 0.05; done")?;
        lab.vm.set_link(10, true)?;
        lab.vm.run("until [ $(cat /sys/class/net/swp10/carrier) = 1 ]; do sleep 0.05; done").map(drop)
    })?;
    ensure!(!tally.missing.is_empty(), "a port flapped under {} frames and the check saw no gap", tally.sent);
    Ok(tally.gaps())
}

/// What systemd would wait for a sign of life from netd: its own words, `infinity` for ever.
fn patience(lab: &Lab) -> Result<String> {
    Ok(lab.vm.run("systemctl show -p WatchdogUSec --value netd.service")?.trim().to_owned())
}

fn netd_hangs(lab: &Lab, _: &Run) -> Result<String> {
    let before = lab.visible_state()?;
    // A question is work, too.
    eventually("the watchdog rests", Duration::from_secs(60), || {
        let patience = patience(lab)?;
        ensure!(["0", "infinity"].contains(&patience.as_str()), "it waits {patience} for a sign of life");
        Ok(())
    })?;
    let tally = frames_around(lab, SLOW_RATE, || {
        let pid = lab.vm.run("systemctl show -p MainPID --value netd.service")?;
        let pid = pid.trim();
        let end = lab.arm_end_of_netd(Duration::from_secs(90))?;
        lab.vm.run(&format!("corten show system >/dev/null && kill -STOP {pid}"))?;
        ensure!(patience(lab)? == "30s", "nothing watches netd at its work: {}", patience(lab)?);
        end.wait().context("netd hangs, and nobody ends it")?;
        lab.wait_for_netd(Duration::from_secs(60))
    })?;
    ensure!(tally.missing.is_empty(), "{} ({SLOW_RATE} a second)", tally.gaps());
    is_as_before(lab, &before, Duration::from_secs(20))?;
    Ok(format!("{} frames meanwhile, none missing", tally.sent))
}
