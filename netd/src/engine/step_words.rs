//! Steps of a plan in the words of the document: next hops by their gateways, routing tables by their VRFs, VLANs by
//! how frames of them travel. Pure.

use netd_api::config::Config;

use crate::plan::{
    Action, Filter, Network, NextHopId, NextHopObject, RouteKey, RouteTarget, Tag, TagAction, VlanMembership,
};
use crate::route_name;

/// What steps are put in words from.
pub(super) struct Words<'a> {
    /// The configuration that is to run.
    pub(super) config: &'a Config,
    /// The one that runs: what goes is named there.
    pub(super) running: &'a Config,
    /// The network that is to be.
    pub(super) desired: &'a Network,
    /// The network that is.
    pub(super) actual: &'a Network,
}

impl Words<'_> {
    /// What a step is about, as its words begin.
    pub(super) fn object(&self, action: &Action) -> String {
        match action {
            Action::NextHop { id, from, to } => {
                let object = to.as_ref().or(from.as_ref());
                let name = object.map_or_else(|| self.next_hop(*id), |object| self.next_hops(object));
                match object {
                    Some(NextHopObject::Group(_)) => format!("ECMP group of {name}"),
                    _ => format!("next hop {name}"),
                }
            }
            Action::Route { key, .. } => self.route(key),
            other => other.object(),
        }
    }

    /// A step for an operator.
    pub(super) fn of(&self, action: &Action) -> String {
        match action {
            Action::NextHop { from, to, .. } => {
                let what = match (from, to) {
                    (None, _) => "add",
                    (Some(_), Some(_)) => "change",
                    (Some(_), None) => "delete",
                };
                match (from, to) {
                    (Some(from), Some(to @ NextHopObject::Group(_))) => {
                        format!("ECMP group of {}: change to {}", self.next_hops(from), self.next_hops(to))
                    }
                    _ => format!("{}: {what}", self.object(action)),
                }
            }
            Action::Route { key, from, to } => {
                let name = self.route(key);
                match (from, to) {
                    (None, Some(to)) => format!("{name}: add {}", self.target(to)),
                    (Some(from), Some(to)) => {
                        format!("{name}: change from {} to {}", self.target(from), self.target(to))
                    }
                    (Some(from), None) => format!("{name}: delete {}", self.target(from)),
                    (None, None) => name,
                }
            }
            Action::AddVlans { port, first, last, membership, .. } => {
                format!("{port}: add VLAN {}{}", ids(*first, *last), carried(*membership))
            }
            Action::DeleteVlans { port, first, last, .. } => {
                format!("{port}: remove VLAN {}", ids(*first, *last))
            }
            Action::SetMaster { name, master } if self.is_vrf(master) => format!("{name}: join VRF {master}"),
            Action::SetMaster { name, master } => format!("{name}: join {master}"),
            Action::ClearMaster { name } => {
                match self.actual.links.get(name).and_then(|link| link.master.as_ref()) {
                    Some(master) if self.is_vrf(master) => format!("{name}: leave VRF {master}"),
                    Some(master) => format!("{name}: leave {master}"),
                    None => action.to_string(),
                }
            }
            Action::Filter { key, filter: Filter::Destination { address, tag, action }, add } => {
                let tag = match tag {
                    Tag::Untagged => "without a tag".to_owned(),
                    Tag::Vlan(0) => "without a VLAN".to_owned(),
                    Tag::Vlan(id) => format!("of VLAN {id}"),
                };
                let what = match action {
                    TagAction::Push(id) | TagAction::Modify(id) => format!("take them into VLAN {id}"),
                    TagAction::Pop => "send them without a tag".to_owned(),
                };
                let what = if *add { what } else { format!("no longer {what}") };
                format!("{}: frames to {address} {tag}: {what}", key.link)
            }
            other => other.to_string(),
        }
    }

    fn is_vrf(&self, name: &str) -> bool {
        self.config.vrfs.contains_key(name) || self.running.vrfs.contains_key(name)
    }

    fn route(&self, key: &RouteKey) -> String {
        format!("route {}", route_name::of(key, &[self.config, self.running]))
    }

    fn target(&self, target: &RouteTarget) -> String {
        match target {
            RouteTarget::Object(id) => format!("via {}", self.next_hop(*id)),
            other => other.to_string(),
        }
    }

    fn next_hop(&self, id: NextHopId) -> String {
        let object = self.desired.next_hops.get(&id).or_else(|| self.actual.next_hops.get(&id));
        object.map_or_else(|| id.to_string(), |object| self.next_hops(object))
    }

    fn next_hops(&self, object: &NextHopObject) -> String {
        match object {
            NextHopObject::Single { via: Some(via), device, .. } => format!("{via} on {device}"),
            NextHopObject::Single { via: None, device, .. } => device.clone(),
            NextHopObject::Group(members) => {
                let member = |(id, weight): &(NextHopId, u16)| match weight {
                    1 => self.next_hop(*id),
                    weight => format!("{} weight {weight}", self.next_hop(*id)),
                };
                members.iter().map(member).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

fn ids(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

fn carried(membership: VlanMembership) -> &'static str {
    match (membership.pvid, membership.untagged) {
        (_, true) => ", untagged",
        (true, false) => ", for untagged frames that come in",
        (false, false) => ", tagged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FilterKey;

    #[test]
    fn steps_name_gateways_vrfs_and_vlans_instead_of_numbers_of_the_kernel() {
        let config = netd_api::config::parse("version = 1\n[vrfs.blue]\ntable = 1001\n").expect("valid");
        let running = netd_api::config::parse("version = 1\n").expect("valid");
        let id = |number: u32| NextHopId(NextHopId::FIRST + number);
        let single = |via: &str| NextHopObject::Single {
            via: via.parse().ok(),
            device: "vlan10".to_owned(),
            on_link: false,
            v6: false,
        };
        let group = NextHopObject::Group(vec![(id(1), 1), (id(2), 3)]);
        let desired = Network {
            next_hops: [
                (id(1), single("10.0.10.253")),
                (id(2), single("10.0.10.254")),
                (id(3), group.clone()),
            ]
            .into(),
            ..Network::default()
        };
        let words =
            Words { config: &config, running: &running, desired: &desired, actual: &Network::default() };
        let key = |table, metric| RouteKey { table, prefix: "10.0.0.0/8".parse().expect("a prefix"), metric };
        let to = |number| Some(RouteTarget::Object(id(number)));
        let filter = |text: &str, add| {
            let key = FilterKey::try_from("swp1 ingress 16384".to_owned()).expect("a key");
            Action::Filter { key, filter: text.to_owned().try_into().expect("a filter"), add }
        };
        for (action, said) in [
            (
                Action::NextHop { id: id(1), from: None, to: Some(single("10.0.10.253")) },
                "next hop 10.0.10.253 on vlan10: add",
            ),
            (
                Action::NextHop { id: id(3), from: None, to: Some(group) },
                "ECMP group of 10.0.10.253 on vlan10, 10.0.10.254 on vlan10 weight 3: add",
            ),
            (
                Action::Route { key: key(254, 0), from: None, to: to(1) },
                "route 10.0.0.0/8: add via 10.0.10.253 on vlan10",
            ),
            (
                Action::Route { key: key(1001, 5), from: to(1), to: to(2) },
                "route 10.0.0.0/8 of VRF blue with metric 5: change from via 10.0.10.253 on vlan10 to via \
                 10.0.10.254 on vlan10",
            ),
            (
                Action::Route { key: key(1001, 0), from: Some(RouteTarget::Blackhole), to: None },
                "route 10.0.0.0/8 of VRF blue: delete blackhole",
            ),
            (
                Action::AddVlans {
                    port: "swp1".to_owned(),
                    first: 10,
                    last: 20,
                    membership: VlanMembership { pvid: false, untagged: false },
                    on_bridge: false,
                },
                "swp1: add VLAN 10 to 20, tagged",
            ),
            (Action::SetMaster { name: "swp1".to_owned(), master: "blue".to_owned() }, "swp1: join VRF blue"),
            (
                filter("to 01:80:c2:00:00:0e untagged: vlan push 10", true),
                "swp1: frames to 01:80:c2:00:00:0e without a tag: take them into VLAN 10",
            ),
            (
                filter("to 01:80:c2:00:00:0e vlan 10: vlan pop", false),
                "swp1: frames to 01:80:c2:00:00:0e of VLAN 10: no longer send them without a tag",
            ),
        ] {
            assert_eq!(words.of(&action), said);
            // What it is about is how its words begin: alarms have it in a column of its own.
            if !matches!(action, Action::Filter { .. }) {
                assert!(said.starts_with(&format!("{}: ", words.object(&action))), "{said}");
            }
        }
    }
}
