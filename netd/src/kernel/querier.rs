//! The VLANs in which a bridge asks for members of multicast groups: global options of its VLANs, in
//! `RTM_NEWVLAN`.

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::monitor::RTM_NEWVLAN;
use super::vlan::MAX_VLAN_ID;
use super::wire::{Message, attributes, read_u8, read_u16};
use crate::plan::{VlanMembership, VlanTable};

/// `linux/rtnetlink.h`.
const RTM_GETVLAN: u16 = 114;
/// `linux/if_bridge.h`.
const BRIDGE_VLANDB_DUMP_FLAGS: u16 = 1;
const BRIDGE_VLANDB_DUMPF_GLOBAL: u32 = 1 << 1;
const BRIDGE_VLANDB_GLOBAL_OPTIONS: u16 = 2;
const BRIDGE_VLANDB_GOPTS_ID: u16 = 1;
const BRIDGE_VLANDB_GOPTS_RANGE: u16 = 2;
const BRIDGE_VLANDB_GOPTS_MCAST_IGMP_VERSION: u16 = 4;
const BRIDGE_VLANDB_GOPTS_MCAST_MLD_VERSION: u16 = 5;
const BRIDGE_VLANDB_GOPTS_MCAST_QUERIER: u16 = 15;
/// Versions a querier speaks: asked by an older one, hosts tell no sources any more (RFC 3376 7.2.1, RFC 3810 8.2.1).
const IGMP_VERSION: u8 = 3;
const MLD_VERSION: u8 = 2;
/// Versions of a VLAN that is new to the bridge (`br_multicast_ctx_init`). They count where it only listens, too: by
/// them it looks at the sources that members name or not.
const NEW_IGMP_VERSION: u8 = 2;
const NEW_MLD_VERSION: u8 = 1;
/// Length of `struct br_vlan_msg`.
const HEADER_LEN: usize = 8;

fn header(index: u32) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[0] = libc::AF_BRIDGE as u8;
    bytes[4..].copy_from_slice(&index.to_ne_bytes());
    bytes
}

/// The VLANs of a bridge in which it is the querier, by the newest versions of the protocols.
pub fn dump(connection: &mut Connection, bridge: u32) -> Result<VlanTable, KernelError> {
    let query = Message::new(RTM_GETVLAN, 0, &header(bridge))
        .u32(BRIDGE_VLANDB_DUMP_FLAGS, BRIDGE_VLANDB_DUMPF_GLOBAL);
    let mut vlans = VlanTable::default();
    match connection.dump(&query, |_, payload| parse(payload)) {
        Ok(rows) => rows.iter().for_each(|row| vlans.insert_all(row)),
        // A kernel whose bridge knows no VLANs is the querier of none.
        Err(error) if error.is_unsupported() => {}
        Err(error) => return Err(error),
    }
    Ok(vlans)
}

/// Reads the payload of an `RTM_NEWVLAN` with global options: the VLANs that have a querier.
pub(super) fn parse(payload: &[u8]) -> Option<VlanTable> {
    let mut vlans = VlanTable::default();
    let options = attributes(payload.get(HEADER_LEN..)?);
    for (_, options) in options.filter(|(kind, _)| *kind == BRIDGE_VLANDB_GLOBAL_OPTIONS) {
        let (mut first, mut last, mut on) = (0, None, false);
        let (mut igmp, mut mld) = (0, 0);
        for (kind, value) in attributes(options) {
            match kind {
                BRIDGE_VLANDB_GOPTS_ID => first = read_u16(value),
                BRIDGE_VLANDB_GOPTS_RANGE => last = Some(read_u16(value)),
                BRIDGE_VLANDB_GOPTS_MCAST_QUERIER => on = read_u8(value) != 0,
                BRIDGE_VLANDB_GOPTS_MCAST_IGMP_VERSION => igmp = read_u8(value),
                BRIDGE_VLANDB_GOPTS_MCAST_MLD_VERSION => mld = read_u8(value),
                _ => {}
            }
        }
        let last = last.unwrap_or(first);
        let is_querier = on && igmp == IGMP_VERSION && mld == MLD_VERSION;
        if is_querier && 0 < first && first <= last && last <= MAX_VLAN_ID {
            vlans.insert(first, last, VlanMembership::default());
        }
    }
    Some(vlans)
}

/// Makes a bridge the querier in a range of its VLANs, or no longer so: then they are as if it had never been.
pub fn set(bridge: u32, first: u16, last: u16, on: bool) -> Message {
    let (igmp, mld) = if on { (IGMP_VERSION, MLD_VERSION) } else { (NEW_IGMP_VERSION, NEW_MLD_VERSION) };
    Message::new(RTM_NEWVLAN, 0, &header(bridge)).nest(BRIDGE_VLANDB_GLOBAL_OPTIONS, |mut options| {
        options = options.u16(BRIDGE_VLANDB_GOPTS_ID, first);
        if last > first {
            options = options.u16(BRIDGE_VLANDB_GOPTS_RANGE, last);
        }
        // The versions first: turned on, it asks at once.
        options
            .u8(BRIDGE_VLANDB_GOPTS_MCAST_IGMP_VERSION, igmp)
            .u8(BRIDGE_VLANDB_GOPTS_MCAST_MLD_VERSION, mld)
            .u8(BRIDGE_VLANDB_GOPTS_MCAST_QUERIER, on.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_vlans_is_one_message_and_reads_back_as_one_run() {
        for (first, last) in [(10, 10), (2, 4000), (4094, 4094)] {
            let message = set(3, first, last, true).finish(1, 0);
            let mut expected = VlanTable::default();
            expected.insert(first, last, VlanMembership::default());
            assert_eq!(parse(&message[16..]), Some(expected));
            let message = set(3, first, last, false).finish(1, 0);
            assert_eq!(parse(&message[16..]), Some(VlanTable::default()));
        }
    }

    #[test]
    fn vlan_that_is_asked_no_more_is_as_a_new_one() {
        let message = set(3, 10, 10, false).finish(1, 0);
        let has = |kind: u16, value: u8| {
            let attribute = [&5_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &[value]].concat();
            message.windows(5).any(|bytes| bytes == attribute)
        };
        assert!(has(BRIDGE_VLANDB_GOPTS_MCAST_QUERIER, 0));
        assert!(has(BRIDGE_VLANDB_GOPTS_MCAST_IGMP_VERSION, 2));
        assert!(has(BRIDGE_VLANDB_GOPTS_MCAST_MLD_VERSION, 1));
    }

    #[test]
    fn querier_of_an_older_version_is_none() {
        for (kind, version) in
            [(BRIDGE_VLANDB_GOPTS_MCAST_IGMP_VERSION, 2), (BRIDGE_VLANDB_GOPTS_MCAST_MLD_VERSION, 1)]
        {
            let mut message = set(3, 10, 10, true).finish(1, 0);
            let header = [5_u16.to_ne_bytes(), kind.to_ne_bytes()].concat();
            let at = message.windows(4).position(|bytes| bytes == header).unwrap() + 4;
            message[at] = version;
            assert_eq!(parse(&message[16..]), Some(VlanTable::default()));
        }
    }

    #[test]
    fn ids_out_of_range_are_passed_over() {
        for (first, last) in [(0, 5), (20, 4095), (5000, u16::MAX)] {
            assert_eq!(parse(&set(3, first, last, true).finish(1, 0)[16..]), Some(VlanTable::default()));
        }
        assert_eq!(parse(&[0; 7]), None);
    }
}
