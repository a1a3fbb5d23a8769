//! The kernel's tables of ARP and ND entries as a whole: `RTM_GETNEIGHTBL`. All network namespaces share them.

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_u32, read_u64};

/// `linux/rtnetlink.h`, `linux/neighbour.h`.
const RTM_GETNEIGHTBL: u16 = 66;
const NDTA_THRESH3: u16 = 4;
const NDTA_CONFIG: u16 = 5;
const NDTA_STATS: u16 = 7;
/// Length of `struct ndtmsg`.
const HEADER_LEN: usize = 4;
/// Where `struct ndt_config` has the number of entries, and `struct ndt_stats` that of entries there was no room for.
const ENTRIES: usize = 4;
const TABLE_FULLS: usize = 10 * 8;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourTable {
    /// Whether it is that of IPv6.
    pub v6: bool,
    /// Entries of all interfaces and namespaces.
    pub entries: u32,
    /// Entries it has room for (`gc_thresh3`).
    pub most: u32,
    /// How often there was no room for one since the kernel started.
    pub overflows: u64,
}

/// The tables of IPv4 and IPv6.
pub fn dump(connection: &mut Connection) -> Result<Vec<NeighbourTable>, KernelError> {
    let query = Message::new(RTM_GETNEIGHTBL, 0, &[0; HEADER_LEN]);
    connection.dump(&query, |_, payload| parse(payload))
}

/// Reads a table. Of each there are further messages with the parameters of interfaces, which lack these attributes.
pub(super) fn parse(payload: &[u8]) -> Option<NeighbourTable> {
    let family = i32::from(*payload.first()?);
    if ![libc::AF_INET, libc::AF_INET6].contains(&family) {
        return None;
    }
    let find = |wanted: u16| {
        let mut found = attributes(payload.get(HEADER_LEN..)?).filter(|(kind, _)| *kind == wanted);
        found.next().map(|(_, value)| value)
    };
    Some(NeighbourTable {
        v6: family == libc::AF_INET6,
        entries: read_u32(find(NDTA_CONFIG)?.get(ENTRIES..)?),
        most: read_u32(find(NDTA_THRESH3)?),
        overflows: read_u64(find(NDTA_STATS)?.get(TABLE_FULLS..)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbour_table_is_read_and_parameters_of_interfaces_are_passed_over() {
        let message = |config: bool| {
            let mut message = Message::new(0, 0, &[libc::AF_INET6 as u8, 0, 0, 0]).text(1, "ndisc_cache");
            if config {
                let config = [0u32, 77, 0].map(u32::to_ne_bytes).concat();
                let stats: Vec<u8> = (0..11u64).flat_map(u64::to_ne_bytes).collect();
                message = message.u32(NDTA_THRESH3, 32768);
                message = message.attribute(NDTA_CONFIG, &config).attribute(NDTA_STATS, &stats);
            }
            parse(&message.finish(1, 0)[16..])
        };
        let table = NeighbourTable { v6: true, entries: 77, most: 32768, overflows: 10 };
        assert_eq!(message(true), Some(table));
        assert_eq!(message(false), None);
        assert_eq!(parse(&[]), None);
    }
}
