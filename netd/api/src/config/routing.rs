//! `[vlans]`, `[vrfs]`, `[loopbacks]`, `[[routes]]` and `[[fdb]]`, each read by itself. What they have to
//! do with one another is for [`super::checks`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::document::shortened;
use super::layer3;
use super::model::{Layer3, Loopback, MacAddress, Place, StaticFdbEntry, Vlan, Vrf};
use super::names;
use super::reader::{Node, Reader, Section};
use super::vlan_ids;

/// Most VRFs.
const MAX_VRFS: usize = 1024;
/// Most loopbacks.
const MAX_LOOPBACKS: usize = 256;
/// Most routes.
pub(super) const MAX_ROUTES: usize = 100_000;
/// Most static forwarding entries.
const MAX_FDB: usize = 32_768;
/// Most next hops of a route.
const MAX_NEXT_HOPS: usize = 256;

/// Reads `[vlans]`.
pub(super) fn read_vlans<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<u16, Vlan> {
    let Some(node) = reader.take(root, "vlans") else {
        return BTreeMap::new();
    };
    let mut vlans = BTreeMap::new();
    let mut names: BTreeMap<&str, u16> = BTreeMap::new();
    for (key, node) in reader.members(&node, 4094) {
        let id = vlan_ids::parse(key).map_err(|message| reader.wrong_value(&node, message)).ok();
        let Some(section) = reader.section(&node, "vlans.*") else {
            continue;
        };
        let name_node = reader.take(&section, "name");
        let name = name_node.as_ref().and_then(|node| reader.text(node, 64));
        let layer3 = layer3::read(reader, &section);
        reader.finish(&section);
        let Some(id) = id else {
            continue;
        };
        if let (Some(node), Some(name)) = (name_node, name.filter(|name| !name.is_empty()))
            && let Some(other) = names.insert(name, id)
        {
            reader.wrong_value(&node, format!("VLAN {other} has the name `{}` already", shortened(name)));
        }
        vlans.insert(id, Vlan { place: node.place, name: name.unwrap_or_default().to_owned(), layer3 });
    }
    vlans
}

/// Reads `[vrfs]`. A VRF with a mistake is kept with table 0, so that who names it is not blamed too.
pub(super) fn read_vrfs<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Vrf> {
    let Some(node) = reader.take(root, "vrfs") else {
        return BTreeMap::new();
    };
    let mut vrfs: BTreeMap<String, Vrf> = BTreeMap::new();
    let mut tables: BTreeMap<u32, &str> = BTreeMap::new();
    for (name, node) in reader.members(&node, MAX_VRFS) {
        if let Err(message) = names::check_interface_name(name) {
            reader.wrong_value(&node, message);
        }
        let table = read_table(reader, &node);
        if let Some((place, table)) = table
            && let Some(other) = tables.insert(table, name)
        {
            reader.wrong(
                place,
                &format!("{}.table", node.path),
                format!("VRF `{other}` has table {table} already"),
            );
        }
        vrfs.insert(name.to_owned(), Vrf { place: node.place, table: table.map_or(0, |(_, table)| table) });
    }
    vrfs
}

fn read_table<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<(Place, u32)> {
    let section = reader.section(node, "vrfs.*")?;
    let table = reader.take(&section, "table");
    let all_known = reader.finish(&section);
    let Some(table) = table else {
        reader.missing(
            node,
            all_known,
            "`table` is missing: give the VRF a routing table of its own, such as 1001",
        );
        return None;
    };
    let number = reader.integer(&table, 1..=i64::from(u32::MAX - 1))?;
    if (253..=255).contains(&number) {
        reader.wrong_value(
            &table,
            format!("table {number} is one of the kernel's own (253 to 255); use another"),
        );
        return None;
    }
    u32::try_from(number).ok().map(|number| (table.place, number))
}

