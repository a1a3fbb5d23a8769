//! Chains: scenarios that share a machine one after the other, and how one is run.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow};
use qemu_tests::random::Random;
use qemu_tests::results::{Group, Row};
use qemu_tests::waiting;

use super::{Ground, Kind, Lane, Run, Scenario, report, room};

/// Scenarios of a file that need the same kind of machine, in order.
#[derive(Clone)]
pub struct Chain {
    /// Name of the file, with a number where the file has several chains.
    pub name: String,
    /// What they run on.
    pub ground: Ground,
    /// Processors of the machine.
    pub cpus: u8,
    /// Where it runs.
    pub lane: Lane,
    /// What it shows.
    pub scenarios: Vec<Scenario>,
}

impl Chain {
    /// The machine it needs.
    pub fn kind(&self) -> Kind {
        Kind { ground: self.ground, cpus: self.cpus }
    }

    /// How long it takes about, in seconds: as long as in an earlier run, or as its scenarios say.
    pub fn seconds(&self) -> u32 {
        self.scenarios.iter().map(|scenario| scenario.seconds).sum()
    }
}

/// Puts scenarios into chains: those of a file that need the same. `isolate` gives each a chain of its own.
pub fn chains(scenarios: Vec<(&'static str, Scenario)>, isolate: bool) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    for (file, scenario) in scenarios {
        let fits = |chain: &&mut Chain| {
            chain.scenarios.last().is_some_and(|last| {
                last.ground == scenario.ground && last.cpus == scenario.cpus && last.lane == scenario.lane
            }) && chain.name.split(' ').next() == Some(file)
        };
        match chains.iter_mut().find(fits).filter(|_| !isolate) {
            Some(chain) => chain.scenarios.push(scenario),
            None => chains.push(Chain {
                name: file.to_owned(),
                ground: scenario.ground,
                cpus: scenario.cpus,
                lane: scenario.lane,
                scenarios: vec![scenario],
            }),
        }
    }
    // Names are those of log files.
    let mut names = BTreeMap::<String, u32>::new();
    for chain in &mut chains {
        let count = names.entry(chain.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            chain.name += &format!(" {count}");
        }
    }
    chains
}

/// Orders chains: the longest first, or, to find those that depend on each other, as a seed has it.
pub fn order(chains: &mut [Chain], shuffle: Option<u64>) {
    match shuffle {
        None => chains.sort_by_key(|chain| std::cmp::Reverse(chain.seconds())),
        Some(seed) => {
            let mut random = Random::new(seed);
            for last in (1..chains.len()).rev() {
                chains.swap(last, (random.next_u64() % (last as u64 + 1)) as usize);
            }
        }
    }
}

/// What a chain runs on.
pub trait Stage {
    /// A machine, or several.
    type Set;
    /// Gets one, and adds to the chain's group what that took, also when it fails.
    fn set(&self, chain: &Chain, name: &str, group: &mut Group) -> Result<Self::Set>;
    /// Shows a scenario on it.
    fn show(&self, scenario: &Scenario, set: &Self::Set, run: &Run) -> Result<String>;
    /// Whether it is fit for another scenario, even if none follows.
    fn is_well(&self, set: &Self::Set) -> Result<()>;
    /// Where to look for more.
    fn log(&self, set: &Self::Set) -> String;
    /// What it has cost so far.
    fn cost(&self, set: &Self::Set) -> Cost;
}

/// What machines cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Calls of the agents in the guests.
    pub commands: u64,
    /// Time of this host's processors, in seconds.
    pub cpu_s: f64,
}

impl Cost {
    /// Adds what machines cost that are not needed any more.
    pub fn add_to(self, group: &mut Group) {
        group.commands += self.commands;
        group.cpu_s += self.cpu_s;
    }
}

