//! `corten`, the operator's console of a Corten switch.
//!
//! Without arguments it is a full-screen program for a terminal or an 80x24 serial line ([`tui`]); with
//! arguments it does one thing and exits ([`commands`]). It is also the login shell of the switch's
//! users, so it starts no program on their behalf ([`login`]).
//!
//! It may depend on `netd-api` and on no other crate of this workspace: all it knows of the switch comes
//! over the system bus ([`client`]), from the journal, and from `/proc` and `/etc/os-release`.
//! Start reading at [`cli`], which lists what it can do.

mod caret;
mod cli;
mod client;
mod commands;
mod complete;
mod document;
mod events;
mod journal;
mod login;
mod look;
mod man;
mod outcome;
mod pattern;
mod table;
mod tables;
mod target;
mod text;
mod timespan;
mod tui;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use outcome::{Exit, Outcome};
use tokio::task::LocalSet;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return print(&Outcome::failed(Exit::Refused, format!("corten: cannot start: {error}\n")));
        }
    };
    let outcome = runtime.block_on(LocalSet::new().run_until(run()));
    let code = print(&outcome);
    // The thread that reads the terminal sits in read(2) and would otherwise be waited for.
    runtime.shutdown_background();
    code
}

async fn run() -> Outcome {
    let words = match login::words(std::env::args_os().skip(1)) {
        Ok(words) => words,
        Err(message) => return Outcome::failed(Exit::Usage, format!("corten: {message}\n")),
    };
    if words.is_empty() {
        return interactive(None).await;
    }
    if let Ok(cli::Cli { command: cli::Command::Edit { .. } }) = cli::parse(&words)
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
    {
        return interactive(Some(&shell_words::join(&words))).await;
    }
    let context = commands::Context::of_process();
    commands::run_words(&words, &context).await
}

/// The screens, which need a terminal on both sides, beginning with a command where one is given.
async fn interactive(first: Option<&str>) -> Outcome {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Outcome::failed(
            Exit::Usage,
            "corten: the screens need a terminal; see `corten --help` for commands\n".into(),
        );
    }
    match tui::run(first).await {
        Ok(None) => Outcome::default(),
        Ok(Some(why)) => Outcome::failed(Exit::Refused, format!("corten: this session ends: {why}\n")),
        Err(error) => Outcome::failed(Exit::Refused, format!("corten: the terminal failed: {error}\n")),
    }
}

/// Prints an outcome and answers its exit status. A reader that went away (`corten show fdb | head`) is
/// no error.
fn print(outcome: &Outcome) -> ExitCode {
    let written = write_all(io::stdout().lock(), &outcome.out);
    // Nothing can be said where standard error itself fails.
    let _ = write_all(io::stderr().lock(), &outcome.err);
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "corten: cannot write: {error}");
            Exit::Refused.into()
        }
        _ => outcome.exit.into(),
    }
}

fn write_all(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}
