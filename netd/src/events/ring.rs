//! The last events, numbered, and the last of each object for readers that missed some.

use std::collections::{BTreeMap, VecDeque};

use netd_api::events::{Event, EventKind, EventSource};
use nix::time::{ClockId, clock_gettime};

/// Events that are kept.
const KEPT: usize = 4096;
/// Objects whose last event is kept for snapshots.
const STATES: usize = 16_384;

/// The ring.
pub struct Ring {
    boot_id: String,
    next: u64,
    events: VecDeque<Event>,
    states: BTreeMap<(&'static str, String), Event>,
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
        Ring { boot_id, next: 1, events: VecDeque::with_capacity(KEPT), states: BTreeMap::new() }
    }

    /// What numbers count in.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Adds an event and answers its number.
    pub fn push(&mut self, kind: EventKind, object: &str, source: EventSource, detail: String) -> u64 {
        let seq = self.next;
        self.next += 1;
        let event = Event {
            boot_id: self.boot_id.clone(),
            seq,
            monotonic_ns: monotonic_ns(),
            kind,
            object: object.to_owned(),
            source,
            detail,
            snapshot: false,
        };
        if let Some(state) = kind.state_of() {
            let key = (state, object.to_owned());
            if self.states.len() < STATES || self.states.contains_key(&key) {
                self.states.insert(key, event.clone());
            }
        }
        if kind == EventKind::PortRemoved {
            self.states.remove(&("link", object.to_owned()));
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
        seq
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
}
