//! Children of the shim: who they are, and when they end.
//!
//! Every process the shim cares about is followed by a pidfd. The shim is also a subreaper, so orphans of
//! the workload become its children: those nobody follows are reaped by a sweep. A process that the OCI
//! runtime just made is an orphan too until the shim has read its id; while such a start is under way
//! ([`Reaper::hold`]) no sweep runs.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::net::unix::pipe;
use tracing::warn;

use crate::error::{Context, Error, Result};
use crate::sys;

/// Exit code reported when the real one cannot be known.
pub const UNKNOWN_EXIT: u32 = 255;

/// How and when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, or 128 + signal.
    pub code: u32,
    /// When the shim learned of it.
    pub at: SystemTime,
}

impl Exit {
    /// An exit that happens now.
    pub fn now(code: u32) -> Self {
        Exit { code, at: SystemTime::now() }
    }
}

/// A process followed by pidfd.
#[derive(Debug)]
pub struct Followed {
    /// Process id in the shim's namespace.
    pub pid: u32,
    pidfd: OwnedFd,
}

impl Followed {
    /// The descriptor.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal. A process that is gone is not an error.
    ///
    /// # Errors
    /// The number is no signal, or the system refused.
    pub fn signal(&self, signal: u32) -> Result<()> {
        match sys::send_signal(self.pidfd(), signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                Err(error).context(|| format!("send signal {signal} to process {}", self.pid))
            }
            _ => Ok(()),
        }
    }
}

/// Registry of the children that are followed.
#[derive(Debug, Default)]
pub struct Reaper {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    followed: HashSet<i32>,
    starts_under_way: usize,
}

/// While it lives no child is swept up.
#[derive(Debug)]
pub struct Hold(Arc<Reaper>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.lock().starts_under_way -= 1;
        self.0.sweep();
    }
}

impl Reaper {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The registry is consistent at every point where a panic could happen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops sweeping until the guard is dropped.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.lock().starts_under_way += 1;
        Hold(self.clone())
    }

    /// Follows a child from now on. Call it while holding sweeps off, or right after a fork.
    ///
    /// # Errors
    /// There is no such process.
    pub fn follow(&self, pid: u32) -> Result<Followed> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| Error::failed("follow a process", format!("{pid} is no process id")))?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty()).context(|| format!("open a pidfd of {pid}"))?;
        self.lock().followed.insert(raw.as_raw_nonzero().get());
        Ok(Followed { pid, pidfd })
    }

    /// Waits until a process has ended, and reaps it.
    pub async fn wait(&self, process: &Followed) -> Exit {
        let exit = match self.wait_inner(process).await {
            Ok(code) => Exit::now(code),
            Err(error) => {
                warn!("cannot tell how process {} ended: {error}", process.pid);
                Exit::now(UNKNOWN_EXIT)
            }
        };
        if let Ok(pid) = i32::try_from(process.pid) {
            self.lock().followed.remove(&pid);
        }
        self.sweep();
        exit
    }

    async fn wait_inner(&self, process: &Followed) -> std::io::Result<u32> {
        let pidfd = sys::watch(process.pidfd().try_clone_to_owned()?, Interest::READABLE)?;
        loop {
            let mut ready = pidfd.readable().await?;
            if let Some(code) = sys::reap(process.pidfd())? {
                return Ok(code);
            }
            ready.clear_ready();
        }
    }

    /// Reaps ended children that nobody follows.
    pub fn sweep(&self) {
        let inner = self.lock();
        if inner.starts_under_way > 0 {
            return;
        }
        loop {
            match sys::peek_ended_child() {
                // Its follower reaps it and sweeps again: the kernel shows one child at a time.
                Ok(Some(pid)) if inner.followed.contains(&pid) => return,
                Ok(Some(pid)) => sys::reap_and_forget(pid),
                Ok(None) => return,
                Err(error) => return warn!("cannot look for ended children: {error}"),
            }
        }
    }

    /// Starts a program and follows it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<(std::process::Child, Followed)> {
        // Nothing awaits between fork and follow, so no sweep can come between.
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().context(|| format!("run {name}"))?;
        let followed = self.follow(child.id())?;
        Ok((child, followed))
    }

    /// Runs a program that has its standard streams set up already.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time and is killed.
    pub async fn run(&self, command: &mut Command, timeout: Duration) -> Result<Exit> {
        let (_, process) = self.spawn(command)?;
        self.wait_or_kill(command, &process, timeout).await
    }

    async fn wait_or_kill(&self, command: &Command, process: &Followed, timeout: Duration) -> Result<Exit> {
        if let Ok(exit) = tokio::time::timeout(timeout, self.wait(process)).await {
            return Ok(exit);
        }
        process.signal(9)?;
        self.wait(process).await;
        Err(Error::failed(
            format!("run {}", command.get_program().to_string_lossy()),
            format!("not done within {} s", timeout.as_secs()),
        ))
    }

    /// Runs a program and collects what it prints, a megabyte of each stream at most.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time and is killed.
    pub async fn output(&self, command: &mut Command, timeout: Duration) -> Result<Output> {
        use std::process::Stdio;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, process) = self.spawn(command)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let streams =
            async { tokio::join!(collect(stdout.map(OwnedFd::from)), collect(stderr.map(OwnedFd::from)),) };
        // A daemon the program left behind may hold the streams open: once it has ended, do not wait for them long.
        let mut streams = std::pin::pin!(streams);
        let mut collected = None;
        let exit = {
            let mut wait = std::pin::pin!(self.wait_or_kill(command, &process, timeout));
            loop {
                tokio::select! {
                    exit = &mut wait => break exit?,
                    both = &mut streams, if collected.is_none() => collected = Some(both),
                }
            }
        };
        if collected.is_none() {
            collected = tokio::time::timeout(Duration::from_secs(1), streams).await.ok();
        }
        let (stdout, stderr) = collected.unwrap_or_default();
        Ok(Output { exit, stdout, stderr })
    }
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

