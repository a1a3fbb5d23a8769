//! ARP and ND entries: `RTM_GETNEIGH` of the IP families.

use std::net::IpAddr;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_ip, read_mac, read_u16, read_u32};

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

    fn parse(payload: &[u8]) -> Option<NeighbourRecord> {
        let header = payload.get(..12)?;
        let (mut address, mut mac) = (None, String::new());
        for (kind, value) in attributes(&payload[12..]) {
            match kind {
                libc::NDA_DST => address = read_ip(value),
                libc::NDA_LLADDR => mac = read_mac(value),
                _ => {}
            }
        }
        Some(NeighbourRecord {
            index: read_u32(&header[4..]),
            address: address?,
            mac,
            state: read_u16(&header[8..]),
            flags: header[10],
        })
    }
}

/// All ARP and ND entries but those that need no resolution (multicast, loopback).
pub fn dump(connection: &mut Connection) -> Result<Vec<NeighbourRecord>, KernelError> {
    let mut rows = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut header = [0; 12];
        header[0] = family as u8;
        let query = Message::new(libc::RTM_GETNEIGH, 0, &header);
        rows.extend(connection.dump(&query, |_, payload| NeighbourRecord::parse(payload))?);
    }
    rows.retain(|row| row.state & libc::NUD_NOARP == 0);
    Ok(rows)
}
