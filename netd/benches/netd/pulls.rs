//! Who notices when that a port's link went down, all by one clock: the driver, the kernel's event, netd's
//! event at a subscriber, and the smaller group of an ECMP route.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use netd::kernel::{Connection, next_hop};
use netd_api::events::{Event, EventKind, Events1Proxy};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// How often the driver's counter is read.
const EVERY: Duration = Duration::from_micros(250);
/// Bits of RTNLGRP_LINK and RTNLGRP_NEXTHOP.
const GROUPS: u32 = 1 | 1 << 31;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWNEXTHOP: u16 = 104;
const IFF_LOWER_UP: u32 = 1 << 16;
const NHA_GROUP: u16 = 2;

/// Who saw it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Witness {
    Driver,
    Netlink,
    Subscriber,
    Group,
}

/// Times in nanoseconds of CLOCK_MONOTONIC.
#[derive(Default, Serialize)]
struct Seen {
    /// The driver took the carrier away.
    driver: Vec<u64>,
    /// The kernel's event says so.
    netlink: Vec<u64>,
    /// The subscriber has netd's event.
    subscriber: Vec<u64>,
    /// No group has more than one next hop left.
    group: Vec<u64>,
}

/// Where witnesses tell what they see, once all of them look.
#[derive(Clone)]
struct Sightings {
    told: Sender<(Witness, u64)>,
    looking: Arc<Barrier>,
}

impl Sightings {
    fn begin(&self) {
        self.looking.wait();
    }

    fn tell(&self, witness: Witness, at: u64) {
        self.told.send((witness, at)).expect("somebody listens");
    }
}

/// Watches a port for so many seconds and prints what was seen; `ready` on standard error says when it begins.
/// With `subscribe`, netd is asked to watch it too; otherwise the kernel is left to itself.
pub fn watch(port: &str, seconds: u64, subscribe: bool) {
    let (told, seen) = channel();
    let all: [fn(&str, &Sightings); 3] = [sample, listen, follow];
    let witnesses = if subscribe { &all[..] } else { &all[..2] };
    let sightings = Sightings { told, looking: Arc::new(Barrier::new(witnesses.len() + 1)) };
    for witness in witnesses {
        // The threads end with the program.
        let (sightings, port, witness) = (sightings.clone(), port.to_owned(), *witness);
        thread::spawn(move || witness(&port, &sightings));
    }
    sightings.begin();
    eprintln!("ready");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut all = Seen::default();
    while let Ok((witness, at)) = seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match witness {
            Witness::Driver => all.driver.push(at),
            Witness::Netlink => all.netlink.push(at),
            Witness::Subscriber => all.subscriber.push(at),
            Witness::Group => all.group.push(at),
        }
    }
    println!("{}", serde_json::to_string(&all).expect("times"));
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Reads how often the driver took the carrier away. Unlike asking for the link this makes the kernel do
/// nothing.
fn sample(port: &str, sightings: &Sightings) {
    let counter =
        File::open(format!("/sys/class/net/{port}/carrier_down_count")).expect("the port's counter");
    let read = || {
        let mut text = [0; 32];
        let length = counter.read_at(&mut text, 0).expect("the port's counter");
        text[..length].to_vec()
    };
    let mut last = read();
    sightings.begin();
    loop {
        let count = read();
        if count != last {
            sightings.tell(Witness::Driver, now());
            last = count;
        }
        thread::sleep(EVERY);
    }
}

fn follow(port: &str, sightings: &Sightings) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let bus = zbus::Connection::system().await.expect("the system bus");
        let events = Events1Proxy::new(&bus).await.expect("netd");
        events.watch("", 0, &[port]).await.expect("a stream of events")
    });
    let stream = UnixStream::from(OwnedFd::from(stream));
    sightings.begin();
    for line in BufReader::new(stream).lines() {
        let at = now();
        let event: Event = serde_json::from_str(&line.expect("a line")).expect("an event");
        if event.kind == EventKind::LinkDown && event.object == port && !event.snapshot {
            sightings.tell(Witness::Subscriber, at);
        }
    }
}

fn listen(port: &str, sightings: &Sightings) {
    let index = if_nametoindex(port).expect("the port");
    let socket =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .expect("a netlink socket");
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).expect("bound");
    let mut buffer = vec![0; 64 * 1024];
    let mut had_link = true;
    sightings.begin();
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an event");
        let at = now();
        for message in messages(&buffer[..length]) {
            let kind = u16::from_ne_bytes([message[4], message[5]]);
            if kind == RTM_NEWLINK && word(message, 20) == index {
                let has_link = word(message, 24) & IFF_LOWER_UP != 0;
                if had_link && !has_link {
                    sightings.tell(Witness::Netlink, at);
                    // The kernel shrinks groups before it tells of the link, and says nothing of them.
                    if groups_are_small() {
                        sightings.tell(Witness::Group, now());
                    }
                }
                had_link = has_link;
            } else if kind == RTM_NEWNEXTHOP && members(message) == Some(1) {
                sightings.tell(Witness::Group, at);
            }
        }
    }
}

/// Whether there is no group of more than one next hop.
fn groups_are_small() -> bool {
    let mut connection = Connection::open().expect("a netlink socket");
    next_hop::dump(&mut connection).expect("next hops").iter().all(|object| object.members.len() < 2)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = (bytes.len() >= 16).then(|| word(bytes, 0) as usize)?;
        let (message, rest) = bytes.split_at(length.clamp(16, bytes.len()));
        bytes = &rest[(length.next_multiple_of(4) - length).min(rest.len())..];
        Some(message)
    })
}

/// Next hops of a group that a message tells of (`struct nexthop_grp`: eight bytes each).
fn members(message: &[u8]) -> Option<usize> {
    let mut at = 24;
    while at + 4 <= message.len() {
        let length = u16::from_ne_bytes([message[at], message[at + 1]]) as usize;
        if u16::from_ne_bytes([message[at + 2], message[at + 3]]) == NHA_GROUP {
            return Some((length - 4) / 8);
        }
        at += length.next_multiple_of(4).max(4);
    }
    None
}
