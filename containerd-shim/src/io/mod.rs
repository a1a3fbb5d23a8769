//! A process's standard streams: containerd names FIFOs (or files), the shim copies between them and the
//! process's pipes or terminal.
//!
//! [`target`] opens what containerd names, [`copy`] moves bytes, [`console`] receives a terminal from the
//! OCI runtime. Nothing here blocks and nothing makes a thread.

pub mod console;
mod copy;
pub mod target;

use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::{Context, Error, Result};
use target::{Sink, Target};

/// What containerd wants a process's streams connected to, as its requests spell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// FIFO to read standard input from; empty for none.
    pub stdin: String,
    /// Where standard output goes; empty for nowhere.
    pub stdout: String,
    /// Where standard error goes; empty for nowhere. Unused with a terminal.
    pub stderr: String,
    /// Whether the process gets a terminal.
    pub terminal: bool,
}

impl Streams {
    /// Checks that the shim can serve them, before anything is made.
    ///
    /// # Errors
    /// Names the stream that it cannot serve.
    pub fn check(&self) -> Result<()> {
        Target::parse(&self.stdin)?;
        Target::parse(&self.stdout)?;
        Target::parse(&self.stderr)?;
        Ok(())
    }
}

/// The ends of the pipes that the process gets.
#[derive(Debug)]
pub struct ChildEnds {
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
}

impl ChildEnds {
    /// All of them `/dev/null`, for a process with a terminal.
    pub fn null() -> Self {
        ChildEnds { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// The shim's side of a process's streams. Dropping it stops all copying.
#[derive(Debug, Default)]
pub struct ProcessIo {
    close_stdin: Option<Arc<Notify>>,
    input: Option<JoinHandle<()>>,
    outputs: Vec<JoinHandle<()>>,
    console: Option<OwnedFd>,
}

impl ProcessIo {
    /// Pipes between a process and what containerd names. `owner` is the user and group that must be able
    /// to reopen them, as programs do with `/dev/stdout`.
    ///
    /// # Errors
    /// A FIFO or file cannot be opened.
    pub fn pipes(streams: &Streams, owner: Option<(u32, u32)>) -> Result<(Self, ChildEnds)> {
        let mut io = ProcessIo::default();
        let mut ends = ChildEnds::null();
        if let Some(source) = Target::parse(&streams.stdin)?.open_source(false)? {
            let (reader, writer) = new_pipe(owner)?;
            io.copy_input(source, writer)?;
            ends.stdin = reader.into();
        }
        for (name, end) in [(&streams.stdout, &mut ends.stdout), (&streams.stderr, &mut ends.stderr)] {
            if let Some(sink) = Target::parse(name)?.open_sink()? {
                let (reader, writer) = new_pipe(owner)?;
                set_nonblocking(&reader)?;
                io.outputs.push(copy::spawn_output(reader, sink)?);
                *end = writer.into();
            }
        }
        Ok((io, ends))
    }

    /// Copies between a terminal's master side and what containerd names.
    ///
    /// # Errors
    /// A FIFO or file cannot be opened.
    pub fn terminal(streams: &Streams, master: OwnedFd) -> Result<Self> {
        let mut io = ProcessIo::default();
        let duplicate = || master.try_clone().context(|| "duplicate a terminal".to_owned());
        set_nonblocking(&master)?;
        // A client may detach and attach again: hold the FIFO open so that its leaving is no end of file.
        if let Some(source) = Target::parse(&streams.stdin)?.open_source(true)? {
            io.copy_input(source, duplicate()?)?;
        }
        let sink = Target::parse(&streams.stdout)?.open_sink()?.unwrap_or(Sink::Nowhere);
        io.outputs.push(copy::spawn_output(duplicate()?, sink)?);
        io.console = Some(master);
        Ok(io)
    }

    fn copy_input(&mut self, source: OwnedFd, destination: OwnedFd) -> Result<()> {
        let close = Arc::new(Notify::new());
        set_nonblocking(&destination)?;
        self.input = Some(copy::spawn_input(source, destination, close.clone())?);
        self.close_stdin = Some(close);
        Ok(())
    }

    /// Ends standard input, once what was written to it so far has been passed on.
    pub fn close_stdin(&self) {
        if let Some(close) = &self.close_stdin {
            close.notify_one();
        }
    }

    /// Sets the terminal's size, in character cells.
    ///
    /// # Errors
    /// The process has no terminal, or a size is beyond 65535.
    pub fn resize(&self, columns: u32, rows: u32) -> Result<()> {
        let console = self
            .console
            .as_ref()
            .ok_or_else(|| Error::Precondition("the process has no terminal to resize".into()))?;
        let cells = |count: u32, what: &str| {
            u16::try_from(count).map_err(|_| Error::Invalid(format!("{what} of {count} is too large")))
        };
        let size = Winsize {
            ws_row: cells(rows, "terminal height")?,
            ws_col: cells(columns, "terminal width")?,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(console, size).context(|| "resize the terminal".to_owned())
    }

    /// Stops reading input: the process has ended.
    pub fn end_input(&mut self) {
        if let Some(input) = self.input.take() {
            input.abort();
        }
        self.close_stdin = None;
    }

    /// Waits until all output was passed on, at most `timeout`, then closes everything.
    pub async fn finish(&mut self, timeout: Duration) {
        self.end_input();
        let deadline = tokio::time::Instant::now() + timeout;
        for output in &mut self.outputs {
            if tokio::time::timeout_at(deadline, &mut *output).await.is_err() {
                output.abort();
            }
        }
        self.outputs.clear();
        self.console = None;
    }
}

impl Drop for ProcessIo {
    fn drop(&mut self) {
        for task in self.outputs.iter().chain(&self.input) {
            task.abort();
        }
    }
}

fn new_pipe(owner: Option<(u32, u32)>) -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(|| "make a pipe".to_owned())?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&reader, Some(uid), Some(gid))
            .context(|| format!("give a pipe to user {uid}, group {gid}"))?;
    }
    Ok((reader, writer))
}

fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let what = || "make a stream non-blocking".to_owned();
    let flags = fcntl_getfl(&fd).context(what)?;
    fcntl_setfl(&fd, flags | OFlags::NONBLOCK).context(what)
}
