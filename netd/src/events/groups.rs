//! Groups of next hops, by the links their members leave by: what shrinks when a link goes down.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Action, LinkKind, Network, NextHopId, NextHopObject, RouteTarget};

/// Groups of next hops, and what they stand on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Members with their weights, by group.
    members: BTreeMap<NextHopId, Vec<(NextHopId, u16)>>,
    /// Those that are no groups, with their link and those it stands on.
    singles: BTreeMap<NextHopId, (NextHopObject, Vec<String>)>,
    /// Those that routes use without a group.
    used_alone: BTreeSet<NextHopId>,
}

impl Groups {
    /// The groups a network is to have.
    pub fn of(network: &Network) -> Groups {
        let mut groups = Groups::default();
        for (id, object) in &network.next_hops {
            match object {
                NextHopObject::Group(members) => {
                    groups.members.insert(*id, members.clone());
                }
                NextHopObject::Single { device, .. } => {
                    let links = std::iter::successors(Some(device), |name| parent(network, name));
                    groups.singles.insert(*id, (object.clone(), links.cloned().collect()));
                }
            }
        }
        if !groups.members.is_empty() {
            let targets = network.routes.iter().filter_map(|route| match route.target {
                RouteTarget::Object(id) => Some(id),
                _ => None,
            });
            groups.used_alone = targets.filter(|id| !groups.members.contains_key(id)).collect();
        }
        groups
    }

    /// Takes in the members the kernel has in each: some may be missing.
    pub fn found(&mut self, members: BTreeMap<NextHopId, Vec<(NextHopId, u16)>>) {
        self.members = members;
    }

    /// Links that carry members of groups.
    pub fn links(&self) -> BTreeSet<String> {
        let members = self.members.values().flatten().filter_map(|(id, _)| self.singles.get(id));
        members.flat_map(|(_, links)| links).cloned().collect()
    }

    /// Takes the members on a link out of their groups, as long as others are left: what is to be done in
    /// the kernel. A next hop that only such groups use is deleted, which leaves all of them at once.
    pub fn without(&mut self, link: &str) -> Vec<Action> {
        let Groups { members, singles, used_alone } = self;
        let on_it = |(_, (_, links)): &(&NextHopId, &(_, Vec<String>))| links.iter().any(|name| name == link);
        let gone: BTreeSet<NextHopId> = singles.iter().filter(on_it).map(|(id, _)| *id).collect();
        let shrinks = |group: &[(NextHopId, u16)]| {
            let staying = group.iter().filter(|(id, _)| !gone.contains(id)).count();
            (1..group.len()).contains(&staying)
        };
        // Nothing else may lose what its groups can do without.
        let others = members.values().filter(|group| !shrinks(group)).flatten().map(|(id, _)| id);
        let needed: BTreeSet<NextHopId> = others.filter(|id| gone.contains(id)).copied().collect();
        let mut deleted = BTreeSet::new();
        let mut replaced = Vec::new();
        for (id, group) in members.iter_mut().filter(|(_, group)| shrinks(group)) {
            let (leaving, left): (Vec<_>, Vec<_>) =
                group.iter().copied().partition(|(id, _)| gone.contains(id));
            let is_free = |id: &NextHopId| !needed.contains(id) && !used_alone.contains(id);
            if leaving.iter().all(|(id, _)| is_free(id)) {
                deleted.extend(leaving.into_iter().map(|(id, _)| id));
                *group = left;
            } else {
                let from = Some(NextHopObject::Group(std::mem::replace(group, left.clone())));
                replaced.push(Action::NextHop { id: *id, from, to: Some(NextHopObject::Group(left)) });
            }
        }
        let delete = |id: NextHopId| Action::NextHop {
            id,
            from: singles.get(&id).map(|(object, _)| object.clone()),
            to: None,
        };
        deleted.into_iter().map(delete).chain(replaced).collect()
    }
}

