//! What drivers tell and take: ethtool, link states, breakout.

use std::sync::Arc;

use netd::kernel::carrier::CarrierLosses;
use netd::kernel::devlink::{self, DevlinkPort};
use netd::kernel::ethtool::Ethtool;
use netd::kernel::link_state::LinkStates;
use netd::kernel::wire::Message;
use netd::kernel::{batch, link};
use netd::plan::{Action, Setting, Value};
use netd_api::config::model::Fec;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::errno::Errno;
use nix::libc;

use crate::common::isolated;
use crate::room::{Room, set};

#[test]
fn what_a_driver_does_not_take_is_refused_and_what_it_tells_is_found() {
    isolated("ports::what_a_driver_does_not_take_is_refused_and_what_it_tells_is_found", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        for action in [
            set("swp1", Setting::Speed, 1000u32),
            set("swp1", Setting::Autoneg, true),
            set("swp1", Setting::Fec, "rs"),
        ] {
            let refusal = room.refusal(&action);
            assert!(refusal.is_unsupported(), "{action}: {refusal}");
        }
        let nonsense = room.refusal(&set("swp1", Setting::Fec, "much"));
        assert_eq!(nonsense.words(), Some("\"much\" is no error correction"));
        let without = room.snapshot().links.remove("swp1").unwrap();
        assert_eq!(without.settings.get(&Setting::Speed), None, "asked only where wanted");
        room.scope.ethtool.insert("swp1".to_owned());
        let found = room.snapshot().links.remove("swp1").unwrap().settings;
        // What the veth driver says of itself.
        assert_eq!(found.get(&Setting::Speed), Some(&Value::Number(10_000)));
        assert_eq!(found.get(&Setting::FullDuplex), Some(&Value::Flag(true)));
        assert_eq!(found.get(&Setting::Autoneg), Some(&Value::Flag(false)));
        assert_eq!(found.get(&Setting::Fec), None);
        let index = room.index("swp1");
        assert_eq!(Ethtool::open().unwrap().medium(index), Ok("twisted pair"));
    });
}

/// The driver of taps keeps what it is told, so it shows that messages say what they should.
#[test]
fn speed_duplex_and_negotiation_reach_the_driver_together() {
    isolated("ports::speed_duplex_and_negotiation_reach_the_driver_together", || {
        let mut room = Room::new();
        room.add_tap("swp9");
        for (speed, full, autoneg) in [(2500u32, true, false), (100, false, true)] {
            let actions = [
                set("swp9", Setting::Autoneg, autoneg),
                set("swp9", Setting::Speed, speed),
                set("swp9", Setting::FullDuplex, full),
                set("swp9", Setting::Fec, "off"),
            ];
            let outcomes = batch::execute(&mut room.connection, &actions.iter().collect::<Vec<_>>());
            assert!(outcomes[..3].iter().all(Result::is_ok), "{outcomes:?}");
            assert!(outcomes[3].as_ref().is_err_and(|error| error.is_unsupported()), "{outcomes:?}");
            let found = room.snapshot().links.remove("swp9").unwrap().settings;
            for (setting, value) in [
                (Setting::Speed, Value::Number(speed)),
                (Setting::FullDuplex, Value::Flag(full)),
                (Setting::Autoneg, Value::Flag(autoneg)),
            ] {
                assert_eq!(found.get(&setting), Some(&value), "{setting}");
            }
        }
        // As it was before anybody told it anything.
        let forget = [
            set("swp9", Setting::Autoneg, false),
            set("swp9", Setting::Speed, Value::unknown()),
            set("swp9", Setting::FullDuplex, Value::unknown()),
        ];
        let outcomes = batch::execute(&mut room.connection, &forget.iter().collect::<Vec<_>>());
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let found = room.snapshot().links.remove("swp9").unwrap().settings;
        assert_eq!((found.get(&Setting::Speed), found.get(&Setting::FullDuplex)), (None, None));
        let missing = room.refusal(&set("nothing", Setting::Speed, 1000u32));
        assert_eq!(missing.words(), Some("there is no interface nothing"));
        let index = room.index("swp9");
        let mut ethtool = Ethtool::open().unwrap();
        assert!(ethtool.set_fec(index, Fec::Auto).is_err_and(|error| error.is_unsupported()));
    });
}

