//! What the MAC of a port counts by itself (`ETHTOOL_MSG_STATS_GET`): of the counters that IEEE 802.3 and RFC 2819
//! define, those of frames that nobody else counts. Drivers tell what their hardware has.

use super::ethtool::{Ethtool, FAMILY_VERSION};
use super::extack::KernelError;
use super::generic::{self, payload_attributes};
use super::wire::{Message, attributes, read_u32, read_u64};

/// `linux/ethtool_netlink.h`.
const ETHTOOL_MSG_STATS_GET: u8 = 32;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_STATS_HEADER: u16 = 2;
const ETHTOOL_A_STATS_GROUPS: u16 = 3;
const ETHTOOL_A_STATS_GRP: u16 = 4;
const ETHTOOL_A_STATS_GRP_ID: u16 = 2;
const ETHTOOL_A_STATS_GRP_STAT: u16 = 4;
const ETHTOOL_A_BITSET_NOMASK: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_INDEX: u16 = 1;
/// Groups of counters, and the one of each: `aFrameTooLongErrors` (IEEE 802.3, 30.3.1.1.25) and
/// `etherStatsOversizePkts` (RFC 2819).
const ETHTOOL_STATS_ETH_MAC: u32 = 1;
const ETHTOOL_A_STATS_ETH_MAC_25_TOO_LONG_ERR: u16 = 21;
const ETHTOOL_STATS_RMON: u32 = 3;
const ETHTOOL_A_STATS_RMON_OVERSIZE: u16 = 1;

impl Ethtool {
    /// Frames that came in by the port with this index and were too long; `None` where its driver does not tell.
    pub fn frames_too_long(&mut self, index: u32) -> Result<Option<u64>, KernelError> {
        let (connection, family) = self.parts();
        let answer = connection.query(&query(family, index), |_, payload| Some(read_too_long(payload)));
        match answer {
            Ok(count) => Ok(count.flatten()),
            Err(error) if error.is_unsupported() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn query(family: u16, index: u32) -> Message {
    generic::message(family, ETHTOOL_MSG_STATS_GET, FAMILY_VERSION)
        .nest(ETHTOOL_A_STATS_HEADER, |header| header.u32(ETHTOOL_A_HEADER_DEV_INDEX, index))
        .nest(ETHTOOL_A_STATS_GROUPS, |groups| {
            let groups = groups.attribute(ETHTOOL_A_BITSET_NOMASK, &[]);
            groups.nest(ETHTOOL_A_BITSET_BITS, |bits| {
                [ETHTOOL_STATS_ETH_MAC, ETHTOOL_STATS_RMON].into_iter().fold(bits, |bits, group| {
                    bits.nest(ETHTOOL_A_BITSET_BITS_BIT, |bit| bit.u32(ETHTOOL_A_BITSET_BIT_INDEX, group))
                })
            })
        })
}

/// Either counter: they count the same frames. One that the hardware lacks is not in the answer.
pub(super) fn read_too_long(payload: &[u8]) -> Option<u64> {
    let groups = payload_attributes(payload).filter(|(kind, _)| *kind == ETHTOOL_A_STATS_GRP);
    groups.filter_map(|(_, group)| read_group(group)).next()
}

fn read_group(group: &[u8]) -> Option<u64> {
    let id = attributes(group).find(|(kind, _)| *kind == ETHTOOL_A_STATS_GRP_ID).map(|(_, id)| read_u32(id));
    let wanted = match id? {
        ETHTOOL_STATS_ETH_MAC => ETHTOOL_A_STATS_ETH_MAC_25_TOO_LONG_ERR,
        ETHTOOL_STATS_RMON => ETHTOOL_A_STATS_RMON_OVERSIZE,
        _ => return None,
    };
    let counters = attributes(group).filter(|(kind, _)| *kind == ETHTOOL_A_STATS_GRP_STAT);
    let mut counters = counters.flat_map(|(_, counter)| attributes(counter));
    counters.find(|(kind, value)| *kind == wanted && value.len() == 8).map(|(_, value)| read_u64(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these groups and counters.
    fn answer(groups: &[(u32, &[(u16, u64)])]) -> Vec<u8> {
        let message = generic::message(0x15, ETHTOOL_MSG_STATS_GET, FAMILY_VERSION);
        let message = groups.iter().fold(message, |message, (id, counters)| {
            message.nest(ETHTOOL_A_STATS_GRP, |group| {
                counters.iter().fold(group.u32(ETHTOOL_A_STATS_GRP_ID, *id), |group, (kind, count)| {
                    group.nest(ETHTOOL_A_STATS_GRP_STAT, |stat| stat.attribute(*kind, &count.to_ne_bytes()))
                })
            })
        });
        message.finish(1, 0)[16..].to_vec()
    }

    #[test]
    fn frames_too_long_are_read_from_either_group_and_unknown_without() {
        assert_eq!(read_too_long(&answer(&[(1, &[(3, 5), (21, 7)])])), Some(7));
        assert_eq!(read_too_long(&answer(&[(1, &[(3, 5)]), (3, &[(0, 1), (1, 9)])])), Some(9));
        // A counter of 0 is one, and none is none.
        assert_eq!(read_too_long(&answer(&[(1, &[(21, 0)])])), Some(0));
        assert_eq!(read_too_long(&answer(&[(1, &[]), (3, &[(0, 1)])])), None);
        assert_eq!(read_too_long(&answer(&[(2, &[(21, 7)])])), None);
        assert_eq!(read_too_long(&[]), None);
    }
}
