//! The last events, numbered, and the last of each object for readers that missed some.

use std::collections::{BTreeMap, VecDeque};

use netd_api::alarm::AlarmKind;
use netd_api::config::model::System;
use netd_api::events::{Event, EventKind, EventSource};
use nix::time::{ClockId, clock_gettime};

/// Events that are kept.
const KEPT: usize = 4096;
/// Generations whose last event is kept for snapshots: no event ends what is told of one.
const GENERATIONS: usize = 100;

/// The kind of state that links have ([`EventKind::state_of`]).
const LINK: &str = "link";
/// That of generations.
const CONFIGURATION: &str = "configuration";

/// The ring.
pub struct Ring {
    boot_id: String,
    next: u64,
    /// Objects, beside links and generations, whose last event is kept for snapshots. Beyond that the oldest give way.
    most_states: usize,
    events: VecDeque<Event>,
    /// The last event of each object, by kind and name.
    states: BTreeMap<(&'static str, String), Event>,
    /// How many of them are of links: there are no more of those than links.
    links: usize,
    /// How many are of generations.
    generations: usize,
}

/// What a reader gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These, in order; the cursor after them.
    Events(Vec<Event>, u64),
    /// What the reader wants is no longer kept, or never was: the states of all objects, and the cursor after
    /// them.
    Snapshot(Vec<Event>, u64),
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Ring {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Numbers begin anew with netd, so a start of netd is part of what they count in.
        let boot_id = format!("{}/{}", boot.trim(), monotonic_ns());
        Ring {
            boot_id,
            next: 1,
            most_states: System::default().most_event_states as usize,
            events: VecDeque::with_capacity(KEPT),
            states: BTreeMap::new(),
            links: 0,
            generations: 0,
        }
    }

    /// What numbers count in.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Adds an event and answers its number.
    pub fn push(&mut self, kind: EventKind, object: &str, source: EventSource, detail: String) -> u64 {
        self.add(kind, None, object, source, detail)
    }

    /// Adds the begin or end of an alarm and answers its number.
    pub fn push_alarm(&mut self, kind: EventKind, alarm: AlarmKind, object: &str, detail: String) -> u64 {
        self.add(kind, Some(alarm), object, EventSource::Netd, detail)
    }