#[test]
fn link_states_are_told_at_once_and_links_that_are_gone_have_none() {
    isolated("ports::link_states_are_told_at_once_and_links_that_are_gone_have_none", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        room.add_pair("swp2", "host2");
        // Many more, so that asking for few is another way than asking for all.
        for number in 10..20 {
            room.add_pair(&format!("swp{number}"), &format!("host{number}"));
        }
        let (one, two) = (room.index("swp1"), room.index("swp2"));
        let mut states = LinkStates::open().unwrap();
        assert_eq!(states.ask(&[]).unwrap(), []);
        assert_eq!(states.ask(&[one, two]).unwrap(), [(one, true), (two, true)]);
        room.connection.request(link::set_admin("host2", false)).unwrap();
        assert_eq!(states.ask(&[one, two]).unwrap(), [(one, true), (two, false)]);
        room.connection.request(link::set_admin("host2", true)).unwrap();
        assert_eq!(states.ask(&[one, two]).unwrap(), [(one, true), (two, true)]);
        room.connection.request(link::delete("swp1")).unwrap();
        assert_eq!(states.ask(&[one, two]).unwrap(), [(one, false), (two, true)]);
        assert_eq!(states.ask(&[two]).unwrap(), [(two, true)]);
        let all: Vec<u32> =
            (1..=20).filter_map(|number| room.find(&format!("swp{number}"))).chain([one]).collect();
        assert_eq!(all.len(), 12);
        let expected: Vec<(u32, bool)> = all.iter().map(|index| (*index, *index != one)).collect();
        assert_eq!(states.ask(&all).unwrap(), expected);
        assert_eq!(Ethtool::open().unwrap().link_state(two), Ok(Some(true)));
    });
}

/// Shows this thread the devices of its own network namespace in /sys.
fn own_sysfs() {
    use nix::mount::{MsFlags, mount};
    let (none, root) = (None::<&str>, "/");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, root, none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(none, "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
}

#[test]
fn a_carrier_that_was_lost_is_counted_even_when_it_is_back() {
    isolated("ports::a_carrier_that_was_lost_is_counted_even_when_it_is_back", || {
        own_sysfs();
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        room.add_pair("swp2", "host2");
        let link = |room: &mut Room, name: &str| (name.to_owned(), room.index(name));
        let (one, two) = (link(&mut room, "swp1"), link(&mut room, "swp2"));
        // The last one is another device by now.
        let links: Arc<[_]> = [one.clone(), two.clone(), ("swp1".to_owned(), two.1)].into();
        let mut losses = CarrierLosses::default();
        let mut lost = |links: &Arc<[_]>| losses.of(links).map(|(place, _)| place).collect::<Vec<usize>>();
        let mut set = |name: &str, up| room.connection.request(link::set_admin(name, up)).unwrap();
        assert!(lost(&links).is_empty());
        set("host1", false);
        assert_eq!(lost(&links), [0]);
        assert!(lost(&links).is_empty());
        set("host1", true);
        assert!(lost(&links).is_empty());
        set("host1", false);
        set("host1", true);
        set("host2", false);
        assert_eq!(lost(&links), [0, 1]);
        // What is counted goes on for links that stay.
        set("host1", false);
        let others: Arc<[_]> = [two, one].into();
        assert_eq!(lost(&others), [1]);
        room.connection.request(link::delete("swp1")).unwrap();
        assert!(lost(&others).is_empty());
    });
}

/// Whether this kernel has a family of generic netlink, asked without netd.
fn has_family(name: &str) -> bool {
    const GETFAMILY: [u8; 4] = [3, 1, 0, 0];
    const FAMILY_NAME: u16 = 2;
    let mut socket = Socket::new(NETLINK_GENERIC).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let request = Message::new(libc::GENL_ID_CTRL as u16, 0, &GETFAMILY).text(FAMILY_NAME, name);
    socket.send(&request.finish(1, libc::NLM_F_REQUEST as u16), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    match i32::from(kind) == libc::NLMSG_ERROR {
        true => {
            let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            assert_eq!(Errno::from_raw(-error), Errno::ENOENT);
            false
        }
        false => true,
    }
}

#[test]
fn a_port_that_cannot_be_split_is_refused_in_words() {
    isolated("ports::a_port_that_cannot_be_split_is_refused_in_words", || {
        let port = DevlinkPort { bus: "pci".to_owned(), device: "0000:ff:1f.7".to_owned(), port_index: 1 };
        // A kernel with devlink lets only the first user namespace ask, and knows no such device.
        let first = std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295");
        let kernel = (has_family("devlink"), first);
        println!("devlink and the first user namespace: {kernel:?}");
        for outcome in [devlink::split(&port, 4), devlink::unsplit(&port)] {
            let error = outcome.unwrap_err();
            match kernel {
                (false, _) => assert_eq!(
                    (error.is_unsupported(), error.words()),
                    (true, Some("this kernel has no netlink family `devlink`"))
                ),
                (true, false) => assert_eq!(error.errno, Errno::EPERM, "{error}"),
                (true, true) => assert!(error.is_absent(), "{error}"),
            }
        }
    });
}

#[test]
fn a_link_that_is_no_port_has_no_settings_of_one() {
    isolated("ports::a_link_that_is_no_port_has_no_settings_of_one", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        let wrong = room.refusal(&set("swp1", Setting::AgeingTime, 30_000u32));
        assert_eq!(wrong.errno, Errno::EOPNOTSUPP, "{wrong}");
        let nothing = Action::Route {
            key: netd::plan::RouteKey { table: 254, prefix: "10.0.0.0/8".parse().unwrap(), metric: 0 },
            from: None,
            to: None,
        };
        room.carry_out([nothing]);
    });
}
