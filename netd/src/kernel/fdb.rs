//! The bridge's forwarding database: `AF_BRIDGE` neighbour messages.

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, parse_mac, read_mac, read_u16, read_u32};
use crate::plan::FdbKey;

/// An entry of a bridge's forwarding database as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbRecord {
    /// Index of the port.
    pub index: u32,
    /// Index of the bridge; 0 for an entry of the device's own.
    pub bridge: u32,
    /// Hardware address.
    pub mac: String,
    /// VLAN id; 0 for none.
    pub vlan_id: u16,
    /// `NUD_…`.
    pub state: u16,
    /// `NTF_…`.
    pub flags: u8,
}

impl FdbRecord {
    /// `learned`, `static`, `local` or `external`.
    pub fn kind(&self) -> &'static str {
        if self.flags & libc::NTF_EXT_LEARNED != 0 {
            "external"
        } else if self.state & libc::NUD_PERMANENT != 0 {
            "local"
        } else if self.state & libc::NUD_NOARP != 0 {
            "static"
        } else {
            "learned"
        }
    }

    /// Whether the ASIC holds it.
    pub fn is_offloaded(&self) -> bool {
        self.flags & libc::NTF_OFFLOADED != 0
    }

    fn parse(payload: &[u8]) -> Option<FdbRecord> {
        let header = payload.get(..12)?;
        let mut entry = FdbRecord {
            index: read_u32(&header[4..]),
            bridge: 0,
            mac: String::new(),
            vlan_id: 0,
            state: read_u16(&header[8..]),
            flags: header[10],
        };
        for (kind, value) in attributes(&payload[12..]) {
            match kind {
                libc::NDA_LLADDR => entry.mac = read_mac(value),
                libc::NDA_VLAN => entry.vlan_id = read_u16(value),
                libc::NDA_MASTER => entry.bridge = read_u32(value),
                _ => {}
            }
        }
        (entry.mac.len() == 17).then_some(entry)
    }
}

fn header(index: u32, state: u16, flags: u8) -> [u8; 12] {
    let [a, b, c, d] = index.to_ne_bytes();
    let [e, f] = state.to_ne_bytes();
    [libc::AF_BRIDGE as u8, 0, 0, 0, a, b, c, d, e, f, flags, 0]
}

/// All entries of the bridge with this index.
pub fn dump(connection: &mut Connection, bridge: u32) -> Result<Vec<FdbRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETNEIGH, 0, &header(0, 0, 0)).u32(libc::NDA_MASTER, bridge);
    let mut rows = connection.dump(&query, |_, payload| FdbRecord::parse(payload))?;
    // Entries of the bridge device itself carry no master; entries of a device's own filter are no FDB.
    rows.retain(|row| row.bridge == bridge || (row.index == bridge && row.flags & libc::NTF_SELF == 0));
    Ok(rows)
}

/// Sets a static entry.
pub fn add(key: &FdbKey, port: u32) -> Message {
    let how = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    let message = Message::new(libc::RTM_NEWNEIGH, how, &header(port, libc::NUD_NOARP, libc::NTF_MASTER));
    identify(message, key)
}

/// Removes an entry.
pub fn delete(key: &FdbKey, port: u32) -> Message {
    identify(Message::new(libc::RTM_DELNEIGH, 0, &header(port, libc::NUD_NOARP, libc::NTF_MASTER)), key)
}

fn identify(message: Message, key: &FdbKey) -> Message {
    let mac = parse_mac(&key.mac).unwrap_or_default();
    message.attribute(libc::NDA_LLADDR, &mac).u16(libc::NDA_VLAN, key.vlan_id)
}
