//! The host's end of the agent in the guest, see [`corten_test_agent::protocol`].

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use corten_test_agent::protocol::{Answer, Body, Call, Event, Frames, Reply, Request, frame};

use crate::sync::{lock, wait_uncounted};
use crate::waiting::counted;

/// How long after a call's own deadline the answer may come: a busy host, a translated processor.
const GRACE: Duration = Duration::from_secs(20);
/// How long reading and writing files may take.
const FILE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a command in the guest came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit status as the shell has it.
    pub status: i32,
    /// Standard output and error, in the order they were written.
    pub text: String,
}

impl Output {
    /// The output of a command that must succeed.
    pub fn success(self) -> Result<String> {
        ensure!(self.status == 0, "exit status {}: {}", self.status, self.text.trim());
        Ok(self.text)
    }
}

/// A connection to the agent of a guest. Any number of threads may call at a time.
pub struct Agent {
    stream: Mutex<UnixStream>,
    shared: Arc<Shared>,
    next_id: AtomicU64,
    commands: AtomicU64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many agents said hello.
    hellos: u64,
    /// Why no more answers come.
    closed: Option<String>,
    waiting: BTreeMap<u64, Sender<Body>>,
}

impl Agent {
    /// The agent of a guest that boots: it will say hello.
    pub(super) fn of_a_boot(stream: UnixStream) -> Result<Agent> {
        Agent::new(stream, Frames::before_hello(), 0)
    }

    /// The agent of a guest that goes on where it was saved: it said hello long ago.
    pub(super) fn of_a_clone(stream: UnixStream) -> Result<Agent> {
        Agent::new(stream, Frames::in_step(), 1)
    }

