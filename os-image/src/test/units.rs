//! Runs test programs of the workspace, one after the other in lanes that are idle, and reads what they tell.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::results::{Group, Outcome, Row};
use walkdir::WalkDir;

use super::programs::Program;
use super::turns::Turns;
use crate::{guard, paths, process};

/// Programs that take long, the longest first; all others follow.
const LONG: [&str; 5] = ["containerd", "kernel", "config_hostile", "netd_api", "screens"];
/// How long a program may take; the longest takes a minute.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(1200);
/// The programs that run containers, which takes root.
const AS_ROOT: &str = "containerd-shim-corten";

/// Runs programs and the examples of the documentation. Each takes a turn.
pub fn run(
    programs: &[Program],
    filter: Option<&str>,
    turns: &Turns,
    report: &dyn Fn(Group, Vec<Row>),
) -> Result<()> {
    let log = paths::output().join("test/unit.log");
    fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
    let mut ordered: Vec<&Program> = programs.iter().collect();
    let rank = |program: &&Program| LONG.iter().position(|name| *name == program.name).unwrap_or(LONG.len());
    ordered.sort_by_key(rank);
    for program in ordered {
        let _turn = turns.take()?;
        let (group, rows) = one(&program.name, &mut program_command(program, filter), &log)?;
        report(group, rows);
    }
    let documented = packages_with_examples(programs)?;
    if !documented.is_empty() {
        let _turn = turns.take()?;
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

/// Prints the names of the programs' tests.
pub fn list(programs: &[Program], filter: Option<&str>) -> Result<()> {
    for program in programs {
        let names = process::output(program_command(program, filter).args(["--list", "--format", "terse"]))?;
        let names = names.lines().filter_map(|line| line.strip_suffix(": test"));
        names.for_each(|name| println!("{} {name}", program.name));
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
    // The guard ends all of the program once its input ends.
    let open = child.stdin.take();
    let (ended, has_ended) = mpsc::channel::<()>();
    let deadline = thread::spawn(move || {
        let timed_out = has_ended.recv_timeout(PROGRAM_TIMEOUT) == Err(RecvTimeoutError::Timeout);
        drop(open);
        timed_out
    });
    // Failures are told on standard output, panics outside of tests on standard error.
    let errors = child.stderr.take().context("no standard error")?;
    let mut file = fs::OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "# {name}: {what}").with_context(|| format!("writing {}", log.display()))?;
    let said = Arc::new(Said { text: Mutex::default(), log: file });
    let of_errors = Arc::clone(&said);
    let drain = thread::spawn(move || lines(errors).for_each(|line| of_errors.add(&line)));
    let mut reader = Reader::new(name);
    for line in lines(child.stdout.take().context("no standard output")?) {
        reader.line(&line);
        said.add(&line);
    }
    let status = child.wait().with_context(|| format!("waiting for `{what}`"))?;
    drop(ended);
    let timed_out = deadline.join().unwrap_or(false);
    ensure!(drain.join().is_ok(), "reading what `{what}` says");
    let said = said.text.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = reader.rows;
    rows.extend(said.lines().find_map(guard::left_behind).map(|left| left_behind(name, left)));
    let failed = rows.iter().any(Row::failed);
    if !status.success() && !failed {
        // A program that did not build or crashed has no line of its own.
        let how = if timed_out { "it took too long and was ended" } else { "it ended by itself" };
        let detail = format!("{how}, with {status}\n{}", last_lines(&said, 40));
        rows.push(Row::failure(&format!("{name} runs to its end"), &detail));
    }
    for row in rows.iter_mut().filter(|row| row.failed()) {
        row.detail = format!("see {}\n{}", log.display(), row.detail);
    }
    let seconds = started.elapsed().as_secs_f64();
    let group = Group { name: format!("unit {name}"), seconds, scenarios: rows.len(), ..Group::default() };
    Ok((group, rows))
}

/// The failure of a program that left processes behind.
pub fn left_behind(name: &str, processes: &str) -> Row {
    Row::failure(&format!("{name} leaves no process behind"), processes)
}

/// What a program said so far; the log has it at once, also of a program that hangs.
struct Said {
    text: Mutex<String>,
    log: fs::File,
}

impl Said {
    fn add(&self, line: &str) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
        // A log that cannot be written is no failure of the test.
        let _ = writeln!(&self.log, "{line}");
    }
}

/// Lines of what a program prints, also of one that prints no UTF-8.
pub fn lines(output: impl Read) -> impl Iterator<Item = String> {
    let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
    lines.map(|line| String::from_utf8_lossy(&line).into_owned())
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
        self.rows.push(Row::new(&name, result, seconds, ""));
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
    fn test_has_the_seconds_that_it_took_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let test = |name: &str, seconds: &str| format!("sleep {seconds}; echo test {name} ... ok; ");
        command.args(["-c", &(test("a", "0") + &test("b", "0.4") + &test("c", "0"))]);
        let (group, rows) = watch("program", &mut command, &folder.path().join("log")).unwrap();
        let [a, b, c] = &rows[..] else { panic!("{rows:?}") };
        assert!(b.seconds >= 0.4, "{b:?}");
        assert!(a.seconds < 0.3 && c.seconds < 0.3, "b's time is in another row: {a:?} {c:?}");
        assert!(group.seconds >= b.seconds && group.scenarios == 3, "{group:?}");
    }

    #[test]
    fn program_that_leaves_a_process_fails_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo test a ... ok; echo 'left behind by the program: 7 (x)' >&2; exit 97"]);
        let (_, rows) = watch("leaks", &mut command, &folder.path().join("log")).unwrap();
        let rows: Vec<_> = rows.iter().map(|row| (&*row.name, row.result)).collect();
        assert_eq!(rows, [("leaks a", Outcome::Passed), ("leaks leaves no process behind", Outcome::Failed)]);
    }

    #[test]
    fn a_program_that_crashes_fails_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "printf '\\377\\n'; echo test a ... ok; echo crashed >&2; exit 9"]);
        let (_, rows) = watch("crashes", &mut command, &log).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].result, Outcome::Failed);
        assert!(rows[1].detail.contains("crashed"), "{:?}", rows[1]);
        assert!(fs::read_to_string(&log).unwrap().contains("test a ... ok"));
    }
}
