//! The folder of all that a run of tests makes outside of `target/os`: disks, sockets, keys, saved machines.
//!
//! It is removed when the run ends, however that is: a small shell waits beside the run for the end of a pipe, which
//! the kernel closes for a process that was killed, too.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Waits for the end of its input; then removes a folder, into which processes that end may still write.
const JANITOR: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null && [ ! -e "$1" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || exit 1
    sleep 0.1
done
"#;

/// The folder of a run; dropping it removes it.
pub struct RunFolder {
    path: PathBuf,
    janitor: Child,
}

impl RunFolder {
    /// Makes the folder, and makes it the place of all temporary files of this process.
    pub fn new() -> Result<RunFolder> {
        // Short, since the paths of sockets are (`sun_path` has 108 bytes).
        let folder =
            tempfile::Builder::new().prefix("corten-run-").tempdir().context("no temporary folder")?;
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "corten-janitor"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the janitor of temporary files")?;
        let path = folder.keep();
        // Whoever set it before has a folder of his own, which goes as well.
        let _ = tempfile::env::override_temp_dir(&path);
        Ok(RunFolder { path, janitor })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // It removes the folder; what it cannot remove it leaves.
        let _ = self.janitor.wait();
    }
}