    fn new(stream: UnixStream, frames: Frames, hellos: u64) -> Result<Agent> {
        // A guest that hangs reads nothing.
        stream.set_write_timeout(Some(GRACE)).context("cannot bound writing to the agent")?;
        let shared = Arc::new(Shared::default());
        lock(&shared.state).hellos = hellos;
        let reader = stream.try_clone().context("cannot share the agent's line")?;
        let for_reader = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || for_reader.read(reader, frames))
            .context("cannot start the agent's reader")?;
        Ok(Agent {
            stream: Mutex::new(stream),
            shared,
            next_id: AtomicU64::new(1),
            commands: AtomicU64::new(0),
        })
    }

    /// How many calls were made.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Waits until the guest runs the agent.
    pub(super) fn wait(&self, timeout: Duration) -> Result<()> {
        self.wait_for_hello(1, timeout)
    }

    /// Waits until the guest runs the agent once more than when `hellos` were counted.
    pub(super) fn wait_anew(&self, hellos: u64, timeout: Duration) -> Result<()> {
        self.wait_for_hello(hellos + 1, timeout)
    }

    /// How often the guest started the agent.
    pub(super) fn hellos(&self) -> u64 {
        lock(&self.shared.state).hellos
    }

    fn wait_for_hello(&self, number: u64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        while state.hellos < number {
            if let Some(reason) = &state.closed {
                bail!("no agent in the guest: {reason}");
            }
            ensure!(Instant::now() < deadline, "no agent in the guest within {} s", timeout.as_secs());
            state = wait_uncounted(&self.shared.changed, state, Some(deadline));
        }
        Ok(())
    }

    /// Runs a script in the guest.
    pub(super) fn exec(&self, script: &str, timeout: Duration) -> Result<Output> {
        let request = Request::Exec { script: script.to_owned(), timeout_ms: timeout.as_millis() as u64 };
        match self.call(request, timeout)? {
            Answer::Exited { status, timed_out, output } => {
                let text = String::from_utf8_lossy(&output).into_owned();
                ensure!(
                    !timed_out,
                    "it was killed, for it took longer than {} s: {text}",
                    timeout.as_secs_f64()
                );
                Ok(Output { status, text })
            }
            other => bail!("the agent answered a script with {other:?}"),
        }
    }

    /// Writes a file of the guest.
    pub fn put(&self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let request = Request::Put { path: path.to_owned(), mode, content: content.to_vec() };
        self.call(request, FILE_TIMEOUT).map(drop)
    }

    /// Reads a file of the guest.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        match self.call(Request::Get { path: path.to_owned() }, FILE_TIMEOUT)? {
            Answer::Content(content) => Ok(content),
            other => bail!("the agent answered for a file with {other:?}"),
        }
    }

    /// Sets the guest's clock to the host's.
    pub(super) fn set_clock(&self) -> Result<()> {
        let since =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the host's clock is before 1970")?;
        self.call(Request::SetClock { unix_ns: since.as_nanos() as u64 }, FILE_TIMEOUT).map(drop)
    }

    /// Waits until a file of the guest exists, or until it does not.
    pub fn wait_for_file(&self, path: &str, exists: bool, timeout: Duration) -> Result<()> {
        let timeout_ms = timeout.as_millis() as u64;
        let request = Request::WaitFile { path: path.to_owned(), exists, timeout_ms };
        counted(|| self.call(request, timeout)).map(drop)
    }

    /// Waits until a unit's ActiveState is one of these.
    pub fn wait_for_unit(&self, unit: &str, states: &[&str], timeout: Duration) -> Result<String> {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        let timeout_ms = timeout.as_millis() as u64;
        let request = Request::WaitUnit { unit: unit.to_owned(), states, timeout_ms };
        match counted(|| self.call(request, timeout))? {
            Answer::Happened(state) => Ok(state),
            other => bail!("the agent answered for a unit with {other:?}"),
        }
    }

    /// Waits until a name on the system bus has an owner.
    pub fn wait_for_name(&self, name: &str, timeout: Duration) -> Result<()> {
        let timeout_ms = timeout.as_millis() as u64;
        let request = Request::WaitName { name: name.to_owned(), timeout_ms };
        counted(|| self.call(request, timeout)).map(drop)
    }

    /// Waits from now on for a message of the system bus that a match rule fits.
    pub fn arm_signal(&self, rule: &str, timeout: Duration) -> Result<Armed> {
        let timeout_ms = timeout.as_millis() as u64;
        self.arm(Request::WaitSignal { rule: rule.to_owned(), timeout_ms }, timeout)
    }

    /// Kills a process of the guest the moment a file exists, from now on.
    pub fn arm_kill(&self, pid: u32, path: &str, timeout: Duration) -> Result<Armed> {
        let timeout_ms = timeout.as_millis() as u64;
        self.arm(Request::KillWhen { pid, path: path.to_owned(), timeout_ms }, timeout)
    }

    fn arm(&self, request: Request, timeout: Duration) -> Result<Armed> {
        let deadline = Instant::now() + timeout + GRACE;
        let replies = self.send(request)?;
        match receive(&replies, deadline)? {
            Body::Armed => Ok(Armed { replies, deadline }),
            Body::Failed(reason) => bail!("{reason}"),
            Body::Done(answer) => bail!("the agent answered {answer:?} before it waited"),
        }
    }

    fn call(&self, request: Request, timeout: Duration) -> Result<Answer> {
        let deadline = Instant::now() + timeout + GRACE;
        end(&self.send(request)?, deadline)
    }

    fn send(&self, request: Request) -> Result<Receiver<Body>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let bytes = frame(&Call { id, request }).context("the call cannot be sent")?;
        let (sender, receiver) = mpsc::channel();
        {
            let mut state = lock(&self.shared.state);
            ensure!(state.hellos > 0, "the agent of the guest was not waited for");
            if let Some(reason) = &state.closed {
                bail!("the agent cannot be reached: {reason}");
            }
            state.waiting.insert(id, sender);
        }
        self.commands.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = lock(&self.stream).write_all(&bytes) {
            // Half a call may have gone out: what follows would be read as the rest of it.
            let mut state = lock(&self.shared.state);
            state.waiting.remove(&id);
            state.closed.get_or_insert_with(|| format!("a call was not taken: {error}"));
            return Err(error).context("cannot write to the agent");
        }
        Ok(receiver)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ends the reader. Failure means that QEMU closed the line before.
        let _ = lock(&self.stream).shutdown(std::net::Shutdown::Both);
    }
}

/// Something that the agent waits for.
pub struct Armed {
    replies: Receiver<Body>,
    deadline: Instant,
}

