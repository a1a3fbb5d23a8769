//! Routes against everything else: next hops find their interfaces, and no route is given twice.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::model::{NextHop, Place, Route, RouteTarget};
use super::next_hop_covers::{Covered, covered};
use super::reader::Reader;
use super::routes::{Part, Ways, WaysKind, Written, WrittenHop, WrittenRoute};
use super::surroundings::Surroundings;

/// [`Ways`] with their interfaces.
pub(super) struct Resolved {
    pub(super) vrf: Option<Arc<str>>,
    /// Number of the VRF among those that routes name.
    vrf_number: u32,
    pub(super) target: RouteTarget,
    /// What is wrong with every route that has these ways.
    wrong: Vec<Part>,
    /// Next hops to which another route leads as the kernel does not take it: their position, and the route's number.
    covered: Vec<(u16, usize)>,
}

/// Routes with their next hops.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    written: &Written<'_>,
    surroundings: &Surroundings<'_>,
) -> Vec<Route> {
    let incomplete = reader.addresses_incomplete;
    let mut vrfs: BTreeMap<Option<&str>, (u32, Option<Arc<str>>)> = BTreeMap::new();
    let resolve = |ways: &'_ Ways, (vrf_number, vrf)| {
        let (target, wrong) = resolve_ways(ways, surroundings, incomplete);
        Resolved { vrf, vrf_number, target, wrong, covered: Vec::new() }
    };
    let mut resolved: Vec<Resolved> = Vec::with_capacity(written.ways.len());
    for ways in &written.ways {
        let vrf = ways.vrf.as_deref();
        let next = u32::try_from(vrfs.len()).unwrap_or(u32::MAX);
        let vrf = vrfs.entry(vrf).or_insert_with(|| (next, vrf.map(Arc::from))).clone();
        resolved.push(resolve(ways, vrf));
    }
    // Without all addresses known, a next hop that seems to be led to may be on the link.
    let covered = if incomplete { Vec::new() } else { covered(written, &resolved, surroundings) };
    for Covered { ways, position, route } in covered {
        resolved[ways].covered.push((position, route));
    }
    let resolved_of = |route: &WrittenRoute| &resolved[route.ways as usize];
    report_duplicates(reader, &written.routes, |route| resolved_of(route).vrf_number);
    let is_wrong = |route: &&WrittenRoute| {
        let resolved = resolved_of(route);
        !resolved.wrong.is_empty() || !resolved.covered.is_empty()
    };
    for route in written.routes.iter().filter(is_wrong) {
        if reader.is_full() {
            break;
        }
        let ways = &written.ways[route.ways as usize];
        for part in &resolved_of(route).wrong {
            let (place, path) = written.locate(route, *part, reader);
            reader.wrong(place, &path, explain(*part, ways, surroundings));
        }
        for (position, other) in resolved_of(route).covered.iter().filter(|_| route.installed) {
            let (place, path) = written.locate(route, Part::Via(*position), reader);
            let (other, address) = (&written.routes[*other], ways.next_hop(*position));
            let message = format!(
                "next hop {} is not on the link: the route to {} in line {} leads there",
                address.map(|address| address.to_string()).unwrap_or_default(),
                other.prefix,
                other.place.line
            );
            reader.wrong(place, &path, message);
        }
    }
    let complete = |route: &WrittenRoute| {
        let Resolved { vrf, target, .. } = resolved_of(route);
        Route {
            place: route.place,
            prefix: route.prefix,
            installed: route.installed,
            metric: route.metric,
            vrf: vrf.clone(),
            target: target.clone(),
        }
    };
    written.routes.iter().map(complete).collect()
}

