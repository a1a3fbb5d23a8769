//! Links and their settings: what is set is found, as the same value.

use netd::kernel::link;
use netd::plan::{Action, LinkKind, Setting, Value};

use crate::common::isolated;
use crate::room::{BRIDGE, Room, create, master, set, up};

#[test]
fn settings_of_a_bridge_are_found_as_they_were_set() {
    isolated("links::settings_of_a_bridge_are_found_as_they_were_set", || {
        let mut room = Room::new();
        let at_creation = [
            (Setting::Mac, Value::from("02:00:00:00:00:01")),
            (Setting::ForwardDelay, Value::from(0u32)),
            (Setting::Stp, Value::from(false)),
            (Setting::VlanFiltering, Value::from(false)),
        ];
        room.carry_out([create(BRIDGE, LinkKind::Bridge, &at_creation), up(BRIDGE, LinkKind::Bridge)]);
        let found = room.snapshot().links.remove(BRIDGE).unwrap();
        assert_eq!((found.kind.clone(), found.owned, found.up), (LinkKind::Bridge, true, true));
        for (setting, value) in &at_creation {
            assert_eq!(found.settings.get(setting), Some(value), "{setting}");
        }
        // Both ways, so that nothing passes because it is the default.
        let one: Vec<(Setting, Value)> = vec![
            (Setting::Mtu, 1400u32.into()),
            (Setting::Mac, "02:00:00:00:00:02".into()),
            (Setting::Alias, "everything".into()),
            (Setting::LinkLocal, false.into()),
            (Setting::AgeingTime, 60_000u32.into()),
            (Setting::ForwardDelay, 400u32.into()),
            (Setting::Stp, true.into()),
            (Setting::Priority, 4096u32.into()),
            (Setting::MulticastSnooping, false.into()),
            (Setting::MulticastGroups, 131_072u32.into()),
        ];
        let other: Vec<(Setting, Value)> = vec![
            (Setting::Mtu, 1500u32.into()),
            (Setting::Mac, "02:00:00:00:00:03".into()),
            (Setting::Alias, "".into()),
            (Setting::LinkLocal, true.into()),
            (Setting::AgeingTime, 30_000u32.into()),
            (Setting::ForwardDelay, 1500u32.into()),
            (Setting::Stp, false.into()),
            (Setting::Priority, 32_768u32.into()),
            (Setting::MulticastSnooping, true.into()),
            (Setting::MulticastGroups, 4096u32.into()),
        ];
        for wanted in [one, other] {
            room.carry_out(wanted.iter().map(|(setting, value)| set(BRIDGE, *setting, value.clone())));
            let found = room.snapshot().links.remove(BRIDGE).unwrap();
            for (setting, value) in wanted {
                assert_eq!(found.settings.get(&setting), Some(&value), "{setting}");
            }
        }
    });
}

#[test]
fn settings_of_a_bridge_port_are_found_and_gone_with_its_place() {
    isolated("links::settings_of_a_bridge_port_are_found_and_gone_with_its_place", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        room.carry_out([master("swp1", BRIDGE)]);
        let settings =
            [Setting::Isolated, Setting::Learning, Setting::UnicastFlood].map(|setting| (setting, true));
        for on in [true, false] {
            room.carry_out(settings.map(|(setting, _)| set("swp1", setting, on)));
            room.carry_out([set("swp1", Setting::PathCost, if on { 7u32 } else { 9 })]);
            let groups = if on { "eapol lldp" } else { "" };
            room.carry_out([set("swp1", Setting::ForwardReserved, groups)]);
            let found = room.snapshot().links.remove("swp1").unwrap();
            assert_eq!((found.kind, found.master.as_deref()), (LinkKind::Hardware, Some(BRIDGE)));
            for (setting, _) in settings {
                assert_eq!(found.settings.get(&setting), Some(&Value::from(on)), "{setting}");
            }
            let cost = if on { 7u32 } else { 9 };
            assert_eq!(found.settings.get(&Setting::PathCost), Some(&Value::from(cost)));
            assert_eq!(found.settings.get(&Setting::ForwardReserved), Some(&Value::from(groups)));
        }
        room.carry_out([Action::ClearMaster { name: "swp1".to_owned() }]);
        let found = room.snapshot().links.remove("swp1").unwrap();
        assert_eq!(found.settings.get(&Setting::Isolated), None);
        let refusal = room.refusal(&set("swp1", Setting::Isolated, true));
        assert_eq!(refusal.errno, nix::errno::Errno::EOPNOTSUPP, "{refusal}");
    });
}

