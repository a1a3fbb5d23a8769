//! Changes on a switch that is killed, or loses power, after each of the store's file operations: what runs
//! afterwards is the old document or the new one, and in the end what runs is what the switch starts with.

use std::collections::BTreeSet;
use std::path::Path;

use netd_api::generation::State;
use proptest::prelude::*;

use super::Store;
use super::disk::Disk;
use super::history::Present;
use super::model_disk::{End, ModelDisk};
use super::record::{Author, Journal, Meta, Outcome, Pending};
use crate::clock::Moment;

const SECOND_NS: u64 = 1_000_000_000;
const FACTORY: &str = "factory";
const ANA: u32 = 2001;

/// A switch: the store as the engine uses it, and a kernel that is what a document says.
struct Switch {
    disk: ModelDisk,
    store: Store<ModelDisk>,
    now: Moment,
    kernel: String,
    running: (u64, String),
    confirmed: u64,
    pending: Option<Pending>,
    /// Documents that were the startup document at any time.
    ever_startup: BTreeSet<String>,
}

impl Switch {
    fn new() -> Switch {
        let now = Moment { boot_id: "boot-0".into(), boottime_ns: 1 };
        Switch::start(ModelDisk::default(), now, BTreeSet::new())
    }

    /// What [`crate::engine::Engine::start`] does with the files.
    fn start(disk: ModelDisk, now: Moment, mut ever_startup: BTreeSet<String>) -> Switch {
        let store = Store { disk: disk.clone(), startup: "/c/startup.toml".into(), running: "/r".into() };
        let found = store.recover(&now);
        let startup = store.startup().unwrap();
        ever_startup.extend(startup.clone());
        let confirmed = match &startup {
            None => 0,
            Some(document) => store.generation_of(document).unwrap_or_else(|| {
                let meta = meta("", Outcome::Confirmed);
                let number = store.last_generation() + 1;
                let _ = store.write_generation(number, &meta, document);
                number
            }),
        };
        let (pending, running) = match found.pending {
            Some((pending, document)) => {
                let running = (pending.generation, document);
                (Some(pending), running)
            }
            None => (None, (confirmed, startup.unwrap_or_else(|| FACTORY.into()))),
        };
        store.count_start(running.0, &now.boot_id);
        let waits = |pending: &Pending| store.meta(pending.generation).outcome == Outcome::Unconfirmed;
        assert!(pending.as_ref().is_none_or(waits), "what was taken back is not waited for");
        let kernel = running.1.clone();
        Switch { disk, store, now, kernel, running, confirmed, pending, ever_startup }
    }

    /// The next run after the end of this one.
    fn after(self, end: End) -> Switch {
        let now = match end {
            End::Killed => self.now.clone(),
            End::PowerCut(..) => Moment { boot_id: format!("{}+", self.now.boot_id), boottime_ns: 1 },
        };
        Switch::start(self.disk.after(end), now, self.ever_startup)
    }

    fn fails(&self) -> bool {
        self.disk.ended()
    }

    fn apply(&mut self, document: &str, confirm_s: Option<u64>) -> bool {
        let to = self.running.0.max(self.store.last_generation()) + 1;
        let outcome = if confirm_s.is_some() { Outcome::Unconfirmed } else { Outcome::Confirmed };
        let replaces = self.pending.as_ref().map(|pending| pending.generation);
        let boot_id = self.now.boot_id.clone();
        let journal = Journal { to, from: self.running.0, replaces, boot_id, meta: meta("ana", outcome) };
        let needed = [self.running.0, self.confirmed];
        let Ok(begun) = self.store.begin(journal, document, &needed) else { return false };
        let before = std::mem::replace(&mut self.kernel, document.to_owned());
        let pending = confirm_s.map(|seconds| Pending {
            generation: to,
            previous: self.confirmed,
            author: author("ana"),
            since_s: 0,
            boot_id: self.now.boot_id.clone(),
            deadline_ns: self.now.boottime_ns + seconds * SECOND_NS,
        });
        if self.store.commit(&begun, pending.as_ref()).is_err() {
            if !self.fails() {
                self.kernel = before;
                self.store.give_up(&begun);
            }
            return false;
        }
        if pending.is_none() {
            self.confirmed = to;
        }
        self.pending = pending;
        self.running = (to, document.to_owned());
        self.tidy();
        true
    }

    /// A change the kernel refuses.
    fn apply_refused(&mut self, document: &str) {
        let to = self.running.0.max(self.store.last_generation()) + 1;
        let journal = Journal {
            to,
            from: self.running.0,
            replaces: self.pending.as_ref().map(|pending| pending.generation),
            boot_id: self.now.boot_id.clone(),
            meta: meta("ana", Outcome::Confirmed),
        };
        if let Ok(begun) = self.store.begin(journal, document, &[self.running.0, self.confirmed]) {
            self.store.give_up(&begun);
        }
    }

