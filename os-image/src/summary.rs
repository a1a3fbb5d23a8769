//! The summary of a test run: a row a behaviour, for people and for programs.

use std::path::Path;

use anyhow::{Context, Result};
use qemu_tests::results::{Group, Outcome, Results, Row};
use serde::Serialize;

use crate::cache;

/// What a whole run may take on two processors once everything is cached: so much for each capability.
struct Budget {
    name: &'static str,
    minutes: f64,
    /// The chains that it has added, by their first word.
    chains: &'static [&'static str],
}

/// All budgets. The first has whatever no other one names, as all unit tests do: programs are shared.
const BUDGETS: [Budget; 2] = [
    Budget { name: "the ground", minutes: 14.0, chains: &[] },
    Budget {
        name: "netd and console, made sound",
        minutes: 3.0,
        chains: &[
            "alarms",
            "comparison",
            "hardware",
            "hosts",
            "questions",
            "roles",
            "spanning-tree",
            "tunnels",
        ],
    },
];

/// The budget that a group is of, by its number.
fn budget_of(group: &Group) -> usize {
    let first = group.name.split(' ').next().unwrap_or_default();
    BUDGETS.iter().position(|budget| budget.chains.contains(&first)).unwrap_or(0)
}

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
        text + &self.used()
    }

    /// What was used of each budget: its groups' share of the time that the run took, in which lanes run beside each
    /// other.
    fn used(&self) -> String {
        let minutes = self.wall_s / 60.0;
        let mut seconds = [0.0; BUDGETS.len()];
        for group in &self.results.groups {
            seconds[budget_of(group)] += group.seconds;
        }
        let total = seconds.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let line = |name: &str, used: f64, budget: f64| {
            let over = if used > budget { ", OVER BUDGET" } else { "" };
            format!("used {used:.1} of {budget:.0} min: {name}{over}\n")
        };
        let parts = BUDGETS.iter().zip(seconds);
        let parts =
            parts.map(|(budget, seconds)| line(budget.name, minutes * seconds / total, budget.minutes));
        parts.collect::<String>()
            + &line("the whole run", minutes, BUDGETS.iter().map(|budget| budget.minutes).sum())
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

    fn group(name: &str, seconds: f64) -> Group {
        let name = name.to_owned();
        Group {
            name,
            seconds,
            boots: 1,
            clones: 2,
            commands: 30,
            cpu_s: 4.5,
            waited_s: 5.25,
            scenarios: 6,
            notes: vec![],
        }
    }

    fn summary(groups: Vec<Group>, wall_s: f64) -> Summary {
        Summary { wall_s, lanes: 2, results: Results { groups, tests: Vec::new() } }
    }

    #[test]
    fn table_has_what_each_group_cost_the_longest_first_and_the_sum() {
        let table = summary(vec![group("lag", 10.0), group("unit netd", 70.5)], 50.0).table(false);
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0].join(" "), "group tests seconds boots clones commands waited cpu");
        assert_eq!(rows[1].join(" "), "unit netd 6 70.5 1 2 30 5.2 4.5");
        assert_eq!(rows[2].join(" "), "lag 6 10.0 1 2 30 5.2 4.5");
        assert_eq!(rows[3].join(" "), "all 12 80.5 2 4 60 10.5 9.0");
        assert_eq!(rows.len(), 4, "only a whole run has a budget");
        assert!(table.lines().all(|line| line.len() == table.find('\n').unwrap()), "{table}");
    }

    #[test]
    fn whole_run_tells_what_was_used_of_each_budget() {
        // 20 minutes, a quarter of which went to what only looks like the ground's.
        let groups = vec![group("frames", 600.0), group("alarms 2", 300.0), group("unit alarms", 300.0)];
        let table = summary(groups, 1200.0).table(true);
        let used: Vec<&str> = table.lines().filter(|line| line.starts_with("used")).collect();
        assert_eq!(
            used,
            [
                "used 15.0 of 14 min: the ground, OVER BUDGET",
                "used 5.0 of 3 min: netd and console, made sound, OVER BUDGET",
                "used 20.0 of 17 min: the whole run, OVER BUDGET",
            ]
        );
        assert!(summary(Vec::new(), 60.0).table(true).contains("used 0.0 of 14 min: the ground\n"));
    }

    #[test]
    fn file_of_a_run_has_every_number_of_a_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        summary(vec![group("lag", 10.0)], 50.0).write(&path).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({
            "wall_s": 50.0, "lanes": 2, "tests": [],
            "groups": [{
                "name": "lag", "seconds": 10.0, "boots": 1, "clones": 2, "commands": 30, "cpu_s": 4.5,
                "waited_s": 5.25, "scenarios": 6,
            }],
        });
        assert_eq!(value, expected);
        let mut again = Summary::default();
        assert!(!again.read(&path).unwrap());
        assert_eq!((again.results.groups[0].boots, again.results.groups[0].waited_s), (1, 5.25));
    }

    #[test]
    fn every_chain_of_a_budget_exists() {
        let all = std::fs::read_to_string(crate::paths::workspace().join("qemu-tests/src/scenarios/mod.rs"))
            .unwrap();
        for chain in BUDGETS.iter().flat_map(|budget| budget.chains) {
            assert!(all.contains(&format!("(\"{chain}\", &")), "there is no chain {chain}");
        }
    }

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
