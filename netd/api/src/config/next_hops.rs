//! Routes against everything else: next hops find their interfaces, and no route is given twice.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::document::shortened;
use super::interfaces::{Interface, Subnet};
use super::layer3::is_link_local;
use super::model::{Config, NextHop, Place, Route, RouteTarget};
use super::reach::Reach;
use super::reader::{Reader, list, nearest};
use super::routes::{Part, Ways, WaysKind, Written, WrittenRoute};

/// What next hops and devices are looked up in.
pub(super) struct Surroundings<'c> {
    config: &'c Config,
    by_name: BTreeMap<&'c str, &'c Interface<'c>>,
    reach: Reach<'c>,
    /// The switch's own addresses by VRF, with their interfaces.
    own: HashMap<(Option<&'c str>, IpAddr), &'c Arc<str>>,
}

impl<'c> Surroundings<'c> {
    pub(super) fn new(
        config: &'c Config,
        interfaces: &'c [Interface<'c>],
        subnets: &'c [Subnet<'c>],
    ) -> Self {
        let leading = subnets.iter().filter(|subnet| subnet.leads_on);
        Surroundings {
            config,
            by_name: interfaces.iter().map(|interface| (&*interface.name, interface)).collect(),
            reach: Reach::new(leading.map(|subnet| (subnet.vrf, subnet.net, Arc::clone(&subnet.device)))),
            own: subnets.iter().map(|subnet| ((subnet.vrf, subnet.net.addr()), &subnet.device)).collect(),
        }
    }

    /// The interface of the switch that has an address.
    pub(super) fn owner(&self, vrf: Option<&str>, address: IpAddr) -> Option<Arc<str>> {
        self.own.get(&(vrf, address)).map(|owner| Arc::clone(owner))
    }

    /// The interface of a name, if other hosts are reached through it.
    pub(super) fn device(&self, name: &str) -> Result<&Interface<'c>, String> {
        if let Some(interface) = self.by_name.get(name).filter(|interface| interface.leads_on) {
            return Ok(interface);
        }
        let names =
            || self.by_name.values().filter(|interface| interface.leads_on).map(|interface| &*interface.name);
        let help = match (nearest(name, names()), names().next()) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, Some(_)) => format!("interfaces with addresses or a VRF: {}", list(names().take(12))),
            (None, None) => "no interface has addresses or a VRF".to_owned(),
        };
        let shown = shortened(name);
        Err(format!("`{shown}` is no routed port, LAG, subinterface or VLAN interface; {help}"))
    }

    fn device_in(&self, name: &str, vrf: Option<&str>) -> Result<Arc<str>, String> {
        let interface = self.device(name)?;
        let own = interface.layer3.vrf.as_deref();
        if own != vrf {
            return Err(format!("{} is in {}, the route in {}", shortened(name), show(own), show(vrf)));
        }
        Ok(Arc::clone(&interface.name))
    }

    /// The interface whose subnet holds the address.
    fn device_to(&self, address: IpAddr, vrf: Option<&str>) -> Result<Arc<str>, String> {
        if address.is_ipv6() && is_link_local(address) {
            return Err(format!("next hop {address} is link-local: say on which interface, with `dev`"));
        }
        let found = self.reach.device(vrf, address);
        found.ok_or_else(|| {
            let vrf = show(vrf);
            format!("next hop {address} is in no subnet of an interface of {vrf}: add the address, or say which interface leads there with `dev`")
        })
    }
}

fn show(vrf: Option<&str>) -> String {
    vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"))
}

/// [`Ways`] with their interfaces.
struct Resolved {
    vrf: Option<Arc<str>>,
    /// Number of the VRF among those that routes name.
    vrf_number: u32,
    target: RouteTarget,
    /// What is wrong with every route that has these ways.
    problems: Vec<(Part, String)>,
}