/// Runs a chain. What comes after a failure runs on a machine of its own again.
pub fn run<S: Stage>(stage: &S, chain: &Chain, run: &Run) -> (Group, Vec<Row>) {
    let started = Instant::now();
    // A rehearsal runs amid the scenario of another chain.
    let waited_before = waiting::take();
    let mut group = Group::of(&chain.name);
    let (mut set, mut spoiled_by): (Option<S::Set>, Option<&str>) = (None, None);
    let mut rows = Vec::new();
    for (number, scenario) in chain.scenarios.iter().enumerate() {
        let began = Instant::now();
        let here = match set.take() {
            Some(set) => Ok(set),
            None => provide(stage, chain, rows.len(), &mut group),
        };
        let outcome = here.and_then(|here| {
            let outcome = guarded(|| stage.show(scenario, &here, run)).and_then(|detail| {
                guarded(|| stage.is_well(&here)).context("it left the machine unfit for others")?;
                Ok(detail)
            });
            let outcome = outcome.with_context(|| format!("serial log: {}", stage.log(&here)));
            group.waited_s += waiting::take().as_secs_f64();
            if outcome.is_ok() && number + 1 < chain.scenarios.len() {
                set = Some(here);
            } else {
                stage.cost(&here).add_to(&mut group);
            }
            outcome
        });
        let mut row = report::row(scenario, began.elapsed(), run.ended(scenario, outcome));
        row.notes = run.take_notes();
        group.add_cost_of(&run.take_spent());
        if row.failed() {
            row.notes.extend(room::full_disk());
        }
        if let Some(spoiler) = spoiled_by {
            row.notes.insert(0, format!("on a fresh machine, after the failure of: {spoiler}"));
        }
        // Said of the first that gets the fresh machine.
        spoiled_by = row.failed().then_some(scenario.name);
        rows.push(row);
    }
    group.seconds = started.elapsed().as_secs_f64();
    group.scenarios = rows.len();
    waiting::give_back(waited_before);
    (group, rows)
}

fn provide<S: Stage>(stage: &S, chain: &Chain, number: usize, group: &mut Group) -> Result<S::Set> {
    let name = if number == 0 { chain.name.clone() } else { format!("{} from {}", chain.name, number + 1) };
    guarded(|| stage.set(chain, &name.replace(' ', "-"), group)).context("its machine did not come up")
}