    fn tidy(&self) {
        self.store.tidy(&[self.running.0, self.confirmed]);
    }

    fn confirm(&mut self) -> bool {
        let Some(pending) = self.pending.clone() else { return false };
        if self.store.confirm(&pending).is_err() {
            return false;
        }
        self.confirmed = pending.generation;
        self.pending = None;
        true
    }

    fn roll_back(&mut self, reason: &str) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        let document = match pending.previous {
            0 => FACTORY.to_owned(),
            number => self.store.past(number).unwrap(),
        };
        self.kernel.clone_from(&document);
        self.running = (pending.previous, document);
        self.store.roll_back(&pending, reason);
        true
    }

    fn wait(&mut self, seconds: u64) {
        self.now.boottime_ns += seconds * SECOND_NS;
        if self.pending.as_ref().is_some_and(|pending| pending.deadline_ns <= self.now.boottime_ns) {
            self.roll_back("not confirmed in time");
        }
    }

    /// When nothing is waited for any more, everything agrees.
    fn check_settled(&mut self) {
        self.wait(1_000_000);
        assert_eq!(self.pending, None);
        assert_eq!(self.kernel, self.running.1);
        let startup = self.store.startup().unwrap();
        assert_eq!(self.running.1, startup.clone().unwrap_or_else(|| FACTORY.into()));
        assert_eq!(self.running.0, self.confirmed);
        if let Some(startup) = startup {
            assert_eq!(self.store.past(self.running.0).unwrap(), startup);
            assert_eq!(self.store.meta(self.running.0).outcome, Outcome::Confirmed);
        }
        let present = Present { running: self.running.0, startup: self.confirmed, confirm_by_s: None };
        let history = self.store.history(present);
        let count = |state| history.iter().filter(|row| row.state == state).count();
        assert_eq!(count(State::Running), usize::from(self.running.0 != 0), "{history:#?}");
        assert_eq!(count(State::Unconfirmed) + count(State::Startup), 0, "{history:#?}");
        for row in history.iter().filter(|row| row.state == State::Confirmed) {
            let document = self.store.past(row.generation).unwrap();
            assert!(self.ever_startup.contains(&document), "{row:?} was never confirmed");
        }
        let mut left = self.disk.names(Path::new("/c"));
        left.retain(|name| !["startup.toml", "starts.json"].contains(&name.as_str()));
        assert_eq!(left, [""; 0]);
        let generations = self.disk.names(Path::new("/c/generations"));
        assert!(generations.iter().all(|name| !name.ends_with(".new")), "{generations:?}");
    }
}

fn author(user: &str) -> Author {
    Author { user: user.to_owned(), user_id: ANA, key_fingerprint: String::new() }
}

fn meta(user: &str, outcome: Outcome) -> Meta {
    Meta {
        time_s: 1,
        author: author(user),
        comment: String::new(),
        outcome,
        reason: String::new(),
        restores: None,
    }
}

/// What an operator does.
#[derive(Clone, Debug)]
enum Operation {
    Apply(String),
    ApplyToConfirm(String, u64),
    ApplyRefused(String),
    Confirm,
    RollBack,
    Wait(u64),
}

impl Operation {
    /// Does it. `None` when the switch ended meanwhile, else whether something changed.
    fn carry_out(&self, switch: &mut Switch) -> Option<bool> {
        let changed = match self {
            Operation::Apply(document) => switch.apply(document, None),
            Operation::ApplyToConfirm(document, seconds) => switch.apply(document, Some(*seconds)),
            Operation::ApplyRefused(document) => {
                switch.apply_refused(document);
                false
            }
            Operation::Confirm => switch.confirm(),
            Operation::RollBack => switch.roll_back("rolled back"),
            Operation::Wait(seconds) => {
                switch.wait(*seconds);
                false
            }
        };
        switch.ever_startup.extend(switch.store.startup().unwrap());
        (!switch.fails()).then_some(changed)
    }
}

/// A switch on which these were done.
fn after_all(operations: &[Operation]) -> Switch {
    let mut switch = Switch::new();
    for operation in operations {
        operation.carry_out(&mut switch);
    }
    switch
}

