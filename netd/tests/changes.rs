//! Changes of the configuration through the engine, on a model of the kernel: applied, refused, confirmed,
//! rolled back, cut off by a kill or a reboot.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{Folder, isolated};
use model::random::{self, Random};
use model::{Kernel, differences};
use netd::engine::Engine;
use netd::engine::changes::Request;
use netd::events::Hub;
use netd::failure::Failure;
use netd::plan::{Action, Network, RouteTarget};
use netd::store::record::Author;
use netd_api::generation::{Health, State};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const FINGERPRINT: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";

/// A switch whose engine can be killed and started again.
struct Switch {
    folder: Folder,
    kernel: Kernel,
    hub: Hub,
    engine: Engine,
}

impl Switch {
    fn new(name: &str) -> Switch {
        let folder = Folder::new(name);
        folder.write_nft();
        let kernel = Kernel::with(Network::default());
        let hub = Hub::open().expect("a thread");
        let engine = start(&folder, &kernel, &hub);
        Switch { folder, kernel, hub, engine }
    }

    /// Kills the engine, changes files, and starts it again.
    fn restart(&mut self, meanwhile: impl FnOnce(&Folder)) {
        meanwhile(&self.folder);
        self.engine = start(&self.folder, &self.kernel, &self.hub);
    }

    /// Rewrites a record, if there is one.
    fn edit(folder: &Folder, name: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = folder.0.join(name);
        if let Ok(text) = fs::read_to_string(&path) {
            let mut record = serde_json::from_str(&text).unwrap();
            edit(&mut record);
            fs::write(&path, record.to_string()).unwrap();
        }
    }

    fn reboot(&mut self) {
        self.kernel.0.borrow_mut().network = Network::default();
        let other_boot = |record: &mut serde_json::Value| record["boot_id"] = "another".into();
        self.restart(|folder| {
            for name in ["pending.json", "journal.json", "starts.json"] {
                Switch::edit(folder, name, other_boot);
            }
        });
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.0.join(file)).ok()
    }

    fn has(&self, file: &str) -> bool {
        self.folder.0.join(file).exists()
    }

    fn apply(&mut self, document: &str) -> Result<u64, Failure> {
        self.engine.apply(document.to_owned(), 0, 0, &by("ana"))
    }

    fn apply_to_confirm(&mut self, document: &str) -> u64 {
        self.engine.apply(document.to_owned(), 0, 600, &by("ana")).expect("applied")
    }

    fn running(&self) -> (String, u64) {
        self.engine.get(0, true).unwrap()
    }

    /// State and reason of each generation, the oldest first.
    fn states(&self) -> Vec<(u64, State)> {
        self.engine.history().iter().rev().map(|row| (row.generation, row.state)).collect()
    }

    /// What runs is what the kernel has, what the switch starts with, and the only one that runs.
    fn check_settled(&mut self, document: &str) {
        let (running, generation) = self.running();
        assert_eq!(running, document);
        assert_eq!(self.read("startup.toml").unwrap_or("version = 1\n".to_owned()), document);
        assert_eq!(self.read("run/running.toml").as_deref(), Some(document));
        assert_eq!(self.engine.diff(document).unwrap(), [""; 0]);
        let health = self.engine.health();
        assert_eq!((health.state, health.generation, health.confirm_by_s), (Health::Ok, generation, 0));
        assert!(!self.has("pending.json") && !self.has("journal.json") && !self.has("startup.toml.new"));
        let states = self.states();
        let here: Vec<u64> = states
            .iter()
            .filter(|(_, state)| !matches!(state, State::Confirmed | State::RolledBack))
            .map(|(number, _)| *number)
            .collect();
        assert_eq!(here, if generation == 0 { vec![] } else { vec![generation] }, "{states:?}");
    }
}

fn start(folder: &Folder, kernel: &Kernel, hub: &Hub) -> Engine {
    let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
    Engine::start_on(paths, hub.clone(), Some(Box::new(kernel.clone()))).expect("the engine")
}

fn by(user: &str) -> Request {
    let user_id = 2000 + user.len() as u32;
    Request {
        author: Author { user: user.to_owned(), user_id, ..Author::default() },
        comment: format!("{user}'s"),
        ..Request::default()
    }
}

/// A document whose loopback tells it from others.
fn document(number: u32) -> String {
    format!("version = 1\n[loopbacks.lo{number}]\naddresses = [\"192.0.2.{number}/32\"]\n")
}

