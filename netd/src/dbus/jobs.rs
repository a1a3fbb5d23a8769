//! What waits for the engine: confirmations before changes, changes before questions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::clock;
use crate::engine::Engine;

/// Jobs of one kind that may wait; further callers wait for their turn.
const WAITING_JOBS: usize = 64;

/// A job for the engine.
pub struct Job {
    pub(super) work: Box<dyn FnOnce(&mut Engine) + Send>,
    pub(super) kind: Kind,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Confirms a generation.
    Confirm,
    /// May change the network, or leave something to be put right.
    Change,
    /// Neither.
    Question,
}

impl Job {
    /// Whether the job may change the network, or leave something to be put right. Questions do not.
    pub fn changes(&self) -> bool {
        self.kind != Kind::Question
    }

    /// Does it.
    pub fn run(self, engine: &mut Engine) {
        (self.work)(engine);
    }
}

/// Where jobs are left.
#[derive(Clone)]
pub(super) struct Sender {
    confirms: mpsc::Sender<Job>,
    changes: mpsc::Sender<Job>,
    questions: mpsc::Sender<Job>,
}

impl Sender {
    /// Leaves a job, once there is room for it. Fails when nobody does jobs any more.
    pub async fn send(&self, job: Job) -> Result<(), mpsc::error::SendError<Job>> {
        let queue = match job.kind {
            Kind::Confirm => &self.confirms,
            Kind::Change => &self.changes,
            Kind::Question => &self.questions,
        };
        queue.send(job).await
    }
}

/// The jobs, for whoever does them.
pub struct Jobs {
    /// Confirmations and changes.
    pub changes: Changes,
    /// Questions, which may wait for those.
    pub questions: mpsc::Receiver<Job>,
    /// Confirmations that are on their way.
    pub arrivals: Arrivals,
}

/// Confirmations and changes that wait.
pub struct Changes {
    confirms: mpsc::Receiver<Job>,
    changes: mpsc::Receiver<Job>,
}

impl Changes {
    /// The next of them, confirmations first. Safe to be cancelled.
    pub async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            Some(job) = self.confirms.recv() => Some(job),
            Some(job) = self.changes.recv() => Some(job),
            else => None,
        }
    }
}

impl Jobs {
    /// The next job of any kind. Safe to be cancelled.
    pub async fn next(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            Some(job) = self.changes.next() => Some(job),
            Some(job) = self.questions.recv() => Some(job),
            else => None,
        }
    }
}

/// Queues for jobs, and confirmations that are on their way to them.
pub(super) fn queues() -> (Sender, Arrivals, Jobs) {
    let (confirms, confirm_jobs) = mpsc::channel(WAITING_JOBS);
    let (changes, change_jobs) = mpsc::channel(WAITING_JOBS);
    let (questions, question_jobs) = mpsc::channel(WAITING_JOBS);
    let arrivals = Arrivals::default();
    let waiting = Changes { confirms: confirm_jobs, changes: change_jobs };
    let jobs = Jobs { changes: waiting, questions: question_jobs, arrivals: arrivals.clone() };
    (Sender { confirms, changes, questions }, arrivals, jobs)
}

/// When confirmations arrived that are not done yet. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<BTreeMap<u64, usize>>>);

/// One of them, until it is done.
#[derive(Debug)]
pub struct Arrival {
    arrivals: Arrivals,
    boottime_ns: u64,
}

impl Arrivals {
    /// A confirmation arrives now.
    pub fn arrive(&self) -> Arrival {
        let boottime_ns = clock::boottime_ns();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry(boottime_ns).or_default() += 1;
        Arrival { arrivals: self.clone(), boottime_ns }
    }

    /// Whether one is on its way that arrived before this moment of CLOCK_BOOTTIME.
    pub fn before(&self, boottime_ns: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.range(..boottime_ns).next().is_some()
    }
}

impl Arrival {
    /// When it arrived, by CLOCK_BOOTTIME.
    pub fn boottime_ns(&self) -> u64 {
        self.boottime_ns
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut known = self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = known.get_mut(&self.boottime_ns) {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.boottime_ns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(kind: Kind) -> Job {
        Job { work: Box::new(|_| ()), kind }
    }

    #[tokio::test]
    async fn jobs_of_a_change_come_before_questions_that_waited_longer() {
        let (sender, _, mut jobs) = queues();
        for kind in [Kind::Question, Kind::Question, Kind::Change, Kind::Confirm, Kind::Change] {
            assert!(sender.send(job(kind)).await.is_ok());
        }
        let mut order = Vec::new();
        for _ in 0..5 {
            order.push(jobs.next().await.expect("a job").kind);
        }
        assert_eq!(order, [Kind::Confirm, Kind::Change, Kind::Change, Kind::Question, Kind::Question]);
        drop(sender);
        assert!(jobs.next().await.is_none());
    }

    #[test]
    fn arrival_counts_until_it_is_done() {
        let arrivals = Arrivals::default();
        let early = arrivals.arrive();
        let after = clock::boottime_ns() + 1;
        assert!(arrivals.before(after));
        assert!(!arrivals.before(early.boottime_ns()));
        drop(early);
        assert!(!arrivals.before(after));
    }
}
