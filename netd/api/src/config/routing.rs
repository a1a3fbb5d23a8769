//! `[vlans]`, `[vrfs]`, `[loopbacks]`, `[routing]` and `[[neighbours]]`, each read by itself. What they have
//! to do with one another is for [`super::checks`].

use std::collections::BTreeMap;

use super::bridging::missing_keys;
use super::document::shortened;
use super::layer3;
use super::model::{
    EcmpFields, EcmpHash, Layer3, Loopback, Place, ReversePath, Routing, StaticNeighbour, Vlan, Vrf,
};
use super::names;
use super::pcp;
use super::reader::{Node, Reader, Section, join};
use super::vlan_ids;

/// Most VRFs.
const MAX_VRFS: usize = 1024;
/// Most loopbacks.
const MAX_LOOPBACKS: usize = 256;
/// Most static ARP and ND entries.
const MAX_NEIGHBOURS: usize = 32_768;

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
        let name = name_node.as_ref().and_then(|node| reader.alias(node, 64));
        let layer3 = layer3::read(reader, &section);
        let pcp = pcp::read(reader, &section).unwrap_or_default();
        let querier = reader.flag(&section, "querier");
        reader.finish(&section);
        check_interface_keys(reader, &section, &layer3);
        let Some(id) = id else {
            continue;
        };
        if let (Some(node), Some(name)) = (name_node, name.filter(|name| !name.is_empty()))
            && let Some(other) = names.insert(name, id)
        {
            reader.wrong_value(&node, format!("VLAN {other} has the name `{}` already", shortened(name)));
        }
        let name = name.unwrap_or_default().to_owned();
        vlans.insert(id, Vlan { place: node.place, name, layer3, pcp, querier });
    }
    vlans
}

/// A VLAN without an interface routes nothing and marks nothing in any case.
fn check_interface_keys<'d>(reader: &mut Reader<'d>, section: &Section<'d>, layer3: &Layer3) {
    let has_interface = !layer3.addresses.is_empty() || layer3.vrf.is_some();
    if has_interface || reader.partial || reader.addresses_incomplete {
        return;
    }
    for (key, lacks) in [("forwarding", "to route from"), ("pcp", "whose priorities these could be")] {
        let path = join(&section.path, key);
        if let Some(place) = reader.places.get(&path).copied() {
            let message =
                format!("the VLAN has no interface {lacks}: add `addresses` or `vrf`, or remove it");
            reader.wrong(place, &path, message);
        }
    }
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
            let layer3 = layer3::read_place(reader, &section);
            reader.finish(&section);
            loopbacks.insert(name.to_owned(), Loopback { place: node.place, layer3 });
        }
    }
    loopbacks
}

/// Reads `[routing]`.
pub(super) fn read_routing<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Routing {
    let section = reader.take(root, "routing").and_then(|node| reader.section(&node, "routing"));
    let Some(section) = section else {
        return Routing::default();
    };
    let ipv4 = reader.flag(&section, "ipv4").unwrap_or(true);
    let ipv6 = reader.flag(&section, "ipv6").unwrap_or(true);
    let ecmp_hash = reader.take(&section, "ecmp-hash").and_then(|node| read_ecmp_hash(reader, &node));
    let reverse_path = reader.take(&section, "reverse-path");
    let reverse_path = reverse_path.and_then(|node| reader.choice(&node, &ReversePath::NAMES));
    let most_neighbours = reader.bound(&section, "most-neighbours", 1024..=1_048_576);
    reader.finish(&section);
    Routing {
        place: section.place,
        ipv4,
        ipv6,
        ecmp_hash: ecmp_hash.unwrap_or_default(),
        reverse_path: reverse_path.unwrap_or_default(),
        most_neighbours: most_neighbours.unwrap_or(Routing::default().most_neighbours),
    }
}

/// A name, or an array of fields.
fn read_ecmp_hash<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<EcmpHash> {
    if !node.value.is_array() {
        return reader.choice(node, &EcmpHash::NAMES);
    }
    let items = reader.array(node, EcmpFields::NAMES.len());
    let fields = items.iter().filter_map(|item| reader.choice(item, &EcmpFields::NAMES));
    let fields = fields.fold(0, |all, field| all | field.0);
    if items.is_empty() && node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(node, "no field: every packet would go the same way");
    }
    Some(EcmpHash::Fields(EcmpFields(fields)))
}

/// Reads `[[neighbours]]`.
pub(super) fn read_neighbours<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Vec<StaticNeighbour> {
    let Some(node) = reader.take(root, "neighbours") else {
        return Vec::new();
    };
    let nodes = reader.array(&node, MAX_NEIGHBOURS);
    nodes.iter().filter_map(|node| read_neighbour(reader, node)).collect()
}

fn read_neighbour<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<StaticNeighbour> {
    let section = reader.section(node, "neighbours[]")?;
    let address = reader.take(&section, "address");
    let mac = reader.take(&section, "mac");
    let dev = reader.take(&section, "dev");
    let all_known = reader.finish(&section);
    let keys = [("address", address.is_some()), ("mac", mac.is_some()), ("dev", dev.is_some())];
    missing_keys(reader, node, all_known, "an entry has `address`, `mac` and `dev`", &keys);
    let address = address.and_then(|node| reader.parsed(&node, 64, layer3::parse_host_address));
    let mac = mac.and_then(|node| reader.parsed(&node, 64, layer3::parse_mac));
    let dev = dev.and_then(|node| reader.text(&node, 64));
    Some(StaticNeighbour { place: node.place, address: address?, mac: mac?, device: dev?.to_owned() })
}