/// Ends a switch at every operation of its last step in every way, and again at every operation of the start
/// that follows.
fn end_everywhere(before: &[Operation], last: &Operation) {
    let old = after_all(before);
    let (old_running, old_startup) = (old.running.1.clone(), old.store.startup().unwrap());
    let mut whole = after_all(before);
    let begun = whole.disk.operations();
    last.carry_out(&mut whole);
    let (new_running, new_startup) = (whole.running.1.clone(), whole.store.startup().unwrap());
    let operations = whole.disk.operations() - begun;
    assert!(operations > 2, "{last:?} does nothing");
    let startups =
        [&old_startup, &new_startup].map(|startup| startup.clone().unwrap_or_else(|| FACTORY.into()));
    for at in 0..=operations {
        let ended = || {
            let mut switch = after_all(before);
            switch.disk.end_after(at);
            let outcome = last.carry_out(&mut switch);
            assert_eq!(outcome.is_none(), at < operations);
            switch
        };
        for end in ended().disk.ends() {
            let what = format!("{last:?} ended after {at} of {operations} operations by {end:?}");
            let check = |mut switch: Switch| {
                let running = switch.running.1.clone();
                match end {
                    End::Killed if at == operations => assert_eq!(running, new_running, "{what}"),
                    End::Killed => {
                        assert!(running == old_running || running == new_running, "{what}: {running}")
                    }
                    // What waits for its confirmation does not survive a reboot.
                    End::PowerCut(..) if at == operations => assert_eq!(running, startups[1], "{what}"),
                    End::PowerCut(..) => assert!(startups.contains(&running), "{what}: {running}"),
                }
                switch.check_settled();
            };
            check(ended().after(end));
            let disk = ended().disk.after(end);
            let boots = disk.operations();
            let again = Switch::start(disk.clone(), Moment::default(), BTreeSet::new());
            for again_at in 0..again.disk.operations() - boots {
                let switch = ended();
                let (mut now, disk) = (switch.now.clone(), switch.disk.after(end));
                if end != End::Killed {
                    now.boot_id.push('+');
                }
                disk.end_after(again_at);
                // What a start that is cut off answers does not matter.
                drop(Switch::start(disk.clone(), now.clone(), BTreeSet::new()));
                check(Switch::start(disk.after(End::Killed), now, switch.ever_startup));
            }
        }
    }
}

fn apply(document: &str) -> Operation {
    Operation::Apply(document.to_owned())
}

fn to_confirm(document: &str) -> Operation {
    Operation::ApplyToConfirm(document.to_owned(), 600)
}

#[test]
fn the_first_apply_is_whole_or_not_at_all_wherever_it_ends() {
    end_everywhere(&[], &apply("one"));
    end_everywhere(&[], &to_confirm("one"));
}

#[test]
fn an_apply_is_whole_or_not_at_all_wherever_it_ends() {
    end_everywhere(&[apply("one")], &apply("two"));
    end_everywhere(&[apply("one")], &apply("one"));
    end_everywhere(&[apply("one")], &to_confirm("two"));
    end_everywhere(&[apply("one")], &Operation::ApplyRefused("two".into()));
}

#[test]
fn an_apply_over_one_that_waits_is_whole_or_not_at_all_wherever_it_ends() {
    let waiting = [apply("one"), to_confirm("two")];
    end_everywhere(&waiting, &apply("three"));
    end_everywhere(&waiting, &to_confirm("three"));
    end_everywhere(&waiting, &apply("two"));
    end_everywhere(&waiting, &apply("one"));
    end_everywhere(&waiting, &Operation::ApplyRefused("three".into()));
}

#[test]
fn a_confirmation_is_whole_or_not_at_all_wherever_it_ends() {
    end_everywhere(&[to_confirm("one")], &Operation::Confirm);
    end_everywhere(&[apply("one"), to_confirm("two")], &Operation::Confirm);
    end_everywhere(&[apply("one"), to_confirm("two"), to_confirm("three")], &Operation::Confirm);
}

#[test]
fn a_roll_back_is_whole_or_not_at_all_wherever_it_ends() {
    end_everywhere(&[to_confirm("one")], &Operation::RollBack);
    end_everywhere(&[apply("one"), to_confirm("two")], &Operation::RollBack);
    end_everywhere(&[apply("one"), to_confirm("two")], &Operation::Wait(600));
}

#[test]
fn a_reboot_counts_as_expiry() {
    let switch = after_all(&[apply("one"), to_confirm("two")]);
    assert_eq!(switch.running.1, "two");
    let mut switch = switch.after(End::PowerCut(9, 9));
    assert_eq!((switch.running.clone(), &switch.pending), ((1, "one".to_owned()), &None));
    let meta = switch.store.meta(2);
    assert_eq!(meta.outcome, Outcome::RolledBack);
    assert!(meta.reason.contains("restarted"), "{}", meta.reason);
    switch.check_settled();
}

