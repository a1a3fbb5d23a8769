//! Past generations, and how often netd was started with one.

use netd_api::generation::{Generation, State};

use super::disk::{Disk, beside};
use super::record::{Author, Meta, Outcome, Starts};
use super::{STARTS, Store, StoreError, failed};

/// Generations kept.
const KEPT_GENERATIONS: usize = 50;

/// Longest reason that is kept, in bytes. A change that could not be undone may have hundreds of lines to say, and
/// a record that is too long is not read again.
const MAX_REASON_BYTES: usize = 4096;

/// A reason that fits into a record.
fn bounded(reason: &str) -> String {
    if reason.len() <= MAX_REASON_BYTES {
        return reason.to_owned();
    }
    let cut = reason.floor_char_boundary(MAX_REASON_BYTES);
    format!("{} … ({} bytes more)", &reason[..cut], reason.len() - cut)
}

/// What the history shows of generations that are not past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The running generation; 0 for none.
    pub running: u64,
    /// The generation of the startup document; 0 for none.
    pub startup: u64,
    /// Until when the running one must be confirmed, in seconds since 1970; `None` when it need not be.
    pub confirm_by_s: Option<u64>,
}

impl<D: Disk> Store<D> {
    /// Numbers of the generations on disk, in order.
    pub fn numbers(&self) -> Vec<u64> {
        let names = self.disk.names(&self.generations());
        let number = |name: &String| name.strip_suffix(".toml")?.parse().ok();
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Number of the last generation; 0 when there is none.
    pub fn last_generation(&self) -> u64 {
        self.numbers().last().copied().unwrap_or(0)
    }

    /// What is known of a generation. One without a record is from a release that kept none, and was
    /// confirmed. One whose record cannot be read may have been taken back, so nothing goes back to it by itself.
    pub fn meta(&self, number: u64) -> Meta {
        let path = self.meta_path(number);
        if let Some(meta) = self.record(&path) {
            return meta;
        }
        let there = self.disk.names(&self.generations()).contains(&format!("{number}.json"));
        let (outcome, reason) = match there {
            false => (Outcome::Confirmed, String::new()),
            true => (Outcome::RolledBack, "what became of it cannot be read".to_owned()),
        };
        let time_s = self.disk.written_s(&self.generation(number));
        Meta { time_s, author: Author::default(), comment: String::new(), outcome, reason, restores: None }
    }

    /// Generations that have a record which cannot be read.
    pub fn unreadable_records(&self) -> Vec<u64> {
        let names = self.disk.names(&self.generations());
        let mut numbers = self.numbers();
        numbers.retain(|number| {
            names.contains(&format!("{number}.json"))
                && self.read_record::<Meta>(&self.meta_path(*number)).is_some_and(|read| read.is_err())
        });
        numbers
    }

    /// All generations on disk, the newest first.
    pub fn history(&self, present: Present) -> Vec<Generation> {
        let row = |number: u64| {
            let mut meta = self.meta(number);
            let state = match meta.outcome {
                _ if number == present.running && present.confirm_by_s.is_some() => State::Unconfirmed,
                _ if number == present.running => State::Running,
                _ if number == present.startup => State::Startup,
                Outcome::Confirmed => State::Confirmed,
                Outcome::Unconfirmed | Outcome::RolledBack => State::RolledBack,
            };
            if state == State::RolledBack && meta.reason.is_empty() {
                "never confirmed".clone_into(&mut meta.reason);
            }
            let confirm_by_s = present.confirm_by_s.filter(|_| state == State::Unconfirmed).unwrap_or(0);
            meta.row(number, state, confirm_by_s)
        };
        self.numbers().into_iter().rev().map(row).collect()
    }

    /// The newest confirmed generation with this document.
    pub fn generation_of(&self, document: &str) -> Option<u64> {
        let length = document.len() as u64;
        let same = |number: &u64| {
            // Most are told apart by their length, without reading them.
            self.disk.length(&self.generation(*number)) == Some(length)
                && self.past(*number).is_ok_and(|past| past == document)
                && self.meta(*number).outcome == Outcome::Confirmed
        };
        self.numbers().into_iter().rev().find(same)
    }

    /// The generation an operator means by "the one before": older than the running one and than what it
    /// brought back, confirmed once, and another document.
    pub fn before(&self, running: u64, document: &str) -> Option<u64> {
        let origin = self.meta(running).restores.unwrap_or(running).min(running);
        let fits = |number: &u64| {
            *number < origin
                && self.meta(*number).outcome == Outcome::Confirmed
                && self.past(*number).is_ok_and(|past| past != document)
        };
        self.numbers().into_iter().rev().find(fits)
    }

    /// Records a document as a generation.
    pub fn write_generation(&self, number: u64, meta: &Meta, document: &str) -> Result<(), StoreError> {
        let folder = self.generations();
        self.disk.make_folder(&folder).map_err(failed(&folder, "making the folder"))?;
        let record = serde_json::to_vec_pretty(meta).map_err(std::io::Error::from);
        let (path, meta_path) = (self.generation(number), self.meta_path(number));
        let record = record.map_err(failed(&meta_path, "writing"))?;
        // The document last: what has one has a record.
        for (path, content) in [(&meta_path, record.as_slice()), (&path, document.as_bytes())] {
            let new = beside(path);
            self.disk.write(&new, content).map_err(failed(path, "writing"))?;
            self.disk.rename(&new, path).map_err(failed(path, "replacing"))?;
        }
        self.disk.sync(&folder).map_err(failed(&folder, "syncing"))
    }

    /// Notes what became of a generation. That it cannot be noted is told, and changes nothing else.
    pub fn set_outcome(&self, number: u64, outcome: Outcome, reason: &str) {
        let meta = Meta { outcome, reason: bounded(reason), ..self.meta(number) };
        if let Err(error) = self.write_record(&self.meta_path(number), &meta) {
            tracing::error!("noting what became of generation {number}: {error}");
        }
    }

    /// Removes the oldest generations beyond those kept. Those in `needed` stay.
    pub fn tidy(&self, needed: &[u64]) {
        let numbers = self.numbers();
        let beyond = numbers.len().saturating_sub(KEPT_GENERATIONS);
        for number in numbers.iter().filter(|number| !needed.contains(number)).take(beyond) {
            self.remove_generation(*number);
        }
    }

    /// Removes the oldest generation that is not needed. Answers whether there was one.
    pub(super) fn remove_oldest(&self, needed: &[u64]) -> bool {
        let oldest = self.numbers().into_iter().find(|number| !needed.contains(number));
        if let Some(number) = oldest {
            tracing::warn!("the partition is full: generation {number} makes room");
            self.remove_generation(number);
        }
        // One that cannot be removed makes no room.
        oldest.is_some_and(|number| !self.numbers().contains(&number))
    }

    fn remove_generation(&self, number: u64) {
        self.discard(&self.generation(number));
        self.discard(&self.meta_path(number));
    }

    /// Counts a start with a generation and answers how many such starts in a row did not end well before.
    pub fn count_start(&self, generation: u64, boot_id: &str) -> u32 {
        let path = self.beside_startup(STARTS);
        let before = self.starts(generation, boot_id);
        let starts = Starts { generation, boot_id: boot_id.to_owned(), count: before.saturating_add(1) };
        if let Err(error) = self.write_record(&path, &starts) {
            tracing::error!("counting the start: {error}");
        }
        before
    }

    /// How many starts with a generation did not end well in this boot.
    pub fn starts(&self, generation: u64, boot_id: &str) -> u32 {
        let starts: Option<Starts> = self.record(&self.beside_startup(STARTS));
        // After a reboot the count begins anew: a switch that is switched off and on does not crash netd.
        starts.filter(|s| s.generation == generation && s.boot_id == boot_id).map_or(0, |s| s.count)
    }

    /// The last start does not count: it ended by no fault of the generation's.
    pub fn uncount_start(&self) {
        let path = self.beside_startup(STARTS);
        let Some(mut starts) = self.record::<Starts>(&path) else { return };
        starts.count = starts.count.saturating_sub(1);
        if starts.count == 0 {
            return self.discard(&path);
        }
        if let Err(error) = self.write_record(&path, &starts) {
            tracing::error!("counting the start: {error}");
        }
    }

    /// This start, and those before it, are past.
    pub fn clear_starts(&self) {
        self.discard(&self.beside_startup(STARTS));
    }
}
