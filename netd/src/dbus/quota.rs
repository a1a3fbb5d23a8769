//! What one user may hold of netd at a time: so that none can keep others out, or fill its memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::caller::Caller;
use crate::failure::Failure;

/// A bounded number of something: streams, calls. Clones are the same.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What there is so many of, for messages.
    noun: &'static str,
    each: usize,
    all: usize,
    held: Mutex<BTreeMap<u32, usize>>,
}

/// One of them, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    quota: Quota,
    user_id: u32,
}

impl Quota {
    /// At most `each` a user. Once there are `all`, only administrators get more, and only if they hold none.
    pub fn new(noun: &'static str, each: usize, all: usize) -> Quota {
        Quota(Arc::new(Shared { noun, each, all, held: Mutex::default() }))
    }

    /// Takes one.
    ///
    /// # Errors
    /// When the user holds as many as a user may, or all are held.
    pub fn take(&self, caller: &Caller) -> Result<Permit, Failure> {
        let Shared { noun, each, all, held } = &*self.0;
        let user_id = caller.user_id();
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(&user_id).copied().unwrap_or(0);
        if own >= *each {
            return Err(Failure::Failed(format!(
                "you have {own} {noun} open, the most a user may have at a time"
            )));
        }
        let in_all: usize = held.values().sum();
        if in_all >= *all && !(caller.is_admin() && own == 0) {
            return Err(Failure::Failed(format!(
                "there are {in_all} {noun}, the most there may be at a time"
            )));
        }
        held.insert(user_id, own + 1);
        Ok(Permit { quota: self.clone(), user_id })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.quota.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_of_a_user_leaves_the_others_theirs() {
        let quota = Quota::new("streams", 2, 3);
        let user = Caller::of_user;
        let mut held =
            vec![quota.take(&user(1000)).expect("the first"), quota.take(&user(1000)).expect("the second")];
        let words = quota.take(&user(1000)).expect_err("a third").words();
        assert_eq!(words, "you have 2 streams open, the most a user may have at a time");
        held.push(quota.take(&user(1001)).expect("another user's"));
        let words = quota.take(&user(1002)).expect_err("one too many").words();
        assert_eq!(words, "there are 3 streams, the most there may be at a time");
        let root = quota.take(&user(0)).expect("an administrator's");
        assert!(quota.take(&user(0)).is_err(), "an administrator has no more than one beyond the bound");
        held.clear();
        drop(root);
        assert!(quota.take(&user(1000)).is_ok());
    }
}
