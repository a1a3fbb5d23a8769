//! Whether a session over the network ends with a change: by the interface it comes in through, its address and
//! VRF, the way back to the client, and the control plane.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Config;
use crate::config::model::{Allow, Layer3, ManagementAddress, PortRole, RouteTarget, vlan_interface};

/// TCP port of SSH.
const SSH_PORT: u16 = 22;
/// The management port.
const MANAGEMENT: &str = "mgmt0";

/// The two ends of an SSH session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Address of the client.
    pub client: IpAddr,
    /// Address of the switch that the client came to.
    pub server: IpAddr,
    /// Interface of a link-local address.
    pub zone: Option<String>,
}

impl Session {
    /// Reads what sshd puts into `SSH_CONNECTION`: client, its port, server, its port.
    pub fn parse(text: &str) -> Option<Session> {
        let mut words = text.split_whitespace();
        let (client, _) = address(words.next()?)?;
        let (server, zone) = address(words.nth(1)?)?;
        Some(Session { client, server, zone })
    }
}

/// `fe80::1%mgmt0` is an address and an interface. IPv4 in an IPv6 socket is IPv4.
fn address(text: &str) -> Option<(IpAddr, Option<String>)> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.to_owned())),
        None => (text, None),
    };
    Some((address.parse::<IpAddr>().ok()?.to_canonical(), zone))
}

/// Why a session ends, or may end, when `after` takes the place of `before`; `None` when nothing speaks for it.
pub fn cut(before: &Config, after: &Config, session: &Session) -> Option<String> {
    let entrance = Entrance::of(before, session)?;
    let reason = match &entrance {
        Entrance::Management => management_cut(before, after, session),
        Entrance::Interface(name) => interface_cut(before, after, name, session),
    };
    reason.map(|reason| {
        let name = match &entrance {
            Entrance::Management => MANAGEMENT,
            Entrance::Interface(name) => name,
        };
        format!("this SSH session comes in over {name} and may end: {reason}")
    })
}

/// Where a session comes in.
enum Entrance {
    Management,
    Interface(String),
}

impl Entrance {
    /// `None` when the configuration does not tell.
    fn of(config: &Config, session: &Session) -> Option<Entrance> {
        match session.zone.as_deref() {
            Some(MANAGEMENT) => return Some(Entrance::Management),
            Some(zone) => return Some(Entrance::Interface(zone.to_owned())),
            None => {}
        }
        let own = |interface: &Interface<'_>| has_address(interface.layer3, session.server);
        if let Some(interface) = interfaces(config).into_iter().find(own) {
            return Some(Entrance::Interface(interface.name));
        }
        match &config.management.address {
            ManagementAddress::Dhcp => Some(Entrance::Management),
            ManagementAddress::Static { addresses, .. } => {
                addresses.iter().any(|net| net.addr() == session.server).then_some(Entrance::Management)
            }
        }
    }
}

fn management_cut(before: &Config, after: &Config, session: &Session) -> Option<String> {
    let vrf = |config: &Config| config.management.vrf.as_ref().map(|vrf| (vrf.name.clone(), vrf.table));
    if vrf(before) != vrf(after) {
        let name = after.management.vrf.as_ref().map(|vrf| vrf.name.as_str());
        return Some(format!("mgmt0 moves to {}", show_vrf(name)));
    }
    let (old, new) = (&before.management.address, &after.management.address);
    if old == new {
        return None;
    }
    match new {
        ManagementAddress::Dhcp => Some("mgmt0 gets its address by DHCP".to_owned()),
        ManagementAddress::Static { addresses, .. } => {
            if session.zone.is_none() && !addresses.iter().any(|net| net.addr() == session.server) {
                return Some(format!("mgmt0 loses {}", session.server));
            }
            (management_path(old, session.client) != management_path(new, session.client))
                .then(|| format!("mgmt0 reaches {} another way", session.client))
        }
    }
}

/// Whether a client is on the link, else the gateway to it.
fn management_path(address: &ManagementAddress, client: IpAddr) -> Option<(bool, Option<IpAddr>)> {
    let ManagementAddress::Static { addresses, gateways } = address else { return None };
    if addresses.iter().any(|net| net.contains(&client)) {
        return Some((true, None));
    }
    Some((false, gateways.iter().find(|gateway| gateway.is_ipv4() == client.is_ipv4()).copied()))
}

