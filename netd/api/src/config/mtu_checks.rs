//! What an MTU that follows from others is too small for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interfaces::Interface;
use super::model::{Config, Place, Route, RouteTarget};
use super::mtu::{IPV4_MTU_BYTES, IPV6_MTU_BYTES, Mtu, Mtus};
use super::reader::Reader;
use super::routes::{Part, Written};

/// Refuses IPv6 where the kernel has none for lack of MTU, and tunnels through which nothing fits.
pub(super) fn check(
    reader: &mut Reader<'_>,
    config: &Config,
    interfaces: &[Interface<'_>],
    routes: &[Route],
    written: &Written<'_>,
) {
    let mtus = Mtus::new(config, routes, |_| true);
    check_tunnels(reader, config, &mtus);
    let leading_on = interfaces.iter().filter(|interface| interface.leads_on);
    let mtu =
        |interface: &Interface<'_>| Some((Arc::clone(&interface.name), mtus.interface(&interface.name)?));
    let mut narrow: BTreeMap<Arc<str>, Mtu<'_>> = leading_on.filter_map(mtu).collect();
    narrow.retain(|_, mtu| mtu.bytes < IPV6_MTU_BYTES);
    if narrow.is_empty() {
        return;
    }
    check_addresses(reader, config, interfaces, &narrow);
    for entry in config.neighbours.iter().filter(|entry| entry.address.is_ipv6()) {
        if let Some(mtu) = narrow.get(&*entry.device) {
            let message = explain(reader, &entry.device, mtu);
            let paths = reader.paths_of("neighbours");
            let path = format!("{}.address", paths.get(&entry.place).map_or("neighbours", String::as_str));
            let place = super::locate_in(&reader.places, &path).unwrap_or(entry.place);
            reader.wrong(place, &path, message);
        }
    }
    check_routes(reader, routes, written, &narrow);
}

/// Refuses IPv6 addresses. Where the port itself says the MTU, that was told at `mtu` already.
fn check_addresses(
    reader: &mut Reader<'_>,
    config: &Config,
    interfaces: &[Interface<'_>],
    narrow: &BTreeMap<Arc<str>, Mtu<'_>>,
) {
    let says_so_itself = |name: &str| {
        let subinterface = config.subinterfaces.get(name);
        config.ethernet(name).is_some() || subinterface.is_some_and(|sub| sub.mtu_bytes.is_some())
    };
    for interface in interfaces.iter().filter(|interface| !says_so_itself(&interface.name)) {
        let Some(mtu) = narrow.get(&interface.name) else { continue };
        let addresses = interface.layer3.addresses.iter().enumerate();
        for (index, _) in addresses.filter(|(_, net)| net.addr().is_ipv6()) {
            let path = format!("{}.addresses[{index}]", interface.path);
            let place = super::locate_in(&reader.places, &path).unwrap_or_default();
            let message = explain(reader, &interface.name, mtu);
            reader.wrong(place, &path, message);
        }
    }
}

/// Refuses IPv6 routes out of such interfaces. There may be a million routes, and hardly ever such an interface.
fn check_routes(
    reader: &mut Reader<'_>,
    routes: &[Route],
    written: &Written<'_>,
    narrow: &BTreeMap<Arc<str>, Mtu<'_>>,
) {
    for (route, as_written) in
        routes.iter().zip(&written.routes).filter(|(route, _)| route.prefix.addr().is_ipv6())
    {
        let RouteTarget::NextHops(hops) = &route.target else { continue };
        let found = (0_u16..).zip(hops.iter()).find_map(|(position, hop)| {
            let part = if hop.via.is_some() { Part::Via(position) } else { Part::Dev };
            Some((part, &hop.device, narrow.get(&hop.device)?))
        });
        if let Some((part, device, mtu)) = found {
            if reader.is_full() {
                return;
            }
            let (place, path) = written.locate(as_written, part, reader);
            let message = explain(reader, device, mtu);
            reader.wrong(place, &path, message);
        }
    }
}

fn check_tunnels(reader: &mut Reader<'_>, config: &Config, mtus: &Mtus<'_>) {
    for (name, vxlan) in &config.vxlans {
        let mtu = mtus.tunnel(name);
        if mtu.bytes < IPV4_MTU_BYTES {
            let path = format!("vxlans.{name}.remotes");
            let place = super::locate_in(&reader.places, &path).unwrap_or(vxlan.place);
            let because = because(reader, &mtu);
            let message = format!(
                "the tunnel would have an MTU of {}{because}: the least is {IPV4_MTU_BYTES}",
                mtu.bytes
            );
            reader.wrong(place, &path, message);
        }
    }
}

fn explain(reader: &Reader<'_>, name: &str, mtu: &Mtu<'_>) -> String {
    let because = because(reader, mtu);
    format!("IPv6 needs an MTU of {IPV6_MTU_BYTES} bytes or more: {name} has {}{because}", mtu.bytes)
}

/// Names the port or LAG that is to blame.
fn because(reader: &Reader<'_>, mtu: &Mtu<'_>) -> String {
    let Some(port) = mtu.of else { return String::new() };
    let place = ["ports", "lags"].iter().find_map(|section| {
        let path = format!("{section}.{port}");
        reader.places.contains_key(&path).then(|| super::locate_in(&reader.places, &format!("{path}.mtu")))?
    });
    let line = place.map(|Place { line, .. }| format!(" (line {line})")).unwrap_or_default();
    format!(", because of {port}{line}")
}
