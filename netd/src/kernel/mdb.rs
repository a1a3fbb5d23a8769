//! The bridge's multicast groups: `RTM_GETMDB`, `RTM_NEWMDB`, `RTM_DELMDB`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::route::OWN_PROTOCOL;
use super::wire::{Message, attributes, read_be16, read_u8, read_u16, read_u32};

/// Kinds of attributes (linux/if_bridge.h).
const MDBA_MDB: u16 = 1;
const MDBA_MDB_ENTRY: u16 = 1;
const MDBA_MDB_ENTRY_INFO: u16 = 1;
const MDBA_MDB_EATTR_SOURCE: u16 = 4;
const MDBA_MDB_EATTR_RTPROT: u16 = 5;
const MDBA_SET_ENTRY: u16 = 1;
const MDBA_SET_ENTRY_ATTRS: u16 = 2;
const MDBE_ATTR_RTPROT: u16 = 4;
const MDB_PERMANENT: u8 = 1;
const MDB_FLAGS_OFFLOAD: u8 = 1;
/// Lengths of `struct br_port_msg` and `struct br_mdb_entry`.
const HEADER_LEN: usize = 8;
const ENTRY_LEN: usize = 28;

/// A port's membership in a multicast group as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdbRecord {
    /// Index of the bridge.
    pub bridge: u32,
    /// Index of the port.
    pub index: u32,
    /// Group.
    pub group: IpAddr,
    /// VLAN id; 0 for none.
    pub vlan_id: u16,
    /// Whether it was set, not learned.
    pub permanent: bool,
    /// `RTPROT_…` of who set it; 0 for learned ones.
    pub protocol: u8,
    /// Whether it is about one source only.
    pub of_source: bool,
    /// Whether the ASIC holds it.
    pub offloaded: bool,
}

impl MdbRecord {
    /// Whether netd set it.
    pub fn is_own(&self) -> bool {
        self.permanent && self.protocol == OWN_PROTOCOL && !self.of_source
    }

    /// Reads `MDBA_MDB_ENTRY_INFO`: a `struct br_mdb_entry` with attributes behind it.
    fn parse(bridge: u32, value: &[u8]) -> Option<MdbRecord> {
        let entry: &[u8; ENTRY_LEN] = value.first_chunk()?;
        let group = match i32::from(read_be16(&entry[24..])) {
            libc::ETH_P_IP => IpAddr::from(Ipv4Addr::from(*entry[8..].first_chunk::<4>()?)),
            libc::ETH_P_IPV6 => IpAddr::from(Ipv6Addr::from(*entry[8..].first_chunk::<16>()?)),
            // Groups of the link layer.
            _ => return None,
        };
        let mut record = MdbRecord {
            bridge,
            index: read_u32(entry),
            group,
            vlan_id: read_u16(&entry[6..]),
            permanent: entry[4] == MDB_PERMANENT,
            protocol: 0,
            of_source: false,
            offloaded: entry[5] & MDB_FLAGS_OFFLOAD != 0,
        };
        for (kind, value) in attributes(&value[ENTRY_LEN..]) {
            match kind {
                MDBA_MDB_EATTR_RTPROT => record.protocol = read_u8(value),
                MDBA_MDB_EATTR_SOURCE => record.of_source = true,
                _ => {}
            }
        }
        Some(record)
    }
}

/// Reads the payload of an `RTM_NEWMDB` or `RTM_DELMDB`, each of which holds all groups of a bridge or one.
pub fn parse(payload: &[u8]) -> Vec<MdbRecord> {
    let Some(header) = payload.get(..HEADER_LEN) else {
        return Vec::new();
    };
    let bridge = read_u32(&header[4..]);
    attributes(&payload[HEADER_LEN..])
        .filter(|(kind, _)| *kind == MDBA_MDB)
        .flat_map(|(_, groups)| attributes(groups))
        .filter(|(kind, _)| *kind == MDBA_MDB_ENTRY)
        .flat_map(|(_, entries)| attributes(entries))
        .filter(|(kind, _)| *kind == MDBA_MDB_ENTRY_INFO)
        .filter_map(|(_, entry)| MdbRecord::parse(bridge, entry))
        .collect()
}

