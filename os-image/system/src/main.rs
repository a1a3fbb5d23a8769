//! `corten-system`: what the switch does as root besides forwarding. It takes the first configuration
//! ([`provision`]) or asks for it on the serial console ([`setup`]), makes host keys ([`host_keys`]), keeps
//! the journals together ([`journal`]), and renders host name, users and the management network from the
//! running configuration ([`render`]).
//!
//! It depends on netd-api and libraries, on no other crate of this workspace. It never touches switch
//! ports: those are netd's. Start reading at [`Command`].

mod files;
mod host_keys;
mod journal;
mod notify;
mod provision;
mod render;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// First configuration, set-up dialog, users and management network of a Corten switch.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Folder that stands for the root of the file system, for tests.
    #[arg(long, global = true, hide = true, default_value = "/")]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Takes the credential `corten.config` as the first configuration.
    ///
    /// Does nothing once the switch has a configuration. A credential that is not valid is refused with
    /// every mistake at its line and column; nothing is written then.
    Provision,
    /// Makes the SSH host keys, unless they are there.
    HostKeys,
    /// Gives the journals of an earlier machine id to this one.
    Journal,
    /// Asks for the first configuration on the terminal.
    ///
    /// Standard input and output are the serial console of a switch without configuration.
    Setup,
    /// Renders host name, users and management network from the running configuration.
    Render {
        /// Goes on watching, and renders again whenever the running configuration or the state of the
        /// management network changes.
        #[arg(long)]
        watch: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = arguments.root.as_path();
    let outcome = match arguments.command {
        Command::Provision => provision::run(root),
        Command::HostKeys => host_keys::run(root),
        Command::Journal => journal::run(root),
        Command::Setup => setup::run(root),
        Command::Render { watch: false } => render::once(root),
        Command::Render { watch: true } => render::watch(root),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("corten-system: {error:#}");
            ExitCode::FAILURE
        }
    }
}