fn interface_cut(before: &Config, after: &Config, name: &str, session: &Session) -> Option<String> {
    let (old, new) = (interfaces(before), interfaces(after));
    let of = |all: &[Interface<'_>]| all.iter().position(|interface| interface.name == name);
    let old = &old[of(&old)?];
    let Some(new) = of(&new).map(|at| &new[at]) else {
        return Some("the document has it no more".to_owned());
    };
    if old.up && !new.up {
        return Some("it goes down, or no port that is up carries its VLAN".to_owned());
    }
    if session.zone.is_none() && !has_address(new.layer3, session.server) {
        return Some(format!("it loses {}", session.server));
    }
    let vrf = new.layer3.vrf.as_deref();
    if old.layer3.vrf.as_deref() != vrf {
        return Some(format!("it moves to {}", show_vrf(vrf)));
    }
    if let Some(vrf) = vrf
        && before.vrfs.get(vrf).map(|vrf| vrf.table) != after.vrfs.get(vrf).map(|vrf| vrf.table)
    {
        return Some(format!("VRF {vrf} is made anew with another table"));
    }
    let allows = |config: &Config| config.control_plane.allow.contains(&Allow::Tcp(SSH_PORT));
    if allows(before) && !allows(after) {
        return Some("[control-plane] does not let ssh in any more".to_owned());
    }
    let (from, to) = (path(before, vrf, session.client), path(after, vrf, session.client));
    if from != to {
        let show = |path: Option<(IpNet, String)>| {
            path.map_or("no route".to_owned(), |(prefix, way)| format!("{prefix} {way}"))
        };
        return Some(format!(
            "the way back to {} was {} and becomes {}",
            session.client,
            show(from),
            show(to)
        ));
    }
    None
}

/// An interface of the switch with addresses, other than the management port.
struct Interface<'c> {
    name: String,
    layer3: &'c Layer3,
    /// Whether it is to be up, and of a VLAN's interface whether a port that is to be up carries the VLAN.
    up: bool,
}

fn interfaces(config: &Config) -> Vec<Interface<'_>> {
    let enabled = |name: &str| config.ethernet(name).is_some_and(|ethernet| ethernet.enabled);
    let carried: BTreeSet<u16> = config
        .ethernets()
        .filter(|(_, ethernet)| ethernet.enabled)
        .flat_map(|(_, ethernet)| match &ethernet.role {
            PortRole::Bridged(port) => {
                config.vlans.keys().copied().filter(|id| port.vlans.carries(*id)).collect()
            }
            _ => Vec::new(),
        })
        .chain(config.vxlans.values().map(|vxlan| vxlan.vlan_id))
        .collect();
    let routed = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Routed(layer3) => Some(Interface { name: name.to_owned(), layer3, up: ethernet.enabled }),
        _ => None,
    });
    let vlans = config.vlans.iter().map(|(id, vlan)| Interface {
        name: vlan_interface(*id),
        layer3: &vlan.layer3,
        up: carried.contains(id),
    });
    let below = config.subinterfaces.iter().map(|(name, below)| Interface {
        name: name.clone(),
        layer3: &below.layer3,
        up: below.enabled && enabled(&below.parent),
    });
    let loopbacks = config.loopbacks.iter().map(|(name, loopback)| Interface {
        name: name.clone(),
        layer3: &loopback.layer3,
        up: true,
    });
    routed.chain(vlans).chain(below).chain(loopbacks).collect()
}

fn has_address(layer3: &Layer3, address: IpAddr) -> bool {
    layer3.addresses.iter().any(|net| net.addr() == address)
}

/// The way to an address in a VRF by connected subnets and static routes: the longest prefix, then the lowest
/// metric.
fn path(config: &Config, vrf: Option<&str>, to: IpAddr) -> Option<(IpNet, String)> {
    let mut best: Option<((u8, u32), (IpNet, String))> = None;
    let mut take = |prefix: IpNet, metric: u32, way: &dyn Fn() -> String| {
        let rank = (prefix.prefix_len(), u32::MAX - metric);
        if prefix.contains(&to) && best.as_ref().is_none_or(|(known, _)| rank > *known) {
            best = Some((rank, (prefix, way())));
        }
    };
    for interface in interfaces(config) {
        if interface.layer3.vrf.as_deref() == vrf && interface.up {
            for net in &interface.layer3.addresses {
                take(net.trunc(), 0, &|| format!("on {}", interface.name));
            }
        }
    }
    for route in config.routes.iter().filter(|route| route.installed && route.vrf.as_deref() == vrf) {
        take(route.prefix, route.metric, &|| show_target(&route.target));
    }
    best.map(|(_, path)| path)
}

fn show_target(target: &RouteTarget) -> String {
    let hops = match target {
        RouteTarget::Blackhole => return "blackhole".to_owned(),
        RouteTarget::Unreachable => return "unreachable".to_owned(),
        RouteTarget::NextHops(hops) => hops,
    };
    let mut text = String::new();
    for hop in hops.iter() {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String does not fail.
        let _ = match hop.via {
            Some(via) => write!(text, "{separator}via {via} on {}", hop.device),
            None => write!(text, "{separator}on {}", hop.device),
        };
    }
    text
}

