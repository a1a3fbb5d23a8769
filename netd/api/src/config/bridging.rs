//! `[bridge]`, `[[fdb]]` and `[[mdb]]`: the bridge, and what is fixed in its tables.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::document::shortened;
use super::ethernet::read_port_names;
use super::layer3;
use super::model::{Bridge, Config, Ethernet, Place, PortRole, StaticFdbEntry, StaticMdbEntry};
use super::names::{self, MAX_PORTS};
use super::reader::{Node, Reader, Section};
use super::vlan_ids;

/// Most static forwarding entries.
const MAX_FDB: usize = 32_768;
/// Most static group entries.
const MAX_MDB: usize = 16_384;
/// Most memberships of all entries together.
const MAX_MEMBERSHIPS: usize = 65_536;
/// Most ports of the bridge (`BR_MAX_PORTS` of Linux, whose number 0 is none).
pub const MAX_BRIDGE_PORTS: usize = 1023;
/// What is wrong with a querier without snooping.
const DEAF_QUERIER: &str = "a querier needs `igmp-snooping`: nobody would hear the answers";

/// Reads `[bridge]`.
pub(super) fn read_bridge<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Bridge {
    let defaults = Bridge::default();
    let section = reader.take(root, "bridge").and_then(|node| reader.section(&node, "bridge"));
    let Some(section) = section else {
        return defaults;
    };
    let ageing = reader.take(&section, "ageing-time").and_then(|node| read_ageing_time(reader, &node));
    let most_learned = reader.bound(&section, "most-learned", 1..=4_194_304);
    let most_groups = reader.bound(&section, "most-groups", 1..=16_384);
    let stp = reader.flag(&section, "stp");
    let priority = reader.take(&section, "priority").and_then(|node| read_priority(reader, &node));
    let igmp_snooping = reader.flag(&section, "igmp-snooping").unwrap_or(defaults.igmp_snooping);
    let querier_node = reader.take(&section, "querier");
    let querier = querier_node.as_ref().and_then(|node| reader.boolean(node)).unwrap_or(defaults.querier);
    reader.finish(&section);
    if let (true, false, Some(node)) = (querier, igmp_snooping, &querier_node) {
        reader.wrong_value(node, DEAF_QUERIER);
    }
    Bridge {
        place: section.place,
        ageing_time_s: ageing.unwrap_or(defaults.ageing_time_s),
        most_learned: most_learned.unwrap_or(defaults.most_learned),
        most_groups: most_groups.unwrap_or(defaults.most_groups),
        stp: stp.unwrap_or(defaults.stp),
        priority: priority.unwrap_or(defaults.priority),
        igmp_snooping,
        querier,
    }
}

fn read_ageing_time<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<u32> {
    let number = reader.any_integer(node)?;
    let seconds = u32::try_from(number).ok().filter(|seconds| matches!(seconds, 0 | 10..=1_000_000));
    if seconds.is_none() {
        reader.wrong_value(
            node,
            format!("{number} is out of range: 10 to 1000000 seconds, or 0 to learn no addresses"),
        );
    }
    seconds
}

fn read_priority<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<u16> {
    let number = reader.integer(node, 0..=61_440)?;
    if number % 4096 != 0 {
        let below = number / 4096 * 4096;
        reader.wrong_value(
            node,
            format!("{number} is no multiple of 4096, as IEEE 802.1D wants: use {below} or {}", below + 4096),
        );
        return None;
    }
    u16::try_from(number).ok()
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
    let keys = [("mac", mac.is_some()), ("vlan", vlan.is_some()), ("port", port.is_some())];
    missing_keys(reader, node, all_known, "an entry has `mac`, `vlan` and `port`", &keys);
    let mac = mac.and_then(|node| reader.parsed(&node, 64, layer3::parse_mac));
    let vlan_id = vlan.and_then(|node| vlan_ids::read(reader, &node));
    let port = port.and_then(|node| reader.text(&node, 64));
    Some(StaticFdbEntry { place: node.place, mac: mac?, vlan_id: vlan_id?, port: port?.to_owned() })
}

