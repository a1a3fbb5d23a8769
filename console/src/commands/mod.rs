//! The one-shot commands. Each reads what it needs, and answers an [`Outcome`] without printing it, so that the
//! screens can run them too; they refuse the two that go on and print as they do, `events` and `log --follow`.

mod apply;
pub mod change;
mod check;
mod comparison;
mod config;
mod diff;
mod events;
mod generations;
mod log;
mod probe;
mod risks;
mod show;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::cli::{self, Command};
use crate::client::{self, Netd};
use crate::document::Sources;
use crate::look::Look;
use crate::outcome::{Exit, Outcome};

pub use risks::user;
pub use show::{PROTOCOLS, hostname};

/// How long netd may take for one call. Applying a large document reprograms the whole switch.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a command runs.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Terminal columns tables are cut to; `None` leaves them whole, for programs.
    pub width: Option<usize>,
    /// Look of standard output.
    pub look: Look,
    /// Look of standard error.
    pub error_look: Look,
    /// Where documents may come from.
    pub sources: Sources,
}

impl Context {
    /// The context of this process: what its standard output and standard error are.
    pub fn of_process() -> Context {
        let look = Look::of_stdout();
        let width = std::io::stdout().is_terminal().then(|| {
            let (columns, _) = crate::tui::window_size().unwrap_or(crate::tui::DEFAULT_SIZE);
            usize::from(columns)
        });
        let error_look = if std::io::stderr().is_terminal() { Look::of_environment() } else { Look::PLAIN };
        Context { width, look, error_look, sources: Sources::Any }
    }
}

impl Context {
    /// Whether a command may print by itself, before it ends: not on the screens.
    pub fn prints(&self) -> bool {
        self.sources == Sources::Any
    }
}

/// Runs the command these words name.
pub async fn run_words(words: &[String], context: &Context) -> Outcome {
    match cli::parse(words) {
        Ok(cli) => run(cli.command, context).await,
        Err(error) => {
            let text = crate::text::clean_lines(&error.render().to_string());
            match error.use_stderr() {
                true => Outcome::failed(Exit::Usage, text),
                false => Outcome::done(text),
            }
        }
    }
}

async fn run(command: Command, context: &Context) -> Outcome {
    let done = match command {
        Command::Show(what) => show::run(what, context).await,
        Command::Check { file, json, anew: _ } => check::run(&file, json, context).await,
        Command::Diff { file, with, json, anew: _ } => diff::run(&file, with, json, context).await,
        Command::Apply { file, base, force, confirm, if_same, no_confirm, comment, timeout, anew: _ } => {
            let confirm = apply::Confirm::of(confirm, no_confirm, if_same);
            let base = apply::Base::of(base, force);
            apply::run(&file, apply::Change { base, confirm, force, comment }, timeout, context).await
        }
        Command::Confirm { force } => generations::confirm(force, context).await,
        Command::TakeBack { comment } => generations::take_back(comment).await,
        Command::Rollback { generation, force, confirm, if_same, no_confirm, comment } => {
            let confirm = apply::Confirm::of(confirm, no_confirm, if_same);
            let request = generations::RollBack::new(generation, confirm, force, comment);
            generations::roll_back(request, context).await
        }
        Command::History { format } => generations::history(format, context).await,
        Command::Config { generation, json } => config::run(generation, json, context).await,
        Command::Events { ports, count, json } => {
            events::run(events::Request { ports, count, json }, context).await
        }
        Command::Ping { address, vrf, count, json } => {
            probe::ping(probe::Probe { address, vrf, json }, count, context).await
        }
        Command::Traceroute { address, vrf, hops, json } => {
            probe::traceroute(probe::Probe { address, vrf, json }, hops, context).await
        }
        Command::Completion { shell } => Ok(completion(shell)),
        Command::Log(log) => log::run(log, context).await,
        Command::Edit { .. } => Ok(edit_needs_screens()),
        Command::Man { page } => Ok(crate::man::run(page.as_deref(), context)),
    };
    match done {
        // `corten show fdb | head` has what it wanted.
        Err(client::Error::ReaderGone) => Outcome::default(),
        done => done.unwrap_or_else(Outcome::from),
    }
}