fn show_vrf(name: Option<&str>) -> String {
    name.map_or("the default VRF".to_owned(), |name| format!("VRF {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse(&format!("version = 1\n{text}")).expect("a valid document")
    }

    fn reason(before: &str, after: &str, connection: &str) -> Option<String> {
        let session = Session::parse(connection).expect("a connection");
        cut(&config(before), &config(after), &session)
    }

    #[test]
    fn connection_of_sshd_is_read() {
        let session = Session::parse("::ffff:192.0.2.9 50122 ::ffff:192.0.2.5 22").unwrap();
        assert_eq!(
            (session.client.to_string(), session.server.to_string()),
            ("192.0.2.9".into(), "192.0.2.5".into())
        );
        let session = Session::parse("fe80::9%mgmt0 50122 fe80::5%mgmt0 22").unwrap();
        assert_eq!((session.zone.as_deref(), session.server.to_string()), (Some("mgmt0"), "fe80::5".into()));
        for text in ["", "192.0.2.9 1", "x 1 192.0.2.5 22", "192.0.2.9 1 y 22"] {
            assert_eq!(Session::parse(text), None, "{text}");
        }
    }

    const FIXED: &str = "[management]\naddress = \"192.0.2.5/24\"\ngateway = \"192.0.2.1\"\n";

    #[test]
    fn session_over_management_ends_with_its_vrf_address_or_gateway() {
        let on_link = "192.0.2.9 50122 192.0.2.5 22";
        let far = "198.51.100.9 50122 192.0.2.5 22";
        let link_local = "fe80::9 50122 fe80::5%mgmt0 22";
        let moved = format!("{FIXED}vrf = \"mgmt\"\n");
        let other_gateway = FIXED.replace("192.0.2.1\"", "192.0.2.2\"");
        let other_address = FIXED.replace("192.0.2.5", "192.0.2.6");
        let servers = format!("{FIXED}dns = [\"192.0.2.53\"]\n[ports.swp1]\nmtu = 9000\n");
        let long = FIXED.replace("/24", "/25");
        for (before, after, connection, word) in [
            (FIXED, moved.as_str(), on_link, Some("moves to VRF mgmt")),
            (&moved, FIXED, on_link, Some("moves to the default VRF")),
            (FIXED, "", on_link, Some("by DHCP")),
            (FIXED, &other_address, on_link, Some("loses 192.0.2.5")),
            (FIXED, &other_address, link_local, None),
            (FIXED, &other_gateway, far, Some("reaches 198.51.100.9 another way")),
            (FIXED, &other_gateway, on_link, None),
            (FIXED, &long, "192.0.2.200 1 192.0.2.5 22", Some("another way")),
            (FIXED, &servers, on_link, None),
            ("", "[system]\nhostname = \"x\"\n", on_link, None),
            ("", "[management]\nvrf = \"mgmt\"\n", on_link, Some("moves to VRF mgmt")),
        ] {
            let said = reason(before, after, connection);
            assert_eq!(said.is_some(), word.is_some(), "{before} {after} {connection}: {said:?}");
            assert!(said.unwrap_or_default().contains(word.unwrap_or_default()), "{after}");
        }
    }

    const IN_BAND: &str = "\
        [control-plane]\nallow = [\"icmp\", \"arp\", \"nd\", \"ssh\"]\n\
        [vrfs.blue]\ntable = 1001\n\
        [ports.swp1]\nvlan.access = 10\n\
        [ports.swp2]\naddresses = [\"10.9.0.1/30\"]\nvrf = \"blue\"\n\
        [vlans.10]\naddresses = [\"10.0.10.1/24\"]\nvrf = \"blue\"\n\
        [[routes]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.10.254\"\nvrf = \"blue\"\n";

    #[test]
    fn session_in_band_ends_with_its_interface_vrf_route_or_permission() {
        let (far, near) = ("198.51.100.9 50122 10.0.10.1 22", "10.0.10.9 50122 10.0.10.1 22");
        for (from, to, connection, word) in [
            ("x", "x", far, None),
            ("10.0.10.1/24", "10.0.10.2/24", near, Some("loses 10.0.10.1")),
            (", \"ssh\"]", "]", near, Some("does not let ssh in")),
            (
                "via = \"10.0.10.254\"",
                "via = \"10.9.0.2\"",
                far,
                Some("becomes 0.0.0.0/0 via 10.9.0.2 on swp2"),
            ),
            ("via = \"10.0.10.254\"", "via = \"10.9.0.2\"", near, None),
            ("0.0.0.0/0", "203.0.113.0/24", far, Some("becomes no route")),
            ("vlan.access = 10", "vlan.access = 11", near, Some("carries its VLAN")),
            ("vlan.access = 10", "vlan.access = 10\nenabled = false", near, Some("carries its VLAN")),
            ("table = 1001", "table = 1002", near, Some("made anew")),
            ("[ports.swp1]", "[ports.swp3]\nmtu = 9000\n[ports.swp1]", near, None),
        ] {
            let said = reason(IN_BAND, &IN_BAND.replace(from, to), connection);
            assert_eq!(said.is_some(), word.is_some(), "{from} -> {to}: {said:?}");
            assert!(said.clone().unwrap_or_default().contains(word.unwrap_or_default()), "{to}: {said:?}");
        }
        let default = IN_BAND.replace("vrf = \"blue\"\n", "");
        assert!(
            reason(IN_BAND, &default, near).is_some_and(|said| said.contains("moves to the default VRF"))
        );
        assert!(reason(IN_BAND, "", near).is_some_and(|said| said.contains("has it no more")));
    }
}
