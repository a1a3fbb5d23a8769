//! The behaviours, a file for each part of the switch.
//!
//! What a switch must show to hosts on its ports, and where it is shown, each by frames that carry a payload of
//! their own and are captured where they come out (`qemu-tests --list` has the names of all):
//!
//! | behaviour | file | name begins |
//! | --- | --- | --- |
//! | two ports of a bridge exchange frames | `frames` | access ports of one VLAN exchange frames |
//! | VLANs isolate unicast and broadcast | `frames` | another VLAN sees no frame |
//! | trunks tag, access ports untag | `frames` | a trunk carries each VLAN; frames of the native VLAN |
//! | VLAN interfaces and subinterfaces terminate, never bridge | `bridge` | frames to the switch's own address; frames of a subinterface |
//! | addresses are learned, age, move | `frames`, `bridge` | a learned address; an address that is silent; an address that moves |
//! | no frame returns to its port | `bridge` | a frame never leaves by the port it came in by |
//! | static entries beat learned ones | `bridge` | a static address stays |
//! | jumbo frames pass, larger ones do not | `bridge` | a jumbo frame passes |
//! | isolated ports | `objects` | isolated ports cannot talk |
//! | LAGs survive the loss of a member | `objects`, `lag` | a static LAG; an LACP LAG |
//! | two switches share a VLAN over a LAG | `fabric` | hosts of one VLAN on two switches; a member of a LAG |
//! | LACP detects a silent member | `lag` | an LACP LAG |
//! | unjoined groups flood, joined ones are pruned | `multicast` | a group floods; a group goes to those who joined it |
//! | snooping respects VLANs | `multicast` | a group goes to those who joined it in their VLAN; a querier in one VLAN; the switch asks for members |
//! | routing protocols of hosts pass | `peers` | two hosts' BIRDs become |
//! | static groups | `multicast` | a group reaches its static members alone |
//! | reserved groups are forwarded where a port opts in | `bridge` | frames to reserved groups; beside a spanning tree |
//! | speed and duplex settle, refusals are told | `ports` | speed and duplex settle; a port that negotiates; what a driver refuses |
//! | states propagate | `ports`, `changes` | a pulled cable; a port that is not enabled; a link that goes down |
//! | custom hardware addresses | `ports` | a custom hardware address |
//! | the spanning tree beside others | `spanning_tree` | another root's spanning tree timers; addresses are learned as soon |
//! | 802.1p priorities | `priority` | the bridge keeps the priority; a routed packet's tag |
//! | forwarding toggles | `objects`, `layer3` | an interface that does not forward; a family that is not routed |
//! | longest prefix, MTU, ICMP errors | `layer3` | the longest matching prefix; a packet too large; who sends a packet |
//! | hosts are told of addresses, and heard | `hosts` | hosts hear of; an IPv4 address |
//! | what is wrong is told once, with its end | `alarms`, `hosts` | a forwarding database that is full; an IPv4 address |
//! | ports keep their names | `hardware` | a port that is missing or added |
//! | ECMP spreads, and loses a next hop | `ecmp`, `changes` | ECMP spreads flows; a link that goes down |
//! | VRFs are apart | `vrfs`, `control_plane` | two VRFs; a port in a VRF of its own; a host with an address |
//! | a VLAN has the carrier of its ports | `layer3` | a route by a VLAN |
//! | what may be said can be applied | `layer3` | ports of every kind |
//! | ports become something else | `roles` | a port forwards; an untagged member; a port goes |
//! | tunnels are as wide as their way out | `tunnels` | a tunnel over wide links |
//! | history does not matter | `platforms` | random histories |
//! | VXLAN joins a port to a remote end | `objects` | a VXLAN tunnel joins |

mod alarms;
mod boot;
mod bridge;
mod changes;
mod comparison;
mod console;
mod containers;
mod control_plane;
mod ecmp;
mod engines;
mod fabric;
mod first_boot;
mod flows;
mod frames;
mod hardware;
mod harness;
mod hosts;
mod kernel_dump;
mod kills;
mod lag;
mod layer3;
mod measured;
mod mistakes;
mod multicast;
mod netdevsim;
pub mod numbered;
mod objects;
mod peers;
mod platforms;
mod ports;
mod priority;
mod questions;
mod reach;
mod resilience;
mod rocker;
mod roles;
mod routing;
mod sender;
mod shim_suite;
mod spanning_tree;
mod tunnels;
mod vrfs;

use crate::lab::Topology;
use crate::runner::{Ground, Scenario};

pub use containers::prepare as prepare_containers;

/// All behaviours, each with the name of its file. Those of a file that need the same machine share it in this order.
pub fn all() -> Vec<(&'static str, Scenario)> {
    let files: [(&str, &[Scenario]); 37] = [
        ("harness", &harness::SCENARIOS),
        ("boot", &boot::SCENARIOS),
        ("frames", &frames::SCENARIOS),
        ("bridge", &bridge::SCENARIOS),
        ("multicast", &multicast::SCENARIOS),
        ("peers", &peers::SCENARIOS),
        ("spanning-tree", &spanning_tree::SCENARIOS),
        ("priority", &priority::SCENARIOS),
        ("ports", &ports::SCENARIOS),
        ("routing", &routing::SCENARIOS),
        ("layer3", &layer3::SCENARIOS),
        ("hosts", &hosts::SCENARIOS),
        ("ecmp", &ecmp::SCENARIOS),
        ("vrfs", &vrfs::SCENARIOS),
        ("objects", &objects::SCENARIOS),
        ("tunnels", &tunnels::SCENARIOS),
        ("lag", &lag::SCENARIOS),
        ("roles", &roles::SCENARIOS),
        ("changes", &changes::SCENARIOS),
        ("comparison", &comparison::SCENARIOS),
        ("mistakes", &mistakes::SCENARIOS),
        ("alarms", &alarms::SCENARIOS),
        ("control-plane", &control_plane::SCENARIOS),
        ("resilience", &resilience::SCENARIOS),
        ("kills", &kills::SCENARIOS),
        ("questions", &questions::SCENARIOS),
        ("engines", &engines::SCENARIOS),
        ("console", &console::SCENARIOS),
        ("containers", &containers::SCENARIOS),
        ("shim-suite", &shim_suite::SCENARIOS),
        ("rocker", &rocker::SCENARIOS),
        ("netdevsim", &netdevsim::SCENARIOS),
        ("fabric", &fabric::SCENARIOS),
        ("platforms", &platforms::SCENARIOS),
        ("first-boot", &first_boot::SCENARIOS),
        ("hardware", &hardware::SCENARIOS),
        ("measured", &measured::SCENARIOS),
    ];
    // A boot of its own for a single behaviour would be dear: those of one kind of machine share it.
    let chain = |file: &'static str, scenario: &Scenario| match scenario.ground {
        Ground::Lab(Topology::Rocker) => "rocker",
        Ground::Lab(Topology::Demo) => "boot",
        _ => file,
    };
    let named = |(file, scenarios): (&'static str, &[Scenario])| {
        scenarios.iter().map(|scenario| (chain(file, scenario), scenario.clone())).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(named).collect()
}
