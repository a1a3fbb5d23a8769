//! The threads of netd. This one has the bus and signals; the engine has one of its own, so that netd
//! answers (if only "locked by ana since …") while a large change is being made.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use crate::dbus::jobs::Arrivals;
use crate::dbus::{self, Handle, Job, Jobs};
use crate::engine::upkeep::Look;
use crate::engine::{Engine, Paths};
use crate::events::Hub;
use crate::kernel::KernelError;
use crate::kernel::monitor::{Event, Monitor};
use crate::notify::notify;
use crate::watchdog;

/// Events come in bursts; one look serves those that come within this time.
const SETTLE: Duration = Duration::from_millis(20);
/// Routes fail by the thousand; those of this time are told of together.
const ALARM_SETTLE: Duration = Duration::from_millis(100);
/// How often to see whether a confirmation that came in time is done.
const CONFIRMATION_CHECK: Duration = Duration::from_millis(50);
/// When something stays wrong, or keeps being changed by others, looks become rarer up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long to wait before the next try where the kernel does not answer.
const KERNEL_RETRY: Duration = Duration::from_secs(1);
/// How long to wait between tries to reach the bus, which starts later than netd.
const BUS_RETRY: Duration = Duration::from_millis(250);

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The kernel cannot be spoken to.
    #[error("netlink: {0}")]
    Kernel(#[from] KernelError),
    /// Signals, threads or descriptors cannot be had.
    #[error("starting: {0}")]
    System(#[from] std::io::Error),
    /// The engine's thread ended by a panic.
    #[error("the engine ended unexpectedly")]
    Panic,
}

/// Runs until asked to end. Ending changes nothing in the kernel.
pub async fn run(paths: Paths) -> Result<(), DaemonError> {
    let mut ended = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hub = Hub::open()?;
    let (handle, jobs) = dbus::handle(hub.clone());
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (gone, mut engine_gone) = mpsc::channel::<()>(1);
    let engine = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let outcome = run_engine(paths, hub, jobs, ready, stopped);
        drop(gone);
        outcome
    })?;
    if started.await.is_err() {
        return join(engine);
    }
    let bus = tokio::spawn(stay_on_bus(handle));
    tokio::select! {
        _ = engine_gone.recv() => return join(engine),
        _ = ended.0.recv() => {}
        _ = ended.1.recv() => {}
    }
    notify("STOPPING=1");
    tracing::info!("ending; the kernel goes on forwarding");
    bus.abort();
    // What the engine is about is finished first.
    let _ = stop.send(());
    join(engine)
}

fn join(engine: JoinHandle<Result<(), DaemonError>>) -> Result<(), DaemonError> {
    engine.join().unwrap_or(Err(DaemonError::Panic))
}

/// The engine's thread: jobs, events of the kernel, looks.
fn run_engine(
    paths: Paths,
    hub: Hub,
    jobs: Jobs,
    ready: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { serve(Monitor::open()?, paths, hub, jobs, ready, stopped).await })
}

/// Starts the engine, then does what jobs, events of the kernel and time ask for, until `stopped` says so.
/// The monitor is older than the engine's first dump, so that no change falls in between.
pub async fn serve(
    mut monitor: Monitor,
    paths: Paths,
    hub: Hub,
    jobs: Jobs,
    ready: oneshot::Sender<()>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), DaemonError> {
    let began = Instant::now();
    let Jobs { mut changes, mut questions, arrivals } = jobs;
    watchdog::starting();
    let Some(mut engine) = start(&paths, &hub, &mut stopped).await else { return Ok(()) };
    // Whoever makes a change reads it back; that it happened is no news.
    monitor.ignore_changes_by(engine.port_id()?)?;
    tracing::info!("ready after {} ms: {}", began.elapsed().as_millis(), engine.status());
    watchdog::started();
    notify(&format!("READY=1\nSTATUS={}", engine.status()));
    let _ = ready.send(());
    let mut looks = Looks::default();
    // Rules that were refused wait for no event.
    looks.ask();
    watchdog::watch();
    loop {
        // Long work shows by itself that it goes on.
        watchdog::alive();
        if hear_recoveries(&mut monitor, &engine) {
            watchdog::watch();
            engine.check_routes();
        }
        hear_growth(&mut monitor, &engine);
        engine.publish();
        let deadline = deadline(&engine, &arrivals);
        tokio::select! {
            biased;
            // A change waits for no question, and what is rolled back unless it is confirmed for neither.
            Some(job) = changes.next() => {
                watchdog::watch();
                run_job(&mut engine, job);
                // Whatever a change left behind is seen at once, and tried again.
                looks.ask();
            }
            () = after(deadline) => {
                watchdog::watch();
                if !waits_for_confirmation(&engine, &arrivals) {
                    engine.on_deadline();
                    looks.ask();
                    notify(&format!("STATUS={}", engine.status()));
                }
            }
            _ = &mut stopped => {
                engine.end();
                return Ok(());
            }
            work = other_work(&mut monitor, &mut questions, &hub, &looks) => {
                do_other_work(work, &mut monitor, &mut engine, &mut looks).await;
            }
        }
    }
}

/// Starts the engine, however often it takes: where the kernel does not answer, another process would not fare
/// better. `None` when netd is to end meanwhile.
async fn start(paths: &Paths, hub: &Hub, stopped: &mut oneshot::Receiver<()>) -> Option<Engine> {
    loop {
        let error = match Engine::start(paths.clone(), hub.clone()) {
            Ok(engine) => return Some(engine),
            Err(error) => error,
        };
        tracing::error!("starting: the kernel's state cannot be read: {error}: trying again");
        notify(&format!("STATUS=waiting for the kernel: {error}"));
        watchdog::alive();
        tokio::select! {
            () = tokio::time::sleep(KERNEL_RETRY) => {}
            _ = &mut *stopped => return None,
        }
    }
}

