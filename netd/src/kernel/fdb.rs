//! Forwarding databases, of the bridge and of VXLAN tunnel end points: `AF_BRIDGE` neighbour messages.

use std::net::IpAddr;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, hardware_address, read_ip, read_mac, read_u16, read_u32};
use crate::plan::FdbKey;

/// Flag libc lacks (linux/netlink.h): an entry more beside those of the same key.
const NLM_F_APPEND: i32 = 0x800;
/// Flag libc lacks (linux/neighbour.h): the entry stays at its port though the address is heard elsewhere.
const NTF_STICKY: u8 = 0x40;

/// The VLAN id of entries that are in no VLAN.
pub const NO_VLAN: u16 = 0;

/// What the kernel counts times in for programs (`USER_HZ`).
const TICKS_PER_SECOND: u32 = 100;

/// An entry of a forwarding database as the kernel shows it.
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
    /// Of a tunnel's entry: the remote end.
    pub remote: Option<IpAddr>,
    /// `NUD_…`.
    pub state: u16,
    /// `NTF_…`.
    pub flags: u8,
    /// Seconds since a frame from the address was last seen.
    pub age_s: u32,
}

impl FdbRecord {
    /// `learned`, `static`, `local` or `external`.
    pub fn kind(&self) -> &'static str {
        kind(self.state, self.flags)
    }

    /// Whether somebody set it: those that are learned, or a device's own, are nobody's.
    pub fn is_static(&self) -> bool {
        match self.remote {
            None => self.kind() == "static",
            Some(_) => self.flags & libc::NTF_EXT_LEARNED == 0 && self.state & libc::NUD_PERMANENT != 0,
        }
    }

    /// Whether it is of the bridge with this index: entries of the bridge device itself carry no master, and those of
    /// a device's own filter are no FDB.
    fn is_in(&self, bridge: u32) -> bool {
        self.bridge == bridge || (self.index == bridge && self.flags & libc::NTF_SELF == 0)
    }

    /// Whether the ASIC holds it.
    pub fn is_offloaded(&self) -> bool {
        is_offloaded(self.flags)
    }

    /// Reads the payload of an entry somebody set in the bridge. Ports times VLANs many others are the bridge's
    /// own, which their heads tell.
    fn parse_static(payload: &[u8]) -> Option<FdbRecord> {
        let header = payload.get(..12)?;
        if kind(read_u16(&header[8..]), header[10]) != "static" {
            return None;
        }
        FdbRecord::parse(payload).filter(FdbRecord::is_static)
    }

    /// Reads the payload of an `RTM_NEWNEIGH` or `RTM_DELNEIGH` of `AF_BRIDGE`.
    pub fn parse(payload: &[u8]) -> Option<FdbRecord> {
        let header = payload.get(..12)?;
        if i32::from(header[0]) != libc::AF_BRIDGE {
            return None;
        }
        let mut entry = FdbRecord {
            index: read_u32(&header[4..]),
            bridge: 0,
            mac: String::new(),
            vlan_id: 0,
            remote: None,
            state: read_u16(&header[8..]),
            flags: header[10],
            age_s: 0,
        };
        for (kind, value) in attributes(&payload[12..]) {
            match kind {
                libc::NDA_LLADDR => entry.mac = read_mac(value),
                libc::NDA_VLAN => entry.vlan_id = read_u16(value),
                libc::NDA_DST => entry.remote = read_ip(value),
                libc::NDA_MASTER => entry.bridge = read_u32(value),
                libc::NDA_CACHEINFO => entry.age_s = read_age_s(value),
                _ => {}
            }
        }
        (entry.mac.len() == 17).then_some(entry)
    }
}

/// Reads when the address was last heard, of a `struct nda_cacheinfo`: confirmed, used, updated, references.
fn read_age_s(value: &[u8]) -> u32 {
    read_u32(value.get(8..).unwrap_or_default()) / TICKS_PER_SECOND
}

/// Whether the ASIC holds an entry with these flags.
pub fn is_offloaded(flags: u8) -> bool {
    flags & libc::NTF_OFFLOADED != 0
}