/// Turns a panic into a failure of the one scenario.
pub fn guarded<T>(show: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(show)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("panic: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use anyhow::{bail, ensure};

    use super::*;
    use crate::lab::{Lab, Topology};

    fn unused(_: &Lab, _: &Run) -> Result<String> {
        bail!("the fake stage shows scenarios itself")
    }

    fn scenario(name: &'static str) -> Scenario {
        Scenario::new(name, Topology::Switch, unused)
    }

    /// A stage whose machines are numbers. Names of scenarios say what becomes of the machine.
    #[derive(Default)]
    struct Fake {
        made: Cell<u32>,
        /// So many machines do not come up.
        broken: u32,
        unfit: RefCell<Vec<u32>>,
    }

    impl Stage for Fake {
        type Set = u32;

        fn set(&self, _: &Chain, _: &str, group: &mut Group) -> Result<u32> {
            group.clones += 1;
            self.made.set(self.made.get() + 1);
            ensure!(self.made.get() > self.broken, "no machine");
            Ok(self.made.get())
        }

        fn show(&self, scenario: &Scenario, set: &u32, run: &Run) -> Result<String> {
            ensure!(!self.unfit.borrow().contains(set), "the machine is degraded");
            match scenario.name {
                "degrades" => self.unfit.borrow_mut().push(*set),
                "fails" => bail!("it fails"),
                "panics" => panic!("it panics"),
                "waits" => waiting::pause(Duration::from_millis(30)),
                "rehearses" => {
                    waiting::pause(Duration::from_millis(30));
                    let chain = chains(vec![("rehearsal", super::tests::scenario("waits"))], false).remove(0);
                    run.spent(&super::run(&Fake::default(), &chain, &run.for_chain()).0);
                    let mut others = Group::of("others");
                    others.boots = 3;
                    run.spent(&others);
                }
                _ => {}
            }
            Ok(set.to_string())
        }

        fn is_well(&self, set: &u32) -> Result<()> {
            ensure!(!self.unfit.borrow().contains(set), "netd is degraded");
            Ok(())
        }

        fn log(&self, set: &u32) -> String {
            format!("log {set}")
        }

        fn cost(&self, _: &u32) -> Cost {
            Cost { commands: 5, cpu_s: 0.5 }
        }
    }

    fn ran(names: &[&'static str]) -> (Fake, Group, Vec<Row>) {
        ran_on(Fake::default(), names)
    }

    fn ran_on(stage: Fake, names: &[&'static str]) -> (Fake, Group, Vec<Row>) {
        let scenarios = names.iter().map(|name| ("file", scenario(name))).collect();
        let chains = chains(scenarios, false);
        assert_eq!(chains.len(), 1);
        let (group, rows) = run(&stage, &chains[0], &Run::of_tests());
        (stage, group, rows)
    }

    fn results(rows: &[Row]) -> Vec<bool> {
        rows.iter().map(|row| !row.failed()).collect()
    }

    #[test]
    fn chain_shares_one_machine() {
        let (_, group, rows) = ran(&["a", "b", "c"]);
        assert_eq!(results(&rows), [true, true, true]);
        assert_eq!((group.clones, group.commands), (1, 5));
        assert!(rows.iter().all(|row| row.detail == "1" && row.notes.is_empty()));
    }

    #[test]
    fn scenario_that_leaves_netd_degraded_fails_alone() {
        let (_, group, rows) = ran(&["a", "degrades", "c", "d"]);
        assert_eq!(results(&rows), [true, false, true, true]);
        assert!(
            rows[1].detail.contains("unfit") && rows[1].detail.contains("netd is degraded"),
            "{:?}",
            rows[1]
        );
        assert_eq!((&*rows[2].detail, &*rows[3].detail), ("2", "2"), "the rest shares a fresh machine");
        assert!(rows[2].notes[0].contains("after the failure of: degrades"), "{:?}", rows[2]);
        assert_eq!(group.clones, 2);
    }

    #[test]
    fn time_waited_is_that_of_the_chain() {
        waiting::pause(Duration::from_millis(500));
        let (_, group, _) = ran(&["waits", "a", "waits"]);
        assert!((0.06..0.5).contains(&group.waited_s), "{group:?}");
    }

    #[test]
    fn rehearsal_is_part_of_what_its_chain_cost() {
        let (_, group, _) = ran(&["a", "rehearses"]);
        assert_eq!((group.boots, group.clones, group.commands, group.cpu_s), (3, 2, 10, 1.0));
        assert!((0.06..0.5).contains(&group.waited_s), "{group:?}");
        let (_, again, _) = ran(&["a"]);
        assert_eq!((again.boots, again.clones, again.waited_s), (0, 1, 0.0));
    }

    #[test]
    fn machine_that_does_not_come_up_is_counted() {
        let (_, group, rows) = ran_on(Fake { broken: 1, ..Fake::default() }, &["a", "b"]);
        assert_eq!(results(&rows), [false, true]);
        assert!(rows[0].detail.contains("did not come up"), "{:?}", rows[0]);
        assert_eq!((group.clones, group.commands), (2, 5));
    }

    #[test]
    fn last_scenario_that_leaves_netd_degraded_fails() {
        let (_, _, rows) = ran(&["a", "degrades"]);
        assert_eq!(results(&rows), [true, false]);
    }

    #[test]
    fn failures_and_panics_spoil_nobody_else() {
        let (_, group, rows) = ran(&["fails", "b", "panics", "d"]);
        assert_eq!(results(&rows), [false, true, false, true]);
        assert!(rows[2].detail.contains("it panics"));
        assert_eq!(group.clones, 3);
    }

    #[test]
    fn isolated_scenarios_get_a_machine_each() {
        let scenarios = || ["a", "b"].map(|name| ("file", scenario(name))).to_vec();
        assert_eq!(chains(scenarios(), false).len(), 1);
        let isolated = chains(scenarios(), true);
        let names: Vec<&str> = isolated.iter().map(|chain| &*chain.name).collect();
        assert_eq!(names, ["file", "file 2"]);
    }

    #[test]
    fn longest_chains_come_first_unless_a_seed_says_otherwise() {
        let scenarios = (1..=9).map(|seconds| ("file", scenario("a").takes(seconds))).collect();
        let mut chains = chains(scenarios, true);
        order(&mut chains, None);
        let seconds = |chains: &[Chain]| chains.iter().map(Chain::seconds).collect::<Vec<_>>();
        assert_eq!(seconds(&chains), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        order(&mut chains, Some(7));
        let shuffled = seconds(&chains);
        assert_ne!(shuffled, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        order(&mut chains, None);
        order(&mut chains, Some(7));
        assert_eq!(seconds(&chains), shuffled);
    }
}
