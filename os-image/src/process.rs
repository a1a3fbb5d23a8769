//! Running host programs: quiet when they succeed, with their last words when they fail.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guard;

/// The cargo that runs this program, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::paths::workspace());
    command
}

/// Runs a program to its end and answers its standard output; fails with the end of what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let what = describe(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{what}`"))?;
    check(&what, &output, LAST_LINES)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end for what it does.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program that may take long to its end, handing each line of its standard output to `see` as it comes. It does
/// not outlive this process.
pub fn lines(command: &Command, mut see: impl FnMut(&str)) -> Result<()> {
    let what = describe(command);
    let mut child = guard::spawn(guard::command(command).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    // Waiting would close its input, at whose end the guard ends it.
    let open = child.stdin.take();
    // Standard error is drained beside standard output, else a talkative program would block on it.
    let mut errors = child.stderr.take().context("no standard error")?;
    let drain = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = errors.read_to_end(&mut said);
        said
    });
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| see(&line));
    }
    let status = child.wait()?;
    drop(open);
    let stderr = drain.join().unwrap_or_default();
    check(&what, &Output { status, stdout: Vec::new(), stderr }, LAST_LINES)
}

/// Runs a compilation to its end; it does not outlive this process. Fails with the end of what it printed.
pub fn compile(command: &Command) -> Result<()> {
    check(&describe(command), &guard::output(command, Stdio::piped())?, 60)
}

/// Runs a compilation that tells of its progress on standard error, and answers the messages of cargo.
pub fn messages(command: &Command) -> Result<Vec<Value>> {
    let output = guard::output(command, Stdio::inherit())?;
    ensure!(output.status.success(), "`{}` failed ({})", describe(command), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A command line as a person would type it.
pub fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Of what a program said, so many lines tell why it failed.
const LAST_LINES: usize = 20;

fn check(what: &str, output: &Output, count: usize) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(count)..].join("\n  ");
    bail!("`{what}` failed ({})\n  {last}", output.status)
}
