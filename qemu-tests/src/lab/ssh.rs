//! How the labs are logged in to.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// An SSH client that knows no hosts and asks nothing.
pub fn ssh_command(port: u16) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "ConnectTimeout=20",
    ])
    .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"])
    .args(["-p", &port.to_string()]);
    ssh
}

/// An SSH key for one lab.
pub(super) struct Key {
    folder: TempDir,
    pub(super) public: String,
}

impl Key {
    pub(super) fn generate() -> Result<Key> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "corten-test", "-f"])
            .arg(folder.path().join("key"))
            .output()
            .context("cannot run ssh-keygen")?;
        ensure!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        let public = std::fs::read_to_string(folder.path().join("key.pub")).context("no public key")?;
        Ok(Key { folder, public: public.trim().to_owned() })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("key")
    }
}
