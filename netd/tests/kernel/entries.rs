//! Static entries: forwarding, multicast groups, neighbours.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use netd::kernel::unreported::Unreported;
use netd::kernel::wire::Message;
use netd::plan::{Action, FdbKey, Link, LinkKind, MdbKey, NeighbourKey, Network, Setting};
use netd::transaction::{Kernel, commit};
use nix::libc;

use crate::common::isolated;
use crate::room::{BRIDGE, Room, create, master, set};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_tunnel_floods_to_several_remotes_and_forgets_just_the_one_that_goes() {
    isolated("entries::a_tunnel_floods_to_several_remotes_and_forgets_just_the_one_that_goes", || {
        let mut room = Room::new();
        room.add_bridge();
        let tunnel = LinkKind::Vxlan { vni: 10, local: ip("198.51.100.1"), port: 4789 };
        room.carry_out([create("vxlan10", tunnel, &[]), master("vxlan10", BRIDGE)]);
        let key = |mac: &str, remote| FdbKey {
            mac: mac.to_owned(),
            vlan_id: 0,
            tunnel: Some(("vxlan10".to_owned(), ip(remote))),
        };
        let flood = "00:00:00:00:00:00";
        let keys = [
            key(flood, "198.51.100.2"),
            key(flood, "198.51.100.3"),
            key("02:00:00:00:00:09", "198.51.100.2"),
        ];
        let to = Some("vxlan10".to_owned());
        room.carry_out(keys.iter().map(|key| Action::Fdb { key: key.clone(), from: None, to: to.clone() }));
        let found = room.snapshot().fdb;
        assert_eq!(found, keys.iter().map(|key| (key.clone(), "vxlan10".to_owned())).collect());
        let delete = |key: &FdbKey| Action::Fdb { key: key.clone(), from: to.clone(), to: None };
        room.carry_out([delete(&keys[0]), delete(&keys[0]), delete(&keys[2])]);
        assert_eq!(room.snapshot().fdb.into_keys().collect::<Vec<_>>(), [keys[1].clone()]);
    });
}

#[test]
fn static_address_that_an_asic_has_learned_before_is_set() {
    isolated("entries::static_address_that_an_asic_has_learned_before_is_set", || {
        // Kernels of hosts may have bridges without VLANs.
        if std::env::var_os("NETD_TEST_VLANS").is_none() {
            return;
        }
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        room.add_pair("swp2", "host2");
        room.carry_out([master("swp1", BRIDGE), master("swp2", BRIDGE)]);
        let bridge = |words: &str| {
            let done = Command::new("bridge").args(words.split(' ')).status().expect("bridge(8) of iproute2");
            assert!(done.success(), "bridge {words}: {done}");
        };
        ["swp1", "swp2"].iter().for_each(|port| bridge(&format!("vlan add vid 10 dev {port}")));
        let mac = "02:00:00:00:00:07".to_owned();
        // As a driver tells of it, at another port.
        bridge(&format!("fdb add {mac} dev swp2 vlan 10 master extern_learn"));
        let key = FdbKey { mac, vlan_id: 10, tunnel: None };
        assert_eq!(room.snapshot().fdb, [].into(), "what is learned is nobody's");
        let to = Some("swp1".to_owned());
        room.carry_out([Action::Fdb { key: key.clone(), from: None, to: to.clone() }]);
        assert_eq!(room.snapshot().fdb, [(key.clone(), "swp1".to_owned())].into());
        room.carry_out([Action::Fdb { key, from: to, to: None }]);
        assert_eq!(room.snapshot().fdb, [].into());
    });
}

/// A permanent membership that says nothing of who set it.
fn foreign_group(bridge: u32, port: u32) -> Message {
    let mut header = [0; 8];
    header[0] = libc::AF_BRIDGE as u8;
    header[4..].copy_from_slice(&bridge.to_ne_bytes());
    let mut entry = [0; 28];
    entry[..4].copy_from_slice(&port.to_ne_bytes());
    entry[4] = 1; // MDB_PERMANENT
    entry[8..12].copy_from_slice(&[239, 9, 9, 9]);
    entry[24..26].copy_from_slice(&(libc::ETH_P_IP as u16).to_be_bytes());
    Message::new(libc::RTM_NEWMDB, libc::NLM_F_CREATE as u16, &header).attribute(1, &entry)
}

