//! The configuration on disk: the document netd applies at start, past generations, and what is on its way.
//!
//! | file | what |
//! | --- | --- |
//! | `startup.toml` | the last confirmed document; the switch starts with it |
//! | `generations/N.toml`, `N.json` | every document that was applied, and who applied it |
//! | `pending.json` | a generation that runs and waits for its confirmation |
//! | `journal.json` | a change that is on its way |
//! | `starts.json` | starts of netd that did not end well |
//!
//! A file is replaced whole: its content is written beside it and synced, renamed over it, and the folder is
//! synced. Each change has one such rename (or removal) that decides it; what comes before prepares it, what
//! comes after tidies up, and [`Store::recover`] does the tidying for a change that was cut off:
//!
//! | change | before | decided by | after |
//! | --- | --- | --- | --- |
//! | apply | journal, generation, `startup.toml.new`; the kernel | `startup.toml` renamed | pending removed, journal removed |
//! | apply, to be confirmed | journal, generation; the kernel | `pending.json` renamed | journal removed |
//! | confirm | `startup.toml.new` | `startup.toml` renamed | outcome in `N.json`, pending removed |
//! | roll back what is pending | | outcome in `N.json` renamed | pending removed; the kernel |
//!
//! So whatever the moment at which netd is killed or the power is cut, what runs next is the document from
//! before the change or the one after it, and the kernel is made exactly as that says. A journal that is
//! found at start tells that a change was cut off. Removing it needs no sync: found again, it is compared
//! with what was decided.
//!
//! Start reading at [`Store::begin`] and [`Store::recover`].

mod change;
pub mod disk;
mod history;
pub mod record;
mod recovery;

#[cfg(test)]
mod file_tests;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use change::Begun;
pub use disk::{read_bounded, write_atomically};
pub use history::Present;
pub use recovery::Found;

use disk::{Disk, Files, beside};

/// Folder of generations, beside the startup document.
const GENERATIONS: &str = "generations";
/// Where a startup document that was refused is kept when another one takes its place.
const REFUSED: &str = "startup.refused.toml";
const PENDING: &str = "pending.json";
const JOURNAL: &str = "journal.json";
const STARTS: &str = "starts.json";
/// Largest record that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {action}: {source}", path.display())]
pub struct StoreError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

impl StoreError {
    /// Whether there is no room left.
    fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { path, action, source }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store<D = Files> {
    disk: D,
    startup: PathBuf,
    running: PathBuf,
}

impl Store {
    /// A store with its startup document and the published running document at these paths.
    pub fn new(startup: &Path, running: &Path) -> Store {
        Store::on(Files, startup, running)
    }
}

impl<D: Disk> Store<D> {
    /// A store on a disk.
    pub fn on(disk: D, startup: &Path, running: &Path) -> Store<D> {
        Store { disk, startup: startup.to_owned(), running: running.to_owned() }
    }

    /// Publishes the running document for readers of this boot. Password hashes are in it, so only root may read it.
    pub fn publish(&self, document: &str) -> Result<(), StoreError> {
        let folder = self.running.parent().unwrap_or(Path::new("/"));
        self.disk.make_folder(folder).map_err(failed(folder, "making the folder"))?;
        let new = beside(&self.running);
        self.disk.write(&new, document.as_bytes()).map_err(failed(&self.running, "writing"))?;
        self.disk.rename(&new, &self.running).map_err(failed(&self.running, "replacing"))?;
        self.disk.sync(folder).map_err(failed(folder, "syncing"))
    }

    /// The startup document; `None` on a switch that has none yet.
    pub fn startup(&self) -> Result<Option<String>, StoreError> {
        match self.read_text(&self.startup) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.startup, "reading")(error)),
        }
    }

    /// The document of a generation.
    pub fn past(&self, number: u64) -> Result<String, StoreError> {
        let path = self.generation(number);
        self.read_text(&path).map_err(failed(&path, "reading"))
    }

    /// Keeps a startup document that was refused beside the one that is to take its place: it is no
    /// generation, and somebody's work. Linked, not copied: it may be one that cannot be read.
    pub fn keep_refused(&self) {
        let kept = self.beside_startup(REFUSED);
        let linked = self.disk.remove(&kept).and_then(|()| self.disk.link(&self.startup, &kept));
        if let Err(error) = linked {
            tracing::warn!("{}: keeping the refused startup configuration: {error}", kept.display());
        }
    }

    fn beside_startup(&self, name: &str) -> PathBuf {
        self.startup.with_file_name(name)
    }

    fn folder(&self) -> &Path {
        self.startup.parent().unwrap_or(Path::new("/"))
    }

    fn generations(&self) -> PathBuf {
        self.beside_startup(GENERATIONS)
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(format!("{number}.toml"))
    }

    fn meta_path(&self, number: u64) -> PathBuf {
        self.generations().join(format!("{number}.json"))
    }

    fn read_text(&self, path: &Path) -> io::Result<String> {
        let bytes = self.disk.read(path)?;
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
    }

    /// Replaces a file by a record; the folder is not synced.
    fn put_record(&self, path: &Path, record: &impl Serialize) -> Result<(), StoreError> {
        let text =
            serde_json::to_vec_pretty(record).map_err(io::Error::from).map_err(failed(path, "writing"))?;
        let new = beside(path);
        self.disk.write(&new, &text).map_err(failed(path, "writing"))?;
        self.disk.rename(&new, path).map_err(failed(path, "replacing"))
    }

    /// Replaces a file by a record.
    fn write_record(&self, path: &Path, record: &impl Serialize) -> Result<(), StoreError> {
        self.put_record(path, record)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        self.disk.sync(folder).map_err(failed(folder, "syncing"))
    }

    /// Reads a record. One that cannot be read counts as none: what it was about ends as if it had not been.
    fn record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let read = self.read_record(path)?;
        read.inspect_err(|reason| tracing::error!("{}: ignored: {reason}", path.display())).ok()
    }

    /// The same with why it cannot be read; `None` where there is none.
    fn read_record<T: DeserializeOwned>(&self, path: &Path) -> Option<Result<T, String>> {
        if self.disk.length(path)? > MAX_RECORD_BYTES {
            return Some(Err("it is too long".to_owned()));
        }
        let read = self.disk.read(path).map_err(|error| error.to_string());
        Some(read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())))
    }

    /// Removes a file that is not needed any more.
    fn discard(&self, path: &Path) {
        if let Err(error) = self.disk.remove(path) {
            tracing::warn!("{}: removing: {error}", path.display());
        }
    }
}
