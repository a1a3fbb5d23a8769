//! `cargo os test`: the unit tests of the workspace and the behaviours of the booted image, in lanes beside each
//! other.
//!
//! The unit tests run here, the behaviours in the program `qemu-tests`. Both take tokens of one job server, so that no
//! more computes at a time than there are processors.

mod pending;
mod programs;
mod relay;
mod traces;
mod turns;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use jobserver::Client;
use qemu_tests::results::{Group, Outcome, Row, Shard};

use crate::summary::Summary;
use crate::{bench, build, guard, guest_tools, host, paths, peers, process};
use pending::Pending;
use programs::Program;
use relay::Relay;
use traces::Traces;
use turns::Turns;

/// What to test.
#[derive(Args)]
pub struct Options {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// List the tests, one a line, instead of running them; no image is built.
    #[arg(long)]
    list: bool,
    /// Only the unit tests; no image is built.
    #[arg(long, conflicts_with = "behaviours")]
    unit: bool,
    /// Only the behaviours of the booted image.
    #[arg(long)]
    behaviours: bool,
    /// Seed of what the tests choose at random, and of the order of the behaviours' chains; printed by each run.
    #[arg(long)]
    seed: Option<u64>,
    /// Give each behaviour a machine of its own, instead of one a chain.
    #[arg(long)]
    isolate: bool,
    /// Run only this part of the tests, for people who share them among machines: `2/3` is the second of three.
    #[arg(long, value_name = "I/N", default_value_t = Shard::WHOLE)]
    shard: Shard,
    /// How many tests that compute run beside each other [default: the number of processors].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Runs the tests; the exit code says whether all passed.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    host::ensure_test_tools(consent)?;
    if options.list {
        return list(options);
    }
    let folder = paths::output().join("test");
    fs::create_dir_all(&folder)?;
    // A run that breaks leaves none, rather than that of an earlier run, of which only the times are of use.
    let summary_file = folder.join("summary.json");
    if summary_file.exists() {
        fs::rename(&summary_file, last_summary())?;
    }
    if !options.unit {
        build::build(consent, locked)?;
        bench::write_image_sizes()?;
    }
    peers::assemble(locked)?;
    let programs::Compiled { tests: programs, behaviours } = programs::compile()?;
    let behaviours = if options.unit { None } else { Some(command_of(&behaviours)?) };
    let jobs = options.jobs.unwrap_or_else(processors).max(1);
    let tokens = Client::new(jobs).context("cannot make a job server")?;
    let turns = Turns::new(tokens.clone());
    let tests = &Tests { options, jobs, tokens, programs: &programs, summary: Mutex::default(), turns };
    let traces = Traces::now();
    thread::scope(|scope| {
        let units = (!options.behaviours).then(|| scope.spawn(|| tests.units()));
        let behaviours = behaviours.map(|command| scope.spawn(move || tests.behaviours(command, locked)));
        for done in units.into_iter().chain(behaviours) {
            let outcome = done.join().map_err(|_| anyhow::anyhow!("a thread panicked")).flatten();
            if let Err(error) = outcome {
                let row = Row::failure("the tests are run to the end", &format!("{error:#}"));
                tests.report(Group::of("run"), vec![row]);
            }
        }
    });
    tests.report(Group::of("run"), traces.left(&Traces::now()).into_iter().collect());
    let mut summary = std::mem::take(&mut *tests.summary.lock().unwrap_or_else(PoisonError::into_inner));
    summary.wall_s = started.elapsed().as_secs_f64();
    summary.lanes = jobs;
    summary.write(&summary_file)?;
    println!("\n{}", summary.table(options.filter.is_none() && options.shard == Shard::WHOLE));
    println!("Summary ({:.0} s, {})", summary.wall_s, summary_file.display());
    if !options.unit {
        bench::print_measurements()?;
    }
    print!("{}", summary.closing());
    if summary.results.tests.is_empty() {
        eprintln!("no test's name contains {:?}", options.filter.as_deref().unwrap_or_default());
    }
    let good = summary.count(Outcome::Failed) == 0 && summary.count(Outcome::Passed) > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the names of tests, unit tests as the summary has them.
fn list(options: &Options) -> Result<ExitCode> {
    let programs::Compiled { tests: programs, behaviours } = programs::compile()?;
    if !options.behaviours {
        units::list(&programs, options.filter.as_deref())?;
    }
    if !options.unit {
        let mut command = Command::new(behaviours);
        process::run(command.arg("--list").args(&options.filter))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The summary of the run before this one.
fn last_summary() -> PathBuf {
    paths::output().join("test/summary.last.json")
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A run of tests.
struct Tests<'a> {
    options: &'a Options,
    jobs: usize,
    tokens: Client,
    programs: &'a [Program],
    summary: Mutex<Summary>,
    /// Those of the unit tests.
    turns: Turns,
}

impl Tests<'_> {
    fn units(&self) -> Result<()> {
        let here: Vec<Program> = self.options.shard.share(self.programs).cloned().collect();
        units::run(&here, self.options.filter.as_deref(), &self.turns, &|group, rows| {
            self.report(group, rows)
        })
    }

    fn report(&self, group: Group, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let failed = rows.iter().filter(|row| row.failed());
        let names: Vec<&str> = failed.map(|row| row.name.as_str()).collect();
        let passed = rows.len() - names.len();
        let mut text =
            format!("-- {}: {:.0} s, {passed} of {} passed\n", group.name, group.seconds, rows.len());
        text.extend(names.iter().map(|name| format!("FAILED          {name}\n")));
        // At once, so that other threads' lines do not come between.
        print!("{text}");
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).add(group, rows);
    }

    /// Runs the behaviours' program, while the kernel that some of them need is built.
    fn behaviours(&self, command: Command, locked: bool) -> Result<()> {
        let pending = Pending::new(&paths::test_kernel())?;
        thread::scope(|scope| {
            let built = scope.spawn(move || {
                let _until_built = pending;
                build::test_kernel(locked)
            });
            let outcome = self.behaviours_program(command);
            let built = built.join().map_err(|_| anyhow::anyhow!("the kernel's thread panicked")).flatten();
            if let Err(error) = built {
                let row = Row::failure("the kernel that only tests boot is built", &format!("{error:#}"));
                self.report(Group::of("test kernel"), vec![row]);
            }
            outcome
        })
    }

    fn behaviours_program(&self, mut command: Command) -> Result<()> {
        let json = paths::output().join("test/behaviours.json");
        if json.exists() {
            fs::remove_file(&json)?;
        }
        command.arg("--json").arg(&json).arg("--bench-dir").arg(paths::output().join("bench"));
        command.args(["--jobs", &self.jobs.to_string()]);
        guest_tools::pass(&mut command, &for_guests(self.programs)?);
        if last_summary().exists() {
            command.arg("--times").arg(last_summary());
        }
        if let Some(seed) = self.options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        command.args(["--shard", &self.options.shard.to_string()]);
        if self.options.isolate {
            command.arg("--isolate");
        }
        command.args(&self.options.filter);
        let mut guarded = guard::command(&command);
        guarded.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.tokens.configure(&mut guarded);
        let mut child = guard::spawn(&mut guarded)?;
        let open = child.stdin.take();
        let output = child.stdout.take().context("no standard output")?;
        let errors = child.stderr.take().context("no standard error")?;
        let errors = thread::spawn(move || {
            let mut left = None;
            for line in units::lines(errors) {
                eprintln!("{line}");
                left = left.or_else(|| guard::left_behind(&line).map(str::to_owned));
            }
            left
        });
        let mut relay = Relay::default();
        // Its closing line counts behaviours alone.
        for line in units::lines(output).filter(|line| !line.ends_with(" failed, 0 skipped")) {
            if let Some(text) = relay.line(&line) {
                print!("{text}");
            }
        }
        print!("{}", relay.rest());
        let status = child.wait().context("waiting for the behaviours' program")?;
        drop(open);
        let left = errors.join().map_err(|_| anyhow::anyhow!("reading what the behaviours' program says"))?;
        self.turns.others_ended()?;
        let mut has_failures = false;
        if json.exists() {
            let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
            has_failures = summary.read(&json)?;
        }
        // A filter may be meant for unit tests alone.
        let may_be_none = self.options.filter.is_some() || self.options.shard != Shard::WHOLE;
        let none = may_be_none && status.code() == Some(qemu_tests::NOTHING_FITS.into());
        // A program that breaks off has told of the chains before it, perhaps of failures among them.
        let ended = match status.code() {
            Some(1) => has_failures,
            code => status.success() || code == Some(guard::LEFT_BEHIND.into()),
        };
        if let Some(left) = &left {
            self.report(Group::of("behaviours"), vec![units::left_behind("the behaviours' program", left)]);
        }
        if !ended && !none {
            let detail = format!("the program ended with {status}");
            let row = Row::failure("the behaviours of the booted image are run to the end", &detail);
            self.report(Group::of("behaviours"), vec![row]);
        }
        Ok(())
    }
}

/// Test programs that also run in a guest: their package, their name and what it is there.
const FOR_GUESTS: [[&str; 3]; 2] =
    [["netd", "kernel", "netd-kernel-tests"], ["containerd-shim-corten", "containerd", "shim-tests"]];

/// Those among the test programs.
fn for_guests(programs: &[Program]) -> Result<Vec<PathBuf>> {
    let keep = |[package, program, name]: &[&str; 3]| {
        guest_tools::keep(&programs::find(programs, package, program)?.path, name)
    };
    FOR_GUESTS.iter().map(keep).collect()
}

/// Compiles the test programs, and answers those that guests get.
pub fn programs_for_guests() -> Result<Vec<PathBuf>> {
    for_guests(&programs::compile()?.tests)
}

/// Builds the program of black-box tests and the agent for its guests; answers what runs it on the image.
pub fn behaviour_command() -> Result<Command> {
    process::compile(process::cargo().args(["build", "--quiet", "--locked", "--package", "qemu-tests"]))?;
    let me = std::env::current_exe().context("finding this program")?;
    // Both are built into the same folder by the same cargo.
    let program = me.with_file_name("qemu-tests");
    ensure!(program.exists(), "cargo built no {}", program.display());
    command_of(&program)
}

/// What runs the behaviours' program on the image.
fn command_of(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.env("CORTEN_IMAGE", paths::image()).env("CORTEN_TEST_KERNEL", paths::test_kernel());
    command.env("CORTEN_TEST_AGENT", guest_tools::agent()?);
    Ok(command)
}