#[test]
fn a_change_is_shown_beforehand_applied_and_recorded() {
    isolated("a_change_is_shown_beforehand_applied_and_recorded", || {
        let mut switch = Switch::new("applied");
        assert_eq!(switch.engine.health().state, Health::Ok);
        let steps = switch.engine.diff(document(1)).unwrap();
        assert!(steps.iter().any(|step| step == "lo1: create dummy"), "{steps:?}");
        assert!(steps.iter().any(|step| step.contains("192.0.2.1/32")), "{steps:?}");
        assert_eq!(switch.running().1, 0, "a look ahead changes nothing");
        assert_eq!(switch.apply(&document(1)).unwrap(), 1);
        switch.check_settled(&document(1));
        let row = switch.engine.history().remove(0);
        assert_eq!((row.user.as_str(), row.user_id, row.comment.as_str()), ("ana", 2003, "ana's"));
        assert!(row.time_s > 1_600_000_000);
        assert_eq!(switch.engine.diff(document(1)).unwrap(), [""; 0]);
        let mistakes = switch.engine.diff("version = 2\n").unwrap_err();
        assert!(matches!(mistakes, Failure::Invalid(_)));
        assert!(matches!(switch.engine.apply(document(2), 7, 0, &by("ana")), Err(Failure::Conflict(_))));
        switch.restart(|_| {});
        switch.check_settled(&document(1));
    });
}

#[test]
fn the_running_document_again_repairs_and_makes_no_generation() {
    isolated("the_running_document_again_repairs_and_makes_no_generation", || {
        let mut switch = Switch::new("again");
        let generation = switch.apply(&document(1)).unwrap();
        switch.kernel.0.borrow_mut().network = Network::default();
        assert_eq!(switch.apply(&document(1)).unwrap(), generation);
        switch.check_settled(&document(1));
        // To wait for a confirmation is a change.
        assert_eq!(switch.apply_to_confirm(&document(1)), generation + 1);
    });
}

#[test]
fn what_is_confirmed_stays_and_what_is_not_goes_when_its_time_is_up() {
    isolated("what_is_confirmed_stays_and_what_is_not_goes_when_its_time_is_up", || {
        let mut switch = Switch::new("confirm");
        switch.apply(&document(1)).unwrap();
        assert_eq!(switch.apply_to_confirm(&document(2)), 2);
        assert_eq!(switch.running(), (document(2), 2));
        assert_eq!(switch.read("startup.toml"), Some(document(1)));
        assert_eq!(switch.states(), [(1, State::Startup), (2, State::Unconfirmed)]);
        let health = switch.engine.health();
        assert_eq!((health.state, health.user.as_str()), (Health::Unconfirmed, "ana"));
        assert!(switch.engine.status().contains("generation 2, to be confirmed until 2"));
        assert!(switch.engine.next_deadline().unwrap() <= Duration::from_secs(60));
        assert_eq!(switch.engine.confirm(&by("ana")).unwrap(), 2);
        switch.check_settled(&document(2));
        assert!(matches!(switch.engine.confirm(&by("ana")), Err(Failure::NotFound(_))));

        switch.engine.apply(document(3), 2, 1, &by("ana")).unwrap();
        while let Some(left) = switch.engine.next_deadline().filter(|_| switch.has("pending.json")) {
            std::thread::sleep(left.min(Duration::from_secs(5)));
            switch.engine.on_deadline();
        }
        switch.check_settled(&document(2));
        let row = switch.engine.history().remove(0);
        assert_eq!((row.generation, row.state), (3, State::RolledBack));
        assert_eq!(row.reason, "not confirmed in time");
        assert!(matches!(switch.engine.confirm(&by("ana")), Err(Failure::NotFound(_))));
    });
}

#[test]
fn confirmation_counts_when_it_arrives_not_when_it_gets_its_turn() {
    isolated("confirmation_counts_when_it_arrives_not_when_it_gets_its_turn", || {
        let mut switch = Switch::new("arrival");
        switch.apply(&document(1)).unwrap();
        let early = netd::clock::boottime_ns();
        switch.engine.apply(document(2), 0, 1, &by("ana")).unwrap();
        let in_time = netd::clock::boottime_ns();
        std::thread::sleep(Duration::from_millis(1200));
        // One that was sent before the change was there is about another.
        assert!(matches!(switch.engine.confirm_at(early, &by("ana")), Err(Failure::Conflict(_))));
        assert_eq!(switch.engine.confirm_at(in_time, &by("ana")).unwrap(), 2);
        switch.check_settled(&document(2));
        switch.engine.apply(document(3), 0, 1, &by("ana")).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        let late = netd::clock::boottime_ns();
        assert!(matches!(switch.engine.confirm_at(late, &by("ana")), Err(Failure::NotFound(_))));
        switch.check_settled(&document(2));
    });
}

