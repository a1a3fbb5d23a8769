//! Next hop objects for routes, each with an id that follows from what it is: the same after a restart, and
//! whatever else the configuration says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use netd_api::config::model;

use crate::plan::{NextHop, NextHopId, NextHopObject, RouteTarget};

/// The ways out of one route: sorted, and whether they serve IPv6 destinations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ways {
    hops: Vec<NextHop>,
    v6: bool,
}

/// Collects what routes need, then hands out targets.
#[derive(Default)]
pub(super) struct Collector {
    known: HashMap<Ways, usize>,
    /// Routes with the same ways out often stand one after the other.
    last: Option<(Arc<[model::NextHop]>, bool, usize)>,
}

impl Collector {
    /// Takes the ways out of a route; answers their place for [`Targets::get`].
    pub(super) fn add(&mut self, hops: &Arc<[model::NextHop]>, v6: bool) -> usize {
        if let Some((last, same, place)) = &self.last
            && *same == v6
            && Arc::ptr_eq(last, hops)
        {
            return *place;
        }
        let mut plain: Vec<NextHop> = hops
            .iter()
            .map(|hop| NextHop {
                via: hop.via,
                device: hop.device.to_string(),
                weight: hop.weight,
                on_link: hop.on_link,
            })
            .collect();
        plain.sort();
        let next = self.known.len();
        let place = *self.known.entry(Ways { hops: plain, v6 }).or_insert(next);
        self.last = Some((hops.clone(), v6, place));
        place
    }

    /// Targets for all that was collected: next hop objects, or next hops spelled out where a driver
    /// refuses objects.
    pub(super) fn finish(self, objects: bool) -> Targets {
        let mut targets = vec![RouteTarget::Blackhole; self.known.len()];
        let mut next_hops = BTreeMap::new();
        if objects {
            next_hops = make_objects(&self.known, &mut targets);
        } else {
            for (ways, place) in self.known {
                targets[place] = RouteTarget::inline(ways.hops);
            }
        }
        Targets { targets, next_hops }
    }
}

/// What routes point to.
pub(super) struct Targets {
    targets: Vec<RouteTarget>,
    /// The objects behind them.
    pub(super) next_hops: BTreeMap<NextHopId, NextHopObject>,
}

impl Targets {
    /// The target at a place [`Collector::add`] gave.
    pub(super) fn get(&self, place: usize) -> RouteTarget {
        self.targets[place].clone()
    }
}

fn make_objects(
    known: &HashMap<Ways, usize>,
    targets: &mut [RouteTarget],
) -> BTreeMap<NextHopId, NextHopObject> {
    let mut objects = BTreeMap::new();
    let mut singles: BTreeMap<NextHopObject, NextHopId> = BTreeMap::new();
    let wanted: BTreeSet<NextHopObject> =
        known.keys().flat_map(|ways| ways.hops.iter().map(|hop| single(hop, ways.v6))).collect();
    for object in wanted {
        let id = place(&mut objects, &object);
        singles.insert(object, id);
    }
    // In an order of their own, so that ids that collide are settled the same way each time.
    let mut sorted: Vec<(&Ways, usize)> = known.iter().map(|(ways, place)| (ways, *place)).collect();
    sorted.sort();
    for (ways, index) in sorted {
        let members: Vec<(NextHopId, u16)> = ways
            .hops
            .iter()
            .filter_map(|hop| Some((*singles.get(&single(hop, ways.v6))?, hop.weight)))
            .collect();
        let id = match members.as_slice() {
            [(only, _)] => *only,
            _ => place(&mut objects, &NextHopObject::Group(sorted_members(members))),
        };
        targets[index] = RouteTarget::Object(id);
    }
    objects
}

/// In the order the kernel shows them.
fn sorted_members(mut members: Vec<(NextHopId, u16)>) -> Vec<(NextHopId, u16)> {
    members.sort();
    members.dedup_by_key(|(id, _)| *id);
    members
}

fn single(hop: &NextHop, v6: bool) -> NextHopObject {
    // A gateway tells its family; destinations on the link do not.
    let v6 = hop.via.map_or(v6, |via| via.is_ipv6());
    NextHopObject::Single { via: hop.via, device: hop.device.clone(), on_link: hop.on_link, v6 }
}

/// Gives an object the id its text hashes to, or the next that is free.
fn place(objects: &mut BTreeMap<NextHopId, NextHopObject>, object: &NextHopObject) -> NextHopId {
    let range = NextHopId::LAST - NextHopId::FIRST + 1;
    let mut offset = hash(&identity(object)) % range;
    loop {
        let id = NextHopId(NextHopId::FIRST + offset);
        match objects.get(&id) {
            None => {
                objects.insert(id, object.clone());
                return id;
            }
            Some(same) if same == object => return id,
            Some(_) => offset = (offset + 1) % range,
        }
    }
}

/// The bytes an object's id follows from. They never change: another build that has other ids for the same objects would
/// replace every next hop and every route at its start.
fn identity(object: &NextHopObject) -> String {
    match object {
        NextHopObject::Single { via, device, on_link, v6 } => {
            let via = via.map_or("None".to_owned(), |via| format!("Some({via})"));
            format!("Single {{ via: {via}, device: \"{device}\", on_link: {on_link}, v6: {v6} }}")
        }
        NextHopObject::Group(members) => {
            let members: Vec<String> =
                members.iter().map(|(id, weight)| format!("(NextHopId({}), {weight})", id.0)).collect();
            format!("Group([{}])", members.join(", "))
        }
    }
}

/// FNV-1a, which stays the same between builds.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids as every release has them.
    #[test]
    fn next_hop_ids_are_those_of_every_build() {
        let single = |via: &str, device: &str, on_link, v6| NextHopObject::Single {
            via: via.parse().ok(),
            device: device.to_owned(),
            on_link,
            v6,
        };
        let id = |number| NextHopId(NextHopId::FIRST + number);
        for (object, bytes, expected) in [
            (
                single("10.0.10.253", "vlan10", false, false),
                "Single { via: Some(10.0.10.253), device: \"vlan10\", on_link: false, v6: false }",
                GOLDEN[0],
            ),
            (
                single("2001:db8::1", "swp1", true, true),
                "Single { via: Some(2001:db8::1), device: \"swp1\", on_link: true, v6: true }",
                GOLDEN[1],
            ),
            (
                single("", "swp48", false, true),
                "Single { via: None, device: \"swp48\", on_link: false, v6: true }",
                GOLDEN[2],
            ),
            (
                NextHopObject::Group(vec![(id(1), 1), (id(2), 256)]),
                "Group([(NextHopId(1073741825), 1), (NextHopId(1073741826), 256)])",
                GOLDEN[3],
            ),
        ] {
            assert_eq!(identity(&object), bytes);
            assert_eq!(place(&mut BTreeMap::new(), &object).0, expected, "{bytes}");
        }
    }

    const GOLDEN: [u32; 4] = [2_139_727_058, 1_274_921_747, 1_872_185_496, 2_018_412_442];
}
