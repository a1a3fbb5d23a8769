//! The event loop: requests from the bus, events of the kernel, the watchdog, signals.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};
use zbus::Connection;

use crate::dbus::{self, Handle, Job};
use crate::engine::upkeep::Look;
use crate::engine::{Engine, Paths};
use crate::kernel::KernelError;
use crate::kernel::monitor::Monitor;
use crate::notify::{notify, watchdog_interval};

/// Events come in bursts; one look serves those that come within this time.
const SETTLE: Duration = Duration::from_millis(20);
/// When something stays wrong, or keeps being changed by others, looks become rarer up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long to wait between tries to reach the bus, which starts later than netd.
const BUS_RETRY: Duration = Duration::from_millis(250);

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The kernel cannot be spoken to.
    #[error("netlink: {0}")]
    Kernel(#[from] KernelError),
    /// Signals cannot be received.
    #[error("signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs until asked to end. Ending changes nothing in the kernel.
pub async fn run(paths: Paths) -> Result<(), DaemonError> {
    let began = Instant::now();
    // Before the first dump, so that no change falls in between.
    let mut monitor = Monitor::open()?;
    let mut engine = Engine::start(paths)?;
    tracing::info!("ready after {} ms: {}", began.elapsed().as_millis(), engine.status());
    notify(&format!("READY=1\nSTATUS={}", engine.status()));
    let (handle, mut jobs) = dbus::handle();
    let mut bus = tokio::spawn(stay_on_bus(handle));
    let mut ended = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut watchdog = interval(watchdog_interval().unwrap_or(Duration::from_secs(3600)));
    let mut looks = Looks::default();
    // What was refused at start is tried again: no event tells when it would go through.
    looks.ask();
    loop {
        tokio::select! {
            Some(job) = jobs.recv() => {
                serve(&mut engine, job);
                // Whatever a job left behind is seen at once, and tried again.
                looks.ask();
            }
            events = monitor.next() => if engine.note(&events?) { looks.ask() },
            () = looks.due() => {
                let found = engine.look()?;
                looks.found(&found);
                notify(&format!("STATUS={}", engine.status()));
            }
            _ = watchdog.tick() => notify("WATCHDOG=1"),
            _ = &mut bus => bus = tokio::spawn(std::future::pending()),
            _ = ended.0.recv() => break,
            _ = ended.1.recv() => break,
        }
    }
    notify("STOPPING=1");
    tracing::info!("ending; the kernel goes on forwarding");
    Ok(())
}

/// Does one job, then shows the new status. One at a time: the watchdog is fed between two.
fn serve(engine: &mut Engine, job: Job) {
    let before = engine.status();
    job(engine);
    let after = engine.status();
    if before != after {
        notify(&format!("STATUS={after}"));
    }
}

/// When to look at the kernel again.
#[derive(Default)]
struct Looks {
    due: Option<Instant>,
    pause: Duration,
    last: Option<Instant>,
}

impl Looks {
    /// Events ask for a look: soon, but not sooner than the pause since the last one allows.
    fn ask(&mut self) {
        let soon = Instant::now() + SETTLE;
        let allowed = self.last.map_or(soon, |last| (last + self.pause).max(soon));
        self.due = Some(self.due.map_or(allowed, |due| due.min(allowed)));
    }

    fn found(&mut self, look: &Look) {
        let now = Instant::now();
        self.last = Some(now);
        self.pause = match look {
            Look::Same => Duration::ZERO,
            _ => (self.pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE),
        };
        self.due = (*look == Look::Wrong).then(|| now + self.pause);
    }

    async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Keeps netd's name on the system bus: waits for the bus at boot, comes back when it restarts.
async fn stay_on_bus(handle: Handle) {
    let mut said = false;
    loop {
        match dbus::connect(&handle).await {
            Ok(connection) => {
                tracing::info!("on the system bus as {}", netd_api::bus::NAME);
                said = false;
                closed(connection).await;
                tracing::warn!("the system bus is gone");
            }
            Err(error) if !said => {
                tracing::info!("waiting for the system bus: {error}");
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(BUS_RETRY).await;
    }
}

/// Waits until a connection is closed: its stream of messages ends then.
async fn closed(connection: Connection) {
    use zbus::export::futures_core::Stream;
    let mut messages = std::pin::pin!(zbus::MessageStream::from(&connection));
    while std::future::poll_fn(|context| messages.as_mut().poll_next(context)).await.is_some() {}
}