/// Notes each key that an entry needs and has not.
pub(super) fn missing_keys<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    all_known: bool,
    needs: &str,
    keys: &[(&str, bool)],
) {
    for (key, _) in keys.iter().filter(|(_, present)| !present) {
        reader.missing(node, all_known, &format!("`{key}` is missing: {needs}"));
    }
}

/// Checks that the ports of entries carry their VLANs, and that no entry is given twice.
pub(super) fn check_fdb(reader: &mut Reader<'_>, config: &Config) {
    let mut known: HashMap<_, Place> = HashMap::new();
    let paths = reader.paths_of("fdb");
    for entry in &config.fdb {
        let path = paths.get(&entry.place).map_or("fdb", String::as_str);
        let vlan_id = entry.vlan_id;
        let at_port = format!("{path}.port");
        check_carries(reader, config, &entry.port, vlan_id, (&at_port, entry.place), "forwarding entries");
        if let Some(first) = known.insert((entry.mac, vlan_id), entry.place) {
            let message = format!("{} in VLAN {vlan_id} is already given in line {}", entry.mac, first.line);
            reader.wrong(entry.place, path, message);
        }
    }
}

/// Checks that a port or LAG is in the bridge and carries a VLAN.
fn check_carries(
    reader: &mut Reader<'_>,
    config: &Config,
    port: &str,
    vlan_id: u16,
    (path, place): (&str, Place),
    what: &str,
) {
    let shown = shortened(port);
    let problem = match config.ethernet(port).map(|ethernet| &ethernet.role) {
        Some(PortRole::Bridged(port)) if port.vlans.carries(vlan_id) => return,
        None if names::is_port_name(port) => {
            format!("port `{shown}` is not configured: add [ports.{shown}] with VLAN {vlan_id}")
        }
        None => format!("no port or LAG `{shown}`"),
        Some(PortRole::Bridged(_)) => format!("port {shown} does not carry VLAN {vlan_id}"),
        Some(PortRole::Member(lag)) => {
            format!("port {shown} is a member of LAG `{lag}`: name the LAG instead")
        }
        Some(_) => format!("port {shown} is not in any VLAN: only ports with `vlan` have {what}"),
    };
    let place = super::locate_in(&reader.places, path).unwrap_or(place);
    reader.wrong(place, path, problem);
}

/// Checks that no VLAN has a querier without snooping.
pub(super) fn check_queriers(reader: &mut Reader<'_>, config: &Config) {
    if config.bridge.igmp_snooping {
        return;
    }
    for (id, _) in config.vlans.iter().filter(|(_, vlan)| vlan.querier == Some(true)) {
        let path = format!("vlans.{id}.querier");
        if let Some(place) = reader.places.get(&path).copied() {
            reader.wrong(place, &path, DEAF_QUERIER);
        }
    }
}

/// Ports of the bridge that a configuration has: ports, LAGs and tunnels, with their places and paths, in document
/// order.
pub(super) fn bridge_ports(config: &Config) -> Vec<(Place, String)> {
    let bridged = |ethernet: &Ethernet| matches!(ethernet.role, PortRole::Bridged(_));
    let ports = config.ports.iter().filter(|(_, port)| bridged(&port.ethernet));
    let ports = ports.map(|(name, port)| (port.place, format!("ports.{name}")));
    let lags = config.lags.iter().filter(|(_, lag)| bridged(&lag.ethernet));
    let lags = lags.map(|(name, lag)| (lag.place, format!("lags.{name}")));
    let tunnels = config.vxlans.iter().map(|(name, vxlan)| (vxlan.place, format!("vxlans.{name}")));
    let mut all: Vec<(Place, String)> = ports.chain(lags).chain(tunnels).collect();
    all.sort();
    all
}

/// Checks that the bridge can have so many ports.
pub(super) fn check_bridge_ports(reader: &mut Reader<'_>, config: &Config) {
    let ports = bridge_ports(config);
    if let Some((place, path)) = ports.get(MAX_BRIDGE_PORTS) {
        let message = format!(
            "the bridge would have {} ports, LAGs and tunnels: at most {MAX_BRIDGE_PORTS} are possible, workloads included",
            ports.len()
        );
        reader.wrong(*place, path, message);
    }
}

