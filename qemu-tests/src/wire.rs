//! The far end of a front-panel port: raw frames out and in.
//!
//! A wire is a pair of Unix datagram sockets, one frame a datagram, as QEMU's `dgram` netdev speaks it.
//! One thread per wire reads; whoever wants frames opens a [`Capture`], as many as needed at a time.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::frame::View;
use crate::sync::{lock, wait_until};

/// Frames a capture holds before it drops new ones (and says so).
const CAPTURE_LIMIT: usize = 65_536;
/// Largest frame read: a 9216-byte jumbo frame with tags fits.
pub(crate) const FRAME_LIMIT_BYTES: usize = 16_384;
/// How long a send waits for the switch to take frames before it gives up.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);

/// A frame that came in.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When the reader took it from the wire.
    pub at: Instant,
    /// The frame, from destination address to the end of the padding.
    pub bytes: Arc<[u8]>,
}

impl Captured {
    /// The frame, taken apart; `None` when it is too short.
    pub fn view(&self) -> Option<View<'_>> {
        View::parse(&self.bytes)
    }
}

/// Counters of a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireCounters {
    /// Frames handed to the switch.
    pub sent: u64,
    /// Frames that could not be handed over: the switch is off, or did not read in time.
    pub not_sent: u64,
    /// Frames that came from the switch.
    pub received: u64,
}

/// A wire. Clones share it; it closes when the last is gone.
#[derive(Clone)]
pub struct Wire(Arc<Handle>);

struct Handle {
    inner: Arc<Inner>,
    reader: Option<JoinHandle<()>>,
}

struct Inner {
    name: String,
    socket: UnixDatagram,
    local: PathBuf,
    remote: PathBuf,
    tap: Tap,
    sent: AtomicU64,
    not_sent: AtomicU64,
    received: AtomicU64,
}

impl Wire {
    /// Opens a wire: binds `local`, sends to `remote`, which need not exist yet.
    pub fn open(name: &str, local: &Path, remote: &Path) -> Result<Wire> {
        let socket = UnixDatagram::bind(local)
            .with_context(|| format!("cannot bind wire {name} to {}", local.display()))?;
        socket.set_write_timeout(Some(SEND_TIMEOUT)).context("cannot set the send time-out of a wire")?;
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            socket,
            local: local.to_owned(),
            remote: remote.to_owned(),
            tap: Tap::new(name),
            sent: AtomicU64::new(0),
            not_sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        });
        let for_reader = Arc::clone(&inner);
        let reader = std::thread::Builder::new()
            .name(format!("wire-{name}"))
            .stack_size(128 * 1024)
            .spawn(move || for_reader.read())
            .context("cannot start the reader of a wire")?;
        Ok(Wire(Arc::new(Handle { inner, reader: Some(reader) })))
    }

    /// Two wires back to back, sockets in `folder`: what one sends the other receives.
    pub fn pair(folder: &Path) -> Result<(Wire, Wire)> {
        let (a, b) = (folder.join("a"), folder.join("b"));
        Ok((Wire::open("a", &a, &b)?, Wire::open("b", &b, &a)?))
    }

    /// Name, as error messages give it (`swp1`).
    pub fn name(&self) -> &str {
        &self.0.inner.name
    }

    /// Sends a frame; waits a little while the switch does not read. Answers whether it was taken.
    pub fn send(&self, bytes: &[u8]) -> bool {
        self.0.inner.send(bytes, false)
    }

    /// Sends a frame if it is taken at once.
    pub fn try_send(&self, bytes: &[u8]) -> bool {
        self.0.inner.send(bytes, true)
    }

    /// Counters since the wire was opened.
    pub fn counters(&self) -> WireCounters {
        let inner = &self.0.inner;
        WireCounters {
            sent: inner.sent.load(Ordering::Relaxed),
            not_sent: inner.not_sent.load(Ordering::Relaxed),
            received: inner.received.load(Ordering::Relaxed),
        }
    }

    /// Captures every frame from now on.
    pub fn capture(&self) -> Capture {
        self.capture_if(|_| true)
    }

    /// Captures, from now on, the frames that carry `text`.
    pub fn capture_text(&self, text: &str) -> Capture {
        let text = text.as_bytes().to_vec();
        self.capture_if(move |bytes| crate::frame::contains(bytes, &text))
    }

    /// Captures, from now on, the frames that pass the filter. It runs in the reader: keep it cheap.
    pub fn capture_if(&self, filter: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Capture {
        self.0.inner.tap.capture_if(filter)
    }
}

/// Where frames come by that whoever wants may capture.
pub(crate) struct Tap {
    name: String,
    captures: Captures,
}

type Captures = Arc<Mutex<Vec<Weak<Queue>>>>;

impl Tap {
    pub(crate) fn new(name: &str) -> Tap {
        Tap { name: name.to_owned(), captures: Arc::default() }
    }

