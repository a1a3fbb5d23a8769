//! Changes that confirm themselves if nothing is lost: through the engine on a model of its own network, beside links
//! of the kernel that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;

use std::fs;
use std::time::{Duration, Instant};

use common::{Folder, batch, isolated};
use model::Kernel;
use netd::engine::Engine;
use netd::engine::changes::Request;
use netd::events::Hub;
use netd::failure::Failure;
use netd::plan::Network;
use netd::store::record::Author;
use netd_api::comparison::{Comparison, Progress, Verdict};
use netd_api::generation::State;

const PATIENCE: Duration = Duration::from_secs(20);

/// A switch with a port that has its carrier.
struct Switch {
    folder: Folder,
    kernel: Kernel,
    engine: Engine,
}

impl Switch {
    fn new(name: &str) -> Switch {
        ip("link add swp1 type veth peer name host1");
        ip("link set swp1 up");
        ip("link set host1 up");
        let folder = Folder::new(name);
        folder.write_nft();
        let kernel = Kernel::with(Network::default());
        let engine = start(&folder, &kernel);
        Switch { folder, kernel, engine }
    }

    /// Kills the engine, changes files, and starts it again.
    fn restart(&mut self, meanwhile: impl FnOnce(&Folder)) {
        meanwhile(&self.folder);
        self.engine = start(&self.folder, &self.kernel);
    }

    fn apply_if_same(&mut self, document: &str, seconds: u32) -> Result<u64, Failure> {
        self.engine.apply(document.to_owned(), 0, seconds, &if_same())
    }

    /// Waits for the end of the time of what waits; the state and the reason of the newest generation then.
    fn at_the_end(&mut self) -> (State, String) {
        let begun = Instant::now();
        while self.engine.confirm_by_ns().is_some() {
            assert!(begun.elapsed() < PATIENCE, "it waits for ever");
            let left = self.engine.next_deadline().unwrap_or_default();
            std::thread::sleep(left.min(Duration::from_millis(50)));
            self.engine.on_deadline();
        }
        assert_eq!(self.engine.comparison(), Comparison::default());
        assert!(!self.folder.0.join("run/comparison.json").exists(), "the record of what ended is there");
        let newest = self.engine.history().remove(0);
        (newest.state, newest.reason)
    }

