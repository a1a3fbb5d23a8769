//! LAGs and the hardware addresses of their members. Kernels without bonding have none: these tests run in the guest.

use netd::kernel::link;
use netd::plan::{Action, LinkKind, Setting, Value};

use crate::common::isolated_as_root;
use crate::room::{Room, create, master, set};

const LAG: &str = "uplink";
const LAG_MAC: &str = "02:00:5e:00:53:01";
const OTHER_MAC: &str = "02:00:5e:00:53:02";
const MEMBERS: [&str; 2] = ["swp1", "swp2"];

/// Makes a LAG with an address of its own. Answers whether the kernel knows LAGs.
fn make_lag(room: &mut Room) -> bool {
    let settings = [(Setting::Mac, Value::from(LAG_MAC)), (Setting::LacpSystem, Value::from(LAG_MAC))];
    room.can_make(&create(LAG, LinkKind::Lag { lacp: true }, &settings))
}

/// Hardware addresses of the LAG and its members, and its LACP system.
fn addresses(room: &mut Room) -> (String, Vec<String>, Option<Value>) {
    let network = room.snapshot();
    let mac = |name: &str| network.links[name].settings[&Setting::Mac].text().to_owned();
    let system = network.links[LAG].settings.get(&Setting::LacpSystem).cloned();
    (mac(LAG), MEMBERS.iter().map(|name| mac(name)).collect(), system)
}

#[test]
fn a_lag_keeps_its_address_and_members_that_leave_have_their_own() {
    isolated_as_root("lags::a_lag_keeps_its_address_and_members_that_leave_have_their_own", || {
        let mut room = Room::new();
        for (name, peer) in [("swp1", "host1"), ("swp2", "host2")] {
            room.add_pair(name, peer);
        }
        if !make_lag(&mut room) {
            return;
        }
        let own = addresses(&mut room).1;
        assert_ne!(own[0], own[1]);
        // Whichever member comes first.
        for order in [[0, 1], [1, 0]] {
            // The driver forgot it with the last member.
            room.carry_out([set(LAG, Setting::Mac, LAG_MAC)]);
            for member in order.map(|index: usize| MEMBERS[index]) {
                room.connection.request(link::set_admin(member, false)).unwrap();
                room.carry_out([master(member, LAG)]);
            }
            let same = vec![LAG_MAC.to_owned(); 2];
            assert_eq!(addresses(&mut room), (LAG_MAC.to_owned(), same, Some(Value::from(LAG_MAC))));
            for member in order.map(|index: usize| MEMBERS[index]) {
                room.carry_out([Action::ClearMaster { name: member.to_owned() }]);
            }
            let (_, members, system) = addresses(&mut room);
            assert_eq!((members, system), (own.clone(), Some(Value::from(LAG_MAC))));
        }
        // Another address of the LAG is another LACP system, while members are there too.
        room.connection.request(link::set_admin("swp1", false)).unwrap();
        room.carry_out([
            set(LAG, Setting::Mac, LAG_MAC),
            master("swp1", LAG),
            set(LAG, Setting::Mac, OTHER_MAC),
            set(LAG, Setting::LacpSystem, OTHER_MAC),
        ]);
        let (mac, members, system) = addresses(&mut room);
        assert_eq!(
            (mac.as_str(), members[0].as_str(), system),
            (OTHER_MAC, OTHER_MAC, Some(OTHER_MAC.into()))
        );
        room.carry_out([Action::ClearMaster { name: "swp1".to_owned() }]);
        assert_eq!(addresses(&mut room).1, own);
    });
}
