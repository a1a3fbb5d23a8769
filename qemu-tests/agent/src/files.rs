//! Files: written whole, waited for.

use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Writes a file beside the old one and renames it.
pub fn put(path: &str, mode: u32, content: &[u8]) -> Result<()> {
    let path = Path::new(path);
    let folder = path.parent().context("it has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut name = path.file_name().context("it has no name")?.to_owned();
    name.push(".corten-test-new");
    let fresh = folder.join(name);
    fs::write(&fresh, content)
        .and_then(|()| fs::set_permissions(&fresh, Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Waits until a file exists or does not. `armed` is called once nothing is missed any more.
pub fn wait(path: &str, exists: bool, deadline: Instant, armed: impl FnOnce()) -> Result<()> {
    let path = Path::new(path);
    let folder = path.parent().context("it has no folder")?;
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context("no inotify")?;
    let changes = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_ONLYDIR;
    watch.add_watch(folder, changes).with_context(|| format!("cannot watch {}", folder.display()))?;
    armed();
    loop {
        if path.symlink_metadata().is_ok() == exists {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "{} {}",
            path.display(),
            if exists { "did not appear" } else { "is still there" }
        );
        let mut descriptors = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))
            .context("cannot poll")?;
        // What happened does not matter, only that something did.
        let _ = watch.read_events();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn in_folder(work: impl FnOnce(&Path)) {
        let folder = std::env::temp_dir().join(format!("corten-agent-{:?}", thread::current().id()));
        fs::create_dir_all(&folder).unwrap();
        work(&folder);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn file_is_written_whole_with_its_mode() {
        in_folder(|folder| {
            let path = folder.join("new/file");
            put(path.to_str().unwrap(), 0o640, b"content").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"content");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something is left");
        });
    }

    #[test]
    fn wait_ends_when_the_file_appears_and_when_it_goes() {
        in_folder(|folder| {
            let path = folder.join("awaited");
            let text = path.to_str().unwrap().to_owned();
            for exists in [true, false] {
                let (armed, arm) = mpsc::channel();
                let text = text.clone();
                let waiter = thread::spawn(move || {
                    let deadline = Instant::now() + Duration::from_secs(20);
                    wait(&text, exists, deadline, || armed.send(()).unwrap())
                });
                arm.recv().unwrap();
                if exists {
                    fs::write(&path, b"").unwrap()
                } else {
                    fs::remove_file(&path).unwrap()
                }
                waiter.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn wait_ends_with_its_deadline() {
        in_folder(|folder| {
            let path = folder.join("never");
            let error = wait(path.to_str().unwrap(), true, Instant::now(), || ()).unwrap_err();
            assert!(error.to_string().contains("did not appear"), "{error}");
        });
    }
}
