//! Readers of events. Each has a task and a socket of its own: one that reads slowly waits alone.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use netd_api::events::Event;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::ring::Next;
use super::{Hub, Shared, lock};

/// Readers at a time.
const READERS: usize = 64;
/// Events written in one go.
const PORTION: usize = 256;

static COUNT: AtomicUsize = AtomicUsize::new(0);

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

/// Holds a reader's place among the readers, and its ports among those watched.
struct Place {
    shared: Arc<Shared>,
    ports: Vec<String>,
}

impl Place {
    fn take(hub: &Hub, ports: Vec<String>) -> io::Result<Place> {
        if COUNT.fetch_add(1, Ordering::Relaxed) >= READERS {
            COUNT.fetch_sub(1, Ordering::Relaxed);
            return Err(io::Error::other(format!("there are {READERS} readers, the most there may be")));
        }
        let place = Place { shared: hub.0.clone(), ports };
        lock(&place.shared.links).watch(&place.ports);
        place.shared.to_poll.notify_all();
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
        lock(&self.shared.links).unwatch(&self.ports);
    }
}

/// Starts a reader; the answer is its end of the stream. Must be called inside the bus's runtime.
///
/// # Errors
/// When there are too many readers, or no more descriptors.
pub fn open(hub: &Hub, request: Request) -> io::Result<OwnedFd> {
    let place = Place::take(hub, request.ports)?;
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    let stream = UnixStream::from_std(ours)?;
    let begin = match request.boot_id.as_str() {
        "" => Begin::New,
        known if known == lock(&place.shared.ring).boot_id() => Begin::After(request.after_seq),
        _ => Begin::Anew(request.after_seq),
    };
    tokio::spawn(async move {
        // A reader that is gone ends its task; there is nobody left to tell.
        let _ = write_events(&place, stream, begin).await;
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

async fn write_events(place: &Place, stream: UnixStream, begin: Begin) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut last = place.shared.last.subscribe();
    let snapshot = |missed| lock(&place.shared.ring).snapshot(missed);
    let mut cursor = match begin {
        Begin::New => write(&mut writer, snapshot(None)).await?,
        Begin::After(after) => after,
        Begin::Anew(after) => write(&mut writer, snapshot(Some(after))).await?,
    };
    loop {
        last.borrow_and_update();
        let next = lock(&place.shared.ring).after(cursor, PORTION);
        let is_empty = matches!(&next, Next::Events(events, _) if events.is_empty());
        cursor = write(&mut writer, next).await?;
        if is_empty {
            tokio::select! {
                changed = last.changed() => if changed.is_err() { return Ok(()) },
                // Nothing is expected from a reader but its end.
                _ = reader.readable() => return Ok(()),
            }
        }
    }
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), next: Next) -> io::Result<u64> {
    let (Next::Events(events, cursor) | Next::Snapshot(events, cursor)) = next;
    let mut bytes = Vec::new();
    for event in &events {
        bytes.extend(line(event)?);
    }
    writer.write_all(&bytes).await?;
    Ok(cursor)
}

fn line(event: &Event) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(event)?;
    bytes.push(b'\n');
    Ok(bytes)
}
