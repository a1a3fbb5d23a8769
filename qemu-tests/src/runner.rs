//! Boots labs, runs behaviours, reports.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow};
use qemu_tests::measure::{self, Measurement};
use qemu_tests::random::run_token;
use qemu_tests::soak::Soak;
use serde::Serialize;

use crate::lab::{Lab, Topology};
use crate::scenarios;

/// What the command line asked for.
pub struct Settings {
    /// Parts of names; none for all.
    pub filters: Vec<String>,
    /// Where results go.
    pub json: Option<PathBuf>,
    /// Seed of payloads and choices.
    pub seed: u64,
    /// Where the progress of long runs goes; `None` runs samples of them, and everything else.
    pub soak_folder: Option<PathBuf>,
    /// Measures instead of testing.
    pub bench: bool,
    /// Programs of this host for the guest.
    pub tools: Vec<PathBuf>,
    /// Where measurements go.
    pub bench_folder: PathBuf,
    /// Where serial logs go.
    pub log_folder: PathBuf,
}

/// A behaviour, and how it is shown.
pub struct Scenario {
    /// The behaviour, a sentence.
    pub name: &'static str,
    /// The machine it is shown on.
    pub topology: Topology,
    /// Shows it; the text is detail for the report, or empty.
    pub show: Show,
    /// Name of its long run, if it has one.
    pub soak: Option<&'static str>,
}

/// Shows a behaviour.
pub type Show = fn(&Lab, &Run) -> Result<String>;

impl Scenario {
    /// A behaviour without a long run.
    pub const fn new(name: &'static str, topology: Topology, show: Show) -> Self {
        Scenario { name, topology, show, soak: None }
    }

    /// Gives it a long run, which does its [`Run::rounds`] in full.
    pub const fn soaks(mut self, name: &'static str) -> Self {
        self.soak = Some(name);
        self
    }
}

/// What behaviours may know of the run and tell it.
pub struct Run {
    /// Seed of payloads and choices.
    pub seed: u64,
    soak: Option<Soak>,
    measurements: Mutex<Vec<Measurement>>,
}

impl Run {
    /// Does `sample` rounds, or `full` in a long run; answers how many. `round` gets its seed and its
    /// number, from 1.
    pub fn rounds(
        &self,
        name: &str,
        sample: u32,
        full: u32,
        mut round: impl FnMut(u64, u32) -> Result<()>,
    ) -> Result<u32> {
        if let Some(soak) = &self.soak {
            return soak.rounds(name, full, round);
        }
        for number in 1..=sample {
            round(self.seed, number).with_context(|| format!("round {number} of {sample}"))?;
        }
        Ok(sample)
    }

    /// Records a measurement.
    pub fn measured(&self, measurement: Measurement) {
        self.measurements.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(measurement);
    }
}

/// One line of the report.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    result: &'static str,
    seconds: f64,
    detail: String,
}

fn chosen(settings: &Settings) -> Vec<Scenario> {
    let fits = |scenario: &Scenario| {
        let named = match (&settings.soak_folder, scenario.soak) {
            (None, _) => vec![scenario.name, scenario.topology.name()],
            (Some(_), soak) => soak.into_iter().collect(),
        };
        let asked = |name: &str| {
            settings.filters.is_empty() || settings.filters.iter().any(|part| name.contains(part))
        };
        settings.bench == (scenario.topology == Topology::Measured) && named.into_iter().any(asked)
    };
    scenarios::all().into_iter().filter(fits).collect()
}

/// Prints the names.
pub fn list(settings: &Settings) {
    for scenario in chosen(settings) {
        let long = scenario.soak.map(|name| format!(", long run {name}")).unwrap_or_default();
        println!("{} [{}{long}]", scenario.name, scenario.topology.name());
    }
}

/// Runs what was chosen; answers whether all passed.
pub fn run(settings: &Settings) -> Result<bool> {
    let scenarios = chosen(settings);
    if scenarios.is_empty() {
        // No failure: the filter may be meant for tests elsewhere. Who counts sees that nothing ran.
        eprintln!("qemu-tests: no behaviour's name contains {:?}; --list shows them", settings.filters);
        println!("0 passed, 0 failed, 0 skipped");
        return Ok(true);
    }
    // Fails here once instead of in every lab.
    let image = qemu_tests::machine::image()?;
    println!("image {}", image.display());
    println!("seed {} (repeat with --seed {0}), token {}", settings.seed, run_token());

    let soak = settings.soak_folder.as_deref().map(|folder| Soak::new(folder, settings.seed, &image));
    let run = Run { seed: settings.seed, soak: soak.transpose()?, measurements: Mutex::default() };
    let mut rows = Vec::new();
    for topology in Topology::ALL {
        let here: Vec<&Scenario> =
            scenarios.iter().filter(|scenario| scenario.topology == topology).collect();
        if !here.is_empty() {
            run_on(topology, &here, settings, &run, &mut rows);
        }
    }
    let failed = rows.iter().filter(|row| row.result != "passed").count();
    report(settings, &run, &rows)?;
    println!("{} passed, {failed} failed, 0 skipped", rows.len() - failed);
    Ok(failed == 0)
}

fn run_on(topology: Topology, scenarios: &[&Scenario], settings: &Settings, run: &Run, rows: &mut Vec<Row>) {
    let started = Instant::now();
    println!("-- {}", topology.description());
    let lab = match guarded(|| Lab::boot(topology, &settings.log_folder, &settings.tools)) {
        Ok(lab) => lab,
        Err(error) => {
            let seconds = started.elapsed().as_secs_f64();
            // The whole story once; the rows of the others point at it.
            let mut error = error.context("its machine did not come up");
            for scenario in scenarios {
                rows.push(finish(scenario.name, seconds, Err(error)));
                error = anyhow!("its machine did not come up, see above");
            }
            return;
        }
    };
    println!("   up after {:.1} s ({:?})", started.elapsed().as_secs_f64(), lab.vm.accelerator());
    for scenario in scenarios {
        let started = Instant::now();
        let outcome = guarded(|| (scenario.show)(&lab, run))
            .with_context(|| format!("serial log: {}", lab.serial_log()));
        let outcome = match (&run.soak, scenario.soak) {
            (Some(soak), Some(name)) => soak.finish(name, &outcome).and(outcome),
            _ => outcome,
        };
        rows.push(finish(scenario.name, started.elapsed().as_secs_f64(), outcome));
    }
}

/// Turns a panic into a failure of the one behaviour.
fn guarded<T>(show: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(show)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    anyhow!("panic: {}", text.unwrap_or("no message"))
}

fn finish(name: &'static str, seconds: f64, outcome: Result<String>) -> Row {
    let (result, detail) = match outcome {
        Ok(detail) => ("passed", detail),
        Err(error) => ("failed", format!("{error:#}")),
    };
    println!("{} {seconds:7.1} s  {name}", if result == "passed" { "ok    " } else { "FAILED" });
    for line in detail.lines() {
        println!("                  {line}");
    }
    Row { name, result, seconds, detail }
}

fn report(settings: &Settings, run: &Run, rows: &[Row]) -> Result<()> {
    let measurements = run.measurements.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !measurements.is_empty() {
        println!("-- measured");
        measurements.iter().for_each(|measurement| println!("{}", measurement.line()));
        let name = if settings.bench { "netd-guest" } else { "boot" };
        measure::write(&settings.bench_folder, name, &measurements)?;
    }
    if let Some(path) = &settings.json {
        let text = serde_json::to_string_pretty(rows).context("cannot write the results as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