    pub(crate) fn capture_if(&self, filter: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Capture {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            filter: Box::new(filter),
            wire: self.name.clone(),
        });
        lock(&self.captures).push(Arc::downgrade(&queue));
        Capture { queue, captures: Arc::downgrade(&self.captures) }
    }

    /// Hands a frame to every capture.
    pub(crate) fn emit(&self, at: Instant, bytes: &[u8]) {
        let mut captures = lock(&self.captures);
        if captures.is_empty() {
            return;
        }
        let bytes: Arc<[u8]> = Arc::from(bytes);
        captures.retain(|capture| match capture.upgrade() {
            Some(queue) => {
                queue.emit(at, &bytes);
                true
            }
            None => false,
        });
    }

    /// Ends every wait: no more frames come.
    pub(crate) fn close(&self) {
        for queue in lock(&self.captures).iter().filter_map(Weak::upgrade) {
            lock(&queue.state).closed = true;
            queue.changed.notify_all();
        }
    }
}

impl Inner {
    fn send(&self, bytes: &[u8], only_at_once: bool) -> bool {
        // A full queue, an absent far end and a time-out are all the same to a wire: the frame is lost.
        let taken =
            if only_at_once { self.send_at_once(bytes) } else { self.socket.send_to(bytes, &self.remote) };
        let counter = if taken.is_ok() { &self.sent } else { &self.not_sent };
        counter.fetch_add(1, Ordering::Relaxed);
        taken.is_ok()
    }

    fn send_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        use nix::sys::socket::{MsgFlags, UnixAddr, sendto};
        use std::os::fd::AsRawFd;
        let address = UnixAddr::new(&self.remote)?;
        Ok(sendto(self.socket.as_raw_fd(), bytes, &address, MsgFlags::MSG_DONTWAIT)?)
    }

    fn read(&self) {
        let mut buffer = vec![0; FRAME_LIMIT_BYTES];
        loop {
            let length = match self.socket.recv(&mut buffer) {
                // Shut down by `Handle::drop`; a frame is never empty.
                Ok(0) => return,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let at = Instant::now();
            self.received.fetch_add(1, Ordering::Relaxed);
            self.tap.emit(at, &buffer[..length]);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Wakes the reader, which then ends. Failure means that the socket is dead already.
        let _ = self.inner.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.inner.tap.close();
        let _ = std::fs::remove_file(&self.inner.local);
    }
}

/// Tells the frames a capture keeps.
type Filter = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Frames kept for one reader.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
    filter: Filter,
    wire: String,
}

#[derive(Default)]
struct QueueState {
    frames: VecDeque<Captured>,
    overflowed: u64,
    nudged: bool,
    closed: bool,
}

impl Queue {
    fn emit(&self, at: Instant, bytes: &Arc<[u8]>) {
        if !(self.filter)(bytes) {
            return;
        }
        let mut state = lock(&self.state);
        if state.frames.len() >= CAPTURE_LIMIT {
            state.overflowed += 1;
            return;
        }
        state.frames.push_back(Captured { at, bytes: Arc::clone(bytes) });
        self.changed.notify_all();
    }

    /// Takes the oldest frame, if there is one.
    pub(crate) fn pop(&self) -> Option<Captured> {
        lock(&self.state).frames.pop_front()
    }

    /// Waits for a frame, a nudge or the deadline, whichever comes first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        let mut state = lock(&self.state);
        while state.frames.is_empty() && !state.nudged && !state.closed {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            state = wait_until(&self.changed, state, deadline);
        }
        state.nudged = false;
    }

    /// Ends a wait, now or the next.
    pub(crate) fn nudge(&self) {
        lock(&self.state).nudged = true;
        self.changed.notify_all();
    }
}

/// Frames of a wire, kept from the moment the capture was opened until it is dropped.
pub struct Capture {
    queue: Arc<Queue>,
    captures: Weak<Mutex<Vec<Weak<Queue>>>>,
}

impl Capture {
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// The next frame, or `None` when none came before the deadline.
    pub fn next_before(&self, deadline: Instant) -> Option<Captured> {
        let mut state = lock(&self.queue.state);
        loop {
            if let Some(captured) = state.frames.pop_front() {
                return Some(captured);
            }
            if state.closed || Instant::now() >= deadline {
                return None;
            }
            state = wait_until(&self.queue.changed, state, Some(deadline));
        }
    }

    /// Waits for a frame that fits; frames that do not are dropped.
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        fits: impl Fn(&View<'_>) -> bool,
    ) -> Result<Captured> {
        let deadline = Instant::now() + timeout;
        let mut others = 0_u64;
        while let Some(captured) = self.next_before(deadline) {
            if captured.view().is_some_and(|view| fits(&view)) {
                return Ok(captured);
            }
            others += 1;
        }
        bail!(
            "no {what} on {} within {:.1} s ({others} other frames came)",
            self.queue.wire,
            timeout.as_secs_f64()
        )
    }

    /// Everything captured so far and not taken yet: at least what other captures of the wire saw.
    pub fn drain(&self) -> Vec<Captured> {
        let captures = self.captures.upgrade();
        // The reader holds this lock while it hands a frame to one capture after the other.
        let _handed_out = captures.as_ref().map(|captures| lock(captures));
        lock(&self.queue.state).frames.drain(..).collect()
    }

    /// Frames that did not fit into the buffer. A capture that must be complete checks that it is 0.
    pub fn overflowed(&self) -> u64 {
        lock(&self.queue.state).overflowed
    }
}
