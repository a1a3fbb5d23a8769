//! `qemu-tests`: boots the built image and shows, behaviour by behaviour, what a user would see.
//!
//! Start reading at [`scenarios::all`], the list of behaviours. Each runs on a [`lab`], a machine that was booted or
//! cloned, which those of a file share. [`runner`] makes the machines, runs what was chosen and reports.

mod lab;
mod runner;
mod scenarios;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use corten_test_peer::PeerRoot;
use qemu_tests::results::{Results, Shard};
use qemu_tests::run_folder::RunFolder;
use qemu_tests::tools::Tool;

/// Boots the Corten image under QEMU and checks what a user would see.
#[derive(Parser)]
#[command(name = "qemu-tests", version, after_help = AFTER_HELP)]
struct Options {
    /// Run only behaviours whose name, file or machine contains this text, in capitals or not.
    filter: Vec<String>,
    /// List the behaviours, one a line, and the machine each runs on.
    #[arg(long)]
    list: bool,
    /// Write the results to this file: {groups: […], tests: [{name, result, seconds, detail}]}.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Results of an earlier run: the chains that took longest then begin first. Without it, those that are said to
    /// take longest.
    #[arg(long, value_name = "FILE")]
    times: Option<PathBuf>,
    /// Seed of payloads, of choices and of the order of chains; by default a new one, printed, and the longest chain
    /// first.
    #[arg(long)]
    seed: Option<u64>,
    /// Give each behaviour a machine of its own, instead of one a chain.
    #[arg(long)]
    isolate: bool,
    /// Run only this part of the chains, for people who share them among machines: `2/3` is the second of three.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,
    /// How many chains that compute run beside each other [default: the number of processors].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Run only the long runs, in full; --list --soak names them. One that was interrupted goes on.
    #[arg(long)]
    soak: bool,
    /// Where the progress of long runs is kept [default: target/os/soak].
    #[arg(long, value_name = "FOLDER", requires = "soak")]
    soak_dir: Option<PathBuf>,
    /// Run only the measurements of netd in the guest.
    #[arg(long, conflicts_with = "soak")]
    bench: bool,
    /// A program of this host that is needed in the guest; may be repeated.
    #[arg(long, value_name = "PROGRAM")]
    tool: Vec<PathBuf>,
    /// A program of the root of peers, by its path there, that is needed in the guest; may be repeated.
    #[arg(long, value_name = "PROGRAM")]
    peer: Vec<PathBuf>,
    /// Where measurements go [default: target/os/bench].
    #[arg(long, value_name = "FOLDER")]
    bench_dir: Option<PathBuf>,
    /// Where serial logs go [default: target/os/test/logs].
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
}

const AFTER_HELP: &str = "Exit codes: 0 all passed, 1 some failed, 2 wrong usage, 3 no behaviour fits.\n\
    $CORTEN_ACCEL (kvm or tcg) decides what runs the guests; otherwise KVM is tried, and QEMU's translator taken where it \
    does not work.";

fn main() -> ExitCode {
    // SAFETY: nothing was opened yet, so that the descriptors named in the environment are those we were started with.
    let tokens = unsafe { jobserver::Client::from_env() };
    let options = Options::parse();
    let output = qemu_tests::machine::output_folder();
    let tools = match tools(&options) {
        Ok(tools) => tools,
        Err(error) => {
            eprintln!("qemu-tests: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let settings = runner::Settings {
        filters: options.filter,
        json: options.json,
        times: options.times.as_deref().map(earlier_times).unwrap_or_default(),
        seed: options.seed,
        soak_folder: options.soak.then(|| options.soak_dir.unwrap_or_else(|| output.join("soak"))),
        bench: options.bench,
        isolate: options.isolate,
        shard: options.shard,
        jobs: options.jobs.unwrap_or(processors).max(1),
        tokens,
        tools,
        bench_folder: options.bench_dir.unwrap_or_else(|| output.join("bench")),
        log_folder: options.log_dir.unwrap_or_else(|| output.join("test/logs")),
    };
    if options.list {
        runner::list(&settings);
        return ExitCode::SUCCESS;
    }
    match in_a_folder(|| runner::run(&settings)) {
        Ok(Some(true)) => ExitCode::SUCCESS,
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => ExitCode::from(qemu_tests::NOTHING_FITS),
        Err(error) => {
            eprintln!("qemu-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The programs that guests get.
fn tools(options: &Options) -> Result<Vec<Tool>> {
    let mut tools: Vec<Tool> = options.tool.iter().map(|program| Tool::of_host(program)).collect();
    if !options.peer.is_empty() {
        let root = PeerRoot::find()?;
        tools.extend(options.peer.iter().map(|path| Tool::of_peers(&root, path)));
    }
    Ok(tools)
}

/// How long the behaviours of an earlier run took, in seconds. Only the order depends on it: a file that cannot be
/// read is no reason not to test.
fn earlier_times(file: &Path) -> BTreeMap<String, f64> {
    let read = || -> Result<Results> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
    let results = read().unwrap_or_else(|error| {
        eprintln!("qemu-tests: no times of an earlier run in {}: {error:#}", file.display());
        Results::default()
    });
    results.tests.into_iter().map(|row| (row.name, row.seconds)).collect()
}

/// Does something whose temporary files are gone afterwards, however it ends.
fn in_a_folder<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _folder = RunFolder::new()?;
    work()
}