async fn collect(stream: Option<OwnedFd>) -> Vec<u8> {
    const LIMIT: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let Some(stream) = stream else { return bytes };
    match pipe::Receiver::from_owned_fd(stream) {
        Ok(stream) => {
            let mut limited = stream.take(LIMIT);
            if let Err(error) = limited.read_to_end(&mut bytes).await {
                warn!("reading a program's output: {error}");
            }
            drain(limited.into_inner()).await;
        }
        Err(error) => warn!("reading a program's output: {error}"),
    }
    bytes
}

/// Reads on without keeping anything, so that a talkative program does not block on a full pipe.
async fn drain(mut stream: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    // Tests of one program share its children: sweeping here would reap those of other tests.
    fn reaper() -> Arc<Reaper> {
        let reaper = Arc::new(Reaper::default());
        std::mem::forget(reaper.hold());
        reaper
    }

    #[tokio::test]
    async fn output_and_exit_code_are_collected() {
        let output = reaper()
            .output(&mut shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10))
            .await
            .unwrap();
        assert_eq!(
            (output.exit.code, output.stdout.as_slice(), output.stderr.as_slice()),
            (3, &b"out\n"[..], &b"err\n"[..])
        );
    }

    #[tokio::test]
    async fn more_output_than_is_kept_does_not_block_the_program() {
        let script = "dd if=/dev/zero bs=65536 count=48 2>/dev/null; exit 4";
        let output = reaper().output(&mut shell(script), Duration::from_secs(20)).await.unwrap();
        assert_eq!((output.exit.code, output.stdout.len()), (4, 1 << 20));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed_and_named() {
        let error =
            reaper().output(&mut shell("exec sleep 100"), Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("/bin/sh"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
        let started = std::time::Instant::now();
        // It ends with the file, which goes with the test.
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let mut command = shell(&format!("while [ -e {path} ]; do sleep 0.1; done & exit 0"));
        let output = reaper().output(&mut command, Duration::from_secs(30)).await.unwrap();
        assert_eq!(output.exit.code, 0);
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}
