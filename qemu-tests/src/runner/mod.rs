//! Runs scenarios on machines and reports.
//!
//! Start reading at [`run`]. Scenarios are put into [`chain`]s, which share a machine; [`lanes`] run chains beside
//! each other; [`labs`] has the machines; [`room`] looks for memory and disk space;
//! [`report`] prints.

mod chain;
mod labs;
mod lanes;
mod report;
mod room;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use qemu_tests::measure::{self, Measurement};
use qemu_tests::random::{self, run_token};
use qemu_tests::results::{Group, Row, Shard};
use qemu_tests::soak::Soak;
use qemu_tests::tools::Tool;

use self::chain::Chain;
use self::labs::Labs;
use self::lanes::{Board, Tokens, Work};
use self::report::Report;
use self::room::Room;
use crate::lab::fabric::{Fabric, Spec};
use crate::lab::{Bench, Lab, Origin, Topology};
use crate::scenarios;

/// What the command line asked for.
pub struct Settings {
    /// Parts of names; none for all.
    pub filters: Vec<String>,
    /// Where results go.
    pub json: Option<PathBuf>,
    /// How long behaviours took in an earlier run, in seconds, by their titles.
    pub times: BTreeMap<String, f64>,
    /// Seed of payloads, of choices and of the order of chains; by default a new one, and the longest chain first.
    pub seed: Option<u64>,
    /// Where the progress of long runs goes; `None` runs samples of them, and everything else.
    pub soak_folder: Option<PathBuf>,
    /// Measures instead of testing.
    pub bench: bool,
    /// Gives each scenario a machine of its own.
    pub isolate: bool,
    /// Which part of the chains, of how many.
    pub shard: Shard,
    /// Lanes.
    pub jobs: usize,
    /// The job server of whoever started this.
    pub tokens: Option<jobserver::Client>,
    /// Programs for the guests.
    pub tools: Vec<Tool>,
    /// Where measurements go.
    pub bench_folder: PathBuf,
    /// Where serial logs go.
    pub log_folder: PathBuf,
}

/// What a scenario runs on.
#[derive(Clone, Copy)]
pub enum Ground {
    /// No machine.
    Host,
    /// One switch.
    Lab(Topology),
    /// Several switches.
    Fabric(&'static Spec),
}

impl Ground {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Ground::Host => "host",
            Ground::Lab(topology) => topology.name(),
            Ground::Fabric(spec) => spec.name,
        }
    }

    /// How chains get it.
    pub fn origin(self) -> Origin {
        match self {
            Ground::Host => Origin::Boot,
            Ground::Lab(topology) => topology.origin(),
            Ground::Fabric(_) => Origin::Template,
        }
    }

    /// How many machines it takes.
    pub fn machines(self) -> u32 {
        match self {
            Ground::Host => 0,
            Ground::Lab(_) => 1,
            Ground::Fabric(spec) => spec.switches.len() as u32,
        }
    }

    /// Whether it boots the kernel that only tests boot.
    pub fn needs_test_kernel(self) -> bool {
        matches!(self, Ground::Lab(topology) if topology.needs_test_kernel())
    }
}

/// A kind of machine with so many processors.
#[derive(Clone, Copy, PartialEq)]
pub struct Kind {
    /// What it is.
    pub ground: Ground,
    /// Its processors.
    pub cpus: u8,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> String {
        let name = self.ground.name();
        if self.cpus == 1 { name.to_owned() } else { format!("{name}, {} processors", self.cpus) }
    }
}

impl PartialEq for Ground {
    fn eq(&self, other: &Ground) -> bool {
        self.name() == other.name()
    }
}

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Beside one other that keeps a processor busy.
    Cpu,
    /// Beside those: it mostly waits.
    Waits,
    /// Alone, for it measures time or counts frames at a rate.
    Alone,
}

/// Shows a behaviour; the text is detail for the report, or empty.
#[derive(Clone, Copy)]
pub enum Show {
    /// By itself.
    Harness(fn(&Run) -> Result<String>),
    /// On one switch.
    Lab(fn(&Lab, &Run) -> Result<String>),
    /// On several.
    Fabric(fn(&Fabric, &Run) -> Result<String>),
}

/// A behaviour, and how it is shown.
#[derive(Clone)]
pub struct Scenario {
    /// The behaviour, a sentence.
    pub name: &'static str,
    /// What it is shown on.
    pub ground: Ground,
    /// Processors of its machine.
    pub cpus: u8,
    /// Where it runs.
    pub lane: Lane,
    /// How long it takes about. Only the order depends on it.
    pub seconds: u32,
    /// Whether it is shown on two processors, too.
    pub also_on_two_cpus: bool,
    /// Shows it.
    pub show: Show,
    /// Name of its long run, if it has one.
    pub soak: Option<&'static str>,
}

