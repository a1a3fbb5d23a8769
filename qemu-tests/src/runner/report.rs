//! What a run tells: a row a scenario, a group a chain.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Scenario;
use super::chain::Cost;

/// One scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it shows.
    pub name: String,
    /// `passed` or `failed`.
    pub result: &'static str,
    /// How long it took, with its machine's start if it was the first on it.
    pub seconds: f64,
    /// What it found, or what went wrong.
    pub detail: String,
    /// What was said meanwhile.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl Row {
    /// How a scenario ended.
    pub fn of(scenario: &Scenario, time: Duration, outcome: Result<String>) -> Row {
        let (result, detail) = match outcome {
            Ok(detail) => ("passed", detail),
            Err(error) => ("failed", format!("{error:#}")),
        };
        Row { name: scenario.title(), result, seconds: time.as_secs_f64(), detail, notes: Vec::new() }
    }

    /// Whether it failed.
    pub fn failed(&self) -> bool {
        self.result != "passed"
    }

    fn print(&self) {
        println!("{} {:7.1} s  {}", if self.failed() { "FAILED" } else { "ok    " }, self.seconds, self.name);
        for line in self.notes.iter().map(String::as_str).chain(self.detail.lines()) {
            println!("                  {line}");
        }
    }
}

/// What a chain cost.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Name of the chain.
    pub name: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Machines that were booted.
    pub boots: u32,
    /// Machines that were cloned.
    pub clones: u32,
    /// Calls of the agents in the guests.
    pub commands: u64,
    /// Time of this host's processors that the machines took, in seconds.
    pub cpu_s: f64,
    /// How long it waited for something to happen, in seconds.
    pub waited_s: f64,
    /// Scenarios that ran.
    pub scenarios: usize,
}

impl Group {
    /// Nothing so far.
    pub fn of(name: &str) -> Group {
        Group {
            name: name.to_owned(),
            seconds: 0.0,
            boots: 0,
            clones: 0,
            commands: 0,
            cpu_s: 0.0,
            waited_s: 0.0,
            scenarios: 0,
        }
    }

    /// Adds what machines cost that are not needed any more.
    pub fn add(&mut self, cost: Cost) {
        self.commands += cost.commands;
        self.cpu_s += cost.cpu_s;
    }
}

/// Prints a chain at once, so that lanes do not mix their lines.
pub fn print(group: &Group, rows: &[Row]) {
    // The lock keeps the lines together.
    let _together = std::io::stdout().lock();
    let (boots, clones) = (group.boots, group.clones);
    let machines = match (boots, clones) {
        (0, clones) => format!("{clones} clone(s)"),
        (boots, 0) => format!("{boots} boot(s)"),
        (boots, clones) => format!("{boots} boot(s), {clones} clone(s)"),
    };
    println!(
        "-- {}: {:.0} s, {machines}, {} commands, {:.0} s waited, {:.0} s of processors",
        group.name, group.seconds, group.commands, group.waited_s, group.cpu_s
    );
    rows.iter().for_each(Row::print);
}