#[test]
fn rollback_with_an_unreadable_startup_document_runs_the_last_confirmed_generation() {
    isolated("rollback_with_an_unreadable_startup_document_runs_the_last_confirmed_generation", || {
        let mut switch = Switch::new("unreadable-startup");
        switch.apply(&document(1)).unwrap();
        switch.apply(&document(2)).unwrap();
        switch.apply_to_confirm(&document(3));
        fs::write(switch.folder.0.join("startup.toml"), b"version = 1\n# \xff\n").unwrap();
        switch.engine.roll_back(0, &by("ana")).unwrap();
        assert_eq!(switch.running(), (document(2), 2));
        assert!(switch.engine.status().contains("generation 2 runs instead"), "{}", switch.engine.status());
        assert_eq!(switch.engine.diff(document(2)).unwrap(), [""; 0], "the kernel has it");
        // With no generation left either, what was rolled back is nobody's configuration.
        switch.apply_to_confirm(&document(4));
        fs::write(switch.folder.0.join("startup.toml"), b"\xff").unwrap();
        for name in fs::read_dir(switch.folder.0.join("generations")).unwrap() {
            let path = name.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "toml") {
                fs::write(path, "version = 2\n").unwrap();
            }
        }
        switch.engine.roll_back(0, &by("ana")).unwrap();
        assert_eq!(switch.running(), ("version = 1\n".to_owned(), 0));
        assert!(switch.engine.status().contains("no generation fits"), "{}", switch.engine.status());
    });
}

#[test]
fn generation_with_a_corrupt_record_is_never_gone_back_to() {
    isolated("generation_with_a_corrupt_record_is_never_gone_back_to", || {
        let mut switch = Switch::new("corrupt-record");
        switch.apply(&document(1)).unwrap();
        switch.apply_to_confirm(&document(2));
        switch.engine.roll_back(0, &by("ana")).unwrap();
        switch.restart(|folder| {
            fs::write(folder.0.join("generations/2.json"), "{").unwrap();
            fs::write(folder.0.join("startup.toml"), b"\xff").unwrap();
        });
        assert_eq!(switch.running(), (document(1), 1));
        assert_eq!(switch.states()[1].1, State::RolledBack);
    });
}

#[test]
fn the_first_configuration_can_be_rolled_back_to_none() {
    isolated("the_first_configuration_can_be_rolled_back_to_none", || {
        let mut switch = Switch::new("first");
        switch.apply_to_confirm(&document(1));
        assert_eq!(switch.engine.roll_back(0, &by("ana")).unwrap(), 0);
        switch.check_settled("version = 1\n");
        assert!(!switch.has("startup.toml"));
    });
}

#[test]
fn netd_that_is_killed_goes_on_waiting_and_a_reboot_counts_as_expiry() {
    isolated("netd_that_is_killed_goes_on_waiting_and_a_reboot_counts_as_expiry", || {
        let mut switch = Switch::new("killed");
        switch.apply(&document(1)).unwrap();
        switch.apply_to_confirm(&document(2));
        let executed = switch.kernel.0.borrow().executed;
        switch.restart(|_| {});
        assert_eq!(switch.kernel.0.borrow().executed, executed, "a restart changes nothing");
        assert_eq!(switch.engine.health().state, Health::Unconfirmed);
        assert_eq!(switch.running(), (document(2), 2));
        switch.restart(|folder| Switch::edit(folder, "pending.json", |p| p["deadline_ns"] = 1.into()));
        switch.check_settled(&document(1));
        switch.apply_to_confirm(&document(3));
        switch.reboot();
        switch.check_settled(&document(1));
        assert_eq!(switch.engine.history()[0].reason, "the switch was restarted before it was confirmed");
    });
}