impl Scenario {
    /// A behaviour of one switch.
    pub const fn new(name: &'static str, topology: Topology, show: fn(&Lab, &Run) -> Result<String>) -> Self {
        Scenario::on(name, Ground::Lab(topology), Show::Lab(show))
    }

    /// A behaviour of the harness itself.
    pub const fn of_harness(name: &'static str, show: fn(&Run) -> Result<String>) -> Self {
        Scenario::on(name, Ground::Host, Show::Harness(show))
    }

    /// A behaviour of several switches.
    pub const fn of_fabric(
        name: &'static str,
        spec: &'static Spec,
        show: fn(&Fabric, &Run) -> Result<String>,
    ) -> Self {
        Scenario::on(name, Ground::Fabric(spec), Show::Fabric(show))
    }

    const fn on(name: &'static str, ground: Ground, show: Show) -> Self {
        Scenario {
            name,
            ground,
            cpus: 1,
            lane: Lane::Cpu,
            seconds: 5,
            also_on_two_cpus: false,
            show,
            soak: None,
        }
    }

    /// Gives it a long run, which does its [`Run::rounds`] in full.
    pub const fn soaks(mut self, name: &'static str) -> Self {
        self.soak = Some(name);
        self
    }

    /// Says how long it takes about.
    pub const fn takes(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// It mostly waits.
    pub const fn waits(mut self) -> Self {
        self.lane = Lane::Waits;
        self
    }

    /// It measures time, or counts frames at a rate.
    pub const fn alone(mut self) -> Self {
        self.lane = Lane::Alone;
        self
    }

    /// Its machine has two processors.
    pub const fn on_two_cpus(mut self) -> Self {
        self.cpus = 2;
        self
    }

    /// Two processors hide and show other races than one.
    pub const fn also_on_two_cpus(mut self) -> Self {
        self.also_on_two_cpus = true;
        self
    }

    /// Its name in the report.
    pub fn title(&self) -> String {
        match (self.also_on_two_cpus, self.cpus) {
            (true, 2) => format!("{} (two processors)", self.name),
            _ => self.name.to_owned(),
        }
    }
}

/// What scenarios may know of the run and tell it.
#[derive(Clone)]
pub struct Run {
    /// Seed of payloads and choices.
    pub seed: u64,
    common: Arc<Common>,
    labs: Option<Arc<Labs>>,
    notes: Arc<Mutex<Vec<String>>>,
    /// What machines cost that the scenario itself started.
    spent: Arc<Mutex<Group>>,
}

/// How a scenario of a rehearsal ended.
pub struct Rehearsed {
    /// Whether it failed.
    pub failed: bool,
    /// What it said, with what was said of it.
    pub text: String,
}

#[derive(Default)]
struct Common {
    soak: Option<Soak>,
    /// Whether times are worth keeping: nothing else runs meanwhile.
    alone: bool,
    measurements: Mutex<Vec<Measurement>>,
}

impl Run {
    /// The same run for another chain.
    fn for_chain(&self) -> Run {
        Run { notes: Arc::default(), spent: Arc::default(), ..self.clone() }
    }

    #[cfg(test)]
    fn of_tests() -> Run {
        Run { seed: 1, common: Arc::default(), labs: None, notes: Arc::default(), spent: Arc::default() }
    }

    /// Does `sample` rounds, or `full` in a long run; answers how many. `round` gets its seed and its
    /// number, from 1.
    pub fn rounds(
        &self,
        name: &str,
        sample: u32,
        full: u32,
        mut round: impl FnMut(u64, u32) -> Result<()>,
    ) -> Result<u32> {
        if let Some(soak) = &self.common.soak {
            return soak.rounds(name, full, round);
        }
        for number in 1..=sample {
            round(self.seed, number).with_context(|| format!("round {number} of {sample}"))?;
        }
        Ok(sample)
    }

    /// Whether this is a long run, which does in full what others sample.
    pub fn in_full(&self) -> bool {
        self.common.soak.is_some()
    }

    /// Runs scenarios as a chain of their own, to see what the runner makes of them.
    pub fn rehearse(&self, name: &'static str, scenarios: Vec<Scenario>) -> Result<Vec<Rehearsed>> {
        let labs = self.labs.as_deref().context("this run has no machines")?;
        let chains = chain::chains(scenarios.into_iter().map(|scenario| (name, scenario)).collect(), false);
        let rows = chains.iter().flat_map(|chain| {
            let (group, rows) = chain::run(labs, chain, &self.for_chain());
            self.spent(&group);
            rows
        });
        let rehearsed =
            |row: Row| Rehearsed { failed: row.failed(), text: row.notes.join("\n") + &row.detail };
        Ok(rows.map(rehearsed).collect())
    }

