//! The bridge, its VLAN interfaces, its tunnels, and what is fixed in its tables.

use std::collections::BTreeMap;

use netd_api::config::model::{Vxlan, vlan_interface};
use netd_api::config::{MAX_BRIDGE_PORTS, Mtus};

use super::{BRIDGE, DEFAULT_MTU_BYTES, Inputs, add_layer3};
use crate::plan::{FdbKey, LINK_GROUPS, Link, LinkKind, MdbKey, Network, Setting, VlanMembership, VlanTable};

/// Hundredths of a second (`USER_HZ`), the unit of the bridge's timers.
const HUNDREDTHS: u32 = 100;
/// Forward delay, in seconds (IEEE 802.1D-1998, table 8-3). Without the spanning tree ports forward at once whatever
/// it is, but it is also how long addresses are kept while the topology changes: with 0 none would be learned until a
/// change ends that was under way when the spanning tree was turned off.
const FORWARD_DELAY_S: u32 = 15;
/// Most groups the bridge knows besides those that hosts ask for: 16384 that the document may name, and ten of IPv6's
/// link in each VLAN with a querier. The kernel's own 4096 are fewer than the document may name.
const MULTICAST_GROUPS: u32 = 65_536;
/// Time to live of a tunnel's packets, the default of IP (RFC 1700).
const TUNNEL_TTL: u32 = 64;
/// Ageing time in seconds that the kernel takes for none (`FDB_AGE_DEFAULT`).
const VXLAN_AGEING_S: u32 = 300;
/// Where frames go whose address has no known place.
const FLOOD: &str = "00:00:00:00:00:00";

pub(super) fn add(inputs: &Inputs, network: &mut Network) {
    let config = inputs.config;
    let mtus = Mtus::new(config, &config.routes, |port| inputs.ports.contains(port));
    for (name, vxlan) in &config.vxlans {
        add_vxlan(name, vxlan, mtus.tunnel(name).bytes, config.bridge.ageing_time_s, network);
    }
    add_bridge(inputs, &mtus, network);
    add_link_groups(network);
    for entry in &inputs.config.fdb {
        let key = FdbKey { mac: entry.mac.to_string(), vlan_id: entry.vlan_id, tunnel: None };
        network.fdb.insert(key, entry.port.clone());
    }
    for entry in &inputs.config.mdb {
        let key = |port: &String| MdbKey { group: entry.group, vlan_id: entry.vlan_id, port: port.clone() };
        network.mdb.extend(entry.ports.iter().map(key));
    }
    network.fold_link_groups();
    bound_groups(inputs.config.bridge.most_groups, network);
}

/// Bounds what hosts may join, on every port that hosts are behind: one that joins more groups than the kernel's table
/// has room for would turn snooping off for all (`br_multicast_new_group`). Groups that are not theirs have their own
/// room, and the table has room for all ports.
fn bound_groups(most: u32, network: &mut Network) {
    let mut fixed = BTreeMap::<&str, u32>::new();
    network.mdb.iter().for_each(|key| *fixed.entry(&key.port).or_default() += 1);
    for (name, link) in &mut network.links {
        if link.master.as_deref() == Some(BRIDGE) {
            let in_vlans = link.link_groups.ids() * LINK_GROUPS.len() as u32;
            let fixed = fixed.get(name.as_str()).copied().unwrap_or_default();
            link.set(Setting::MostGroups, most + fixed + in_vlans);
        }
    }
    if let Some(bridge) = network.links.get_mut(BRIDGE) {
        // Workloads come and go and change nothing for others: as if there were as many ports as there may be.
        bridge.set(Setting::MulticastGroups, MULTICAST_GROUPS + most * MAX_BRIDGE_PORTS as u32);
    }
}

fn add_vxlan(name: &str, vxlan: &Vxlan, mtu_bytes: u32, ageing_time_s: u32, network: &mut Network) {
    let kind = LinkKind::Vxlan { vni: vxlan.vni, local: vxlan.local, port: vxlan.port };
    let mut link = Link { up: true, ..Link::new(kind) };
    link.set(Setting::LinkLocal, false);
    link.set(Setting::Mtu, mtu_bytes);
    // Packets are not fragmented (RFC 7348, section 4.3), and need no checksum (section 5).
    link.set(Setting::TunnelTtl, TUNNEL_TTL);
    link.set(Setting::DontFragment, vxlan.local.is_ipv4());
    link.set(Setting::UdpChecksum, false);
    // It learns what the bridge learns. For an ageing time of 0 the kernel takes its own.
    link.set(Setting::TunnelLearning, ageing_time_s != 0);
    let ageing_time_s = if ageing_time_s == 0 { VXLAN_AGEING_S } else { ageing_time_s };
    link.set(Setting::TunnelAgeing, ageing_time_s);
    link.master = Some(BRIDGE.to_owned());
    link.vlans.insert(vxlan.vlan_id, vxlan.vlan_id, VlanMembership { pvid: true, untagged: true });
    network.links.insert(name.to_owned(), link);
    for remote in &vxlan.remotes {
        let tunnel = Some((name.to_owned(), *remote));
        network.fdb.insert(FdbKey { mac: FLOOD.to_owned(), vlan_id: 0, tunnel }, name.to_owned());
    }
}

