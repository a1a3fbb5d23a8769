//! What the objects of a document have to do with one another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::document::shortened;
use super::layer3::is_link_local;
use super::model::{
    Config, Layer3, ManagementAddress, NextHop, Place, PortRole, Route, RouteTarget, vlan_interface,
};
use super::reader::{Reader, list, nearest};
use super::routing::WrittenRoute;

/// An interface with addresses, by what concerns routing.
struct Interface<'c> {
    name: String,
    path: String,
    layer3: &'c Layer3,
}

/// A subnet on an interface.
struct Subnet<'c> {
    net: IpNet,
    vrf: Option<&'c str>,
    device: &'c str,
    place: Place,
    path: String,
}

/// Checks the objects against one another, and gives the routes with their next hops resolved.
pub(super) fn check(reader: &mut Reader<'_>, config: &Config, routes: &[WrittenRoute<'_>]) -> Vec<Route> {
    check_vrf_references(reader, config);
    check_names(reader, config);
    check_fdb(reader, config);
    let management = management_layer3(config);
    let interfaces = interfaces(config);
    let mut subnets = subnets(reader, &interfaces);
    if let Some(layer3) = &management {
        let place = config.management.place;
        let subnet = |net: &IpNet| {
            let path = "management.address".to_owned();
            let place = reader.places.get(&path).copied().unwrap_or(place);
            Subnet { net: *net, vrf: layer3.vrf.as_deref(), device: "mgmt0", place, path }
        };
        subnets.extend(layer3.addresses.iter().map(subnet));
    }
    check_overlaps(reader, &mut subnets);
    resolve_routes(reader, routes, &interfaces, &subnets)
}

fn check_vrf_references(reader: &mut Reader<'_>, config: &Config) {
    for reference in std::mem::take(&mut reader.vrf_references) {
        if config.vrfs.contains_key(&reference.name) {
            continue;
        }
        let shown = shortened(&reference.name);
        let near = nearest(&reference.name, config.vrfs.keys().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("VRF `{shown}` is not defined: add [vrfs.{shown}] with its table{near}");
        reader.wrong(reference.place, &reference.path, message);
    }
}

/// VRFs and loopbacks are interfaces of one name space.
fn check_names(reader: &mut Reader<'_>, config: &Config) {
    for (name, loopback) in &config.loopbacks {
        let vrf = config.vrfs.get(name).map(|vrf| format!("the VRF of line {}", vrf.place.line));
        let management = config.management.vrf.as_ref().filter(|vrf| vrf.name == *name);
        let other = vrf.or(management.map(|_| "the management VRF".to_owned()));
        if let Some(other) = other {
            let message = format!("{other} has the name `{}` already; choose another", shortened(name));
            reader.wrong(loopback.place, &format!("loopbacks.{name}"), message);
        }
    }
}

fn check_fdb(reader: &mut Reader<'_>, config: &Config) {
    let mut known: HashMap<_, Place> = HashMap::new();
    for (index, entry) in config.fdb.iter().enumerate() {
        let path = format!("fdb[{index}]");
        let port = shortened(&entry.port);
        let vlan_id = entry.vlan_id;
        let problem = match config.ethernet(&entry.port).map(|ethernet| &ethernet.role) {
            None => Some(format!("port `{port}` is not configured: add [ports.{port}] with VLAN {vlan_id}")),
            Some(PortRole::Bridged(port)) if port.vlans.carries(vlan_id) => None,
            Some(PortRole::Bridged(_)) => Some(format!("port {port} does not carry VLAN {vlan_id}")),
            Some(_) => Some(format!(
                "port {port} is not in any VLAN: only ports with `vlan` have forwarding entries"
            )),
        };
        if let Some(problem) = problem {
            let place = reader.places.get(&format!("{path}.port")).copied().unwrap_or(entry.place);
            reader.wrong(place, &format!("{path}.port"), problem);
        }
        if let Some(first) = known.insert((entry.mac, vlan_id), entry.place) {
            let message = format!("{} in VLAN {vlan_id} is already given in line {}", entry.mac, first.line);
            reader.wrong(entry.place, &path, message);
        }
    }
}

fn management_layer3(config: &Config) -> Option<Layer3> {
    match &config.management.address {
        ManagementAddress::Dhcp => None,
        ManagementAddress::Static { addresses, .. } => {
            let vrf = config.management.vrf.as_ref().map(|vrf| vrf.name.clone());
            Some(Layer3 { addresses: addresses.clone(), vrf, ..Layer3::default() })
        }
    }
}

fn interfaces(config: &Config) -> Vec<Interface<'_>> {
    let ports = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Routed(layer3) => {
            let section = if config.lags.contains_key(name) { "lags" } else { "ports" };
            Some(Interface { name: name.to_owned(), path: format!("{section}.{name}"), layer3 })
        }
        _ => None,
    });
    let vlans = config.vlans.iter().filter(|(_, vlan)| vlan.has_interface()).map(|(id, vlan)| Interface {
        name: vlan_interface(*id),
        path: format!("vlans.{id}"),
        layer3: &vlan.layer3,
    });
    let loopbacks = config.loopbacks.iter().map(|(name, loopback)| Interface {
        name: name.clone(),
        path: format!("loopbacks.{name}"),
        layer3: &loopback.layer3,
    });
    ports.chain(vlans).chain(loopbacks).collect()
}

