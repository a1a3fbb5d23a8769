//! Boots labs, runs behaviours, reports.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow, ensure};
use qemu_tests::measure::{self, Measurement};
use qemu_tests::random::run_token;
use serde::Serialize;

use crate::lab::{Lab, Topology};
use crate::scenarios;

/// What the command line asked for.
pub struct Settings {
    /// Part of a name.
    pub filter: String,
    /// Where results go.
    pub json: Option<PathBuf>,
    /// Seed of payloads and choices.
    pub seed: u64,
    /// Full counts instead of samples.
    pub soak: bool,
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
    pub show: fn(&Lab, &Run) -> Result<String>,
}

/// What behaviours may know of the run and tell it.
pub struct Run {
    /// Seed of payloads and choices.
    pub seed: u64,
    /// Full counts instead of samples.
    pub soak: bool,
    measurements: Mutex<Vec<Measurement>>,
}

impl Run {
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
        scenario.name.contains(&settings.filter) || scenario.topology.name().contains(&settings.filter)
    };
    scenarios::all().into_iter().filter(fits).collect()
}

/// Prints the names.
pub fn list(settings: &Settings) {
    for scenario in chosen(settings) {
        println!("{} [{}]", scenario.name, scenario.topology.name());
    }
}

/// Runs what was chosen; answers whether all passed.
pub fn run(settings: &Settings) -> Result<bool> {
    let scenarios = chosen(settings);
    ensure!(!scenarios.is_empty(), "no behaviour's name contains {:?}; --list shows them", settings.filter);
    // Fails here once instead of in every lab.
    let image = qemu_tests::machine::image()?;
    println!("image {}", image.display());
    println!("seed {} (repeat with --seed {0}), token {}", settings.seed, run_token());

    let run = Run { seed: settings.seed, soak: settings.soak, measurements: Mutex::default() };
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
    let lab = match guarded(|| Lab::boot(topology, &settings.log_folder)) {
        Ok(lab) => lab,
        Err(error) => {
            let seconds = started.elapsed().as_secs_f64();
            for scenario in scenarios {
                let error = anyhow!("its machine did not come up: {error:#}");
                rows.push(finish(scenario.name, seconds, Err(error)));
            }
            return;
        }
    };
    println!("   up after {:.1} s ({:?})", started.elapsed().as_secs_f64(), lab.vm.accelerator());
    for scenario in scenarios {
        let started = Instant::now();
        let outcome = guarded(|| (scenario.show)(&lab, run))
            .with_context(|| format!("serial log: {}", lab.serial_log()));
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
        measure::write(&settings.bench_folder, "boot", &measurements)?;
    }
    if let Some(path) = &settings.json {
        let text = serde_json::to_string_pretty(rows).context("cannot write the results as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
