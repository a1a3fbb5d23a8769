//! From the running configuration to the rest of the system: host name, users, management network.
//!
//! Each file below turns one part of the model into files, purely ([`Rendered`]); this one compares them
//! with what is there, writes what changed, and tells networkd when it concerns networkd.

mod host_name;
mod network;
mod resolver;
mod routing;
mod users;
mod watch;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use netd_api::paths::RUNNING_CONFIG;
use nix::fcntl::{Flock, FlockArg};

use crate::files;
pub use watch::watch;

/// What a folder is to hold, by file name.
type Rendered = BTreeMap<String, Entry>;

/// A file or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File { content: String, mode: u32 },
    Link { target: String },
}

impl Entry {
    fn public(content: String) -> Self {
        Entry::File { content, mode: 0o644 }
    }

    fn secret(content: String) -> Self {
        Entry::File { content, mode: 0o600 }
    }

    fn link(target: &str) -> Self {
        Entry::Link { target: target.to_owned() }
    }
}

/// Renders the running configuration once. Without one there is nothing to render.
pub fn once(root: &Path) -> Result<()> {
    let running = files::below(root, RUNNING_CONFIG);
    let Some(_lock) = running.parent().map(lock).transpose()?.flatten() else {
        return Ok(());
    };
    let Some(text) = files::read_document(&running)? else {
        return Ok(());
    };
    let config = files::parse(RUNNING_CONFIG, &text)?;
    // One part that fails must not keep the others from being rendered: users first, as they open the door.
    let outcomes = [
        ("users", users::render(root, &config)),
        ("host name", host_name::render(root, &config)),
        ("management network", network::render(root, &config)),
        ("name servers", resolver::render(root, &config)),
        ("routing", routing::render(root, &config)),
    ];
    let failures: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(part, outcome)| outcome.err().map(|error| format!("{part}: {error:#}")))
        .collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

/// Keeps others from rendering at the same time, until it is dropped. `None` when there is no such folder.
fn lock(folder: &Path) -> Result<Option<Flock<File>>> {
    let file = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot open {}", folder.display()))?,
    };
    let locked = Flock::lock(file, FlockArg::LockExclusive);
    locked.map(Some).map_err(|(_, error)| error).with_context(|| format!("cannot lock {}", folder.display()))
}

/// Makes a folder hold the entries and, of the names that `ours` admits, nothing else. Answers which
/// names changed.
fn sync_folder(folder: &Path, entries: &Rendered, ours: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    files::make_folder(folder, 0o755)?;
    let mut changed = Vec::new();
    let listing = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in listing {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if ours(&name) && !entries.contains_key(&name) {
            remove(&entry.path())?;
            changed.push(name);
        }
    }
    for (name, entry) in entries {
        let path = folder.join(name);
        let wrote = match entry {
            Entry::File { content, mode } => {
                // A link under this name would be followed when compared.
                if path.is_symlink() {
                    remove(&path)?;
                }
                files::write_if_changed(&path, content.as_bytes(), *mode)?
            }
            Entry::Link { target } => link_if_changed(&path, target)?,
        };
        if wrote {
            changed.push(name.clone());
        }
    }
    Ok(changed)
}

fn link_if_changed(path: &Path, target: &str) -> Result<bool> {
    if fs::read_link(path).is_ok_and(|current| current == Path::new(target)) {
        return Ok(false);
    }
    if path.symlink_metadata().is_ok() {
        remove(path)?;
    }
    symlink(target, path).with_context(|| format!("cannot make the link {}", path.display()))?;
    Ok(true)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a program of the system; in a test's root there is none to run.
fn run_program(root: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    if root != Path::new("/") {
        return Ok(());
    }
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed ({}): {}", arguments.join(" "), output.status, said.trim());
    }
    Ok(())
}
