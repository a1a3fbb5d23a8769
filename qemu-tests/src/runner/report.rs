//! What a run tells: a row a scenario, a group a chain.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use qemu_tests::results::{Group, Outcome, Results, Row};

use super::{Scenario, locked};

/// What a run has told so far. Its file is written anew after each chain, so that a run that breaks has told of those
/// before it.
pub struct Report {
    file: Option<PathBuf>,
    results: Mutex<Results>,
}

impl Report {
    /// Nothing yet; `file` gets it as JSON.
    pub fn new(file: Option<PathBuf>) -> Report {
        Report { file, results: Mutex::default() }
    }

    /// Prints and keeps a chain.
    pub fn add(&self, group: Group, rows: Vec<Row>) {
        // At once, so that lanes do not mix their lines.
        print!("{}", block(&group, &rows));
        let mut results = locked(&self.results);
        results.groups.push(group);
        results.tests.extend(rows);
        // A file that cannot be written ends the run when it is over.
        let _ = self.write(&results);
    }

    /// All of it, kept for good.
    pub fn finish(self) -> Result<Results> {
        let results = std::mem::take(&mut *locked(&self.results));
        self.write(&results)?;
        Ok(results)
    }

    fn write(&self, results: &Results) -> Result<()> {
        self.file.as_deref().map_or(Ok(()), |file| write(file, results))
    }
}

/// Puts a whole file in the place of the one before.
fn write(file: &Path, results: &Results) -> Result<()> {
    let text = serde_json::to_string_pretty(results).context("cannot write the results as JSON")?;
    let whole = file.with_extension("json.new");
    let written = std::fs::write(&whole, text + "\n").and_then(|()| std::fs::rename(&whole, file));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// How a scenario ended.
pub fn row(scenario: &Scenario, time: Duration, outcome: Result<String>) -> Row {
    let (result, detail) = match outcome {
        Ok(detail) => (Outcome::Passed, detail),
        Err(error) => (Outcome::Failed, format!("{error:#}")),
    };
    Row::new(&scenario.title(), result, time.as_secs_f64(), &detail)
}

/// A chain's block: a line of its own, its rows, and an empty line, by which whoever hands it on knows the end.
fn block(group: &Group, rows: &[Row]) -> String {
    let (boots, clones) = (group.boots, group.clones);
    let machines = match (boots, clones) {
        (0, clones) => format!("{clones} clone(s)"),
        (boots, 0) => format!("{boots} boot(s)"),
        (boots, clones) => format!("{boots} boot(s), {clones} clone(s)"),
    };
    let mut lines = vec![format!(
        "-- {}: {:.0} s, {machines}, {} commands, {:.0} s waited, {:.0} s of processors",
        group.name, group.seconds, group.commands, group.waited_s, group.cpu_s
    )];
    lines.extend(group.notes.iter().flat_map(|note| note.lines()).map(|line| format!("   {line}")));
    for row in rows {
        let word = if row.failed() { "FAILED" } else { "ok    " };
        lines.push(format!("{word} {:7.1} s  {}", row.seconds, row.name));
        let said = row.notes.iter().flat_map(|note| note.lines()).chain(row.detail.lines());
        lines.extend(said.map(|line| format!("                  {line}")));
    }
    lines.join("\n") + "\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept_after_each_chain() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("behaviours.json");
        let kept = || serde_json::from_slice::<Results>(&std::fs::read(&file).unwrap()).unwrap();
        let report = Report::new(Some(file.clone()));
        let row = |name| vec![Row::new(name, Outcome::Passed, 1.0, "")];
        report.add(Group::of("a"), row("first"));
        assert_eq!(kept().tests.len(), 1);
        report.add(Group::of("b"), row("second"));
        assert_eq!((kept().groups.len(), &*kept().tests[1].name), (2, "second"));
        assert_eq!(report.finish().unwrap().tests.len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something else is left");
    }

    #[test]
    fn block_of_a_chain_has_one_empty_line_the_last() {
        let mut row = Row::new("frames cross", Outcome::Failed, 1.5, "expected\n\nfound");
        row.notes.push("a note\n\nof two".to_owned());
        let group = Group { notes: vec!["it boots\n\ninstead".to_owned()], ..Group::of("lag") };
        let text = block(&group, &[row]);
        assert!(text.starts_with("-- lag: 0 s, 0 clone(s), "), "{text}");
        assert!(text.contains("\nFAILED     1.5 s  frames cross\n"), "{text}");
        assert_eq!(text.find("\n\n"), Some(text.len() - 2), "{text}");
    }

    #[test]
    fn file_that_cannot_be_written_is_an_error_in_the_end() {
        let report = Report::new(Some("/no such folder/behaviours.json".into()));
        report.add(Group::of("a"), Vec::new());
        assert!(format!("{:#}", report.finish().unwrap_err()).contains("/no such folder"));
    }
}
