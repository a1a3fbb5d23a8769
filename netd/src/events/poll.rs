//! The thread that looks at links. The kernel tells of a link that went down up to a second late when
//! another flaps (`net/core/link_watch.c`); the driver knows at once, so it is asked every few milliseconds.
//! While nobody cares about any link, the thread sleeps.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use netd_api::events::EventSource;

use super::{Shared, lock};
use crate::kernel::link_state::LinkStates;
use crate::kernel::{Connection, batch};
use crate::plan::Action;

/// How often links are looked at.
const INTERVAL: Duration = Duration::from_millis(2);
/// How long to wait after a socket failed.
const RETRY: Duration = Duration::from_secs(1);

/// Runs as long as the process.
pub(super) fn run(hub: &Shared) {
    loop {
        let links = lock(&hub.links);
        let idle = |links: &mut super::Links| links.polled().is_empty();
        drop(hub.to_poll.wait_while(links, idle).unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = look(hub) {
            tracing::error!("looking at links: {error}");
            std::thread::sleep(RETRY);
        }
    }
}

/// Looks at links until there are none to look at.
fn look(hub: &Shared) -> Result<(), crate::kernel::KernelError> {
    let mut states = LinkStates::open()?;
    let mut connection = Connection::open()?;
    let mut next = Instant::now();
    loop {
        let polled = lock(&hub.links).polled();
        if polled.is_empty() {
            return Ok(());
        }
        let indexes: Vec<u32> = polled.iter().map(|(_, index)| *index).collect();
        for (index, up) in states.ask(&indexes)? {
            if let Some((name, _)) = polled.iter().find(|(_, other)| other == index) {
                seen(hub, &mut connection, name, *up);
            }
        }
        next += INTERVAL;
        let now = Instant::now();
        match next.checked_duration_since(now) {
            Some(pause) => std::thread::sleep(pause),
            None => next = now,
        }
    }
}

fn seen(hub: &Shared, connection: &mut Connection, name: &str, up: bool) {
    // The group first: that is what packets wait for.
    if !up {
        let actions = lock(&hub.links).groups.without(name);
        let actions: Vec<&Action> = actions.iter().collect();
        for (action, outcome) in actions.iter().zip(batch::execute(connection, &actions)) {
            if let Err(error) = outcome {
                tracing::warn!("{action}: {error}");
            }
        }
    }
    hub.link_seen(name, up, EventSource::Poll);
}
