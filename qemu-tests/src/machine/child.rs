//! A QEMU process that ends with its owner.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// How long QEMU may take to end by itself before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

pub(super) struct Qemu {
    child: Child,
    /// What QEMU itself says (standard output and error); `None` when they are inherited.
    messages: Option<PathBuf>,
}

impl Qemu {
    /// Starts QEMU. It ends when the calling *thread* does, at the latest.
    pub(super) fn spawn(mut command: Command, messages: Option<&Path>) -> Result<Qemu> {
        if let Some(path) = messages {
            let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
            let twin = file.try_clone().context("cannot share a file")?;
            command.stdin(Stdio::null()).stdout(file).stderr(twin);
        }
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // Who died before that sends no signal.
                if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::Error::ESRCH.into()) }
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Qemu { child, messages: messages.map(Path::to_owned) })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has taken of the processors; nothing once it has ended.
    pub(super) fn cpu_time(&self) -> Duration {
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().cast_signed()));
        clock.and_then(clock_gettime).map_or(Duration::ZERO, Duration::from)
    }

    /// The exit status, if it ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for QEMU")
    }

    /// Waits for the end until the deadline.
    pub(super) fn wait_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            // A child's end can only be polled for or waited for without a deadline.
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// What QEMU said.
    pub(super) fn said(&self) -> String {
        let text = self.messages.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        text.unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if self.wait_until(Instant::now() + END_TIMEOUT).is_none() {
            // Fails only when it ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
