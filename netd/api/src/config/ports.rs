//! `[profiles]` and `[ports]`.
//!
//! A port takes each key from its own section, else from its profile, else the default; `vlan` is one
//! key in this respect.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::document::shortened;
use super::layer3;
use super::model::{BridgePort, Ethernet, Layer3, Place, Port, PortRole, PortVlans};
use super::names::{self, MAX_PORTS};
use super::reader::{Node, Reader, Section, nearest};
use super::vlan_ids;
use crate::state::VlanRange;

/// MTU range in bytes: what IPv4 needs at least (RFC 791), and the usual largest frame of switch ASICs.
const MTU_BYTES: std::ops::RangeInclusive<i64> = 68..=9216;

/// Least MTU of a link with IPv6 (RFC 8200).
const IPV6_MTU_BYTES: u32 = 1280;

/// Longest description: what fits the kernel's interface alias.
const MAX_DESCRIPTION: usize = 200;

/// Most profiles.
const MAX_PROFILES: usize = 1024;

/// What a section of a port or profile says.
#[derive(Clone, Debug, Default)]
struct Settings {
    description: Option<String>,
    enabled: Option<bool>,
    mtu_bytes: Option<u32>,
    /// Place of the `vlan` key, and what it says; `None` inside when that is wrong.
    vlan: Option<(Place, Option<PortVlans>)>,
    addresses: Option<(Place, Vec<IpNet>)>,
    vrf: Option<(Place, String)>,
}

impl Settings {
    /// What is not set here, from a profile.
    fn over(self, profile: Settings) -> Settings {
        Settings {
            description: self.description.or(profile.description),
            enabled: self.enabled.or(profile.enabled),
            mtu_bytes: self.mtu_bytes.or(profile.mtu_bytes),
            vlan: self.vlan.or(profile.vlan),
            addresses: self.addresses,
            vrf: self.vrf.or(profile.vrf),
        }
    }
}

/// Reads `[profiles]` and `[ports]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Port> {
    let profiles = read_profiles(reader, root);
    let Some(node) = reader.take(root, "ports") else {
        return BTreeMap::new();
    };
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for (pattern, node) in reader.members(&node, MAX_PORTS) {
        let names = names::expand_ports(pattern);
        let port = read_port(reader, &node, &profiles);
        match names {
            Ok(names) => add(reader, &mut ports, names, &node, &port),
            Err(message) => reader.wrong_value(&node, message),
        }
    }
    ports
}

fn read_profiles<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<&'d str, Settings> {
    let Some(node) = reader.take(root, "profiles") else {
        return BTreeMap::new();
    };
    let members = reader.members(&node, MAX_PROFILES);
    let mut profiles = BTreeMap::new();
    for (name, node) in members {
        if let Some(section) = reader.section(&node, "profiles.*") {
            let settings = read_common(reader, &section);
            reader.finish(&section);
            profiles.insert(name, settings);
        }
    }
    profiles
}

fn read_common<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Settings {
    let description =
        reader.take(section, "description").and_then(|node| reader.text(&node, MAX_DESCRIPTION));
    let enabled = reader.take(section, "enabled").and_then(|node| reader.boolean(&node));
    let mtu = reader.take(section, "mtu").and_then(|node| reader.integer(&node, MTU_BYTES));
    let vlan = reader.take(section, "vlan").map(|node| (node.place, read_vlans(reader, &node)));
    let vrf = layer3::read_vrf(reader, section);
    Settings {
        description: description.map(str::to_owned),
        enabled,
        mtu_bytes: mtu.and_then(|mtu| u32::try_from(mtu).ok()),
        vlan,
        addresses: None,
        vrf: vrf.map(|name| (place_of(reader, section, "vrf"), name)),
    }
}

/// Place of a key that was just read.
fn place_of(reader: &Reader<'_>, section: &Section<'_>, key: &str) -> Place {
    let path = super::reader::join(&section.path, key);
    reader.places.get(&path).copied().unwrap_or(section.place)
}

/// Reads `vlan.access`, `vlan.trunk` and `vlan.native`; `None` when they make no sense.
fn read_vlans<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<PortVlans> {
    let section = reader.section(node, "vlan")?;
    let access = reader.take(&section, "access");
    let trunk = reader.take(&section, "trunk");
    let native = reader.take(&section, "native");
    let all_known = reader.finish(&section);
    let access_id = access.as_ref().map(|node| vlan_ids::read(reader, node));
    let tagged = trunk.as_ref().map(|node| vlan_ids::read_list(reader, node));
    let native_id = native.as_ref().map(|node| vlan_ids::read(reader, node));
    match (&access, &trunk, &native) {
        (Some(_), Some(other), _) => {
            reader.wrong_value(
                other,
                "a port is either an access port or a trunk: keep `vlan.access` or `vlan.trunk`",
            );
            None
        }
        (Some(_), None, Some(native)) => {
            reader.wrong_value(
                native,
                "`vlan.native` belongs to a trunk; an access port has its VLAN from `vlan.access`",
            );
            None
        }
        (None, None, Some(native)) => {
            reader.wrong_value(
                native,
                "`vlan.native` belongs to a trunk: add `vlan.trunk`, or use `vlan.access`",
            );
            None
        }
        (None, None, None) => {
            reader.missing(
                node,
                all_known,
                "no VLAN: give `vlan.access`, or `vlan.trunk` with or without `vlan.native`",
            );
            None
        }
        (Some(_), None, None) => Some(PortVlans { untagged: access_id?, tagged: Vec::new() }),
        (None, Some(trunk), _) => trunk_vlans(reader, trunk, tagged.unwrap_or_default(), native_id.flatten()),
    }
}

