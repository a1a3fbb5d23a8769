//! Random networks of a small switch: everything a document could want, in all combinations.

use std::net::IpAddr;

use netd::plan::{
    Direction, FdbKey, Filter, FilterKey, Link, LinkKind, MaskedMac, MdbKey, Mode, NeighbourKey, Network,
    NextHop, NextHopId, NextHopObject, Route, RouteKey, RouteTarget, Setting, Tag, TagAction, Value,
    VlanMembership,
};

use super::fresh;
pub use super::numbers::*;

const PORTS: usize = 6;
/// So many of them negotiate nothing.
const FIXED: usize = 4;

/// Ports as the hardware has them: down, with nothing set.
pub fn bare() -> Network {
    let mut network = Network::default();
    for number in 1..=PORTS {
        let mut link = fresh(LinkKind::Hardware);
        if number > FIXED {
            let names = ["10baseT/Half", "10baseT/Full", "100baseT/Half", "100baseT/Full", "1000baseT/Full"];
            link.offer = names.into_iter().filter_map(Mode::from_name).map(|mode| (mode, true)).collect();
            link.set(Setting::Autoneg, true);
            link.set(Setting::Speed, link.offer.as_wish());
        }
        network.links.insert(format!("swp{number}"), link);
    }
    network
}

/// A network somebody could want.
pub fn network(random: &mut Random) -> Network {
    let mut network = Network::default();
    let vrfs: Vec<String> = (1..=random.below(3)).map(|number| format!("vrf{number}")).collect();
    for vrf in &vrfs {
        let table = 1000 + random.below(4) as u32 + 10 * vrf.len() as u32;
        let mut link = Link::new(LinkKind::Vrf { table });
        link.up = true;
        network.links.insert(vrf.clone(), link);
    }
    add_bridge(random, &mut network);
    let lags = if random.chance(50) { vec!["lag1", "lag2"] } else { vec![] };
    for lag in &lags {
        let mut link = Link::new(LinkKind::Lag { lacp: random.chance(50) });
        settle(random, &mut link);
        link.set(Setting::LacpFast, random.chance(50));
        link.set(Setting::LacpSelect, random.below(3) as u32);
        link.set(Setting::Mac, *random.pick(&["02:00:5e:00:53:01", "02:00:5e:00:53:02"]));
        role(random, &mut link, &vrfs);
        network.links.insert((*lag).to_owned(), link);
    }
    for number in 1..=PORTS {
        let mut link = Link::new(LinkKind::Hardware);
        link.owned = false;
        settle(random, &mut link);
        if number > FIXED {
            negotiate(random, &mut link);
        }
        if !lags.is_empty() && random.chance(30) {
            link.master = Some((*random.pick(&lags)).to_owned());
        } else {
            role(random, &mut link, &vrfs);
        }
        network.links.insert(format!("swp{number}"), link);
    }
    add_interfaces(random, &mut network, &vrfs);
    add_link_groups(random, &mut network);
    add_filters(random, &mut network);
    add_routes(random, &mut network);
    add_entries(random, &mut network);
    network
}

fn add_bridge(random: &mut Random, network: &mut Network) {
    let mut bridge = Link::new(LinkKind::Bridge);
    bridge.up = true;
    bridge.set(Setting::AgeingTime, *random.pick(&[30_000_u32, 6000]));
    bridge.set(Setting::MulticastSnooping, random.chance(50));
    for id in 1..=4_u16 {
        if random.chance(60) {
            bridge.vlans.insert(id, id, VlanMembership::default());
            if random.chance(40) {
                bridge.queriers.insert(id, id, VlanMembership::default());
            }
        }
    }
    network.links.insert("bridge".to_owned(), bridge);
}

fn settle(random: &mut Random, link: &mut Link) {
    link.up = random.chance(80);
    let mtu_bytes = *random.pick(&[1000_u32, 1500, 4000, 9000]);
    link.set(Setting::Mtu, mtu_bytes);
    link.set(Setting::Alias, *random.pick(&["", "server", "uplink"]));
    // There is no IPv6 on a link with a smaller MTU.
    if mtu_bytes >= 1280 {
        link.set(Setting::LinkLocal, random.chance(50));
    }
}