    fn add(
        &mut self,
        kind: EventKind,
        alarm: Option<AlarmKind>,
        object: &str,
        source: EventSource,
        detail: String,
    ) -> u64 {
        let seq = self.next;
        self.next += 1;
        let event = Event {
            boot_id: self.boot_id.clone(),
            seq,
            monotonic_ns: monotonic_ns(),
            kind,
            object: object.to_owned(),
            alarm,
            source,
            detail,
            snapshot: false,
        };
        // An object may have an alarm of each kind.
        match (alarm.map(AlarmKind::as_str).or(kind.state_of()), kind.ends_state()) {
            (Some(state), true) => self.forget(state, object),
            (Some(state), false) => self.keep(state, object, event.clone()),
            (None, _) => {}
        }
        if kind == EventKind::PortRemoved {
            self.forget(LINK, object);
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
        seq
    }

    fn keep(&mut self, state: &'static str, object: &str, event: Event) {
        if self.states.insert((state, object.to_owned()), event).is_some() {
            return;
        }
        self.links += usize::from(state == LINK);
        self.generations += usize::from(state == CONFIGURATION);
        self.forget_oldest(self.generations.saturating_sub(GENERATIONS), |state| state == CONFIGURATION);
        self.forget_others();
    }

    fn forget_others(&mut self) {
        let excess = self.others().saturating_sub(self.most_states);
        self.forget_oldest(excess, |state| state != LINK && state != CONFIGURATION);
    }

    /// Sets how many objects, beside links and generations, have a state.
    pub fn bound_states(&mut self, most: usize) {
        self.most_states = most;
        self.forget_others();
    }

    /// How many of them may have one.
    pub fn most_states(&self) -> usize {
        self.most_states
    }

    /// How many objects have a state, beside links and generations.
    pub fn others(&self) -> usize {
        self.states.len() - self.links - self.generations
    }

    fn forget_oldest(&mut self, count: usize, is_meant: impl Fn(&str) -> bool) {
        if count == 0 {
            return;
        }
        let mut meant: Vec<_> = self.states.iter().filter(|((state, _), _)| is_meant(state)).collect();
        if count < meant.len() {
            meant.select_nth_unstable_by_key(count, |(_, event)| event.seq);
        }
        let oldest: Vec<_> = meant.into_iter().take(count).map(|(key, _)| key.clone()).collect();
        oldest.iter().for_each(|(state, object)| self.forget(state, object));
    }

    fn forget(&mut self, state: &'static str, object: &str) {
        let known = self.states.remove(&(state, object.to_owned())).is_some();
        self.links -= usize::from(known && state == LINK);
        self.generations -= usize::from(known && state == CONFIGURATION);
    }

    /// A link is gone: it has no state any more.
    pub fn forget_link(&mut self, name: &str) {
        self.forget(LINK, name);
    }

    /// At most `limit` events after number `after`.
    pub fn after(&self, after: u64, limit: usize) -> Next {
        let first = self.next - self.events.len() as u64;
        if after >= self.next || after + 1 < first {
            return self.snapshot(Some(after));
        }
        let skip = (after + 1 - first) as usize;
        let events: Vec<Event> = self.events.iter().skip(skip).take(limit).cloned().collect();
        let cursor = after + events.len() as u64;
        Next::Events(events, cursor)
    }

    /// The state of everything, oldest first: for a new reader, or one whose last event was number `after` and
    /// which is told that it missed some.
    pub fn snapshot(&self, after: Option<u64>) -> Next {
        let last = self.next - 1;
        let lagged = after.map(|after| Event {
            boot_id: self.boot_id.clone(),
            seq: last,
            monotonic_ns: monotonic_ns(),
            kind: EventKind::Lagged,
            object: String::new(),
            alarm: None,
            source: EventSource::Netd,
            detail: format!("events after {after} are missing up to {last}"),
            snapshot: false,
        });
        let mut states: Vec<Event> =
            self.states.values().map(|event| Event { snapshot: true, ..event.clone() }).collect();
        states.sort_by_key(|event| event.seq);
        Next::Snapshot(lagged.into_iter().chain(states).collect(), last)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Ring::new()
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ring: &mut Ring, port: &str, up: bool) -> u64 {
        let kind = if up { EventKind::LinkUp } else { EventKind::LinkDown };
        ring.push(kind, port, EventSource::Netlink, String::new())
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let mut ring = Ring::new();
        for number in 1..=10 {
            assert_eq!(link(&mut ring, "swp1", number % 2 == 0), number);
        }
        let Next::Events(events, cursor) = ring.after(7, 2) else { panic!("a snapshot") };
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(cursor, 9);
        assert_eq!(ring.after(10, 5), Next::Events(Vec::new(), 10));
    }

    #[test]
    fn a_reader_that_missed_some_is_told_and_gets_the_state_of_each_object() {
        let mut ring = Ring::new();
        for number in 0..KEPT + 10 {
            link(&mut ring, if number % 3 == 0 { "swp1" } else { "swp2" }, number % 2 == 0);
        }
        let Next::Snapshot(events, cursor) = ring.after(5, 100) else { panic!("no snapshot") };
        assert_eq!(cursor, (KEPT + 10) as u64);
        assert_eq!(events[0].kind, EventKind::Lagged);
        assert_eq!(
            events[1..].iter().map(|event| event.object.as_str()).collect::<Vec<_>>(),
            ["swp1", "swp2"]
        );
        assert!(events[1..].iter().all(|event| event.snapshot));
    }

    #[test]
    fn a_new_reader_gets_the_state_of_each_object_in_order_and_has_missed_nothing() {
        let mut ring = Ring::new();
        for (port, up) in [("swp2", true), ("swp1", true), ("swp2", false)] {
            link(&mut ring, port, up);
        }
        let Next::Snapshot(events, 3) = ring.snapshot(None) else { panic!("no snapshot") };
        let seen: Vec<_> = events.iter().map(|event| (event.object.as_str(), event.kind)).collect();
        assert_eq!(seen, [("swp1", EventKind::LinkUp), ("swp2", EventKind::LinkDown)]);
    }

    #[test]
    fn a_number_from_the_future_is_answered_by_a_snapshot() {
        let mut ring = Ring::new();
        link(&mut ring, "swp1", true);
        for future in [2, u64::MAX] {
            assert!(matches!(ring.after(future, 10), Next::Snapshot(_, 1)), "{future}");
        }
    }

    fn snapshot(ring: &Ring) -> Vec<(EventKind, String)> {
        let Next::Snapshot(events, _) = ring.snapshot(None) else { panic!("no snapshot") };
        events.into_iter().map(|event| (event.kind, event.object)).collect()
    }

    #[test]
    fn event_state_goes_with_its_object_or_its_end() {
        let mut ring = Ring::new();
        let mut push = |kind: EventKind, object: &str| {
            ring.push(kind, object, EventSource::Netd, String::new());
            snapshot(&ring)
        };
        use EventKind::{Attached, Detached, LinkUp, PortAdded, PortRemoved, Repaired};
        assert_eq!(push(PortAdded, "swp1"), []);
        assert_eq!(push(LinkUp, "swp1").len(), 1);
        assert_eq!(push(Repaired, "swp2").len(), 1);
        assert_eq!(push(Attached, "a/b/eth0").len(), 2);
        assert_eq!(push(Detached, "a/b/eth0").len(), 1);
        assert_eq!(push(PortRemoved, "swp1"), []);
        link(&mut ring, "web-eth0", true);
        ring.forget_link("web-eth0");
        assert_eq!(snapshot(&ring), []);
    }

    #[test]
    fn object_has_an_alarm_of_each_kind_and_each_ends_alone() {
        let mut ring = Ring::new();
        let mut push = |kind, alarm| {
            ring.push_alarm(kind, alarm, "swp1", String::new());
            let Next::Snapshot(events, _) = ring.snapshot(None) else { panic!("no snapshot") };
            events.into_iter().filter_map(|event| event.alarm).collect::<Vec<_>>()
        };
        use AlarmKind::{GroupsFull, NotApplied};
        assert_eq!(push(EventKind::Alarm, GroupsFull), [GroupsFull]);
        assert_eq!(push(EventKind::Alarm, NotApplied), [GroupsFull, NotApplied]);
        assert_eq!(push(EventKind::AlarmCleared, GroupsFull), [NotApplied]);
        assert_eq!(push(EventKind::AlarmCleared, NotApplied), []);
    }

    #[test]
    fn event_states_are_bounded_and_links_never_give_way() {
        let mut ring = Ring::new();
        link(&mut ring, "swp1", true);
        let most = ring.most_states();
        for number in 0..most + 100 {
            ring.push(EventKind::Attached, &number.to_string(), EventSource::Netd, String::new());
        }
        link(&mut ring, "swp2", true);
        let states = snapshot(&ring);
        assert_eq!(states.len(), most + 2);
        let has = |object: &str| states.iter().any(|(_, known)| known == object);
        assert!(has("swp1") && has("swp2") && has(&(most + 99).to_string()) && !has("99"));
        // A lower bound has the oldest give way at once.
        ring.bound_states(64);
        let states: Vec<String> = snapshot(&ring).into_iter().map(|(_, object)| object).collect();
        let newest = (most + 36..most + 100).map(|number| number.to_string());
        let expected: Vec<String> =
            ["swp1".to_owned()].into_iter().chain(newest).chain(["swp2".to_owned()]).collect();
        assert_eq!((states, ring.others()), (expected, 64));
    }

    #[test]
    fn event_states_of_generations_are_bounded_apart() {
        let mut ring = Ring::new();
        ring.push(EventKind::Attached, "a/b/eth0", EventSource::Netd, String::new());
        for number in 1..=4096 {
            let object = format!("generation {number}");
            ring.push(EventKind::Applied, &object, EventSource::Netd, String::new());
            ring.push(EventKind::Confirmed, &object, EventSource::Netd, String::new());
        }
        let states = snapshot(&ring);
        assert_eq!((states.len(), ring.others()), (GENERATIONS + 1, 1));
        assert_eq!(states[0].1, "a/b/eth0");
        assert_eq!(states.last().map(|(_, object)| object.as_str()), Some("generation 4096"));
    }
}