/// Reads `[loopbacks]`.
pub(super) fn read_loopbacks<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Loopback> {
    let Some(node) = reader.take(root, "loopbacks") else {
        return BTreeMap::new();
    };
    let mut loopbacks = BTreeMap::new();
    for (name, node) in reader.members(&node, MAX_LOOPBACKS) {
        if let Err(message) = names::check_interface_name(name) {
            reader.wrong_value(&node, message);
        }
        if let Some(section) = reader.section(&node, "loopbacks.*") {
            let layer3: Layer3 = layer3::read(reader, &section);
            reader.finish(&section);
            loopbacks.insert(name.to_owned(), Loopback { place: node.place, layer3 });
        }
    }
    loopbacks
}

/// A route as written, before its next hops are matched with interfaces.
pub(super) struct WrittenRoute<'d> {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) prefix: IpNet,
    pub(super) vrf: Option<String>,
    pub(super) metric: u32,
    pub(super) blackhole: bool,
    pub(super) via: Vec<(Node<'d>, IpAddr)>,
    pub(super) dev: Option<(Node<'d>, &'d str)>,
    pub(super) weights: Vec<u16>,
}

/// Reads `[[routes]]`.
pub(super) fn read_routes<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Vec<WrittenRoute<'d>> {
    let Some(node) = reader.take(root, "routes") else {
        return Vec::new();
    };
    let nodes = reader.array(&node, MAX_ROUTES);
    nodes.iter().filter_map(|node| read_route(reader, node)).collect()
}

fn read_route<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<WrittenRoute<'d>> {
    let section = reader.section(node, "routes[]")?;
    let prefix_node = reader.take(&section, "prefix");
    let prefix = prefix_node.as_ref().and_then(|node| reader.parsed(node, 64, parse_destination));
    let via_node = reader.take(&section, "via");
    let via = via_node.as_ref().map(|node| read_via(reader, node, prefix)).unwrap_or_default();
    let dev = reader.take(&section, "dev").and_then(|node| reader.text(&node, 64).map(|name| (node, name)));
    let vrf = layer3::read_vrf(reader, &section);
    let metric = reader.take(&section, "metric").and_then(|node| read_metric(reader, &node, prefix));
    let blackhole_node = reader.take(&section, "blackhole");
    let blackhole = blackhole_node.as_ref().and_then(|node| reader.boolean(node)).unwrap_or(false);
    let weights_node = reader.take(&section, "weights");
    let weights =
        weights_node.as_ref().map(|weights| read_weights(reader, weights, via_node.as_ref(), via.len()));
    let all_known = reader.finish(&section);
    if prefix_node.is_none() {
        reader.missing(node, all_known, "`prefix` is missing: the destination, such as \"0.0.0.0/0\"");
    }
    match (blackhole, via_node.is_some() || dev.is_some()) {
        (true, true) => {
            reader.wrong_value(node, "a blackhole route goes nowhere: remove `blackhole`, or `via` and `dev`")
        }
        (false, false) => {
            reader.missing(node, all_known, "the route goes nowhere: give `via`, `dev` or `blackhole = true`")
        }
        _ => {}
    }
    let prefix = prefix?;
    let metric = metric.unwrap_or(if prefix.addr().is_ipv6() { 1024 } else { 0 });
    let weights = weights.unwrap_or_default();
    Some(WrittenRoute {
        place: node.place,
        path: section.path,
        prefix,
        vrf,
        metric,
        blackhole,
        via,
        dev,
        weights,
    })
}

/// A destination: a prefix without host bits.
fn parse_destination(text: &str) -> Result<IpNet, String> {
    let net = layer3::parse_prefixed(text)?;
    if net.trunc() != net {
        return Err(format!(
            "{net} has bits beyond its prefix length: write {} (or {} for the host)",
            net.trunc(),
            host(net)
        ));
    }
    if net.addr().is_multicast() || net.addr().is_loopback() {
        return Err(format!("{net} cannot be routed: it is multicast or loopback"));
    }
    Ok(net)
}

fn host(net: IpNet) -> IpNet {
    IpNet::from(net.addr())
}

