//! What is told to hosts, and when: pure, with the time as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::kernel::arp::{Arp, Mac};
use crate::kernel::detection::PROBE_WAIT;
use crate::kernel::wire::read_mac;

/// How often an address is announced, and how far apart (RFC 5227, 1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// How often an address is defended at most (RFC 5227, 1.1: DEFEND_INTERVAL), and how often it is asked for whether
/// another host still uses it.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A host that is silent on so many questions does not use the address any more.
const CONFLICT_ENDS_AFTER: Duration = Duration::from_secs(35);
/// The same address is not announced anew within this time, however often its link flaps.
const PAUSE: Duration = Duration::from_secs(1);
/// Frames that are sent at once, and how long after them the next are: at most 1000 a second.
const BURST: usize = 20;
const BURST_INTERVAL: Duration = Duration::from_millis(20);

/// An interface that hosts can hear, with its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address.
    pub mac: Mac,
    /// How often it got its carrier.
    pub carriers: u32,
    /// Addresses that are in use: none that detection goes on for.
    pub addresses: Vec<IpNet>,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks whether another host uses the address.
    Probe(Ipv4Addr),
    /// The address is the switch's.
    Announcement(Ipv4Addr),
    /// The same of an IPv6 address.
    Advertisement(Ipv6Addr),
}

impl Message {
    /// The address it is about.
    pub fn address(&self) -> IpAddr {
        match self {
            Message::Probe(address) | Message::Announcement(address) => (*address).into(),
            Message::Advertisement(address) => (*address).into(),
        }
    }
}

/// A frame that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index of the interface.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: Mac,
    /// What the frame says.
    pub message: Message,
}

/// An address of the switch that another host uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Name of the interface.
    pub interface: String,
    /// The address.
    pub address: IpNet,
    /// The other host's hardware address.
    pub mac: String,
    /// Whether the switch defends it; if not, the other host was there first, and hosts are not told of the switch.
    pub defended: bool,
}

/// A conflict that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which.
    pub conflict: Conflict,
    /// Whether it begins.
    pub begins: bool,
}

type Key = (u32, IpAddr);

/// An address of an interface.
struct Entry {
    name: String,
    address: IpNet,
    mac: Mac,
    carriers: u32,
    phase: Phase,
    /// What another host does with it.
    rival: Option<Rival>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// To be asked for at that time.
    Ask(Instant),
    /// Asked for; announced at that time, unless somebody answers.
    Asked(Instant),
    /// To be announced so often, from that time on.
    Announce(u8, Instant),
    /// Hosts know.
    Announced,
    /// Another host was there first.
    Withheld,
}

struct Rival {
    mac: Mac,
    heard: Instant,
    /// When the address is to be asked for, or defended, again.
    next: Instant,
}

/// What is told when.
#[derive(Default)]
pub struct Schedule {
    entries: BTreeMap<Key, Entry>,
    own: BTreeSet<Mac>,
    /// When addresses were last announced, for as long as that matters.
    recent: BTreeMap<Key, Instant>,
    /// No frame before that.
    resume: Option<Instant>,
}

impl Schedule {
    /// Takes in which interfaces hosts can hear, and the hardware addresses of the switch. Announces what is new, and
    /// all of the interfaces in `again`.
    pub fn update(
        &mut self,
        interfaces: Vec<Interface>,
        again: &BTreeSet<u32>,
        own: BTreeSet<Mac>,
        now: Instant,
    ) {
        self.own = own;
        let mut known = std::mem::take(&mut self.entries);
        for interface in interfaces {
            for address in &interface.addresses {
                let key = (interface.index, address.addr());
                let same = known.remove(&key).filter(|entry| {
                    // One that is fought for is announced often enough.
                    let again = again.contains(&interface.index)
                        && entry.phase == Phase::Announced
                        && entry.rival.is_none();
                    entry.mac == interface.mac && entry.carriers == interface.carriers && !again
                });
                let start = || self.recent.get(&key).map_or(now, |last| (*last + PAUSE).max(now));
                let entry = same.unwrap_or_else(|| Entry {
                    name: interface.name.clone(),
                    address: *address,
                    mac: interface.mac,
                    carriers: interface.carriers,
                    phase: match address {
                        IpNet::V4(_) => Phase::Ask(start()),
                        IpNet::V6(_) => Phase::Announce(ANNOUNCEMENTS, start()),
                    },
                    rival: None,
                });
                self.entries.insert(key, Entry { name: interface.name.clone(), ..entry });
            }
        }
    }

    /// Frames that are due, when to call again, and conflicts that are over.
    pub fn due(&mut self, now: Instant) -> (Vec<Frame>, Option<Instant>, Vec<News>) {
        self.recent.retain(|_, last| *last + PAUSE > now);
        let news = self.end_conflicts(now);
        let mut frames = Vec::new();
        if self.resume.is_some_and(|resume| resume > now) {
            return (frames, self.next(), news);
        }
        for (key, entry) in &mut self.entries {
            if frames.len() >= BURST {
                break;
            }
            let before = frames.len();
            entry.take_due(key.0, now, &mut frames);
            if frames[before..].iter().any(|frame| !matches!(frame.message, Message::Probe(_))) {
                self.recent.insert(*key, now);
            }
        }
        self.resume = (frames.len() >= BURST).then_some(now + BURST_INTERVAL);
        (frames, self.next(), news)
    }