fn subnets<'c>(reader: &Reader<'_>, interfaces: &'c [Interface<'c>]) -> Vec<Subnet<'c>> {
    let mut subnets = Vec::new();
    for interface in interfaces {
        for (index, net) in interface.layer3.addresses.iter().enumerate() {
            let path = format!("{}.addresses[{index}]", interface.path);
            let vrf = interface.layer3.vrf.as_deref();
            let place = super::locate_in(&reader.places, &path).unwrap_or_default();
            subnets.push(Subnet { net: *net, vrf, device: &interface.name, place, path });
        }
    }
    subnets
}

/// Refuses subnets of one VRF that overlap on different interfaces. Sorted by address, a subnet follows
/// those it lies in, so the ones still open suffice to compare with.
fn check_overlaps(reader: &mut Reader<'_>, subnets: &mut [Subnet<'_>]) {
    subnets.sort_by_key(|subnet| (subnet.vrf, subnet.net.trunc(), subnet.place));
    let mut open: Vec<&Subnet<'_>> = Vec::new();
    let mut told = BTreeSet::new();
    for subnet in subnets.iter().filter(|subnet| !is_link_local(subnet.net.addr())) {
        open.retain(|other| other.vrf == subnet.vrf && other.net.contains(&subnet.net.trunc()));
        if let Some(other) = open.iter().find(|other| other.device != subnet.device) {
            // The one that comes later in the document is taken for the mistake.
            let in_order = (subnet.place, &subnet.path) < (other.place, &other.path);
            let (first, second) = if in_order { (subnet, *other) } else { (*other, subnet) };
            if told.insert((second.place, first.device)) {
                report_overlap(reader, first, second);
            }
        }
        // Of equal subnets one stands for all, or many equal ones would be compared each with each.
        if !open.iter().any(|other| other.net.trunc() == subnet.net.trunc() && other.device == subnet.device)
        {
            open.push(subnet);
        }
        open.truncate(256);
    }
}

fn report_overlap(reader: &mut Reader<'_>, first: &Subnet<'_>, second: &Subnet<'_>) {
    let vrf = second.vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"));
    let message = if first.place == second.place {
        format!("every port of the range would have {}: give each interface its own subnet", second.net)
    } else {
        format!(
            "{} overlaps {} of {} (line {}) in {vrf}: use another subnet, or another VRF",
            second.net, first.net, first.device, first.place.line
        )
    };
    reader.wrong(second.place, &second.path, message);
}

