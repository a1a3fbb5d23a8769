//! What happens on the switch, told to whoever listens: a bounded ring of numbered events ([`ring`]), its
//! readers ([`watch`]), and the thread that looks at links the kernel would tell of too late ([`poll`]).
//!
//! [`Hub`] is what the other rooms see. Telling never waits for a reader.

pub mod groups;
pub mod poll;
pub mod ring;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use netd_api::events::{EventKind, EventSource};
use tokio::sync::{Notify, watch as watcher};

use groups::Groups;
use ring::Ring;

/// The place where events come together. Clones are the same place.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// Number of the last event.
    last: watcher::Sender<u64>,
    links: Mutex<Links>,
    /// Wakes the polling thread when there is something to look at.
    to_poll: Condvar,
    /// Wakes the engine when a carrier came or went.
    carrier: Notify,
}

/// Links and who cares about them.
#[derive(Default)]
struct Links {
    /// Interface indexes by name.
    indexes: BTreeMap<String, u32>,
    /// Whether a link was up when somebody last looked.
    up: BTreeMap<String, bool>,
    /// Links the engine needs to know of at once: those of ECMP groups and LAGs.
    needed: BTreeSet<String>,
    /// Links readers watch, with how many watch them.
    watched: BTreeMap<String, usize>,
    /// Groups of next hops that shrink when a link goes down.
    groups: Groups,
}

impl Links {
    /// Links to look at, with their indexes.
    fn polled(&self) -> Vec<(String, u32)> {
        let names: BTreeSet<&String> = self.needed.iter().chain(self.watched.keys()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), *self.indexes.get(name)?))).collect()
    }
}

/// A thread that panicked leaves what it held as it was between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// An empty ring, and a polling thread that sleeps until a link is to be looked at.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn open() -> io::Result<Hub> {
        let hub = Hub(Arc::new(Shared {
            ring: Mutex::new(Ring::new()),
            last: watcher::Sender::new(0),
            links: Mutex::default(),
            to_poll: Condvar::new(),
            carrier: Notify::new(),
        }));
        let shared = hub.0.clone();
        std::thread::Builder::new().name("links".to_owned()).spawn(move || poll::run(&shared))?;
        Ok(hub)
    }

    /// Tells an event.
    pub fn tell(&self, kind: EventKind, object: &str, source: EventSource, detail: impl Into<String>) {
        self.0.tell(kind, object, source, detail.into());
    }

    /// Takes in which links there are, which of them matter at once, and the groups of next hops.
    pub fn set_links(&self, indexes: BTreeMap<String, u32>, needed: BTreeSet<String>, groups: Groups) {
        let mut links = lock(&self.0.links);
        links.up.retain(|name, _| indexes.contains_key(name));
        (links.indexes, links.needed, links.groups) = (indexes, needed, groups);
        drop(links);
        self.0.to_poll.notify_all();
    }

    /// Takes in the state of a link as the kernel told it.
    pub fn link_seen(&self, name: &str, up: bool, source: EventSource) {
        self.0.link_seen(name, up, source);
    }

    /// Links that are looked at all the time and were down just now, whatever the kernel says of them yet.
    pub fn dark(&self) -> BTreeSet<String> {
        let links = lock(&self.0.links);
        let down = |name: &String| links.up.get(name) == Some(&false);
        links.polled().into_iter().map(|(name, _)| name).filter(down).collect()
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

    /// Answers whether this is news.
    fn link_seen(&self, name: &str, up: bool, source: EventSource) -> bool {
        let before = lock(&self.links).up.insert(name.to_owned(), up);
        if before == Some(up) {
            return false;
        }
        let kind = if up { EventKind::LinkUp } else { EventKind::LinkDown };
        self.tell(kind, name, source, String::new());
        self.carrier.notify_one();
        tracing::info!("{name}: link {}", if up { "up" } else { "down" });
        true
    }
}