/// All of it, a speed, a duplex, both, or what somebody chose.
fn negotiate(random: &mut Random, link: &mut Link) {
    let negotiates = random.chance(80);
    link.set(Setting::Autoneg, negotiates);
    let speed: Value = match random.below(4) {
        0 if negotiates => Value::unknown(),
        1 if negotiates => Value::from("10baseT/Half 1000baseT/Full"),
        _ => Value::Number(*random.pick(&[10, 100])),
    };
    link.settings.insert(Setting::Speed, speed);
    if !negotiates || random.chance(30) {
        link.set(Setting::FullDuplex, true);
    }
}

/// In the bridge, routed, or nothing.
fn role(random: &mut Random, link: &mut Link, vrfs: &[String]) {
    match random.below(3) {
        0 => {
            link.master = Some("bridge".to_owned());
            link.set(Setting::Isolated, random.chance(30));
            link.set(Setting::Learning, random.chance(70));
            for _ in 0..random.below(4) {
                let first = 1 + random.below(40) as u16;
                let last = first + random.below(8) as u16;
                let untagged = random.chance(20);
                link.vlans.insert(first, last, VlanMembership { pvid: false, untagged });
            }
            if random.chance(50) {
                let id = 1 + random.below(4) as u16;
                link.vlans.insert(id, id, VlanMembership { pvid: true, untagged: true });
            }
        }
        1 => layer3(random, link, vrfs),
        _ => {}
    }
}

fn layer3(random: &mut Random, link: &mut Link, vrfs: &[String]) {
    if !vrfs.is_empty() && random.chance(40) {
        link.master = Some(random.pick(vrfs).clone());
    }
    for _ in 0..random.below(3) {
        let address = match random.chance(50) {
            true => format!("10.0.{}.1/24", random.below(20)),
            false => format!("2001:db8:{}::1/64", random.below(20)),
        };
        let address: ipnet::IpNet = address.parse().expect("an address");
        let has_ipv6 = link.number(Setting::Mtu).is_none_or(|mtu| mtu >= 1280);
        if !link.addresses.contains(&address) && (has_ipv6 || address.addr().is_ipv4()) {
            link.addresses.push(address);
        }
    }
}

fn add_interfaces(random: &mut Random, network: &mut Network, vrfs: &[String]) {
    for id in 1..=4_u16 {
        if random.chance(40) {
            let mut link = Link::new(LinkKind::Vlan { parent: "bridge".to_owned(), id });
            settle(random, &mut link);
            layer3(random, &mut link, vrfs);
            network.links.insert(format!("vlan{id}"), link);
        }
    }
    for number in 1..=2 {
        if random.chance(30) {
            let parent = format!("swp{number}");
            let mut link = Link::new(LinkKind::Vlan { parent: parent.clone(), id: 100 });
            settle(random, &mut link);
            layer3(random, &mut link, vrfs);
            network.links.insert(format!("{parent}.100"), link);
        }
    }
    if random.chance(30) {
        let local = IpAddr::from([198, 51, 100, 1 + random.below(2) as u8]);
        let mut link = Link::new(LinkKind::Vxlan { vni: 1 + random.below(2) as u32, local, port: 4789 });
        link.up = true;
        link.master = Some("bridge".to_owned());
        network.links.insert("vxlan1".to_owned(), link);
        for last in 1..=1 + random.below(3) as u8 {
            let tunnel = Some(("vxlan1".to_owned(), IpAddr::from([203, 0, 113, last])));
            let key = FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel };
            network.fdb.insert(key, "vxlan1".to_owned());
        }
    }
    if random.chance(40) {
        let mut link = Link::new(LinkKind::Dummy);
        link.up = true;
        link.addresses = vec!["198.51.100.1/32".parse().expect("an address")];
        network.links.insert("lo0".to_owned(), link);
    }
}

/// In some VLANs of some ports.
fn add_link_groups(random: &mut Random, network: &mut Network) {
    for link in network.links.values_mut().filter(|link| link.master.as_deref() == Some("bridge")) {
        if random.chance(30) {
            let id = 1 + random.below(4) as u16;
            link.link_groups.insert(id, id, VlanMembership::default());
        }
    }
}

