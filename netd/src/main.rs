//! The daemon's command line; see netd(8).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use netd::daemon::{self, DaemonError};
use netd::ended::{self, End};
use netd::engine::Paths;
use netd::store::Store;
use tracing_subscriber::EnvFilter;

/// Corten's network daemon: programs ports, VLANs and routes as /var/lib/corten/netd/startup.toml says.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Only check a configuration document, say what is wrong with it, and end
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Called by the service manager when netd has ended
    #[arg(long, hide = true)]
    ended: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.check {
        Some(path) => check(&path),
        None if arguments.ended => ended(),
        None => run(),
    }
}

/// Only what netd did to itself counts against its configuration: not who killed it, not a kernel or a driver that
/// did not answer. Only the service manager can tell them apart.
fn ended() -> ExitCode {
    let words = |name: &str| std::env::var(name).unwrap_or_default();
    let end = End { result: words("SERVICE_RESULT"), status: words("EXIT_STATUS") };
    if !end.is_crash(oom_of_own) {
        let paths = Paths::default();
        Store::new(&paths.startup, &paths.running).uncount_start();
    }
    ExitCode::SUCCESS
}

/// Whether netd's own cgroup reached its limit, rather than the whole switch its memory (memory.events,
/// Documentation/admin-guide/cgroup-v2.rst). Where that cannot be told, it did.
fn oom_of_own() -> bool {
    let group = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let events = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events"));
    events.map_or(true, |events| ended::reached_limit(&events))
}

/// Exit code 0 for a valid document, 1 for mistakes, 2 when it cannot be read.
fn check(path: &std::path::Path) -> ExitCode {
    let document = match std::fs::read_to_string(path) {
        Ok(document) => document,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    match netd_api::config::parse(&document) {
        Ok(_) => ExitCode::SUCCESS,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("{}:{mistake}", path.display());
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> ExitCode {
    let filter = EnvFilter::try_from_env("NETD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // The journal adds time and unit; colours would end up in it as escape sequences.
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("starting the event loop: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(daemon::run(Paths::default())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            match error {
                DaemonError::Panic => ExitCode::from(ended::PANIC_STATUS),
                DaemonError::Kernel(_) | DaemonError::System(_) => ExitCode::FAILURE,
            }
        }
    }
}
