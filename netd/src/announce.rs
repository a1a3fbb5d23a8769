//! Hosts are told which hardware address has an address of the switch: by gratuitous ARP (RFC 5227, 2.3) and
//! unsolicited neighbour advertisements (RFC 4861, 7.2.6), when the address or the hardware address is new and when
//! the interface, or a port of its VLAN, gets its carrier. The kernel does so only when an interface is set up or its
//! hardware address changes (`arp_notify`, `ndisc_notify`), and when it has found a new IPv6 address to be free.
//!
//! What other hosts say is heard as well. Before an IPv4 address is announced the link is asked for others that use
//! it; one that is used is reported and not announced until it is free. One that another host begins to use later is
//! defended, and reported for as long as that host is there (RFC 5227, 2.4 (c): a router keeps its addresses).
//!
//! [`schedule`] decides what is sent when, and is pure; [`Announcer`] is the thread that sends and hears.

pub mod schedule;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::events::Hub;
use crate::kernel::arp::{self, Mac};
use crate::kernel::packet::PacketSocket;
use crate::kernel::{advertisement, inet};
use schedule::{Conflict, Frame, Interface, Message, News, Schedule};

/// ARP packets that are read before the thread rests: what hosts can have it do is bounded, and what is more is lost.
const HEARD_AT_ONCE: usize = 64;
const REST: Duration = Duration::from_millis(5);
/// How long to wait after the socket failed.
const RETRY: Duration = Duration::from_secs(10);

/// Tells hosts; there is a thread for it from the first address on.
pub struct Announcer {
    hub: Hub,
    shared: Option<Arc<Shared>>,
}

struct Shared {
    schedule: Mutex<Schedule>,
    stopped: Mutex<bool>,
    /// Wakes the thread.
    changed: EventFd,
}

/// A thread that panicked leaves what it held as it was between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Announcer {
    /// One that knows of no address yet. The hub has the engine look when conflicts begin or end.
    pub fn new(hub: Hub) -> Announcer {
        Announcer { hub, shared: None }
    }

    /// Takes in which interfaces can be heard by hosts, with their addresses, and the hardware addresses the switch
    /// itself has. What is new of them is announced; so is all of the interfaces in `again`.
    pub fn update(&mut self, interfaces: Vec<Interface>, again: &BTreeSet<u32>, own: BTreeSet<Mac>) {
        if self.shared.is_none() && interfaces.is_empty() {
            return;
        }
        let shared = match &self.shared {
            Some(shared) => shared,
            None => match self.start() {
                Ok(shared) => self.shared.insert(shared),
                Err(error) => return tracing::error!("telling hosts of addresses: {error}"),
            },
        };
        lock(&shared.schedule).update(interfaces, again, own, Instant::now());
        shared.wake();
    }

    /// IPv4 addresses of the switch that other hosts use.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.shared.as_ref().map(|shared| lock(&shared.schedule).conflicts()).unwrap_or_default()
    }

    fn start(&self) -> io::Result<Arc<Shared>> {
        let shared = Arc::new(Shared {
            schedule: Mutex::default(),
            stopped: Mutex::new(false),
            changed: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        });
        let (hub, theirs) = (self.hub.clone(), shared.clone());
        std::thread::Builder::new().name("announcer".to_owned()).spawn(move || run(&hub, &theirs))?;
        Ok(shared)
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            *lock(&shared.stopped) = true;
            shared.wake();
        }
    }
}

impl Shared {
    fn wake(&self) {
        // It fails only when the thread has very many reasons to wake already.
        let _ = self.changed.write(1);
    }

    fn is_stopped(&self) -> bool {
        *lock(&self.stopped)
    }
}

fn run(hub: &Hub, shared: &Shared) {
    while !shared.is_stopped() {
        if let Err(error) = PacketSocket::open().and_then(|socket| tell_and_hear(hub, shared, socket)) {
            tracing::error!("telling hosts of addresses: {error}");
            std::thread::sleep(RETRY);
        }
    }
}

/// Sends what is due and hears what others say, until it is stopped.
fn tell_and_hear(hub: &Hub, shared: &Shared, mut socket: PacketSocket) -> io::Result<()> {
    let (mut next, mut changed) = (None, true);
    while !shared.is_stopped() {
        // What hosts say all day must not cost a look at every address.
        if changed || next.is_some_and(|next| next <= Instant::now()) {
            let (frames, later, news) = lock(&shared.schedule).due(Instant::now());
            next = later;
            report(hub, &news);
            send_all(&mut socket, &frames)?;
        }
        wait(&socket, &shared.changed, next)?;
        changed = shared.changed.read().is_ok();
        let mut heard = 0;
        while heard < HEARD_AT_ONCE
            && let Some((index, packet)) = socket.receive()?
        {
            heard += 1;
            let news = lock(&shared.schedule).hear(index, &packet, Instant::now());
            // It is answered at once.
            changed |= !news.is_empty();
            report(hub, &news);
        }
        if heard == HEARD_AT_ONCE {
            std::thread::sleep(REST);
        }
    }
    Ok(())
}

fn send_all(socket: &mut PacketSocket, frames: &[Frame]) -> io::Result<()> {
    if !frames.is_empty() {
        socket.find_interfaces()?;
    }
    for frame in frames {
        if let Err(error) = send(socket, frame) {
            // It may have gone down, or away, just now; then it is announced when it is back.
            tracing::debug!("{}: telling hosts of {}: {error}", frame.name, frame.message.address());
        }
    }
    Ok(())
}

/// Waits for a packet, for a change of the schedule, or until something is due.
fn wait(socket: &PacketSocket, changed: &EventFd, next: Option<Instant>) -> io::Result<()> {
    let mut events =
        [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(changed.as_fd(), PollFlags::POLLIN)];
    let left = next.map(|next| next.saturating_duration_since(Instant::now()));
    // Not before it is due: whole milliseconds, rounded up.
    let timeout = left.map_or(PollTimeout::NONE, |left| {
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut events, timeout) {
        Err(nix::errno::Errno::EINTR) => Ok(()),
        outcome => Ok(outcome.map(|_| ())?),
    }
}

fn send(socket: &PacketSocket, frame: &Frame) -> io::Result<()> {
    let Frame { index, name, mac, message } = frame;
    let bytes = match *message {
        Message::Probe(address) => arp::probe(*mac, address),
        Message::Announcement(address) => arp::announcement(*mac, address),
        Message::Advertisement(address) => {
            advertisement::advertisement(*mac, address, inet::forwards_ipv6(name))
        }
    };
    socket.send(*index, &bytes)
}

/// Has the engine look at the addresses that others begin or cease to use: they are alarms.
fn report(hub: &Hub, news: &[News]) {
    if !news.is_empty() {
        hub.ask_for_look();
    }
}