/// Has the monitor tell that hosts make tables grow, unless what it told is still to be looked at.
fn hear_growth(monitor: &mut Monitor, engine: &Engine) {
    if let Err(error) = monitor.hear_growth(engine.growth_heard()) {
        tracing::error!("listening for what hosts do: {error}");
    }
}

/// Has the monitor tell of routes' recoveries while some are not in the hardware. Answers whether some may have gone unheard.
fn hear_recoveries(monitor: &mut Monitor, engine: &Engine) -> bool {
    monitor.hear_recoveries(engine.has_failed_routes()).unwrap_or_else(|error| {
        tracing::error!("listening for what becomes of routes: {error}");
        false
    })
}

/// Whether a confirmation is on its way that came in time.
fn waits_for_confirmation(engine: &Engine, arrivals: &Arrivals) -> bool {
    engine.confirm_by_ns().is_some_and(|deadline_ns| arrivals.before(deadline_ns))
}

/// When the engine has something to do by itself, or may have.
fn deadline(engine: &Engine, arrivals: &Arrivals) -> Option<Duration> {
    let due = engine.next_deadline()?;
    // A confirmation that came in time is waited for, and one that is refused on its way tells nobody.
    Some(if waits_for_confirmation(engine, arrivals) { due.max(CONFIRMATION_CHECK) } else { due })
}

/// Work that may wait for changes.
enum Work {
    Question(Job),
    Events(Result<Vec<Event>, KernelError>),
    Carrier,
    Look,
    Rest,
    FailedRoutes,
    Limits,
}

/// Waits for some, whichever comes first. Safe to be cancelled.
async fn other_work(
    monitor: &mut Monitor,
    questions: &mut mpsc::Receiver<Job>,
    hub: &Hub,
    looks: &Looks,
) -> Work {
    tokio::select! {
        Some(job) = questions.recv() => Work::Question(job),
        events = monitor.next() => Work::Events(events),
        () = hub.carrier_changed() => Work::Carrier,
        () = at(looks.due) => Work::Look,
        () = at(looks.failed_routes_due) => Work::FailedRoutes,
        () = at(looks.limits_due) => Work::Limits,
        () = at(watchdog::rest_due().map(Instant::from_std)) => Work::Rest,
    }
}

async fn do_other_work(work: Work, monitor: &mut Monitor, engine: &mut Engine, looks: &mut Looks) {
    if !matches!(work, Work::Rest | Work::Carrier) {
        watchdog::watch();
    }
    match work {
        Work::Question(job) => run_job(engine, job),
        Work::Events(Ok(events)) => {
            if engine.note(&events) {
                looks.ask();
            }
            if engine.has_route_news() {
                looks.failed_routes_due.get_or_insert_with(|| Instant::now() + ALARM_SETTLE);
            }
            looks.ask_limits(engine);
        }
        Work::Events(Err(error)) => {
            tracing::error!("events of the kernel: {error}: subscribing again");
            resubscribe(monitor, engine).await;
            engine.note(&[Event::Overrun]);
            looks.ask();
        }
        Work::Carrier => looks.ask(),
        Work::Look => {
            let found = engine.look();
            looks.found(&found);
            looks.ask_limits(engine);
            notify(&format!("STATUS={}", engine.status()));
        }
        Work::FailedRoutes => {
            looks.failed_routes_due = None;
            engine.tell_failed_routes();
        }
        Work::Limits => {
            looks.limits_due = None;
            if engine.check_limits(|engine| hear_growth(monitor, engine)) {
                looks.ask();
            }
            looks.ask_limits(engine);
        }
        Work::Rest => watchdog::rest(),
    }
}

/// Opens the event sockets anew.
async fn resubscribe(monitor: &mut Monitor, engine: &Engine) {
    let opened = Monitor::open().and_then(|mut new| {
        new.ignore_changes_by(engine.port_id()?)?;
        Ok(new)
    });
    match opened {
        Ok(new) => *monitor = new,
        Err(error) => {
            tracing::error!("events of the kernel: {error}: trying again");
            tokio::time::sleep(KERNEL_RETRY).await;
        }
    }
}

/// Waits for as long as that; for ever when there is nothing to wait for.
async fn after(time: Option<Duration>) {
    at(time.map(|time| Instant::now() + time)).await;
}

/// Waits until then; for ever when there is nothing to wait for.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Does one job, then shows the new status. One at a time.
fn run_job(engine: &mut Engine, job: Job) {
    let before = engine.status();
    job.run(engine);
    let after = engine.status();
    if before != after {
        notify(&format!("STATUS={after}"));
    }
}

/// When to look at the kernel again.
#[derive(Default)]
struct Looks {
    due: Option<Instant>,
    /// When it is told which routes the hardware does not have.
    failed_routes_due: Option<Instant>,
    /// When tables are looked at that hosts fill.
    limits_due: Option<Instant>,
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

    /// Has tables looked at when the engine wants it, or earlier where that is planned.
    fn ask_limits(&mut self, engine: &Engine) {
        let due = engine.limits_due().map(|time| Instant::now() + time);
        self.limits_due = self.limits_due.into_iter().chain(due).min();
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
