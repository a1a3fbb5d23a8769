//! The engine on a switch that is killed, or loses power, after each of its file operations: what runs afterwards is the
//! old document or the new one, and in the end what runs is what the switch starts with.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;

use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;

use common::{Folder, isolated};
use model::Kernel;
use model::disk::{End, ModelDisk, Names, until_the_end};
use model::random;
use netd::clock;
use netd::engine::changes::Request;
use netd::engine::{Engine, Fakes, Paths};
use netd::events::Hub;
use netd::plan::{Action, LinkKind, Network};
use netd::store::disk::Disk;
use netd::store::record::Author;
use netd_api::generation::{Generation, State};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const SECOND_NS: u64 = 1_000_000_000;
const FACTORY: &str = "version = 1\n";
const FOLDER: &str = "/c";
/// Longer than any deadline.
const LATE_S: u64 = 1_000_000;
/// Random sequences of a run that asks for no number.
const SAMPLE: u64 = 40;

impl Kernel {
    /// The numbers of the documents that it is as.
    fn documents(&self) -> Vec<String> {
        let links = &self.0.borrow().network.links;
        let loopbacks = links.iter().filter(|(_, link)| link.kind == LinkKind::Dummy);
        loopbacks.map(|(name, _)| name.clone()).collect()
    }
}

/// What outlives netd, and what all switches of a test share.
struct Machine {
    disk: ModelDisk,
    kernel: Kernel,
    shared: Rc<Shared>,
    /// Documents that were the startup document at any time.
    ever_startup: BTreeSet<String>,
    /// How much later it is than the clock says.
    waited_ns: u64,
}

struct Shared {
    folder: Folder,
    hub: Hub,
}

/// A machine whose netd runs.
struct Switch {
    machine: Machine,
    engine: Engine,
}

/// A document whose loopback tells it from others.
fn document(number: u32) -> String {
    format!("version = 1\n[loopbacks.lo{number}]\naddresses = [\"192.0.2.{number}/32\"]\n")
}

/// A document that the kernel refuses, since there is something else of that name.
fn refused() -> String {
    document(9)
}

fn by_ana() -> Request {
    let author = Author { user: "ana".to_owned(), user_id: 2001, ..Author::default() };
    Request { author, ..Request::default() }
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(FOLDER).join(name)
}

impl Machine {
    fn new(name: &str) -> Machine {
        let folder = Folder::in_memory(name);
        folder.write_nft();
        let shared = Rc::new(Shared { folder, hub: Hub::open().expect("a thread") });
        Machine {
            disk: ModelDisk::default(),
            kernel: Kernel::with(Network::default()),
            shared,
            ever_startup: BTreeSet::new(),
            waited_ns: 0,
        }
    }

    /// Starts netd; `None` when the disk ends meanwhile.
    fn try_start(&mut self) -> Option<Engine> {
        let folder = &self.shared.folder;
        let paths = Paths {
            startup: path("startup.toml"),
            running: "/r/running.toml".into(),
            nft: folder.0.join("nft"),
            ..folder.paths()
        };
        let fakes =
            Fakes { backend: Some(Box::new(self.kernel.clone())), disk: Some(Box::new(self.disk.clone())) };
        let hub = self.shared.hub.clone();
        until_the_end(|| Engine::start_with(paths, hub, fakes).expect("the engine"))
    }

    fn start(mut self) -> Switch {
        let engine = self.try_start().expect("nothing ends here");
        let mut switch = Switch { machine: self, engine };
        switch.note_startup();
        switch
    }

    /// The machine as it is after an end of what ran on it.
    fn after(&self, end: End) -> Machine {
        let disk = self.disk.after(end);
        let mut kernel = Kernel::with(self.kernel.0.borrow().network.clone());
        let mut waited_ns = self.waited_ns;
        if end != End::Killed {
            // Another boot, whose clock begins anew.
            for record in ["pending.json", "journal.json", "starts.json"] {
                edit(&disk, record, |record| record["boot_id"] = "another".into());
            }
            (kernel, waited_ns) = (Kernel::with(Network::default()), 0);
        }
        // How often netd was started in a row is no matter here.
        disk.forget(&path("starts.json"));
        let (shared, ever_startup) = (self.shared.clone(), self.ever_startup.clone());
        Machine { disk, kernel, shared, ever_startup, waited_ns }
    }
}

