//! What the console says when the partition that holds the configuration is not mounted: then a switch
//! without configuration is no new one, and what was set up would be gone with the next start.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pause};

use super::terminal::Terminal;

/// Where the partition belongs.
pub const MOUNT_POINT: &str = "/var/lib/corten";
/// The units whose messages tell why it is not there, as systemd names them for /etc/fstab.
const UNITS: [&str; 3] = [
    "var-lib-corten.mount",
    "systemd-fsck@dev-disk-by\\x2dpartlabel-config.service",
    "dev-disk-by\\x2dpartlabel-config.device",
];
const MAX_REASONS: &str = "8";
/// Longest line of a reason that is shown, in characters.
const MAX_REASON: usize = 300;

const WHAT: &str = "
The configuration partition could not be mounted.

This switch runs without its configuration: it forwards nothing, has no users,
and keeps no new configuration. Nobody can log in, and nothing is set up here
until the partition is back.

The system says:
";

const WHAT_TO_DO: &str = "
Enter restarts the switch, which tries again. If that does not help, boot the
other slot (press Esc as soon as the boot loader starts), or install the switch
anew, through ONIE or with the disk image.
";

/// Says what is wrong, and restarts the switch when Enter is pressed.
pub fn run(root: &Path) -> Result<()> {
    let terminal = Terminal::open()?;
    let restart = ask(io::stdin().lock(), io::stdout(), &reasons(root));
    drop(terminal);
    if !restart.context("cannot talk to the terminal")? {
        bail!("the terminal hung up");
    }
    if root != Path::new("/") {
        return Ok(());
    }
    // As Ctrl-Alt-Del would: systemd(1) starts ctrl-alt-del.target, which is the orderly restart.
    kill(Pid::from_raw(1), Signal::SIGINT).context("cannot ask systemd for a restart")?;
    loop {
        // To end is to make room for the login prompt; the restart ends this program.
        pause();
    }
}

/// Answers whether Enter was pressed; `false` is the end of input.
fn ask(mut input: impl BufRead, mut output: impl Write, reasons: &[String]) -> io::Result<bool> {
    writeln!(output, "{WHAT}")?;
    for reason in reasons {
        writeln!(output, "    {reason}")?;
    }
    write!(output, "{WHAT_TO_DO}\nPress Enter to restart: ")?;
    output.flush()?;
    loop {
        let typed = input.fill_buf()?;
        let (length, enter) = (typed.len(), typed.iter().any(|byte| b"\r\n".contains(byte)));
        input.consume(length);
        if enter || length == 0 {
            writeln!(output)?;
            return Ok(enter);
        }
    }
}

/// The last lines of the journal about the partition.
fn reasons(root: &Path) -> Vec<String> {
    if root != Path::new("/") {
        return Vec::new();
    }
    let mut journal = Command::new("journalctl");
    journal.args(["--boot", "--quiet", "--no-pager", "--output=cat", "--lines", MAX_REASONS]);
    journal.args(UNITS.iter().flat_map(|unit| ["--unit", unit])).stdin(Stdio::null());
    match journal.output() {
        Ok(output) => shown(&String::from_utf8_lossy(&output.stdout)),
        Err(error) => vec![format!("(cannot read the journal: {error})")],
    }
}

/// Lines as a terminal may get them: what a damaged partition has for a name is not for it to interpret.
fn shown(text: &str) -> Vec<String> {
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect::<String>();
    let lines: Vec<String> = text.lines().map(plain).filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() { vec!["(the journal says nothing about it)".to_owned()] } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_tells_what_is_wrong_and_waits_for_enter() {
        let reasons = shown("mount: wrong fs type\x1b[2J\n\n");
        let mut said = Vec::new();
        assert!(ask(&b"what?\x03\n"[..], &mut said, &reasons).unwrap());
        let said = String::from_utf8(said).unwrap();
        for part in ["could not be mounted", "    mount: wrong fs type[2J\n", "Nobody can log in", "ONIE"] {
            assert!(said.contains(part), "{part} is missing in:\n{said}");
        }
        assert!(said.lines().all(|row| row.chars().count() < 80));
    }

    #[test]
    fn a_terminal_that_is_gone_restarts_nothing() {
        assert!(!ask(&b"no line end"[..], io::sink(), &[]).unwrap());
    }

    #[test]
    fn an_empty_journal_is_said_to_be_empty() {
        assert_eq!(shown("\n").len(), 1);
    }
}
