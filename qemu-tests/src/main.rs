//! `qemu-tests`: boots the built image and shows, behaviour by behaviour, what a user would see.
//!
//! Start reading at [`scenarios::all`], the list of behaviours. Each runs in a [`lab`]: one booted
//! machine that several behaviours share. [`runner`] boots the labs, runs what was chosen and reports.

mod lab;
mod runner;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Boots the Corten image under QEMU and checks what a user would see.
#[derive(Parser)]
#[command(name = "qemu-tests", version)]
struct Options {
    /// Run only behaviours whose name or machine contains this text.
    filter: Vec<String>,
    /// List the behaviours, one a line, and the machine each runs on.
    #[arg(long)]
    list: bool,
    /// Write the results to this file: an array of {name, result, seconds, detail}.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seed of payloads and choices; by default a new one, printed.
    #[arg(long)]
    seed: Option<u64>,
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
    /// Where measurements go [default: target/os/bench].
    #[arg(long, value_name = "FOLDER")]
    bench_dir: Option<PathBuf>,
    /// Where serial logs go [default: target/os/test/logs].
    #[arg(long, value_name = "FOLDER")]
    log_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let output = qemu_tests::machine::output_folder();
    let settings = runner::Settings {
        filters: options.filter,
        json: options.json,
        seed: options.seed.unwrap_or_else(qemu_tests::random::from_system),
        soak_folder: options.soak.then(|| options.soak_dir.unwrap_or_else(|| output.join("soak"))),
        bench: options.bench,
        tools: options.tool,
        bench_folder: options.bench_dir.unwrap_or_else(|| output.join("bench")),
        log_folder: options.log_dir.unwrap_or_else(|| output.join("test/logs")),
    };
    if options.list {
        runner::list(&settings);
        return ExitCode::SUCCESS;
    }
    match runner::run(&settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("qemu-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}
