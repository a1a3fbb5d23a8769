//! What is wanted: the configuration and the attachments, as the plan's [`Network`]. Pure.

mod bridge;
mod next_hops;
mod ports;
mod reserved;
mod routes;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

pub use netd_api::config::DEFAULT_MTU_BYTES;
use netd_api::config::model::{self, PortVlans};
use netd_api::config::{Config, IPV6_MTU_BYTES};
pub use ports::hash_number;

use crate::attach::Record;
use crate::plan::{Link, LinkKind, Network, Setting, Settings, VlanMembership, VlanTable};

/// Name of the one bridge.
pub const BRIDGE: &str = "bridge";

/// Everything that decides what is wanted.
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Front-panel ports of this switch.
    pub ports: &'a BTreeSet<String>,
    /// Hardware addresses the ports were born with, where the driver tells: what they go back to.
    pub permanent_macs: &'a BTreeMap<String, String>,
    /// How ports were set before netd set them, of those it did: what they go back to.
    pub original_modes: &'a BTreeMap<String, Settings>,
    /// Speed and duplex that netd set of ports: only these are ever to be forgotten.
    pub set_modes: &'a BTreeMap<String, Settings>,
    /// Attachments.
    pub attachments: &'a BTreeMap<String, Record>,
    /// Hardware address of the bridge and its VLAN interfaces; it must not change as ports come and go.
    pub bridge_mac: &'a str,
    /// Whether routes go by next hop objects.
    pub objects: bool,
}

/// The network that is wanted.
pub fn network(inputs: &Inputs) -> Network {
    let mut network = Network::default();
    rules::add(inputs.config, &mut network);
    routes::add_vrfs(inputs, &mut network);
    ports::add(inputs, &mut network);
    for (name, loopback) in &inputs.config.loopbacks {
        let mut link = Link { up: true, ..Link::new(LinkKind::Dummy) };
        add_layer3(&mut link, &loopback.layer3);
        link.set(Setting::LinkLocal, false);
        network.links.insert(name.clone(), link);
    }
    bridge::add(inputs, &mut network);
    reserved::add(inputs.config, &mut network);
    routes::add(inputs, &mut network);
    // On a link with a smaller MTU the kernel has no IPv6 device, and so nothing of it to set.
    for link in network.links.values_mut() {
        if link.number(Setting::Mtu).is_some_and(|mtu| mtu < IPV6_MTU_BYTES) {
            link.settings.remove(&Setting::LinkLocal);
        }
    }
    network
}

/// VLANs of a bridge port.
fn vlan_table(vlans: &PortVlans) -> VlanTable {
    let mut table = VlanTable::default();
    for range in &vlans.tagged {
        table.insert(range.first, range.last, VlanMembership::default());
    }
    if let Some(id) = vlans.untagged {
        table.insert(id, id, VlanMembership { pvid: true, untagged: true });
    }
    table
}

fn add_layer3(link: &mut Link, layer3: &model::Layer3) {
    link.master.clone_from(&layer3.vrf);
    link.addresses.clone_from(&layer3.addresses);
    link.set(Setting::LinkLocal, true);
}

