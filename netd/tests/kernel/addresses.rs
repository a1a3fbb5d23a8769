//! Addresses: their order is part of what is desired.

use std::collections::BTreeSet;
use std::process::Command;

use netd::kernel::unreported::Unreported;
use netd::plan::{Network, plan};
use netd::transaction::{Kernel, commit};

use crate::common::isolated;
use crate::network::desired;
use crate::room::{BRIDGE, Room};

fn wanted(room: &Room, addresses: &[&str]) -> Network {
    let list: Vec<String> = addresses.iter().map(|address| format!("{address:?}")).collect();
    let document = format!("version = 1\n[ports.swp1]\naddresses = [{}]\n", list.join(", "));
    let mut network = desired(&netd_api::config::parse(&document).expect("valid"), &room.scope.ports);
    network.links.remove(BRIDGE);
    network
}

fn apply(room: &mut Room, addresses: &[&str]) {
    let network = wanted(room, addresses);
    let unreported = &mut Unreported::default();
    let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
    commit(&mut kernel, &network).unwrap_or_else(|error| panic!("{addresses:?}: {error}"));
    assert_eq!(plan(&network, &room.snapshot()), Vec::new(), "{addresses:?}");
}

/// The address that the switch speaks as to a destination.
fn source(destination: &str) -> String {
    let output = Command::new("ip").args(["route", "get", destination]).output().expect("ip(8) of iproute2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|word| *word != "src");
    words.nth(1).unwrap_or_else(|| panic!("{destination}: {text}")).to_owned()
}

/// Whether the switch has an address for which it never asks other hosts.
fn is_any_exempt() -> bool {
    let output = Command::new("ip").args(["address", "show", "dev", "swp1"]).output().expect("ip(8)");
    String::from_utf8_lossy(&output.stdout).contains("nodad")
}

#[test]
fn addresses_stand_in_the_order_of_the_document_whatever_came_before() {
    isolated("addresses::addresses_stand_in_the_order_of_the_document_whatever_came_before", || {
        // Both ways of the kernel: whether a second address of a subnet goes along with the first.
        for promote in ["0", "1"] {
            for scope in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries"), promote)
                    .unwrap();
            }
            let mut room = Room::new();
            room.add_pair("swp1", "host1");
            let (a, b, c) = ("10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/24");
            let (d, e) = ("2001:db8::1/64", "2001:db8::2/64");
            for (addresses, v4, v6) in [
                ([a, b, c, d, e], "10.0.0.1", "2001:db8::1"),
                ([b, a, c, e, d], "10.0.0.2", "2001:db8::2"),
                ([c, b, a, e, d], "10.0.0.2", "2001:db8::2"),
                ([a, c, b, d, e], "10.0.0.1", "2001:db8::1"),
            ] {
                apply(&mut room, &addresses);
                assert_eq!(source("10.0.0.99"), v4, "{addresses:?}");
                assert_eq!(source("2001:db8::99"), v6, "{addresses:?}");
                assert!(!is_any_exempt(), "{addresses:?}: others are never asked for an address");
                // As a switch that boots with this document.
                let reordered = room.snapshot().links["swp1"].addresses.clone();
                apply(&mut room, &[]);
                apply(&mut room, &addresses);
                assert_eq!(room.snapshot().links["swp1"].addresses, reordered, "{addresses:?}");
            }
            room.connection.request(netd::kernel::link::delete("swp1")).unwrap();
        }
    });
}
