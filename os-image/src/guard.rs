//! Runs a program so that nothing is left of it: no process it started, no temporary file, no mount.
//!
//! The guard is the program's parent and the adoptive parent of whatever it leaves behind. It ends all of them when
//! the program ends, and also when whoever started the guard is gone, which it sees by the end of a pipe. Processes
//! that a program left when it ended by itself are a fault of the program: the guard names them on standard error, and
//! they turn success into [`LEFT_BEHIND`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::parent_id;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

/// This program, also when cargo has put another in its place meanwhile.
const ITSELF: &str = "/proc/self/exe";
/// Exit code in place of success where the program left processes behind, and what the line that names them begins
/// with.
pub const LEFT_BEHIND: u8 = 97;
const LEFT_BEHIND_LINE: &str = "left behind by the program: ";
/// How long processes may take to end by themselves once the program has ended.
const GRACE: Duration = Duration::from_secs(3);
/// How long processes that were killed may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The variable that names a folder in main memory, for tests whose files are to be on their disk at once.
const MEMORY: &str = "CORTEN_TEST_MEMORY";

/// How the names of folders begin that guards make which a process started.
pub fn prefix(pid: u32) -> String {
    format!("corten-{pid}-")
}

/// Such a folder, where this host has any.
fn memory_folder() -> Option<TempDir> {
    tempfile::Builder::new().prefix(&prefix(parent_id())).tempdir_in("/dev/shm").ok()
}

/// A command that runs a program under guard. Its standard input must stay open for as long as it is to run: see
/// [`spawn`].
pub fn command(program: &Command) -> Command {
    let mut guarded = Command::new(ITSELF);
    guarded.arg("guard").arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(folder) = program.get_current_dir() {
        guarded.current_dir(folder);
    }
    guarded
}

/// Starts such a command. It is not reached by what the terminal sends: it ends when this process does.
pub fn spawn(command: &mut Command) -> Result<Child> {
    let what = crate::process::describe(command);
    command.stdin(Stdio::piped()).process_group(0);
    command.spawn().with_context(|| format!("starting `{what}`"))
}

/// Runs a program under guard to its end.
pub fn status(program: &Command) -> Result<ExitStatus> {
    let mut child = spawn(&mut command(program))?;
    // Waiting would close its input.
    let open = child.stdin.take();
    let status = child.wait().with_context(|| format!("waiting for `{}`", crate::process::describe(program)));
    drop(open);
    status
}

/// The same; answers what it printed, too, of its errors only where they are piped.
pub fn output(program: &Command, errors: Stdio) -> Result<Output> {
    let mut child = spawn(command(program).stdout(Stdio::piped()).stderr(errors))?;
    let open = child.stdin.take();
    let what = crate::process::describe(program);
    let output = child.wait_with_output().with_context(|| format!("waiting for `{what}`"));
    drop(open);
    output
}

/// The processes that a line of the guard's names, if it is about those left behind.
pub fn left_behind(line: &str) -> Option<&str> {
    line.strip_prefix(LEFT_BEHIND_LINE)
}

/// The guard itself: runs a command line.
pub fn run(command_line: &[OsString]) -> Result<ExitCode> {
    prctl::set_child_subreaper(true).context("cannot adopt processes")?;
    let scratch = tempfile::Builder::new().prefix(&prefix(parent_id())).tempdir();
    let scratch = scratch.context("no temporary folder")?;
    let memory = memory_folder();
    let (program, arguments) = command_line.split_first().context("no program was named")?;
    let mut command = Command::new(program);
    command.args(arguments).env("TMPDIR", scratch.path()).stdin(Stdio::null());
    match &memory {
        Some(memory) => command.env(MEMORY, memory.path()),
        None => command.env_remove(MEMORY),
    };
    let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
    let child = Pid::from_raw(child.id() as i32);

    let (gone, is_gone) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut rest = Vec::new();
        // An error ends it as well as the end.
        let _ = std::io::stdin().read_to_end(&mut rest);
        let _ = gone.send(());
    });
    let status = wait(child, &is_gone)?;
    let left = if status.is_some() { leftovers()? } else { Vec::new() };
    if !left.is_empty() {
        eprintln!("{LEFT_BEHIND_LINE}{}", left.join(", "));
    }
    let ended = end_descendants();
    for folder in std::iter::once(scratch).chain(memory) {
        if let Err(error) = unmount_below(folder.path()) {
            // What is still mounted must not be removed with the folder.
            let _ = folder.keep();
            return Err(error);
        }
        folder.close().context("removing temporary files")?;
    }
    ended?;
    let code = status.map_or(1, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
    let code = u8::try_from(code).unwrap_or(1);
    Ok(ExitCode::from(if code == 0 && !left.is_empty() { LEFT_BEHIND } else { code }))
}

/// Waits for the program, and reaps what it left meanwhile; `None` when whoever started us is gone.
fn wait(child: Pid, is_gone: &mpsc::Receiver<()>) -> Result<Option<ExitStatus>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)).context("cannot wait")? {
            WaitStatus::Exited(pid, code) if pid == child => {
                return Ok(Some(ExitStatus::from_raw(code << 8)));
            }
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                return Ok(Some(ExitStatus::from_raw(signal as i32)));
            }
            WaitStatus::StillAlive => {}
            _ => continue,
        }
        // The end of a child and that of a pipe cannot be waited for at once without signals.
        if is_gone.recv_timeout(POLL_INTERVAL).is_ok() {
            return Ok(None);
        }
    }
}

/// Processes that descend from this one and do not end by themselves: their numbers and command lines.
fn leftovers() -> Result<Vec<String>> {
    let deadline = Instant::now() + GRACE;
    loop {
        reap();
        let left = descendants(std::process::id() as i32)?;
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left.into_iter().map(named).collect());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn named(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace(['\0', '\n'], " ");
    let words: String = words.trim().chars().take(80).collect();
    format!("{pid} ({words})")
}

/// Takes note of children that have ended.
fn reap() {
    while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
        waitpid(None, Some(WaitPidFlag::WNOHANG))
    {}
}

/// Kills everything that descends from this process, until there is nothing.
fn end_descendants() -> Result<()> {
    let deadline = Instant::now() + END_TIMEOUT;
    loop {
        reap();
        let left = descendants(std::process::id() as i32)?;
        if left.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "processes {left:?} do not end");
        for pid in left {
            // It may be gone meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Processes that descend from one.
fn descendants(of: i32) -> Result<Vec<i32>> {
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    for entry in fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may be gone meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut next) = (Vec::new(), vec![of]);
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        next.extend(&below);
        found.extend(below);
    }
    Ok(found)
}

/// The parent in a line of /proc/PID/stat, whose second field may contain blanks and brackets.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Unmounts what is mounted in a folder, the innermost first.
fn unmount_below(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading mounts")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    for point in points.filter(|point| point.starts_with(folder)).collect::<Vec<_>>().into_iter().rev() {
        umount2(point, MntFlags::MNT_DETACH).with_context(|| format!("unmounting {}", point.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_read_whatever_a_program_is_called() {
        assert_eq!(parent("12 (a) b (c)) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (sh"), None);
    }
}