/// What a link stands on.
fn parent<'a>(network: &'a Network, name: &str) -> Option<&'a String> {
    match &network.links.get(name)?.kind {
        LinkKind::Vlan { parent, .. } => Some(parent),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::RouteKey;

    fn id(number: u32) -> NextHopId {
        NextHopId(NextHopId::FIRST + number)
    }

    fn group(members: &[(u32, u16)]) -> NextHopObject {
        NextHopObject::Group(members.iter().map(|(number, weight)| (id(*number), *weight)).collect())
    }

    /// Next hops 1 on swp1, 2 on swp2, and so on.
    fn network(groups: &[(u32, NextHopObject)]) -> Network {
        let mut network = Network::default();
        for number in 1..=3 {
            let device = format!("swp{number}");
            let single = NextHopObject::Single { via: None, device, on_link: false, v6: false };
            network.next_hops.insert(id(number), single);
        }
        network.next_hops.extend(groups.iter().map(|(number, group)| (id(*number), group.clone())));
        network
    }

    /// One group of two next hops, on swp1 and swp2.
    pub fn groups_of_two() -> Groups {
        Groups::of(&network(&[(8, group(&[(1, 1), (2, 3)]))]))
    }

    /// What is to be done when that link goes.
    pub fn shrunk(link: &str) -> Vec<Action> {
        let mut network = network(&[]);
        network.next_hops.retain(|_, object| object.device() == Some(link));
        let delete = |(id, from)| Action::NextHop { id, from: Some(from), to: None };
        network.next_hops.into_iter().map(delete).collect()
    }

    fn words(actions: &[Action]) -> Vec<String> {
        actions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn groups_shrink_by_the_members_on_a_link_but_never_to_nothing() {
        let mut groups =
            Groups::of(&network(&[(8, group(&[(1, 1), (2, 3)])), (9, group(&[(1, 1), (3, 1)]))]));
        assert_eq!(groups.links(), ["swp1", "swp2", "swp3"].map(str::to_owned).into());
        assert_eq!(words(&groups.without("swp1")), [format!("{}: delete dev swp1", id(1))]);
        assert_eq!(groups.without("swp1"), []);
        assert_eq!(groups.without("swp2"), []);
    }

    #[test]
    fn a_next_hop_that_others_use_stays_and_its_groups_are_replaced() {
        let route = |number| crate::plan::Route {
            key: RouteKey { table: 254, prefix: "10.1.0.0/16".parse().expect("a prefix"), metric: 0 },
            target: RouteTarget::Object(id(number)),
        };
        let shared = [(8, group(&[(1, 1), (2, 3)])), (9, group(&[(1, 1)]))];
        let replaced = [format!("{}: replace by group {} weight 3", id(8), id(2).0)];
        assert_eq!(words(&Groups::of(&network(&shared)).without("swp1")), replaced);
        let routed = Network { routes: vec![route(1), route(8)], ..network(&shared[..1]) };
        assert_eq!(words(&Groups::of(&routed).without("swp1")), replaced);
    }

    #[test]
    fn what_the_kernel_has_of_a_group_decides_what_it_can_lose() {
        let mut groups = groups_of_two();
        // The other one is not there: this one stays, whatever becomes of its link.
        groups.found([(id(8), vec![(id(1), 1)])].into());
        assert_eq!(groups.without("swp1"), []);
        groups.found([(id(8), vec![(id(1), 1), (id(2), 3)])].into());
        assert_eq!(groups.without("swp1"), shrunk("swp1"));
    }

    #[test]
    fn a_subinterface_goes_with_its_port() {
        let mut network = network(&[(8, group(&[(1, 1), (2, 3)]))]);
        let kind = LinkKind::Vlan { parent: "swp7".to_owned(), id: 100 };
        network.links.insert("swp1".to_owned(), crate::plan::Link::new(kind));
        let mut groups = Groups::of(&network);
        assert_eq!(groups.links(), ["swp1", "swp2", "swp7"].map(str::to_owned).into());
        assert_eq!(groups.without("swp7"), shrunk("swp1"));
    }
}
