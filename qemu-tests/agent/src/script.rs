//! Scripts, and processes that are killed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use corten_test_agent::protocol::Answer;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill as signal, killpg};
use nix::unistd::Pid;

/// The guest's shell.
const SHELL: [&str; 2] = ["/usr/bin/busybox", "sh"];
/// A file system that is always there and never read-only.
const SCRATCH: &str = "/run";
/// Longest script that goes as an argument (`MAX_ARG_STRLEN` is 128 KiB); longer ones go through a file.
const ARGUMENT_BYTES: usize = 100 * 1024;
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("TERM", "dumb"),
    ("LC_ALL", "C.UTF-8"),
];

/// Runs a script. What it leaves running in the background goes on, and may go on writing: only the script itself is
/// waited for.
pub fn run(id: u64, script: &str, timeout: Duration) -> Result<Answer> {
    let mut output = unnamed_file().context("cannot keep the output")?;
    let file = (script.len() > ARGUMENT_BYTES).then(|| format!("{SCRATCH}/corten-test-agent.{id}.sh"));
    let mut command = Command::new(SHELL[0]);
    command.arg(SHELL[1]).current_dir("/").env_clear().envs(ENVIRONMENT).process_group(0);
    match &file {
        Some(path) => {
            std::fs::write(path, script).with_context(|| format!("cannot write {path}"))?;
            command.arg(path);
        }
        None => {
            command.args(["-c", script]);
        }
    }
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
    let child = command.spawn().with_context(|| format!("cannot start {}", SHELL[0]))?;
    let ended = wait(child, timeout);
    if let Some(path) = file {
        // It is on a scratch file system; the next boot has none of it.
        let _ = std::fs::remove_file(path);
    }
    let (status, timed_out) = ended?;
    let mut bytes = Vec::new();
    output
        .seek(SeekFrom::Start(0))
        .and_then(|_| output.read_to_end(&mut bytes))
        .context("cannot read the output")?;
    Ok(Answer::Exited { status, timed_out, output: bytes })
}

/// A file without a name, which goes when it is closed.
fn unnamed_file() -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags((OFlag::O_TMPFILE | OFlag::O_APPEND).bits()).mode(0o600);
    options.open(SCRATCH)
}

/// Waits for a child; past the time-out its process group is killed. Answers its status, and whether that was so.
fn wait(mut child: Child, timeout: Duration) -> Result<(i32, bool)> {
    let group = Pid::from_raw(child.id() as i32);
    let (ended, end) = mpsc::channel();
    // A thread that waits, since a wait has no time-out.
    let waiter = thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let status = child.wait();
        // Nobody listens any more only when the agent itself ends.
        let _ = ended.send(());
        status
    });
    let waiter = waiter.context("cannot start a thread")?;
    let timed_out = end.recv_timeout(timeout).is_err();
    if timed_out {
        // It may have ended at this very moment.
        let _ = killpg(group, Signal::SIGKILL);
    }
    let status = waiter.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?;
    let status = status.context("cannot wait for the script")?;
    Ok((status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()), timed_out))
}

/// Kills a process; one that is gone is as good.
pub fn kill(pid: u32) -> Result<()> {
    match signal(Pid::from_raw(i32::try_from(pid).context("no process id")?), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot kill process {pid}")),
    }
}