#[test]
fn while_a_change_waits_nobody_else_applies_but_an_administrator_may_take_it_back() {
    isolated("while_a_change_waits_nobody_else_applies_but_an_administrator_may_take_it_back", || {
        let mut switch = Switch::new("locked");
        switch.apply(&document(1)).unwrap();
        switch.apply_to_confirm(&document(2));
        let refusals = [
            switch.engine.apply(document(3), 0, 0, &by("other")).unwrap_err(),
            switch.engine.confirm(&by("other")).unwrap_err(),
        ];
        for failure in refusals {
            assert!(matches!(failure, Failure::Locked(_)), "{failure:?}");
            let words = failure.words();
            assert!(words.starts_with("locked by ana since 2"), "{words}");
            assert!(words.contains(", waiting for confirmation until 2"), "{words}");
        }
        assert_eq!(switch.engine.roll_back(0, &by("other")).unwrap(), 1);
        switch.check_settled(&document(1));
        assert_eq!(switch.engine.history()[0].reason, "rolled back by other");

        // Who waits may apply again: the confirmed one stays the one to go back to.
        switch.apply_to_confirm(&document(2));
        switch.apply_to_confirm(&document(3));
        assert_eq!(switch.states().last_chunk(), Some(&[(3, State::RolledBack), (4, State::Unconfirmed)]));
        assert_eq!(switch.engine.roll_back(1, &by("ana")).unwrap(), 1);
        switch.check_settled(&document(1));
        switch.apply_to_confirm(&document(2));
        switch.apply(&document(3)).unwrap();
        switch.check_settled(&document(3));
    });
}

#[test]
fn a_refused_change_names_the_line_and_leaves_nothing_behind() {
    isolated("a_refused_change_names_the_line_and_leaves_nothing_behind", || {
        let mut switch = Switch::new("refused");
        switch.apply(&document(1)).unwrap();
        let before = switch.kernel.0.borrow().network.clone();
        switch.kernel.0.borrow_mut().faults = Box::new(|_, action| action.to_string().contains("192.0.2.2"));
        for confirm_timeout_s in [0, 60] {
            let refused = switch.engine.apply(document(2), 0, confirm_timeout_s, &by("ana")).unwrap_err();
            assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
            assert!(refused.words().starts_with("line 3: lo2: add address 192.0.2.2/32: "), "{refused:?}");
            assert_eq!(differences(&before, &switch.kernel.0.borrow().network), Vec::<String>::new());
            switch.check_settled(&document(1));
            assert_eq!(switch.states(), [(1, State::Running)]);
        }
    });
}

