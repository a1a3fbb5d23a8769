//! ARP and ND entries: `RTM_GETNEIGH` of the IP families.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::route::OWN_PROTOCOL;
use super::wire::{Message, attributes, hardware_address, read_ip, read_mac, read_u8, read_u16, read_u32};
use crate::plan::NeighbourKey;

/// Who set an entry (linux/neighbour.h).
pub(super) const NDA_PROTOCOL: u16 = 12;
/// What the kernel counts times in for programs (`USER_HZ`).
const MS_PER_TICK: u64 = 10;

/// An ARP or ND entry as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourRecord {
    /// Interface index.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its hardware address; empty while unresolved.
    pub mac: String,
    /// `NUD_…`.
    pub state: u16,
    /// `NTF_…`.
    pub flags: u8,
    /// `RTPROT_…` of who set it; 0 for learned ones.
    pub protocol: u8,
    /// How long ago the neighbour was last known to be there, in milliseconds; `None` where the kernel does not say.
    pub confirmed_ms: Option<u64>,
}

impl NeighbourRecord {
    /// The state as iproute2 writes it.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            libc::NUD_INCOMPLETE => "incomplete",
            libc::NUD_REACHABLE => "reachable",
            libc::NUD_STALE => "stale",
            libc::NUD_DELAY => "delay",
            libc::NUD_PROBE => "probe",
            libc::NUD_FAILED => "failed",
            libc::NUD_NOARP => "noarp",
            libc::NUD_PERMANENT => "permanent",
            _ => "none",
        }
    }

    /// Whether netd set it.
    pub fn is_own(&self) -> bool {
        self.protocol == OWN_PROTOCOL
    }

    /// Whether packets to the neighbour can be sent, by an entry that was learned.
    pub fn is_resolved(&self) -> bool {
        let resolved = libc::NUD_REACHABLE | libc::NUD_STALE | libc::NUD_DELAY | libc::NUD_PROBE;
        self.state & resolved != 0
    }

    /// Whether the neighbour was known to be there so many milliseconds ago, or later.
    pub fn is_known_within(&self, within_ms: u64) -> bool {
        self.is_resolved() && self.confirmed_ms.is_some_and(|confirmed_ms| confirmed_ms <= within_ms)
    }

    /// Whether the kernel asks the neighbour right now.
    pub fn is_being_asked(&self) -> bool {
        self.state & (libc::NUD_INCOMPLETE | libc::NUD_PROBE) != 0
    }

    /// Whether it stays until it is removed.
    pub fn is_permanent(&self) -> bool {
        self.state & libc::NUD_PERMANENT != 0
    }

    /// Reads the payload of an `RTM_NEWNEIGH` or `RTM_DELNEIGH` of the IP families.
    pub fn parse(payload: &[u8]) -> Option<NeighbourRecord> {
        let header = payload.get(..12)?;
        if ![libc::AF_INET, libc::AF_INET6].contains(&i32::from(header[0])) {
            return None;
        }
        let (mut address, mut mac, mut protocol, mut confirmed_ms) = (None, String::new(), 0, None);
        for (kind, value) in attributes(&payload[12..]) {
            match kind {
                libc::NDA_DST => address = read_ip(value),
                libc::NDA_LLADDR => mac = read_mac(value),
                NDA_PROTOCOL => protocol = read_u8(value),
                // `struct nda_cacheinfo`: confirmed, used, updated, references.
                libc::NDA_CACHEINFO => confirmed_ms = Some(u64::from(read_u32(value)) * MS_PER_TICK),
                _ => {}
            }
        }
        Some(NeighbourRecord {
            index: read_u32(&header[4..]),
            address: address?,
            mac,
            state: read_u16(&header[8..]),
            flags: header[10],
            protocol,
            confirmed_ms,
        })
    }
}

/// All ARP and ND entries but those that need no resolution (multicast, loopback).
pub fn dump(connection: &mut Connection) -> Result<Vec<NeighbourRecord>, KernelError> {
    dump_each(connection, Some)
}

/// How long an address that does not answer counts among those that are asked for now.
pub const UNANSWERED_FOR: std::time::Duration = std::time::Duration::from_secs(30);
/// `struct nda_cacheinfo`: how long ago an entry was confirmed, used and updated, in hundredths of a second
/// (`USER_HZ`), and how often it is held.
const NDA_CACHEINFO: u16 = 3;
const UPDATED: usize = 8;

/// How many addresses do not answer, by the index of the interface they were asked for at: those that wait for an
/// answer, and those that gave none in the last [`UNANSWERED_FOR`]. Older ones may stay for ever in a table that is not
/// full.
pub fn unanswered(connection: &mut Connection) -> Result<BTreeMap<u32, usize>, KernelError> {
    let mut counts = BTreeMap::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0; 12];
        header[0] = family as u8;
        let query = Message::new(libc::RTM_GETNEIGH, 0, &header);
        let found = connection.dump(&query, |_, payload| read_unanswered(payload))?;
        found.into_iter().for_each(|index| *counts.entry(index).or_default() += 1);
    }
    Ok(counts)
}

