//! Runs test programs of the workspace, one after the other in lanes that are idle, and reads what they tell.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use jobserver::Client;
use walkdir::WalkDir;

use super::programs::Program;
use crate::summary::{Group, Outcome, Row};
use crate::{guard, paths, process};

/// Programs that take long, the longest first; all others follow.
const LONG: [&str; 5] = ["containerd", "kernel", "config_hostile", "netd_api", "screens"];
/// The programs that run containers, which takes root.
const AS_ROOT: &str = "containerd-shim-corten";

/// Runs programs and the examples of the documentation. Each takes a token for as long as it runs.
pub fn run(
    programs: &[Program],
    filter: Option<&str>,
    tokens: &Client,
    report: &dyn Fn(Group, Vec<Row>),
) -> Result<()> {
    let log = paths::output().join("test/unit.log");
    fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
    let mut ordered: Vec<&Program> = programs.iter().collect();
    let rank = |program: &&Program| LONG.iter().position(|name| *name == program.name).unwrap_or(LONG.len());
    ordered.sort_by_key(rank);
    for program in ordered {
        let _token = tokens.acquire().context("no token")?;
        let (group, rows) = one(&program.name, &mut program_command(program, filter), &log)?;
        report(group, rows);
    }
    let documented = packages_with_examples(programs)?;
    if !documented.is_empty() {
        let _token = tokens.acquire().context("no token")?;
        let mut examples = process::cargo();
        examples.args(["test", "--locked", "--doc"]);
        documented.iter().for_each(|package| {
            examples.args(["--package", package]);
        });
        examples.args(["--", "--test-threads", "1"]).args(filter);
        let (group, rows) = one("documentation", &mut examples, &log)?;
        report(group, rows);
    }
    Ok(())
}

/// The libraries among the packages whose documentation has examples: looking for them is all that the compiler of
/// documentation would do for the others, and takes it half a minute.
fn packages_with_examples(programs: &[Program]) -> Result<BTreeSet<&str>> {
    let mut found = BTreeSet::new();
    let libraries = programs.iter().filter(|program| program.folder.join("src/lib.rs").exists());
    for Program { package, folder, .. } in libraries {
        for entry in WalkDir::new(folder.join("src")) {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "rs")
                && has_example(&fs::read_to_string(entry.path())?)
            {
                found.insert(package.as_str());
            }
        }
    }
    Ok(found)
}

/// Whether the documentation in a source file has an example that is more than text.
fn has_example(source: &str) -> bool {
    let fences = source.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?.trim_start().strip_prefix("```")
    });
    // Every other fence is the end of what the one before it began.
    fences.step_by(2).any(|language| language != "text")
}

/// What runs a program as cargo would.
fn program_command(program: &Program, filter: Option<&str>) -> Command {
    let root = nix::unistd::geteuid().is_root();
    let mut command = if program.package == AS_ROOT && !root {
        let mut sudo = Command::new("sudo");
        // Nobody can answer a question here.
        sudo.args(["--non-interactive", "--preserve-env=TMPDIR", "--"]).arg(&program.path);
        sudo
    } else {
        Command::new(&program.path)
    };
    // One test at a time, so that the time between two lines is a test's own.
    // A name as the summary has it begins with the program's.
    let filter = filter.map(|name| name.strip_prefix(&format!("{} ", program.name)).unwrap_or(name));
    command.args(["--test-threads", "1"]).args(filter).current_dir(&program.folder);
    command.env("CARGO_MANIFEST_DIR", &program.folder);
    command
}

/// Runs a program to its end, and adds what it prints to the log.
fn one(name: &str, command: &mut Command, log: &Path) -> Result<(Group, Vec<Row>)> {
    watch(name, &mut guard::command(command), log)
}

