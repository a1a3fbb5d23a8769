//! Groups of next hops, by the links their members leave by: what shrinks when a link goes down.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Action, Network, NextHopId, NextHopObject};

/// The groups as they are in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Members with their weights, by group.
    members: BTreeMap<NextHopId, Vec<(NextHopId, u16)>>,
    /// Links of single next hops.
    devices: BTreeMap<NextHopId, String>,
}

impl Groups {
    /// The groups of a network.
    pub fn of(network: &Network) -> Groups {
        let mut groups = Groups::default();
        for (id, object) in &network.next_hops {
            match object {
                NextHopObject::Group(members) => {
                    groups.members.insert(*id, members.clone());
                }
                NextHopObject::Single { device, .. } => {
                    groups.devices.insert(*id, device.clone());
                }
            }
        }
        groups
    }

    /// Links that carry members of groups.
    pub fn links(&self) -> BTreeSet<String> {
        let members = self.members.values().flatten();
        members.filter_map(|(id, _)| self.devices.get(id)).cloned().collect()
    }

    /// Takes the members on a link out of their groups, as long as others are left: what is to be done in
    /// the kernel.
    pub fn without(&mut self, link: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        let devices = &self.devices;
        let gone = |(id, _): &(NextHopId, u16)| devices.get(id).is_some_and(|device| device == link);
        for (id, members) in &mut self.members {
            let left: Vec<_> = members.iter().filter(|member| !gone(member)).copied().collect();
            if !left.is_empty() && left.len() < members.len() {
                let from = Some(NextHopObject::Group(std::mem::replace(members, left.clone())));
                actions.push(Action::NextHop { id: *id, from, to: Some(NextHopObject::Group(left)) });
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shrinks_by_the_members_on_a_link_but_never_to_nothing() {
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
        network.next_hops.insert(id(3), NextHopObject::Group(vec![(id(1), 1), (id(2), 3)]));
        let mut groups = Groups::of(&network);
        assert_eq!(groups.links(), ["swp1", "swp2"].map(str::to_owned).into());
        let actions = groups.without("swp1");
        assert_eq!(actions.len(), 1);
        assert_eq!(actions[0].to_string(), format!("{}: replace by group {} weight 3", id(3), id(2).0));
        assert_eq!(groups.without("swp2"), []);
    }
}
