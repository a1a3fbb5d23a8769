//! Control groups (version 2) of a task.
//!
//! ```text
//! /services.slice                         every workload's ceiling, set by the image
//!   /corten-NAMESPACE-ID.scope            this task, delegated to the shim
//!     /shim                               the shim itself
//!     /task                               the workload; limits of its specification apply here
//! ```
//!
//! systemd makes the scope where it runs ([`scope`]), else the shim makes the folders. Where version 2 is
//! not the only hierarchy the shim leaves the specification's cgroup alone: [`unified`] tells.

pub mod oom;
pub mod path;
pub mod scope;
pub mod stats;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::error::{Context, Error, Result};

/// Where the hierarchy is mounted.
pub const ROOT: &str = "/sys/fs/cgroup";
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "io", "pids", "cpuset"];

/// Whether `/sys/fs/cgroup` is the one and only version 2 hierarchy.
pub fn unified() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs(ROOT).is_ok_and(|stat| stat.f_type == CGROUP2_SUPER_MAGIC)
}

/// The cgroups of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCgroup {
    /// Unit name, which is also the last part of the scope's path.
    pub scope: String,
    /// Whether systemd made the scope and removes it.
    pub by_systemd: bool,
}

impl TaskCgroup {
    /// Names the cgroups of a task. Makes nothing.
    ///
    /// # Errors
    /// The names are too long for systemd.
    pub fn of(namespace: &str, id: &str) -> Result<Self> {
        Ok(TaskCgroup { scope: path::scope_name(namespace, id)?, by_systemd: scope::systemd_runs() })
    }

    /// Makes the scope, moves this process into its `shim` part and lets the `task` part be limited.
    ///
    /// # Errors
    /// systemd or the file system refused.
    pub async fn enter(&self) -> Result<()> {
        if self.by_systemd {
            scope::start(&self.scope, std::process::id()).await?;
        } else {
            make_folder(&self.folder())?;
            enable_controllers(Path::new(ROOT));
            enable_controllers(&Path::new(ROOT).join(path::SLICE));
        }
        // No process may live beside children that controllers are enabled for, hence the `shim` part.
        let shim = self.folder().join("shim");
        make_folder(&shim)?;
        move_self(&shim)?;
        enable_controllers(&self.folder());
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        Path::new(ROOT).join(path::SLICE).join(&self.scope)
    }

    /// Folder of the workload's part.
    pub fn task_folder(&self) -> PathBuf {
        self.folder().join("task")
    }

    /// The workload's part as the specification names it.
    pub fn specification_path(&self) -> String {
        path::specification_path(&self.scope)
    }

    /// Kills everything in the workload's part.
    pub fn kill(&self) {
        match fs::write(self.task_folder().join("cgroup.kill"), "1") {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                warn!("kill what is left in {}: {error}", self.task_folder().display());
            }
            _ => {}
        }
    }

    /// Kills what is left of the workload and removes its part.
    ///
    /// # Errors
    /// Something does not die within a second.
    pub async fn remove_task(&self) -> Result<()> {
        self.kill();
        remove_tree(&self.task_folder()).await
    }

    /// Removes the scope from within, as the shim's last act.
    pub async fn leave(&self) {
        // systemd removes a scope with its last process.
        if self.by_systemd {
            return;
        }
        let shim = self.folder().join("shim");
        if fs::read_to_string(shim.join("cgroup.procs")).is_ok_and(|list| contains_self(&list))
            && let Err(error) = move_self(Path::new(ROOT))
        {
            warn!("{error}");
        }
        self.remove_folders().await;
    }

    /// Removes the scope of a shim that is gone.
    pub async fn remove(&self) {
        if !self.by_systemd {
            return self.remove_folders().await;
        }
        if let Err(error) = scope::stop(&self.scope).await {
            warn!("{error}");
        }
    }

    async fn remove_folders(&self) {
        for folder in [self.folder().join("shim"), self.folder()] {
            if let Err(error) = remove_tree(&folder).await {
                warn!("{error}");
            }
        }
    }
}

fn contains_self(list: &str) -> bool {
    let own = std::process::id().to_string();
    list.lines().any(|line| line == own)
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(|| format!("create cgroup {}", folder.display()))
}

fn move_self(folder: &Path) -> Result<()> {
    let file = folder.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).context(|| format!("enter {}", file.display()))
}

/// Lets the children of a cgroup be limited. A controller the kernel lacks only matters to a workload that
/// asks for its limits, and then the OCI runtime says so.
fn enable_controllers(folder: &Path) {
    let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in CONTROLLERS.iter().filter(|name| available.split_whitespace().any(|it| it == **name)) {
        if let Err(error) = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")) {
            warn!("enable controller {controller} in {}: {error}", folder.display());
        }
    }
}

/// Removes a cgroup and those below it, waiting a little for processes that are dying.
async fn remove_tree(folder: &Path) -> Result<()> {
    const ATTEMPTS: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..ATTEMPTS {
        match remove_once(folder) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => tokio::time::sleep(PAUSE).await,
            other => return other.context(|| format!("remove cgroup {}", folder.display())),
        }
    }
    Err(Error::failed(
        format!("remove cgroup {}", folder.display()),
        format!("processes in it do not end within {} ms", PAUSE.as_millis() * u128::from(ATTEMPTS)),
    ))
}

fn remove_once(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Process ids in a cgroup and below.
///
/// # Errors
/// The cgroup cannot be read; one that is gone has no processes.
pub fn processes(folder: &Path) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let what = || format!("read {}", folder.display());
        let list = match fs::read_to_string(folder.join("cgroup.procs")) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.context(what)?,
        };
        pids.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(&folder).context(what)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_nested_cgroups_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "7\n3\n").unwrap();
        fs::write(inner.join("cgroup.procs"), "5\n").unwrap();
        assert_eq!(processes(folder.path()).unwrap(), [3, 7]);
        fs::write(folder.path().join("a/cgroup.procs"), "").unwrap();
        assert_eq!(processes(folder.path()).unwrap(), [3, 5, 7]);
        assert!(processes(Path::new("/nonexistent")).unwrap().is_empty());
    }

    #[tokio::test]
    async fn removing_what_is_gone_succeeds() {
        remove_tree(Path::new("/nonexistent/cgroup")).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let outer = folder.path().join("outer");
        fs::create_dir_all(outer.join("x/y")).unwrap();
        remove_tree(&outer).await.unwrap();
        assert!(!outer.exists());
    }
}