/// What `corten edit` answers where there is no terminal for the screens.
fn edit_needs_screens() -> Outcome {
    let words = "corten: the editor is on the screens: `:edit` there, or `ssh -t ana@switch edit`\n";
    Outcome::failed(Exit::Usage, words.to_owned())
}

fn completion(shell: cli::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut cli::tree(), "corten", &mut script);
    Outcome::done(String::from_utf8_lossy(&script).into_owned())
}

async fn connect() -> Result<Netd, client::Error> {
    connect_for(CALL_TIMEOUT).await
}

/// A connection whose calls give up after this time.
async fn connect_for(timeout: Duration) -> Result<Netd, client::Error> {
    Netd::connect(timeout).await
}

/// What a user reads when netd refuses a change.
fn refusal(error: client::Error) -> Result<String, client::Error> {
    Ok(match error {
        client::Error::Denied(text) => format!(
            "corten: not allowed: {text}\nA change needs the role admin, and a key the configuration has.\n"
        ),
        error @ client::Error::Unreachable(_) => return Err(error),
        error => format!("corten: {error}\n"),
    })
}

/// Waits until whoever reads standard output goes away; where nothing is printed for long, writing would not tell.
async fn reader_gone() {
    let watch = || {
        let out = io::stdout();
        // No events are asked for: hang-ups and errors are told anyway (poll(2)).
        let mut watched = [PollFd::new(out.as_fd(), PollFlags::empty())];
        while poll(&mut watched, PollTimeout::NONE) == Err(Errno::EINTR) {}
    };
    // The thread is not waited for at the end.
    let _ = tokio::task::spawn_blocking(watch).await;
}

/// A value as JSON for programs.
fn json(value: &impl Serialize) -> Result<Outcome, client::Error> {
    let text = serde_json::to_string_pretty(value).map_err(no_json)?;
    Ok(Outcome::done(escape(&text) + "\n"))
}

/// Prints text now: what waits in a buffer is of no use to whoever watches.
fn print_now(text: &str) -> Result<(), client::Error> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        // `corten show routes | head` is done.
        io::ErrorKind::BrokenPipe => client::Error::ReaderGone,
        _ => client::Error::Failed(format!("cannot write: {error}")),
    })
}

/// A value as JSON on one line.
fn json_line(value: &impl Serialize) -> Result<String, client::Error> {
    Ok(escape(&serde_json::to_string(value).map_err(no_json)?))
}

fn no_json(error: serde_json::Error) -> client::Error {
    client::Error::Failed(format!("cannot write JSON: {error}"))
}

/// Escapes control characters that JSON leaves as they are (DEL and C1): the reader may be a terminal.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Context =
        Context { width: None, look: Look::PLAIN, error_look: Look::PLAIN, sources: Sources::Any };

    async fn run(line: &str) -> Outcome {
        run_words(&crate::login::split(line).unwrap(), &PLAIN).await
    }

    #[tokio::test]
    async fn wrong_usage_is_told_apart_from_help() {
        assert_eq!(run("shwo ports").await.exit, Exit::Usage);
        assert_eq!(run("show vlans 4095").await.exit, Exit::Usage);
        assert_eq!(run("check").await.exit, Exit::Usage);
        let help = run("--help").await;
        assert_eq!((help.exit, help.err.as_str()), (Exit::Done, ""));
        assert!(help.out.contains("Exit status: 0 done"));
    }

    #[tokio::test]
    async fn completion_scripts_exist_for_three_shells() {
        for shell in ["bash", "zsh", "fish"] {
            let script = run(&format!("completion {shell}")).await;
            assert_eq!(script.exit, Exit::Done);
            assert!(script.out.contains("neighbours"), "{shell}");
        }
    }

    #[test]
    fn json_does_not_carry_terminal_controls() {
        let outcome = json(&["\u{9b}2J\x1b[2J\x7f"]).unwrap();
        assert_eq!(outcome.out, "[\n  \"\\u009b2J\\u001b[2J\\u007f\"\n]\n");
    }
}