/// All memberships of all bridges.
pub fn dump(connection: &mut Connection) -> Result<Vec<MdbRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETMDB, 0, &header(0));
    let rows = connection.dump(&query, |_, payload| Some(parse(payload)))?;
    Ok(rows.into_iter().flatten().collect())
}

/// Sets a membership that stays; a learned one gives way.
pub fn add(bridge: u32, port: u32, group: IpAddr, vlan_id: u16) -> Message {
    let how = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    Message::new(libc::RTM_NEWMDB, how, &header(bridge))
        .attribute(MDBA_SET_ENTRY, &entry(port, group, vlan_id))
        .nest(MDBA_SET_ENTRY_ATTRS, |attributes| attributes.u8(MDBE_ATTR_RTPROT, OWN_PROTOCOL))
}

/// Removes a membership.
pub fn delete(bridge: u32, port: u32, group: IpAddr, vlan_id: u16) -> Message {
    Message::new(libc::RTM_DELMDB, 0, &header(bridge)).attribute(MDBA_SET_ENTRY, &entry(port, group, vlan_id))
}

fn header(bridge: u32) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = libc::AF_BRIDGE as u8;
    header[4..].copy_from_slice(&bridge.to_ne_bytes());
    header
}

/// `struct br_mdb_entry`.
fn entry(port: u32, group: IpAddr, vlan_id: u16) -> [u8; ENTRY_LEN] {
    let mut entry = [0; ENTRY_LEN];
    entry[..4].copy_from_slice(&port.to_ne_bytes());
    entry[4] = MDB_PERMANENT;
    entry[6..8].copy_from_slice(&vlan_id.to_ne_bytes());
    let protocol = match group {
        IpAddr::V4(group) => {
            entry[8..12].copy_from_slice(&group.octets());
            libc::ETH_P_IP
        }
        IpAddr::V6(group) => {
            entry[8..24].copy_from_slice(&group.octets());
            libc::ETH_P_IPV6
        }
    };
    entry[24..26].copy_from_slice(&(protocol as u16).to_be_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_as_they_were_written() {
        for (group, vlan_id) in [("239.1.2.3", 10), ("ff05::1:3", 0)] {
            let group: IpAddr = group.parse().unwrap();
            let record = MdbRecord::parse(7, &entry(9, group, vlan_id)).unwrap();
            assert_eq!((record.bridge, record.index, record.group), (7, 9, group));
            assert_eq!((record.vlan_id, record.permanent, record.is_own()), (vlan_id, true, false));
        }
    }

    #[test]
    fn several_groups_of_a_dump_are_all_read_and_those_of_one_source_are_not_own() {
        let group = |text: &str| text.parse::<IpAddr>().unwrap();
        let info = |group: IpAddr, more: &[u8]| [&entry(9, group, 10)[..], more].concat();
        let own = [5, 0, MDBA_MDB_EATTR_RTPROT as u8, 0, OWN_PROTOCOL, 0, 0, 0];
        let source = [8, 0, MDBA_MDB_EATTR_SOURCE as u8, 0, 192, 0, 2, 1];
        let payload = Message::new(libc::RTM_GETMDB, 0, &header(7))
            .nest(MDBA_MDB, |mdb| {
                mdb.nest(MDBA_MDB_ENTRY, |entry| {
                    entry.attribute(MDBA_MDB_ENTRY_INFO, &info(group("239.1.2.3"), &own)).attribute(
                        MDBA_MDB_ENTRY_INFO,
                        &info(group("239.1.2.3"), &[&own[..], &source[..]].concat()),
                    )
                })
                .nest(MDBA_MDB_ENTRY, |entry| {
                    entry.attribute(MDBA_MDB_ENTRY_INFO, &info(group("ff05::5"), &[]))
                })
            })
            .finish(1, 0);
        let found: Vec<_> =
            parse(&payload[16..]).into_iter().map(|record| (record.group, record.is_own())).collect();
        let expected = [("239.1.2.3", true), ("239.1.2.3", false), ("ff05::5", false)];
        assert_eq!(found, expected.map(|(text, own)| (group(text), own)));
    }
}
