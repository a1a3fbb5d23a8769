//! The summary of a test run: a row a behaviour, for people and for programs.

use std::path::Path;

use anyhow::{Context, Result};
use qemu_tests::results::{Group, Outcome, Results, Row};
use serde::Serialize;

use crate::cache;

/// What a whole run may take, in minutes on two processors once everything is cached: so much for each capability.
const BUDGETS_MIN: [(&str, f64); 2] = [("the ground", 14.0), ("netd and console, made sound", 3.0)];

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// How long it took, in seconds.
    pub wall_s: f64,
    /// Lanes that computed.
    pub lanes: usize,
    /// Groups and tests.
    #[serde(flatten)]
    pub results: Results,
}

impl Summary {
    /// Adds a group with its tests.
    pub fn add(&mut self, group: Group, tests: Vec<Row>) {
        self.results.groups.push(group);
        self.results.tests.extend(tests);
    }

    /// Adds the results that a test program wrote as JSON; answers whether there is a failure among them.
    pub fn read(&mut self, path: &Path) -> Result<bool> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let results: Results =
            serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
        let failed = results.tests.iter().any(Row::failed);
        self.results.groups.extend(results.groups);
        self.results.tests.extend(results.tests);
        Ok(failed)
    }

    /// What each group cost, the longest first, and what all of it did; of a whole run also what it had to cost.
    pub fn table(&self, whole: bool) -> String {
        let mut groups: Vec<&Group> = self.results.groups.iter().collect();
        groups.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let heads = ["group", "tests", "seconds", "boots", "clones", "commands", "waited", "cpu"];
        let [name, tests, seconds, boots, clones, commands, waited, cpu] = heads;
        let mut text = format!(
            "{name:<28} {tests:>6} {seconds:>8} {boots:>6} {clones:>7} {commands:>9} {waited:>7} {cpu:>7}\n"
        );
        let mut line = |group: &Group| {
            let Group { name, seconds, boots, clones, commands, waited_s, cpu_s, scenarios, .. } = group;
            text.push_str(&format!(
                "{name:<28} {scenarios:>6} {seconds:>8.1} {boots:>6} {clones:>7} {commands:>9} {waited_s:>7.1} \
                 {cpu_s:>7.1}\n"
            ));
        };
        let mut all = Group::of("all");
        for group in groups {
            line(group);
            all.seconds += group.seconds;
            all.boots += group.boots;
            all.clones += group.clones;
            all.commands += group.commands;
            all.waited_s += group.waited_s;
            all.cpu_s += group.cpu_s;
            all.scenarios += group.scenarios;
        }
        line(&all);
        if !whole {
            return text;
        }
        let used = self.wall_s / 60.0;
        let budget: f64 = BUDGETS_MIN.iter().map(|(_, minutes)| minutes).sum();
        let parts = BUDGETS_MIN.map(|(name, minutes)| format!("{minutes:.0} for {name}")).join(", ");
        text + &format!("used {used:.1} min of the budget of {budget:.0} min ({parts})\n")
    }

    /// How many rows ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.tests.iter().filter(|row| row.result == outcome).count()
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        cache::write_atomic(path, text.as_bytes())
    }

    /// The failures and the notes again, and the closing line that programs look for.
    pub fn closing(&self) -> String {
        let mut text = String::new();
        for group in &self.results.groups {
            text.extend(group.notes.iter().map(|note| format!("note  {}: {note}\n", group.name)));
        }
        for row in self.results.tests.iter().filter(|row| row.result != Outcome::Passed) {
            let word = if row.result == Outcome::Failed { "FAILED" } else { "skipped" };
            text.push_str(&format!("{word}  {}\n", row.name));
            for line in row.detail.lines() {
                text.push_str(&format!("    {line}\n"));
            }
        }
        let (passed, failed) = (self.count(Outcome::Passed), self.count(Outcome::Failed));
        text.push_str(&format!(
            "{passed} passed, {failed} failed, {} skipped\n",
            self.count(Outcome::Skipped)
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_names_failures_and_counts_all() {
        let group = Group { name: "lag".into(), notes: vec!["it boots".into()], ..Group::default() };
        let row = |name, result, detail| Row::new(name, result, 1.0, detail);
        let tests = vec![
            row("a", Outcome::Passed, ""),
            row("b", Outcome::Failed, "lost\nframes"),
            row("c", Outcome::Skipped, ""),
        ];
        let results = Results { groups: vec![Group::default(), group], tests };
        let summary = Summary { results, ..Summary::default() };
        assert_eq!(
            summary.closing(),
            "note  lag: it boots\nFAILED  b\n    lost\n    frames\nskipped  c\n1 passed, 1 failed, 1 skipped\n"
        );
    }
}
