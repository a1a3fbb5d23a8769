//! What the bridge does by itself when its table of groups is full: it stops listening, and tells nobody.

use std::process::Command;

use netd::engine::Engine;
use netd::engine::upkeep::Look;
use netd::events::Hub;
use netd::plan::{Network, Setting, Value};

use crate::common::{Folder, isolated};
use crate::model::Kernel;
use crate::room::{BRIDGE, Room, master};
use crate::service;

/// So few groups the bridge knows at most, those of its own and of hosts included.
const MOST_GROUPS: usize = 16;

fn listens(network: &Network) -> bool {
    network.links[BRIDGE].settings.get(&Setting::MulticastSnooping).is_some_and(Value::is_on)
}

fn carry_out(program: &str, words: &str) -> bool {
    let output = Command::new(program).args(words.split(' ')).output().expect("iproute2");
    output.status.success()
}

/// The engine has a model of the network, as the build host's kernel knows no VLANs in bridges; what tells it that the
/// bridge stopped is the kernel's own bridge.
#[test]
fn snooping_that_the_kernel_switched_off_is_noticed_and_turned_on_again() {
    isolated("snooping::snooping_that_the_kernel_switched_off_is_noticed_and_turned_on_again", || {
        let mut room = Room::new();
        room.add_bridge();
        room.add_pair("swp1", "host1");
        room.carry_out([master("swp1", BRIDGE)]);
        let folder = Folder::new("snooping");
        let paths = service::paths(&folder);
        std::fs::write(&paths.startup, "version = 1\n").unwrap();
        let model = Kernel::with(Network::default());
        let hub = Hub::open().expect("a thread");
        let mut engine = Engine::start_on(paths, hub, Some(Box::new(model.clone()))).expect("the engine");
        assert!(listens(&room.snapshot()) && listens(&model.0.borrow().network));
        assert!(!engine.check_limits(|_| ()), "nothing is wrong yet");

        assert!(carry_out("ip", &format!("link set {BRIDGE} type bridge mcast_hash_max {MOST_GROUPS}")));
        let join = |number| {
            carry_out("bridge", &format!("mdb add dev {BRIDGE} port swp1 grp 239.1.1.{number} permanent"))
        };
        let joined = (1..=2 * MOST_GROUPS).take_while(|number| join(*number)).count();
        assert!((1..=MOST_GROUPS).contains(&joined), "{joined} groups");
        assert!(!listens(&room.snapshot()), "this kernel goes on listening");
        assert!(engine.check_limits(|_| ()), "it is not noticed");
        // What follows is a look at everything.
        let off = |network: &mut Network| {
            network.links.get_mut(BRIDGE).unwrap().set(Setting::MulticastSnooping, false);
        };
        off(&mut model.0.borrow_mut().network);
        assert_eq!(engine.look(), Look::Repaired);
        assert!(listens(&model.0.borrow().network));
    });
}
