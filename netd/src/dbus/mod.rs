//! The D-Bus service `org.corten.Netd1`: thin, each method hands a job to the engine's thread of control.
//!
//! One file an interface: [`config`], [`state`], [`events`], [`attach`]; [`caller`] finds out who is asking,
//! [`lock`] lets one change the switch at a time, [`quota`] bounds what one user holds of netd.

pub mod attach;
pub mod caller;
pub mod config;
pub mod events;
pub mod lock;
pub mod quota;
pub mod state;

use tokio::sync::{mpsc, oneshot};
use zbus::Connection;
use zbus::connection::Builder;

use caller::Caller;
use quota::Quota;

use crate::engine::Engine;
use crate::events::Hub;
use crate::failure::Failure;
use crate::watchdog;

/// A job for the engine.
pub struct Job {
    work: Box<dyn FnOnce(&mut Engine) + Send>,
    changes: bool,
}

impl Job {
    /// Whether the job may change the network, or leave something to be put right. Questions do not.
    pub fn changes(&self) -> bool {
        self.changes
    }

    /// Does it.
    pub fn run(self, engine: &mut Engine) {
        (self.work)(engine);
    }
}

/// Where the interfaces leave their jobs, and where events come from.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
    hub: Hub,
    /// Taken before a change gets into the queue.
    writer: lock::WriterLock,
    /// Questions that wait for their answer.
    questions: Quota,
    /// Tables that are being read.
    tables: Quota,
    /// Streams of events.
    watchers: Quota,
}

/// Jobs that may wait; further callers wait for their turn.
const WAITING_JOBS: usize = 64;
/// Questions one user may have open, and all users.
const QUESTIONS: [usize; 2] = [16, 128];
/// Tables one user may read at a time, and all users: each has a thread.
const TABLES: [usize; 2] = [4, 32];
/// Streams of events one user may have open, and all users.
const WATCHERS: [usize; 2] = [16, 64];

/// A handle, and the queue it fills.
pub fn handle(hub: Hub) -> (Handle, mpsc::Receiver<Job>) {
    let (jobs, receiver) = mpsc::channel(WAITING_JOBS);
    let handle = Handle {
        jobs,
        hub,
        writer: lock::WriterLock::default(),
        questions: Quota::new("questions", QUESTIONS[0], QUESTIONS[1]),
        tables: Quota::new("tables", TABLES[0], TABLES[1]),
        watchers: Quota::new("streams of events", WATCHERS[0], WATCHERS[1]),
    };
    (handle, receiver)
}

impl Handle {
    /// Asks the engine something for a caller and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        caller: &Caller,
        question: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _permit = self.questions.take(caller)?;
        self.call(false, question).await
    }

    /// Has the engine change something and waits for the result.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.call(true, change).await
    }

    async fn call<T: Send + 'static>(
        &self,
        changes: bool,
        job: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, result) = oneshot::channel();
        let ended = || Failure::Failed("netd is ending".to_owned());
        let work = Box::new(move |engine: &mut Engine| {
            // A caller that went away needs no answer.
            let _ = reply.send(job(engine));
        });
        // An engine that hangs is noticed when somebody wants something of it.
        watchdog::wake();
        self.jobs.send(Job { work, changes }).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
    }
}

/// Adds netd's interfaces to a connection that is being made.
pub fn serve<'a>(builder: Builder<'a>, handle: &Handle) -> Builder<'a> {
    let path = netd_api::bus::PATH;
    builder
        .serve_at(path, config::Config1(handle.clone()))
        .serve_at(path, state::State1(handle.clone()))
        .serve_at(path, events::Events1(handle.clone()))
        .serve_at(path, attach::Attach1(handle.clone()))
}

/// Connects to the system bus and takes netd's name there.
pub async fn connect(handle: &Handle) -> zbus::Result<Connection> {
    serve(Builder::system(), handle).name(netd_api::bus::NAME).build().await
}
