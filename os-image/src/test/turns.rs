//! Turns of the unit tests to compute, which they share with the behaviours for as long as these run.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use jobserver::{Acquired, Client};

/// Gives turns to one who takes them one after the other.
pub struct Turns {
    tokens: Client,
    /// Whether nobody else computes any more.
    is_alone: AtomicBool,
}

impl Turns {
    /// Turns by tokens that others take as well.
    pub fn new(tokens: Client) -> Turns {
        Turns { tokens, is_alone: AtomicBool::new(false) }
    }

    /// Waits for a turn, which ends when the answer is dropped.
    pub fn take(&self) -> Result<Option<Acquired>> {
        if self.is_alone.load(Ordering::SeqCst) {
            return Ok(None);
        }
        self.tokens.acquire().map(Some).context("no token")
    }

    /// Says that the others have ended, perhaps with all tokens: whoever waits for one gets it.
    pub fn others_ended(&self) -> Result<()> {
        self.is_alone.store(true, Ordering::SeqCst);
        self.tokens.release_raw().context("cannot give a token back")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn turn_comes_though_others_ended_with_every_token() {
        let tokens = Client::new(2).unwrap();
        // Those of a program that is killed.
        tokens.acquire_raw().unwrap();
        tokens.acquire_raw().unwrap();
        let turns = &Turns::new(tokens);
        let (took, taken) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..3 {
                    took.send(turns.take().unwrap().is_some()).unwrap();
                }
            });
            assert!(taken.recv_timeout(Duration::from_millis(100)).is_err(), "there is no token");
            turns.others_ended().unwrap();
            let turns: Vec<bool> = taken.iter().collect();
            assert_eq!(turns.len(), 3, "it waits for ever");
        });
    }

    #[test]
    fn turn_is_a_token_while_others_compute() {
        let tokens = Client::new(1).unwrap();
        let turns = Turns::new(tokens.clone());
        let turn = turns.take().unwrap();
        assert_eq!(tokens.available().unwrap(), 0);
        drop(turn);
        assert_eq!(tokens.available().unwrap(), 1);
    }
}
