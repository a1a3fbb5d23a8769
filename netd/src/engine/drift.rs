//! Changes made behind netd's back: told from what links bring about, and repaired or only reported.

use std::collections::BTreeSet;

use netd_api::config::Config;
use netd_api::config::model::{DriftSection, PortRole, vlan_interface};

use crate::desired::BRIDGE;
use crate::plan::{Action, LinkKind, Network, NextHopId, NextHopObject, RouteTarget};

/// Links whose next hops came or went with them since the last look: what is missing there is no drift.
#[derive(Clone, Debug, Default)]
pub(super) struct Flapped {
    /// Links that lost or got their carrier since the last look.
    pub(super) links: BTreeSet<String>,
}

impl Flapped {
    /// Next hop objects that stand on these links, groups included.
    fn next_hops(&self, network: &Network) -> BTreeSet<NextHopId> {
        let on_link =
            |object: &NextHopObject| object.device().is_some_and(|device| self.links.contains(device));
        let mut touched: BTreeSet<NextHopId> =
            network.next_hops.iter().filter(|(_, object)| on_link(object)).map(|(id, _)| *id).collect();
        let groups: Vec<NextHopId> = network
            .next_hops
            .iter()
            .filter(|(_, object)| match object {
                NextHopObject::Group(members) => members.iter().any(|(id, _)| touched.contains(id)),
                NextHopObject::Single { .. } => false,
            })
            .map(|(id, _)| *id)
            .collect();
        touched.extend(groups);
        touched
    }
}

