//! `cargo os test`: the unit tests of the workspace, then the behaviours of the booted image.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use crate::summary::{Outcome, Row, Summary};
use crate::{bench, build, guest_tools, host, paths, process};

/// What to test.
#[derive(Args)]
pub struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Only the unit tests; no image is built.
    #[arg(long, conflicts_with = "behaviours")]
    unit: bool,
    /// Only the behaviours of the booted image.
    #[arg(long)]
    behaviours: bool,
    /// Seed of what the tests choose at random; printed by each run.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the tests; the exit code says whether all passed.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    host::ensure_test_tools(consent)?;
    let folder = paths::output().join("test");
    fs::create_dir_all(&folder)?;
    let mut summary = Summary::default();
    if !options.behaviours {
        unit_tests(options, &mut summary)?;
    }
    if !options.unit {
        build::build(consent, locked)?;
        build::test_kernel(locked)?;
        bench::write_image_sizes()?;
        behaviours(options, &mut summary)?;
    }
    summary.write(&folder.join("summary.json"))?;
    println!("\nSummary ({} s, {})", started.elapsed().as_secs(), folder.join("summary.json").display());
    if !options.unit {
        bench::print_measurements()?;
    }
    print!("{}", summary.closing());
    let good = summary.count(Outcome::Failed) == 0 && summary.count(Outcome::Passed) > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// cargo's setting for people who are not root: the shim's test programs run containers, which needs root,
/// and go through sudo; all others do without.
const RUNNER: &str = r#"target.'cfg(unix)'.runner = ["sh", "-c", "case $1 in */deps/containerd*) exec sudo -- \"$@\" ;; *) exec \"$@\" ;; esac", "sh"]"#;

