//! Readers of events. Each has a task and a socket of its own: one that reads slowly waits alone, and not for ever.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use netd_api::events::Event;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::ring::Next;
use super::{Hub, Shared, lock};

/// Events written in one go.
const PORTION: usize = 256;
/// How long a reader may let a portion wait.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a reader asks for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What `after_seq` counts in; empty for a reader that has seen nothing yet.
    pub boot_id: String,
    /// The last event the reader has.
    pub after_seq: u64,
    /// Links to look at all the time.
    pub ports: Vec<String>,
}

/// Holds a reader's ports among those watched.
struct ReaderSlot {
    shared: Arc<Shared>,
    ports: Vec<String>,
}

impl ReaderSlot {
    fn take(hub: &Hub, ports: Vec<String>) -> ReaderSlot {
        let slot = ReaderSlot { shared: hub.0.clone(), ports };
        lock(&slot.shared.links).watch(&slot.ports);
        slot.shared.to_poll.notify_all();
        slot
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        lock(&self.shared.links).unwatch(&self.ports);
    }
}

/// Starts a reader; the answer is its end of the stream. Must be called inside the bus's runtime. `permit` is held
/// until the reader is gone. `may_look` is asked before each portion: a reader whose rights were taken away is cut off.
///
/// # Errors
/// When there are no more descriptors.
pub fn open<P: Send + 'static>(
    hub: &Hub,
    request: Request,
    permit: P,
    may_look: impl FnMut() -> bool + Send + 'static,
) -> io::Result<OwnedFd> {
    open_within(WRITE_TIMEOUT, hub, request, permit, may_look)
}

/// The same for a reader that may let a portion wait for so long.
fn open_within<P: Send + 'static>(
    write_timeout: Duration,
    hub: &Hub,
    request: Request,
    permit: P,
    may_look: impl FnMut() -> bool + Send + 'static,
) -> io::Result<OwnedFd> {
    let slot = ReaderSlot::take(hub, request.ports);
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let stream = UnixStream::from_std(ours)?;
    let begin = match request.boot_id.as_str() {
        "" => Begin::New,
        known if known == lock(&slot.shared.ring).boot_id() => Begin::After(request.after_seq),
        _ => Begin::Anew(request.after_seq),
    };
    tokio::spawn(async move {
        // A reader that is gone ends its task; there is nobody left to tell.
        let _ = write_events(&slot, stream, begin, may_look, write_timeout).await;
        drop(permit);
    });
    Ok(theirs.into())
}

/// Where a reader begins.
enum Begin {
    /// It has seen nothing yet.
    New,
    /// It goes on after an event.
    After(u64),
    /// It goes on after an event that was counted before netd's start: what came between is not known.
    Anew(u64),
}

async fn write_events(
    slot: &ReaderSlot,
    stream: UnixStream,
    begin: Begin,
    mut may_look: impl FnMut() -> bool,
    timeout: Duration,
) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut last = slot.shared.last.subscribe();
    let snapshot = |missed| lock(&slot.shared.ring).snapshot(missed);
    let mut cursor = match begin {
        Begin::New => write(&mut writer, snapshot(None), timeout).await?,
        Begin::After(after) => after,
        Begin::Anew(after) => write(&mut writer, snapshot(Some(after)), timeout).await?,
    };
    loop {
        last.borrow_and_update();
        let next = lock(&slot.shared.ring).after(cursor, PORTION);
        let is_empty = matches!(&next, Next::Events(events, _) if events.is_empty());
        if !is_empty && !may_look() {
            return Ok(());
        }
        cursor = write(&mut writer, next, timeout).await?;
        if is_empty {
            tokio::select! {
                changed = last.changed() => if changed.is_err() { return Ok(()) },
                ended = closed(&reader) => return ended,
            }
        }
    }
}

/// Waits until the reader is gone. Nothing is expected from it but its end.
async fn closed(reader: &OwnedReadHalf) -> io::Result<()> {
    loop {
        reader.readable().await?;
        // Readiness may be false (tokio's documentation): only reading tells.
        match reader.try_read(&mut [0; 64]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::InvalidInput.into()),
            Err(error) => return Err(error),
        }
    }
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), next: Next, timeout: Duration) -> io::Result<u64> {
    let (Next::Events(events, cursor) | Next::Snapshot(events, cursor)) = next;
    let mut bytes = Vec::new();
    for event in &events {
        bytes.extend(line(event)?);
    }
    tokio::time::timeout(timeout, writer.write_all(&bytes)).await??;
    Ok(cursor)
}

fn line(event: &Event) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(event)?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::atomic::{AtomicBool, Ordering};

    use netd_api::events::{EventKind, EventSource};

    use super::*;

    #[tokio::test]
    async fn reader_without_rights_any_more_is_cut_off_before_the_next_event() {
        let hub = Hub::open().expect("a thread");
        let rights = Arc::new(AtomicBool::new(true));
        let may_look = {
            let rights = Arc::clone(&rights);
            move || rights.load(Ordering::SeqCst)
        };
        let stream = StdStream::from(open(&hub, Request::default(), (), may_look).expect("a stream"));
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
        let mut reader = BufReader::new(stream);
        let next = move || {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line, or the end");
            (reader, line)
        };
        hub.tell(EventKind::Applied, "generation 1", EventSource::Netd, "");
        let (mut reader, line) = tokio::task::spawn_blocking(next).await.expect("the reader");
        assert!(line.contains("generation 1"), "{line}");
        rights.store(false, Ordering::SeqCst);
        hub.tell(EventKind::Applied, "generation 2", EventSource::Netd, "");
        let rest = move || {
            let mut line = String::new();
            reader.read_line(&mut line).expect("the end");
            line
        };
        assert_eq!(tokio::task::spawn_blocking(rest).await.expect("the reader"), "");
    }

    #[tokio::test]
    async fn event_reader_that_never_reads_is_cut_off_and_gives_its_permit_back() {
        let hub = Hub::open().expect("a thread");
        let boot_id = lock(&hub.0.ring).boot_id().to_owned();
        let (permit, given_back) = tokio::sync::oneshot::channel::<()>();
        let request = Request { boot_id, after_seq: 0, ports: Vec::new() };
        // More than a socket holds.
        for _ in 0..4000 {
            hub.tell(EventKind::Applied, "generation 1", EventSource::Netd, "x".repeat(1000));
        }
        let timeout = Duration::from_millis(50);
        let stream = open_within(timeout, &hub, request, permit, || true).expect("a stream");
        let waited = tokio::time::timeout(Duration::from_secs(10), given_back).await;
        assert!(waited.expect("a reader that never reads is waited for").is_err());
        drop(stream);
    }

    /// Polls a future once.
    async fn is_done<T>(future: impl Future<Output = T>) -> bool {
        tokio::select! {
            biased;
            _ = future => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn reader_is_gone_at_its_end_and_not_when_its_socket_only_seems_ready() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (reader, _writer) = ours.into_split();
        // The byte is taken behind the back of what says that there is one.
        theirs.try_write(b"x").expect("a byte");
        reader.readable().await.expect("the byte");
        reader.try_read(&mut [0; 1]).expect("the byte");
        assert!(is_done(reader.readable()).await, "readiness is no longer false: the test shows nothing");
        assert!(!is_done(closed(&reader)).await, "a reader that is there is taken for gone");
        drop(theirs);
        closed(&reader).await.expect("a reader may go");
    }

    #[tokio::test]
    async fn reader_that_writes_is_cut_off() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (reader, _writer) = ours.into_split();
        theirs.try_write(b"x").expect("a byte");
        let error = closed(&reader).await.expect_err("nothing is expected from it");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
