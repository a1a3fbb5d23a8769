//! The largest documents that `check` accepts, applied as far as they are about what all kernels have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Instant;

use netd::desired::{self, Inputs};
use netd::kernel::packet::PacketSocket;
use netd::kernel::unreported::Unreported;
use netd::kernel::{batch, link};
use netd::plan::{Action, FdbKey, Link, LinkKind, MdbKey, Network, Setting, plan};
use netd::transaction::{Kernel, commit};
use netd_api::config::MAX_BRIDGE_PORTS;

use crate::common::isolated;
use crate::room::{BRIDGE, Room, master, set};

/// Applies a document to `swp1` and `swp2`.
fn apply(room: &mut Room, document: &str, objects: bool) -> Network {
    let config = netd_api::config::parse(document).expect("a valid document");
    let mut network = desired::network(&Inputs {
        config: &config,
        ports: &room.scope.ports,
        permanent_macs: &BTreeMap::new(),
        original_modes: &BTreeMap::new(),
        set_modes: &BTreeMap::new(),
        attachments: &BTreeMap::new(),
        bridge_mac: "02:00:00:00:00:01",
        objects,
    });
    // The bridge needs VLAN filtering.
    network.links.remove(BRIDGE);
    let unreported = &mut Unreported::default();
    let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
    commit(&mut kernel, &network).unwrap_or_else(|error| panic!("{error}"));
    let found = room.snapshot();
    assert_eq!(plan(&network, &found), Vec::new());
    found
}

fn room() -> Room {
    let mut room = Room::new();
    room.add_pair("swp1", "host1");
    room.add_pair("swp2", "host2");
    room
}

#[test]
fn interfaces_take_256_addresses() {
    isolated("limits::interfaces_take_256_addresses", || {
        let mut room = room();
        let v4 = (0..128).map(|number| format!("\"10.0.{number}.1/24\""));
        let v6 = (0..128).map(|number| format!("\"2001:db8:{number:x}::1/64\""));
        let addresses: Vec<String> = v4.chain(v6).collect();
        let document = format!("version = 1\n[ports.swp1]\naddresses = [{}]\n", addresses.join(", "));
        assert_eq!(apply(&mut room, &document, true).links["swp1"].addresses.len(), 256);
    });
}

#[test]
fn routes_take_256_next_hops_as_objects_and_spelled_out() {
    isolated("limits::routes_take_256_next_hops_as_objects_and_spelled_out", || {
        let mut room = room();
        let via = |prefix: &str| -> String {
            let hops: Vec<String> = (1..=256).map(|number| format!("\"{prefix}{number:x}\"")).collect();
            hops.join(", ")
        };
        let v4: Vec<String> = (0..256).map(|number| format!("\"10.1.{number}.1\"")).collect();
        let document = format!(
            "version = 1\n[ports.swp1]\naddresses = [\"10.1.255.254/16\", \"2001:db8::ffff/64\"]\n\
             [[routes]]\nprefix = \"0.0.0.0/0\"\nvia = [{}]\n[[routes]]\nprefix = \"::/0\"\nvia = [{}]\n",
            v4.join(", "),
            via("2001:db8::")
        );
        for objects in [true, false] {
            apply(&mut room, &document, objects);
        }
    });
}

#[test]
fn neighbours_number_32768_in_each_family_beside_those_that_are_learned() {
    isolated("limits::neighbours_number_32768_in_each_family_beside_those_that_are_learned", || {
        let mut room = room();
        for (own, prefix) in [("10.0.0.1/8", "10.1."), ("2001:db8::1/64", "2001:db8::1:")] {
            let mut document = format!("version = 1\n[ports.swp1]\naddresses = [\"{own}\"]\n");
            for number in 0..32_768_u32 {
                let address = match prefix.contains('.') {
                    true => format!("{prefix}{}.{}", number / 256, number % 256),
                    false => format!("{prefix}{number:x}"),
                };
                let _ = writeln!(
                    document,
                    "[[neighbours]]\naddress = \"{address}\"\nmac = \"02:00:00:00:00:07\"\ndev = \"swp1\""
                );
            }
            assert_eq!(apply(&mut room, &document, true).neighbours.len(), 32_768);
        }
    });
}

