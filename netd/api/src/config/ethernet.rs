//! What ports, LAGs and profiles have in common.

use std::collections::HashSet;

use ipnet::IpNet;

use super::document::shortened;
use super::layer3;
use super::model::{
    BridgePort, Duplex, Ethernet, Fec, Layer3, LinkMode, MacAddress, Place, PortRole, PortVlans,
    ReservedGroups,
};
use super::mtu::IPV6_MTU_BYTES;
use super::port_vlans;
use super::reader::{Node, Reader, Section, join};

/// MTU range in bytes: what IPv4 needs at least (RFC 791), and the usual largest frame of switch ASICs.
const MTU_BYTES: std::ops::RangeInclusive<i64> = 68..=9216;

/// Longest description in characters; in bytes it must fit the kernel's interface alias.
pub(super) const MAX_DESCRIPTION: usize = 200;

/// Speeds Ethernet has, in Mbit/s.
pub(super) const SPEEDS: [(&str, u32); 14] = [
    ("10M", 10),
    ("100M", 100),
    ("1G", 1_000),
    ("2500M", 2_500),
    ("2.5G", 2_500),
    ("5G", 5_000),
    ("10G", 10_000),
    ("25G", 25_000),
    ("40G", 40_000),
    ("50G", 50_000),
    ("100G", 100_000),
    ("200G", 200_000),
    ("400G", 400_000),
    ("800G", 800_000),
];

/// Fastest Ethernet that may work in one direction at a time, in Mbit/s.
const MAX_HALF_DUPLEX_MBPS: u32 = 1_000;

/// What a section says; what it leaves out is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    description: Option<String>,
    enabled: Option<bool>,
    mtu_bytes: Option<u32>,
    mac: Option<MacAddress>,
    /// Place of the `vlan` key, and what it says; `None` inside when that is wrong.
    vlan: Option<(Place, Option<PortVlans>)>,
    addresses: Option<(Place, Vec<IpNet>)>,
    vrf: Option<(Place, String)>,
    isolated: Option<bool>,
    learning: Option<bool>,
    forward_reserved: Option<ReservedGroups>,
    forwarding: Option<bool>,
    pub(super) link_mode: LinkMode,
}

impl Settings {
    /// What is not set here, from a profile.
    pub(super) fn over(self, profile: Settings) -> Settings {
        let (own, other) = (self.link_mode, profile.link_mode);
        Settings {
            description: self.description.or(profile.description),
            enabled: self.enabled.or(profile.enabled),
            mtu_bytes: self.mtu_bytes.or(profile.mtu_bytes),
            mac: self.mac,
            vlan: self.vlan.or(profile.vlan),
            addresses: self.addresses,
            vrf: self.vrf.or(profile.vrf),
            isolated: self.isolated.or(profile.isolated),
            learning: self.learning.or(profile.learning),
            forward_reserved: self.forward_reserved.or(profile.forward_reserved),
            forwarding: self.forwarding.or(profile.forwarding),
            link_mode: LinkMode {
                speed_mbps: own.speed_mbps.or(other.speed_mbps),
                duplex: own.duplex.or(other.duplex),
                autoneg: own.autoneg.or(other.autoneg),
                fec: own.fec.or(other.fec),
            },
        }
    }
}

/// Reads the keys that profiles may hold as well as ports and LAGs.
pub(super) fn read_shared<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Settings {
    let description =
        reader.take(section, "description").and_then(|node| reader.alias(&node, MAX_DESCRIPTION));
    let enabled = reader.flag(section, "enabled");
    let mtu_bytes = read_mtu(reader, section);
    let vlan = reader.take(section, "vlan").map(|node| (node.place, port_vlans::read(reader, &node)));
    Settings {
        description: description.map(str::to_owned),
        enabled,
        mtu_bytes,
        vlan,
        vrf: layer3::read_vrf(reader, section).map(|name| (place_of(reader, section, "vrf"), name)),
        isolated: reader.flag(section, "isolated"),
        learning: reader.flag(section, "learning"),
        forward_reserved: read_forward_reserved(reader, section),
        forwarding: reader.flag(section, "forwarding"),
        ..Settings::default()
    }
}

/// Reads `forward-reserved`.
fn read_forward_reserved<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<ReservedGroups> {
    let node = reader.take(section, "forward-reserved")?;
    let items = reader.array(&node, 16);
    let groups = items.iter().filter_map(|item| reader.parsed(item, 64, ReservedGroups::parse_one));
    Some(ReservedGroups(groups.fold(0, |all, group| all | group.0)))
}

/// Reads `addresses` and `mac`, which are of one port or LAG.
pub(super) fn read_own<'d>(reader: &mut Reader<'d>, section: &Section<'d>, settings: &mut Settings) {
    let addresses = layer3::read_addresses(reader, section);
    settings.addresses = addresses.map(|addresses| (place_of(reader, section, "addresses"), addresses));
    settings.mac = reader.take(section, "mac").and_then(|node| reader.parsed(&node, 64, layer3::parse_mac));
}

/// Reads `mtu`.
pub(super) fn read_mtu<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<u32> {
    let node = reader.take(section, "mtu")?;
    reader.integer(&node, MTU_BYTES).and_then(|mtu| u32::try_from(mtu).ok())
}

/// Reads `speed`, `duplex`, `autoneg` and `fec`.
pub(super) fn read_link_mode<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> LinkMode {
    let speed = reader.take(section, "speed").and_then(|node| reader.choice(&node, &SPEEDS));
    let duplex_node = reader.take(section, "duplex");
    let duplex = duplex_node
        .as_ref()
        .and_then(|node| reader.choice(node, &[("half", Duplex::Half), ("full", Duplex::Full)]));
    let autoneg = reader.flag(section, "autoneg");
    let fec = Fec::ALL.map(|fec| (fec.name(), fec));
    let fec = reader.take(section, "fec").and_then(|node| reader.choice(&node, &fec));
    LinkMode { speed_mbps: speed, duplex, autoneg, fec }
}

