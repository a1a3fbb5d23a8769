//! The summary of a test run: a row a behaviour, for people and for programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It showed what its name says.
    Passed,
    /// It did not.
    Failed,
    /// It was not run, for a stated reason.
    Skipped,
}

/// One test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The behaviour it shows.
    pub name: String,
    /// How it ended.
    pub result: Outcome,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What went wrong, or why it was not run; empty otherwise.
    #[serde(default)]
    pub detail: String,
}

/// The rows of a run.
#[derive(Debug, Default)]
pub struct Summary {
    /// Rows in the order they ran.
    pub rows: Vec<Row>,
}

impl Summary {
    /// Adds the rows a test program wrote as JSON.
    pub fn read_rows(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let rows: Vec<Row> =
            serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
        self.rows.extend(rows);
        Ok(())
    }

    /// How many rows ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.result == outcome).count()
    }

    /// Writes the rows to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(&self.rows)?;
        text.push('\n');
        cache::write_atomic(path, text.as_bytes())
    }

    /// The failures again, and the closing line that programs look for.
    pub fn closing(&self) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| row.result != Outcome::Passed) {
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

    fn row(name: &str, result: Outcome, detail: &str) -> Row {
        Row { name: name.into(), result, seconds: 1.0, detail: detail.into() }
    }

    #[test]
    fn the_closing_names_failures_and_counts_all() {
        let summary = Summary {
            rows: vec![
                row("a", Outcome::Passed, ""),
                row("b", Outcome::Failed, "lost\nframes"),
                row("c", Outcome::Skipped, ""),
            ],
        };
        assert_eq!(
            summary.closing(),
            "FAILED  b\n    lost\n    frames\nskipped  c\n1 passed, 1 failed, 1 skipped\n"
        );
    }
}
