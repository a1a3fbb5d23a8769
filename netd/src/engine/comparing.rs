//! What a change that waits for its confirmation did to the network, and the change that confirms itself if that is
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use netd_api::comparison::{Comparison, Progress};

use crate::clock;
use crate::comparison;
use crate::comparison::record::{Record, Recording};
use crate::comparison::watch::Watch;
use crate::comparison::words;
use crate::engine::Engine;
use crate::engine::changes::Request;
use crate::store::record::Pending;

/// The comparison of the change that waits.
#[derive(Debug)]
pub(super) struct Comparing {
    record: Arc<Record>,
    watch: Watch,
}

impl Comparing {
    fn of(record: Arc<Record>) -> Comparing {
        Comparing { watch: Watch::start(record.clone()), record }
    }
}

/// Where the record of what is before a change comes from.
#[derive(Debug)]
pub(super) enum Before {
    /// It is being taken.
    Taken(Recording),
    /// From the change that this one takes the place of: both are taken back to the same generation.
    Known(Option<Arc<Record>>),
}

impl Before {
    /// Waits for the record. `None` when there is none.
    pub(super) fn end(self) -> Option<Arc<Record>> {
        match self {
            Before::Taken(recording) => recording.end().map(Arc::new),
            Before::Known(record) => record,
        }
    }
}

impl Engine {
    /// Begins to record what is before a change that is to be confirmed.
    pub(super) fn begin_record(&self) -> Before {
        if self.pending.is_some() {
            return Before::Known(self.comparing.as_ref().map(|comparing| comparing.record.clone()));
        }
        let attachments: BTreeMap<String, String> =
            self.attachments.values().map(|record| (record.port.clone(), record.key.clone())).collect();
        // What takes the kernel's place has no hosts.
        Before::Taken(Recording::begin(attachments, self.stand_in.is_some()))
    }

    /// Has the transaction that follows see hosts for a new record. That of an earlier change is complete, and in use:
    /// the watch has it, too.
    pub(super) fn see_hosts(&mut self, record: &mut Option<Arc<Record>>) {
        self.hosts = record.as_mut().and_then(Arc::get_mut).map(|_| comparison::hosts());
    }

    /// Completes a new record with what the transaction saw of hosts before it changed anything.
    pub(super) fn complete_record(&mut self, record: &mut Option<Arc<Record>>) {
        let hosts = self.hosts.take();
        if let (Some(hosts), Some(record)) = (hosts, record.as_mut().and_then(Arc::get_mut)) {
            record.add(&hosts);
        }
    }

    /// Keeps the record for a restart of netd. Without it a change waits all the same, and is not compared then.
    pub(super) fn save_record(&self, record: &Record) {
        if let Err(error) = record.save(&self.paths.comparison) {
            tracing::warn!("{}: {error}", self.paths.comparison.display());
        }
    }

    /// A change waits: what it did to the network is watched.
    pub(super) fn begin_comparing(&mut self, record: Option<Arc<Record>>) {
        self.comparing = record.map(Comparing::of);
    }

    /// netd was restarted while a change waits.
    pub(super) fn resume_comparing(&mut self, pending: &Pending) {
        let record = pending.recorded_ns.and_then(|taken_ns| Record::load(&self.paths.comparison, taken_ns));
        self.begin_comparing(record.map(Arc::new));
    }

    /// Nothing waits any more.
    pub(super) fn end_comparing(&mut self) {
        self.comparing = None;
        if let Err(error) = std::fs::remove_file(&self.paths.comparison)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", self.paths.comparison.display());
        }
    }

    /// What the change that waits did to the network.
    pub fn comparison(&self) -> Comparison {
        let Some(pending) = &self.pending else { return Comparison::default() };
        let known = Comparison {
            generation: pending.generation,
            if_same: pending.if_same,
            progress: Progress::NotRecorded,
            ..Comparison::default()
        };
        let Some(comparing) = &self.comparing else { return known };
        let latest = comparing.watch.latest();
        if latest.looks == 0 {
            return Comparison { progress: Progress::NotLooked, ..known };
        }
        Comparison {
            progress: Progress::Compared,
            looks: latest.looks,
            age_ms: clock::boottime_ns().saturating_sub(latest.begun_ns) / 1_000_000,
            kinds: latest.kinds,
            ..known
        }
    }

    /// Whether the change that waits has lost nothing, at the end of its time.
    ///
    /// # Errors
    /// What it lost, or why that is not known.
    fn judge_loss(&self, pending: &Pending) -> Result<(), String> {
        let not_recorded = || "what was before the change is not recorded".to_owned();
        let comparing = self.comparing.as_ref().ok_or_else(not_recorded)?;
        let began_ns = comparing.record.taken_ns.max(self.pending_since_ns);
        comparing.watch.latest().judge(began_ns, pending.deadline_ns)
    }

    /// The time of the change that waits is up. One that is to confirm itself does so if nothing is lost. Answers why it
    /// is to be taken back; `None` when it is confirmed.
    pub(super) fn conclude(&mut self, pending: &Pending) -> Option<String> {
        if !pending.if_same {
            if let Some(lost) = self.lost() {
                let generation = pending.generation;
                tracing::info!("generation {generation}, when its time was up: {lost}");
            }
            return Some("not confirmed in time".to_owned());
        }
        let request = Request {
            author: pending.author.clone(),
            comment: "by itself: nothing is lost".to_owned(),
            force: pending.force,
            ..Request::default()
        };
        match self.judge_loss(pending) {
            Ok(()) => {
                let failure = self.make_confirmed(pending, &request).err()?;
                Some(format!("it could not confirm itself: {}", failure.words()))
            }
            Err(why) => Some(format!("it did not confirm itself: {why}")),
        }
    }

    /// What is lost by now.
    pub(super) fn lost(&self) -> Option<String> {
        words(&self.comparing.as_ref()?.watch.latest().kinds)
    }
}
