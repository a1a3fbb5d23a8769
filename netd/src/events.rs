//! What happens on the switch, told to whoever listens: a bounded ring of numbered events ([`ring`]), its
//! readers ([`watch`]), and the threads that look at links the kernel would tell of too late ([`poll`]) and
//! what is known of them (`links`).
//!
//! [`Hub`] is what the other rooms see. Telling never waits for a reader.

pub mod groups;
mod links;
pub mod poll;
pub mod ring;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use netd_api::alarm::AlarmKind;
use netd_api::events::{EventKind, EventSource};
use tokio::sync::{Notify, watch as watcher};

use groups::Groups;
use links::Links;
use ring::Ring;

use crate::plan::Action;
use crate::state::stream::Source;

/// The place where events come together. Clones are the same place.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// Number of the last event.
    last: watcher::Sender<u64>,
    links: Mutex<Links>,
    /// Wakes the polling threads when there is something to look at.
    to_poll: Condvar,
    /// Wakes the engine when a carrier came or went.
    carrier: Notify,
    /// What questions are answered from beside the engine.
    source: Mutex<Option<Arc<Source>>>,
}

/// A thread that panicked leaves what it held as it was between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// An empty ring, and polling threads that sleep until a link is to be looked at.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn open() -> io::Result<Hub> {
        let hub = Hub(Arc::new(Shared {
            ring: Mutex::new(Ring::new()),
            last: watcher::Sender::new(0),
            links: Mutex::default(),
            to_poll: Condvar::new(),
            carrier: Notify::new(),
            source: Mutex::default(),
        }));
        poll::start(&hub.0)?;
        Ok(hub)
    }

    /// Tells an event.
    pub fn tell(&self, kind: EventKind, object: &str, source: EventSource, detail: impl Into<String>) {
        self.0.tell(kind, object, source, detail.into());
    }

    /// Tells that an alarm begins ([`EventKind::Alarm`]) or has ended.
    pub fn tell_alarm(&self, kind: EventKind, alarm: AlarmKind, object: &str, detail: impl Into<String>) {
        let seq = lock(&self.0.ring).push_alarm(kind, alarm, object, detail.into());
        self.0.last.send_replace(seq);
    }

    /// How many objects have a state that events tell, beside links and generations, and how many may.
    pub fn event_states(&self) -> [usize; 2] {
        let ring = lock(&self.0.ring);
        [ring.others(), ring.most_states()]
    }

    /// Sets how many may.
    pub fn bound_event_states(&self, most: u32) {
        lock(&self.0.ring).bound_states(most as usize);
    }

    /// Events after this number.
    #[cfg(test)]
    pub fn events_after(&self, after: u64) -> Vec<netd_api::events::Event> {
        match lock(&self.0.ring).after(after, usize::MAX) {
            ring::Next::Events(events, _) | ring::Next::Snapshot(events, _) => events,
        }
    }

    /// Takes in which links there are, which of them matter at once, and the groups of next hops.
    pub fn set_links(&self, indexes: BTreeMap<String, u32>, needed: BTreeSet<String>, groups: Groups) {
        let gone = lock(&self.0.links).set(indexes, needed, groups);
        let mut ring = lock(&self.0.ring);
        gone.iter().for_each(|name| ring.forget_link(name));
        drop(ring);
        self.0.to_poll.notify_all();
    }

    /// Whether there is a link of this name.
    pub fn knows_link(&self, name: &str) -> bool {
        lock(&self.0.links).knows(name)
    }

    /// Takes in the state of a link as the kernel told it.
    pub fn link_seen(&self, name: &str, up: bool) {
        // What there is to do, the kernel does by itself before it tells.
        if self.0.tell_link(name, up, EventSource::Netlink, |links| links.told(name, up)).is_some() {
            self.0.carrier_moved(name, up);
        }
    }

    /// Links that are looked at all the time and were down just now, whatever the kernel says of them yet.
    pub fn dark(&self) -> BTreeSet<String> {
        lock(&self.0.links).dark()
    }

    /// Links whose carrier came or went since the last call: what was on them went along.
    pub fn take_moved(&self) -> BTreeSet<String> {
        lock(&self.0.links).take_moved()
    }

    /// Has the engine look again, as a carrier does.
    pub fn ask_for_look(&self) {
        self.0.carrier.notify_one();
    }

    /// When a link's carrier last came or went, in seconds since 1970; 0 when it has not since netd started.
    pub fn carrier_changed_s(&self, name: &str) -> u64 {
        lock(&self.0.links).changed_s(name)
    }

    /// Takes in what questions are answered from.
    pub fn publish(&self, source: Source) {
        *lock(&self.0.source) = Some(Arc::new(source));
    }

    /// What questions are answered from; `None` until the engine has started.
    pub fn source(&self) -> Option<Arc<Source>> {
        lock(&self.0.source).clone()
    }

    /// Waits until a carrier came or went.
    pub async fn carrier_changed(&self) {
        self.0.carrier.notified().await;
    }
}

impl Shared {
    fn tell(&self, kind: EventKind, object: &str, source: EventSource, detail: String) {
        let seq = lock(&self.ring).push(kind, object, source, detail);
        self.last.send_replace(seq);
    }

    /// Takes in a link's state by `take`. If that is news, tells readers and answers what is to be done in the
    /// kernel.
    fn tell_link(
        &self,
        name: &str,
        up: bool,
        source: EventSource,
        take: impl FnOnce(&mut Links) -> Option<Vec<Action>>,
    ) -> Option<Vec<Action>> {
        // Held until it is told, so that what comes next is told next.
        let mut links = lock(&self.links);
        let actions = take(&mut links)?;
        let kind = if up { EventKind::LinkUp } else { EventKind::LinkDown };
        self.tell(kind, name, source, String::new());
        Some(actions)
    }

    /// Has the engine look, now that what hung on the link went with it, and the log say it.
    fn carrier_moved(&self, name: &str, up: bool) {
        lock(&self.links).has_moved(name);
        self.carrier.notify_one();
        tracing::info!("{name}: link {}", if up { "up" } else { "down" });
    }
}