    fn next(&self) -> Option<Instant> {
        let next = self.entries.values().filter_map(Entry::next).min()?;
        Some(self.resume.map_or(next, |resume| resume.max(next)))
    }

    /// Takes in an ARP packet that came in by an interface. Answers the conflict that begins with it.
    pub fn hear(&mut self, index: u32, packet: &Arp, now: Instant) -> Vec<News> {
        if self.own.contains(&packet.sender_mac) {
            return Vec::new();
        }
        let addresses: BTreeSet<Ipv4Addr> =
            [packet.sender, packet.target].into_iter().filter(|address| packet.claims(*address)).collect();
        let mut news = Vec::new();
        for address in addresses {
            let Some(entry) = self.entries.get_mut(&(index, address.into())) else { continue };
            // Who only asks, of an address that hosts know, is answered by the kernel: it will not take it.
            if packet.sender.is_unspecified() && entry.is_known() {
                continue;
            }
            if entry.claimed_by(packet.sender_mac, now) {
                news.extend(entry.conflict().map(|conflict| News { conflict, begins: true }));
            }
        }
        news
    }

    /// Addresses that other hosts use.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.entries.values().filter_map(Entry::conflict).collect()
    }

    fn end_conflicts(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for entry in self.entries.values_mut() {
            let silent = entry.rival.as_ref().is_some_and(|rival| rival.heard + CONFLICT_ENDS_AFTER <= now);
            if silent && let Some(conflict) = entry.conflict() {
                entry.rival = None;
                // Whoever spoke to the other host speaks to the switch from now on.
                entry.phase = Phase::Announce(ANNOUNCEMENTS, now);
                news.push(News { conflict, begins: false });
            }
        }
        news
    }
}

impl Entry {
    /// Whether hosts were told of the address.
    fn is_known(&self) -> bool {
        matches!(self.phase, Phase::Announce(..) | Phase::Announced)
    }

    fn conflict(&self) -> Option<Conflict> {
        self.rival.as_ref().map(|rival| Conflict {
            interface: self.name.clone(),
            address: self.address,
            mac: read_mac(&rival.mac),
            defended: self.phase != Phase::Withheld,
        })
    }

    /// Another host uses the address. Answers whether that is new.
    fn claimed_by(&mut self, mac: Mac, now: Instant) -> bool {
        let known = self.rival.take();
        // The first time it is answered at once, then at most once in an interval.
        let next = known.as_ref().map_or(now, |rival| rival.next);
        let begins = known.is_none();
        if !self.is_known() {
            self.phase = Phase::Withheld;
        }
        let next = if begins && self.phase == Phase::Withheld { now + DEFEND_INTERVAL } else { next };
        self.rival = Some(Rival { mac, heard: now, next });
        begins
    }

    fn next(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Ask(at) | Phase::Asked(at) | Phase::Announce(_, at) => Some(at),
            Phase::Announced | Phase::Withheld => None,
        };
        let rival = self.rival.as_ref().map(|rival| rival.next.min(rival.heard + CONFLICT_ENDS_AFTER));
        phase.into_iter().chain(rival).min()
    }

    fn take_due(&mut self, index: u32, now: Instant, frames: &mut Vec<Frame>) {
        let frame = |message| Frame { index, name: self.name.clone(), mac: self.mac, message };
        let announcement = match self.address.addr() {
            IpAddr::V4(address) => Message::Announcement(address),
            IpAddr::V6(address) => Message::Advertisement(address),
        };
        if let Some(rival) = self.rival.as_mut().filter(|rival| rival.next <= now) {
            if self.phase != Phase::Withheld {
                frames.push(frame(announcement));
            }
            if let IpAddr::V4(address) = self.address.addr() {
                frames.push(frame(Message::Probe(address)));
            }
            rival.next = now + DEFEND_INTERVAL;
        }
        match (self.phase, self.address.addr()) {
            (Phase::Ask(at), IpAddr::V4(address)) if at <= now => {
                frames.push(frame(Message::Probe(address)));
                self.phase = Phase::Asked(now + PROBE_WAIT);
            }
            (Phase::Asked(at), _) if at <= now => {
                frames.push(frame(announcement));
                self.phase = Phase::after(ANNOUNCEMENTS, now);
            }
            (Phase::Announce(count, at), _) if at <= now => {
                frames.push(frame(announcement));
                self.phase = Phase::after(count, now);
            }
            _ => {}
        }
    }
}

impl Phase {
    /// One of so many announcements was sent.
    fn after(count: u8, now: Instant) -> Phase {
        match count {
            0 | 1 => Phase::Announced,
            count => Phase::Announce(count - 1, now + ANNOUNCE_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests;
