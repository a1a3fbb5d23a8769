//! Frames to reserved groups (IEEE 802.1Q, table 8-1) that come in without a tag on a port that has no VLAN for them.
//!
//! The bridge forwards frames in VLANs only, and such frames never have a tag. On a port without a native VLAN the
//! lowest of its VLANs is theirs: a filter puts them into it before the bridge sees them, so that it forwards them
//! as it does everything else there, past ports that the spanning tree blocks and isolated ones, and another one takes
//! the tag away where they leave. Other frames without a tag are dropped as before.

use netd_api::config::Config;
use netd_api::config::model::{BridgePort, PortRole, ReservedGroups};

use super::BRIDGE;
use crate::plan::{Direction, Filter, FilterKey, MaskedMac, Network, Tag, TagAction};

/// The groups.
const GROUPS: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00];
/// What is the same in the addresses of all groups.
const OF_ALL: [u8; 6] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xf0];
/// How many groups there are.
const COUNT: u16 = 16;
/// The group of the spanning tree, as a bit of [`ReservedGroups`].
const SPANNING_TREE: u16 = 1;

pub(super) fn add(config: &Config, network: &mut Network) {
    let bridged = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Bridged(port) => Some((name, port)),
        _ => None,
    });
    let bridged: Vec<(&str, &BridgePort)> = bridged.collect();
    let of_all = if config.bridge.stp { 0 } else { SPANNING_TREE };
    let any = bridged.iter().fold(of_all, |groups, (_, port)| groups | port.forward_reserved.0);
    if any == 0 {
        return;
    }
    for (name, port) in bridged {
        let in_bridge = network.links.get(name).is_some_and(|link| link.master.as_deref() == Some(BRIDGE));
        let lowest = port.vlans.tagged.first().map(|range| range.first);
        if let Some(vlan_id) = lowest.filter(|_| in_bridge && port.vlans.untagged.is_none()) {
            add_port(name, ReservedGroups(port.forward_reserved.0 | of_all), vlan_id, network);
        }
    }
}

fn add_port(name: &str, groups: ReservedGroups, vlan_id: u16, network: &mut Network) {
    let key = |direction, place| FilterKey {
        link: name.to_owned(),
        direction,
        preference: FilterKey::FIRST + place,
    };
    for group in (0..COUNT).filter(|group| groups.0 & 1 << group != 0) {
        let mut address = GROUPS;
        address[5] = group as u8;
        let address = MaskedMac::one(address);
        // A tag that says a priority alone is none (802.1Q, 6.9.1).
        for (place, tag, action) in [
            (group, Tag::Untagged, TagAction::Push(vlan_id)),
            (COUNT + group, Tag::Vlan(0), TagAction::Modify(vlan_id)),
        ] {
            network.add_filter(key(Direction::Ingress, place), Filter::Destination { address, tag, action });
        }
    }
    let address = MaskedMac { address: GROUPS, mask: OF_ALL };
    let leaves = Filter::Destination { address, tag: Tag::Vlan(vlan_id), action: TagAction::Pop };
    network.add_filter(key(Direction::Egress, 0), leaves);
}

#[cfg(test)]
mod tests {
    use crate::desired::tests::wanted;

    fn filters(document: &str) -> Vec<String> {
        let network = wanted(&format!("version = 1\n{document}"));
        let links = network.links.iter().filter(|(_, link)| link.clsact);
        let with: Vec<&String> = links.map(|(name, _)| name).collect();
        let mut named: Vec<&String> = network.filters.keys().map(|key| &key.link).collect();
        named.dedup();
        assert_eq!(with, named);
        network.filters.iter().map(|(key, filter)| format!("{key}: {filter}")).collect()
    }

    #[test]
    fn reserved_groups_on_a_trunk_without_a_native_vlan_are_in_its_lowest() {
        let of_spanning_tree = [
            "swp1 ingress 16384: to 01:80:c2:00:00:00 untagged: vlan push 10",
            "swp1 ingress 16400: to 01:80:c2:00:00:00 vlan 0: vlan modify 10",
            "swp1 egress 16384: to 01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0 vlan 10: vlan pop",
        ];
        let trunk = "[ports.swp1]\nvlan.trunk = [\"30\", \"10-20\"]\n";
        assert_eq!(filters(trunk), of_spanning_tree);
        let lldp = format!("{trunk}forward-reserved = [\"lldp\"]\n");
        let found = filters(&lldp);
        assert!(
            found.contains(&"swp1 ingress 16398: to 01:80:c2:00:00:0e untagged: vlan push 10".to_owned())
        );
        assert_eq!(found.len(), 5);
        // The spanning tree's own frames are the switch's where it runs.
        let stp = "[bridge]\nstp = true\n";
        assert_eq!(filters(&format!("{trunk}{stp}")), [""; 0]);
        let found = filters(&format!("{lldp}{stp}"));
        assert!(found.len() == 3 && !found.iter().any(|filter| filter.contains("00:00:00 untagged")));
        // What another port forwards leaves this one without a tag.
        let access = "[ports.swp2]\nvlan.access = 10\nforward-reserved = [\"eapol\"]\n";
        assert_eq!(filters(&format!("{trunk}{stp}{access}")), [of_spanning_tree[2]]);
    }

    #[test]
    fn ports_with_a_vlan_for_untagged_frames_have_no_filters() {
        for role in [
            "vlan.access = 10",
            "vlan.trunk = [\"10-20\"]\nvlan.native = 1",
            "addresses = [\"192.0.2.1/24\"]",
            "",
        ] {
            assert_eq!(filters(&format!("[ports.swp1]\n{role}\n")), [""; 0], "{role}");
        }
        // LAGs are ports like others, and their members none.
        let found = filters("[lags.uplink]\nmembers = [\"swp1\"]\nvlan.trunk = [5]\n");
        assert!(found.len() == 3 && found.iter().all(|filter| filter.starts_with("uplink ")), "{found:?}");
    }
}
