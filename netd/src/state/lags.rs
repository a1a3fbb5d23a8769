//! LAGs and their members.

use netd_api::config::model::HashPolicy;
use netd_api::state::{Lag, LagMember};

use super::{View, lag_reason, natural, oper_state};
use crate::desired::hash_number;
use crate::kernel::link::LinkRecord;
use crate::kernel::{device, lag};
use crate::plan::{Setting, Value};

impl View<'_> {
    /// All LAGs of the configuration with the members the kernel has in them.
    pub fn lag_rows(&self) -> Vec<Lag> {
        let links = self.interfaces.links.values();
        let lags = links.filter(|link| link.kind == "bond");
        let mut rows: Vec<Lag> = lags.map(|link| self.lag(link)).collect();
        rows.sort_by_cached_key(|lag| natural(&lag.name));
        rows
    }

    fn lag(&self, link: &LinkRecord) -> Lag {
        let lacp = link.lacp == Some(true);
        let member = |member: &LinkRecord| {
            let record = member.member;
            LagMember {
                port: member.name.clone(),
                link_up: record.link_up,
                active: record.carries_frames(lacp, &link.aggregator),
                link_failures: record.link_failures,
                aggregator: if lacp { record.aggregator } else { 0 },
                actor_state: if lacp { lag::state_names(record.actor_state) } else { Vec::new() },
                // While no partner was heard the driver makes one up.
                partner_state: match lacp && !link.aggregator.partner.is_empty() {
                    true => lag::state_names(record.partner_state),
                    false => Vec::new(),
                },
                reason: lag_reason::of(link, member, &device::duplex(&member.name)),
            }
        };
        let members = self.interfaces.links.values().filter(|member| member.master == link.index);
        let mut members: Vec<LagMember> = members.map(member).collect();
        members.sort_by_cached_key(|member| natural(&member.port));
        let number =
            |setting: Setting| link.settings.get(&setting).and_then(Value::number).unwrap_or_default();
        let fast = link.settings.get(&Setting::LacpFast).is_some_and(Value::is_on);
        let lacp_rate = match (lacp, fast) {
            (false, _) => "",
            (true, true) => "fast",
            (true, false) => "slow",
        };
        Lag {
            name: link.name.clone(),
            mode: match link.lacp {
                Some(true) => "lacp",
                Some(false) => "static",
                None => "other",
            }
            .to_owned(),
            lacp_rate: lacp_rate.to_owned(),
            hash: hash_name(number(Setting::HashPolicy)),
            min_links: number(Setting::MinLinks),
            admin_up: link.is_up(),
            oper_state: oper_state(link.oper_state).to_owned(),
            aggregator: link.aggregator.id,
            partner: link.aggregator.partner.clone(),
            partner_key: link.aggregator.partner_key,
            members,
            wanted: self.config.lags.contains_key(&link.name),
        }
    }
}

/// The document's name of a policy that spreads frames; those it has none for have a number.
fn hash_name(number: u32) -> String {
    let known = HashPolicy::NAMES.iter().find(|(_, policy)| hash_number(*policy) == number);
    known.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{link, with_view};

    #[test]
    fn a_lag_is_shown_with_its_partner_and_members_and_one_nobody_answers_has_none() {
        let lag_of = |partner: &str| {
            let aggregator = lag::Aggregator { id: 1, partner_key: 9, partner: partner.to_owned() };
            let settings = [(Setting::HashPolicy, Value::Number(1)), (Setting::MinLinks, Value::Number(2))];
            let record = lag::MemberRecord {
                active: true,
                link_up: true,
                aggregator: 1,
                actor_state: 0x3d,
                partner_state: 0x3d,
                ..lag::MemberRecord::default()
            };
            let other = lag::MemberRecord { aggregator: 2, ..record };
            vec![
                LinkRecord {
                    lacp: Some(true),
                    aggregator,
                    settings: settings.into(),
                    oper_state: 6,
                    ..link(9, "uplink", "bond")
                },
                LinkRecord { master: 9, member: other, ..link(4, "swp10", "") },
                LinkRecord { master: 9, member: record, ..link(5, "swp2", "") },
                link(6, "swp3", ""),
            ]
        };
        let rows = with_view(lag_of("02:00:5e:00:53:01"), "version = 1\n", |view| view.lag_rows());
        let [lag] = rows.as_slice() else { panic!("one LAG: {rows:?}") };
        assert_eq!(
            (lag.mode.as_str(), lag.lacp_rate.as_str(), lag.hash.as_str()),
            ("lacp", "slow", "layer3+4")
        );
        assert_eq!((lag.min_links, lag.partner.as_str(), lag.wanted), (2, "02:00:5e:00:53:01", false));
        let members: Vec<_> = lag.members.iter().map(|row| (row.port.as_str(), row.active)).collect();
        assert_eq!(members, [("swp2", true), ("swp10", false)], "the second is of another aggregator");
        assert!(lag.members[0].partner_state.contains(&"distributing".to_owned()));
        let rows = with_view(lag_of(""), "version = 1\n", |view| view.lag_rows());
        assert!(rows[0].partner.is_empty() && rows[0].members[0].partner_state.is_empty(), "{rows:?}");
    }
}
