//! Groups of the IPv6 link that all ports of a VLAN are members of, told as runs of VLANs: there are ten for each VLAN
//! of each port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use super::network::Network;
use super::step::{Action, Step};
use super::usable::Usable;
use super::vlan_table::{VlanMembership, VlanTable};

/// Those of routers, OSPFv3, RIPng, PIM, VRRP, MLDv2, mDNS, DHCPv6 and LLMNR (IANA's registry of IPv6 multicast
/// addresses): many that listen to them do not say so.
pub const LINK_GROUPS: [Ipv6Addr; 10] = [
    link_group(0, 0x02),
    link_group(0, 0x05),
    link_group(0, 0x06),
    link_group(0, 0x09),
    link_group(0, 0x0d),
    link_group(0, 0x12),
    link_group(0, 0x16),
    link_group(0, 0xfb),
    link_group(1, 0x02),
    link_group(1, 0x03),
];

const fn link_group(high: u16, low: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, high, low)
}

fn is_one(group: IpAddr) -> bool {
    matches!(group, IpAddr::V6(group) if LINK_GROUPS.contains(&group))
}

impl Network {
    /// Tells memberships in all of these groups by the port's table, and no longer one by one.
    pub fn fold_link_groups(&mut self) {
        let mut counts: BTreeMap<(&str, u16), usize> = BTreeMap::new();
        for key in self.mdb.iter().filter(|key| is_one(key.group)) {
            *counts.entry((&key.port, key.vlan_id)).or_default() += 1;
        }
        for ((port, vlan_id), _) in counts.into_iter().filter(|(_, count)| *count == LINK_GROUPS.len()) {
            if let Some(link) = self.links.get_mut(port) {
                link.link_groups.insert(vlan_id, vlan_id, VlanMembership::default());
            }
        }
        let links = &self.links;
        let folded =
            |port: &str, vlan_id| links.get(port).is_some_and(|link| link.link_groups.get(vlan_id).is_some());
        self.mdb.retain(|key| !(is_one(key.group) && folded(&key.port, key.vlan_id)));
    }
}

pub(super) fn diff(desired: &Network, actual: &Network, usable: &Usable<'_>, steps: &mut Vec<Step>) {
    let none = VlanTable::default();
    let step = |port: &String, first, last, add| {
        Step::reversible(Action::LinkGroups { port: port.clone(), first, last, add })
    };
    for (port, found) in &actual.links {
        let want =
            desired.links.get(port).filter(|_| usable.has_link(port)).map_or(&none, |want| &want.link_groups);
        let gone = found.link_groups.missing_in(want);
        steps.extend(gone.runs().iter().map(|run| step(port, run.first, run.last, false)));
    }
    for (port, want) in desired.links.iter().filter(|(port, _)| usable.has_link(port)) {
        let found = actual.links.get(port).map_or(&none, |found| &found.link_groups);
        let new = want.link_groups.missing_in(found);
        steps.extend(new.runs().iter().map(|run| step(port, run.first, run.last, true)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Link, LinkKind, MdbKey};

    #[test]
    fn memberships_in_all_groups_are_folded_and_others_stay() {
        let mut network = Network::default();
        network.links.insert("swp1".to_owned(), Link::new(LinkKind::Hardware));
        let key = |group: IpAddr, vlan_id| MdbKey { group, vlan_id, port: "swp1".to_owned() };
        for vlan_id in [10, 11] {
            network.mdb.extend(LINK_GROUPS.map(|group| key(group.into(), vlan_id)));
        }
        network.mdb.insert(key(IpAddr::from([239, 1, 1, 1]), 10));
        network.mdb.insert(key(LINK_GROUPS[0].into(), 12));
        network.fold_link_groups();
        let runs: Vec<(u16, u16)> =
            network.links["swp1"].link_groups.runs().iter().map(|run| (run.first, run.last)).collect();
        assert_eq!((runs, network.mdb.len()), (vec![(10, 11)], 2));
        // What the document also names is not told twice.
        network.mdb.insert(key(LINK_GROUPS[3].into(), 11));
        network.fold_link_groups();
        assert_eq!(network.mdb.len(), 2);
    }
}