/// Refuses what no Ethernet does, once a port and its profile are put together.
pub(super) fn check_link_mode<'d>(reader: &mut Reader<'d>, section: &Section<'d>, mode: LinkMode) {
    if mode.duplex == Some(Duplex::Half) && mode.speed_mbps.is_some_and(|speed| speed > MAX_HALF_DUPLEX_MBPS)
    {
        let place = place_of(reader, section, "duplex");
        let message = "half duplex goes up to 1G: remove `duplex`, or choose a lower `speed`";
        reader.wrong(place, &join(&section.path, "duplex"), message);
    }
}

/// Place of a key that was just read; that of the section when the key comes from a profile.
pub(super) fn place_of(reader: &Reader<'_>, section: &Section<'_>, key: &str) -> Place {
    let path = join(&section.path, key);
    reader.places.get(&path).copied().unwrap_or(section.place)
}

/// Puts a section's settings together. `what` it is (`port`, `LAG`) is for messages.
pub(super) fn resolve<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    what: &str,
    settings: Settings,
) -> Ethernet {
    let role = role(reader, section, what, &settings);
    if let PortRole::Routed(layer3) = &role {
        check_mtu(reader, section, settings.mtu_bytes, layer3);
    }
    Ethernet {
        description: settings.description.unwrap_or_default(),
        enabled: settings.enabled.unwrap_or(true),
        mtu_bytes: settings.mtu_bytes,
        mac: settings.mac,
        role,
    }
}

fn role<'d>(reader: &mut Reader<'d>, section: &Section<'d>, what: &str, settings: &Settings) -> PortRole {
    let routed = settings.addresses.as_ref().map(|(place, _)| (*place, "addresses"));
    let routed = routed.or(settings.vrf.as_ref().map(|(place, _)| (*place, "vrf")));
    if let (Some(_), Some((place, key))) = (&settings.vlan, routed) {
        let path = join(&section.path, key);
        let perhaps = if what == "port" { " (perhaps from its profile)" } else { "" };
        let message = format!("the {what} is both in VLANs and routed: remove `{key}`, or `vlan`{perhaps}");
        reader.wrong(place, &path, message);
        return PortRole::Unused;
    }
    check_misplaced(reader, section, settings, routed.is_some());
    match &settings.vlan {
        Some((_, vlans)) => vlans.clone().map_or(PortRole::Unused, |vlans| {
            PortRole::Bridged(BridgePort {
                vlans,
                isolated: settings.isolated.unwrap_or(false),
                learning: settings.learning.unwrap_or(true),
                forward_reserved: settings.forward_reserved.unwrap_or_default(),
            })
        }),
        None if routed.is_some() => PortRole::Routed(Layer3 {
            addresses: settings.addresses.iter().flat_map(|(_, addresses)| addresses.clone()).collect(),
            vrf: settings.vrf.as_ref().map(|(_, name)| name.clone()),
            forwarding: settings.forwarding.unwrap_or(true),
        }),
        None => PortRole::Unused,
    }
}

/// Refuses keys that do nothing in the role at hand, where the section itself has them: a profile may hold
/// more than each of its ports needs.
fn check_misplaced<'d>(reader: &mut Reader<'d>, section: &Section<'d>, settings: &Settings, routed: bool) {
    // The line that gives the role may be one of those that could not be read.
    if reader.partial {
        return;
    }
    let of_bridge = "is for ports and LAGs in VLANs: add `vlan`, or remove it";
    let of_routing = "is for routed ports and LAGs: add `addresses` or `vrf`, or remove it";
    let misplaced = [
        ("isolated", settings.vlan.is_none(), of_bridge),
        ("learning", settings.vlan.is_none(), of_bridge),
        ("forward-reserved", settings.vlan.is_none(), of_bridge),
        ("forwarding", !routed, of_routing),
    ];
    for (key, is_misplaced, message) in misplaced {
        let path = join(&section.path, key);
        if let Some(place) = reader.places.get(&path).copied().filter(|_| is_misplaced) {
            reader.wrong(place, &path, format!("`{key}` {message}"));
        }
    }
}

/// Refuses an MTU that is too small for the addresses.
pub(super) fn check_mtu<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    mtu_bytes: Option<u32>,
    layer3: &Layer3,
) {
    let Some(mtu) = mtu_bytes.filter(|mtu| *mtu < IPV6_MTU_BYTES) else {
        return;
    };
    if layer3.addresses.iter().any(|net| net.addr().is_ipv6()) {
        let message = format!("IPv6 needs an MTU of {IPV6_MTU_BYTES} bytes or more, this is {mtu}");
        reader.wrong(place_of(reader, section, "mtu"), &join(&section.path, "mtu"), message);
    }
}

/// Names of ports, ranges allowed: each with the item of the document it comes from.
pub(super) fn read_port_names<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    max: usize,
    expand: impl Fn(&str) -> Result<Vec<String>, String>,
) -> Vec<(Node<'d>, String)> {
    let mut names: Vec<(Node<'d>, String)> = Vec::new();
    let mut known = HashSet::new();
    for item in reader.array(node, max) {
        for name in reader.parsed(&item, 64, &expand).unwrap_or_default() {
            if !known.insert(name.clone()) {
                reader.wrong_value(&item, format!("{} is listed twice", shortened(&name)));
            } else if names.len() == max {
                reader.wrong_value(&item, format!("more than {max} ports, the most that are supported"));
                return names;
            } else {
                names.push((item.clone(), name));
            }
        }
    }
    names
}
