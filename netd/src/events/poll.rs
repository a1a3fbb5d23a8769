//! The threads that look at links. The kernel tells of a link that went down up to a second late when another
//! flaps (`net/core/link_watch.c`); drivers know at once. While nobody cares about any link, they sleep.
//!
//! Two ways of looking stand side by side. One counts losses of the carrier, which waits for nothing, so that
//! what hangs on them is done at once. The other asks for the link: it also sees what drivers know and did not
//! tell the kernel yet, and has the kernel act; but it waits for every other change of the network, and for all
//! that follows from the link.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use netd_api::events::EventSource;

use super::links::{LinkId, Links, Polled};
use super::{Shared, lock};
use crate::kernel::carrier::CarrierLosses;
use crate::kernel::link_state::LinkStates;
use crate::kernel::{Connection, KernelError, batch};
use crate::plan::Action;

/// How often losses are counted.
const COUNT_EVERY: Duration = Duration::from_millis(1);
/// Of how many links so often; of more, more rarely.
const LINKS_A_ROUND: usize = 32;
/// How often links are asked for.
const ASK_EVERY: Duration = Duration::from_millis(3);
/// Rounds take one of so many parts of the time at most.
const SHARE: u32 = 4;
/// How long to wait after a socket failed.
const RETRY: Duration = Duration::from_secs(1);

/// One way of looking: returns once there is no link to look at.
type Look = fn(&Shared) -> Result<(), KernelError>;

/// Starts the threads; they run as long as the process.
pub(super) fn start(hub: &Arc<Shared>) -> io::Result<()> {
    for (name, look) in [("carriers", count as Look), ("links", ask)] {
        let hub = hub.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&hub, look))?;
    }
    Ok(())
}

fn run(hub: &Shared, look: Look) {
    loop {
        let links = lock(&hub.links);
        let idle = |links: &mut Links| links.polled().is_empty();
        drop(hub.to_poll.wait_while(links, idle).unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = look(hub) {
            tracing::error!("looking at links: {error}");
            std::thread::sleep(RETRY);
        }
    }
}

fn count(hub: &Shared) -> Result<(), KernelError> {
    let mut losses = CarrierLosses::default();
    let mut connection = Connection::open()?;
    at_every(
        |links| COUNT_EVERY * (1 + (links / LINKS_A_ROUND) as u32),
        hub,
        |polled| {
            take_losses(hub, &mut losses, &mut connection, polled);
            Ok(())
        },
    )
}

fn ask(hub: &Shared) -> Result<(), KernelError> {
    let mut losses = CarrierLosses::default();
    let mut states = LinkStates::open()?;
    let mut connection = Connection::open()?;
    let outcome = at_every(
        |_| ASK_EVERY,
        hub,
        |polled| {
            // Asked for a link that was lost, the kernel would take it out of its groups after all else.
            take_losses(hub, &mut losses, &mut connection, polled);
            let counted = lock(&hub.links).losses(polled);
            let indexes: Vec<u32> = polled.iter().map(|(_, index)| *index).collect();
            let answers: HashMap<u32, bool> = states.ask(&indexes)?.iter().copied().collect();
            for (link, losses) in polled.iter().zip(counted) {
                let up = answers.get(&link.1).copied();
                let take = |links: &mut Links| links.answered(link, up, losses);
                let up = up.unwrap_or_default();
                if let Some(actions) = hub.tell_link(&link.0, up, EventSource::Poll, take) {
                    carry_out(hub, &mut connection, &link.0, up, &actions);
                }
            }
            Ok(())
        },
    );
    lock(&hub.links).none_answers();
    outcome
}

/// Looks in a rhythm, which depends on the number of links, until there is nothing to look at.
fn at_every(
    interval: impl Fn(usize) -> Duration,
    hub: &Shared,
    mut look: impl FnMut(&Polled) -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    let mut rhythm = Rhythm::default();
    loop {
        let polled = lock(&hub.links).polled().clone();
        if polled.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        look(&polled)?;
        std::thread::sleep(rhythm.pause(interval(polled.len()), began.elapsed()));
    }
}

/// How long rounds take, and how long to wait between them.
#[derive(Debug, Default)]
struct Rhythm {
    /// The last rounds. A thread that has to wait for the processor makes one look long; a driver that is slow, all.
    took: [Duration; 4],
    next: usize,
}

impl Rhythm {
    /// How long to wait after a round that took so long. Each begins `interval` after the one before, but rounds take a
    /// quarter of the time at most: they hold a lock of the kernel's (RTNL) that every change waits for, and slow drivers
    /// (MDIO, I2C) hold it for long.
    fn pause(&mut self, interval: Duration, took: Duration) -> Duration {
        self.took[self.next] = took;
        self.next = (self.next + 1) % self.took.len();
        let usual = self.took.into_iter().min().unwrap_or(took);
        interval.saturating_sub(took).max(SHARE.saturating_sub(1) * usual)
    }
}

/// Takes in the losses since the last call.
fn take_losses(hub: &Shared, losses: &mut CarrierLosses, connection: &mut Connection, polled: &Polled) {
    let tell = |(place, count): (usize, u64)| {
        let link: &LinkId = &polled[place];
        let actions = hub.tell_link(&link.0, false, EventSource::Poll, |links| links.lost(link, count))?;
        Some((&link.0, actions))
    };
    // Readers of all of them first: what is to be done then may have to wait for other changes.
    let told: Vec<_> = losses.of(polled).filter_map(tell).collect();
    for (name, actions) in told {
        carry_out(hub, connection, name, false, &actions);
    }
}

/// Does in the kernel what follows from a link's state.
fn carry_out(hub: &Shared, connection: &mut Connection, name: &str, up: bool, actions: &[Action]) {
    let actions: Vec<&Action> = actions.iter().collect();
    for (action, outcome) in actions.iter().zip(batch::execute(connection, &actions)) {
        if let Err(error) = outcome {
            tracing::warn!("{action}: {error}");
        }
    }
    hub.carrier_moved(name, up);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(number: u64) -> Duration {
        Duration::from_micros(number)
    }

    #[test]
    fn poll_rounds_that_take_long_become_rarer() {
        let mut rhythm = Rhythm::default();
        // Short ones keep their interval.
        for _ in 0..8 {
            assert_eq!(rhythm.pause(us(3000), us(100)), us(2900));
        }
        // One that was held up changes nothing, but there is never no pause.
        assert_eq!(rhythm.pause(us(3000), us(9000)), us(300));
        // A driver that takes 5 ms for each is asked every 20 ms.
        for _ in 0..4 {
            rhythm.pause(us(3000), us(5000));
        }
        assert_eq!(rhythm.pause(us(3000), us(5000)), us(15_000));
    }
}
