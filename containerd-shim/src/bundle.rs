//! What the shim keeps in the bundle, so that `delete` can clean up after a shim that was killed. Written
//! before each step it describes: what is in it may exist, what is not in it does not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::TaskCgroup;
use crate::error::{Context, Error, Result};
use crate::options::RuntimeOptions;
use crate::spec::{read_bounded, write_atomically};
use crate::workload::Kind;

const FILE: &str = "corten-shim.json";
const ADDRESS_FILE: &str = "address";
const MAX_STATE_BYTES: u64 = 1 << 20;
const VERSION: u32 = 1;

/// The shim's record of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// containerd's namespace.
    pub namespace: String,
    /// Container id.
    pub id: String,
    /// Kind of the workload.
    pub kind: Kind,
    /// How the OCI runtime was run.
    pub runtime: RuntimeOptions,
    /// The task's cgroups, where the shim makes them.
    pub cgroup: Option<TaskCgroup>,
    /// Keys of the ports asked of netd.
    pub ports: Vec<String>,
    /// Whether the root file system is mounted below the bundle.
    pub rootfs_mounted: bool,
    /// The init process; 0 when there is none yet.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc(5), `stat` field 22): tells it from a later process with
    /// the same id.
    pub pid_start_ticks: u64,
}

impl State {
    /// The record of a task that has nothing yet.
    pub fn new(namespace: &str, id: &str, kind: Kind, runtime: RuntimeOptions) -> Self {
        State {
            version: VERSION,
            namespace: namespace.to_owned(),
            id: id.to_owned(),
            kind,
            runtime,
            cgroup: None,
            ports: Vec::new(),
            rootfs_mounted: false,
            pid: 0,
            pid_start_ticks: 0,
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// The file system's.
    pub fn save(&self, bundle: &Path) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|error| Error::failed("encode the shim's record", error))?;
        write_atomically(&bundle.join(FILE), &text)
    }

    /// Removes the record: nothing of the task is left.
    ///
    /// # Errors
    /// The file system's.
    pub fn remove(bundle: &Path) -> Result<()> {
        let path = bundle.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Reads the record; `None` when the task never got that far.
    ///
    /// # Errors
    /// It is damaged or of another version.
    pub fn load(bundle: &Path) -> Result<Option<Self>> {
        let path = bundle.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = read_bounded(&path, MAX_STATE_BYTES)?;
        let state: State = serde_json::from_slice(&text)
            .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
        if state.version != VERSION {
            return Err(Error::Invalid(format!(
                "{}: version {}, this shim knows {VERSION}",
                path.display(),
                state.version
            )));
        }
        Ok(Some(state))
    }

    /// Notes the init process.
    pub fn set_pid(&mut self, pid: u32) {
        self.pid = pid;
        self.pid_start_ticks = start_ticks(pid).unwrap_or(0);
    }

    /// Whether the init process noted here is the one that has its id now.
    pub fn init_lives(&self) -> bool {
        self.pid != 0 && start_ticks(self.pid).is_some_and(|ticks| ticks == self.pid_start_ticks)
    }
}

/// Field 22 of `/proc/PID/stat`. The second field may contain anything, so fields are counted from its end.
fn start_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// Notes the server's address, where containerd looks for it after a restart.
///
/// # Errors
/// The file system's.
pub fn save_address(bundle: &Path, address: &str) -> Result<()> {
    write_atomically(&bundle.join(ADDRESS_FILE), address.as_bytes())
}

/// The server's socket, from its noted address.
pub fn socket(bundle: &Path) -> Option<PathBuf> {
    let text = read_bounded(&bundle.join(ADDRESS_FILE), 4096).ok()?;
    let text = String::from_utf8(text).ok()?;
    text.strip_prefix("unix://").map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_survives_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
        let mut state = State::new("default", "a", Kind::Container, RuntimeOptions::default());
        state.ports.push("default/a/eth0".into());
        state.set_pid(std::process::id());
        state.save(folder.path()).unwrap();
        let loaded = State::load(folder.path()).unwrap().unwrap();
        assert_eq!(loaded, state);
        assert!(loaded.init_lives());
        for text in ["", "{}", "[1]", r#"{"version":2}"#] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(State::load(folder.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_that_took_over_the_id_is_not_taken_for_the_init() {
        let mut state = State::new("default", "a", Kind::Container, RuntimeOptions::default());
        assert!(!state.init_lives());
        state.set_pid(std::process::id());
        state.pid_start_ticks += 1;
        assert!(!state.init_lives());
    }
}