#[test]
fn netd_goes_on_waiting_when_it_is_killed_and_rolls_back_when_the_time_has_passed_meanwhile() {
    let switch = after_all(&[apply("one"), to_confirm("two")]).after(End::Killed);
    assert_eq!(switch.running, (2, "two".to_owned()));
    let mut late = switch.now.clone();
    late.boottime_ns += 600 * SECOND_NS;
    let mut switch = Switch::start(switch.disk.after(End::Killed), late, switch.ever_startup);
    assert_eq!(switch.running, (1, "one".to_owned()));
    switch.check_settled();
}

#[test]
fn a_startup_document_written_from_outside_is_a_generation_of_its_own() {
    let switch = after_all(&[apply("one"), apply("two")]);
    switch.disk.put(Path::new("/c/startup.toml"), b"by hand");
    let mut switch = switch.after(End::Killed);
    assert_eq!(switch.running, (3, "by hand".to_owned()));
    switch.check_settled();
    // One that an earlier generation had is that generation again.
    switch.disk.put(Path::new("/c/startup.toml"), b"one");
    assert_eq!(switch.after(End::Killed).running, (1, "one".to_owned()));
}

#[test]
fn records_that_cannot_be_read_count_as_none() {
    for name in ["pending.json", "journal.json", "starts.json"] {
        for content in ["", "{", "[]", "{\"generation\":\"x\"}", &"[".repeat(100_000)] {
            let switch = after_all(&[apply("one")]);
            switch.disk.put(&Path::new("/c").join(name), content.as_bytes());
            let mut switch = switch.after(End::Killed);
            assert_eq!(switch.running, (1, "one".to_owned()));
            switch.check_settled();
        }
    }
}

#[test]
fn on_a_full_disk_old_generations_make_room_and_those_that_are_needed_stay() {
    let mut switch = after_all(&[apply("old"), apply("older"), apply("one"), to_confirm("two")]);
    let big = "x".repeat(10_000);
    switch.disk.has_room_for(11_000);
    assert!(!switch.apply(&big, None), "it is needed twice: as generation and for the start");
    assert_eq!(switch.store.numbers(), [3, 4], "what is needed stays");
    assert!(switch.apply(&big, Some(60)));
    assert_eq!(switch.store.numbers(), [3, 4, 5]);
    // A confirmation needs it twice, too: it fails, what waits goes on waiting, and can be confirmed later.
    assert!(!switch.confirm(), "there is no room for a startup document");
    assert_eq!(switch.store.startup().unwrap().as_deref(), Some("one"));
    let mut switch = switch.after(End::Killed);
    assert_eq!((switch.running.clone(), switch.confirmed), ((5, big.clone()), 3));
    assert_eq!(switch.pending.as_ref().map(|pending| pending.generation), Some(5));
    assert!(switch.confirm(), "now there is room");
    switch.check_settled();
    assert_eq!(switch.running, (5, big));
}

#[test]
fn starts_that_do_not_end_well_are_counted_for_one_generation_and_one_boot() {
    let store = after_all(&[apply("one")]).store;
    store.clear_starts();
    assert_eq!([1, 2, 3].map(|_| store.count_start(1, "boot")), [0, 1, 2]);
    assert_eq!((store.starts(1, "boot"), store.starts(2, "boot"), store.starts(1, "next")), (3, 0, 0));
    store.clear_starts();
    assert_eq!(store.starts(1, "boot"), 0);
}

fn documents() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["one", "two", "three"]).prop_map(str::to_owned)
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        documents().prop_map(Operation::Apply),
        (documents(), 1..900_u64)
            .prop_map(|(document, seconds)| Operation::ApplyToConfirm(document, seconds)),
        documents().prop_map(Operation::ApplyRefused),
        Just(Operation::Confirm),
        Just(Operation::RollBack),
        (0..900_u64).prop_map(Operation::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any sequence of changes, kills, power cuts and expiries ends with what runs, what is confirmed and what
    /// the switch starts with being the same.
    #[test]
    fn in_the_end_what_runs_is_what_the_switch_starts_with(
        steps in proptest::collection::vec((operations(), proptest::option::of((0..20_usize, 0..9_usize))), 1..25)
    ) {
        let mut switch = Switch::new();
        for (operation, end) in steps {
            if let Some((at, _)) = end {
                switch.disk.end_after(at);
            }
            operation.carry_out(&mut switch);
            if let Some((_, way)) = end {
                let ends = switch.disk.ends();
                switch = switch.after(ends[way % ends.len()]);
            }
            prop_assert_eq!(&switch.kernel, &switch.running.1);
        }
        switch.check_settled();
    }
}
