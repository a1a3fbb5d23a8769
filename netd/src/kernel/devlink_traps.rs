//! What an ASIC discards and why: counters of its traps (`DEVLINK_CMD_TRAP_GET`, Documentation/networking/devlink/
//! devlink-trap.rst). They count for the whole device, not for a port.

use super::devlink::{DEVLINK_ATTR_BUS_NAME, DEVLINK_ATTR_DEV_NAME, DevlinkPort, FAMILY, VERSION};
use super::extack::KernelError;
use super::generic::{self, Family};
use super::wire::{Message, attributes, read_u8, read_u64};

/// `linux/devlink.h`.
const DEVLINK_CMD_TRAP_GET: u8 = 61;
const DEVLINK_ATTR_STATS: u16 = 129;
const DEVLINK_ATTR_TRAP_NAME: u16 = 130;
const DEVLINK_ATTR_TRAP_ACTION: u16 = 131;
const DEVLINK_TRAP_ACTION_DROP: u8 = 0;
const DEVLINK_ATTR_STATS_RX_PACKETS: u16 = 0;
const DEVLINK_ATTR_STATS_RX_DROPPED: u16 = 2;

/// A connection for questions about traps.
#[derive(Debug)]
pub struct Traps(Family);

impl Traps {
    /// Opens a connection.
    pub fn open() -> Result<Traps, KernelError> {
        Ok(Traps(Family::open(FAMILY)?))
    }

    /// Frames that met a trap of the device that a port is on; `None` where the device has no such trap, or drops
    /// such frames without counting them.
    pub fn count(&mut self, port: &DevlinkPort, trap: &str) -> Result<Option<u64>, KernelError> {
        let query = query(self.0.id, port, trap);
        match self.0.connection.query(&query, |_, payload| Some(read_count(payload))) {
            Ok(count) => Ok(count.flatten()),
            Err(error) if error.is_absent() || error.is_unsupported() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn query(family: u16, port: &DevlinkPort, trap: &str) -> Message {
    generic::message(family, DEVLINK_CMD_TRAP_GET, VERSION)
        .text(DEVLINK_ATTR_BUS_NAME, &port.bus)
        .text(DEVLINK_ATTR_DEV_NAME, &port.device)
        .text(DEVLINK_ATTR_TRAP_NAME, trap)
}

/// Frames that the kernel got from the trap, and those that the device dropped by itself. Of a trap that drops, the
/// kernel gets none, and some devices count none.
pub(super) fn read_count(payload: &[u8]) -> Option<u64> {
    let (mut drops, mut passed, mut dropped) = (true, None, None);
    for (kind, value) in generic::payload_attributes(payload) {
        match kind {
            DEVLINK_ATTR_TRAP_ACTION => drops = read_u8(value) == DEVLINK_TRAP_ACTION_DROP,
            DEVLINK_ATTR_STATS => {
                for (kind, value) in attributes(value).filter(|(_, value)| value.len() == 8) {
                    match kind {
                        DEVLINK_ATTR_STATS_RX_PACKETS => passed = Some(read_u64(value)),
                        DEVLINK_ATTR_STATS_RX_DROPPED => dropped = Some(read_u64(value)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    match (passed, dropped) {
        (_, None) if drops => None,
        (None, None) => None,
        (passed, dropped) => Some(passed.unwrap_or(0).saturating_add(dropped.unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(action: u8, counters: &[(u16, u64)]) -> Vec<u8> {
        let message = generic::message(0x15, DEVLINK_CMD_TRAP_GET, VERSION)
            .text(DEVLINK_ATTR_TRAP_NAME, "ingress_vlan_filter")
            .u8(DEVLINK_ATTR_TRAP_ACTION, action)
            .nest(DEVLINK_ATTR_STATS, |stats| {
                counters
                    .iter()
                    .fold(stats, |stats, (kind, count)| stats.attribute(*kind, &count.to_ne_bytes()))
            });
        message.finish(1, 0)[16..].to_vec()
    }

    #[test]
    fn trap_counts_what_it_passes_and_what_the_device_drops() {
        // 0 drops, 1 traps: attribute 0 counts frames the kernel got, 1 their bytes, 2 those the device dropped.
        assert_eq!(read_count(&answer(1, &[(0, 7), (1, 900)])), Some(7));
        assert_eq!(read_count(&answer(0, &[(0, 1), (1, 64), (2, 5)])), Some(6));
        assert_eq!(read_count(&answer(0, &[(0, 0), (1, 0), (2, 0)])), Some(0));
        // It drops, and nobody counts.
        assert_eq!(read_count(&answer(0, &[(0, 0), (1, 0)])), None);
        assert_eq!(read_count(&[]), None);
    }
}