fn resolve_routes(
    reader: &mut Reader<'_>,
    routes: &[WrittenRoute<'_>],
    interfaces: &[Interface<'_>],
    subnets: &[Subnet<'_>],
) -> Vec<Route> {
    let by_name: BTreeMap<&str, &Interface<'_>> = interfaces.iter().map(|i| (i.name.as_str(), i)).collect();
    // mgmt0 belongs to another manager, and loopbacks lead nowhere.
    let leads_on = |subnet: &&Subnet<'_>| {
        by_name.get(subnet.device).is_some_and(|interface| !interface.path.starts_with("loopbacks."))
    };
    let connected: HashMap<(Option<&str>, IpNet), &str> =
        subnets.iter().filter(leads_on).map(|s| ((s.vrf, s.net.trunc()), s.device)).collect();
    let own: HashMap<(Option<&str>, IpAddr), &str> =
        subnets.iter().map(|s| ((s.vrf, s.net.addr()), s.device)).collect();
    let mut known: HashMap<(Option<&str>, IpNet, u32), Place> = HashMap::new();
    let mut resolved = Vec::with_capacity(routes.len());
    for route in routes {
        if let Some(first) = known.insert((route.vrf.as_deref(), route.prefix, route.metric), route.place) {
            let message = format!(
                "the route to {} with metric {} is already in line {}: give all next hops in one route, or another metric",
                route.prefix, route.metric, first.line
            );
            reader.wrong(route.place, &route.path, message);
        }
        let target = match route.blackhole {
            true => RouteTarget::Blackhole,
            false => RouteTarget::NextHops(next_hops(reader, route, &by_name, &connected, &own).into()),
        };
        let (place, prefix, metric) = (route.place, route.prefix, route.metric);
        let vrf = route.vrf.as_deref().map(Into::into);
        resolved.push(Route { place, prefix, installed: true, vrf, metric, target });
    }
    resolved
}

fn next_hops(
    reader: &mut Reader<'_>,
    route: &WrittenRoute<'_>,
    by_name: &BTreeMap<&str, &Interface<'_>>,
    connected: &HashMap<(Option<&str>, IpNet), &str>,
    own: &HashMap<(Option<&str>, IpAddr), &str>,
) -> Vec<NextHop> {
    let vrf = route.vrf.as_deref();
    if let Some((node, name)) = &route.dev {
        if let Err(message) = check_device(name, vrf, by_name) {
            reader.wrong(node.place, &node.path, message);
        } else if route.via.is_empty() {
            return vec![NextHop { via: None, device: (*name).into(), on_link: false, weight: 1 }];
        }
    }
    let mut hops = Vec::new();
    for (index, (node, address)) in route.via.iter().enumerate() {
        let weight = route.weights.get(index).copied().unwrap_or(1);
        let device = match route.dev {
            Some((_, name)) => Ok(name),
            None => device_to(*address, vrf, connected),
        };
        let device = match own.get(&(vrf, *address)) {
            Some(device) => Err(format!("next hop {address} is the switch's own address, on {device}")),
            None => device,
        };
        match device {
            Ok(device) => hops.push(NextHop {
                via: Some(*address),
                device: device.into(),
                on_link: route.dev.is_some(),
                weight,
            }),
            // Without all addresses known, a next hop that seems out of reach may be within.
            Err(_) if reader.addresses_incomplete => {}
            Err(message) => reader.wrong(node.place, &node.path, message),
        }
    }
    hops
}

/// The interface whose subnet holds the address; the longest prefix wins.
fn device_to<'c>(
    address: IpAddr,
    vrf: Option<&str>,
    connected: &HashMap<(Option<&str>, IpNet), &'c str>,
) -> Result<&'c str, String> {
    let place = vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"));
    if address.is_ipv6() && is_link_local(address) {
        return Err(format!("next hop {address} is link-local: say on which interface, with `dev`"));
    }
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let mut lengths = (1..=longest).rev().filter_map(|length| IpNet::new(address, length).ok());
    lengths.find_map(|net| connected.get(&(vrf, net.trunc())).copied()).ok_or_else(|| {
        format!("next hop {address} is in no subnet of an interface of {place}: add the address, or say which interface leads there with `dev`")
    })
}

fn check_device(
    name: &str,
    vrf: Option<&str>,
    by_name: &BTreeMap<&str, &Interface<'_>>,
) -> Result<(), String> {
    let shown = shortened(name);
    let Some(interface) = by_name.get(name).filter(|interface| !interface.path.starts_with("loopbacks."))
    else {
        let names: Vec<&str> = by_name.keys().copied().take(12).collect();
        let help = match names.is_empty() {
            true => "no interface has addresses or a VRF".to_owned(),
            false => format!("interfaces with addresses or a VRF: {}", list(names.into_iter())),
        };
        return Err(format!("`{shown}` is no routed port or VLAN interface; {help}"));
    };
    let show = |vrf: Option<&str>| vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"));
    let own = interface.layer3.vrf.as_deref();
    if own != vrf {
        return Err(format!("{shown} is in {}, the route in {}", show(own), show(vrf)));
    }
    Ok(())
}
