//! What there is before a change, kept for as long as the change waits for its confirmation.
//!
//! The record is taken on a thread of its own, beside what is written to the disk for the change, and is there before
//! the first step on the network. What the transaction's own snapshot goes through, entries of neighbours and the
//! forwarding database, is added from that: a second look at long tables would cost as much again. It lies with what is known of this boot: a change that waits ends with the boot. A
//! record is only taken for that of a change which names it, so that one that is lost is never taken for another.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::{KINDS, Kind, Look};
use crate::clock::Moment;
use crate::kernel::snapshot::Hosts;
use crate::kernel::{Connection, KernelError};
use crate::store::{read_bounded, write_atomically};

/// How long a change waits for its record. Only a kernel that hardly answers takes this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest record that is read, in bytes: more than one of all kinds at their limits has.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What there was before a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The boot in which it was taken.
    pub boot_id: String,
    /// When, by CLOCK_BOOTTIME: what the change knows it by.
    pub taken_ns: u64,
    /// What there was, by the names of kinds. A kind that could not be read is not there.
    pub kinds: BTreeMap<String, Facts>,
}

impl Record {
    /// Takes a record. `attachments` are the keys of attachments by their ports. Without `hosts`, what the snapshot of
    /// a transaction comes by is left to that.
    ///
    /// # Errors
    /// When the kernel does not show its links, without which nothing can be read.
    pub fn take(attachments: &BTreeMap<String, String>, hosts: bool) -> Result<Record, KernelError> {
        let Moment { boot_id, boottime_ns: taken_ns } = Moment::now();
        let mut connection = Connection::open()?;
        let links = super::links(&mut connection)?;
        let mut kinds = BTreeMap::new();
        let is_left = |kind: &dyn Kind| !hosts && kind.of_snapshot(&Hosts::default()).is_some();
        for kind in KINDS.into_iter().filter(|kind| !is_left(*kind)) {
            let mut look = Look { connection: &mut connection, links: &links, attachments, after: None };
            match kind.observe(&mut look) {
                Ok(facts) => add(kind, facts, &mut kinds),
                Err(error) => tracing::warn!("before the change: {}: {error}", kind.name()),
            }
        }
        Ok(Record { boot_id, taken_ns, kinds })
    }

    /// Adds what the snapshot of a transaction came by before it changed anything.
    pub fn add(&mut self, hosts: &Hosts) {
        if !hosts.complete {
            return;
        }
        for kind in KINDS {
            if let Some(facts) = kind.of_snapshot(hosts) {
                add(kind, facts, &mut self.kinds);
            }
        }
    }

    /// Reads the record that was taken at this moment of this boot; `None` when it is lost.
    pub fn load(path: &Path, taken_ns: u64) -> Option<Record> {
        let record = read(path).inspect_err(|error| {
            tracing::warn!("{}: what was before the change is not known: {error}", path.display());
        });
        let record = record.ok()?;
        (record.taken_ns == taken_ns && Moment::now().is_in(&record.boot_id)).then_some(record)
    }

    /// Keeps the record for a restart of netd.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        write_atomically(path, &serde_json::to_vec(self)?, 0o600)
    }
}

fn add(kind: &dyn Kind, facts: Facts, kinds: &mut BTreeMap<String, Facts>) {
    let (name, beyond) = (kind.name(), facts.beyond());
    if beyond > 0 {
        tracing::warn!("{beyond} more of {name} than are kept are not compared");
    }
    kinds.insert(name.to_owned(), facts);
}

fn read(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&read_bounded(path, MAX_BYTES)?)?)
}

/// A record that is being taken.
#[derive(Debug)]
pub struct Recording(Option<Receiver<Record>>);

impl Recording {
    /// Begins to take a record, see [`Record::take`].
    pub fn begin(attachments: BTreeMap<String, String>, hosts: bool) -> Recording {
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("record".to_owned());
        let begun = thread.spawn(move || match Record::take(&attachments, hosts) {
            // Who does not wait any more needs no record.
            Ok(record) => drop(sender.send(record)),
            Err(error) => tracing::warn!("what is before the change cannot be read: {error}"),
        });
        match begun {
            Ok(_) => Recording(Some(receiver)),
            Err(error) => {
                tracing::warn!("what is before the change is not recorded: {error}");
                Recording(None)
            }
        }
    }

    /// Waits for it. `None` when there is none.
    pub fn end(self) -> Option<Record> {
        let record = self.0?.recv_timeout(PATIENCE);
        record.inspect_err(|_| tracing::warn!("what was before the change is not recorded")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("netd-comparison-{name}-{}.json", std::process::id()))
    }

    #[test]
    fn record_is_read_back_by_the_change_that_names_it_alone() {
        let path = path("names");
        let mut facts = Facts::default();
        facts.add("swp1".to_owned(), 1);
        let boot_id = Moment::now().boot_id;
        let record = Record { boot_id, taken_ns: 7, kinds: [("port".to_owned(), facts)].into() };
        record.save(&path).expect("a folder for it");
        assert_eq!(Record::load(&path, 7), Some(record.clone()));
        assert_eq!(Record::load(&path, 8), None, "that of another change");
        Record { boot_id: "another".to_owned(), ..record }.save(&path).expect("a folder for it");
        assert_eq!(Record::load(&path, 7), None, "that of another boot");
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(Record::load(&path, 7), None, "none");
    }

    #[test]
    fn record_that_is_broken_or_endless_is_none() {
        let path = path("broken");
        for content in ["{", "", "[]"] {
            std::fs::write(&path, content).expect("a folder for it");
            assert_eq!(Record::load(&path, 7), None, "{content:?}");
        }
        let endless = std::fs::File::create(&path).expect("a folder for it");
        endless.set_len(MAX_BYTES + 1).expect("a hole");
        assert_eq!(Record::load(&path, 7), None);
        std::fs::remove_file(&path).expect("it is there");
    }
}
