//! `cargo os …`: builds the Corten image, boots it, tests it.
//!
//! It sees the product as a user does: files, serial line, frames. It may depend on `qemu-tests` (which
//! knows how to start the virtual switch and the hosts around it) and on libraries, on no other crate of
//! this workspace. Start reading at [`build`]: from the package list to the disk image, step by step.

mod apt;
mod base;
mod bench;
mod binaries;
mod build;
mod cache;
mod deb;
mod disk;
mod elf;
mod erofs;
mod grub;
mod guard;
mod guest_tools;
mod host;
mod inputs;
mod kernel;
mod layout;
mod manifest;
mod overlay;
mod packages;
mod paths;
mod peers;
mod process;
mod progress;
mod run;
mod sbom;
mod soak;
mod summary;
mod sysroot;
mod test;
mod unpack;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests Corten, the Linux distribution for white-box Ethernet switches.
#[derive(Parser)]
#[command(name = "cargo os", version, after_help = AFTER_HELP)]
struct Cli {
    /// Install missing host packages without asking.
    #[arg(long, short = 'y', global = true)]
    yes: bool,
    /// Fail where a pinned package version is no longer offered, instead of taking its successor.
    #[arg(long, global = true)]
    locked: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 success, 1 failure, 2 wrong usage.\n\
    Caches live under target/os and in $CORTEN_CACHE (default: the user's cache folder), keyed by content.";

#[derive(Subcommand)]
enum Command {
    /// Build the disk image, its manifest and its bill of materials into target/os.
    Build,
    /// Build the image and boot it under QEMU with its serial console in this terminal.
    Run(run::Options),
    /// Run every test: unit tests first, then the behaviours of the booted image.
    Test(test::Options),
    /// Measure, and write target/os/bench/NAME.json.
    Bench(bench::Options),
    /// Run the full counts of the long tests; an interrupted run goes on where it stopped.
    Soak(soak::Options),
    /// Run a program so that nothing is left of it; for the other commands.
    #[command(hide = true)]
    Guard {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Resolve the package lists anew and write os-image/packages.lock and os-image/peers.lock.
    Lock,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let consent = host::Consent { yes: cli.yes };
    let result = match cli.command {
        Command::Build => build::build(&consent, cli.locked).map(|_| ExitCode::SUCCESS),
        Command::Run(options) => run::run(&consent, cli.locked, &options),
        Command::Test(options) => test::run(&consent, cli.locked, &options),
        Command::Bench(options) => bench::run(&consent, cli.locked, &options),
        Command::Soak(options) => soak::run(&consent, cli.locked, &options),
        Command::Guard { words } => guard::run(&words),
        Command::Lock => build::lock(&consent).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