/// Two ways to a destination.
const TWO_WAYS: &str = "\
version = 1
[vlans.10]
addresses = [\"10.0.10.1/24\"]
[vlans.20]
addresses = [\"10.0.20.1/24\"]
[[routes]]
prefix = \"10.0.0.0/8\"
via = [\"10.0.10.2\", \"10.0.20.2\"]
";

/// Has the kernel's stand-in refuse what `faults` picks, in these words.
fn refuse(switch: &Switch, words: &'static str, faults: fn(&Action) -> bool) {
    let mut model = switch.kernel.0.borrow_mut();
    model.words = words;
    model.faults = Box::new(move |_, action| faults(action));
}

fn sets_object(action: &Action) -> bool {
    matches!(action, Action::NextHop { to: Some(_), .. })
}

fn leads_to_object(action: &Action) -> bool {
    matches!(action, Action::Route { to: Some(RouteTarget::Object(_)), .. })
}

#[test]
fn where_a_driver_refuses_next_hop_objects_routes_spell_out_their_next_hops() {
    isolated("where_a_driver_refuses_next_hop_objects_routes_spell_out_their_next_hops", || {
        for faults in [sets_object, leads_to_object] {
            let mut switch = Switch::new("inline");
            refuse(&switch, "asic: Exceeded number of supported nexthops", faults);
            switch.apply(TWO_WAYS).expect("applied");
            let spelled_out = |switch: &Switch| {
                let network = &switch.kernel.0.borrow().network;
                assert!(network.next_hops.is_empty(), "{:?}", network.next_hops);
                match network.routes.as_slice() {
                    [route] => {
                        assert!(matches!(&route.target, RouteTarget::NextHops(hops) if hops.len() == 2))
                    }
                    other => panic!("{other:?}"),
                }
            };
            spelled_out(&switch);
            switch.check_settled(TWO_WAYS);
            let executed = switch.kernel.0.borrow().executed;
            switch.restart(|_| {});
            assert_eq!(switch.kernel.0.borrow().executed, executed, "a restart changed something");
            switch.reboot();
            spelled_out(&switch);
            switch.check_settled(TWO_WAYS);
        }
    });
}

#[test]
fn routes_that_are_refused_in_any_form_change_nothing_and_the_next_try_uses_objects() {
    isolated("routes_that_are_refused_in_any_form_change_nothing_and_the_next_try_uses_objects", || {
        for words in ["asic: Exceeded number of supported fib entries", "Nexthop has invalid gateway"] {
            let mut switch = Switch::new("full");
            switch.apply(&document(1)).unwrap();
            let before = switch.kernel.0.borrow().network.clone();
            refuse(&switch, words, |action| matches!(action, Action::Route { .. }) || sets_object(action));
            let refused = switch.apply(TWO_WAYS).unwrap_err().words();
            assert!(refused.starts_with("line 6: ") && refused.contains(words), "{refused}");
            assert_eq!(differences(&before, &switch.kernel.0.borrow().network), Vec::<String>::new());
            refuse(&switch, words, |_| false);
            switch.apply(TWO_WAYS).expect("applied");
            assert_eq!(switch.kernel.0.borrow().network.next_hops.len(), 3, "two, and their group");
        }
    });
}

#[test]
fn an_undo_that_fails_is_degraded_until_it_is_done() {
    isolated("an_undo_that_fails_is_degraded_until_it_is_done", || {
        let mut switch = Switch::new("degraded");
        switch.apply(&document(1)).unwrap();
        switch.kernel.0.borrow_mut().faults = Box::new(|_, action| {
            action.to_string().contains("192.0.2.2") || action.to_string() == "lo2: delete"
        });
        let refused = switch.apply(&document(2)).unwrap_err().words();
        assert!(
            refused.contains("undoing left these differences: ") && refused.contains("lo2: delete"),
            "{refused}"
        );
        let health = switch.engine.health();
        assert_eq!((health.state, health.generation), (Health::Degraded, 1));
        assert!(switch.engine.status().starts_with("degraded: "), "{}", switch.engine.status());
        assert!(switch.has("journal.json"));
        switch.engine.look();
        assert_eq!(switch.engine.health().state, Health::Degraded, "it was tried again");
        switch.restart(|_| {});
        assert_eq!(switch.engine.health().state, Health::Degraded);
        assert_eq!(switch.states(), [(1, State::Running), (2, State::RolledBack)]);
        switch.kernel.0.borrow_mut().faults = Box::new(|_, _| false);
        switch.engine.look();
        switch.check_settled(&document(1));
    });
}

#[test]
fn a_disk_that_takes_no_change_is_no_reason_to_change_the_network() {
    isolated("a_disk_that_takes_no_change_is_no_reason_to_change_the_network", || {
        let mut switch = Switch::new("full");
        switch.apply(&document(1)).unwrap();
        let executed = switch.kernel.0.borrow().executed;
        fs::create_dir_all(switch.folder.0.join("journal.json.new/in the way")).unwrap();
        let failed = switch.apply(&document(2)).unwrap_err().words();
        assert!(failed.starts_with("nothing was changed: ") && failed.contains("journal.json"), "{failed}");
        assert_eq!(switch.kernel.0.borrow().executed, executed);
        fs::remove_dir_all(switch.folder.0.join("journal.json.new")).unwrap();
        // The last step can fail too: then the kernel is taken back.
        fs::create_dir_all(switch.folder.0.join("pending.json/in the way")).unwrap();
        let failed = switch.engine.apply(document(2), 0, 60, &by("ana")).unwrap_err().words();
        assert!(failed.starts_with("the change was undone: "), "{failed}");
        fs::remove_dir_all(switch.folder.0.join("pending.json")).unwrap();
        let _ = fs::remove_file(switch.folder.0.join("pending.json.new"));
        switch.check_settled(&document(1));
    });
}

#[test]
fn a_generation_that_crashes_netd_three_times_is_dropped() {
    isolated("a_generation_that_crashes_netd_three_times_is_dropped", || {
        for waits in [false, true] {
            let mut switch = Switch::new("crashes");
            switch.apply(&document(1)).unwrap();
            match waits {
                true => drop(switch.apply_to_confirm(&document(2))),
                false => drop(switch.apply(&document(2)).unwrap()),
            }
            for _ in 0..3 {
                switch.restart(|_| {});
                assert_eq!(switch.running(), (document(2), 2));
            }
            switch.restart(|_| {});
            assert_eq!(switch.running(), (document(1), 1));
            let row = switch.engine.history().remove(0);
            assert_eq!((row.state, row.reason.as_str()), (State::RolledBack, "it crashed netd 3 times"));
            if !waits {
                let problems = switch.engine.problems().concat();
                assert!(
                    problems.contains("generation 2 crashed netd 3 times: generation 1 runs instead"),
                    "{problems}"
                );
                assert_eq!(switch.read("startup.refused.toml"), Some(document(2)));
                switch.restart(|_| {});
            }
            switch.check_settled(&document(1));
        }
    });
}

#[test]
fn starts_that_end_well_and_reboots_are_no_crashes() {
    isolated("starts_that_end_well_and_reboots_are_no_crashes", || {
        let mut switch = Switch::new("no-crashes");
        switch.apply(&document(1)).unwrap();
        switch.apply(&document(2)).unwrap();
        for _ in 0..5 {
            switch.engine.end();
            switch.restart(|_| {});
        }
        for _ in 0..5 {
            switch.reboot();
        }
        switch.check_settled(&document(2));
    });
}

/// A document with ana in a role, and perhaps an administrator beside her.
fn users(role: &str, other: bool) -> String {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let user = |name: &str, role: &str| format!("[users.{name}]\nrole = \"{role}\"\nkeys = [\"{key}\"]\n");
    let other = if other { user("other", "admin") } else { String::new() };
    format!("version = 1\n{}{other}", user("ana", role))
}

#[test]
fn lockout_is_confirmed_by_force_alone_whichever_way_it_comes() {
    isolated("lockout_is_confirmed_by_force_alone_whichever_way_it_comes", || {
        let mut switch = Switch::new("lockout");
        switch.apply(&users("admin", false)).unwrap();
        switch.apply(&users("admin", true)).unwrap();
        let forced = || Request { force: true, ..by("ana") };
        for (document, words) in [
            (users("view", false), "no administrator could log in any more"),
            (users("view", true), "you, ana, could not change anything any more"),
        ] {
            let running = switch.running();
            let refused = |outcome: Result<u64, Failure>| match outcome {
                Err(Failure::Lockout(said)) => assert_eq!(said, words),
                other => panic!("{other:?}"),
            };
            refused(switch.apply(&document));
            assert_eq!(switch.running(), running);
            let waits = switch.apply_to_confirm(&document);
            refused(switch.engine.confirm(&by("ana")));
            // Beside what is confirmed, not beside what runs: else the second change would be a way around.
            refused(switch.apply(&document.replace("version = 1", "version = 1 # again")));
            assert_eq!(switch.engine.take_back_pending(&by("ana")).unwrap(), running.1);
            switch.check_settled(&running.0);
            assert!(waits > running.1);
        }
        // An earlier generation may lock out as well as any other document.
        assert_eq!(
            switch.engine.roll_back(1, &by("other")).unwrap_err().words(),
            "you, other, could not log in any more: the document has no [users.other]"
        );
        switch.apply_to_confirm(&users("view", false));
        switch.engine.confirm(&forced()).unwrap();
        switch.check_settled(&users("view", false));
    });
}

#[test]
fn taking_back_never_goes_further_than_what_waits() {
    isolated("taking_back_never_goes_further_than_what_waits", || {
        let mut switch = Switch::new("take-back");
        switch.apply(&document(1)).unwrap();
        switch.apply(&document(2)).unwrap();
        assert!(matches!(switch.engine.take_back_pending(&by("ana")), Err(Failure::NotFound(_))));
        switch.check_settled(&document(2));
        switch.apply_to_confirm(&document(3));
        assert_eq!(switch.engine.take_back_pending(&by("other")).unwrap(), 2);
        assert!(matches!(switch.engine.take_back_pending(&by("ana")), Err(Failure::NotFound(_))));
        switch.check_settled(&document(2));
    });
}

#[test]
fn earlier_generation_may_wait_for_its_confirmation() {
    isolated("earlier_generation_may_wait_for_its_confirmation", || {
        let mut switch = Switch::new("rollback-waits");
        for number in 1..=3 {
            switch.apply(&document(number)).unwrap();
        }
        let waits = Request { confirm_timeout_s: 120, comment: String::new(), ..by("ana") };
        assert_eq!(switch.engine.roll_back(1, &waits).unwrap(), 4);
        assert_eq!(switch.engine.history()[0].state, State::Unconfirmed);
        assert_eq!(switch.engine.history()[0].comment, "generation 1 again");
        switch.engine.take_back_pending(&by("ana")).unwrap();
        switch.check_settled(&document(3));
        // What was taken back has left nothing behind: generation 3 was never left.
        assert_eq!(switch.states()[2], (3, State::Running));
        assert_eq!(switch.engine.history()[1].reason, "");
        assert_eq!(switch.engine.roll_back(1, &waits).unwrap(), 5);
        switch.engine.confirm(&by("ana")).unwrap();
        switch.check_settled(&document(1));
        assert_eq!(switch.states()[2], (3, State::RolledBack));
        assert_eq!(switch.engine.history()[2].reason, "rolled back by ana with generation 5");
    });
}

#[test]
fn earlier_generations_come_back_one_after_the_other() {
    isolated("earlier_generations_come_back_one_after_the_other", || {
        let mut switch = Switch::new("rollback");
        for number in 1..=4 {
            switch.apply(&document(number)).unwrap();
        }
        assert_eq!(switch.engine.roll_back(0, &by("ana")).unwrap(), 5);
        switch.check_settled(&document(3));
        assert_eq!(switch.engine.roll_back(0, &by("ana")).unwrap(), 6);
        switch.check_settled(&document(2));
        assert_eq!(switch.engine.roll_back(0, &by("ana")).unwrap(), 7);
        switch.check_settled(&document(1));
        assert!(matches!(switch.engine.roll_back(0, &by("ana")), Err(Failure::NotFound(_))));
        assert_eq!(switch.engine.roll_back(4, &by("ana")).unwrap(), 8);
        switch.check_settled(&document(4));
        let history = switch.engine.history();
        assert_eq!(history[0].comment, "ana's");
        assert_eq!((history[1].generation, history[1].state), (7, State::RolledBack));
        assert_eq!(history[1].reason, "rolled back by ana with generation 8");
        assert!(matches!(switch.engine.roll_back(99, &by("ana")), Err(Failure::NotFound(_))));
        assert!(matches!(switch.engine.roll_back(8, &by("ana")), Err(Failure::Invalid(_))));
        let request = Request { comment: String::new(), ..by("ana") };
        switch.engine.roll_back(2, &request).unwrap();
        assert_eq!(switch.engine.history()[0].comment, "generation 2 again");
    });
}

#[test]
fn a_claimed_key_must_be_one_of_the_users() {
    isolated("a_claimed_key_must_be_one_of_the_users", || {
        let mut switch = Switch::new("keys");
        let with_key = format!("version = 1\n[users.ana]\nrole = \"admin\"\nkeys = [\"{KEY} ana\"]\n");
        let claim = |user: &str, key: &str| {
            let mut request = by(user);
            key.clone_into(&mut request.author.key_fingerprint);
            request
        };
        let ana = claim("ana", FINGERPRINT);
        assert!(matches!(switch.engine.apply(with_key.clone(), 0, 0, &ana), Err(Failure::Denied(_))));
        switch.apply(&with_key).unwrap();
        assert!(matches!(
            switch.engine.apply(document(1), 0, 0, &claim("bo", FINGERPRINT)),
            Err(Failure::Denied(_))
        ));
        for key in ["SHA256:other", "\n", &"x".repeat(1000)] {
            assert!(switch.engine.apply(document(1), 0, 0, &claim("ana", key)).is_err(), "{key}");
        }
        // Who replaces the key can still confirm that, and nothing more with the old one afterwards.
        switch.engine.apply(document(1), 0, 60, &ana).unwrap();
        assert_eq!(switch.engine.history()[0].key_fingerprint, FINGERPRINT);
        // It leaves nobody who could log in.
        switch.engine.confirm(&Request { force: true, ..ana.clone() }).unwrap();
        assert!(matches!(switch.engine.apply(with_key, 0, 0, &ana), Err(Failure::Denied(_))));
    });
}

#[test]
fn comments_are_one_short_line() {
    isolated("comments_are_one_short_line", || {
        let mut switch = Switch::new("comments");
        for comment in ["two\nlines", "\x1b[2J", &"x".repeat(201)] {
            let request = Request { comment: comment.to_owned(), ..by("ana") };
            assert!(matches!(switch.engine.apply(document(1), 0, 0, &request), Err(Failure::Invalid(_))));
        }
        let request = Request { comment: "é".repeat(200), ..by("ana") };
        switch.engine.apply(document(1), 0, 0, &request).unwrap();
        assert_eq!(switch.engine.history()[0].comment, request.comment);
    });
}

#[test]
fn past_documents_show_no_password_hashes_to_viewers() {
    isolated("past_documents_show_no_password_hashes_to_viewers", || {
        let mut switch = Switch::new("masked");
        let hash = format!("$6$saltsalt${}", "a".repeat(86));
        let secret = format!("version = 1\n[users.ana]\nrole = \"admin\"\nconsole_password = \"{hash}\"\n");
        switch.apply(&secret).unwrap();
        switch.engine.apply(document(1), 0, 0, &Request { force: true, ..by("ana") }).unwrap();
        assert_eq!(switch.engine.get(1, true).unwrap(), (secret, 1));
        let (masked, generation) = switch.engine.get(1, false).unwrap();
        assert!(
            !masked.contains("saltsalt") && masked.contains("[users.ana]") && generation == 1,
            "{masked}"
        );
        assert!(matches!(switch.engine.get(9, true), Err(Failure::NotFound(_))));
        // What this release cannot read cannot be searched for hashes.
        fs::write(switch.folder.0.join("generations/1.toml"), "version = 0\n").unwrap();
        assert!(matches!(switch.engine.get(1, false), Err(Failure::Denied(_))));
    });
}

/// Sequences of changes of a sample; `cargo os soak netd-model` tries many more.
const SEQUENCES: u64 = 20;

#[test]
fn whatever_is_done_the_end_is_what_the_switch_starts_with() {
    isolated("whatever_is_done_the_end_is_what_the_switch_starts_with", || {
        let seed = random::seed("NETD_CHANGES_SEED");
        let rounds = random::asked_for("NETD_CHANGES_ROUNDS").unwrap_or(SEQUENCES);
        let mut done = BTreeMap::new();
        for round in 0..rounds {
            let random = &mut Random::new(seed + round);
            let mut switch = Switch::new("sequence");
            for _ in 0..30 {
                *done.entry(step(&mut switch, random)).or_insert(0) += 1;
            }
            switch.kernel.0.borrow_mut().faults = Box::new(|_, _| false);
            let user = switch.engine.health().user;
            match user.as_str() {
                "" => {}
                user => match random.below(3) {
                    0 => drop(switch.engine.confirm(&by(user)).unwrap()),
                    1 => drop(switch.engine.roll_back(0, &by("other")).unwrap()),
                    _ => switch.reboot(),
                },
            }
            switch.engine.look();
            let (document, _) = switch.running();
            // Another start forgets what it was that was dropped.
            switch.engine.end();
            switch.restart(|_| {});
            switch.check_settled(&document);
        }
        println!("{done:?}");
        for what in ["apply", "apply to confirm", "confirm", "roll back"] {
            for succeeds in [true, false] {
                assert!(done.contains_key(&(what, succeeds)), "{what} never came to {succeeds}: {done:?}");
            }
        }
    });
}

/// One thing an operator or fate does; answers what, and whether it succeeded.
fn step(switch: &mut Switch, random: &mut Random) -> (&'static str, bool) {
    let user = ["ana", "other"][random.below(2) as usize];
    let document = document(1 + random.below(4) as u32);
    switch.kernel.0.borrow_mut().faults = match random.below(4) {
        // Every so often the kernel refuses something for a while.
        0 => {
            let first = switch.kernel.0.borrow().executed + random.below(8) as usize;
            Box::new(move |number, _| (first..first + 6).contains(&number))
        }
        _ => Box::new(|_, _| false),
    };
    match random.below(10) {
        0..=2 => ("apply", switch.engine.apply(document, 0, 0, &by(user)).is_ok()),
        3..=5 => ("apply to confirm", switch.engine.apply(document, 0, 600, &by(user)).is_ok()),
        6 => ("confirm", switch.engine.confirm(&by(user)).is_ok()),
        7 => ("roll back", switch.engine.roll_back(random.below(4), &by(user)).is_ok()),
        8 => {
            switch.restart(|_| {});
            ("kill", true)
        }
        _ => {
            switch.restart(|folder| Switch::edit(folder, "pending.json", |p| p["deadline_ns"] = 1.into()));
            ("expiry", true)
        }
    }
}
