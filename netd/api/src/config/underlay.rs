//! Which interfaces the packets of tunnels leave by: the longest prefix among the switch's subnets and static
//! routes of the default VRF.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::interfaces::{self, Interface};
use super::model::{Config, Route, RouteTarget, Vxlan};

/// The way to each remote end point.
pub(super) struct Underlay {
    best: HashMap<IpAddr, Best>,
    /// Interfaces of the default VRF by which other hosts are reached: where no route says more.
    all: Vec<Arc<str>>,
}

struct Best {
    /// Length of the prefix and, of equal ones, how much the route is preferred: the larger wins.
    rank: (u8, u64),
    devices: Vec<Arc<str>>,
}

impl Underlay {
    pub(super) fn new(config: &Config, routes: &[Route]) -> Underlay {
        let mut remotes: Vec<IpAddr> =
            config.vxlans.values().flat_map(|vxlan| vxlan.remotes.iter().copied()).collect();
        remotes.sort_unstable();
        remotes.dedup();
        let mut underlay = Underlay { best: HashMap::new(), all: Vec::new() };
        let interfaces = interfaces::interfaces(config);
        let outward = |interface: &&Interface<'_>| interface.leads_on && interface.layer3.vrf.is_none();
        for Interface { name, layer3, .. } in interfaces.iter().filter(outward) {
            underlay.all.push(Arc::clone(name));
            for net in &layer3.addresses {
                // The kernel's own route to a subnet goes before static ones.
                underlay.offer(&remotes, *net, u64::MAX, &|| vec![Arc::clone(name)]);
            }
        }
        for route in routes.iter().filter(|route| route.installed && route.vrf.is_none()) {
            let devices = || match &route.target {
                RouteTarget::NextHops(hops) => hops.iter().map(|hop| Arc::clone(&hop.device)).collect(),
                RouteTarget::Blackhole | RouteTarget::Unreachable => Vec::new(),
            };
            underlay.offer(&remotes, route.prefix, u64::from(u32::MAX - route.metric), &devices);
        }
        underlay
    }

    /// Takes a route where it is the best so far.
    fn offer(
        &mut self,
        remotes: &[IpAddr],
        net: IpNet,
        preference: u64,
        devices: &dyn Fn() -> Vec<Arc<str>>,
    ) {
        let first = remotes.partition_point(|remote| *remote < net.network());
        let rank = (net.prefix_len(), preference);
        for remote in remotes[first..].iter().take_while(|remote| net.contains(*remote)) {
            match self.best.get_mut(remote) {
                Some(best) if best.rank >= rank => {}
                Some(best) => *best = Best { rank, devices: devices() },
                None => {
                    self.best.insert(*remote, Best { rank, devices: devices() });
                }
            }
        }
    }

    /// The interfaces that packets of a tunnel leave by. Where the document has no way to a remote end point, it may
    /// be any: a route that is learned leads there.
    pub(super) fn devices(&self, vxlan: &Vxlan) -> Vec<Arc<str>> {
        let mut devices: Vec<Arc<str>> = Vec::new();
        for remote in &vxlan.remotes {
            match self.best.get(remote).filter(|best| !best.devices.is_empty()) {
                Some(best) => devices.extend(best.devices.iter().cloned()),
                None => devices.extend(self.all.iter().cloned()),
            }
        }
        devices.sort_unstable();
        devices.dedup();
        devices
    }
}
