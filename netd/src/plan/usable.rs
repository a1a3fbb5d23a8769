//! What of the wanted network can be there now. The rest waits: it comes back with what it needs.

use std::collections::BTreeSet;

use super::network::{LinkKind, Network, NextHopId, NextHopObject, Route, RouteTarget};

/// The wanted network as it can be now: without links that only hardware or an attachment can bring and
/// that are not there, and without whatever needs such a link or one that is down.
pub struct Usable<'a> {
    desired: &'a Network,
    absent: BTreeSet<&'a str>,
    /// Links that are absent or down: nothing is sent out there.
    silent: BTreeSet<&'a str>,
    /// Links without a carrier. The kernel holds no next hop objects on them; where next hops are spelled
    /// out in routes, those there are left out as long as others are left.
    dark: BTreeSet<&'a str>,
    lost: BTreeSet<NextHopId>,
}

impl<'a> Usable<'a> {
    /// Judges `desired` by what is there.
    pub fn new(desired: &'a Network, actual: &'a Network) -> Usable<'a> {
        let mut absent: BTreeSet<&str> = desired
            .links
            .iter()
            .filter(|(name, link)| !link.kind.is_made() && !actual.links.contains_key(*name))
            .map(|(name, _)| name.as_str())
            .collect();
        // A VLAN interface goes with the link it stands on, which may itself be one.
        loop {
            let orphans: Vec<&str> = desired
                .links
                .iter()
                .filter(|(name, link)| match &link.kind {
                    LinkKind::Vlan { parent, .. } => {
                        !absent.contains(name.as_str())
                            && (absent.contains(parent.as_str()) || !desired.links.contains_key(parent))
                    }
                    _ => false,
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if orphans.is_empty() {
                break;
            }
            absent.extend(orphans);
        }
        let silent = desired
            .links
            .iter()
            .filter(|(name, link)| !link.up || absent.contains(name.as_str()))
            .map(|(name, _)| name.as_str())
            .collect();
        let dark =
            actual.links.iter().filter(|(_, link)| !link.carrier).map(|(name, _)| name.as_str()).collect();
        let mut usable = Usable { desired, absent, silent, dark, lost: BTreeSet::new() };
        usable.lost = usable.lost_next_hops();
        usable
    }

    fn lost_next_hops(&self) -> BTreeSet<NextHopId> {
        let mut lost: BTreeSet<NextHopId> = BTreeSet::new();
        for (id, object) in &self.desired.next_hops {
            if object.device().is_some_and(|device| !self.sends(device) || self.dark.contains(device)) {
                lost.insert(*id);
            }
        }
        for (id, object) in &self.desired.next_hops {
            if let NextHopObject::Group(members) = object
                && members.iter().all(|(member, _)| lost.contains(member))
            {
                lost.insert(*id);
            }
        }
        lost
    }

    /// Whether a wanted link can be there.
    pub fn has_link(&self, name: &str) -> bool {
        !self.absent.contains(name)
    }

    /// Whether packets can be sent out of a link: it is there, wanted and up.
    pub fn sends(&self, device: &str) -> bool {
        self.desired.links.contains_key(device) && !self.silent.contains(device)
    }

    /// A wanted next hop object as it can be now.
    pub fn next_hop(&self, id: NextHopId, object: &NextHopObject) -> Option<NextHopObject> {
        if self.lost.contains(&id) {
            return None;
        }
        let NextHopObject::Group(members) = object else {
            return Some(object.clone());
        };
        let left = members.iter().filter(|(member, _)| !self.lost.contains(member));
        Some(NextHopObject::Group(left.copied().collect()))
    }

    /// Where a wanted route can lead now.
    pub fn target(&self, route: &Route) -> Option<RouteTarget> {
        match &route.target {
            RouteTarget::Object(id) if self.lost.contains(id) => None,
            RouteTarget::NextHops(hops) => {
                let there: Vec<_> = hops.iter().filter(|hop| self.sends(&hop.device)).cloned().collect();
                if there.len() == hops.len()
                    && !hops.iter().any(|hop| self.dark.contains(hop.device.as_str()))
                {
                    return Some(route.target.clone());
                }
                let lit: Vec<_> =
                    there.iter().filter(|hop| !self.dark.contains(hop.device.as_str())).cloned().collect();
                let left = if lit.is_empty() { there } else { lit };
                (!left.is_empty()).then(|| RouteTarget::inline(left))
            }
            target => Some(target.clone()),
        }
    }
}

impl Network {
    /// Takes out what cannot be there now: see [`Usable`].
    pub fn prune(&mut self, actual: &Network) {
        let usable = Usable::new(self, actual);
        let pruned = Network {
            links: self
                .links
                .iter()
                .filter(|(name, _)| usable.has_link(name))
                .map(|(name, link)| (name.clone(), link.clone()))
                .collect(),
            next_hops: self
                .next_hops
                .iter()
                .filter_map(|(id, object)| Some((*id, usable.next_hop(*id, object)?)))
                .collect(),
            routes: self
                .routes
                .iter()
                .filter_map(|route| Some(Route { key: route.key, target: usable.target(route)? }))
                .collect(),
            fdb: self
                .fdb
                .iter()
                .filter(|(_, port)| usable.has_link(port))
                .map(|(key, port)| (key.clone(), port.clone()))
                .collect(),
            mdb: self.mdb.iter().filter(|key| usable.has_link(&key.port)).cloned().collect(),
            neighbours: self
                .neighbours
                .iter()
                .filter(|(key, _)| usable.sends(&key.device))
                .map(|(key, mac)| (key.clone(), mac.clone()))
                .collect(),
            rules: self.rules.clone(),
            filters: self
                .filters
                .iter()
                .filter(|(key, _)| usable.has_link(&key.link))
                .map(|(key, filter)| (key.clone(), filter.clone()))
                .collect(),
        };
        *self = pruned;
    }
}