/// Makes all ports of a VLAN members of the groups of the link where the bridge asks for members: it prunes them there.
fn add_link_groups(network: &mut Network) {
    let Some(queriers) = network.links.get(BRIDGE).map(|bridge| bridge.queriers.clone()) else { return };
    for link in network.links.values_mut().filter(|link| link.master.as_deref() == Some(BRIDGE)) {
        link.link_groups.insert_all(&link.vlans.shared_with(&queriers));
    }
}

/// The VLANs in which the bridge asks for members of groups.
fn queriers(inputs: &Inputs, network: &Network) -> VlanTable {
    let mut vlans = VlanTable::default();
    if inputs.config.bridge.querier {
        let of_bridge = |link: &&Link| link.master.as_deref() == Some(BRIDGE);
        network.links.values().filter(of_bridge).for_each(|link| vlans.insert_all(&link.vlans));
    }
    for (&id, vlan) in &inputs.config.vlans {
        match vlan.querier.unwrap_or(inputs.config.bridge.querier) {
            true => vlans.insert(id, id, VlanMembership::default()),
            false => vlans.remove(id, id),
        }
    }
    vlans
}

/// The bridge, with its VLAN interfaces and its own membership in their VLANs.
fn add_bridge(inputs: &Inputs, mtus: &Mtus<'_>, network: &mut Network) {
    let wanted = &inputs.config.bridge;
    let mut bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
    bridge.set(Setting::VlanFiltering, true);
    bridge.set(Setting::DefaultPvid, 0_u32);
    // Its questions for members of IPv6 groups come from a link-local address (RFC 2710), or not at all.
    bridge.set(Setting::LinkLocal, true);
    bridge.set(Setting::Mac, inputs.bridge_mac);
    bridge.set(Setting::AgeingTime, wanted.ageing_time_s * HUNDREDTHS);
    bridge.set(Setting::MostLearned, wanted.most_learned);
    bridge.set(Setting::Stp, wanted.stp);
    bridge.set(Setting::Priority, wanted.priority);
    bridge.set(Setting::ForwardDelay, FORWARD_DELAY_S * HUNDREDTHS);
    bridge.set(Setting::MulticastSnooping, wanted.igmp_snooping);
    // Else a querier in one VLAN would make the bridge prune in others, whose hosts nobody asks.
    bridge.set(Setting::MulticastPerVlan, true);
    // Ports and LAGs alone: a workload must change nothing for others, and asks for its own MTU.
    let members = || {
        let names = inputs.ports.iter().chain(inputs.config.lags.keys());
        let of_bridge = |link: &&Link| link.master.as_deref() == Some(BRIDGE);
        names.filter_map(|name| network.links.get(name)).filter(of_bridge)
    };
    let widest = members().filter_map(|link| link.number(Setting::Mtu)).max().unwrap_or(DEFAULT_MTU_BYTES);
    bridge.set(Setting::Mtu, widest.max(DEFAULT_MTU_BYTES));
    // It asks only where it could hear an answer itself.
    bridge.queriers = queriers(inputs, network);
    bridge.vlans.insert_all(&bridge.queriers);
    let mut interfaces = Vec::new();
    for (&id, vlan) in inputs.config.vlans.iter().filter(|(_, vlan)| vlan.has_interface()) {
        bridge.vlans.insert(id, id, VlanMembership::default());
        let mut link = Link { up: true, ..Link::new(LinkKind::Vlan { parent: BRIDGE.to_owned(), id }) };
        link.set(Setting::Alias, vlan.name.as_str());
        link.set(Setting::Mtu, mtus.vlan(id).bytes);
        link.set(Setting::BridgeBinding, true);
        super::add_pcp(&mut link, &vlan.pcp);
        add_layer3(&mut link, &vlan.layer3);
        interfaces.push((vlan_interface(id), link));
    }
    network.links.extend(interfaces);
    network.links.insert(BRIDGE.to_owned(), bridge);
}