impl Armed {
    /// Waits until it happened; fails when its time is up. Answers what the agent says of it.
    pub fn wait(self) -> Result<String> {
        match counted(|| end(&self.replies, self.deadline))? {
            Answer::Happened(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }
}

fn end(replies: &Receiver<Body>, deadline: Instant) -> Result<Answer> {
    loop {
        match receive(replies, deadline)? {
            Body::Armed => {}
            Body::Done(answer) => return Ok(answer),
            Body::Failed(reason) => bail!("{reason}"),
        }
    }
}

fn receive(replies: &Receiver<Body>, deadline: Instant) -> Result<Body> {
    match replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(body) => Ok(body),
        Err(RecvTimeoutError::Timeout) => bail!("the agent did not answer in time"),
        Err(RecvTimeoutError::Disconnected) => bail!("the agent ended or was started anew meanwhile"),
    }
}

impl Shared {
    fn read(&self, mut stream: UnixStream, mut frames: Frames) {
        let mut buffer = vec![0; 64 * 1024];
        let reason = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break "the machine closed the line".to_owned(),
                Ok(length) => frames.feed(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break error.to_string(),
            }
            while let Some(event) = frames.next_event::<Reply>() {
                self.happened(event);
            }
        };
        let mut state = lock(&self.state);
        state.closed = Some(reason);
        state.waiting.clear();
        self.changed.notify_all();
    }

    fn happened(&self, event: Event<Reply>) {
        let mut state = lock(&self.state);
        match event {
            Event::Message(reply) => {
                let last = reply.body != Body::Armed;
                if let Some(sender) = state.waiting.get(&reply.id) {
                    // Whoever gave up waiting does not mind.
                    let _ = sender.send(reply.body);
                }
                if last {
                    state.waiting.remove(&reply.id);
                }
            }
            // Calls to the agent before this one are lost.
            Event::Hello => {
                state.hellos += 1;
                state.waiting.clear();
            }
            Event::Garbage => state.waiting.clear(),
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use corten_test_agent::protocol::HELLO;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A fake guest: answers with what `reply` makes of each call.
    fn guest(mut stream: UnixStream, reply: impl Fn(Call) -> Vec<Reply> + Send + 'static) {
        std::thread::spawn(move || {
            let mut frames = Frames::in_step();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                frames.feed(&buffer[..length]);
                while let Some(Event::Message(call)) = frames.next_event::<Call>() {
                    for reply in reply(call) {
                        stream.write_all(&frame(&reply).unwrap()).unwrap();
                    }
                }
            }
        });
    }

    fn exited(output: &[u8]) -> Body {
        Body::Done(Answer::Exited { status: 0, timed_out: false, output: output.to_vec() })
    }

    #[test]
    fn calls_are_answered_whichever_ends_first() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let agent = Arc::new(Agent::of_a_clone(ours).unwrap());
        let held = Arc::new(Mutex::new(None));
        guest(theirs, move |call| match call.request {
            Request::Exec { script, .. } if script == "first" => {
                *held.lock().unwrap() = Some(call.id);
                Vec::new()
            }
            _ => {
                let second = Reply { id: call.id, body: exited(b"second") };
                let first = held.lock().unwrap().take().map(|id| Reply { id, body: exited(b"first") });
                std::iter::once(second).chain(first).collect()
            }
        });
        let other = Arc::clone(&agent);
        let first = std::thread::spawn(move || other.exec("first", SOON).unwrap().text);
        while agent.commands() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(agent.exec("second", SOON).unwrap().text, "second");
        assert_eq!(first.join().unwrap(), "first");
    }

    #[test]
    fn calls_to_an_agent_that_is_started_anew_fail() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let agent = Arc::new(Agent::of_a_boot(ours).unwrap());
        assert!(agent.exec("true", SOON).is_err(), "nobody said hello");
        theirs.write_all(&HELLO).unwrap();
        agent.wait(SOON).unwrap();
        let (other, hellos) = (Arc::clone(&agent), agent.hellos());
        let call = std::thread::spawn(move || other.exec("reboot", SOON));
        let mut buffer = [0; 4];
        theirs.read_exact(&mut buffer).unwrap();
        theirs.write_all(&HELLO).unwrap();
        let error = call.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("started anew"), "{error}");
        agent.wait_anew(hellos, SOON).unwrap();
        drop(theirs);
        assert!(agent.wait_anew(agent.hellos(), SOON).is_err());
    }

    #[test]
    fn what_is_armed_happens_later_or_fails() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let agent = Agent::of_a_clone(ours).unwrap();
        guest(theirs, |call| {
            let end = match call.request {
                Request::WaitSignal { rule, .. } if rule.is_empty() => Body::Failed("no rule".to_owned()),
                _ => Body::Done(Answer::Happened("it did".to_owned())),
            };
            [Body::Armed, end].map(|body| Reply { id: call.id, body }).to_vec()
        });
        assert_eq!(agent.arm_signal("type='signal'", SOON).unwrap().wait().unwrap(), "it did");
        assert!(agent.arm_signal("", SOON).unwrap().wait().unwrap_err().to_string().contains("no rule"));
    }
}
