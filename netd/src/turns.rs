//! Who speaks to the kernel about links: the engine, which makes and removes thousands of them in a change, and those who
//! answer questions meanwhile. A link that comes or goes spoils a dump of links, so each has the kernel in turn.
//!
//! Turns are taken in the order in which they are asked for. The engine's are short (`kernel::sender`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The engine is at work if it had its last turn within this time.
const AT_WORK: Duration = Duration::from_secs(1);

/// What takes turns.
pub struct Turns {
    state: Mutex<State>,
    over: Condvar,
}

struct State {
    /// The number of whoever asks next.
    next: u64,
    /// The number of whoever has its turn.
    served: u64,
    /// When the engine had its last turn.
    worked: Option<Instant>,
}

/// A turn, until it is dropped.
pub struct Turn<'a>(&'a Turns);

/// The turns of this process.
pub static LINKS: Turns = Turns::new();

impl Turns {
    /// Nobody has a turn.
    pub const fn new() -> Turns {
        Turns { state: Mutex::new(State { next: 0, served: 0, worked: None }), over: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn to read.
    pub fn read(&self) -> Turn<'_> {
        let state = self.lock();
        drop(self.wait(state));
        Turn(self)
    }

    /// Waits for a turn to make changes.
    pub fn change(&self) -> Turn<'_> {
        let mut state = self.wait(self.lock());
        state.worked = Some(Instant::now());
        drop(state);
        Turn(self)
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let number = state.next;
        state.next += 1;
        while state.served != number {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Whether changes are being made: whoever reads then is to leave most of the time to them.
    pub fn is_changing(&self) -> bool {
        self.lock().worked.is_some_and(|worked| worked.elapsed() < AT_WORK)
    }
}

impl Default for Turns {
    fn default() -> Turns {
        Turns::new()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().served += 1;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn reader_has_its_turn_between_two_changes() {
        let turns = Arc::new(Turns::new());
        let first = turns.change();
        let (sender, read) = mpsc::channel();
        let reader = std::thread::spawn({
            let turns = turns.clone();
            move || {
                let _turn = turns.read();
                sender.send(()).expect("somebody waits");
            }
        });
        // It has asked for its turn.
        while turns.lock().next < 2 {
            std::thread::yield_now();
        }
        assert!(read.try_recv().is_err(), "a change is being made");
        drop(first);
        let _second = turns.change();
        assert!(read.try_recv().is_ok(), "it asked earlier");
        assert!(turns.is_changing());
        reader.join().expect("no panic");
    }
}