fn read_via<'d>(reader: &mut Reader<'d>, node: &Node<'d>, prefix: Option<IpNet>) -> Vec<(Node<'d>, IpAddr)> {
    if node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(
            node,
            "no next hop: list at least one, or write `blackhole = true` instead of `via`",
        );
    }
    let mut hops: Vec<(Node<'d>, IpAddr)> = Vec::new();
    for item in reader.one_or_many(node, MAX_NEXT_HOPS) {
        let Some(address) = reader.parsed(&item, 64, layer3::parse_host_address) else {
            continue;
        };
        if prefix.is_some_and(|prefix| prefix.addr().is_ipv4() != address.is_ipv4()) {
            reader.wrong_value(&item, format!("next hop {address} is not of the same family as the prefix"));
        } else if hops.iter().any(|(_, known)| *known == address) {
            reader.wrong_value(
                &item,
                format!("next hop {address} is listed twice; use `weights` for unequal shares"),
            );
        } else {
            hops.push((item, address));
        }
    }
    hops
}

fn read_metric<'d>(reader: &mut Reader<'d>, node: &Node<'d>, prefix: Option<IpNet>) -> Option<u32> {
    let least = i64::from(prefix.is_some_and(|prefix| prefix.addr().is_ipv6()));
    reader.integer(node, least..=i64::from(u32::MAX)).and_then(|metric| u32::try_from(metric).ok())
}

fn read_weights<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    via: Option<&Node<'d>>,
    hops: usize,
) -> Vec<u16> {
    let items = reader.array(node, MAX_NEXT_HOPS);
    let read = |item: &Node<'d>| reader.integer(item, 1..=256).and_then(|weight| u16::try_from(weight).ok());
    let weights: Vec<u16> = items.iter().filter_map(read).collect();
    let written = via.map_or(0, |via| via.value.as_array().map_or(1, |array| array.len()));
    if items.len() != written {
        reader.wrong_value(node, format!("{} weights for {written} next hops: give one each", items.len()));
    }
    if weights.len() == hops { weights } else { Vec::new() }
}

/// Reads `[[fdb]]`.
pub(super) fn read_fdb<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Vec<StaticFdbEntry> {
    let Some(node) = reader.take(root, "fdb") else {
        return Vec::new();
    };
    let nodes = reader.array(&node, MAX_FDB);
    nodes.iter().filter_map(|node| read_fdb_entry(reader, node)).collect()
}

fn read_fdb_entry<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<StaticFdbEntry> {
    let section = reader.section(node, "fdb[]")?;
    let mac = reader.take(&section, "mac");
    let vlan = reader.take(&section, "vlan");
    let port = reader.take(&section, "port");
    let all_known = reader.finish(&section);
    for (key, value) in [("mac", &mac), ("vlan", &vlan), ("port", &port)] {
        if value.is_none() {
            reader.missing(
                node,
                all_known,
                &format!("`{key}` is missing: an entry has `mac`, `vlan` and `port`"),
            );
        }
    }
    let mac = mac.and_then(|node| reader.parsed(&node, 64, parse_mac));
    let vlan_id = vlan.and_then(|node| vlan_ids::read(reader, &node));
    let port = port.and_then(|node| reader.text(&node, 64));
    Some(StaticFdbEntry { place: node.place, mac: mac?, vlan_id: vlan_id?, port: port?.to_owned() })
}

fn parse_mac(text: &str) -> Result<MacAddress, String> {
    let wrong = || format!("`{}` is no hardware address such as 02:00:00:00:00:01", shortened(text));
    let octet = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(part, 16).ok().filter(|_| plain)
    };
    let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
    let octets: [u8; 6] = octets.ok_or_else(wrong)?.try_into().map_err(|_| wrong())?;
    if octets == [0; 6] || octets[0] & 1 != 0 {
        return Err(format!("{text} is no address of one host (all zero, or multicast)"));
    }
    Ok(MacAddress(octets))
}