/// On some ports of the bridge.
fn add_filters(random: &mut Random, network: &mut Network) {
    let of_bridge = |link: &&Link| link.master.as_deref() == Some("bridge");
    let ports: Vec<String> = network
        .links
        .iter()
        .filter(|(_, link)| of_bridge(link) && !matches!(link.kind, LinkKind::Vxlan { .. }))
        .map(|(name, _)| name.clone())
        .collect();
    for link in ports {
        for _ in 0..random.below(3) {
            let (direction, tag, action) = match random.chance(50) {
                true => (Direction::Ingress, Tag::Untagged, TagAction::Push(1 + random.below(3) as u16)),
                false => (Direction::Egress, Tag::Vlan(1 + random.below(3) as u16), TagAction::Pop),
            };
            let preference = FilterKey::FIRST + random.below(3) as u16;
            let address = MaskedMac::one([0x01, 0x80, 0xc2, 0, 0, random.below(2) as u8]);
            let key = FilterKey { link: link.clone(), direction, preference };
            network.add_filter(key, Filter::Destination { address, tag, action });
        }
    }
}

/// Links that packets can be sent out of, by configuration.
fn routed(network: &Network) -> Vec<String> {
    let usable = |link: &Link| match link.master.as_deref() {
        Some(master) => matches!(network.links[master].kind, LinkKind::Vrf { .. }),
        None => !matches!(link.kind, LinkKind::Bridge | LinkKind::Vrf { .. }),
    };
    network.links.iter().filter(|(_, link)| usable(link)).map(|(name, _)| name.clone()).collect()
}

fn add_routes(random: &mut Random, network: &mut Network) {
    let devices = routed(network);
    if devices.is_empty() {
        return;
    }
    let inline = random.chance(20);
    let singles: Vec<NextHopId> =
        (0..1 + random.below(6) as u32).map(|n| NextHopId(NextHopId::FIRST + n)).collect();
    let mut targets = vec![RouteTarget::Blackhole, RouteTarget::Unreachable];
    let hop = |random: &mut Random| NextHop {
        via: Some(IpAddr::from([10, 0, random.below(20) as u8, 2])),
        device: random.pick(&devices).clone(),
        weight: 1 + random.below(4) as u16,
        on_link: random.chance(20),
    };
    if inline {
        for _ in 0..4 {
            let hops = (0..1 + random.below(3)).map(|_| hop(random)).collect();
            targets.push(RouteTarget::inline(hops));
        }
    } else {
        for id in &singles {
            let NextHop { via, device, on_link, .. } = hop(random);
            network.next_hops.insert(*id, NextHopObject::Single { via, device, on_link, v6: false });
            targets.push(RouteTarget::Object(*id));
        }
        for number in 0..random.below(4) as u32 {
            let id = NextHopId(NextHopId::FIRST + 100 + number);
            let mut members: Vec<(NextHopId, u16)> = Vec::new();
            for single in &singles {
                if random.chance(50) {
                    members.push((*single, 1 + random.below(4) as u16));
                }
            }
            if !members.is_empty() {
                network.next_hops.insert(id, NextHopObject::Group(members));
                targets.push(RouteTarget::Object(id));
            }
        }
    }
    for _ in 0..random.below(30) {
        let prefix = format!("10.{}.0.0/16", random.below(40)).parse().expect("a prefix");
        let key = RouteKey { table: 254, prefix, metric: random.below(2) as u32 };
        network.routes.push(Route { key, target: random.pick(&targets).clone() });
    }
    network.sort();
}

fn add_entries(random: &mut Random, network: &mut Network) {
    let bridged: Vec<String> = network
        .links
        .iter()
        .filter(|(_, link)| {
            link.master.as_deref() == Some("bridge") && !matches!(link.kind, LinkKind::Vxlan { .. })
        })
        .map(|(name, _)| name.clone())
        .collect();
    for _ in 0..random.below(6) {
        let Some(port) = (!bridged.is_empty()).then(|| random.pick(&bridged).clone()) else { break };
        let mac = format!("02:00:00:00:00:{:02x}", random.below(8));
        let vlan_id = 1 + random.below(4) as u16;
        network.fdb.insert(FdbKey { mac, vlan_id, tunnel: None }, port.clone());
        let group = IpAddr::from([239, 1, 1, random.below(4) as u8]);
        network.mdb.insert(MdbKey { group, vlan_id, port });
    }
    let devices = routed(network);
    for _ in 0..if devices.is_empty() { 0 } else { random.below(4) } {
        let device = random.pick(&devices).clone();
        let address = IpAddr::from([10, 0, random.below(4) as u8, 9]);
        let mac = format!("02:00:00:00:01:{:02x}", random.below(4));
        network.neighbours.insert(NeighbourKey { device, address }, mac);
    }
}
