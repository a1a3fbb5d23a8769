//! Route records as the plan's routes, equal targets shared: a million routes have few of them.

use std::collections::HashMap;

use nix::libc;

use super::multipath::{NextHopRecord, ResolvedNextHop};
use super::route::RouteRecord;
use super::snapshot::Interfaces;
use crate::plan::{NextHop, Route, RouteTarget};

/// Turns records into routes.
pub(super) struct RouteTargets<'a> {
    interfaces: &'a Interfaces,
    known: HashMap<Vec<ResolvedNextHop>, RouteTarget>,
    /// The next hops of the record at hand: to look them up takes no memory.
    hops: Vec<ResolvedNextHop>,
}

impl<'a> RouteTargets<'a> {
    pub fn new(interfaces: &'a Interfaces) -> RouteTargets<'a> {
        RouteTargets { interfaces, known: HashMap::new(), hops: Vec::new() }
    }

    /// The route a record stands for; `None` for kinds netd does not set.
    pub fn route(&mut self, record: &RouteRecord) -> Option<Route> {
        let target = match (record.kind, record.object) {
            (libc::RTN_BLACKHOLE, _) => RouteTarget::Blackhole,
            (libc::RTN_UNREACHABLE, _) => RouteTarget::Unreachable,
            (libc::RTN_UNICAST, Some(id)) => RouteTarget::Object(id),
            (libc::RTN_UNICAST, None) => self.inline(&record.next_hops),
            _ => return None,
        };
        Some(Route { key: record.key(), target })
    }

    fn inline(&mut self, records: &[NextHopRecord]) -> RouteTarget {
        self.hops.clear();
        self.hops.extend(records.iter().map(NextHopRecord::resolved));
        if let Some(target) = self.known.get(&self.hops) {
            return target.clone();
        }
        let hop = |hop: &ResolvedNextHop| NextHop {
            via: hop.via,
            device: self.interfaces.name(hop.index).to_owned(),
            weight: hop.weight,
            on_link: hop.on_link,
        };
        let target = RouteTarget::inline(self.hops.iter().map(hop).collect());
        self.known.insert(self.hops.clone(), target.clone());
        target
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_next_hops_are_held_once_whatever_their_order_or_flags() {
        let interfaces = Interfaces::default();
        let mut targets = RouteTargets::new(&interfaces);
        let hop = |via: &str, flags| NextHopRecord { via: via.parse().ok(), index: 3, weight: 1, flags };
        let (a, b) = (hop("192.0.2.1", 0), hop("192.0.2.2", 0));
        let mut target = |hops: &[NextHopRecord]| {
            let next_hops = hops.to_vec();
            let record = RouteRecord { kind: libc::RTN_UNICAST, next_hops, ..RouteRecord::default() };
            match targets.route(&record).unwrap().target {
                RouteTarget::NextHops(hops) => hops,
                other => panic!("{other}"),
            }
        };
        let first = target(&[a.clone(), b.clone()]);
        assert!(Arc::ptr_eq(&first, &target(&[hop("192.0.2.1", 16), b.clone()])));
        assert_eq!(first, target(&[b, a.clone()]));
        assert_ne!(first, target(&[a]));
    }
}
