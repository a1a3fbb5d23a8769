//! Whom the switch believes, and what isolation means to packets: rules that follow from interfaces and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use netd_api::config::Config;
use netd_api::config::model::{NextHop, PortRole, RouteTarget, vlan_interface};

use super::{layer3, quoted};

/// What a packet of an isolated port is marked with, and one of those that leaves by the interface it came in by. Two
/// bits of the mark, so that others are left to others.
const ISOLATED: &str = "0x40000000";
const RETURNS: &str = "0x80000000";

/// Most prefixes that lead to an interface and have a rule. One that more is behind is no interface of hosts.
const MOST_PREFIXES: usize = 64;

/// Lets hosts ask for the switch's addresses as members of its subnets alone, as other switches do: the kernel takes
/// whoever asks for a neighbour. Hosts with several interfaces ask as whom they speak, so that those behind them may ask
/// as well. Probes are of nobody (RFC 5227, section 1.1). Interfaces that have no subnet take anybody.
pub(super) fn arp_senders(config: &Config) -> String {
    let behind = behind(config);
    let mut text = String::new();
    for (name, layer3) in layer3(config) {
        let subnets = layer3.addresses.iter().filter_map(ipv4);
        let mut senders: Vec<Ipv4Net> = subnets.map(|address| address.trunc()).collect();
        let behind = behind.get(name.as_str());
        if senders.iter().all(|net| net.prefix_len() == 32)
            || behind.is_some_and(|prefixes| prefixes.len() > MOST_PREFIXES)
        {
            continue;
        }
        senders.extend(behind.into_iter().flatten());
        // One that holds all others would leave nothing to drop.
        let senders = Ipv4Net::aggregate(&senders);
        if senders.iter().any(|net| net.prefix_len() == 0) {
            continue;
        }
        let senders: Vec<String> = senders.iter().map(Ipv4Net::to_string).collect();
        let _ = writeln!(
            text,
            "\t\tiifname \"{name}\" arp operation request arp saddr ip != {{ 0.0.0.0, {} }} drop",
            senders.join(", ")
        );
    }
    text
}

fn ipv4(net: &IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    }
}

/// What the document says is behind an interface, or on its link besides its subnets. Of more than [`MOST_PREFIXES`] it
/// is enough to know that.
fn behind(config: &Config) -> BTreeMap<&str, BTreeSet<Ipv4Net>> {
    let mut found = BTreeMap::<&str, BTreeSet<Ipv4Net>>::new();
    // Routes that are written alike share one list, and there may be a million.
    let mut enough: *const NextHop = std::ptr::null();
    for route in &config.routes {
        let (RouteTarget::NextHops(hops), Some(prefix)) = (&route.target, ipv4(&route.prefix)) else {
            continue;
        };
        if std::ptr::eq(enough, hops.as_ptr()) {
            continue;
        }
        let mut is_enough = true;
        for hop in hops.iter() {
            let prefixes = found.entry(&hop.device).or_default();
            if prefixes.len() > MOST_PREFIXES {
                continue;
            }
            is_enough = false;
            prefixes.insert(prefix);
            if let (Some(IpAddr::V4(via)), true) = (hop.via, hop.on_link) {
                prefixes.insert(via.into());
            }
        }
        if is_enough {
            enough = hops.as_ptr();
        }
    }
    for neighbour in &config.neighbours {
        if let IpAddr::V4(address) = neighbour.address {
            let prefixes = found.entry(&neighbour.device).or_default();
            if prefixes.len() <= MOST_PREFIXES {
                prefixes.insert(address.into());
            }
        }
    }
    found
}

