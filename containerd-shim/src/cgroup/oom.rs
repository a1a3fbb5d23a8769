//! Tells when the kernel killed something of a cgroup for want of memory: `memory.events` is watched with
//! inotify (cgroup-v2.rst, "memory.events").

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, read};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Context, Result};

/// A watch on one cgroup.
#[derive(Debug)]
pub struct OomWatch {
    inotify: AsyncFd<OwnedFd>,
    file: PathBuf,
    kills: u64,
}

impl OomWatch {
    /// Watches `memory.events` in a folder.
    ///
    /// # Errors
    /// The file is not there (no memory controller), or inotify is used up.
    pub fn new(folder: &Path) -> Result<Self> {
        let file = folder.join("memory.events");
        let what = || format!("watch {}", file.display());
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context(what)?;
        inotify::add_watch(&inotify, &file, WatchFlags::MODIFY).context(what)?;
        let inotify = crate::sys::watch(inotify, Interest::READABLE).context(what)?;
        let kills = kills(&file).context(what)?.unwrap_or(0);
        Ok(OomWatch { inotify, file, kills })
    }

    /// Waits for the next kill. `None` when the cgroup is gone.
    pub async fn next(&mut self) -> Option<()> {
        loop {
            let mut ready = self.inotify.readable().await.ok()?;
            let mut events = [0u8; 1024];
            match read(self.inotify.get_ref(), &mut events) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    continue;
                }
                Err(_) => return None,
            }
            match self.has_new_kill() {
                Err(_) => return None,
                Ok(true) => return Some(()),
                Ok(false) => {}
            }
        }
    }

    /// Whether there were kills since the last that was reported. The kernel holds notices of a file back for up to
    /// 10 ms (`CGROUP_FILE_NOTIFY_MIN_INTV`), so that the end of who was killed may be known before.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn has_new_kill(&mut self) -> std::io::Result<bool> {
        let now = kills(&self.file)?.unwrap_or(0);
        let rose = now > self.kills;
        self.kills = now.max(self.kills);
        Ok(rose)
    }
}

/// The kernel's count of kills; `None` when the file does not say.
fn kills(file: &Path) -> std::io::Result<Option<u64>> {
    let text = std::fs::read_to_string(file)?;
    Ok(super::stats::flat_keyed(&text).find(|(key, _)| *key == "oom_kill").map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_a_rising_kill_count_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        std::fs::write(&file, "oom 0\noom_kill 0\n").unwrap();
        let mut watch = OomWatch::new(folder.path()).unwrap();
        std::fs::write(&file, "oom 1\noom_kill 0\n").unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), watch.next()).await.is_err());
        std::fs::write(&file, "oom 1\noom_kill 1\n").unwrap();
        let event =
            tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("event within 5 s");
        assert_eq!(event, Some(()));
    }

    #[tokio::test]
    async fn a_kill_is_seen_once_even_before_its_notice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        std::fs::write(&file, "oom_kill 3\n").unwrap();
        let mut watch = OomWatch::new(folder.path()).unwrap();
        assert!(!watch.has_new_kill().unwrap());
        std::fs::write(&file, "oom_kill 4\n").unwrap();
        assert!(watch.has_new_kill().unwrap());
        assert!(!watch.has_new_kill().unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(50), watch.next()).await.is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(watch.has_new_kill().is_err());
    }

    #[tokio::test]
    async fn the_watch_ends_with_the_cgroup() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.events");
        std::fs::write(&file, "oom_kill 0\n").unwrap();
        let mut watch = OomWatch::new(folder.path()).unwrap();
        std::fs::remove_file(&file).unwrap();
        let end = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("end within 5 s");
        assert_eq!(end, None);
        assert!(OomWatch::new(folder.path()).is_err());
    }
}