/// A map that the configuration leaves out is empty, not "as it is": removed from the document, it goes.
fn add_pcp(link: &mut Link, pcp: &model::PcpMaps) {
    link.set(Setting::PcpIngress, pcp.ingress.to_string());
    link.set(Setting::PcpEgress, pcp.egress.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LINK_MODES, Value};

    pub(super) fn wanted(document: &str) -> Network {
        wanted_with(document, &BTreeMap::new())
    }

    fn wanted_with(document: &str, attachments: &BTreeMap<String, Record>) -> Network {
        let config = netd_api::config::parse(document).expect("a valid document");
        let ports = (1..=4).map(|n| format!("swp{n}")).collect();
        network(&Inputs {
            config: &config,
            ports: &ports,
            permanent_macs: &BTreeMap::new(),
            original_modes: &BTreeMap::new(),
            set_modes: &BTreeMap::new(),
            attachments,
            bridge_mac: "02:00:00:00:00:01",
            objects: true,
        })
    }

    #[test]
    fn ports_the_configuration_does_not_mention_are_down_and_outside_the_bridge() {
        let network = wanted("version = 1\n[ports.swp1]\nvlan.access = 10\n");
        assert!(network.links["swp1"].up);
        assert_eq!(network.links["swp1"].master.as_deref(), Some(BRIDGE));
        assert!(!network.links["swp2"].up);
        assert_eq!(network.links["swp2"].master, None);
    }

    #[test]
    fn a_port_the_configuration_says_no_speed_of_is_set_as_it_was_before_netd() {
        let original: Settings = [(Setting::Autoneg, false), (Setting::FullDuplex, true)]
            .map(|(setting, on)| (setting, Value::Flag(on)))
            .into();
        let config = |text: &str| {
            netd_api::config::parse(&format!("version = 1\n[ports.swp1]\n{text}\n"))
                .expect("a valid document")
        };
        let set: Settings = [(Setting::Speed, Value::Number(10_000))].into();
        let modes = |text: &str, original: &Settings, set: &Settings| -> Settings {
            let mut network = network(&Inputs {
                config: &config(text),
                ports: &["swp1".to_owned()].into(),
                permanent_macs: &BTreeMap::new(),
                original_modes: &[("swp1".to_owned(), original.clone())].into(),
                set_modes: &[("swp1".to_owned(), set.clone())].into(),
                attachments: &BTreeMap::new(),
                bridge_mac: "02:00:00:00:00:01",
                objects: true,
            });
            let mut settings = network.links.remove("swp1").expect("the port").settings;
            settings.retain(|setting, _| LINK_MODES.contains(setting));
            settings
        };
        let mut expected = original.clone();
        expected.insert(Setting::Speed, Value::unknown());
        assert_eq!(modes("", &original, &set), expected);
        // What the driver tells by itself, perhaps only now that it has a carrier, is not netd's to take back.
        let unknown: Settings = [(Setting::Speed, Value::unknown())].into();
        for set in [Settings::new(), unknown] {
            assert_eq!(modes("", &original, &set), original);
        }
        let fixed = modes("speed = \"10G\"\nautoneg = false\n", &original, &set);
        assert_eq!(fixed.get(&Setting::Speed), Some(&Value::Number(10_000)));
        assert_eq!(fixed.get(&Setting::FullDuplex), Some(&Value::Flag(true)));
        // What was negotiated is negotiated again, whatever came of it, and not the one speed that was set.
        let autoneg = (Setting::Autoneg, Value::Flag(true));
        let negotiated: Settings = [autoneg.clone(), (Setting::Speed, Value::Number(1000))].into();
        let all: Settings = [autoneg.clone(), (Setting::Speed, Value::unknown())].into();
        assert_eq!(modes("", &negotiated, &set), all);
        assert_eq!(modes("", &negotiated, &Settings::new()), [autoneg.clone()].into());
        // What somebody had it offer is offered again, and so is all of it, whether netd knows to have set it or not.
        for offered in [Value::from("10baseT/Full 100baseT/Full"), Value::unknown()] {
            let before: Settings = [autoneg.clone(), (Setting::Speed, offered)].into();
            assert_eq!(modes("", &before, &set), before);
            assert_eq!(modes("", &before, &Settings::new()), before);
        }
        // Whatever ran before, the same document means the same.
        let one: Settings = [autoneg, (Setting::Speed, Value::Number(100))].into();
        assert_eq!(modes("speed = \"100M\"", &negotiated, &set), one);
        assert_eq!(modes("speed = \"100M\"", &negotiated, &Settings::new()), one);
        // No driver takes an unknown speed of a port that does not negotiate but did.
        let fixed: Settings = [(Setting::Autoneg, Value::Flag(false))].into();
        let before: Settings =
            [(Setting::Autoneg, Value::Flag(true)), (Setting::Speed, Value::unknown())].into();
        assert_eq!(modes("autoneg = false", &before, &set), fixed);
    }

    #[test]
    fn priorities_and_reserved_groups_are_what_the_document_says_or_nothing() {
        let network = wanted(
            "version = 1\n[ports.swp1]\nvlan.access = 10\nforward-reserved = [\"lldp\", \"eapol\"]\n\
             [ports.swp2]\nvlan.access = 10\n[ports.swp3]\n[subinterfaces.\"swp3.10\"]\npcp.ingress = { 5 = 3 }\n\
             [vlans.10]\naddresses = [\"10.0.10.1/24\"]\npcp.egress = { 3 = 6, 7 = 7 }\n",
        );
        let text = |link: &str, setting| network.links[link].settings[&setting].text().to_owned();
        assert_eq!(text("swp1", Setting::ForwardReserved), "eapol lldp");
        assert_eq!(text("swp2", Setting::ForwardReserved), "");
        assert_eq!(text("swp3.10", Setting::PcpIngress), "5:3");
        assert_eq!(text("swp3.10", Setting::PcpEgress), "");
        assert_eq!(text("vlan10", Setting::PcpEgress), "3:6 7:7");
    }

    #[test]
    fn an_interface_of_a_vlan_is_as_narrow_as_its_narrowest_port() {
        let network = wanted(
            "version = 1\n[ports.swp1]\nmtu = 9000\nvlan.access = 10\n[ports.swp2]\nmtu = 4000\nvlan.trunk = [10]\n\
             [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n",
        );
        assert_eq!(network.links["vlan10"].number(Setting::Mtu), Some(4000));
        assert_eq!(network.links[BRIDGE].number(Setting::Mtu), Some(9000));
    }

    #[test]
    fn a_tunnel_is_as_wide_as_its_way_out_less_its_headers_and_its_vlan_with_it() {
        let tunnel = |document: &str| {
            let network = wanted(&format!(
                "version = 1\n[loopbacks.lo0]\naddresses = [\"198.51.100.1/32\", \"2001:db8::1/128\"]\n\
                 [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n[vxlans.vx10]\nvni = 10\nvlan = 10\n{document}"
            ));
            let mtu = |link: &str| network.links[link].number(Setting::Mtu);
            (mtu("vx10").expect("an MTU"), mtu("vlan10").expect("an MTU"))
        };
        let v4 = "local = \"198.51.100.1\"\nremotes = [\"198.51.100.2\", \"198.51.100.3\"]\n";
        let ports = "[ports.swp1]\nmtu = 9216\nvlan.access = 10\n[ports.swp2]\nmtu = 9000\n\
                     addresses = [\"192.0.2.1/31\", \"2001:db8:2::1/64\"]\n[ports.swp3]\nmtu = 4000\naddresses = [\"192.0.2.3/31\"]\n";
        let route = |prefix: &str, via: &str| format!("[[routes]]\nprefix = \"{prefix}\"\nvia = \"{via}\"\n");
        // Without a port or a way: the default.
        assert_eq!(tunnel(v4), (1450, 1450));
        // No route: it may leave by any.
        assert_eq!(tunnel(&format!("{v4}{ports}")), (3950, 3950));
        // The longest prefix decides, for each remote end point.
        let wide = route("198.51.100.0/24", "192.0.2.0") + &route("0.0.0.0/0", "192.0.2.2");
        assert_eq!(tunnel(&format!("{v4}{ports}{wide}")), (8950, 8950));
        let one_narrow = wide + &route("198.51.100.3/32", "192.0.2.2");
        assert_eq!(tunnel(&format!("{v4}{ports}{one_narrow}")), (3950, 3950));
        // IPv6 has longer headers, and a subnet needs no route.
        let v6 = "local = \"2001:db8::1\"\nremotes = [\"2001:db8:2::2\"]\n";
        assert_eq!(tunnel(&format!("{v6}{ports}")), (8930, 8930));
        // Out by the VLAN of a port that is narrower still, and never by its own.
        let by_vlan =
            "[ports.swp4]\nmtu = 1300\nvlan.access = 20\n[vlans.20]\naddresses = [\"10.0.20.1/24\"]\n";
        let route = route("198.51.100.0/24", "10.0.20.2");
        assert_eq!(tunnel(&format!("{v4}{by_vlan}{route}")), (1250, 1250));
    }

    #[test]
    fn groups_of_the_link_go_to_all_ports_of_a_vlan_with_a_querier() {
        let network = wanted(
            "version = 1\n[ports.swp1]\nvlan.access = 10\n[ports.swp2]\nvlan.trunk = [\"10-11\"]\n[vlans.10]\nquerier = true\n\
             [[mdb]]\ngroup = \"ff02::1:ff00:1\"\nvlan = 11\nports = [\"swp2\"]\n",
        );
        let vlans = |port: &str| Vec::<String>::from(network.links[port].link_groups.clone());
        assert_eq!((vlans("swp1"), vlans("swp2")), (vec!["10".to_owned()], vec!["10".to_owned()]));
        let others: Vec<String> = network.mdb.iter().map(ToString::to_string).collect();
        assert_eq!(others, ["group ff02::1:ff00:1 vlan 11 port swp2"]);
    }

    #[test]
    fn links_with_an_mtu_below_that_of_ipv6_have_no_settings_of_it() {
        for (mtu, has_ipv6) in [(68, false), (1279, false), (1280, true), (9216, true)] {
            let network = wanted(&format!(
                "version = 1\n[ports.swp1]\nmtu = {mtu}\nvlan.access = 10\n[ports.swp2]\nmtu = {mtu}\n\
                 addresses = [\"10.0.2.1/24\"]\n[subinterfaces.\"swp2.5\"]\naddresses = [\"10.0.5.1/24\"]\n\
                 [lags.uplink]\nmembers = [\"swp3\"]\nmtu = {mtu}\nvlan.access = 10\n\
                 [vlans.10]\naddresses = [\"10.0.10.1/24\"]\n",
            ));
            for name in ["swp1", "swp2", "swp2.5", "swp3", "uplink", "vlan10"] {
                let link = &network.links[name];
                assert_eq!(link.number(Setting::Mtu), Some(mtu), "{name}");
                assert_eq!(link.settings.contains_key(&Setting::LinkLocal), has_ipv6, "{name} {mtu}");
            }
        }
    }

    #[test]
    fn a_workload_changes_the_mtu_of_no_interface_but_its_own() {
        let document = "version = 1\n[ports.swp1]\nvlan.access = 10\n[vlans.10]\naddresses = [\"10.0.10.1/24\"]\n\
                        [vlans.20]\naddresses = [\"10.0.20.1/24\"]\n";
        let alone = wanted(document);
        for mtu_bytes in [576, 9000] {
            let request = netd_api::attach::AttachRequest {
                key: "default/web/eth0".to_owned(),
                interface: "eth0".to_owned(),
                untagged_vlan: 10,
                tagged_vlans: vec![netd_api::state::VlanRange { first: 20, last: 20 }],
                mtu_bytes,
                ..netd_api::attach::AttachRequest::default()
            };
            let record = crate::attach::check_request(&request).expect("a valid request");
            let mut network = wanted_with(document, &[(record.key.clone(), record.clone())].into());
            let port = network.links.remove(&record.port).expect("its port");
            assert_eq!(port.number(Setting::Mtu), Some(mtu_bytes));
            assert_eq!(port.settings.contains_key(&Setting::LinkLocal), mtu_bytes >= IPV6_MTU_BYTES);
            assert_eq!(network, alone);
        }
    }

    #[test]
    fn table_of_a_vrf_comes_before_that_of_local_addresses() {
        let of = |document: &str| -> Vec<String> {
            wanted(&format!("version = 1\n{document}")).rules.iter().map(ToString::to_string).collect()
        };
        let both = |rules: &[&str]| -> Vec<String> {
            ["ipv4", "ipv6"]
                .iter()
                .flat_map(|family| rules.iter().map(move |rule| format!("{family} {rule}")))
                .collect()
        };
        for document in ["[vrfs.blue]\ntable = 1001\n", "[management]\nvrf = \"mgmt\"\n"] {
            assert_eq!(of(document), both(&["1000 l3mdev", "32765 local", "32766 main"]));
        }
        assert_eq!(of(""), both(&["32765 local", "32766 main"]), "no rule by VRF without VRFs");
    }

    #[test]
    fn a_lag_has_an_address_of_its_own_whatever_its_members() {
        let mac = |document: &str, name: &str| {
            let link = wanted(document).links.remove(name).expect("the LAG");
            let text = |setting| link.settings.get(&setting).map(|value| value.text().to_owned());
            (text(Setting::Mac), text(Setting::LacpSystem))
        };
        let lag = |members: &str| format!("version = 1\n[lags.uplink]\nmembers = {members}\n");
        let (first, system) = mac(&lag("[\"swp1\", \"swp2\"]"), "uplink");
        assert_eq!(first, system, "LACP partners see the same");
        assert_eq!(mac(&lag("[\"swp2\"]"), "uplink").0, first);
        assert_eq!(mac(&lag("[\"swp4\", \"swp3\"]"), "uplink").0, first);
        let first = first.expect("an address");
        // Locally administered, of one host, and of this LAG alone.
        assert!(u8::from_str_radix(&first[..2], 16).is_ok_and(|byte| byte & 3 == 2), "{first}");
        let others = "version = 1\n[lags.other]\nmembers = [\"swp1\"]\n[lags.fixed]\nmembers = [\"swp2\"]\n\
                      mac = \"02:00:5e:00:53:07\"\n[lags.static]\nmembers = [\"swp3\"]\nmode = \"static\"\n";
        assert_ne!(mac(others, "other").0.as_ref(), Some(&first));
        let fixed = Some("02:00:5e:00:53:07".to_owned());
        assert_eq!(mac(others, "fixed"), (fixed.clone(), fixed));
        assert_eq!(mac(others, "static").1, None);
    }

    #[test]
    fn a_vrf_ends_lookups_in_both_families() {
        let network = wanted("version = 1\n[vrfs.blue]\ntable = 1001\n");
        assert_eq!(network.routes.len(), 2);
        assert!(network.routes.iter().all(|route| route.target == crate::plan::RouteTarget::Unreachable));
    }
}