fn trunk_vlans<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    tagged: Vec<VlanRange>,
    native: Option<u16>,
) -> Option<PortVlans> {
    if node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(
            node,
            "a trunk without VLANs: list some, such as [\"10-20\", 30], or use `vlan.access`",
        );
        return None;
    }
    let tagged = native.map_or_else(|| tagged.clone(), |native| vlan_ids::without(&tagged, native));
    Some(PortVlans { untagged: native, tagged })
}

fn read_port<'d>(reader: &mut Reader<'d>, node: &Node<'d>, profiles: &BTreeMap<&str, Settings>) -> Port {
    let unusable = || Port { place: node.place, ..Port::default() };
    let Some(section) = reader.section(node, "ports.*") else {
        return unusable();
    };
    let profile = read_profile_name(reader, &section, profiles);
    let mut own = read_common(reader, &section);
    let addresses = layer3::read_addresses(reader, &section);
    own.addresses = addresses.map(|addresses| (place_of(reader, &section, "addresses"), addresses));
    reader.finish(&section);
    let settings = own.over(profile);
    let role = role(reader, &section, &settings);
    check_mtu(reader, &section, &settings, &role);
    Port {
        place: node.place,
        ethernet: Ethernet {
            description: settings.description.unwrap_or_default(),
            enabled: settings.enabled.unwrap_or(true),
            mtu_bytes: settings.mtu_bytes,
            mac: None,
            role,
        },
        ..Port::default()
    }
}

fn read_profile_name<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    profiles: &BTreeMap<&str, Settings>,
) -> Settings {
    let Some(node) = reader.take(section, "profile") else {
        return Settings::default();
    };
    let Some(name) = reader.text(&node, MAX_DESCRIPTION) else {
        return Settings::default();
    };
    if let Some(settings) = profiles.get(name) {
        return settings.clone();
    }
    if !reader.partial {
        let shown = shortened(name);
        let message = match nearest(name, profiles.keys().copied()) {
            Some(near) => format!("no profile `{shown}`; did you mean `{near}`?"),
            None => format!("no profile `{shown}`: define [profiles.{shown}]"),
        };
        reader.wrong_value(&node, message);
    }
    Settings::default()
}

fn role<'d>(reader: &mut Reader<'d>, section: &Section<'d>, settings: &Settings) -> PortRole {
    let routed = settings.addresses.as_ref().map(|(place, _)| (*place, "addresses"));
    let routed = routed.or(settings.vrf.as_ref().map(|(place, _)| (*place, "vrf")));
    if let (Some(_), Some((place, key))) = (&settings.vlan, routed) {
        let path = super::reader::join(&section.path, key);
        let message = format!(
            "the port is both in VLANs and routed: remove `{key}`, or `vlan` (perhaps from its profile)"
        );
        reader.wrong(place, &path, message);
        return PortRole::Unused;
    }
    match &settings.vlan {
        Some((_, vlans)) => vlans.clone().map_or(PortRole::Unused, |vlans| {
            PortRole::Bridged(BridgePort { vlans, ..BridgePort::default() })
        }),
        None if routed.is_some() => PortRole::Routed(Layer3 {
            addresses: settings.addresses.iter().flat_map(|(_, addresses)| addresses.clone()).collect(),
            vrf: settings.vrf.as_ref().map(|(_, name)| name.clone()),
            ..Layer3::default()
        }),
        None => PortRole::Unused,
    }
}

fn check_mtu<'d>(reader: &mut Reader<'d>, section: &Section<'d>, settings: &Settings, role: &PortRole) {
    let (Some(mtu), PortRole::Routed(layer3)) = (settings.mtu_bytes, role) else {
        return;
    };
    if mtu < IPV6_MTU_BYTES && layer3.addresses.iter().any(|net| net.addr().is_ipv6()) {
        let place = place_of(reader, section, "mtu");
        let path = super::reader::join(&section.path, "mtu");
        reader.wrong(
            place,
            &path,
            format!("IPv6 needs an MTU of {IPV6_MTU_BYTES} bytes or more, this is {mtu}"),
        );
    }
}

/// Adds the ports a section stands for, refusing names that another section has.
fn add(
    reader: &mut Reader<'_>,
    ports: &mut BTreeMap<String, Port>,
    names: Vec<String>,
    node: &Node<'_>,
    port: &Port,
) {
    for name in names {
        let place = node.place;
        match ports.get(&name).map(|known| known.place) {
            Some(known) if known == place => {
                reader.wrong(place, &node.path, format!("{name} is named twice in this range"));
            }
            Some(known) => {
                let message = format!(
                    "{name} is already configured in line {}; give each port one section",
                    known.line
                );
                reader.wrong(place, &node.path, message);
            }
            None if ports.len() == MAX_PORTS => {
                reader.wrong(
                    place,
                    &node.path,
                    format!("more than {MAX_PORTS} ports, the most that are supported"),
                );
                return;
            }
            None => {
                locate_expanded(reader, &node.path, &name);
                ports.insert(name, port.clone());
            }
        }
    }
}

/// Makes the settings of a range findable under each port's own name.
fn locate_expanded(reader: &mut Reader<'_>, pattern_path: &str, name: &str) {
    let path = format!("ports.{name}");
    if path == pattern_path {
        return;
    }
    let settings: Vec<_> = reader
        .places
        .range(pattern_path.to_owned()..)
        .map_while(|(key, place)| key.strip_prefix(pattern_path).map(|rest| (rest, *place)))
        .filter(|(rest, _)| rest.is_empty() || (rest.starts_with('.') && !rest.ends_with(']')))
        .map(|(rest, place)| (format!("{path}{rest}"), place))
        .collect();
    reader.places.extend(settings);
}
