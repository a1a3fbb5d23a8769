//! VLANs of bridge ports and of the bridge itself: `IFLA_BRIDGE_VLAN_INFO` in `AF_BRIDGE` messages.

use std::collections::BTreeMap;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_u16, read_u32};
use crate::plan::{VlanMembership, VlanTable};

/// `linux/if_bridge.h`.
const IFLA_BRIDGE_FLAGS: u16 = 0;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_FLAGS_SELF: u16 = 2;
const PVID: u16 = 1 << 1;
const UNTAGGED: u16 = 1 << 2;
const RANGE_BEGIN: u16 = 1 << 3;
const RANGE_END: u16 = 1 << 4;
pub(super) const MAX_VLAN_ID: u16 = 4094;

fn header(index: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = libc::AF_BRIDGE as u8;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

/// VLANs of all bridge ports and bridges, by interface index.
pub fn dump(connection: &mut Connection) -> Result<BTreeMap<u32, VlanTable>, KernelError> {
    let query = Message::new(libc::RTM_GETLINK, 0, &header(0))
        .u32(libc::IFLA_EXT_MASK, libc::RTEXT_FILTER_BRVLAN_COMPRESSED as u32);
    let rows = connection.dump(&query, |_, payload| parse(payload))?;
    Ok(rows.into_iter().collect())
}

/// Reads the payload of an `AF_BRIDGE` `RTM_NEWLINK`. The kernel shows runs of alike VLANs by their ends.
pub(super) fn parse(payload: &[u8]) -> Option<(u32, VlanTable)> {
    let header = payload.get(..16)?;
    let specs = attributes(&payload[16..]).filter(|(kind, _)| *kind == libc::IFLA_AF_SPEC);
    let (mut vlans, mut begin) = (VlanTable::default(), 0);
    for (kind, value) in specs.flat_map(|(_, value)| attributes(value)) {
        if kind != IFLA_BRIDGE_VLAN_INFO || value.len() < 4 {
            continue;
        }
        let (flags, vlan_id) = (read_u16(value), read_u16(&value[2..]));
        let membership = VlanMembership { pvid: flags & PVID != 0, untagged: flags & UNTAGGED != 0 };
        if flags & RANGE_BEGIN != 0 {
            begin = vlan_id;
        } else {
            let first = if flags & RANGE_END != 0 { begin } else { vlan_id };
            if first <= vlan_id && vlan_id <= MAX_VLAN_ID {
                vlans.insert(first, vlan_id, membership);
            }
        }
    }
    Some((read_u32(&header[4..]), vlans))
}

/// Adds a range of VLANs to a port, or changes their flags. `on_bridge` means the bridge itself.
pub fn add(index: u32, first: u16, last: u16, membership: VlanMembership, on_bridge: bool) -> Message {
    change(libc::RTM_SETLINK, index, first, last, membership, on_bridge)
}

/// Takes a range of VLANs from a port.
pub fn delete(index: u32, first: u16, last: u16, on_bridge: bool) -> Message {
    change(libc::RTM_DELLINK, index, first, last, VlanMembership::default(), on_bridge)
}

fn change(
    kind: u16,
    index: u32,
    first: u16,
    last: u16,
    membership: VlanMembership,
    on_bridge: bool,
) -> Message {
    let flags = if membership.pvid { PVID } else { 0 } | if membership.untagged { UNTAGGED } else { 0 };
    let info = |flags: u16, vlan_id: u16| {
        let [a, b] = flags.to_ne_bytes();
        let [c, d] = vlan_id.to_ne_bytes();
        [a, b, c, d]
    };
    Message::new(kind, 0, &header(index)).nest(libc::IFLA_AF_SPEC, |mut spec| {
        if on_bridge {
            spec = spec.u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF);
        }
        if first == last {
            spec.attribute(IFLA_BRIDGE_VLAN_INFO, &info(flags, first))
        } else {
            spec.attribute(IFLA_BRIDGE_VLAN_INFO, &info(flags | RANGE_BEGIN, first))
                .attribute(IFLA_BRIDGE_VLAN_INFO, &info(flags | RANGE_END, last))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(runs: &[(u16, u16, VlanMembership)]) -> VlanTable {
        let mut table = VlanTable::default();
        runs.iter().for_each(|(first, last, membership)| table.insert(*first, *last, *membership));
        table
    }

    #[test]
    fn a_run_of_vlans_is_one_message_and_reads_back_as_one_run() {
        let tagged = VlanMembership::default();
        let native = VlanMembership { pvid: true, untagged: true };
        for (first, last, membership) in [(10, 4000, tagged), (7, 7, native), (4094, 4094, tagged)] {
            let message = add(3, first, last, membership, false).finish(1, 0);
            assert!(message.len() < 64);
            assert_eq!(parse(&message[16..]), Some((3, table(&[(first, last, membership)]))));
        }
    }

    #[test]
    fn ends_without_a_beginning_and_ids_out_of_range_are_passed_over() {
        let info = |flags: u16, id: u16| [flags.to_ne_bytes(), id.to_ne_bytes()].concat();
        let message = Message::new(libc::RTM_NEWLINK, 0, &header(3)).nest(libc::IFLA_AF_SPEC, |spec| {
            [info(RANGE_BEGIN, 20), info(RANGE_END, 10), info(0, 5000), info(RANGE_END, u16::MAX)]
                .iter()
                .fold(spec, |spec, info| spec.attribute(IFLA_BRIDGE_VLAN_INFO, info))
                .attribute(IFLA_BRIDGE_VLAN_INFO, &info(0, 30))
        });
        let expected = table(&[(30, 30, VlanMembership::default())]);
        assert_eq!(parse(&message.finish(1, 0)[16..]), Some((3, expected)));
    }
}