pub(super) fn read_unanswered(payload: &[u8]) -> Option<u32> {
    let header = payload.get(..12)?;
    if read_u16(&header[8..]) & (libc::NUD_INCOMPLETE | libc::NUD_FAILED) == 0 {
        return None;
    }
    let (_, times) = attributes(&payload[12..]).find(|(kind, _)| *kind == NDA_CACHEINFO)?;
    let updated = read_u32(times.get(UPDATED..)?);
    (u64::from(updated) <= UNANSWERED_FOR.as_secs() * 100).then(|| read_u32(&header[4..]))
}

/// What `each` makes of them, one after the other.
pub fn dump_each<T>(
    connection: &mut Connection,
    mut each: impl FnMut(NeighbourRecord) -> Option<T>,
) -> Result<Vec<T>, KernelError> {
    let mut rows = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0; 12];
        header[0] = family as u8;
        let query = Message::new(libc::RTM_GETNEIGH, 0, &header);
        rows.extend(connection.dump(&query, |_, payload| {
            let row = NeighbourRecord::parse(payload).filter(|row| row.state & libc::NUD_NOARP == 0)?;
            each(row)
        })?);
    }
    Ok(rows)
}

/// Sets an entry that stays.
pub fn set(key: &NeighbourKey, index: u32, mac: &str) -> Result<Message, KernelError> {
    let how = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    Ok(Message::new(libc::RTM_NEWNEIGH, how, &header(key, index))
        .ip(libc::NDA_DST, key.address)
        .attribute(libc::NDA_LLADDR, &hardware_address(mac)?)
        .u8(NDA_PROTOCOL, OWN_PROTOCOL))
}

/// Removes an entry.
pub fn delete(key: &NeighbourKey, index: u32) -> Message {
    Message::new(libc::RTM_DELNEIGH, 0, &header(key, index)).ip(libc::NDA_DST, key.address)
}

/// Has the kernel find out whether the neighbour of an entry is still there, by asking it directly (RFC 4861 7.3.3);
/// packets go on to be sent meanwhile. Without `NLM_F_REPLACE` all else of the entry stays as it is.
pub fn probe(index: u32, address: IpAddr, mac: &str) -> Result<Message, KernelError> {
    let message = Message::new(libc::RTM_NEWNEIGH, 0, &head(index, address, libc::NUD_PROBE, 0));
    Ok(message.ip(libc::NDA_DST, address).attribute(libc::NDA_LLADDR, &hardware_address(mac)?))
}

/// Has the kernel look for a neighbour that has no entry, or one that failed, as if there were a packet for it.
pub fn resolve(index: u32, address: IpAddr) -> Message {
    let header = head(index, address, libc::NUD_NONE, libc::NTF_USE);
    Message::new(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE as u16, &header).ip(libc::NDA_DST, address)
}

fn header(key: &NeighbourKey, index: u32) -> [u8; 12] {
    head(index, key.address, libc::NUD_PERMANENT, 0)
}

/// `struct ndmsg`.
fn head(index: u32, address: IpAddr, state: u16, flags: u8) -> [u8; 12] {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let [a, b, c, d] = index.to_ne_bytes();
    let [e, f] = state.to_ne_bytes();
    [family as u8, 0, 0, 0, a, b, c, d, e, f, flags, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unanswered_addresses_count_while_they_are_asked_for() {
        let entry = |state: u16, updated: u32| {
            let mut head = [0; 12];
            head[0] = libc::AF_INET as u8;
            head[4] = 7;
            head[8..10].copy_from_slice(&state.to_ne_bytes());
            let times = [1, 2, updated, 1].map(u32::to_ne_bytes).concat();
            let message = Message::new(0, 0, &head).ip(libc::NDA_DST, "192.0.2.7".parse().unwrap());
            read_unanswered(&message.attribute(NDA_CACHEINFO, &times).finish(1, 0)[16..])
        };
        for state in [libc::NUD_INCOMPLETE, libc::NUD_FAILED] {
            assert_eq!([0, 3000, 3001].map(|updated| entry(state, updated)), [Some(7), Some(7), None]);
        }
        assert_eq!(entry(libc::NUD_REACHABLE, 0), None);
        assert_eq!(read_unanswered(&[0; 11]), None);
    }

    #[test]
    fn entries_read_back_as_they_were_written_and_are_own() {
        for address in ["192.0.2.7", "2001:db8::7"] {
            let key = NeighbourKey { device: "swp1".to_owned(), address: address.parse().unwrap() };
            let message = set(&key, 3, "02:00:00:00:00:07").unwrap();
            let record = NeighbourRecord::parse(&message.finish(1, 0)[16..]).unwrap();
            assert_eq!((record.index, record.address, record.is_own()), (3, key.address, true));
            assert_eq!((record.mac.as_str(), record.state_name()), ("02:00:00:00:00:07", "permanent"));
        }
    }
}
