//! A package list and its packages: those the lock pins, or what took their place.

use std::path::PathBuf;

use anyhow::Result;

use crate::apt::{self, Fetched};
use crate::cache::{self, Key};
use crate::packages::{self, List, Lock};
use crate::paths;

/// The list of the image's packages, `packages.toml`.
pub const IMAGE: &str = "packages";
/// The list of peers' packages, `peers.toml`.
pub const PEERS: &str = "peers";

/// What a root is made from.
pub struct Inputs {
    /// Name of the list.
    pub name: &'static str,
    /// What it says.
    pub list: List,
    /// Its packages.
    pub fetched: Fetched,
    /// Names of packages that are not what the lock pins.
    pub unlocked: Vec<String>,
}

impl Inputs {
    /// Reads a list and makes its packages present. With `locked` nothing but what is pinned will do.
    pub fn read(name: &'static str, locked: bool) -> Result<Self> {
        let list = List::read(&list_file(name))?;
        let pinned = packages::read_lock(&lock_file(name))?;
        let names: Vec<&str> = list.names().collect();
        if locked {
            let fetched = apt::fetch(&list.release, &names, &pinned, true)?;
            return Ok(Self { name, list, fetched, unlocked: Vec::new() });
        }
        // What vanished pins were resolved to is kept beside the cache, so that the next build needs no network.
        let mut key = Key::new("resolved 1");
        key.text(&packages::lock_text(&pinned));
        let resolved_file = paths::cache()?.join("resolved").join(key.finish());
        let mut intended = pinned.clone();
        intended.extend(packages::read_lock(&resolved_file)?);
        let fetched = apt::fetch(&list.release, &names, &intended, false)?;
        let unlocked = fetched.unlocked(&pinned);
        if !unlocked.is_empty() {
            cache::write_atomic(&resolved_file, packages::lock_text(&fetched.lock).as_bytes())?;
        }
        Ok(Self { name, list, fetched, unlocked })
    }

    /// The file of the list.
    pub fn file(&self) -> PathBuf {
        list_file(self.name)
    }
}

/// Resolves every package of a list anew and writes its lock.
pub fn lock(name: &str) -> Result<()> {
    let list = List::read(&list_file(name))?;
    let names: Vec<&str> = list.names().collect();
    let fetched = apt::fetch(&list.release, &names, &Lock::new(), false)?;
    let path = lock_file(name);
    cache::write_atomic(&path, packages::lock_text(&fetched.lock).as_bytes())?;
    eprintln!("{:<28} {}", "Locked", path.display());
    Ok(())
}

fn list_file(name: &str) -> PathBuf {
    paths::os_image().join(format!("{name}.toml"))
}

fn lock_file(name: &str) -> PathBuf {
    paths::os_image().join(format!("{name}.lock"))
}
