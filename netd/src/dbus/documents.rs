//! Documents that callers send: read and parsed on a thread of their own, never the engine's, one at a time a user.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use netd_api::config;
use netd_api::descriptor::{self, ADMIN_DOCUMENT_BYTES, ReadError, VIEWER_DOCUMENT_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::caller::Caller;
use super::quota::{Permit, Quota};
use crate::background;
use crate::engine::changes::Document;
use crate::failure::Failure;

/// Calls with a document one user may have open, the one that is worked on included, and all users.
const CALLS: [usize; 2] = [4, 64];
/// Documents that are checked or compared at a time, of all users.
const AT_A_TIME: usize = 3;

/// Lets documents in, in turn.
#[derive(Clone, Debug)]
pub struct Documents {
    calls: Quota,
    all: Arc<Semaphore>,
    users: Arc<Mutex<BTreeMap<u32, Weak<Semaphore>>>>,
}

/// Held while a document is worked on.
#[derive(Debug)]
pub struct Turn {
    _call: Permit,
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Documents {
    fn default() -> Self {
        Documents {
            calls: Quota::new("calls with a document", CALLS[0], CALLS[1]),
            all: Arc::new(Semaphore::new(AT_A_TIME)),
            users: Arc::default(),
        }
    }
}

impl Documents {
    /// Waits until a user's document may be read: theirs before it are done, and few others are being worked on.
    ///
    /// # Errors
    /// When the user has too many waiting.
    pub async fn turn(&self, caller: &Caller) -> Result<Turn, Failure> {
        let ended = |_| Failure::Failed("netd is ending".to_owned());
        let call = self.calls.take(caller)?;
        let of_user = self.of_user(caller.user_id()).acquire_owned().await.map_err(ended)?;
        let of_all = self.all.clone().acquire_owned().await.map_err(ended)?;
        Ok(Turn { _call: call, _of_user: of_user, _of_all: of_all })
    }

    fn of_user(&self, user_id: u32) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, semaphore| semaphore.strong_count() > 0);
        if let Some(known) = users.get(&user_id).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Semaphore::new(1));
        users.insert(user_id, Arc::downgrade(&new));
        new
    }
}

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be checked or compared: that gives way to other work.
    Question,
    /// To be applied.
    Change,
}

/// Reads and parses a document, which may be as long as the caller's role allows.
///
/// # Errors
/// When it cannot be read; a document that is not valid is the engine's answer.
pub async fn read(caller: &Caller, descriptor: OwnedFd, purpose: Purpose) -> Result<Document, Failure> {
    let limit = if caller.is_admin() { ADMIN_DOCUMENT_BYTES } else { VIEWER_DOCUMENT_BYTES };
    let (reply, answer) = oneshot::channel();
    let work = move || {
        let read = descriptor::read_text(descriptor, limit).map(Document::parse);
        // A caller that went away needs no answer.
        let _ = reply.send(read);
    };
    let started = match purpose {
        Purpose::Question => background::spawn("document", work),
        Purpose::Change => std::thread::Builder::new().name("document".to_owned()).spawn(work).map(drop),
    };
    started.map_err(|error| Failure::Failed(format!("reading the document: {error}")))?;
    let read = answer.await.map_err(|_| Failure::Failed("reading the document failed".to_owned()))?;
    read.map_err(|error| match error {
        ReadError::Io(_) => Failure::Failed(error.to_string()),
        _ => Failure::Invalid(error.to_string()),
    })
}

/// A text as netd hands it out.
///
/// # Errors
/// When there is no memory for it.
pub fn write(text: &str) -> Result<OwnedFd, Failure> {
    descriptor::of_text(text).map_err(|error| Failure::Failed(format!("handing out the document: {error}")))
}

/// The most bytes a document may have, whoever sends it.
const _: () = assert!(ADMIN_DOCUMENT_BYTES >= config::MAX_DOCUMENT_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn document_of_a_user_waits_for_the_one_before_and_no_longer() {
        let documents = Documents::default();
        let user = Caller::of_user;
        let first = documents.turn(&user(1000)).await.expect("the first");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let documents = documents.clone();
                tokio::spawn(async move { documents.turn(&user(1000)).await.map(drop) })
            })
            .collect();
        // They wait, and one more is too many.
        tokio::task::yield_now().await;
        let words = documents.turn(&user(1000)).await.expect_err("too many").words();
        assert!(words.contains("4 calls with a document"), "{words}");
        drop(documents.turn(&user(1001)).await.expect("another user's"));
        drop(first);
        for call in waiting {
            call.await.expect("no panic").expect("its turn");
        }
        assert!(documents.users.lock().expect("no panic").values().all(|user| user.strong_count() == 0));
    }

    #[tokio::test]
    async fn document_that_is_too_long_for_a_viewer_is_read_from_an_administrator() {
        let longest = "#".repeat(VIEWER_DOCUMENT_BYTES);
        let outcome = async |user_id: u32, text: &str| {
            let descriptor = write(text).expect("memory");
            read(&Caller::of_user(user_id), descriptor, Purpose::Change).await.map(drop)
        };
        outcome(1000, &longest).await.expect("as long as a viewer's may be");
        let longer = format!("{longest}#");
        let refused = outcome(1000, &longer).await.expect_err("a byte more");
        assert!(matches!(refused, Failure::Invalid(_)), "{refused:?}");
        assert!(refused.words().contains("longer than 8388608 bytes"), "{}", refused.words());
        outcome(0, &longer).await.expect("root's");
    }
}