    /// Records a measurement, unless other machines run beside this one.
    pub fn measured(&self, measurement: Measurement) {
        if self.common.alone {
            locked(&self.common.measurements).push(measurement);
        }
    }

    /// Says something on the way: at once in a long run, else beside the scenario's result.
    pub fn say(&self, text: String) {
        if self.common.soak.is_some() {
            println!("                  {text}");
        } else {
            locked(&self.notes).push(text);
        }
    }

    /// Adds what machines cost that a scenario started beside its own.
    pub fn spent(&self, group: &Group) {
        locked(&self.spent).add_cost_of(group);
    }

    /// The same of a clone, once it is not needed any more.
    pub fn cloned(&self, lab: &Lab) {
        let mut group = Group { clones: 1, ..Group::default() };
        labs::cost(std::slice::from_ref(lab)).add_to(&mut group);
        self.spent(&group);
    }

    fn take_spent(&self) -> Group {
        std::mem::take(&mut *locked(&self.spent))
    }

    fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.notes))
    }

    /// Keeps how a long run ended.
    fn ended(&self, scenario: &Scenario, outcome: Result<String>) -> Result<String> {
        match (&self.common.soak, scenario.soak) {
            (Some(soak), Some(name)) => soak.finish(name, &outcome).and(outcome),
            _ => outcome,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The chains that were chosen, in the order in which they begin.
fn chosen(settings: &Settings) -> Vec<Chain> {
    let fits = |(file, scenario): &(&'static str, Scenario)| {
        let title = scenario.title();
        let named = match (&settings.soak_folder, scenario.soak) {
            (None, _) => vec![title.as_str(), file, scenario.ground.name()],
            (Some(_), soak) => soak.into_iter().filter(|_| !title.ends_with(')')).collect(),
        };
        let asked = |name: &str| {
            let name = name.to_lowercase();
            settings.filters.is_empty()
                || settings.filters.iter().any(|part| name.contains(&part.to_lowercase()))
        };
        let measures = scenario.ground == Ground::Lab(Topology::Measured);
        settings.bench == measures && named.into_iter().any(asked)
    };
    let scenarios = scenarios::all().into_iter().flat_map(|(file, scenario)| {
        let again = scenario.also_on_two_cpus.then(|| (file, scenario.clone().on_two_cpus()));
        std::iter::once((file, scenario)).chain(again)
    });
    let timed = |(file, mut scenario): (&'static str, Scenario)| {
        let earlier = settings.times.get(&scenario.title()).map(|seconds| seconds.ceil() as u32);
        scenario.seconds = earlier.unwrap_or(scenario.seconds);
        (file, scenario)
    };
    let mut chains = chain::chains(scenarios.filter(fits).map(timed).collect(), settings.isolate);
    chains = settings.shard.share(chains).collect();
    chain::order(&mut chains, settings.seed);
    chains
}

/// Prints the names.
pub fn list(settings: &Settings) {
    for chain in chosen(settings) {
        for scenario in &chain.scenarios {
            let long = scenario.soak.map(|name| format!(", long run {name}")).unwrap_or_default();
            println!("{} [{}, {}{long}]", scenario.title(), scenario.ground.name(), chain.name);
        }
    }
}

/// Runs what was chosen; answers whether all passed, or nothing where no name fits.
pub fn run(settings: &Settings) -> Result<Option<bool>> {
    let chains = chosen(settings);
    if chains.is_empty() {
        eprintln!("qemu-tests: no behaviour's name contains {:?}; --list shows them", settings.filters);
        println!("0 passed, 0 failed, 0 skipped");
        return Ok(None);
    }
    // Fails here once instead of in every lab.
    let image = qemu_tests::machine::image()?;
    let seed = settings.seed.unwrap_or_else(random::from_system);
    println!("image {}, run by {}", image.display(), qemu_tests::machine::probe(Some(&image)).name());
    println!("seed {seed} (repeat with --seed {seed}, which shuffles the chains), token {}", run_token());

    let soak = settings.soak_folder.as_deref().map(|folder| Soak::new(folder, seed, &image)).transpose()?;
    let labs = Arc::new(Labs::new(Bench::new(&settings.log_folder, &settings.tools)?, seed));
    // Long runs and measurements are about one thing at a time.
    let requested = if settings.bench || settings.soak_folder.is_some() { 1 } else { settings.jobs };
    let Room { lanes, notes } = Room::for_lanes(requested);
    let common =
        Arc::new(Common { soak, alone: lanes == 1 && settings.tokens.is_none(), ..Common::default() });
    let run =
        Run { seed, common, labs: Some(Arc::clone(&labs)), notes: Arc::default(), spent: Arc::default() };
    let report = Report::new(settings.json.clone());
    if !notes.is_empty() {
        report.add(Group { notes, ..Group::of("room for machines") }, Vec::new());
    }
    all(settings, lanes, chains, &labs, &run, &report)?;
    let results = report.finish()?;

    let failed = results.tests.iter().filter(|row| row.failed()).count();
    let passed = results.tests.len() - failed;
    write_measurements(settings, &run)?;
    println!("{passed} passed, {failed} failed, 0 skipped");
    Ok(Some(failed == 0))
}

/// Runs chains in lanes, then those that must be alone.
fn all(
    settings: &Settings,
    lanes: usize,
    chains: Vec<Chain>,
    labs: &Labs,
    run: &Run,
    report: &Report,
) -> Result<()> {
    let tokens = Tokens::new(settings.tokens.clone(), lanes)?;
    let (alone, beside): (Vec<Chain>, _) = chains.into_iter().partition(|chain| chain.lane == Lane::Alone);
    let work = |work: Work| match work {
        Work::Template(kind) => report.add(labs.make_template(kind), Vec::new()),
        Work::Chain(chain) => {
            let (group, rows) = chain::run(labs, &chain, &run.for_chain());
            report.add(group, rows);
        }
    };
    let ready = |kind: Kind| labs.is_decided(kind);
    let together = Board::new(beside, &ready);
    together.run(&tokens, lanes, lanes > 1, &work)?;
    if !alone.is_empty() {
        let shared = if settings.tokens.is_some() { settings.jobs } else { lanes };
        let _all = tokens.take_all(shared);
        Board::new(alone, &ready).run(&Tokens::new(None, 1)?, 1, false, &work)?;
    }
    Ok(())
}

fn write_measurements(settings: &Settings, run: &Run) -> Result<()> {
    let measurements = locked(&run.common.measurements);
    if !measurements.is_empty() {
        println!("-- measured");
        measurements.iter().for_each(|measurement| println!("{}", measurement.line()));
        let name = if settings.bench { "netd-guest" } else { "boot" };
        measure::write(&settings.bench_folder, name, &measurements)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            filters: Vec::new(),
            json: None,
            times: BTreeMap::new(),
            seed: None,
            soak_folder: None,
            bench: false,
            isolate: false,
            shard: Shard::WHOLE,
            jobs: 2,
            tokens: None,
            tools: Vec::new(),
            bench_folder: PathBuf::new(),
            log_folder: PathBuf::new(),
        }
    }

    fn titles(settings: &Settings) -> Vec<String> {
        let chains = chosen(settings);
        let mut all: Vec<String> =
            chains.iter().flat_map(|chain| &chain.scenarios).map(Scenario::title).collect();
        all.sort();
        all
    }

    #[test]
    fn chain_that_took_longest_in_an_earlier_run_begins_first() {
        let isolated = Settings { isolate: true, ..settings() };
        let first = |settings: &Settings| {
            let chains = chosen(settings);
            (
                chains[0].scenarios[0].title(),
                chains[0].seconds(),
                chains.iter().map(Chain::seconds).is_sorted_by(|a, b| a >= b),
            )
        };
        let (by_hint, ..) = first(&isolated);
        // One that is said to take little.
        let quick = chosen(&isolated).pop().map(|chain| chain.scenarios[0].title()).unwrap();
        assert_ne!(quick, by_hint);
        let times = BTreeMap::from([(quick.clone(), 1000.2), (by_hint.clone(), 0.4)]);
        let timed = Settings { times, ..isolated };
        assert_eq!(first(&timed), (quick, 1001, true));
        let seconds_of = |title: &str| {
            let chains = chosen(&timed);
            chains.iter().find(|chain| chain.scenarios[0].title() == title).map(Chain::seconds)
        };
        assert_eq!(seconds_of(&by_hint), Some(1));
    }

    #[test]
    fn shards_have_every_scenario_once() {
        let whole = titles(&settings());
        let mut parts = Vec::new();
        for number in 1..=3 {
            parts.extend(titles(&Settings { shard: Shard { number, of: 3 }, ..settings() }));
        }
        parts.sort();
        assert_eq!(parts, whole);
        let mut unique = whole.clone();
        unique.dedup();
        assert_eq!(unique, whole, "two scenarios have one name");
        assert_eq!(titles(&Settings { isolate: true, seed: Some(3), ..settings() }), whole);
    }
}