/// Changes a record, if there is one that can be read.
fn edit(disk: &ModelDisk, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let read = disk.read(&path(name)).ok();
    if let Some(mut record) = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        change(&mut record);
        disk.put(&path(name), record.to_string().as_bytes());
    }
}

impl Switch {
    fn note_startup(&mut self) {
        self.machine.ever_startup.extend(self.startup());
    }

    fn startup(&self) -> Option<String> {
        self.machine.disk.read(&path("startup.toml")).ok().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn running(&self) -> (String, u64) {
        self.engine.get(0, true).unwrap()
    }

    fn history(&self) -> Vec<Generation> {
        self.engine.history()
    }

    fn wait(&mut self, seconds: u64) {
        self.machine.waited_ns += seconds * SECOND_NS;
        self.engine.on_deadline_at(clock::boottime_ns() + self.machine.waited_ns);
    }

    /// The kernel is as the running document says.
    fn check_kernel(&self, what: &str) {
        let running = self.running().0;
        let expected: Vec<String> = (1..10)
            .filter(|number| document(*number) == running)
            .map(|number| format!("lo{number}"))
            .collect();
        assert_eq!(self.machine.kernel.documents(), expected, "{what}: the kernel");
    }

    /// When nothing is waited for any more, everything agrees.
    fn check_settled(&mut self, what: &str) {
        self.wait(LATE_S);
        self.check_kernel(what);
        let (running, generation) = self.running();
        let startup = self.startup();
        assert_eq!(
            running,
            startup.clone().unwrap_or_else(|| FACTORY.into()),
            "{what}: the startup document"
        );
        assert_eq!(self.engine.confirm_by_ns(), None, "{what}");
        let history = self.history();
        let count = |state| history.iter().filter(|row| row.state == state).count();
        assert_eq!(count(State::Running), usize::from(generation != 0), "{what}: {history:#?}");
        assert_eq!(count(State::Unconfirmed) + count(State::Startup), 0, "{what}: {history:#?}");
        for row in history.iter().filter(|row| row.state == State::Confirmed) {
            let document = self.engine.get(row.generation, true).unwrap().0;
            assert!(self.machine.ever_startup.contains(&document), "{what}: {row:?} was never confirmed");
        }
        let mut left = self.machine.disk.names(Path::new(FOLDER));
        left.retain(|name| !["startup.toml", "starts.json"].contains(&name.as_str()));
        assert_eq!(left, [""; 0], "{what}");
        let generations = self.machine.disk.names(&path("generations"));
        assert!(generations.iter().all(|name| !name.ends_with(".new")), "{what}: {generations:?}");
    }
}

/// What an operator does.
#[derive(Clone, Debug)]
enum Operation {
    Apply(u32),
    ApplyToConfirm(u32, u32),
    ApplyRefused,
    Confirm,
    TakeBack,
    /// Back to the generation before.
    GoBack,
    Wait(u64),
}

impl Operation {
    /// Does it. Answers false when the disk ended meanwhile.
    fn carry_out(&self, switch: &mut Switch) -> bool {
        if matches!(self, Operation::ApplyRefused) {
            let refuses = |_: usize, action: &Action| action.object() == "lo9";
            switch.machine.kernel.0.borrow_mut().faults = Box::new(refuses);
        }
        let done = until_the_end(|| {
            let engine = &mut switch.engine;
            // What comes of it shows.
            let _ = match self {
                Operation::Apply(number) => engine.apply(document(*number), 0, 0, &by_ana()),
                Operation::ApplyToConfirm(number, seconds) => {
                    engine.apply(document(*number), 0, *seconds, &by_ana())
                }
                Operation::ApplyRefused => engine.apply(refused(), 0, 0, &by_ana()),
                Operation::Confirm => engine.confirm(&by_ana()),
                Operation::TakeBack => engine.take_back_pending(&by_ana()),
                Operation::GoBack => engine.roll_back(0, &by_ana()),
                Operation::Wait(_) => Ok(0),
            };
            if let Operation::Wait(seconds) = self {
                switch.wait(*seconds);
            }
        });
        switch.machine.kernel.0.borrow_mut().faults = Box::new(|_, _| false);
        switch.note_startup();
        done.is_some()
    }
}

/// A switch on which these were done.
fn after_all(name: &str, operations: &[Operation]) -> Switch {
    let mut switch = Machine::new(name).start();
    for operation in operations {
        assert!(operation.carry_out(&mut switch));
    }
    switch
}

/// Ends a switch at every file operation of its last step in every way, and again at every file operation of the start
/// that follows.
fn end_everywhere(before: &[Operation], last: &Operation) {
    let old = after_all("crash", before);
    let begin = || old.machine.after(End::Killed).start();
    let (old_running, old_startup) = (old.running().0, old.startup());
    let mut whole = begin();
    let begun = whole.machine.disk.operations();
    last.carry_out(&mut whole);
    let operations = whole.machine.disk.operations() - begun;
    assert!(operations > 2, "{last:?} does nothing");
    let (new_running, new_startup) = (whole.running().0, whole.startup());
    let startups = [old_startup, new_startup].map(|startup| startup.unwrap_or_else(|| FACTORY.into()));
    // What a machine is as, whether it was killed, and whether all was done by then.
    let mut seen: BTreeSet<(Names, Vec<String>, bool, bool)> = BTreeSet::new();
    for at in 0..=operations {
        let mut switch = begin();
        switch.machine.disk.end_after(at);
        let is_whole = at == operations;
        assert_eq!(last.carry_out(&mut switch), is_whole, "{last:?}: {at} of {operations}");
        for end in switch.machine.disk.ends() {
            let what = format!("{last:?} ended after {at} of {operations} operations by {end:?}");
            let mut is_new = |machine: &Machine| {
                let (files, documents) = (machine.disk.files(), machine.kernel.documents());
                seen.insert((files, documents, end == End::Killed, is_whole))
            };
            let check = |machine: Machine| {
                let mut switch = machine.start();
                let running = switch.running().0;
                match end {
                    End::Killed if is_whole => assert_eq!(running, new_running, "{what}"),
                    End::Killed => {
                        assert!(running == old_running || running == new_running, "{what}: {running}");
                    }
                    // What waits for its confirmation does not survive a reboot.
                    End::PowerCut(..) if is_whole => assert_eq!(running, startups[1], "{what}"),
                    End::PowerCut(..) => assert!(startups.contains(&running), "{what}: {running}"),
                }
                switch.check_kernel(&what);
                switch.check_settled(&what);
            };
            let machine = switch.machine.after(end);
            if !is_new(&machine) {
                continue;
            }
            let starts = {
                let mut machine = machine.after(End::Killed);
                machine.try_start().expect("nothing ends here");
                machine.disk.operations()
            };
            check(machine);
            for again_at in 0..starts {
                let mut machine = switch.machine.after(end);
                machine.disk.end_after(again_at);
                assert!(machine.try_start().is_none(), "{what}: again after {again_at} of {starts}");
                let machine = machine.after(End::Killed);
                if is_new(&machine) {
                    check(machine);
                }
            }
        }
    }
}

use Operation::{Apply, ApplyRefused, ApplyToConfirm, Confirm, GoBack, TakeBack, Wait};

#[test]
fn the_first_apply_is_whole_or_not_at_all_wherever_it_ends() {
    isolated("the_first_apply_is_whole_or_not_at_all_wherever_it_ends", || {
        end_everywhere(&[], &Apply(1));
        end_everywhere(&[], &ApplyToConfirm(1, 600));
    });
}

#[test]
fn an_apply_is_whole_or_not_at_all_wherever_it_ends() {
    isolated("an_apply_is_whole_or_not_at_all_wherever_it_ends", || {
        end_everywhere(&[Apply(1)], &Apply(2));
        end_everywhere(&[Apply(1)], &ApplyToConfirm(2, 600));
        end_everywhere(&[Apply(1)], &ApplyRefused);
    });
}

#[test]
fn an_apply_over_one_that_waits_is_whole_or_not_at_all_wherever_it_ends() {
    isolated("an_apply_over_one_that_waits_is_whole_or_not_at_all_wherever_it_ends", || {
        let waiting = [Apply(1), ApplyToConfirm(2, 600)];
        for last in [Apply(3), ApplyToConfirm(3, 600), Apply(2), Apply(1), ApplyRefused] {
            end_everywhere(&waiting, &last);
        }
    });
}

#[test]
fn a_confirmation_is_whole_or_not_at_all_wherever_it_ends() {
    isolated("a_confirmation_is_whole_or_not_at_all_wherever_it_ends", || {
        end_everywhere(&[ApplyToConfirm(1, 600)], &Confirm);
        end_everywhere(&[Apply(1), ApplyToConfirm(2, 600)], &Confirm);
        end_everywhere(&[Apply(1), ApplyToConfirm(2, 600), ApplyToConfirm(3, 600)], &Confirm);
    });
}

#[test]
fn a_roll_back_is_whole_or_not_at_all_wherever_it_ends() {
    isolated("a_roll_back_is_whole_or_not_at_all_wherever_it_ends", || {
        end_everywhere(&[ApplyToConfirm(1, 600)], &TakeBack);
        end_everywhere(&[Apply(1), ApplyToConfirm(2, 600)], &TakeBack);
        end_everywhere(&[Apply(1), ApplyToConfirm(2, 600)], &Wait(601));
        end_everywhere(&[Apply(1), Apply(2)], &GoBack);
    });
}

#[test]
fn netd_goes_on_waiting_when_it_is_killed_and_a_reboot_counts_as_expiry() {
    isolated("netd_goes_on_waiting_when_it_is_killed_and_a_reboot_counts_as_expiry", || {
        let old = after_all("expiry", &[Apply(1), ApplyToConfirm(2, 600)]);
        let mut switch = old.machine.after(End::Killed).start();
        assert_eq!(switch.running(), (document(2), 2));
        switch.check_settled("its time is up");
        let machine = old.machine.after(End::Killed);
        edit(&machine.disk, "pending.json", |pending| pending["deadline_ns"] = 1.into());
        assert_eq!(machine.start().running(), (document(1), 1), "its time was up meanwhile");
        let mut switch = old.machine.after(End::PowerCut(9, 9)).start();
        assert_eq!(switch.running(), (document(1), 1));
        let row = switch.history().remove(0);
        assert_eq!((row.generation, row.state), (2, State::RolledBack));
        assert!(row.reason.contains("restarted"), "{}", row.reason);
        switch.check_settled("a reboot");
    });
}

#[test]
fn a_startup_document_written_from_outside_is_a_generation_of_its_own() {
    isolated("a_startup_document_written_from_outside_is_a_generation_of_its_own", || {
        let old = after_all("outside", &[Apply(1), Apply(2)]);
        old.machine.disk.put(&path("startup.toml"), document(3).as_bytes());
        let mut switch = old.machine.after(End::Killed).start();
        assert_eq!(switch.running(), (document(3), 3));
        switch.check_settled("written from outside");
        // One that an earlier generation had is that generation again.
        switch.machine.disk.put(&path("startup.toml"), document(1).as_bytes());
        assert_eq!(switch.machine.after(End::Killed).start().running(), (document(1), 1));
    });
}

#[test]
fn records_that_cannot_be_read_count_as_none() {
    isolated("records_that_cannot_be_read_count_as_none", || {
        let old = after_all("records", &[Apply(1)]);
        for name in ["pending.json", "journal.json", "starts.json"] {
            for content in ["", "{", "[]", "{\"generation\":\"x\"}", &"[".repeat(100_000)] {
                let machine = old.machine.after(End::Killed);
                machine.disk.put(&path(name), content.as_bytes());
                let mut switch = machine.start();
                assert_eq!(switch.running(), (document(1), 1));
                switch.check_settled(name);
            }
        }
    });
}

#[test]
fn on_a_full_disk_old_generations_make_room_and_those_that_are_needed_stay() {
    isolated("on_a_full_disk_old_generations_make_room_and_those_that_are_needed_stay", || {
        let mut switch = after_all("full", &[Apply(4), Apply(5), Apply(1), ApplyToConfirm(2, 600)]);
        let numbers = |switch: &Switch| -> Vec<u64> {
            switch.history().iter().rev().map(|row| row.generation).collect()
        };
        let big = document(3) + &format!("# {}\n", "x".repeat(10_000));
        // The running document, which is in memory, is on this disk too.
        let used: usize = switch.machine.disk.files().values().map(Vec::len).sum();
        switch.machine.disk.has_room_for(used + 2 * big.len() - 2000);
        let failure = switch.engine.apply(big.clone(), 0, 0, &by_ana()).expect_err("it is needed twice");
        assert!(failure.words().starts_with("nothing was changed"), "{}", failure.words());
        assert_eq!(numbers(&switch), [3, 4], "what is needed stays");
        switch.check_kernel("what was refused");
        switch.machine.disk.has_room_for(used + 3 * big.len() - 2000);
        assert_eq!(switch.engine.apply(big.clone(), 0, 60, &by_ana()).expect("room"), 5);
        // A confirmation needs it once more: it fails, what waits goes on waiting, and can be confirmed later.
        let failure = switch.engine.confirm(&by_ana()).expect_err("there is no room for a startup document");
        assert!(failure.words().starts_with("not confirmed"), "{}", failure.words());
        assert_eq!(switch.startup(), Some(document(1)));
        let mut switch = switch.machine.after(End::Killed).start();
        assert_eq!(switch.running(), (big.clone(), 5));
        assert!(switch.engine.confirm_by_ns().is_some());
        assert_eq!(switch.engine.confirm(&by_ana()).expect("now there is room"), 5);
        assert_eq!(switch.startup(), Some(big));
    });
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (1..4_u32).prop_map(Apply),
        (1..4_u32, 1..900_u32).prop_map(|(number, seconds)| ApplyToConfirm(number, seconds)),
        Just(ApplyRefused),
        Just(Confirm),
        Just(TakeBack),
        Just(GoBack),
        (0..900_u64).prop_map(Wait),
    ]
}

/// Any sequence of changes, kills, power cuts and expiries ends with what runs, what is confirmed and what the switch
/// starts with being the same.
#[test]
fn in_the_end_what_runs_is_what_the_switch_starts_with() {
    isolated("in_the_end_what_runs_is_what_the_switch_starts_with", || {
        let cases = random::asked_for("NETD_CRASH_SEQUENCES").unwrap_or(SAMPLE);
        let config = Config { cases: cases as u32, failure_persistence: None, ..Config::default() };
        let ends = proptest::option::of((0..20_usize, 0..9_usize));
        let steps = proptest::collection::vec((operations(), ends), 1..25);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&random::seed("NETD_CRASH_SEED").to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let outcome = TestRunner::new_with_rng(config, rng).run(&steps, |steps| {
            let mut switch = Machine::new("sequence").start();
            for (operation, end) in steps {
                if let Some((at, _)) = end {
                    switch.machine.disk.end_after(at);
                }
                operation.carry_out(&mut switch);
                if let Some((_, way)) = end {
                    let ends = switch.machine.disk.ends();
                    switch = switch.machine.after(ends[way % ends.len()]).start();
                }
                switch.check_kernel(&format!("{operation:?} {end:?}"));
            }
            switch.check_settled("at the end");
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    });
}
