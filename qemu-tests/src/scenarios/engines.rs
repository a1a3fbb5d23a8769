//! Engines: programs of others that the image packages and Corten supervises (FRR, lldpd, dnsmasq, chrony …).
//!
//! All keep one contract: none runs that no document asks for; killed, with no room in /run, with garbage for state and
//! against a hostile peer, each comes back, frames cross all the while, and nothing tells a secret of the document.
//! An issue that brings an engine adds its row to [`ENGINES`]; one that brings bundles, those to [`secrets_are_absent`].

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::resilience::{frames_around, is_as_before};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "no service runs unasked, a killed one costs no frame, no output has a secret",
    Topology::Switch,
    contract,
)
.takes(30)];

/// An engine, and what its own issue knows of it.
struct Engine {
    /// Its unit, such as `corten-lldpd.service`.
    unit: &'static str,
    /// What asks for it, to be added to the lab's document.
    document: &'static str,
    /// Passwords and keys that stand in that.
    secrets: &'static [&'static str],
    /// Files that it reads when it starts anew.
    state_files: &'static [&'static str],
    /// Answers it as a hostile peer would, and sees that it goes on with other peers.
    hostile: fn(&Lab) -> Result<()>,
}

/// Every engine of the image.
const ENGINES: [Engine; 0] = [];

/// Services that run on a switch whose document asks for nothing. containerd is one for as long as it is started by
/// the boot instead of by who needs it; the agent of these tests is another.
const RUNNING: &str = "containerd corten-render corten-test dbus-broker netd serial-getty@ttyS0 ssh systemd-journald \
                       systemd-logind systemd-networkd systemd-timesyncd systemd-udevd";

/// Of systemd-analyze: whether the exposure of a unit is at most 3.0.
const ANALYZE: [&str; 3] = ["security", "--offline=true", "--threshold=30"];
/// Frames a second, few enough to run beside other machines; as many must cross before and after a disturbance.
const RATE: u32 = 100;
/// How long a program may take to start, translated processors considered.
const PATIENCE: Duration = Duration::from_secs(120);

fn contract(lab: &Lab, _: &Run) -> Result<String> {
    only_these_run(lab, None)?;
    closed(lab, "netd.service")?;
    // The one program of others that is supervised so far, and the one secret of the lab.
    disturbed(lab, "containerd.service", || kill(lab, "containerd.service"))?;
    let hash = lab.document.split('"').find(|text| text.starts_with("$6$"));
    secrets_are_absent(lab, &[hash.context("the lab's document has no hash of a password")?])?;
    for engine in &ENGINES {
        let document = format!("{}\n{}", lab.document, engine.document);
        lab.with_document(&document, || keeps_it(lab, engine)).context(engine.unit)?;
        only_these_run(lab, None).with_context(|| format!("{} is not asked for any more", engine.unit))?;
    }
    Ok(format!("{} engines", ENGINES.len()))
}

fn keeps_it(lab: &Lab, engine: &Engine) -> Result<()> {
    let Engine { unit, secrets, state_files, hostile, .. } = engine;
    only_these_run(lab, Some(unit))?;
    closed(lab, unit)?;
    disturbed(lab, unit, || kill(lab, unit)).context("killed")?;
    let run_full = || {
        // To the last byte, so dd ends with an error.
        lab.vm.sh("for size in 64k 1; do dd if=/dev/zero of=/run/corten-test.$size bs=$size; done")?;
        let killed = kill(lab, unit);
        lab.vm.run("rm -f /run/corten-test.64k /run/corten-test.1")?;
        killed
    };
    disturbed(lab, unit, run_full).context("a full /run")?;
    for file in *state_files {
        let garbage = || {
            lab.vm.run(&format!("test -s {file} && head -c 65536 /dev/urandom >{file}"))?;
            kill(lab, unit)
        };
        disturbed(lab, unit, garbage).with_context(|| format!("garbage in {file}"))?;
    }
    disturbed(lab, unit, || hostile(lab)).context("a hostile peer")?;
    secrets_are_absent(lab, secrets)
}

/// Waits until the services that always run do, and of all others this one alone.
fn only_these_run(lab: &Lab, engine: Option<&str>) -> Result<()> {
    let always = RUNNING.split(' ').map(|name| format!("{name}.service"));
    let expected: BTreeSet<String> = always.chain(engine.map(str::to_owned)).collect();
    eventually("no service runs but those that are asked for", PATIENCE, || {
        let text = lab.vm.run("systemctl list-units --type=service --state=running --plain --no-legend")?;
        let running = text.lines().filter_map(|line| line.split_whitespace().next());
        let running: BTreeSet<String> = running.map(str::to_owned).collect();
        let (more, fewer) = (&running - &expected, &expected - &running);
        ensure!(more.is_empty() && fewer.is_empty(), "unexpected {more:?}, missing {fewer:?}");
        Ok(())
    })
}

/// Disturbs a service: it runs again after, frames cross all the while, and the switch is as it was.
fn disturbed(lab: &Lab, unit: &str, disturb: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = lab.visible_state()?;
    let tally = frames_around(lab, RATE, || {
        disturb()?;
        lab.vm.agent()?.wait_for_unit(unit, &["active"], PATIENCE).map(drop)
    })?;
    ensure!(tally.missing.is_empty() && tally.repeated == 0, "{}, {} twice", tally.gaps(), tally.repeated);
    is_as_before(lab, &before, PATIENCE)
}

/// Kills all of a service, and waits until systemd has noticed.
fn kill(lab: &Lab, unit: &str) -> Result<()> {
    let main = format!("systemctl show -p MainPID --value {unit}");
    let wait = format!("while [ $({main}) = $before ]; do sleep 0.1; done");
    let kill = format!("before=$({main}); [ $before != 0 ] && systemctl kill -s KILL {unit} && {wait}");
    lab.vm.run_within(&kill, PATIENCE).map(drop)
}

/// Secrets stand in the running document, and neither what the console shows nor the journal repeats them.
fn secrets_are_absent(lab: &Lab, secrets: &[&str]) -> Result<()> {
    let shows = "for table in ports interfaces vlans routes system; do corten show $table --json; done";
    for secret in secrets {
        for (command, expected) in [("corten config", true), (shows, false), ("journalctl -o export", false)]
        {
            // What prints nothing would hide that it failed.
            let script = format!(
                "({command}) >/run/corten-test.out && [ -s /run/corten-test.out ] && \
                 {{ grep -cF -- '{secret}' /run/corten-test.out || true; }}; rm -f /run/corten-test.out"
            );
            let lines = lab.vm.run(&script)?;
            let lines: u32 = lines.trim().parse().with_context(|| format!("{command} prints nothing"))?;
            ensure!((lines > 0) == expected, "{command}: {lines} lines with a secret");
        }
    }
    Ok(())
}

/// A unit is closed to what it does not need, says systemd-analyze of this host: the image has none.
fn closed(lab: &Lab, unit: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let file = folder.path().join(unit);
    std::fs::write(&file, lab.vm.run(&format!("systemctl cat {unit}"))?)?;
    let output = std::process::Command::new("systemd-analyze").args(ANALYZE).arg(&file).output();
    let output = output.context("cannot run systemd-analyze")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{unit}: {}", text.lines().last().unwrap_or_default());
    Ok(())
}
