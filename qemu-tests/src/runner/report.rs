//! What a run tells: a row a scenario, a group a chain.

use std::time::Duration;

use anyhow::Result;
use qemu_tests::results::{Group, Outcome, Row};

use super::Scenario;

/// How a scenario ended.
pub fn row(scenario: &Scenario, time: Duration, outcome: Result<String>) -> Row {
    let (result, detail) = match outcome {
        Ok(detail) => (Outcome::Passed, detail),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    Row::new(&scenario.title(), result, time.as_secs_f64(), &detail)
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
    group.notes.iter().for_each(|note| println!("   {note}"));
    rows.iter().for_each(print_row);
}

fn print_row(row: &Row) {
    println!("{} {:7.1} s  {}", if row.failed() { "FAILED" } else { "ok    " }, row.seconds, row.name);
    for line in row.notes.iter().map(String::as_str).chain(row.detail.lines()) {
        println!("                  {line}");
    }
}
