//! `[system]`, `[management]` and `[control-plane]`: the switch itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::document::shortened;
use super::layer3;
use super::model::{
    Allow, ControlPlane, MANAGEMENT_VRF_TABLE, Management, ManagementAddress, ManagementVrf, System, Vrf,
};
use super::names;
use super::reader::{Node, Reader, Section, list, nearest};

/// Most servers of a kind.
const MAX_SERVERS: usize = 8;
/// Most addresses of the management port.
const MAX_ADDRESSES: usize = 16;

/// Reads `[system]`.
pub(super) fn read_system<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> System {
    let section = reader.take(root, "system").and_then(|node| reader.section(&node, "system"));
    let Some(section) = section else {
        return System::default();
    };
    let hostname = reader.take(&section, "hostname");
    let hostname = hostname.and_then(|node| reader.parsed(&node, 255, names::check_host_name));
    let most_event_states = reader.bound(&section, "most-event-states", 64..=65_536);
    reader.finish(&section);
    System {
        place: section.place,
        hostname,
        most_event_states: most_event_states.unwrap_or(System::default().most_event_states),
    }
}

/// Reads `[management]`.
pub(super) fn read_management<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    vrfs: &BTreeMap<String, Vrf>,
) -> Management {
    let section = reader.take(root, "management").and_then(|node| reader.section(&node, "management"));
    let Some(section) = section else {
        return Management::default();
    };
    let address = reader.take(&section, "address");
    let gateway = reader.take(&section, "gateway");
    let address = read_address(reader, address.as_ref(), gateway.as_ref());
    let vrf = reader.take(&section, "vrf").and_then(|node| read_vrf(reader, &node, vrfs));
    let dns = reader.take(&section, "dns").map(|node| reader.array(&node, MAX_SERVERS)).unwrap_or_default();
    let dns = dns.iter().filter_map(|node| reader.parsed(node, 64, layer3::parse_host_address)).collect();
    let ntp = reader.take(&section, "ntp").map(|node| reader.array(&node, MAX_SERVERS)).unwrap_or_default();
    let ntp = ntp.iter().filter_map(|node| reader.parsed(node, 255, parse_server)).collect();
    reader.finish(&section);
    Management { place: section.place, address, vrf, dns, ntp }
}