/// Rules that keep isolated ports apart behind the switch's own router, too: those of the bridge's `prerouting`, those
/// of its `output`, and those of the routed packets' `forward`. A packet from an isolated port that is routed back into
/// its VLAN must not leave by another one. All are empty where there is nothing to keep apart.
pub(super) fn isolation(config: &Config) -> [String; 3] {
    let ports = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Bridged(port) if port.isolated => Some(name),
        _ => None,
    });
    let ports: BTreeSet<&str> = ports.collect();
    let vlans = config.vlans.iter().filter(|(_, vlan)| vlan.has_interface());
    let interfaces: Vec<String> = vlans.map(|(id, _)| vlan_interface(*id)).collect();
    if ports.is_empty() || interfaces.is_empty() {
        return Default::default();
    }
    let ports = quoted(&ports);
    let mut forward = String::new();
    for name in interfaces {
        // In a VRF the interface is the second.
        for came in ["iifname", "meta sdifname"] {
            let _ = writeln!(
                forward,
                "\t\t{came} \"{name}\" oifname \"{name}\" meta mark & {ISOLATED} != 0 meta mark set meta mark | {RETURNS}"
            );
        }
    }
    [
        format!("\t\tiifname {{ {ports} }} meta mark set meta mark | {ISOLATED}\n"),
        format!("\t\toifname {{ {ports} }} meta mark & {RETURNS} != 0 drop\n"),
        forward,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &str) -> Config {
        netd_api::config::parse(&format!("version = 1\n{document}")).expect(document)
    }

    #[test]
    fn arp_senders_are_of_the_subnets_or_behind_the_interface() {
        let rules = |document: &str| arp_senders(&of(document));
        assert_eq!(rules("[ports.swp1]\naddresses = [\"2001:db8::1/64\"]\n"), "");
        // Without a subnet it is not known who may be there.
        assert_eq!(rules("[ports.swp1]\naddresses = [\"192.0.2.1/32\"]\n"), "");
        let swp1 = "[ports.swp1]\naddresses = [\"10.0.0.1/24\", \"10.0.0.2/24\", \"10.0.1.1/24\"]\n";
        let rule = |senders: &str| {
            format!(
                "\t\tiifname \"swp1\" arp operation request arp saddr ip != {{ 0.0.0.0, {senders} }} drop\n"
            )
        };
        assert_eq!(rules(swp1), rule("10.0.0.0/23"));
        let more = "[[routes]]\nprefix = \"203.0.113.0/24\"\nvia = \"192.0.2.9\"\ndev = \"swp1\"\n\
                    [[routes]]\nprefix = \"203.0.114.0/24\"\nvia = \"192.0.2.9\"\ndev = \"swp1\"\n\
                    [[routes]]\nprefix = \"198.51.100.0/24\"\ndev = \"swp1\"\n\
                    [[routes]]\nprefix = \"203.0.115.0/24\"\nvia = \"10.0.0.9\"\n\
                    [[neighbours]]\naddress = \"192.0.2.7\"\nmac = \"02:00:00:00:00:07\"\ndev = \"swp1\"\n";
        let found = rules(&format!("{swp1}{more}"));
        let behind = "192.0.2.7/32, 192.0.2.9/32, 198.51.100.0/24, 203.0.113.0/24, 203.0.114.0/23";
        assert_eq!(found, rule(&format!("10.0.0.0/23, {behind}")));
        // Behind an uplink may be anybody.
        let all = "[[routes]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.0.9\"\n";
        assert_eq!(rules(&format!("{swp1}{all}")), "");
        let many = |count: u8| -> String {
            let route = |number| format!("[[routes]]\nprefix = \"10.{number}.7.7/32\"\nvia = \"10.0.0.9\"\n");
            (1..=count).map(route).collect()
        };
        assert_eq!(rules(&format!("{swp1}{}", many(64))).matches(".7.7/32").count(), 64);
        assert_eq!(rules(&format!("{swp1}{}", many(65))), "");
    }

    #[test]
    fn isolation_counts_for_packets_where_isolated_ports_have_a_router() {
        let ports = "[ports.\"swp[1-2]\"]\nvlan.access = 10\nisolated = true\n";
        let router = "[vlans.10]\naddresses = [\"10.0.10.1/24\"]\n";
        for document in [ports, router, ""] {
            assert_eq!(isolation(&of(document)), [""; 3].map(str::to_owned), "{document}");
        }
        let [prerouting, output, forward] = isolation(&of(&format!("{ports}{router}")));
        assert!(prerouting.contains("iifname { \"swp1\", \"swp2\" } meta mark set"), "{prerouting}");
        assert!(
            output.contains("oifname { \"swp1\", \"swp2\" } meta mark & 0x80000000 != 0 drop"),
            "{output}"
        );
        assert!(forward.contains("iifname \"vlan10\" oifname \"vlan10\""), "{forward}");
    }
}