/// `learned`, `static`, `local` or `external`, as state and flags of an entry say. One that an ASIC has learned and
/// somebody set afterwards is both (`fdb_add_entry`, Linux 6.12).
pub fn kind(state: u16, flags: u8) -> &'static str {
    if state & libc::NUD_NOARP != 0 {
        "static"
    } else if flags & libc::NTF_EXT_LEARNED != 0 {
        "external"
    } else if state & libc::NUD_PERMANENT != 0 {
        "local"
    } else {
        "learned"
    }
}

fn header(index: u32, state: u16, flags: u8) -> [u8; 12] {
    let [a, b, c, d] = index.to_ne_bytes();
    let [e, f] = state.to_ne_bytes();
    [libc::AF_BRIDGE as u8, 0, 0, 0, a, b, c, d, e, f, flags, 0]
}

/// Asks for the entries of the bridge with this index; of those at one port, unless `port` is 0.
fn dump_query(bridge: u32, port: u32) -> Message {
    Message::new(libc::RTM_GETNEIGH, 0, &header(port, 0, 0)).u32(libc::NDA_MASTER, bridge)
}

/// Entries somebody set in the bridge with this index.
pub fn dump_static(connection: &mut Connection, bridge: u32) -> Result<Vec<FdbRecord>, KernelError> {
    connection.dump(&dump_query(bridge, 0), |_, payload| {
        FdbRecord::parse_static(payload).filter(|row| row.is_in(bridge))
    })
}

/// What `each` makes of the entries of the bridge with this index, one after the other; with `port`, of those at the
/// port with that index only.
pub fn dump_each<T>(
    connection: &mut Connection,
    bridge: u32,
    port: Option<u32>,
    mut each: impl FnMut(FdbRecord) -> Option<T>,
) -> Result<Vec<T>, KernelError> {
    connection.dump(&dump_query(bridge, port.unwrap_or(0)), |_, payload| {
        let row = FdbRecord::parse(payload).filter(|row| row.is_in(bridge))?;
        each(row)
    })
}

/// The VLAN of each address that is learned in the bridge with this index, by itself or by its ASIC, and heard within
/// so many seconds. Of those that an ASIC told the kernel knows no such time: all of them count.
pub fn dump_learned(
    connection: &mut Connection,
    bridge: u32,
    heard_within_s: u32,
) -> Result<Vec<u16>, KernelError> {
    connection.dump(&dump_query(bridge, 0), |_, payload| parse_learned(payload, bridge, heard_within_s))
}

/// Both of one dump: entries somebody set, and the VLANs of those that are learned.
pub fn dump_static_and_learned(
    connection: &mut Connection,
    bridge: u32,
    heard_within_s: u32,
) -> Result<(Vec<FdbRecord>, Vec<u16>), KernelError> {
    let entries = connection.dump(&dump_query(bridge, 0), |_, payload| {
        if let Some(vlan_id) = parse_learned(payload, bridge, heard_within_s) {
            return Some(Err(vlan_id));
        }
        FdbRecord::parse_static(payload).filter(|row| row.is_in(bridge)).map(|row| Ok(Box::new(row)))
    })?;
    let (mut set, mut learned) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Ok(row) => set.push(*row),
            Err(vlan_id) => learned.push(vlan_id),
        }
    }
    Ok((set, learned))
}

/// Reads the VLAN of a learned entry.
fn parse_learned(payload: &[u8], bridge: u32, heard_within_s: u32) -> Option<u16> {
    // Ports times VLANs many others are the bridge's own, which their heads tell.
    let head = payload.get(..12)?;
    let kind = kind(read_u16(&head[8..]), head[10]);
    if !["learned", "external"].contains(&kind) {
        return None;
    }
    let (mut vlan_id, mut age_s, mut master) = (NO_VLAN, 0, 0);
    for (kind, value) in attributes(&payload[12..]) {
        match kind {
            libc::NDA_VLAN => vlan_id = read_u16(value),
            libc::NDA_MASTER => master = read_u32(value),
            libc::NDA_CACHEINFO => age_s = read_age_s(value),
            _ => {}
        }
    }
    (master == bridge && (kind == "external" || age_s <= heard_within_s)).then_some(vlan_id)
}