fn watch(name: &str, command: &mut Command, log: &Path) -> Result<(Group, Vec<Row>)> {
    let started = Instant::now();
    let what = process::describe(command);
    let mut child = guard::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let open = child.stdin.take();
    // Failures are told on standard output, panics outside of tests on standard error.
    let errors = child.stderr.take().context("no standard error")?;
    let said = Arc::new(Mutex::new(String::new()));
    let errors_said = Arc::clone(&said);
    let drain = thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let mut said = errors_said.lock().unwrap_or_else(PoisonError::into_inner);
            *said += &(line + "\n");
        }
    });
    let mut reader = Reader::new(name);
    let output = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        reader.line(&line);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        *said += &(line + "\n");
    }
    let status = child.wait().with_context(|| format!("waiting for `{what}`"))?;
    drop(open);
    ensure!(drain.join().is_ok(), "reading what `{what}` says");
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let mut file = fs::OpenOptions::new().append(true).open(log)?;
    writeln!(file, "# {name}: {what}\n{said}").with_context(|| format!("writing {}", log.display()))?;

    let mut rows = reader.rows;
    let failed = rows.iter().any(|row| row.result == Outcome::Failed);
    if !status.success() && !failed {
        // A program that did not build or crashed has no line of its own.
        let mut row = Row::failed(&format!("{name} runs to its end"));
        row.detail = format!("it ended with {status}\n{}", last_lines(&said, 40));
        rows.push(row);
    }
    for row in rows.iter_mut().filter(|row| row.result == Outcome::Failed) {
        row.detail = format!("see {}\n{}", log.display(), row.detail);
    }
    let seconds = started.elapsed().as_secs_f64();
    let group = Group { name: format!("unit {name}"), seconds, scenarios: rows.len(), ..Group::default() };
    Ok((group, rows))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Reads the lines of a test program that runs one test at a time.
struct Reader {
    name: String,
    rows: Vec<Row>,
    last: Instant,
}

impl Reader {
    fn new(name: &str) -> Reader {
        Reader { name: name.to_owned(), rows: Vec::new(), last: Instant::now() }
    }

    fn line(&mut self, line: &str) {
        let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let result = match result {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            // The behaviours run it, and tell of it.
            "ignored, in the guest" => return,
            _ if result.starts_with("ignored") => Outcome::Skipped,
            _ => return,
        };
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let name = format!("{} {test}", self.name);
        self.rows.push(Row { name, result, seconds, detail: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Row> {
        let mut reader = Reader::new("netd_api");
        text.lines().for_each(|line| reader.line(line));
        reader.rows
    }

    #[test]
    fn examples_are_more_than_text() {
        assert!(has_example("//! ```no_run\n//! f();\n//! ```\n"));
        assert!(has_example(
            "    /// ```text\n    /// a\n    /// ```\n    /// ```\n    /// f();\n    /// ```\n"
        ));
        assert!(!has_example("//! ```text\n//! a\n//! ```\nlet fence = \"```\";\n"));
    }

    #[test]
    fn a_test_line_becomes_a_row_of_its_program() {
        let rows = read("running 1 test\ntest config::x ... ok\n\ntest result: ok. 1 passed\n");
        assert_eq!(rows.len(), 1);
        assert_eq!((&*rows[0].name, rows[0].result), ("netd_api config::x", Outcome::Passed));
    }

    #[test]
    fn an_ignored_test_is_a_skipped_one_and_a_failed_one_failed() {
        let rows = read("test a ... ignored, needs more\ntest b ... FAILED\n");
        assert_eq!(rows[0].result, Outcome::Skipped);
        assert_eq!(rows[1].result, Outcome::Failed);
    }

    #[test]
    fn a_test_that_the_behaviours_run_is_no_row() {
        assert!(read("test image::a ... ignored, in the guest\n").is_empty());
    }

    #[test]
    fn a_program_that_crashes_fails_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo test a ... ok; echo crashed >&2; exit 9"]);
        let (_, rows) = watch("crashes", &mut command, &log).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].result, Outcome::Failed);
        assert!(rows[1].detail.contains("crashed"), "{:?}", rows[1]);
        assert!(fs::read_to_string(&log).unwrap().contains("test a ... ok"));
    }
}