/// Routes with their next hops.
pub(super) fn resolve(
    reader: &mut Reader<'_>,
    written: &Written<'_>,
    surroundings: &Surroundings<'_>,
) -> Vec<Route> {
    let incomplete = reader.addresses_incomplete;
    let mut vrfs: BTreeMap<Option<String>, (u32, Option<Arc<str>>)> = BTreeMap::new();
    let resolved: Vec<Resolved> = written
        .ways
        .iter()
        .map(|ways| {
            let next = u32::try_from(vrfs.len()).unwrap_or(u32::MAX);
            let (vrf_number, vrf) = vrfs
                .entry(ways.vrf.clone())
                .or_insert_with(|| (next, ways.vrf.as_deref().map(Arc::from)))
                .clone();
            let (target, problems) = resolve_ways(ways, surroundings, incomplete);
            Resolved { vrf, vrf_number, target, problems }
        })
        .collect();
    let resolved_of = |route: &WrittenRoute| &resolved[route.ways as usize];
    report_duplicates(reader, &written.routes, |route| resolved_of(route).vrf_number);
    for route in written.routes.iter().filter(|route| !resolved_of(route).problems.is_empty()) {
        if reader.is_full() {
            break;
        }
        for (part, message) in &resolved_of(route).problems {
            let (place, path) = written.locate(route, *part, reader);
            reader.wrong(place, &path, message.as_str());
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

fn resolve_ways(
    ways: &Ways,
    surroundings: &Surroundings<'_>,
    incomplete: bool,
) -> (RouteTarget, Vec<(Part, String)>) {
    let vrf = ways.vrf.as_deref();
    let mut problems = Vec::new();
    if let Some(message) = vrf.and_then(|vrf| undefined_vrf(surroundings.config, vrf)) {
        problems.push((Part::Vrf, message));
    }
    let known_vrf = problems.is_empty();
    let hops = match &ways.kind {
        WaysKind::Blackhole => return (RouteTarget::Blackhole, problems),
        WaysKind::Unreachable => return (RouteTarget::Unreachable, problems),
        WaysKind::NextHops(hops) => hops,
    };
    // Where the VRF is wrong already, nothing in it can be found.
    if !known_vrf {
        return (RouteTarget::NextHops(Arc::new([])), problems);
    }
    let dev = ways.dev.as_deref().map(|name| surroundings.device_in(name, vrf));
    if let Some(Err(message)) = &dev {
        problems.push((Part::Dev, message.clone()));
    }
    let mut resolved = Vec::with_capacity(hops.len().max(1));
    if let (Some(Ok(device)), []) = (&dev, hops.as_slice()) {
        resolved.push(NextHop { via: None, device: Arc::clone(device), on_link: false, weight: 1 });
    }
    for hop in hops {
        let address = hop.address;
        let device = match (surroundings.owner(vrf, address), &dev) {
            (Some(owner), _) => Err(format!("next hop {address} is the switch's own address, on {owner}")),
            (None, Some(Ok(device))) => Ok(Arc::clone(device)),
            // Told already.
            (None, Some(Err(_))) => continue,
            (None, None) => surroundings.device_to(address, vrf),
        };
        match device {
            Ok(device) => {
                let (via, on_link) = (Some(address), dev.is_some());
                resolved.push(NextHop { via, device, on_link, weight: hop.weight });
            }
            // Without all addresses known, a next hop that seems out of reach may be within.
            Err(_) if incomplete => {}
            Err(message) => problems.push((Part::Via(hop.position), message)),
        }
    }
    (RouteTarget::NextHops(resolved.into()), problems)
}

/// What is to be said of a VRF that is not defined.
pub(super) fn undefined_vrf(config: &Config, name: &str) -> Option<String> {
    if config.vrfs.contains_key(name) {
        return None;
    }
    let shown = shortened(name);
    let near = nearest(name, config.vrfs.keys().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Some(format!("VRF `{shown}` is not defined: add [vrfs.{shown}] with its table{near}"))
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
    let mut keys: Vec<Key> = (0_u32..).zip(routes).map(key).collect();
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
