//! The D-Bus service `org.corten.Netd1`: thin, each method hands a job to the engine's thread of control.
//!
//! One file an interface: [`config`], [`state`], [`events`], [`attach`]; [`caller`] finds out who is asking,
//! [`lock`] lets one change the switch at a time, [`quota`] bounds what one user holds of netd, [`documents`] reads what
//! callers send, [`jobs`] is the queue before the engine, [`socket`] bounds the messages themselves.

pub mod attach;
pub mod caller;
pub mod config;
pub mod documents;
pub mod events;
pub mod jobs;
pub mod lock;
pub mod quota;
pub mod socket;
pub mod state;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, oneshot};
use zbus::Connection;
use zbus::connection::Builder;

use caller::Caller;
use documents::Documents;
use quota::Quota;

use crate::engine::Engine;
use crate::events::Hub;
use crate::failure::Failure;
use crate::kernel::{self, KernelError};
use crate::state::reader::Reader;
use crate::state::stream::Source;
use crate::{turns, watchdog};

pub use jobs::{Job, Jobs};

/// Where the interfaces leave their jobs, and where events come from.
#[derive(Clone)]
pub struct Handle {
    jobs: jobs::Sender,
    /// Confirmations that are on their way.
    confirms: jobs::Arrivals,
    hub: Hub,
    /// Taken before a change gets into the queue.
    writer: lock::WriterLock,
    documents: Documents,
    /// Questions that wait for their answer.
    questions: Quota,
    /// Answers those about the state, one after the other.
    reader: Arc<Mutex<Reader>>,
    /// Tables that are being read.
    tables: Quota,
    /// Streams of events.
    watchers: Quota,
}

/// Questions one user may have open, and all users.
const QUESTIONS: [usize; 2] = [16, 128];
/// Tables one user may read at a time, and all users: each has a thread.
const TABLES: [usize; 2] = [4, 32];
/// How much longer than an answer took the next question waits, while the engine changes links: it waits for each answer.
const READER_PAUSE: u32 = 6;
/// Streams of events one user may have open, and all users.
const WATCHERS: [usize; 2] = [16, 64];

/// A handle, and the queue it fills.
pub fn handle(hub: Hub) -> (Handle, Jobs) {
    let (sender, confirms, jobs) = jobs::queues();
    let handle = Handle {
        jobs: sender,
        confirms,
        hub,
        writer: lock::WriterLock::default(),
        documents: Documents::default(),
        questions: Quota::new("questions", QUESTIONS[0], QUESTIONS[1]),
        reader: Arc::default(),
        tables: Quota::new("tables", TABLES[0], TABLES[1]),
        watchers: Quota::new("streams of events", WATCHERS[0], WATCHERS[1]),
    };
    (handle, jobs)
}

impl Handle {
    /// Asks the engine something for a caller and waits for the answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        caller: &Caller,
        question: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _permit = self.questions.take(caller)?;
        self.call(jobs::Kind::Question, question).await
    }

    /// Answers something about the state beside the engine, however long that is at work.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        caller: &Caller,
        question: impl FnOnce(&Source, &mut kernel::Connection) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, Failure> {
        let _permit = self.questions.take(caller)?;
        let source = self.source().await?;
        let mut reader = self.reader.clone().lock_owned().await;
        let ended = |_| Failure::Failed("netd is ending".to_owned());
        let work = move || {
            let began = Instant::now();
            let answer = reader.answer(|connection| question(&source, connection));
            (reader, answer, began.elapsed())
        };
        let (reader, answer, took) = tokio::task::spawn_blocking(work).await.map_err(ended)?;
        if turns::LINKS.is_changing() {
            // The next question waits, not this one.
            tokio::spawn(async move {
                tokio::time::sleep(took * READER_PAUSE).await;
                drop(reader);
            });
        }
        Ok(answer?)
    }

    /// What is published; where nothing is yet, what the engine says.
    async fn source(&self) -> Result<Arc<Source>, Failure> {
        match self.hub.source() {
            Some(source) => Ok(source),
            None => {
                let hub = self.hub.clone();
                self.call(jobs::Kind::Question, |_| Ok(())).await?;
                hub.source().ok_or_else(|| Failure::Failed("netd is starting".to_owned()))
            }
        }
    }

    /// Has the engine change something and waits for the result.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.call(jobs::Kind::Change, change).await
    }

    /// The same for who holds the lock of writers, until the change is made.
    pub(crate) async fn change_with<T: Send + 'static>(
        &self,
        held: lock::Held,
        change: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let job = move |engine: &mut Engine| {
            let outcome = change(engine);
            drop(held);
            outcome
        };
        self.call(jobs::Kind::Change, job).await
    }

    /// Has the engine confirm something. That needs no lock: it takes its turn after the change that is being made.
    pub(crate) async fn confirm<T: Send + 'static>(
        &self,
        confirm: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.call(jobs::Kind::Confirm, confirm).await
    }

    async fn call<T: Send + 'static>(
        &self,
        kind: jobs::Kind,
        job: impl FnOnce(&mut Engine) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (reply, result) = oneshot::channel();
        let ended = || Failure::Failed("netd is ending".to_owned());
        let work = Box::new(move |engine: &mut Engine| {
            let answer = job(engine);
            // Who asks beside the engine is to see what the caller is about to be told.
            engine.publish();
            // A caller that went away needs no answer.
            let _ = reply.send(answer);
        });
        // An engine that hangs is noticed when somebody wants something of it.
        watchdog::wake();
        self.jobs.send(Job { work, kind }).await.map_err(|_| ended())?;
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

/// Where the system bus listens unless the environment says otherwise (D-Bus Specification, "System message bus").
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Connects to the system bus and takes netd's name there.
pub async fn connect(handle: &Handle) -> zbus::Result<Connection> {
    let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_default();
    let path = address
        .strip_prefix("unix:path=")
        .map_or(SYSTEM_BUS, |path| path.split([',', ';']).next().unwrap_or(path));
    let socket = socket::BoundedSocket::connect(Path::new(path)).await?;
    serve(Builder::socket(socket), handle).name(netd_api::bus::NAME).build().await
}
