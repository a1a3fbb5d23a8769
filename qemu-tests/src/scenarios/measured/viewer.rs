//! What an administrator's change costs beside a viewer who sends documents of 100 MB, holds all readers that one user
//! may have, and leaves a VLAN screen open on 100 000 addresses.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::measure::{Measurement, Reference, median};
use qemu_tests::tools::MOUNT;
use serde_json::Value;

use super::tables::{fill_fdb, keeping_addresses, time};
use crate::lab::{Lab, eventually};
use crate::runner::Run;

/// Runs of the change with each of its neighbours.
const RUNS: usize = 15;
/// The user who may only look.
const VIEWER: &str = "vic";
/// How long the viewer's programs may take to begin.
const SOON: Duration = Duration::from_secs(120);
/// Seconds in which the change is to be confirmed, and how many of them are left when it is.
const CONFIRM_S: u64 = 30;
const LEFT_S: u64 = 2;
/// How much more memory than at rest netd may take meanwhile.
const MORE_MEMORY_MB: f64 = 64.0;
/// The nice value of programs that give way.
const LOWEST_PRIORITY: i32 = 19;

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    lab.restoring(|| {
        lab.apply_ok(&keeping_addresses(lab))?;
        fill_fdb(lab)?;
        // What it held before counts for nothing.
        lab.vm.run("systemctl restart netd.service")?;
        lab.wait_for_netd(SOON)?;
        let mut number = 0;
        let mut change = || {
            number += 1;
            apply(lab, number)
        };
        let idle = netd(lab, "MemoryCurrent")?;
        let (mut alone, mut giving_way, mut equal) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            alone.push(change()?);
            giving_way.push(beside_viewer(lab, LOWEST_PRIORITY, &mut change)?);
            equal.push(beside_viewer(lab, 0, &mut change)?);
        }
        let left = beside_viewer(lab, LOWEST_PRIORITY, || confirm_late(lab, RUNS + 1))?;
        let more_mb = (netd(lab, "MemoryPeak")? - idle) / 1e6;
        let reference = Reference::new("the change alone", &alone);
        run.measured(Measurement::new(reference.name(), reference.value(), "s"));
        run.measured(reference.beside_itself("s"));
        // Of one processor the viewer's own programs take their share like any others: what netd is to see to is that
        // the change does not wait for what it does for them.
        let row = |name: &str, times: &[f64]| {
            Measurement::new(name, median(&mut times.to_vec()), "s").beside(&reference)
        };
        run.measured(row("a change beside a viewer of all kinds", &giving_way).ratio_at_most(1.2));
        run.measured(row("the same, the viewer's programs of equal priority", &equal));
        let name = "netd's memory beside the viewer, above that at rest";
        run.measured(Measurement::new(name, more_mb, "MB").at_most(MORE_MEMORY_MB));
        Ok(format!("confirmed with {left} s left"))
    })
}

/// A property of netd's unit that is a number.
fn netd(lab: &Lab, property: &str) -> Result<f64> {
    let text = lab.vm.run(&format!("systemctl show -p {property} --value netd.service"))?;
    text.trim().parse().with_context(|| format!("{property} is {text:?}"))
}

fn document(lab: &Lab, number: usize) -> String {
    format!("{}\n[loopbacks.lo9]\naddresses = [\"192.0.2.{number}/32\"]\n", keeping_addresses(lab))
}

/// Seconds that a change takes.
fn apply(lab: &Lab, number: usize) -> Result<f64> {
    lab.write_file("/run/change.toml", &document(lab, number))?;
    let [applied] = time(lab, 1, ["1:corten apply /run/change.toml"])?;
    Ok(applied.whole_s[0])
}

/// Confirms a change at the last moment; answers how many seconds were left when that began.
fn confirm_late(lab: &Lab, number: usize) -> Result<u64> {
    lab.write_file("/run/change.toml", &document(lab, number))?;
    lab.vm.run(&format!("corten apply --force --confirm {CONFIRM_S}s /run/change.toml"))?;
    let left = || -> Result<u64> {
        let pending: Value = serde_json::from_str(&lab.vm.run("corten show pending --json")?)?;
        pending["left_s"].as_u64().with_context(|| format!("nothing waits: {pending}"))
    };
    let wait = left()?.saturating_sub(LEFT_S);
    lab.vm.run(&format!("busybox sleep {wait}; corten confirm"))?;
    let state = lab.vm.run("corten show system --json")?;
    ensure!(state.contains("\"ok\""), "it was not confirmed: {state}");
    Ok(LEFT_S)
}

/// Does something while the viewer looks.
fn beside_viewer<T>(lab: &Lab, nice: i32, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let viewer = Viewer::start(lab, nice)?;
    let outcome = work();
    viewer.end()?;
    outcome
}

/// The viewer's programs: one that asks, and the console on the screen of VLANs, over SSH.
struct Viewer<'a> {
    lab: &'a Lab,
    screen: Screen,
}

impl<'a> Viewer<'a> {
    fn start(lab: &'a Lab, nice: i32) -> Result<Self> {
        lab.vm.run(&format!(
            "systemctl reset-failed corten-test-viewer.service 2>/dev/null; : >/run/viewer.out; \
             systemd-run --quiet --collect --unit=corten-test-viewer --uid={VIEWER} -p Nice={nice} \
             -p StandardOutput=append:/run/viewer.out {MOUNT}/bin/netd-bench viewer"
        ))?;
        let screen = Screen::open(lab)?;
        if nice > 0 {
            // The administrator's are not running yet.
            lab.vm.run(&format!(
                "for process in $(busybox pidof corten); do busybox renice -n {nice} -p $process; done"
            ))?;
        }
        eventually("the viewer has asked for everything", SOON, || {
            let said = lab.vm.run("cat /run/viewer.out")?;
            ensure!(said.contains("ready"), "it says {said:?}");
            Ok(())
        })?;
        Ok(Viewer { lab, screen })
    }

    fn end(self) -> Result<()> {
        let state = self.lab.vm.sh("systemctl is-active corten-test-viewer.service")?;
        ensure!(state.text.trim() == "active", "the viewer's program ended early: {}", state.text);
        self.lab.vm.run("systemctl stop corten-test-viewer.service")?;
        drop(self.screen);
        Ok(())
    }
}

/// The console over SSH.
struct Screen(Child);

impl Screen {
    /// Logs in, and waits until the addresses of all VLANs are on the screen.
    fn open(lab: &Lab) -> Result<Screen> {
        let mut ssh = lab.ssh_to(VIEWER);
        ssh.arg("-tt").env("TERM", "vt220");
        let mut child = ssh
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run ssh")?;
        let mut output = child.stdout.take().context("ssh has no output")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reader = Arc::clone(&seen);
        // It ends with the session.
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut some) {
                let mut seen = reader.lock().unwrap_or_else(PoisonError::into_inner);
                // The last picture is enough.
                if seen.len() > 1 << 20 {
                    seen.clear();
                }
                seen.extend_from_slice(&some[..length]);
            }
        });
        let screen = Screen(child);
        let shows = |text: &str| {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            qemu_tests::frame::contains(&seen, text.as_bytes())
        };
        screen.until("the ports are shown", || shows("swp1"))?;
        screen.0.stdin.as_ref().context("ssh has no input")?.write_all(b"2").context("writing to ssh")?;
        screen.until("the addresses are shown", || shows("06:00:00:"))?;
        Ok(screen)
    }

    fn until(&self, what: &str, is_shown: impl Fn() -> bool) -> Result<()> {
        eventually(what, SOON, || {
            ensure!(is_shown(), "not yet");
            Ok(())
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
