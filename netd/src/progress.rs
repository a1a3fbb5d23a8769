//! How far the change that is being made has come, for those who wait for it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The steps that are being sent to the kernel; `None` while there are none.
static SENDING: Mutex<Option<Progress>> = Mutex::new(None);

/// Steps on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many the kernel has carried out.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// The one the kernel is about at most: the first of those it was handed together.
    pub step: String,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { done, total, step } = self;
        write!(f, "{done} of {total} steps are done, and it goes on from: {step}")
    }
}

fn sending() -> MutexGuard<'static, Option<Progress>> {
    SENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The steps on their way are over when this is dropped.
#[derive(Debug)]
pub struct Sending(());

/// So many steps are about to be sent.
pub fn begin(total: usize) -> Sending {
    *sending() = Some(Progress { done: 0, total, step: String::new() });
    Sending(())
}

impl Sending {
    /// So many are done, and the next ones begin with this.
    pub fn at(&self, done: usize, step: impl FnOnce() -> String) {
        if let Some(progress) = &mut *sending() {
            progress.done = done;
            progress.step = step();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        *sending() = None;
    }
}

/// How far it is; `None` while no steps are on their way.
pub fn now() -> Option<Progress> {
    sending().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_until_all_is_sent() {
        let sending = begin(4000);
        sending.at(32, || "swp1.33: create vlan 33 on swp1".to_owned());
        let words = "32 of 4000 steps are done, and it goes on from: swp1.33: create vlan 33 on swp1";
        assert_eq!(now().map(|progress| progress.to_string()).as_deref(), Some(words));
        drop(sending);
        assert_eq!(now(), None);
    }
}
