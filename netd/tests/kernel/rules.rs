//! Routing rules: moved without a moment in between, and brought back when somebody flushes them.

use std::collections::BTreeSet;
use std::process::Command;

use netd::kernel::unreported::Unreported;
use netd::plan::{Action, Lookup, Network, Rule, plan};
use netd::transaction::{Kernel, commit, reconcile};

use crate::common::isolated;
use crate::room::{BRIDGE, Room};

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().expect("ip(8) of iproute2");
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The rules of a document, but those by VRF where the kernel knows no VRFs.
fn wanted(room: &mut Room) -> Network {
    let config =
        netd_api::config::parse("version = 1\n[vrfs.blue]\ntable = 1001\n").expect("a valid document");
    let all = crate::network::desired(&config, &BTreeSet::new()).rules;
    let by_vrf = Rule { ipv6: false, preference: 1000, lookup: Lookup::L3mdev };
    let probe =
        netd::kernel::batch::execute(&mut room.connection, &[&Action::Rule { rule: by_vrf, add: true }]);
    let knows_vrfs = probe[0].is_ok();
    println!("rules by VRF: {knows_vrfs}");
    let rules = all.into_iter().filter(|rule| knows_vrfs || rule.lookup != Lookup::L3mdev);
    Network { rules: rules.collect(), ..Network::default() }
}

#[test]
fn rules_are_moved_read_back_undone_and_brought_back() {
    isolated("rules::rules_are_moved_read_back_undone_and_brought_back", || {
        let mut room = Room::new();
        ip(&["link", "set", "lo", "up"]);
        let before = room.snapshot().rules;
        let network = wanted(&mut room);
        let unreported = &mut Unreported::default();
        let mut kernel = Kernel::new(&mut room.connection, &room.scope, BRIDGE, BTreeSet::new(), unreported);
        let report = commit(&mut kernel, &network).expect("the rules");
        for family in ["-4", "-6"] {
            let rules = ip(&[family, "rule", "show"]);
            let preferences: Vec<&str> = rules.lines().filter_map(|line| line.split(':').next()).collect();
            assert!(!preferences.contains(&"0") && preferences.contains(&"32765"), "{rules}");
        }
        // Others' rules stay.
        ip(&["rule", "add", "iif", "lo", "lookup", "main", "pref", "2000"]);
        assert_eq!(commit(&mut kernel, &network).expect("again").steps, 0);
        for family in ["-4", "-6"] {
            ip(&[family, "rule", "flush"]);
            let done = reconcile(&mut kernel, &network, |_| true).expect("reconcile");
            assert_eq!((done.failed, done.count > 0), (Vec::new(), true));
        }
        assert!(ip(&["route", "get", "127.0.0.1"]).starts_with("local"));
        commit(&mut kernel, &report.before).expect("back");
        let found = room.snapshot();
        assert_eq!(found.rules, before.union(&report.before.rules).copied().collect());
        assert_eq!(plan(&report.before, &found), Vec::new());
    });
}
