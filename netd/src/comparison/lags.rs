//! LAGs with their active members: a member may have its carrier and still carry nothing.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Kind, Look, Unreadable};
use crate::kernel::link::LinkRecord;

/// See the module.
pub struct Lags;

impl Kind for Lags {
    fn name(&self) -> &'static str {
        "lag"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        Ok(active_members(look.links))
    }
}

fn active_members(links: &BTreeMap<u32, LinkRecord>) -> Facts {
    let mut facts = Facts::default();
    for member in links.values() {
        let lag = links.get(&member.master).filter(|lag| lag.kind == "bond" && lag.has_carrier());
        if let Some(lag) = lag
            && member.member.carries_frames(lag.lacp == Some(true), &lag.aggregator)
        {
            facts.add(lag.name.clone(), 1);
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::kernel::lag::{Aggregator, MemberRecord};

    #[test]
    fn lag_has_the_members_of_its_aggregator_as_its_number() {
        let aggregator = Aggregator { id: 1, ..Aggregator::default() };
        let lag = LinkRecord {
            index: 9,
            name: "uplink".to_owned(),
            kind: "bond".to_owned(),
            lacp: Some(true),
            flags: (libc::IFF_UP | libc::IFF_LOWER_UP) as u32,
            aggregator,
            ..LinkRecord::default()
        };
        let member = |index, active, aggregator| LinkRecord {
            index,
            master: 9,
            member: MemberRecord { active, link_up: true, aggregator, ..MemberRecord::default() },
            ..LinkRecord::default()
        };
        let with = |lag: LinkRecord| {
            let links =
                [lag, member(1, true, 1), member(2, true, 1), member(3, true, 2), member(4, false, 1)];
            active_members(&links.into_iter().map(|link| (link.index, link)).collect())
        };
        assert_eq!(with(lag.clone()).count("uplink"), 2);
        assert_eq!(with(LinkRecord { lacp: Some(false), ..lag.clone() }).count("uplink"), 3);
        assert_eq!(with(LinkRecord { flags: 0, ..lag }).count("uplink"), 0, "it has no carrier");
    }
}
