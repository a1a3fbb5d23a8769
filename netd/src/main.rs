//! The daemon's command line; see netd(8).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use netd::daemon;
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

/// Somebody who kills netd is no crash: only the service manager can tell the two apart (systemd.exec(5),
/// `$SERVICE_RESULT`).
fn ended() -> ExitCode {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|text| text == value);
    if is("SERVICE_RESULT", "signal") && is("EXIT_STATUS", "KILL") {
        let paths = Paths::default();
        Store::new(&paths.startup, &paths.running).clear_starts();
    }
    ExitCode::SUCCESS
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
            ExitCode::FAILURE
        }
    }
}