#[test]
fn tunnels_are_made_with_their_source_and_port_and_foreign_links_are_told_apart() {
    isolated("links::tunnels_are_made_with_their_source_and_port_and_foreign_links_are_told_apart", || {
        let mut room = Room::new();
        let tunnel = |local: &str, vni| LinkKind::Vxlan { vni, local: local.parse().unwrap(), port: 4789 };
        let kinds = [("vxlan10", tunnel("198.51.100.1", 10)), ("vxlan20", tunnel("2001:db8::1", 20))];
        room.carry_out(kinds.iter().map(|(name, kind)| create(name, kind.clone(), &[])));
        let found = room.snapshot();
        for (name, kind) in kinds {
            assert_eq!((&found.links[name].kind, found.links[name].owned), (&kind, true));
        }
        // Another's bridge is in the way of a name: seen, but not owned.
        let foreign = room.connection.request(foreign_bridge("blue"));
        assert_eq!(foreign, Ok(()));
        assert!(!room.snapshot().links.contains_key("blue"));
        room.scope.names.insert("blue".to_owned());
        let blue = room.snapshot().links.remove("blue").unwrap();
        assert_eq!((blue.kind, blue.owned), (LinkKind::Bridge, false));
        room.carry_out([Action::DeleteLink { name: "vxlan10".to_owned(), kind: tunnel("198.51.100.1", 10) }]);
        // Removing what is gone is success.
        room.carry_out([Action::DeleteLink { name: "vxlan10".to_owned(), kind: tunnel("198.51.100.1", 10) }]);
        assert_eq!(link::find_by_name(&mut room.connection, "vxlan10"), Ok(None));
    });
}

#[test]
fn tunnels_keep_their_options_and_change_them_alive() {
    isolated("links::tunnels_keep_their_options_and_change_them_alive", || {
        let mut room = Room::new();
        let made: Vec<(Setting, Value)> = vec![
            (Setting::TunnelAgeing, 10u32.into()),
            (Setting::TunnelLearning, true.into()),
            (Setting::TunnelTtl, 64u32.into()),
            (Setting::UdpChecksum, false.into()),
        ];
        for (name, local, dont_fragment) in [("vx4", "198.51.100.1", true), ("vx6", "2001:db8::1", false)] {
            let kind = LinkKind::Vxlan { vni: 10, local: local.parse().unwrap(), port: 4789 };
            let mut settings = made.clone();
            settings.push((Setting::DontFragment, dont_fragment.into()));
            room.carry_out([
                create(name, kind.clone(), &settings),
                set(name, Setting::Mtu, 1450u32),
                up(name, kind),
            ]);
            let index = room.index(name);
            let found = room.snapshot().links.remove(name).unwrap().settings;
            for (setting, value) in &settings {
                assert_eq!(found.get(setting), Some(value), "{name} {setting}");
            }
            let later: Vec<(Setting, Value)> = vec![
                (Setting::Mtu, 8950u32.into()),
                (Setting::TunnelAgeing, 1_000_000u32.into()),
                (Setting::TunnelLearning, false.into()),
                (Setting::TunnelTtl, 63u32.into()),
                (Setting::DontFragment, (!dont_fragment).into()),
            ];
            room.carry_out(later.iter().map(|(setting, value)| set(name, *setting, value.clone())));
            let found = room.snapshot().links.remove(name).unwrap().settings;
            for (setting, value) in &later {
                assert_eq!(found.get(setting), Some(value), "{name} {setting}");
            }
            assert_eq!(room.index(name), index, "it is the same link");
            let refusal = room.refusal(&set(name, Setting::UdpChecksum, true));
            assert!(refusal.is_unsupported(), "{refusal}");
        }
    });
}

/// A bridge that is not in netd's group.
fn foreign_bridge(name: &str) -> netd::kernel::wire::Message {
    use nix::libc;
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    netd::kernel::wire::Message::new(libc::RTM_NEWLINK, flags, &[0; 16])
        .text(libc::IFLA_IFNAME, name)
        .nest(libc::IFLA_LINKINFO, |info| info.attribute(libc::IFLA_INFO_KIND, b"bridge"))
}

#[test]
fn a_carrier_is_seen_as_it_comes_and_goes() {
    isolated("links::a_carrier_is_seen_as_it_comes_and_goes", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        assert!(room.snapshot().links["swp1"].carrier);
        room.connection.request(link::set_admin("host1", false)).unwrap();
        let found = room.snapshot().links.remove("swp1").unwrap();
        assert_eq!((found.up, found.carrier), (true, false));
    });
}

#[test]
fn what_is_no_hardware_address_is_refused_by_name() {
    isolated("links::what_is_no_hardware_address_is_refused_by_name", || {
        let mut room = Room::new();
        room.add_bridge();
        let refusal = room.refusal(&set(BRIDGE, Setting::Mac, "02:00"));
        assert_eq!(refusal.words(), Some("\"02:00\" is no hardware address"));
        let refusal = room.refusal(&set("nothing", Setting::Mtu, 1400u32));
        assert!(refusal.is_absent(), "{refusal}");
    });
}
