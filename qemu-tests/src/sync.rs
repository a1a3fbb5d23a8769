//! Locks whose holders may have panicked: a test that failed must not make others fail for that reason.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::waiting::counted;

/// Locks, poisoned or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition until it is notified or the deadline passes; without a deadline, until notified.
/// Wakes up spuriously, as conditions do. The time counts as waited.
pub(crate) fn wait_until<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    counted(|| wait_uncounted(condition, guard, deadline))
}

/// The same for what keeps a machine busy meanwhile, such as its boot.
pub(crate) fn wait_uncounted<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    match deadline {
        None => condition.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(deadline) => {
            let timeout = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            condition.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
