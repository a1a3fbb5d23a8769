//! `[vxlans]`: tunnels that join VLANs of the bridge to static remote end points.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::bridging::missing_keys;
use super::layer3;
use super::model::{Config, VXLAN_PORT, Vxlan};
use super::names;
use super::reader::{Node, Reader, Section};
use super::vlan_ids;

/// Most tunnels.
const MAX_VXLANS: usize = 1024;
/// Most remote end points of a tunnel.
const MAX_REMOTES: usize = 1024;

/// Reads `[vxlans]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Vxlan> {
    let Some(node) = reader.take(root, "vxlans") else {
        return BTreeMap::new();
    };
    let mut vxlans = BTreeMap::new();
    for (name, node) in reader.members(&node, MAX_VXLANS) {
        if let Err(message) = names::check_interface_name(name) {
            reader.wrong_value(&node, message);
        }
        if let Some(vxlan) = read_vxlan(reader, &node) {
            vxlans.insert(name.to_owned(), vxlan);
        }
    }
    vxlans
}

fn read_vxlan<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<Vxlan> {
    let section = reader.section(node, "vxlans.*")?;
    let vni = reader.take(&section, "vni");
    let vlan = reader.take(&section, "vlan");
    let local = reader.take(&section, "local");
    let remotes = reader.take(&section, "remotes");
    let port = reader.take(&section, "port").and_then(|node| reader.integer(&node, 1..=65_535));
    let all_known = reader.finish(&section);
    let keys = [
        ("vni", vni.is_some()),
        ("vlan", vlan.is_some()),
        ("local", local.is_some()),
        ("remotes", remotes.is_some()),
    ];
    missing_keys(reader, node, all_known, "a tunnel has `vni`, `vlan`, `local` and `remotes`", &keys);
    let vni = vni.and_then(|node| reader.integer(&node, 1..=0xff_ffff));
    let vlan_id = vlan.and_then(|node| vlan_ids::read(reader, &node));
    let local = local.and_then(|node| reader.parsed(&node, 64, layer3::parse_host_address));
    let remotes = remotes.map(|node| read_remotes(reader, &node, local));
    Some(Vxlan {
        place: node.place,
        vni: u32::try_from(vni?).ok()?,
        vlan_id: vlan_id?,
        local: local?,
        remotes: remotes?,
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(VXLAN_PORT),
    })
}

fn read_remotes<'d>(reader: &mut Reader<'d>, node: &Node<'d>, local: Option<IpAddr>) -> Vec<IpAddr> {
    if node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(node, "no remote end point: list at least one address");
    }
    let mut remotes: Vec<IpAddr> = Vec::new();
    for item in reader.array(node, MAX_REMOTES) {
        let Some(address) = reader.parsed(&item, 64, layer3::parse_host_address) else {
            continue;
        };
        if local.is_some_and(|local| local.is_ipv4() != address.is_ipv4()) {
            reader.wrong_value(&item, format!("{address} is not of the same family as `local`"));
        } else if remotes.contains(&address) {
            reader.wrong_value(&item, format!("{address} is listed twice"));
        } else {
            remotes.push(address);
        }
    }
    remotes
}

/// Checks tunnels against one another and against the switch's own addresses in the default VRF (`own`).
pub(super) fn check(
    reader: &mut Reader<'_>,
    config: &Config,
    incomplete: bool,
    own: &dyn Fn(IpAddr) -> bool,
) {
    let mut networks: HashMap<(u32, u16), &str> = HashMap::new();
    let mut vlans: HashMap<u16, &str> = HashMap::new();
    let mut in_order: Vec<_> = config.vxlans.iter().collect();
    in_order.sort_by_key(|(_, vxlan)| vxlan.place);
    for (name, vxlan) in in_order {
        let path = format!("vxlans.{name}");
        let mut wrong = |key: &str, message: String| {
            let path = format!("{path}.{key}");
            let place = super::locate_in(&reader.places, &path).unwrap_or(vxlan.place);
            reader.wrong(place, &path, message);
        };
        if let Some(other) = networks.insert((vxlan.vni, vxlan.port), name) {
            wrong("vni", format!("tunnel `{other}` has VNI {} already", vxlan.vni));
        }
        if let Some(other) = vlans.insert(vxlan.vlan_id, name) {
            wrong(
                "vlan",
                format!(
                    "VLAN {} is in tunnel `{other}` already: add its remote end points there",
                    vxlan.vlan_id
                ),
            );
        }
        let local = vxlan.local;
        if !own(local) && !incomplete {
            wrong(
                "local",
                format!("{local} is no address of the switch in the default VRF: add it, to a loopback say"),
            );
        }
        for (index, remote) in vxlan.remotes.iter().enumerate().filter(|(_, remote)| own(**remote)) {
            wrong(&format!("remotes[{index}]"), format!("{remote} is the switch's own address"));
        }
    }
}