/// The entry of one address in one VLAN (0 for none) of the bridge with this index, which the kernel finds without
/// going through the others.
pub fn get(
    connection: &mut Connection,
    bridge: u32,
    mac: [u8; 6],
    vlan_id: u16,
) -> Result<Option<FdbRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETNEIGH, 0, &header(0, 0, 0))
        .attribute(libc::NDA_LLADDR, &mac)
        .u32(libc::NDA_MASTER, bridge);
    let query = if vlan_id == 0 { query } else { query.u16(libc::NDA_VLAN, vlan_id) };
    let answer = connection.query(&query, |_, payload| FdbRecord::parse(payload));
    match answer {
        Err(error) if error.is_absent() => Ok(None),
        answer => answer,
    }
}

/// All entries of the tunnel end point with this index.
pub fn dump_tunnel(connection: &mut Connection, tunnel: u32) -> Result<Vec<FdbRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETNEIGH, 0, &header(tunnel, 0, 0));
    let mut rows = connection.dump(&query, |_, payload| FdbRecord::parse(payload))?;
    // Those without a remote are the bridge's, of its port.
    rows.retain(|row| row.index == tunnel && row.remote.is_some());
    Ok(rows)
}

/// Sets a static entry: of the bridge, for the port with this index, or of the tunnel with this index.
pub fn add(key: &FdbKey, index: u32) -> Result<Message, KernelError> {
    // An address may be behind several remotes: frames to it go to all, as flooded ones do.
    let how = if key.tunnel.is_some() { NLM_F_APPEND } else { libc::NLM_F_REPLACE };
    identify(libc::RTM_NEWNEIGH, (libc::NLM_F_CREATE | how) as u16, key, index)
}

/// Removes an entry.
pub fn delete(key: &FdbKey, index: u32) -> Result<Message, KernelError> {
    identify(libc::RTM_DELNEIGH, 0, key, index)
}

fn identify(kind: u16, how: u16, key: &FdbKey, index: u32) -> Result<Message, KernelError> {
    let mac = hardware_address(&key.mac)?;
    Ok(match &key.tunnel {
        Some((_, remote)) => {
            let header = header(index, libc::NUD_NOARP | libc::NUD_PERMANENT, libc::NTF_SELF);
            Message::new(kind, how, &header).attribute(libc::NDA_LLADDR, &mac).ip(libc::NDA_DST, *remote)
        }
        None => Message::new(kind, how, &header(index, libc::NUD_NOARP, libc::NTF_MASTER | NTF_STICKY))
            .attribute(libc::NDA_LLADDR, &mac)
            .u16(libc::NDA_VLAN, key.vlan_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_as_they_were_written() {
        let of_bridge = FdbKey { mac: "02:00:00:00:00:01".to_owned(), vlan_id: 10, tunnel: None };
        let record = FdbRecord::parse(&add(&of_bridge, 3).unwrap().finish(1, 0)[16..]).unwrap();
        assert_eq!((record.index, record.mac.as_str(), record.vlan_id), (3, "02:00:00:00:00:01", 10));
        assert_eq!((record.kind(), record.is_static(), record.remote), ("static", true, None));
        // Else the kernel takes whoever sends from the address for where it is.
        assert_eq!(record.flags & NTF_STICKY, NTF_STICKY);
        let remote = "2001:db8::9".parse().unwrap();
        let tunnel = Some(("vxlan10".to_owned(), remote));
        let of_tunnel = FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel };
        let record = FdbRecord::parse(&add(&of_tunnel, 5).unwrap().finish(1, 0)[16..]).unwrap();
        assert_eq!((record.index, record.mac.as_str()), (5, "00:00:00:00:00:00"));
        assert_eq!((record.is_static(), record.remote), (true, Some(remote)));
    }
}
