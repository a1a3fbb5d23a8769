//! MTUs: all of the documented range can be applied, whatever was there before.

use std::collections::BTreeSet;

use netd::kernel::unreported::Unreported;
use netd::plan::{Setting, Value, plan};
use netd::transaction::{Kernel, commit};

use crate::common::isolated;
use crate::network::desired;
use crate::room::{BRIDGE, Room};

/// Applies a document as far as it is about ports: the bridge needs VLAN filtering, which not all kernels have.
fn apply(room: &mut Room, document: &str) {
    let config = netd_api::config::parse(document).expect(document);
    let mut network = desired(&config, &room.scope.ports);
    network.links.retain(|name, _| room.scope.ports.contains(name));
    let unreported = &mut Unreported::default();
    let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
    commit(&mut kernel, &network).unwrap_or_else(|error| panic!("{document}{error}"));
    let found = room.snapshot();
    assert_eq!(plan(&network, &found), Vec::new(), "{document}");
}

#[test]
fn ports_take_every_mtu_with_and_without_ipv6() {
    isolated("mtu::ports_take_every_mtu_with_and_without_ipv6", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let idle = |mtu: u32| format!("version = 1\n[ports.swp1]\nmtu = {mtu}\n");
        let routed = |mtu: u32, more: &str| {
            format!("version = 1\n[ports.swp1]\nmtu = {mtu}\naddresses = [\"10.0.1.1/24\"{more}]\n")
        };
        let v6 = ", \"2001:db8:1::1/64\"";
        for (document, link_local) in [
            (idle(1500), Some(false)),
            (idle(68), None),
            (idle(9216), Some(false)),
            (routed(1280, v6), Some(true)),
            (routed(1279, ""), None),
            (routed(1500, v6), Some(true)),
            (routed(68, ""), None),
            (idle(1280), Some(false)),
        ] {
            apply(&mut room, &document);
            let found = room.snapshot().links.remove("swp1").unwrap();
            assert_eq!(
                found.settings.get(&Setting::LinkLocal),
                link_local.map(Value::Flag).as_ref(),
                "{document}"
            );
            let own = found.foreign_addresses.iter().filter(|net| net.addr().is_ipv6()).count();
            assert_eq!(own, usize::from(link_local == Some(true)), "{document}{found:?}");
        }
    });
}
