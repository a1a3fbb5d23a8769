//! The service manager's watchdog, which watches netd at its work.
//!
//! A daemon that shows all the time that it lives wakes up for nothing else. netd at rest has nothing to hang
//! at, so it has the watchdog rest too: whoever brings work has it watch, and when no work has come for a while
//! netd tells it to stop (`WATCHDOG_USEC=0`).

use std::env;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::notify::notify;

/// When the service manager heard of netd last, while it watches.
static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
/// How long it waits; `None` when it does not watch at all.
static LIMIT: LazyLock<Option<Duration>> = LazyLock::new(limit);

/// When the service manager was last asked for more time, while netd starts.
static STARTING: Mutex<Option<Instant>> = Mutex::new(None);
/// How much more time a start that gets on asks for.
const MORE_TIME: Duration = Duration::from_secs(60);
/// How often it asks.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// netd starts: until it has, [`alive`] asks for more time. A large table, or a driver that takes its time, is no
/// reason to end it.
pub fn starting() {
    *STARTING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// It has.
pub fn started() {
    *STARTING.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The message that is due now to a service manager which waits for the start.
fn more_time(asked: &mut Option<Instant>, now: Instant) -> Option<String> {
    let last = asked.as_mut().filter(|last| now.duration_since(**last) >= ASK_EVERY)?;
    *last = now;
    Some(format!("EXTEND_TIMEOUT_USEC={}", MORE_TIME.as_micros()))
}

fn limit() -> Option<Duration> {
    let own = env::var("WATCHDOG_PID").map_or(Ok(std::process::id()), |text| text.parse()).ok()?;
    let limit_us: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (own == std::process::id() && limit_us > 0).then(|| Duration::from_micros(limit_us))
}

fn told() -> MutexGuard<'static, Option<Instant>> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody brings work for the engine: has the watchdog watch, if it rests. Says nothing for an engine that hangs.
pub fn wake() {
    let (Some(limit), mut told) = (*LIMIT, told()) else { return };
    if told.is_none() {
        notify(&format!("WATCHDOG_USEC={}\nWATCHDOG=1", limit.as_micros()));
        *told = Some(Instant::now());
    }
}

/// The engine begins with some work: has the watchdog watch, and give it all of its patience.
pub fn watch() {
    wake();
    alive();
}

/// Shows the watchdog that netd gets on with its work, which tells long work from a hang. It is told no more
/// often than it asks for; while it rests, it need not know.
pub fn alive() {
    let more = more_time(&mut STARTING.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    if let Some(more) = more {
        notify(&more);
    }
    let (Some(limit), mut told) = (*LIMIT, told()) else { return };
    if told.is_some_and(|told| told.elapsed() >= limit / 4) {
        notify("WATCHDOG=1");
        *told = Some(Instant::now());
    }
}

/// When the watchdog is to rest if no work comes before; `None` while it rests.
pub fn rest_due() -> Option<Instant> {
    let (limit, told) = ((*LIMIT)?, (*told())?);
    Some(told + limit / 2)
}

/// Nothing is left to do: has the watchdog rest.
pub fn rest() {
    // Told while nobody else can have it watch.
    let mut told = told();
    if told.take().is_some() {
        notify("WATCHDOG_USEC=0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_that_gets_on_asks_for_more_time_now_and_then() {
        let began = Instant::now();
        let mut asked = Some(began);
        assert_eq!(more_time(&mut asked, began + ASK_EVERY / 2), None);
        let message = more_time(&mut asked, began + ASK_EVERY);
        assert_eq!(message.as_deref(), Some("EXTEND_TIMEOUT_USEC=60000000"));
        assert_eq!(more_time(&mut asked, began + ASK_EVERY), None);
        assert_eq!(more_time(&mut None, began + ASK_EVERY), None, "it has started");
    }
}
