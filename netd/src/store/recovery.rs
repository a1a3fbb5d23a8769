//! What a start finds: changes that were cut off are completed or dropped, and what waits for its
//! confirmation goes on waiting or is taken back.

use super::disk::{Disk, beside};
use super::record::{Journal, Meta, Outcome, Pending};
use super::{JOURNAL, PENDING, Store};
use crate::clock::Moment;

/// What a start found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The generation that runs on and waits for its confirmation, with its document.
    pub pending: Option<(Pending, String)>,
    /// Whether a change was cut off, so that the last run of netd did not end over what ran.
    pub cut_off: bool,
    /// What an operator should know of it.
    pub notes: Vec<String>,
}

impl<D: Disk> Store<D> {
    /// Brings the files in order at start, and tells what is waited for.
    pub fn recover(&self, now: &Moment) -> Found {
        let mut found = Found::default();
        self.remove_left_overs();
        // One that cannot be read equals no generation.
        let startup = self.startup().ok().flatten();
        if let Some(journal) = self.record::<Journal>(&self.beside_startup(JOURNAL)) {
            let (to, user) = (journal.to, &journal.meta.author.user);
            if !self.complete(&journal, startup.as_deref()) {
                found.cut_off = true;
                let note =
                    format!("netd ended while generation {to} of {user} was applied: it is taken back");
                found.notes.push(note);
            }
        }
        // One that cannot be read tells nothing.
        self.discard(&self.beside_startup(JOURNAL));
        if let Some(pending) = self.pending() {
            self.look_at_pending(pending, startup.as_deref(), now, &mut found);
        } else {
            self.discard(&self.beside_startup(PENDING));
        }
        found
    }

    /// New contents that were not renamed any more.
    fn remove_left_overs(&self) {
        for name in [PENDING, JOURNAL, super::STARTS] {
            self.discard(&beside(&self.beside_startup(name)));
        }
        self.discard(&beside(&self.startup));
        let folder = self.generations();
        for name in self.disk.names(&folder).iter().filter(|name| name.ends_with(".new")) {
            self.discard(&folder.join(name));
        }
        let documents = self.numbers();
        for name in self.disk.names(&folder) {
            let number = name.strip_suffix(".json").and_then(|number| number.parse::<u64>().ok());
            if number.is_some_and(|number| !documents.contains(&number)) {
                self.discard(&folder.join(name));
            }
        }
    }

    /// Completes a change that was decided, drops one that was not. Answers whether it was decided.
    fn complete(&self, journal: &Journal, startup: Option<&str>) -> bool {
        let Ok(document) = self.past(journal.to) else {
            self.remove_begun(journal);
            return false;
        };
        // One that was given up has its outcome already.
        let given_up = self.meta(journal.to).outcome == Outcome::RolledBack;
        let decided = match journal.is_to_be_confirmed() {
            true => self.pending().is_some_and(|pending| pending.generation == journal.to),
            false => startup == Some(document.as_str()),
        };
        if decided && !given_up {
            self.finish(journal);
            return true;
        }
        if !given_up {
            let reason = "cut off while it was applied".to_owned();
            let meta = Meta { outcome: Outcome::RolledBack, reason, ..journal.meta.clone() };
            if let Err(error) = self.write_record(&self.meta_path(journal.to), &meta) {
                tracing::error!("noting what became of generation {}: {error}", journal.to);
            }
        }
        false
    }

    fn pending(&self) -> Option<Pending> {
        self.record(&self.beside_startup(PENDING))
    }

    fn look_at_pending(&self, pending: Pending, startup: Option<&str>, now: &Moment, found: &mut Found) {
        let number = pending.generation;
        let Ok(document) = self.past(number) else {
            found.notes.push(format!("generation {number} waits for its confirmation and is gone: dropped"));
            return self.discard(&self.beside_startup(PENDING));
        };
        if self.meta(number).outcome == Outcome::RolledBack {
            return self.discard(&self.beside_startup(PENDING));
        }
        if startup == Some(document.as_str()) {
            return self.note_confirmed(&pending);
        }
        let reason = if !now.is_in(&pending.boot_id) {
            "the switch was restarted before it was confirmed"
        } else if pending.deadline_ns <= now.boottime_ns {
            "not confirmed in time"
        } else {
            found.pending = Some((pending, document));
            return;
        };
        self.roll_back(&pending, reason);
        found.notes.push(format!("generation {number} of {} is rolled back: {reason}", pending.author.user));
    }
}
