//! Which conditions held, for the next start of netd in this boot: a file that goes with the boot, as the clock that
//! their beginnings are told by does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use netd_api::alarm::AlarmKind;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::clock::Moment;
use crate::store::{read_bounded, write_atomically};

/// Largest file that is read, in bytes. What is written is bounded by how many conditions are told.
const MAX_BYTES: u64 = 256 * 1024;

/// A condition that held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    /// When it began, by CLOCK_BOOTTIME.
    pub since_ns: u64,
    /// What was wrong.
    pub text: String,
}

/// The file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    boot_id: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    boot_id: String,
    alarms: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    kind: AlarmKind,
    object: String,
    since_ns: u64,
    text: String,
}

impl Memory {
    /// The file at this path.
    pub fn at(path: &Path) -> Memory {
        Memory { path: path.to_owned(), boot_id: Moment::now().boot_id }
    }

    /// What held when netd ended; nothing of another boot, and nothing where the file cannot be read.
    pub fn load(&self) -> BTreeMap<Key, Remembered> {
        self.read().unwrap_or_else(|reason| {
            tracing::warn!("{}: ignored: {reason}", self.path.display());
            BTreeMap::new()
        })
    }

    fn read(&self) -> io::Result<BTreeMap<Key, Remembered>> {
        let bytes = match read_bounded(&self.path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            bytes => bytes?,
        };
        let record: Record = serde_json::from_slice(&bytes)?;
        let now = Moment::now();
        if !now.is_in(&record.boot_id) {
            return Ok(BTreeMap::new());
        }
        let rows = record.alarms.into_iter().filter(|row| row.since_ns <= now.boottime_ns);
        let known = |Row { kind, object, since_ns, text }| ((kind, object), Remembered { since_ns, text });
        Ok(rows.map(known).collect())
    }

    /// Keeps what holds.
    pub fn save(&self, open: impl Iterator<Item = (Key, Remembered)>) {
        let row = |((kind, object), Remembered { since_ns, text })| Row { kind, object, since_ns, text };
        let record = Record { boot_id: self.boot_id.clone(), alarms: open.map(row).collect() };
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::from)
            .and_then(|bytes| write_atomically(&self.path, &bytes, 0o600));
        if let Err(error) = written {
            tracing::warn!("{}: keeping what is wrong: {error}", self.path.display());
        }
    }
}
