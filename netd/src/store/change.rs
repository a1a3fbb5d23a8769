//! Changes: begun, then made or given up; confirmed or rolled back.

use super::disk::{Disk, beside};
use super::record::{Journal, Outcome, Pending};
use super::{JOURNAL, PENDING, Store, StoreError, failed};

/// A change whose generation and journal are written. It must be made or given up; one that is neither is
/// found at the next start.
#[must_use]
#[derive(Debug)]
pub struct Begun(Journal);

impl Begun {
    /// The generation that is to run.
    pub fn generation(&self) -> u64 {
        self.0.to
    }
}

impl<D: Disk> Store<D> {
    /// Writes the journal, the new generation and, unless it is to be confirmed first, what becomes the
    /// startup document. Where the partition is full, the oldest generations make room, but for those
    /// `needed`. Fails while nothing has been changed yet.
    pub fn begin(&self, journal: Journal, document: &str, needed: &[u64]) -> Result<Begun, StoreError> {
        let folder = self.generations();
        self.disk.make_folder(&folder).map_err(failed(&folder, "making the folder"))?;
        loop {
            let Err(error) = self.write_begun(&journal, document) else {
                return Ok(Begun(journal));
            };
            self.remove_begun(&journal);
            if !error.is_full() || !self.remove_oldest(needed) {
                return Err(error);
            }
        }
    }

    fn write_begun(&self, journal: &Journal, document: &str) -> Result<(), StoreError> {
        self.write_record(&self.beside_startup(JOURNAL), journal)?;
        self.write_generation(journal.to, &journal.meta, document)?;
        if journal.is_to_be_confirmed() { Ok(()) } else { self.prepare_startup(document) }
    }

    /// Makes the change: with `pending`, as one that waits for its confirmation, else as the startup
    /// document.
    ///
    /// # Errors
    /// When it is not made; then it is still to be given up.
    pub fn commit(&self, begun: &Begun, pending: Option<&Pending>) -> Result<(), StoreError> {
        match pending {
            Some(pending) => self.put_record(&self.beside_startup(PENDING), pending)?,
            None => self.put_startup()?,
        }
        self.sync_decided();
        self.finish(&begun.0);
        Ok(())
    }

    /// What is left to do for a change that was decided.
    pub(super) fn finish(&self, journal: &Journal) {
        if let Some(replaced) = journal.replaces {
            let reason = format!("replaced by generation {} before it was confirmed", journal.to);
            self.set_outcome(replaced, Outcome::RolledBack, &reason);
        }
        if !journal.is_to_be_confirmed() {
            // Needs no sync: what a power cut brings back has expired with the reboot.
            self.discard(&self.beside_startup(PENDING));
        }
        self.discard(&self.beside_startup(JOURNAL));
    }

    /// Gives the change up, as if it had not been.
    pub fn give_up(&self, begun: &Begun) {
        self.remove_begun(&begun.0);
    }

    /// Gives the change up when not all of it could be undone: the journal stays until it is.
    pub fn give_up_degraded(&self, begun: &Begun, reason: &str) {
        self.discard(&beside(&self.startup));
        self.set_outcome(begun.0.to, Outcome::RolledBack, reason);
    }

    /// Everything is as wanted: nothing that began is on its way any more.
    pub fn settle(&self) {
        self.discard(&self.beside_startup(JOURNAL));
    }

    /// Removes what a change has begun; last of all the journal, so that a crash meanwhile is noticed.
    pub(super) fn remove_begun(&self, journal: &Journal) {
        self.discard(&beside(&self.startup));
        self.discard(&self.generation(journal.to));
        self.discard(&self.meta_path(journal.to));
        // The names must be gone before the journal that tells what they are.
        if let Err(error) = self.disk.sync(&self.generations()) {
            tracing::warn!("{}: syncing: {error}", self.generations().display());
        }
        self.discard(&self.beside_startup(JOURNAL));
    }

    fn prepare_startup(&self, document: &str) -> Result<(), StoreError> {
        let new = beside(&self.startup);
        self.disk.write(&new, document.as_bytes()).map_err(failed(&self.startup, "writing"))
    }

    /// Makes the prepared document the startup document.
    fn put_startup(&self) -> Result<(), StoreError> {
        let new = beside(&self.startup);
        self.disk.rename(&new, &self.startup).map_err(failed(&self.startup, "replacing"))
    }

    /// What was renamed is decided: a folder that cannot be synced is no reason to undo the network.
    fn sync_decided(&self) {
        if let Err(error) = self.disk.sync(self.folder()) {
            tracing::warn!("{}: syncing: {error}", self.folder().display());
        }
    }

    /// Makes the generation that is waited for the startup document.
    pub fn confirm(&self, pending: &Pending) -> Result<(), StoreError> {
        self.prepare_startup(&self.past(pending.generation)?)?;
        self.put_startup()?;
        self.sync_decided();
        self.note_confirmed(pending);
        Ok(())
    }

    pub(super) fn note_confirmed(&self, pending: &Pending) {
        self.set_outcome(pending.generation, Outcome::Confirmed, "");
        self.discard(&self.beside_startup(PENDING));
    }

    /// Notes that the generation that was waited for is taken back.
    pub fn roll_back(&self, pending: &Pending, reason: &str) {
        self.set_outcome(pending.generation, Outcome::RolledBack, reason);
        // Needs no sync: what a power cut brings back has expired with the reboot.
        self.discard(&self.beside_startup(PENDING));
    }

    /// Makes another document the startup document for one that crashed netd, which is kept beside it.
    pub fn start_with(&self, document: &str) -> Result<(), StoreError> {
        self.keep_refused();
        self.prepare_startup(document)?;
        self.put_startup()?;
        self.sync_decided();
        Ok(())
    }
}
