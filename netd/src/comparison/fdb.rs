//! Addresses that the bridge learned, as a number for each VLAN.
//!
//! Counted are those heard within [`HEARD_WITHIN_MS`] before the record, and since. They stay in the bridge for longer
//! than that, so that none is missing for its silence alone, and those that had long been silent hide no loss.

use super::facts::Facts;
use super::{Kind, Look, Unreadable, is_clearly_less};
use crate::desired::BRIDGE;
use crate::kernel::fdb::{self, NO_VLAN};
use crate::kernel::snapshot::Hosts;

/// How long before the record a host must have been heard.
pub const HEARD_WITHIN_MS: u64 = 60_000;

/// See the module.
pub struct Fdb;

impl Kind for Fdb {
    fn name(&self) -> &'static str {
        "fdb"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        let bridge = look.link(BRIDGE).filter(|link| link.kind == "bridge").map(|link| link.index);
        let Some(bridge) = bridge else { return Ok(Facts::default()) };
        let since_record_ms = look.after.as_ref().map_or(0, |after| after.since_record_ms);
        let within_s = since_record_ms.saturating_add(HEARD_WITHIN_MS).div_ceil(1000);
        let within_s = u32::try_from(within_s).unwrap_or(u32::MAX);
        Ok(facts(&fdb::dump_learned(look.connection, bridge, within_s)?))
    }

    fn of_snapshot(&self, hosts: &Hosts) -> Option<Facts> {
        Some(facts(&hosts.learned))
    }

    fn is_fewer(&self, before: u64, now: u64) -> bool {
        is_clearly_less(before, now)
    }
}

fn facts(learned: &[u16]) -> Facts {
    let mut counts = vec![0_u64; 4096];
    for vlan_id in learned {
        counts[usize::from(*vlan_id) & 0xfff] += 1;
    }
    let mut facts = Facts::default();
    for (vlan_id, count) in (NO_VLAN..).zip(counts).filter(|(_, count)| *count > 0) {
        match vlan_id {
            NO_VLAN => facts.add("no VLAN".to_owned(), count),
            id => facts.add(format!("VLAN {id}"), count),
        }
    }
    facts
}
