//! VRFs, routes, and neighbours.

use netd_api::config::model;
use nix::libc;

use super::Inputs;
use super::next_hops::Collector;
use crate::plan::{Link, LinkKind, NeighbourKey, Network, Route, RouteKey, RouteTarget};

/// Metric of the route that ends a VRF: worse than anything an operator may set.
const END_OF_VRF_METRIC: u32 = 4_278_198_272;

pub(super) fn add_vrfs(inputs: &Inputs, network: &mut Network) {
    for (name, vrf) in &inputs.config.vrfs {
        let link = Link { up: true, ..Link::new(LinkKind::Vrf { table: vrf.table }) };
        network.links.insert(name.clone(), link);
        // Without an end, a lookup that finds nothing in a VRF goes on in the main table.
        for prefix in ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()) {
            let key = RouteKey { table: vrf.table, prefix, metric: END_OF_VRF_METRIC };
            network.routes.push(Route { key, target: RouteTarget::Unreachable });
        }
    }
}

/// Where a route leads, before its next hops are objects.
enum Lead {
    Blackhole,
    Unreachable,
    Place(usize),
}

pub(super) fn add(inputs: &Inputs, network: &mut Network) {
    let config = inputs.config;
    let mut collector = Collector::default();
    let mut waiting = Vec::with_capacity(config.routes.len());
    for route in config.routes.iter().filter(|route| route.installed) {
        let table = match &route.vrf {
            Some(vrf) => config.vrfs.get(&**vrf).map(|vrf| vrf.table),
            None => Some(u32::from(libc::RT_TABLE_MAIN)),
        };
        // The parser only lets VRFs through that are defined.
        let Some(table) = table else { continue };
        let key = RouteKey { table, prefix: route.prefix, metric: route.metric };
        let lead = match &route.target {
            model::RouteTarget::Blackhole => Lead::Blackhole,
            model::RouteTarget::Unreachable => Lead::Unreachable,
            model::RouteTarget::NextHops(hops) => {
                Lead::Place(collector.add(hops, route.prefix.addr().is_ipv6()))
            }
        };
        waiting.push((key, lead));
    }
    let targets = collector.finish(inputs.objects);
    network.routes.reserve_exact(waiting.len());
    network.routes.extend(waiting.into_iter().map(|(key, lead)| Route {
        key,
        target: match lead {
            Lead::Blackhole => RouteTarget::Blackhole,
            Lead::Unreachable => RouteTarget::Unreachable,
            Lead::Place(place) => targets.get(place),
        },
    }));
    network.next_hops = targets.next_hops;
    network.sort();
    for entry in &config.neighbours {
        let key = NeighbourKey { device: entry.device.clone(), address: entry.address };
        network.neighbours.insert(key, entry.mac.to_string());
    }
}
