//! `corten-test-agent`: does in the guest what tests on the host ask for, see [`corten_test_agent::protocol`].
//!
//! Each call runs in a thread of its own, so that whoever waits holds up nobody.

mod bus;
mod files;
mod script;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use corten_test_agent::protocol::{
    Answer, Body, Call, Event, Frames, HELLO, PORT_NAME, Reply, Request, frame,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// Where the kernel lists virtio serial ports.
const PORTS: &str = "/sys/class/virtio-ports";
/// How long the port may take to appear: the disk is often found first.
const PORT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause while the host's end of the port is closed, of which nothing tells.
const CLOSED_PAUSE: Duration = Duration::from_millis(50);
/// Stacks of calls: none is deep.
const STACK_BYTES: usize = 256 * 1024;

fn main() -> Result<()> {
    let path = port()?;
    let mut port = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let replies = Replies(Arc::new(Mutex::new(port.try_clone().context("cannot share the port")?)));
    replies.write(&HELLO)?;
    let mut frames = Frames::in_step();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = port.read(&mut buffer).context("cannot read from the port")?;
        if length == 0 {
            thread::sleep(CLOSED_PAUSE);
            continue;
        }
        frames.feed(&buffer[..length]);
        while let Some(event) = frames.next_event::<Call>() {
            // Garbage is the rest of a call that the agent before this one began to read.
            let Event::Message(call) = event else { continue };
            let replies = replies.clone();
            let work = thread::Builder::new().stack_size(STACK_BYTES);
            work.spawn(move || answer(&replies, call)).context("cannot start a thread")?;
        }
    }
}

/// The device of the harness' port.
fn port() -> Result<PathBuf> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    loop {
        for entry in std::fs::read_dir(PORTS).into_iter().flatten().flatten() {
            let name = std::fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if name.trim_end() == PORT_NAME {
                return Ok(PathBuf::from("/dev").join(entry.file_name()));
            }
        }
        if Instant::now() >= deadline {
            bail!("{PORTS} has no {PORT_NAME}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The way back to the host.
#[derive(Clone)]
struct Replies(Arc<Mutex<File>>);

impl Replies {
    fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        port.write_all(bytes).context("cannot write to the port")
    }

    fn send(&self, id: u64, body: Body) {
        let sent = match frame(&Reply { id, body }) {
            Ok(bytes) => self.write(&bytes),
            Err(error) => {
                let reason = Body::Failed(format!("the answer cannot be sent: {error}"));
                frame(&Reply { id, body: reason }).map_err(Into::into).and_then(|bytes| self.write(&bytes))
            }
        };
        if let Err(error) = sent {
            // The port is gone, and with it whoever asked.
            eprintln!("{error:#}");
            std::process::exit(1);
        }
    }
}

fn answer(replies: &Replies, call: Call) {
    let id = call.id;
    let armed = || replies.send(id, Body::Armed);
    let body = match perform(call, armed) {
        Ok(answer) => Body::Done(answer),
        Err(error) => Body::Failed(format!("{error:#}")),
    };
    replies.send(id, body);
}

/// Does what is asked for; says `armed` where the protocol has it.
fn perform(call: Call, armed: impl FnOnce()) -> Result<Answer> {
    let until = |timeout_ms| Instant::now() + Duration::from_millis(timeout_ms);
    match call.request {
        Request::Exec { script, timeout_ms } => {
            script::run(call.id, &script, Duration::from_millis(timeout_ms))
        }
        Request::Put { path, mode, content } => files::put(&path, mode, &content).map(|()| Answer::Nothing),
        Request::Get { path } => {
            let content = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
            Ok(Answer::Content(content))
        }
        Request::SetClock { unix_ns } => {
            let time = TimeSpec::new((unix_ns / 1_000_000_000) as i64, (unix_ns % 1_000_000_000) as i64);
            clock_settime(ClockId::CLOCK_REALTIME, time).context("cannot set the clock")?;
            Ok(Answer::Nothing)
        }
        Request::WaitFile { path, exists, timeout_ms } => {
            files::wait(&path, exists, until(timeout_ms), || ()).map(|()| Answer::Nothing)
        }
        Request::KillWhen { pid, path, timeout_ms } => {
            files::wait(&path, true, until(timeout_ms), armed)?;
            script::kill(pid).map(|()| Answer::Nothing)
        }
        Request::WaitUnit { unit, states, timeout_ms } => {
            bus::wait_for_unit(&unit, &states, until(timeout_ms)).map(Answer::Happened)
        }
        Request::WaitName { name, timeout_ms } => {
            bus::wait_for_name(&name, until(timeout_ms)).map(|()| Answer::Nothing)
        }
        Request::WaitSignal { rule, timeout_ms } => {
            bus::wait_for_signal(&rule, until(timeout_ms), armed).map(Answer::Happened)
        }
    }
}
