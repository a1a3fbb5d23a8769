//! One change at a time: who comes second is told at once who is first, and does not wait.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock;
use crate::failure::Failure;

/// Held by whoever is changing the switch. Clones are the same lock.
#[derive(Clone, Debug, Default)]
pub struct WriterLock(Arc<Mutex<Option<Writer>>>);

#[derive(Clone, Debug)]
struct Writer {
    user: String,
    since_s: u64,
}

/// The lock while it is held.
#[derive(Debug)]
pub struct Held(WriterLock);

impl WriterLock {
    /// Takes the lock for a user.
    ///
    /// # Errors
    /// Who holds it, and since when.
    pub fn take(&self, user: &str) -> Result<Held, Failure> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Writer { user, since_s }) = &*writer {
            let since = clock::show(*since_s);
            return Err(Failure::Locked(format!("locked by {user} since {since}: a change is being made")));
        }
        *writer = Some(Writer { user: user.to_owned(), since_s: clock::unix_s() });
        Ok(Held(self.clone()))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first_until_that_is_done() {
        let lock = WriterLock::default();
        let held = lock.take("ana").expect("nobody holds it");
        let words = lock.clone().take("bo").map(drop).expect_err("ana holds it").words();
        assert!(words.starts_with("locked by ana since 2") && words.contains("UTC"), "{words}");
        drop(held);
        drop(lock.take("bo").expect("ana is done"));
    }
}