/// Reads `[[mdb]]`.
pub(super) fn read_mdb<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> Vec<StaticMdbEntry> {
    let Some(node) = reader.take(root, "mdb") else {
        return Vec::new();
    };
    let mut entries: Vec<StaticMdbEntry> = Vec::new();
    let mut memberships = 0;
    for item in reader.array(&node, MAX_MDB) {
        let Some(entry) = read_mdb_entry(reader, &item) else {
            continue;
        };
        memberships += entry.ports.len();
        if memberships > MAX_MEMBERSHIPS {
            let message =
                format!("more than {MAX_MEMBERSHIPS} ports in all entries, the most that are supported");
            reader.wrong_value(&item, message);
            break;
        }
        entries.push(entry);
    }
    entries
}

fn read_mdb_entry<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<StaticMdbEntry> {
    let section = reader.section(node, "mdb[]")?;
    let group = reader.take(&section, "group");
    let vlan = reader.take(&section, "vlan");
    let ports = reader.take(&section, "ports");
    let all_known = reader.finish(&section);
    let keys = [("group", group.is_some()), ("vlan", vlan.is_some()), ("ports", ports.is_some())];
    missing_keys(reader, node, all_known, "an entry has `group`, `vlan` and `ports`", &keys);
    let group = group.and_then(|node| reader.parsed(&node, 64, parse_group));
    let vlan_id = vlan.and_then(|node| vlan_ids::read(reader, &node));
    let ports = ports.map(|node| {
        if node.value.as_array().is_some_and(|array| array.is_empty()) {
            reader.wrong_value(&node, "no port: list those where members of the group are");
        }
        read_port_names(reader, &node, MAX_PORTS, names::expand_bridge_ports)
    });
    let ports = ports.map(|ports| ports.into_iter().map(|(_, name)| name).collect());
    Some(StaticMdbEntry { place: node.place, group: group?, vlan_id: vlan_id?, ports: ports? })
}

/// The group of all IPv6 nodes of a link, to which nobody needs to listen by MLD (RFC 2710, section 5).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A multicast group that may be pruned: not one that every host hears (RFC 4541, sections 2.1.2 and 3).
fn parse_group(text: &str) -> Result<IpAddr, String> {
    let group: IpAddr = text
        .parse()
        .map_err(|_| format!("`{}` is no multicast group such as 239.1.2.3 or ff05::123", shortened(text)))?;
    if !group.is_multicast() {
        return Err(format!(
            "{group} is no multicast group: they are 224.0.1.0 to 239.255.255.255, and ff02::2 to ff0f::"
        ));
    }
    let link_local = match group {
        IpAddr::V4(group) => group.octets()[..3] == [224, 0, 0],
        // Scopes 0 and 1: reserved, interface-local (RFC 4291, section 2.7). Of the groups of a link, the bridge
        // floods but the one of all nodes.
        IpAddr::V6(group) => group.octets()[1] & 0x0f < 2 || group == ALL_NODES,
    };
    if link_local {
        return Err(format!("{group} always goes to all ports"));
    }
    Ok(group)
}

/// Checks that the ports of entries carry their VLANs, and that no entry is given twice.
pub(super) fn check_mdb(reader: &mut Reader<'_>, config: &Config) {
    let mut known: HashMap<_, Place> = HashMap::new();
    let paths = reader.paths_of("mdb");
    for entry in &config.mdb {
        let path = paths.get(&entry.place).map_or("mdb", String::as_str);
        if !config.bridge.igmp_snooping {
            reader.wrong(entry.place, path, "groups need `igmp-snooping`, which [bridge] turns off");
        }
        let at_ports = format!("{path}.ports");
        for port in &entry.ports {
            check_carries(reader, config, port, entry.vlan_id, (&at_ports, entry.place), "group members");
        }
        if let Some(first) = known.insert((entry.group, entry.vlan_id), entry.place) {
            let (group, vlan_id, line) = (entry.group, entry.vlan_id, first.line);
            let message = format!(
                "group {group} in VLAN {vlan_id} is already given in line {line}: list all its ports there"
            );
            reader.wrong(entry.place, path, message);
        }
    }
}
