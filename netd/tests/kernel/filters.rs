//! Filters of frames: set, found, undone and brought back; what others filter stays.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use netd::kernel::monitor::{Event, Monitor};
use netd::kernel::unreported::Unreported;
use netd::plan::{Action, Direction, Filter, FilterKey, Network, plan};
use netd::transaction::{Kernel, commit, reconcile};

use crate::common::isolated;
use crate::room::{BRIDGE, Room};

fn tc(words: &[&str]) -> String {
    let output = Command::new("tc").args(words).output().expect("tc(8) of iproute2");
    assert!(output.status.success(), "tc {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn has_clsact() -> bool {
    tc(&["qdisc", "show", "dev", "swp1"]).contains("clsact")
}

/// A filter of each kind that netd makes.
fn wanted(before: &Network) -> Network {
    let mut network = before.clone();
    for (direction, preference, filter) in [
        (Direction::Ingress, 0x400e, "to 01:80:c2:00:00:0e untagged: vlan push 10"),
        (Direction::Ingress, 0x401e, "to 01:80:c2:00:00:0e vlan 0: vlan modify 10"),
        (Direction::Egress, 0x4000, "to 01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0 vlan 10: vlan pop"),
    ] {
        let key = FilterKey { link: "swp1".to_owned(), direction, preference };
        network.add_filter(key, Filter::try_from(filter.to_owned()).expect("a filter"));
    }
    network
}

#[test]
fn filters_are_found_undone_and_brought_back() {
    isolated("filters::filters_are_found_undone_and_brought_back", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let before = room.snapshot();
        let network = wanted(&before);
        let scope = room.scope.clone();
        let unreported = &mut Unreported::default();
        let mut kernel = Kernel::new(&mut room.connection, &scope, BRIDGE, BTreeSet::new(), unreported);
        let report = match commit(&mut kernel, &network) {
            Ok(report) => report,
            Err(error) => {
                let switch = std::env::var_os("NETD_TEST_VLANS").is_some();
                assert!(!switch, "the switch's own kernel has all it takes: {error}");
                println!("this kernel has no flower: {error}");
                assert!(error.to_string().starts_with("filter swp1 "), "{error}");
                assert_eq!((error.left, has_clsact()), (Vec::new(), false));
                return;
            }
        };
        assert_eq!(report.steps, 4);
        let shown = tc(&["filter", "show", "dev", "swp1", "ingress"]);
        for words in
            ["pref 16398", "dst_mac 01:80:c2:00:00:0e", "push id 10", "vlan_id 0", "modify id 10", "skip_hw"]
        {
            assert!(shown.contains(words), "no {words:?}: {shown}");
        }
        let shown = tc(&["filter", "show", "dev", "swp1", "egress"]);
        for words in ["pref 16384", "dst_mac 01:80:c2:00:00:00/44", "vlan_id 10", " pop"] {
            assert!(shown.contains(words), "no {words:?}: {shown}");
        }
        assert_eq!(commit(&mut kernel, &network).expect("again").steps, 0);
        // What somebody removes or puts in their place.
        tc(&["filter", "del", "dev", "swp1", "ingress", "pref", "16398"]);
        assert_eq!(reconcile(&mut kernel, &network, |_| true).expect("one").count, 1);
        tc(&["qdisc", "del", "dev", "swp1", "clsact"]);
        assert_eq!(reconcile(&mut kernel, &network, |_| true).expect("all").count, 4);
        tc(&["filter", "del", "dev", "swp1", "egress", "pref", "16384"]);
        let other = ["protocol", "all", "matchall", "action", "ok"];
        tc(&[&["filter", "add", "dev", "swp1", "egress", "pref", "16384"][..], &other].concat());
        tc(&[&["filter", "add", "dev", "swp1", "ingress", "pref", "20000"][..], &other].concat());
        let done = reconcile(&mut kernel, &network, |_| true).expect("in their place");
        assert_eq!((done.count, done.failed), (3, Vec::new()));
        // What others filter with preferences of theirs.
        tc(&[&["filter", "add", "dev", "swp1", "ingress", "pref", "7"][..], &other].concat());
        assert_eq!(commit(&mut kernel, &network).expect("beside others").steps, 0);
        commit(&mut kernel, &report.before).expect("back");
        let shown = tc(&["filter", "show", "dev", "swp1", "ingress"]);
        assert!(shown.contains("pref 7 ") && !shown.contains("flower"), "{shown}");
        // Without others, nothing is left.
        tc(&["qdisc", "del", "dev", "swp1", "clsact"]);
        let report = commit(&mut kernel, &network).expect("from the start");
        commit(&mut kernel, &report.before).expect("back again");
        assert!(!has_clsact());
        assert_eq!(plan(&before, &room.snapshot()), Vec::new());
    });
}

#[test]
fn filters_of_others_wake_netd_and_its_own_do_not() {
    isolated("filters::filters_of_others_wake_netd_and_its_own_do_not", || {
        let mut room = Room::new();
        room.add_pair("swp1", "host1");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let inside = runtime.enter();
        let mut monitor = Monitor::open().expect("the monitor");
        drop(inside);
        monitor
            .ignore_changes_by(room.connection.port_id().expect("a port id"))
            .expect("the filter of events");
        let mut seen_by_others = |change: &mut dyn FnMut()| {
            change();
            // A route of netd's that is gone is always told: whatever came before it was heard by then.
            let marker =
                ["add", "del"].map(|what| ["route", what, "192.0.2.0/24", "dev", "swp1", "proto", "199"]);
            for words in marker {
                assert!(Command::new("ip").args(words).status().expect("ip(8)").success());
            }
            runtime.block_on(async {
                let mut filters = 0;
                let heard = tokio::time::timeout(Duration::from_secs(10), async {
                    loop {
                        let events = monitor.next().await.expect("events");
                        filters += events.iter().filter(|event| **event == Event::Filter).count();
                        if events.iter().any(|event| matches!(event, Event::RouteLost(_))) {
                            break;
                        }
                    }
                });
                heard.await.expect("the marker");
                filters
            })
        };
        let clsact = |add| Action::Clsact { link: "swp1".to_owned(), add };
        assert_eq!(seen_by_others(&mut || room.carry_out([clsact(true), clsact(false)])), 0);
        let others = seen_by_others(&mut || {
            tc(&["qdisc", "add", "dev", "swp1", "clsact"]);
            tc(&["qdisc", "del", "dev", "swp1", "clsact"]);
        });
        assert_eq!(others, 2);
    });
}