/// Tells drift from what follows links.
pub(super) struct Judge<'a> {
    config: &'a Config,
    links: &'a BTreeSet<String>,
    next_hops: BTreeSet<NextHopId>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(config: &'a Config, desired: &Network, flapped: &'a Flapped) -> Judge<'a> {
        Judge { config, links: &flapped.links, next_hops: flapped.next_hops(desired) }
    }

    /// Whether the step puts right what somebody else changed, rather than follow a link.
    pub(super) fn is_drift(&self, action: &Action) -> bool {
        match action {
            Action::NextHop { id, .. } => !self.next_hops.contains(id),
            Action::Route { from, to, .. } => {
                ![from, to].into_iter().flatten().any(|target| self.touches(target))
            }
            Action::Neighbour { key, .. } => !self.links.contains(&key.device),
            // Without these nothing reaches the switch, so they are never only reported.
            Action::Rule { .. } => false,
            // Left by a netd that was killed, not made by somebody.
            Action::ReleaseRoute { left, .. } => !left,
            _ => true,
        }
    }

    fn touches(&self, target: &RouteTarget) -> bool {
        match target {
            RouteTarget::Object(id) => self.next_hops.contains(id),
            RouteTarget::NextHops(hops) => hops.iter().any(|hop| self.links.contains(&hop.device)),
            RouteTarget::Blackhole | RouteTarget::Unreachable => false,
        }
    }

    /// Whether the step is to be done: drift of a section that is only reported is not.
    pub(super) fn allows(&self, action: &Action) -> bool {
        !self.is_drift(action) || self.config.drift.repairs(self.section(action))
    }

    /// The section of the document the object of an action belongs to.
    pub(super) fn section(&self, action: &Action) -> DriftSection {
        match action {
            Action::Route { .. } | Action::NextHop { .. } => DriftSection::Routes,
            Action::Neighbour { .. } => DriftSection::Neighbours,
            Action::Rule { .. } => DriftSection::Vrfs,
            // The entries of a tunnel are part of the tunnel.
            Action::Fdb { key, .. } if key.tunnel.is_some() => DriftSection::Vxlans,
            Action::Fdb { .. } => DriftSection::Fdb,
            Action::Mdb { .. } => DriftSection::Mdb,
            Action::CreateLink { name, kind, .. } | Action::DeleteLink { name, kind } => {
                self.section_of_link(name, Some(kind))
            }
            Action::Set { link, .. }
            | Action::AddAddress { link, .. }
            | Action::WithdrawAddress { link, .. }
            | Action::HoldRoute { link, .. }
            | Action::ReleaseRoute { link, .. }
            | Action::DeleteAddress { link, .. } => self.section_of_link(link, None),
            Action::LinkGroups { .. } => DriftSection::Mdb,
            Action::AddVlans { port, .. } | Action::DeleteVlans { port, .. } => {
                self.section_of_link(port, None)
            }
            Action::Querier { bridge, .. } => self.section_of_link(bridge, None),
            Action::Clsact { link, .. } => self.section_of_link(link, None),
            Action::Filter { key, .. } => self.section_of_link(&key.link, None),
            Action::SetMaster { name, .. }
            | Action::ClearMaster { name }
            | Action::SetUp { name, .. }
            | Action::SetDown { name } => self.section_of_link(name, None),
        }
    }

    fn section_of_link(&self, name: &str, kind: Option<&LinkKind>) -> DriftSection {
        let config = self.config;
        if name == BRIDGE {
            return DriftSection::Bridge;
        }
        if config.lags.contains_key(name) || matches!(kind, Some(LinkKind::Lag { .. })) {
            return DriftSection::Lags;
        }
        if config.subinterfaces.contains_key(name) {
            return DriftSection::Subinterfaces;
        }
        if config.vxlans.contains_key(name) || matches!(kind, Some(LinkKind::Vxlan { .. })) {
            return DriftSection::Vxlans;
        }
        if config.vrfs.contains_key(name) || matches!(kind, Some(LinkKind::Vrf { .. })) {
            return DriftSection::Vrfs;
        }
        if config.loopbacks.contains_key(name) || matches!(kind, Some(LinkKind::Dummy)) {
            return DriftSection::Loopbacks;
        }
        let is_vlan = config.vlans.keys().any(|id| vlan_interface(*id) == name);
        if is_vlan || matches!(kind, Some(LinkKind::Vlan { .. })) {
            return DriftSection::Vlans;
        }
        match config.ports.get(name).map(|port| &port.ethernet.role) {
            Some(PortRole::Member(_)) => DriftSection::Lags,
            _ => DriftSection::Ports,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_took_along_is_no_drift_and_what_somebody_removed_is() {
        let config = netd_api::config::parse("version = 1\n[drift]\nroutes = \"report\"\n").expect("valid");
        let id = |number| NextHopId(NextHopId::FIRST + number);
        let single = |device: &str| NextHopObject::Single {
            via: None,
            device: device.to_owned(),
            on_link: false,
            v6: false,
        };
        let mut network = Network::default();
        network.next_hops.insert(id(1), single("swp1"));
        network.next_hops.insert(id(2), single("swp2"));
        network.next_hops.insert(id(3), NextHopObject::Group(vec![(id(1), 1), (id(2), 1)]));
        let flapped = Flapped { links: ["swp1".to_owned()].into() };
        let judge = Judge::new(&config, &network, &flapped);
        let route = |id| Action::Route {
            key: crate::plan::RouteKey {
                table: 254,
                prefix: "10.0.0.0/8".parse().expect("a prefix"),
                metric: 0,
            },
            from: None,
            to: Some(RouteTarget::Object(id)),
        };
        assert!(judge.allows(&route(id(1))), "its link came back");
        assert!(judge.allows(&route(id(3))), "a member of its group came back");
        assert!(!judge.allows(&route(id(2))), "somebody removed it, and routes are only reported");
        assert!(judge.allows(&Action::SetUp { name: "swp1".to_owned(), kind: LinkKind::Hardware }));
    }

    #[test]
    fn held_routes_that_were_left_are_released_where_drift_is_only_reported() {
        let config = netd_api::config::parse("version = 1\n[drift]\nports = \"report\"\n").expect("valid");
        let (network, flapped) = (Network::default(), Flapped::default());
        let judge = Judge::new(&config, &network, &flapped);
        let prefix = "10.0.0.1/32".parse().expect("a prefix");
        let route = crate::plan::HeldRoute { local: true, prefix, table: 255 };
        let release = |left| Action::ReleaseRoute { link: "swp1".to_owned(), route, left };
        assert!(judge.allows(&release(true)), "nobody made them");
        assert!(!judge.allows(&release(false)), "it goes with addresses that are not touched");
        assert!(!judge.allows(&Action::HoldRoute { link: "swp1".to_owned(), route }));
    }
}
