//! What is known of links at this moment, who cares about them, and what hangs on them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::groups::Groups;
use crate::clock;
use crate::plan::Action;

/// Name and index of a link.
pub(super) type LinkId = (String, u32);

/// Links to look at all the time.
pub(super) type Polled = Arc<[LinkId]>;

/// Links and who cares about them.
#[derive(Default)]
pub(super) struct Links {
    /// Interface indexes by name.
    indexes: BTreeMap<String, u32>,
    /// Whether a link was up when somebody last looked.
    up: BTreeMap<String, bool>,
    /// When that last changed, in seconds since 1970.
    changed_s: BTreeMap<String, u64>,
    /// Links the engine needs to know of at once: those of ECMP groups and LAGs.
    needed: BTreeSet<String>,
    /// Links readers watch, with how many watch them.
    watched: BTreeMap<String, usize>,
    polled: Polled,
    /// What looking at those showed, by name.
    looked: BTreeMap<String, Looked>,
    /// Groups of next hops that shrink when a link goes down.
    groups: Groups,
    /// Links whose carrier came or went since the engine last asked.
    moved: BTreeSet<String>,
}

#[derive(Clone, Copy, Default)]
struct Looked {
    index: u32,
    /// How often its carrier went, by the kernel's counter, when it last did.
    losses: u64,
    /// Whether it says by itself whether it is up.
    answers: bool,
}

impl Links {
    /// Links to look at all the time.
    pub fn polled(&self) -> &Polled {
        &self.polled
    }

