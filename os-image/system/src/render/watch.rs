//! Rendering again whenever something it depends on changes.
//!
//! A path unit would lose a change that comes while the service it starts is still running; a watch that
//! is set before the first look loses none.

use std::path::Path;

use anyhow::{Context, Result};
use netd_api::paths::RUNNING_CONFIG;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::resolver::NETWORKD_STATE;
use crate::{files, notify};

/// Renders now and after every change, for ever. A rendering that fails is reported, and tried again with
/// the next change.
pub fn watch(root: &Path) -> Result<()> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context("cannot watch files")?;
    for file in [RUNNING_CONFIG, NETWORKD_STATE] {
        let path = files::below(root, file);
        let Some(folder) = path.parent() else {
            continue;
        };
        // Files that are renamed into place are seen by watching their folder.
        files::make_folder(folder, 0o755)?;
        let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
        inotify.add_watch(folder, events).with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    render(root);
    notify::ready()?;
    loop {
        let events = inotify.read_events().context("cannot watch files")?;
        let concerns = |name: &std::ffi::OsStr| {
            [RUNNING_CONFIG, NETWORKD_STATE].iter().any(|file| Path::new(file).file_name() == Some(name))
        };
        // An overflow of the kernel's queue comes without a name: then anything may have changed.
        if events.iter().any(|event| event.name.as_deref().is_none_or(concerns)) {
            render(root);
        }
    }
}

fn render(root: &Path) {
    if let Err(error) = super::once(root) {
        eprintln!("{error:#}");
    }
}
