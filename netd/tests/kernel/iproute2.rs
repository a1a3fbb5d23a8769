//! netd's messages beside those of iproute2, which somebody else wrote: the same objects made by either are the same to
//! both. A constant that netd writes and reads wrongly in the same way shows here.

use std::process::Command;

use netd::plan::{
    Action, FdbKey, LinkKind, NeighbourKey, Network, NextHop, NextHopId, NextHopObject, RouteKey,
    RouteTarget, Setting, Value,
};

use crate::common::isolated;
use crate::room::{Room, address, create};

/// Ids of netd's range, as iproute2 is told them.
const FIRST: u32 = 1_073_741_824;
const LOCAL: &str = "198.51.100.1";

/// Everything, by iproute2.
const COMMANDS: [&str; 16] = [
    "ip nexthop add id 1073741825 via 192.0.2.9 dev swp1 proto 199",
    "ip nexthop add id 1073741826 via 198.51.100.9 dev swp2 onlink proto 199",
    "ip -6 nexthop add id 1073741827 via 2001:db8:1::9 dev swp1 proto 199",
    "ip nexthop add id 1073741828 group 1073741825,3/1073741826,1 proto 199",
    "ip route add 10.1.0.0/16 nhid 1073741828 metric 20 proto 199",
    "ip route add 10.2.0.0/16 proto 199 nexthop via 192.0.2.8 dev swp1 nexthop via 192.0.2.9 dev swp1 weight 256",
    "ip route add 10.3.0.0/16 proto 199 via inet6 2001:db8:1::9 dev swp1",
    "ip route add blackhole 10.4.0.0/16 proto 199",
    "ip route add unreachable default table 1001 metric 4278198272 proto 199",
    "ip -6 route add 2001:db8:100::/48 nhid 1073741827 metric 1024 proto 199",
    "ip -6 route add 2001:db8:200::/48 metric 7 proto 199 nexthop via 2001:db8:1::8 dev swp1 nexthop via 2001:db8:1::9 dev swp1",
    "ip neighbour add 192.0.2.77 lladdr 02:00:00:00:00:07 dev swp1 nud permanent protocol 199",
    "ip neighbour add 2001:db8:1::77 lladdr 02:00:00:00:00:08 dev swp1 nud permanent protocol 199",
    "ip link add vx10 group 199 type vxlan id 10 local 198.51.100.1 dstport 4789 ttl 64 df set noudpcsum ageing 600",
    "bridge fdb append 00:00:00:00:00:00 dev vx10 dst 203.0.113.1",
    "bridge fdb append 02:00:00:00:00:09 dev vx10 dst 203.0.113.2",
];

/// What is compared, and how a line must begin to be.
const DUMPS: [(&str, &str); 6] = [
    ("ip -d nexthop show", ""),
    ("ip -d -4 route show table all proto 199", ""),
    ("ip -d -6 route show table all proto 199", ""),
    ("ip neighbour show nud permanent", ""),
    ("ip -d link show dev vx10", "vxlan "),
    ("bridge fdb show dev vx10", ""),
];

fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let output = Command::new(words.next().expect("a program")).args(words).output().expect("iproute2");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The same, by netd.
fn actions() -> Vec<Action> {
    let via = |text: &str| text.parse().ok();
    let id = |number: u32| NextHopId(FIRST + number);
    let single = |gateway: &str, device: &str, on_link, v6| NextHopObject::Single {
        via: via(gateway),
        device: device.to_owned(),
        on_link,
        v6,
    };
    let hop = |gateway: &str, weight| NextHop {
        via: via(gateway),
        device: "swp1".to_owned(),
        weight,
        on_link: false,
    };
    let objects = [
        (1, single("192.0.2.9", "swp1", false, false)),
        (2, single("198.51.100.9", "swp2", true, false)),
        (3, single("2001:db8:1::9", "swp1", false, true)),
        (4, NextHopObject::Group(vec![(id(1), 3), (id(2), 1)])),
    ];
    let routes = [
        ("10.1.0.0/16", 254, 20, RouteTarget::Object(id(4))),
        ("10.2.0.0/16", 254, 0, RouteTarget::inline(vec![hop("192.0.2.9", 256), hop("192.0.2.8", 1)])),
        ("10.3.0.0/16", 254, 0, RouteTarget::inline(vec![hop("2001:db8:1::9", 1)])),
        ("10.4.0.0/16", 254, 0, RouteTarget::Blackhole),
        ("0.0.0.0/0", 1001, 4_278_198_272, RouteTarget::Unreachable),
        ("2001:db8:100::/48", 254, 1024, RouteTarget::Object(id(3))),
        (
            "2001:db8:200::/48",
            254,
            7,
            RouteTarget::inline(vec![hop("2001:db8:1::9", 1), hop("2001:db8:1::8", 1)]),
        ),
    ];
    let neighbours = [("192.0.2.77", "02:00:00:00:00:07"), ("2001:db8:1::77", "02:00:00:00:00:08")];
    let tunnel = LinkKind::Vxlan { vni: 10, local: LOCAL.parse().expect("an address"), port: 4789 };
    let settings = [
        (Setting::TunnelTtl, Value::from(64_u32)),
        (Setting::DontFragment, true.into()),
        (Setting::UdpChecksum, false.into()),
        (Setting::TunnelLearning, true.into()),
        (Setting::TunnelAgeing, 600_u32.into()),
    ];
    let entries = [("00:00:00:00:00:00", "203.0.113.1"), ("02:00:00:00:00:09", "203.0.113.2")];
    let mut actions: Vec<Action> = Vec::new();
    actions.extend(objects.map(|(number, object)| Action::NextHop {
        id: id(number),
        from: None,
        to: Some(object),
    }));
    actions.extend(routes.map(|(prefix, table, metric, to)| {
        let key = RouteKey { table, prefix: prefix.parse().expect("a prefix"), metric };
        Action::Route { key, from: None, to: Some(to) }
    }));
    actions.extend(neighbours.map(|(address, mac)| {
        let key = NeighbourKey { device: "swp1".to_owned(), address: address.parse().expect("an address") };
        Action::Neighbour { key, from: None, to: Some(mac.to_owned()) }
    }));
    actions.push(create("vx10", tunnel, &settings));
    actions.extend(entries.map(|(mac, remote)| {
        let tunnel = Some(("vx10".to_owned(), remote.parse().expect("an address")));
        let key = FdbKey { mac: mac.to_owned(), vlan_id: 0, tunnel };
        Action::Fdb { key, from: None, to: Some("vx10".to_owned()) }
    }));
    actions
}

/// What both see of the objects, in a namespace of their own.
fn seen(make: impl FnOnce(&mut Room) + Send) -> (Vec<String>, Network) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
            let mut room = Room::new();
            for number in [1, 2] {
                room.add_pair(&format!("swp{number}"), &format!("host{number}"));
            }
            room.carry_out([
                address("swp1", "192.0.2.1/24"),
                address("swp1", "2001:db8:1::1/64"),
                address("swp2", "203.0.113.1/24"),
            ]);
            make(&mut room);
            let mut lines = Vec::new();
            for (command, begins) in DUMPS {
                let text = run(command);
                let kept = text.lines().map(str::trim).filter(|line| line.starts_with(begins));
                let kept: Vec<&str> = kept.collect();
                assert!(!kept.is_empty(), "{command}: {text}");
                lines.push(format!("{command}:\n{}", kept.join("\n")));
            }
            let mut network = room.snapshot();
            // Of the links, the tunnel is compared; its hardware address is made up anew each time.
            network.links.retain(|name, _| name == "vx10");
            for link in network.links.values_mut() {
                link.settings.remove(&Setting::Mac);
            }
            (lines, network)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn objects_made_by_iproute2_and_by_netd_are_the_same_to_both() {
    isolated("iproute2::objects_made_by_iproute2_and_by_netd_are_the_same_to_both", || {
        let (theirs, by_theirs) = seen(|_| COMMANDS.iter().for_each(|command| drop(run(command))));
        let (ours, by_ours) = seen(|room| room.carry_out(actions()));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(ours, theirs, "as iproute2 shows it");
        }
        assert_eq!(by_ours, by_theirs, "as netd reads it");
        let counts = (by_theirs.next_hops.len(), by_theirs.routes.len(), by_theirs.neighbours.len());
        assert_eq!((counts, by_theirs.fdb.len(), by_theirs.links.len()), ((4, 7, 2), 2, 1));
    });
}