fn resolve_ways(ways: &Ways, surroundings: &Surroundings<'_>, incomplete: bool) -> (RouteTarget, Vec<Part>) {
    let vrf = ways.vrf.as_deref();
    let known_vrf = vrf.is_none_or(|vrf| surroundings.has_vrf(vrf));
    let mut wrong = if known_vrf { Vec::new() } else { vec![Part::Vrf] };
    let hops = match &ways.kind {
        WaysKind::Blackhole => return (RouteTarget::Blackhole, wrong),
        WaysKind::Unreachable => return (RouteTarget::Unreachable, wrong),
        // Where the VRF is wrong already, nothing in it can be found.
        WaysKind::NextHops(_) if !known_vrf => return (RouteTarget::NextHops(Arc::new([])), wrong),
        WaysKind::NextHops(hops) => hops,
    };
    let dev = ways.dev.as_deref().map(|name| surroundings.device_in(name, vrf));
    if dev == Some(None) {
        wrong.push(Part::Dev);
    }
    let mut resolved = Vec::with_capacity(hops.len().max(1));
    if let (Some(Some(device)), []) = (&dev, hops.as_slice()) {
        resolved.push(NextHop { via: None, device: Arc::clone(device), on_link: false, weight: 1 });
    }
    for WrittenHop { address, weight, position } in hops {
        let device = match (surroundings.owner(vrf, *address), &dev) {
            (Some(_), _) => None,
            (None, Some(Some(device))) => {
                let elsewhere = surroundings.is_elsewhere(*address, vrf, device);
                (!elsewhere).then(|| Arc::clone(device))
            }
            // Told already.
            (None, Some(None)) => continue,
            (None, None) => surroundings.device_to(*address, vrf),
        };
        match device {
            Some(device) => resolved.push(NextHop {
                via: Some(*address),
                device,
                on_link: dev.is_some(),
                weight: *weight,
            }),
            // Without all addresses known, a next hop that seems out of reach may be within.
            None if incomplete => {}
            None => wrong.push(Part::Via(*position)),
        }
    }
    (RouteTarget::NextHops(resolved.into()), wrong)
}

/// What is to be said of a part that is wrong.
fn explain(part: Part, ways: &Ways, surroundings: &Surroundings<'_>) -> String {
    let vrf = ways.vrf.as_deref();
    match part {
        Part::Vrf => surroundings.explain_vrf(vrf.unwrap_or_default()),
        Part::Dev => surroundings.explain_device_in(ways.dev.as_deref().unwrap_or_default(), vrf),
        Part::Via(position) => {
            let dev = ways.dev.as_deref();
            let address = ways.next_hop(position);
            address.map(|address| surroundings.explain_next_hop(address, vrf, dev)).unwrap_or_default()
        }
    }
}

/// What tells routes apart, in numbers that are quick to sort: the address; family, prefix length, VRF and
/// metric; and the route's position, so that equal ones stay in order.
type Key = (u128, u64, u32);

/// Refuses a second route of one VRF, prefix and metric. Sorting costs the same whatever the document says,
/// and little where it is sorted already.
fn report_duplicates(
    reader: &mut Reader<'_>,
    routes: &[WrittenRoute],
    vrf_number: impl Fn(&WrittenRoute) -> u32,
) {
    let key = |(position, route): (u32, &WrittenRoute)| -> Key {
        let (address, family) = match route.prefix.addr() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 0),
            IpAddr::V6(address) => (address.to_bits(), 1),
        };
        let length = u64::from(route.prefix.prefix_len());
        // There are fewer VRFs than routes, so 23 bits suffice.
        let rest = family << 63 | length << 55 | u64::from(vrf_number(route)) << 32 | u64::from(route.metric);
        (address, rest, position)
    };
    let known = (0_u32..).zip(routes).filter(|(_, route)| route.metric_known);
    let mut keys: Vec<Key> = Vec::with_capacity(routes.len());
    keys.extend(known.map(key));
    keys.sort_unstable();
    let mut twice: Vec<(u32, Place)> = keys
        .windows(2)
        .filter_map(|pair| match pair {
            [first, second] if (first.0, first.1) == (second.0, second.1) => {
                Some((second.2, routes.get(first.2 as usize)?.place))
            }
            _ => None,
        })
        .collect();
    twice.sort_unstable();
    for (position, first) in twice {
        let route = &routes[position as usize];
        let (prefix, metric, line) = (route.prefix, route.metric, first.line);
        let message = format!(
            "the route to {prefix} with metric {metric} is already in line {line}: give all next hops in one route, or another metric"
        );
        reader.wrong(route.place, &route.path(), message);
    }
}
