//! One process of a task: the init process or one run beside it.

use std::time::Duration;

use containerd_shim_protos::api::{StateResponse, Status};
use containerd_shim_protos::protobuf::{EnumOrUnknown, MessageField};
use tokio::sync::{Mutex, watch};

use crate::error::{Error, Result};
use crate::events::timestamp;
use crate::io::{ProcessIo, Streams};
use crate::reaper::{Exit, Followed};

/// How long deletion waits for output that is still on its way.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Known; not running yet.
    Created,
    /// Running.
    Running,
    /// Ended.
    Stopped,
}

/// What changes about a process. Whoever changes it, or publishes an event about it, holds the lock: so the
/// event of its start is published before the event of its exit.
#[derive(Debug)]
pub struct Inner {
    /// Where it is in its life.
    pub phase: Phase,
    /// The shim's side of its streams.
    pub io: ProcessIo,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Id given by containerd; empty for the init process.
    pub exec_id: String,
    /// What its streams are connected to.
    pub streams: Streams,
    /// What changes about it.
    pub inner: Mutex<Inner>,
    followed: std::sync::OnceLock<std::sync::Arc<Followed>>,
    exit: watch::Sender<Option<Exit>>,
}

impl Process {
    /// A process that does not run yet.
    pub fn new(exec_id: String, streams: Streams) -> Self {
        Process {
            exec_id,
            streams,
            inner: Mutex::new(Inner { phase: Phase::Created, io: ProcessIo::default() }),
            followed: std::sync::OnceLock::new(),
            exit: watch::Sender::new(None),
        }
    }

    /// Notes the process in the system, once.
    pub fn set_followed(&self, followed: std::sync::Arc<Followed>) {
        // A process is launched once: `Phase` sees to that.
        let _ = self.followed.set(followed);
    }

    /// The process in the system, if it was launched.
    pub fn followed(&self) -> Option<&std::sync::Arc<Followed>> {
        self.followed.get()
    }

    /// Its process id; 0 before it was launched.
    pub fn pid(&self) -> u32 {
        self.followed.get().map_or(0, |followed| followed.pid)
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Notes its end and wakes whoever waits for it.
    pub fn set_exit(&self, inner: &mut Inner, exit: Exit) {
        inner.phase = Phase::Stopped;
        inner.io.end_input();
        self.exit.send_replace(Some(exit));
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The process was deleted meanwhile.
    pub async fn wait(&self) -> Result<Exit> {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.ok_or_else(|| Error::NotFound("the process has no exit".into())),
            Err(_) => Err(Error::NotFound("the process was deleted".into())),
        }
    }

    /// Checks that it may be deleted, and waits until its output has been passed on.
    ///
    /// # Errors
    /// It is running.
    pub async fn finish(&self) -> Result<()> {
        let mut inner = self.inner.lock().await;
        if inner.phase == Phase::Running {
            return Err(Error::Precondition(format!("process {} is running", self.pid())));
        }
        if inner.phase == Phase::Created {
            // It never ran; whoever waits for it need not any longer.
            self.set_exit(&mut inner, Exit::now(0));
        }
        // Without the lock, so that others can ask about it meanwhile.
        let mut io = std::mem::take(&mut inner.io);
        drop(inner);
        io.finish(OUTPUT_TIMEOUT).await;
        Ok(())
    }

    /// Answers a state request.
    pub async fn state(&self, id: &str, bundle: &str, paused: bool) -> StateResponse {
        let phase = self.inner.lock().await.phase;
        let status = match phase {
            Phase::Created => Status::CREATED,
            Phase::Running if paused => Status::PAUSED,
            Phase::Running => Status::RUNNING,
            Phase::Stopped => Status::STOPPED,
        };
        let exit = self.exit();
        StateResponse {
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            pid: self.pid(),
            status: EnumOrUnknown::new(status),
            stdin: self.streams.stdin.clone(),
            stdout: self.streams.stdout.clone(),
            stderr: self.streams.stderr.clone(),
            terminal: self.streams.terminal,
            exit_status: exit.map_or(0, |exit| exit.code),
            exited_at: MessageField::from_option(exit.map(|exit| timestamp(exit.at))),
            exec_id: self.exec_id.clone(),
            ..Default::default()
        }
    }
}