#[test]
fn groups_are_found_as_they_were_set_and_those_of_others_are_not_seen() {
    isolated("entries::groups_are_found_as_they_were_set_and_those_of_others_are_not_seen", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        let key = |group: &str| MdbKey { group: ip(group), vlan_id: 0, port: "swp1".to_owned() };
        let outside = room.refusal(&Action::Mdb { key: key("239.1.2.3"), add: true });
        assert_eq!(outside.words(), Some("swp1 is in no bridge"));
        room.carry_out([master("swp1", BRIDGE)]);
        let (bridge, port) = (room.index(BRIDGE), room.index("swp1"));
        room.connection.request(foreign_group(bridge, port)).expect("a foreign group");
        let keys = [key("239.1.2.3"), key("ff05::1:3")];
        room.carry_out(keys.iter().map(|key| Action::Mdb { key: key.clone(), add: true }));
        assert_eq!(room.snapshot().mdb, keys.iter().cloned().collect());
        // A wish for what another has set takes it over.
        room.carry_out([Action::Mdb { key: key("239.9.9.9"), add: true }]);
        assert_eq!(room.snapshot().mdb.len(), 3);
        let delete = |key: &MdbKey| Action::Mdb { key: key.clone(), add: false };
        room.carry_out([delete(&keys[0]), delete(&keys[0]), delete(&key("239.9.9.9"))]);
        assert_eq!(room.snapshot().mdb.into_iter().collect::<Vec<_>>(), [keys[1].clone()]);
        let refusal = room.refusal(&Action::Mdb { key: key("224.0.0.1"), add: true });
        assert!(refusal.words().is_some(), "{refusal}");
    });
}

#[test]
fn groups_change_although_the_bridge_stopped_listening() {
    isolated("entries::groups_change_although_the_bridge_stopped_listening", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        room.carry_out([master("swp1", BRIDGE)]);
        let key = |group: &str| MdbKey { group: ip(group), vlan_id: 0, port: "swp1".to_owned() };
        room.carry_out([Action::Mdb { key: key("239.1.1.1"), add: true }]);
        // As the kernel does when its table is full.
        room.carry_out([set(BRIDGE, Setting::MulticastSnooping, false)]);
        let mut network = Network::default();
        let mut bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
        bridge.set(Setting::MulticastSnooping, true);
        let port = Link { up: true, master: Some(BRIDGE.to_owned()), ..Link::new(LinkKind::Hardware) };
        network.links = [(BRIDGE.to_owned(), bridge), ("swp1".to_owned(), port)].into();
        network.mdb.insert(key("239.1.1.2"));
        let unreported = &mut Unreported::default();
        let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
        commit(&mut kernel, &network).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(room.snapshot().mdb, network.mdb);
    });
}

#[test]
fn groups_of_the_link_are_set_and_found_together() {
    isolated("entries::groups_of_the_link_are_set_and_found_together", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        room.carry_out([master("swp1", BRIDGE)]);
        // VLAN 0 stands for all frames where the bridge tells no VLANs apart.
        let groups = |add| Action::LinkGroups { port: "swp1".to_owned(), first: 0, last: 0, add };
        let vlans = |room: &mut Room| {
            let found = room.snapshot();
            let of_port = Vec::<String>::from(found.links["swp1"].link_groups.clone());
            (of_port, found.mdb.len())
        };
        room.carry_out([groups(true), groups(true)]);
        assert_eq!(vlans(&mut room), (vec!["0".to_owned()], 0));
        // One that somebody takes away leaves single entries, and is brought back with all.
        let key = MdbKey { group: ip("ff02::5"), vlan_id: 0, port: "swp1".to_owned() };
        room.carry_out([Action::Mdb { key, add: false }]);
        assert_eq!(vlans(&mut room), (Vec::new(), 9));
        room.carry_out([groups(true)]);
        assert_eq!(vlans(&mut room), (vec!["0".to_owned()], 0));
        room.carry_out([groups(false), groups(false)]);
        assert_eq!(vlans(&mut room), (Vec::new(), 0));
    });
}

#[test]
fn neighbours_are_found_as_they_were_set_and_those_of_others_are_not_seen() {
    isolated("entries::neighbours_are_found_as_they_were_set_and_those_of_others_are_not_seen", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let key = |address: &str| NeighbourKey { device: "swp1".to_owned(), address: ip(address) };
        let mac = |last: u8| Some(format!("02:00:00:00:00:{last:02x}"));
        let mut header = [0; 12];
        header[0] = libc::AF_INET as u8;
        header[4..8].copy_from_slice(&room.index("swp1").to_ne_bytes());
        header[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
        let foreign = Message::new(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE as u16, &header)
            .ip(libc::NDA_DST, ip("192.0.2.99"))
            .attribute(libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 9]);
        room.connection.request(foreign).expect("a foreign neighbour");
        let keys = [key("192.0.2.7"), key("2001:db8::7")];
        room.carry_out(keys.iter().map(|key| Action::Neighbour { key: key.clone(), from: None, to: mac(7) }));
        room.carry_out([Action::Neighbour { key: keys[0].clone(), from: mac(7), to: mac(8) }]);
        let found = room.snapshot().neighbours;
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            [(&keys[0], &mac(8).unwrap()), (&keys[1], &mac(7).unwrap())]
        );
        let delete = |key: &NeighbourKey| Action::Neighbour { key: key.clone(), from: mac(8), to: None };
        room.carry_out([delete(&keys[0]), delete(&keys[0])]);
        assert_eq!(room.snapshot().neighbours.into_keys().collect::<Vec<_>>(), [keys[1].clone()]);
    });
}