fn read_address<'d>(
    reader: &mut Reader<'d>,
    address: Option<&Node<'d>>,
    gateway: Option<&Node<'d>>,
) -> ManagementAddress {
    let gateway_nodes = gateway.map(|node| reader.one_or_many(node, 2)).unwrap_or_default();
    let gateways: Vec<(Node<'d>, IpAddr)> = gateway_nodes
        .into_iter()
        .filter_map(|node| {
            reader.parsed(&node, 64, layer3::parse_host_address).map(|address| (node, address))
        })
        .collect();
    let fixed = address.filter(|node| node.value.as_str() != Some("dhcp"));
    let Some(node) = fixed else {
        if let Some(gateway) = gateway {
            reader.wrong_value(
                gateway,
                "DHCP gives the gateway too: remove `gateway`, or give `address` a fixed one",
            );
        }
        return ManagementAddress::Dhcp;
    };
    let items = reader.one_or_many(node, MAX_ADDRESSES);
    if items.is_empty() && node.value.is_array() {
        reader.wrong_value(node, "no address: write \"dhcp\", or an address such as \"192.0.2.10/24\"");
    }
    let before = reader.count();
    let addresses = layer3::unique(reader, &items);
    if reader.count() == before {
        check_gateways(reader, &addresses, &gateways);
    }
    ManagementAddress::Static {
        addresses,
        gateways: gateways.into_iter().map(|(_, address)| address).collect(),
    }
}

fn check_gateways<'d>(reader: &mut Reader<'d>, addresses: &[ipnet::IpNet], gateways: &[(Node<'d>, IpAddr)]) {
    for (index, (node, gateway)) in gateways.iter().enumerate() {
        if gateways.iter().take(index).any(|(_, other)| other.is_ipv4() == gateway.is_ipv4()) {
            reader.wrong_value(node, "more than one gateway of a family: keep one");
        } else if addresses.iter().any(|net| net.addr() == *gateway) {
            reader.wrong_value(node, format!("gateway {gateway} is the switch's own address"));
        } else if !layer3::is_link_local(*gateway) && !addresses.iter().any(|net| net.contains(gateway)) {
            reader.wrong_value(node, format!("gateway {gateway} is in no subnet of `address`"));
        }
    }
}

fn read_vrf<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    vrfs: &BTreeMap<String, Vrf>,
) -> Option<ManagementVrf> {
    let name = reader.parsed(node, 64, |text| names::check_interface_name(text).map(|()| text.to_owned()))?;
    if let Some(vrf) = vrfs.get(&name) {
        return Some(ManagementVrf { name, table: vrf.table, defined: true });
    }
    // The table is given out silently, so a VRF that has it by chance must be told.
    let taken = vrfs.iter().find(|(_, vrf)| vrf.table == MANAGEMENT_VRF_TABLE);
    if let Some((other, vrf)) = taken {
        let message = format!(
            "table {MANAGEMENT_VRF_TABLE} is that of the management VRF `{name}`: use another, or define [vrfs.{name}]"
        );
        reader.wrong(vrf.place, &format!("vrfs.{other}.table"), message);
    }
    Some(ManagementVrf { name, table: MANAGEMENT_VRF_TABLE, defined: false })
}

fn parse_server(text: &str) -> Result<String, String> {
    let address = layer3::parse_host_address(text).map(|address| address.to_string());
    let looks_like_address =
        text.contains(':') || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if address.is_ok() || looks_like_address { address } else { names::check_host_name(text) }
}

/// Services that may be named in `control-plane.allow`, and what each means.
pub const CONTROL_PLANE_SERVICES: [(&str, &[Allow]); 16] = [
    ("arp", &[Allow::Arp]),
    ("bfd", &[Allow::Udp(3784), Allow::Udp(3785), Allow::Udp(4784)]),
    ("bgp", &[Allow::Tcp(179)]),
    ("dhcp", &[Allow::Udp(67), Allow::Udp(68)]),
    ("dhcpv6", &[Allow::Udp(546), Allow::Udp(547)]),
    ("dns", &[Allow::Tcp(53), Allow::Udp(53)]),
    ("http", &[Allow::Tcp(80)]),
    ("https", &[Allow::Tcp(443)]),
    ("icmp", &[Allow::Icmp]),
    ("igmp", &[Allow::Protocol(2)]),
    ("nd", &[Allow::Nd]),
    ("ntp", &[Allow::Udp(123)]),
    ("ospf", &[Allow::Protocol(89)]),
    ("snmp", &[Allow::Udp(161)]),
    ("ssh", &[Allow::Tcp(22)]),
    ("vrrp", &[Allow::Protocol(112)]),
];

/// Reads `[control-plane]`.
pub(super) fn read_control_plane<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> ControlPlane {
    let section = reader.take(root, "control-plane").and_then(|node| reader.section(&node, "control-plane"));
    let Some(section) = section else {
        return ControlPlane::default();
    };
    let defaults = ControlPlane::default();
    let allow = reader.take(&section, "allow").map(|node| {
        let items = reader.array(&node, 256);
        items.iter().filter_map(|item| reader.parsed(item, 64, parse_allow)).flatten().collect()
    });
    let most_questions = reader.bound(&section, "most-questions", 16..=1_048_576);
    reader.finish(&section);
    ControlPlane {
        place: section.place,
        allow: allow.unwrap_or(defaults.allow),
        most_questions: most_questions.unwrap_or(defaults.most_questions),
    }
}

fn parse_allow(text: &str) -> Result<Vec<Allow>, String> {
    if let Some((_, meaning)) = CONTROL_PLANE_SERVICES.iter().find(|(name, _)| *name == text) {
        return Ok(meaning.to_vec());
    }
    let shown = shortened(text);
    let plain = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('/').filter(|(_, number)| plain(number)) {
        Some((protocol @ ("tcp" | "udp"), number)) => {
            let port = number.parse::<u16>().ok().filter(|port| *port != 0);
            let port = port.ok_or_else(|| format!("`{shown}`: port numbers are 1 to 65535"))?;
            Ok(vec![if protocol == "tcp" { Allow::Tcp(port) } else { Allow::Udp(port) }])
        }
        Some(("protocol", number)) => {
            let number = number.parse::<u8>().map_err(|_| format!("`{shown}`: IP protocols are 0 to 255"))?;
            Ok(vec![Allow::Protocol(number)])
        }
        _ => {
            let names = || CONTROL_PLANE_SERVICES.iter().map(|(name, _)| *name);
            let near =
                nearest(text, names()).map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
            let names = list(names());
            Err(format!(
                "`{shown}` is not known here; {near}known are {names}, and \"tcp/443\", \"udp/161\", \"protocol/89\""
            ))
        }
    }
}