/// Runs `cargo test` and reads its lines: one row a test, named crate and path.
fn unit_tests(options: &Options, summary: &mut Summary) -> Result<()> {
    println!("Unit tests");
    let mut command = process::cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if !nix::unistd::geteuid().is_root() {
        println!("  the shim's tests run containers: they go through sudo, which may ask for your password");
        command.args(["--config", RUNNER]);
    }
    if let Some(filter) = &options.filter {
        command.args(["--", filter.as_str()]);
    }
    // cargo names the test programs on standard error, between their lines on standard output.
    let mut shell = Command::new("sh");
    shell.current_dir(paths::workspace()).args(["-c", "exec \"$@\" 2>&1", "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    let mut reader =
        UnitReader { rows: Vec::new(), suite: String::new(), output: String::new(), last: Instant::now() };
    let ended = process::lines(&mut shell, |line| reader.line(line));
    let log = paths::output().join("test/unit.log");
    fs::write(&log, &reader.output)?;
    let failed = reader.rows.iter().any(|row| row.result == Outcome::Failed);
    if ended.is_err() && !failed {
        // A test program that did not build or crashed has no line of its own.
        reader.rows.push(Row {
            name: "the workspace's tests build and run".into(),
            result: Outcome::Failed,
            seconds: 0.0,
            detail: format!("see {}\n{}", log.display(), last_lines(&reader.output, 40)),
        });
    }
    for row in reader.rows.iter_mut().filter(|row| row.result == Outcome::Failed && row.detail.is_empty()) {
        row.detail = format!("see {}", log.display());
    }
    summary.rows.append(&mut reader.rows);
    Ok(())
}

struct UnitReader {
    rows: Vec<Row>,
    suite: String,
    output: String,
    last: Instant,
}

impl UnitReader {
    fn line(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        let trimmed = line.trim();
        if let Some(suite) = trimmed.strip_prefix("Running ").or_else(|| trimmed.strip_prefix("Doc-tests ")) {
            self.suite = suite_name(suite);
            self.last = Instant::now();
            return;
        }
        if let Some(row) = self.row(trimmed) {
            if row.result == Outcome::Failed {
                println!("FAILED  {}", row.name);
            }
            self.rows.push(row);
        } else if let Some(result) = trimmed.strip_prefix("test result: ") {
            if !result.contains(" 0 passed; 0 failed; 0 ignored") {
                println!("  {:<32} {}", self.suite, result.split("; 0 measured").next().unwrap_or(result));
            }
        } else if trimmed.starts_with("error") || trimmed.starts_with("warning: unused") {
            println!("{line}");
        }
    }

    fn row(&mut self, line: &str) -> Option<Row> {
        let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        let result = match result {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            _ if result.starts_with("ignored") => Outcome::Skipped,
            _ => return None,
        };
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        Some(Row { name: format!("{} {name}", self.suite), result, seconds, detail: String::new() })
    }
}

/// `unittests src/lib.rs (target/debug/deps/netd_api-0123)` is the suite `netd_api`.
fn suite_name(text: &str) -> String {
    let program = text.rsplit_once('(').map_or(text, |(_, path)| path.trim_end_matches(')'));
    let file = program.rsplit('/').next().unwrap_or(program);
    file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Builds the program of black-box tests and answers where it is.
pub fn behaviour_program() -> Result<PathBuf> {
    process::run(process::cargo().args(["build", "--quiet", "--locked", "--package", "qemu-tests"]))?;
    let me = std::env::current_exe().context("finding this program")?;
    // Both are built into the same folder by the same cargo.
    Ok(me.with_file_name("qemu-tests"))
}

fn behaviours(options: &Options, summary: &mut Summary) -> Result<()> {
    println!("\nBehaviours of the booted image");
    let json = paths::output().join("test/behaviours.json");
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let mut command = Command::new(behaviour_program()?);
    command.arg("--json").arg(&json).arg("--bench-dir").arg(paths::output().join("bench"));
    command.env("CORTEN_IMAGE", paths::image()).env("CORTEN_TEST_KERNEL", paths::test_kernel());
    let kernel_room = ["test", "--package", "netd", "--test", "kernel"];
    guest_tools::pass(&mut command, &guest_tools::build(&kernel_room, "kernel", "netd-kernel-tests")?);
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(filter) = &options.filter {
        command.arg(filter);
    }
    let status = command.status().context("starting the behaviours' program")?;
    let before = summary.rows.len();
    if json.exists() {
        summary.read_rows(&json)?;
    }
    let told = summary.rows[before..].iter().any(|row| row.result == Outcome::Failed);
    if !status.success() && !told {
        summary.rows.push(Row {
            name: "the behaviours of the booted image are run to the end".into(),
            result: Outcome::Failed,
            seconds: 0.0,
            detail: format!("the program ended with {status}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str) -> UnitReader {
        let mut reader = UnitReader {
            rows: Vec::new(),
            suite: String::new(),
            output: String::new(),
            last: Instant::now(),
        };
        text.lines().for_each(|line| reader.line(line));
        reader
    }

    #[test]
    fn a_test_line_becomes_a_row_of_its_suite() {
        let reader = read(
            "     Running unittests src/lib.rs (target/debug/deps/netd_api-01ab)\ntest config::x ... ok\n",
        );
        assert_eq!(reader.rows[0].name, "netd_api config::x");
        assert_eq!(reader.rows[0].result, Outcome::Passed);
    }

    #[test]
    fn an_ignored_test_is_a_skipped_one_and_a_failed_one_failed() {
        let reader = read("test a ... ignored, needs more\ntest b ... FAILED\n");
        assert_eq!(reader.rows[0].result, Outcome::Skipped);
        assert_eq!(reader.rows[1].result, Outcome::Failed);
    }

    #[test]
    fn only_the_shims_tests_go_through_sudo() {
        let folder = std::env::temp_dir().join(format!("corten-sudo-{}", std::process::id()));
        fs::create_dir_all(folder.join("deps")).unwrap();
        let script = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        script("sudo", "shift; echo through sudo; exec \"$@\"");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let settings: toml::Table = RUNNER.parse().unwrap();
        let runner = settings["target"]["cfg(unix)"]["runner"].as_array().unwrap();
        let words: Vec<&str> = runner.iter().map(|word| word.as_str().unwrap()).collect();
        for (name, said) in [
            ("containerd-01ab", "through sudo\na b\n"),
            ("containerd_shim_corten_v1-01ab", "through sudo\na b\n"),
            ("netd-01ab", "a b\n"),
        ] {
            let program = script(&format!("deps/{name}"), "echo \"$1\"");
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg(program).arg("a b").env("PATH", &path);
            assert_eq!(process::output(&mut command).unwrap(), said, "{name}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