    /// Whether there is a link of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.indexes.contains_key(name)
    }

    /// Takes in which links there are, which of them matter at once, and the groups of next hops. Answers those that are
    /// gone, of which something was known.
    pub fn set(
        &mut self,
        indexes: BTreeMap<String, u32>,
        needed: BTreeSet<String>,
        groups: Groups,
    ) -> Vec<String> {
        let gone: Vec<String> = self.up.keys().filter(|name| !indexes.contains_key(*name)).cloned().collect();
        self.up.retain(|name, _| indexes.contains_key(name));
        self.changed_s.retain(|name, _| indexes.contains_key(name));
        (self.indexes, self.needed, self.groups) = (indexes, needed, groups);
        self.choose();
        // A loss since these groups were read has asked the engine for another look.
        for name in self.dark() {
            self.groups.without(&name);
        }
        gone
    }

    /// Counts a reader of these links in.
    pub fn watch(&mut self, names: &[String]) {
        for name in names {
            *self.watched.entry(name.clone()).or_default() += 1;
        }
        self.choose();
    }

    /// Counts it out again.
    pub fn unwatch(&mut self, names: &[String]) {
        for name in names {
            if let Some(count) = self.watched.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.watched.remove(name);
                }
            }
        }
        self.choose();
    }

    fn choose(&mut self) {
        let names: BTreeSet<&String> = self.needed.iter().chain(self.watched.keys()).collect();
        self.polled =
            names.into_iter().filter_map(|name| Some((name.clone(), *self.indexes.get(name)?))).collect();
        let known = std::mem::take(&mut self.looked);
        for (name, index) in self.polled.iter() {
            let same = known.get(name).filter(|looked| looked.index == *index).copied();
            self.looked.insert(name.clone(), same.unwrap_or(Looked { index: *index, ..Looked::default() }));
        }
    }

    /// When a link's carrier last came or went, in seconds since 1970; 0 when it has not.
    pub fn changed_s(&self, name: &str) -> u64 {
        self.changed_s.get(name).copied().unwrap_or(0)
    }

    /// Links to look at that were down just now.
    pub fn dark(&self) -> BTreeSet<String> {
        let down = |name: &String| self.up.get(name) == Some(&false);
        self.polled.iter().map(|(name, _)| name).filter(|name| down(name)).cloned().collect()
    }

    /// Links whose carrier came or went since the last call.
    pub fn take_moved(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.moved)
    }

    /// What hung on a link came or went with it just now.
    pub fn has_moved(&mut self, name: &str) {
        self.moved.insert(name.to_owned());
    }

    /// How many losses were counted of each of these.
    pub fn losses(&self, links: &[LinkId]) -> Vec<u64> {
        links.iter().map(|(name, _)| self.looked.get(name).map_or(0, |looked| looked.losses)).collect()
    }

    /// Takes in what the kernel tells of a link. That may be late, so it counts for nothing where the link says
    /// it by itself. As with the others, the answer is what is to be done in the kernel if this is news.
    pub fn told(&mut self, name: &str, up: bool) -> Option<Vec<Action>> {
        match self.looked.get(name) {
            Some(looked) if looked.answers => None,
            _ => self.put(name, up),
        }
    }

    /// Takes in that so many losses of the link are counted now. Others may have seen the last one.
    pub fn lost(&mut self, link: &LinkId, losses: u64) -> Option<Vec<Action>> {
        let looked = self.looked.get_mut(&link.0).filter(|looked| looked.index == link.1)?;
        if losses <= looked.losses {
            return None;
        }
        looked.losses = losses;
        self.put(&link.0, false)
    }

    /// Takes in what a link answered (or that it did not) that was asked when so many of its losses had been
    /// counted: that it is up is only true while there are no more.
    pub fn answered(&mut self, link: &LinkId, up: Option<bool>, losses: u64) -> Option<Vec<Action>> {
        let looked = self.looked.get_mut(&link.0).filter(|looked| looked.index == link.1)?;
        looked.answers = up.is_some();
        let up = up.filter(|up| !up || looked.losses == losses)?;
        self.put(&link.0, up)
    }

    /// Links cannot be asked now: what the kernel tells counts.
    pub fn none_answers(&mut self) {
        self.looked.values_mut().for_each(|looked| looked.answers = false);
    }

    fn put(&mut self, name: &str, up: bool) -> Option<Vec<Action>> {
        if self.up.get(name) == Some(&up) {
            return None;
        }
        // The first look at a link is no change of it.
        if self.up.insert(name.to_owned(), up).is_some() {
            self.changed_s.insert(name.to_owned(), clock::unix_s());
        }
        self.has_moved(name);
        Some(if up { Vec::new() } else { self.groups.without(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::groups::tests::{groups_of_two, shrunk};

    /// Two links that readers watch, the first with this index.
    fn watched(index: u32) -> Links {
        let mut links = Links::default();
        links.watch(&["swp1".to_owned(), "swp2".to_owned()]);
        links.set(
            [("swp1".to_owned(), index), ("swp2".to_owned(), 2)].into(),
            BTreeSet::new(),
            Groups::default(),
        );
        links
    }

    fn one() -> LinkId {
        ("swp1".to_owned(), 1)
    }

    #[test]
    fn a_loss_is_news_once_whoever_saw_it_first() {
        let mut links = watched(1);
        assert!(links.answered(&one(), Some(true), 0).is_some());
        assert!(links.lost(&one(), 6).is_some());
        assert!(links.lost(&one(), 6).is_none());
        assert!(links.answered(&one(), Some(true), 6).is_some());
        assert!(links.lost(&one(), 6).is_none());
        assert!(links.lost(&one(), 5).is_none());
        assert!(links.lost(&one(), 7).is_some());
    }

    #[test]
    fn first_look_at_a_link_is_no_change_of_its_carrier() {
        let mut links = watched(1);
        links.answered(&one(), Some(true), 0);
        assert_eq!(links.changed_s("swp1"), 0);
        links.lost(&one(), 1);
        assert!(links.changed_s("swp1") > 1_600_000_000);
    }

    #[test]
    fn what_a_link_answered_before_it_was_lost_is_no_news() {
        let mut links = watched(1);
        let before = links.losses(&[one()])[0];
        assert!(links.lost(&one(), 1).is_some());
        assert!(links.answered(&one(), Some(true), before).is_none());
        // Losses of others do not matter.
        assert!(links.lost(&("swp2".to_owned(), 2), 9).is_some());
        assert!(links.answered(&one(), Some(true), 1).is_some());
    }

    #[test]
    fn what_the_kernel_tells_counts_only_while_the_link_does_not_answer() {
        let mut links = watched(1);
        assert!(links.told("swp1", true).is_some());
        assert!(links.answered(&one(), Some(false), 0).is_some());
        assert!(links.told("swp1", true).is_none());
        links.none_answers();
        assert!(links.told("swp1", true).is_some());
        assert!(links.answered(&one(), Some(false), 0).is_some());
        assert!(links.answered(&one(), None, 0).is_none());
        assert!(links.told("swp1", true).is_some());
    }

    #[test]
    fn what_was_seen_of_a_link_that_is_another_by_now_or_that_nobody_watches_any_more_is_no_news() {
        let mut links = watched(7);
        assert!(links.answered(&one(), Some(false), 0).is_none());
        assert!(links.lost(&one(), 1).is_none());
        let seven = ("swp1".to_owned(), 7);
        assert!(links.answered(&seven, Some(true), 0).is_some());
        links.unwatch(&["swp1".to_owned()]);
        assert!(links.answered(&seven, Some(false), 0).is_none());
        assert!(links.told("swp1", false).is_some());
        assert_eq!(links.take_moved(), ["swp1".to_owned()].into());
    }

    #[test]
    fn groups_lose_what_is_on_a_link_with_it_and_keep_it_out_while_it_is_down() {
        let mut links = watched(1);
        let again = |links: &mut Links| links.set(links.indexes.clone(), BTreeSet::new(), groups_of_two());
        again(&mut links);
        assert_eq!(links.lost(&one(), 1), Some(shrunk("swp1")));
        again(&mut links);
        assert!(links.answered(&one(), Some(true), 1).is_some());
        assert_eq!(links.lost(&one(), 2), Some(Vec::new()));
        assert!(links.answered(&one(), Some(true), 2).is_some());
        again(&mut links);
        assert_eq!(links.lost(&one(), 3), Some(shrunk("swp1")));
    }
}