#[test]
fn the_bridge_takes_16384_groups() {
    isolated("limits::the_bridge_takes_16384_groups", || {
        let mut room = room();
        room.add_bridge();
        let config = netd_api::config::parse("version = 1\n").expect("a valid document");
        let wanted = crate::network::desired(&config, &BTreeSet::new());
        let groups = wanted.links[BRIDGE].settings[&Setting::MulticastGroups].clone();
        room.carry_out([master("swp1", BRIDGE), set(BRIDGE, Setting::MulticastGroups, groups)]);
        let add = |number: u32| {
            let group = std::net::Ipv4Addr::from(u32::from_be_bytes([239, 0, 0, 0]) + number).into();
            Action::Mdb { key: MdbKey { group, vlan_id: 0, port: "swp1".to_owned() }, add: true }
        };
        let actions: Vec<Action> = (0..16_384).map(add).collect();
        let outcomes =
            netd::kernel::batch::execute(&mut room.connection, &actions.iter().collect::<Vec<_>>());
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes.iter().find(|outcome| outcome.is_err()));
        let found = room.snapshot();
        assert_eq!(found.mdb.len(), 16_384);
        assert!(found.links[BRIDGE].settings[&Setting::MulticastSnooping].is_on());
    });
}

/// A bridge of tunnels. VLANs play no part: not all kernels' bridges know them.
fn bridge_of_tunnels(count: u32) -> Network {
    let mut network = Network::default();
    let mut bridge = Link { up: true, ..Link::new(LinkKind::Bridge) };
    bridge.set(Setting::ForwardDelay, 0u32);
    network.links.insert(BRIDGE.to_owned(), bridge);
    for vni in 1..=count {
        let (name, local) = (format!("v{vni}"), "198.51.100.1".parse().expect("an address"));
        let mut link = Link { up: true, ..Link::new(LinkKind::Vxlan { vni, local, port: 4789 }) };
        link.master = Some(BRIDGE.to_owned());
        let tunnel = Some((name.clone(), "198.51.100.2".parse().expect("an address")));
        let key = FdbKey { mac: "00:00:00:00:00:00".to_owned(), vlan_id: 0, tunnel };
        network.fdb.insert(key, name.clone());
        network.links.insert(name, link);
    }
    network
}

#[test]
fn the_bridge_takes_1023_ports_and_no_more() {
    isolated("limits::the_bridge_takes_1023_ports_and_no_more", || {
        let mut room = Room::new();
        let unreported = &mut Unreported::default();
        let most = u32::try_from(MAX_BRIDGE_PORTS).expect("a number");
        let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
        let began = Instant::now();
        commit(&mut kernel, &bridge_of_tunnels(most)).unwrap_or_else(|error| panic!("{error}"));
        println!("{most} tunnels in {:?}", began.elapsed());
        let error = commit(&mut kernel, &bridge_of_tunnels(most + 1)).expect_err("one too many");
        assert!(error.to_string().contains("set master bridge"), "{error}");
        assert_eq!(error.left, Vec::<String>::new());
    });
}

#[test]
fn tables_that_are_full_say_so_where_netd_looks() {
    isolated("limits::tables_that_are_full_say_so_where_netd_looks", || {
        let mut room = room();
        room.add_bridge();
        room.carry_out([
            set(BRIDGE, Setting::MostLearned, 20u32),
            master("swp1", BRIDGE),
            set("swp1", Setting::MostGroups, 9u32),
        ]);
        let host = room.index("host1");
        let mut socket = PacketSocket::open().expect("a packet socket");
        socket.find_interfaces().expect("the interfaces");
        for number in 0..30 {
            let mut frame = [0; 60];
            frame[..6].copy_from_slice(&[0xff; 6]);
            frame[6..12].copy_from_slice(&[2, 0xa1, 0, 0, 0, number]);
            frame[12..14].copy_from_slice(&[0x88, 0xb5]);
            socket.send(host, &frame).expect("a frame");
        }
        let group = |number: u8| {
            let key = MdbKey { group: [239, 1, 1, number].into(), vlan_id: 0, port: "swp1".to_owned() };
            Action::Mdb { key, add: true }
        };
        // The host may have joined some itself, those of its IPv6 addresses.
        let takes =
            |room: &mut Room, number| batch::execute(&mut room.connection, &[&group(number)])[0].is_ok();
        let set = (1..=20).take_while(|number| takes(&mut room, *number)).count();
        assert!((1..=9).contains(&set), "{set}");
        let bridge = link::find_by_name(&mut room.connection, BRIDGE).unwrap().expect("the bridge");
        let ports = link::dump_ports(&mut room.connection, bridge.index).expect("its ports");
        assert_eq!(bridge.learned, 20);
        let counted: Vec<_> = ports.iter().map(|port| (port.name.as_str(), port.groups)).collect();
        assert_eq!(counted, [("swp1", 9)]);
        // They are part of what every look reads.
        let links = link::dump(&mut room.connection, false).expect("all links");
        assert!(links.contains(&bridge) && links.contains(&ports[0]));
    });
}
