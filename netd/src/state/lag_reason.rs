//! Why no frames go through a member of a LAG, from the LAG down to its cable and on to its partner.

use crate::kernel::lag;
use crate::kernel::link::LinkRecord;

/// The first thing that keeps frames from a member; empty when nothing does. `duplex` is what its driver reports:
/// `full`, `half` or nothing.
pub(super) fn of(lag: &LinkRecord, member: &LinkRecord, duplex: &str) -> String {
    let (lacp, record) = (lag.lacp == Some(true), member.member);
    if record.carries_frames(lacp, &lag.aggregator) {
        return String::new();
    }
    if !lag.is_up() {
        return "the LAG is set down".to_owned();
    }
    if !member.has_carrier() {
        return "no carrier".to_owned();
    }
    if !lacp {
        return "the kernel does not use it".to_owned();
    }
    let has = |state: u8, name: &str| lag::state_names(state).iter().any(|known| known == name);
    // The kernel runs LACP on full duplex links alone (ad_update_actor_keys, drivers/net/bonding/bond_3ad.c). A link
    // whose duplex it does not know is down for it (bond_enslave, bond_miimon_commit).
    match duplex {
        "full" => {}
        "half" => return "LACP needs full duplex, and its link is half duplex".to_owned(),
        _ => {
            return "LACP needs full duplex, and its driver reports none: set speed, duplex and autoneg = false"
                .to_owned();
        }
    }
    if lag.aggregator.partner.is_empty() || has(record.actor_state, "defaulted") {
        return "hears no LACP partner".to_owned();
    }
    if record.aggregator != lag.aggregator.id {
        return "its speed or its partner is another than that of the members in use".to_owned();
    }
    if !has(record.partner_state, "synchronized") {
        return "its partner has not agreed to it".to_owned();
    }
    "LACP is still negotiating".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::link;

    const UP: u32 = 1;
    const UP_WITH_CARRIER: u32 = 0x1_0001;

    #[test]
    fn lag_member_says_why_no_frames_go_through_it() {
        let aggregator = lag::Aggregator { id: 1, partner_key: 9, partner: "02:00:5e:00:53:01".to_owned() };
        let lacp =
            LinkRecord { lacp: Some(true), aggregator, flags: UP_WITH_CARRIER, ..link(9, "uplink", "bond") };
        let alone = LinkRecord { aggregator: lag::Aggregator::default(), ..lacp.clone() };
        let down = LinkRecord { flags: 0, ..lacp.clone() };
        let fixed = LinkRecord { lacp: Some(false), ..lacp.clone() };
        let good = lag::MemberRecord {
            active: true,
            link_up: true,
            aggregator: 1,
            actor_state: 0x3d,
            partner_state: 0x3d,
            ..lag::MemberRecord::default()
        };
        let waits = lag::MemberRecord { active: false, ..good };
        let unknown = lag::MemberRecord { link_up: false, ..waits };
        let other = lag::MemberRecord { aggregator: 2, ..good };
        let unheard = lag::MemberRecord { actor_state: 0x45, ..waits };
        let refused = lag::MemberRecord { partner_state: 0x05, ..waits };
        for (lag, record, flags, duplex, said) in [
            (&lacp, good, UP_WITH_CARRIER, "full", ""),
            (&lacp, good, UP_WITH_CARRIER, "", ""),
            (&down, waits, UP_WITH_CARRIER, "full", "the LAG is set down"),
            (&lacp, waits, UP, "full", "no carrier"),
            (&lacp, unknown, UP_WITH_CARRIER, "", "reports none: set speed, duplex and autoneg = false"),
            (&fixed, waits, UP_WITH_CARRIER, "", "the kernel does not use it"),
            (&lacp, waits, UP_WITH_CARRIER, "", "reports none: set speed, duplex and autoneg = false"),
            (&alone, other, UP_WITH_CARRIER, "", "reports none: set speed, duplex and autoneg = false"),
            (&lacp, waits, UP_WITH_CARRIER, "half", "its link is half duplex"),
            (&alone, other, UP_WITH_CARRIER, "full", "hears no LACP partner"),
            (&lacp, unheard, UP_WITH_CARRIER, "full", "hears no LACP partner"),
            (&lacp, other, UP_WITH_CARRIER, "full", "its speed or its partner is another"),
            (&lacp, refused, UP_WITH_CARRIER, "full", "its partner has not agreed to it"),
            (&lacp, waits, UP_WITH_CARRIER, "full", "LACP is still negotiating"),
        ] {
            let member = LinkRecord { master: 9, member: record, flags, ..link(4, "swp1", "") };
            let found = of(lag, &member, duplex);
            assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{found:?}, not {said:?}");
        }
    }
}