    /// Waits until the comparison is as expected.
    fn until(&mut self, what: &str, expected: impl Fn(&Comparison) -> bool) -> Comparison {
        let begun = Instant::now();
        loop {
            let comparison = self.engine.comparison();
            if expected(&comparison) {
                return comparison;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {comparison:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn start(folder: &Folder, kernel: &Kernel) -> Engine {
    let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
    let hub = Hub::open().expect("a thread");
    Engine::start_on(paths, hub, Some(Box::new(kernel.clone()))).expect("the engine")
}

fn ip(command: &str) {
    batch("ip", [command.to_owned()].into_iter());
}

fn if_same() -> Request {
    let author = Author { user: "ana".to_owned(), user_id: 2003, ..Author::default() };
    Request { author, if_same: true, ..Request::default() }
}

/// A document whose loopback tells it from others.
fn document(number: u32) -> String {
    format!("version = 1\n[loopbacks.lo{number}]\naddresses = [\"192.0.2.{number}/32\"]\n")
}

fn verdict_of(comparison: &Comparison, kind: &str) -> Option<Verdict> {
    comparison.kinds.iter().find(|row| row.kind == kind).map(|row| row.verdict)
}

#[test]
fn change_that_loses_nothing_confirms_itself_at_the_end_of_its_time() {
    isolated("change_that_loses_nothing_confirms_itself_at_the_end_of_its_time", || {
        let mut switch = Switch::new("same");
        assert_eq!(switch.engine.comparison(), Comparison::default());
        switch.apply_if_same(&document(1), 3).unwrap();
        let shown = switch.until("it is compared", |shown| shown.progress == Progress::Compared);
        assert!(shown.is_same() && shown.if_same && shown.generation == 1, "{shown:?}");
        let port = shown.kinds.iter().find(|row| row.kind == "port").expect("ports");
        assert_eq!((port.objects, port.lost), (1, 0));
        // Not before.
        switch.engine.on_deadline();
        assert!(switch.engine.confirm_by_ns().is_some());
        assert_eq!(switch.at_the_end(), (State::Running, String::new()));
        assert_eq!(fs::read_to_string(switch.folder.0.join("startup.toml")).unwrap(), document(1));
        // One that asks for no more than a confirmation is taken back as ever.
        let request = Request { if_same: false, ..if_same() };
        switch.engine.apply(document(2), 0, 1, &request).unwrap();
        assert_eq!(switch.at_the_end(), (State::RolledBack, "not confirmed in time".to_owned()));
    });
}

#[test]
fn change_that_loses_a_port_for_good_is_taken_back_and_the_history_says_so() {
    isolated("change_that_loses_a_port_for_good_is_taken_back_and_the_history_says_so", || {
        let mut switch = Switch::new("lost");
        switch.engine.apply(document(1), 0, 0, &Request { if_same: false, ..if_same() }).unwrap();
        switch.apply_if_same(&document(2), 3).unwrap();
        ip("link set host1 down");
        let shown = switch.until("it is lost", |shown| verdict_of(shown, "port") == Some(Verdict::Lost));
        assert!(!shown.is_same());
        let (state, reason) = switch.at_the_end();
        assert_eq!(state, State::RolledBack);
        assert_eq!(reason, "it did not confirm itself: lost port swp1");
        assert_eq!(switch.engine.get(0, true).unwrap(), (document(1), 1));
        // Whoever confirms it decides otherwise.
        ip("link set host1 up");
        switch.apply_if_same(&document(2), 60).unwrap();
        ip("link set host1 down");
        switch.until("it is lost", |shown| verdict_of(shown, "port") == Some(Verdict::Lost));
        switch.engine.confirm(&if_same()).unwrap();
        assert_eq!(switch.at_the_end(), (State::Running, String::new()));
    });
}

#[test]
fn port_that_comes_back_after_a_moment_is_not_lost() {
    isolated("port_that_comes_back_after_a_moment_is_not_lost", || {
        let mut switch = Switch::new("bounce");
        switch.apply_if_same(&document(1), 6).unwrap();
        ip("link set host1 down");
        switch.until("it is lost", |shown| verdict_of(shown, "port") == Some(Verdict::Lost));
        ip("link set host1 up");
        switch.until("it is back", |shown| verdict_of(shown, "port") == Some(Verdict::Same));
        assert_eq!(switch.at_the_end(), (State::Running, String::new()));
    });
}

#[test]
fn record_survives_a_restart_and_one_that_is_lost_is_never_the_same() {
    isolated("record_survives_a_restart_and_one_that_is_lost_is_never_the_same", || {
        let mut switch = Switch::new("restart");
        switch.apply_if_same(&document(1), 5).unwrap();
        let first = fs::read(switch.folder.0.join("run/comparison.json")).unwrap();
        switch.restart(|_| ip("link set host1 down"));
        let shown = switch.until("it is compared with before", |shown| shown.progress == Progress::Compared);
        assert_eq!(verdict_of(&shown, "port"), Some(Verdict::Lost), "{shown:?}");
        ip("link set host1 up");
        assert_eq!(switch.at_the_end(), (State::Running, String::new()));
        // None, one that is broken, and that of an earlier change.
        let spoils: [&dyn Fn(&Folder); 3] = [
            &|folder| fs::remove_file(folder.0.join("run/comparison.json")).unwrap(),
            &|folder| fs::write(folder.0.join("run/comparison.json"), "{").unwrap(),
            &|folder| fs::write(folder.0.join("run/comparison.json"), &first).unwrap(),
        ];
        for (number, spoil) in (2..).zip(spoils) {
            switch.apply_if_same(&document(number), 2).unwrap();
            switch.restart(spoil);
            let shown = switch.engine.comparison();
            assert_eq!((shown.progress, shown.if_same), (Progress::NotRecorded, true), "{shown:?}");
            let (state, reason) = switch.at_the_end();
            assert_eq!(state, State::RolledBack);
            let why = "it did not confirm itself: what was before the change is not recorded";
            assert_eq!(reason, why);
        }
    });
}

#[test]
fn change_in_the_place_of_one_that_waits_is_compared_with_before_both() {
    isolated("change_in_the_place_of_one_that_waits_is_compared_with_before_both", || {
        let mut switch = Switch::new("both");
        let request = Request { if_same: false, ..if_same() };
        switch.engine.apply(document(1), 0, 60, &request).unwrap();
        ip("link set host1 down");
        switch.until("it is lost", |shown| verdict_of(shown, "port") == Some(Verdict::Lost));
        switch.apply_if_same(&document(2), 3).unwrap();
        let shown = switch.until("it is compared", |shown| shown.progress == Progress::Compared);
        assert_eq!((shown.generation, verdict_of(&shown, "port")), (2, Some(Verdict::Lost)));
        assert_eq!(switch.at_the_end().0, State::RolledBack);
    });
}

#[test]
fn change_that_is_to_confirm_itself_needs_a_time_and_locks_nobody_out() {
    isolated("change_that_is_to_confirm_itself_needs_a_time_and_locks_nobody_out", || {
        let mut switch = Switch::new("lockout");
        let refused = switch.apply_if_same(&document(1), 0).unwrap_err();
        assert!(matches!(refused, Failure::Invalid(_)), "{refused:?}");
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let admin = format!("version = 1\n[users.ana]\nrole = \"admin\"\nkeys = [\"{key}\"]\n");
        let request = Request { if_same: false, ..if_same() };
        switch.engine.apply(admin.clone(), 0, 0, &request).unwrap();
        switch.apply_if_same(&document(1), 2).unwrap();
        let (state, reason) = switch.at_the_end();
        assert_eq!(state, State::RolledBack);
        assert!(reason.starts_with("it could not confirm itself: "), "{reason}");
        let forced = Request { force: true, ..if_same() };
        switch.engine.apply(document(1), 0, 2, &forced).unwrap();
        assert_eq!(switch.at_the_end(), (State::Running, String::new()));
    });
}
