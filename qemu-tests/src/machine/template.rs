//! Machines that are saved as they stand, and clones that go on from there.
//!
//! The main memory of a machine that can be saved is a shared file, so that only the state of its devices is written;
//! a clone maps the same file copy-on-write and has an overlay of the disk. Clones of one template do not see each
//! other, but have the same hardware addresses, machine id and, until the guest's kernel hears of its new generation
//! (`vmgenid`), random state: switches that meet each other need a template each, of a boot of its own.
//!
//! Not every machine can be saved: QEMU's emulated switch ASIC cannot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::memory::MemoryFile;
use super::{Accelerator, Machine, Vm};
use crate::qmp::Qmp;

/// How long writing or reading the state of devices may take.
const STATE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two questions how far QEMU is: it has no event for the start of a clone.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A saved machine. Clones may be made of it by several threads at a time.
pub struct Template {
    machine: Machine,
    accelerator: Accelerator,
    saved: Arc<Saved>,
}

/// What is kept of a saved machine. Its clones hold it as well, since they run on its disk.
pub(super) struct Saved {
    pub(super) memory: MemoryFile,
    pub(super) disk: PathBuf,
    pub(super) state: PathBuf,
    /// What the disk of this one lies on.
    _base: Option<Arc<Saved>>,
    _folder: TempDir,
}

/// What the parts of a template come from.
pub(super) struct Parts {
    pub(super) machine: Machine,
    pub(super) accelerator: Accelerator,
    pub(super) memory: MemoryFile,
    pub(super) base: Option<Arc<Saved>>,
    pub(super) folder: TempDir,
}

impl Template {
    pub(super) fn new(parts: Parts) -> Template {
        let path = parts.folder.path();
        Template {
            accelerator: parts.accelerator,
            saved: Arc::new(Saved {
                memory: parts.memory,
                disk: disk(path),
                state: state(path),
                _base: parts.base,
                _folder: parts.folder,
            }),
            machine: parts.machine,
        }
    }

    /// Name of the machine that was saved.
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// The file of the devices' state.
    pub fn state(&self) -> &Path {
        &self.saved.state
    }

    /// A clone, named for its logs.
    pub fn clone_machine(&self, name: &str) -> Result<Vm> {
        self.start(name, |machine| machine)
    }

    /// A clone that can be saved itself: it has a copy of the memory.
    pub fn clone_saveable(&self, name: &str) -> Result<Vm> {
        self.start(name, Machine::saveable)
    }

    /// A clone some of whose ports are cabled otherwise.
    pub fn clone_with(&self, name: &str, change: impl FnOnce(Machine) -> Machine) -> Result<Vm> {
        self.start(name, change)
    }

    fn start(&self, name: &str, change: impl FnOnce(Machine) -> Machine) -> Result<Vm> {
        let mut machine = self.machine.clone().name(name);
        machine.saveable = false;
        Vm::start_clone(change(machine), self.accelerator, &self.saved)
            .with_context(|| format!("cannot start {name}, a clone of {}", self.machine.name))
    }
}

/// The disk of a machine, in its folder.
pub(super) fn disk(folder: &Path) -> PathBuf {
    folder.join("disk.qcow2")
}

/// The saved state of a machine's devices, in its folder.
pub(super) fn state(folder: &Path) -> PathBuf {
    folder.join("state")
}

/// Stops a machine and writes the state of its devices.
pub(super) fn save(qmp: &Qmp, state: &Path) -> Result<()> {
    qmp.execute("stop")?;
    leave_memory(qmp)?;
    qmp.execute_with("migrate", json!({ "uri": format!("exec:cat >{}", quoted(state)?) }))?;
    let deadline = Instant::now() + STATE_TIMEOUT;
    loop {
        let progress = qmp.execute("query-migrate")?;
        match progress["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => bail!("QEMU did not save its state: {}", reason(&progress)),
            _ => ensure!(Instant::now() < deadline, "QEMU did not save its state in time: {progress}"),
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Reads the state of a machine's devices and lets it go on. `ended` tells why QEMU ended, if it did.
pub(super) fn restore(qmp: &Qmp, state: &Path, ended: impl FnOnce() -> Option<String>) -> Result<()> {
    take_state(qmp, state).map_err(|error| match ended() {
        Some(reason) => error.context(format!("QEMU ended over a saved state: {reason}")),
        None => error,
    })
}

fn take_state(qmp: &Qmp, state: &Path) -> Result<()> {
    leave_memory(qmp)?;
    qmp.execute_with("migrate-incoming", json!({ "uri": format!("exec:cat {}", quoted(state)?) }))?;
    let deadline = Instant::now() + STATE_TIMEOUT;
    loop {
        let status = qmp.execute("query-status")?;
        match status["status"].as_str() {
            Some("inmigrate") => {}
            Some("paused" | "running" | "prelaunch") => break,
            _ => bail!("QEMU did not take a saved state: {status}"),
        }
        ensure!(Instant::now() < deadline, "QEMU did not take a saved state in time: {status}");
        std::thread::sleep(POLL_INTERVAL);
    }
    qmp.execute("cont").map(drop)
}

/// Memory that is a shared file is no part of the state.
fn leave_memory(qmp: &Qmp) -> Result<()> {
    let capability = json!({ "capability": "x-ignore-shared", "state": true });
    qmp.execute_with("migrate-set-capabilities", json!({ "capabilities": [capability] })).map(drop)
}

/// A path for the shell that QEMU runs.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is no text", path.display()))?;
    ensure!(!text.contains('\''), "{text} has a quote in it");
    Ok(format!("'{text}'"))
}

fn reason(progress: &Value) -> String {
    progress["error-desc"].as_str().map_or_else(|| progress.to_string(), str::to_owned)
}
