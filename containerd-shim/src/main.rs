//! Corten's containerd shim, the runtime `io.containerd.corten.v1`: runs workloads whose interfaces are
//! switch ports.
//!
//! containerd starts `containerd-shim-corten-v1 … start`; that starts a server ([`action::serve`]), which
//! runs one task, and prints the server's address. `… delete` cleans up after a server that is gone.
//!
//! It depends on `netd-api` for the ports and on no other crate of this workspace. Start reading at
//! [`service`] (what containerd asks), then [`task`] (states and events), [`workload`] (what is run) and
//! [`port`] (how it gets its interfaces). [`sys`] is the only module with `unsafe`.

mod action;
mod args;
mod bootstrap;
mod bundle;
mod cgroup;
mod error;
mod events;
mod interface;
mod io;
mod log;
mod mount;
mod options;
mod port;
mod process;
mod reaper;
mod runtime;
mod service;
mod spec;
mod sys;
mod task;
mod workload;

use std::process::ExitCode;

use args::{Action, Args};
use error::{Context, Result};

fn main() -> ExitCode {
    let result = Args::parse(std::env::args().skip(1)).and_then(|args| match args.action {
        Action::Serve => action::serve::run(&args),
        Action::Start => action::start::run(&args),
        Action::Delete => action::delete::run(&args),
        Action::Info => action::info::run(),
        Action::Version => {
            println!("containerd-shim-corten-v1 {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("containerd-shim-corten-v1: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A name nobody else has, 32 hexadecimal digits.
fn random_name() -> Result<String> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .context(|| "get random bytes".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
