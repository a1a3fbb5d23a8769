//! Tables as streams: each has a thread, a netlink connection and a socket of its own, so that one that is read slowly
//! holds up nobody, and a bound on its time. Its memory does not grow with the rows it has written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netd_api::alarm::Alarm;
use netd_api::config::Config;
use netd_api::table::{End, TableName};
use serde::Serialize;

use super::View;
use super::query::Query;
use crate::attach::Record;
use crate::background;
use crate::kernel::snapshot::Interfaces;
use crate::kernel::{Connection, KernelError};
use crate::plan::Network;

/// How long a reader may let the stream wait.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream may take in all: what it shows is that of its beginning.
const STREAM_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes that are written at once.
const PORTION_BYTES: usize = 32 * 1024;
/// Rows after which the first portion is written, so that a reader has something to show at once.
const FIRST_ROWS: u64 = 20;

/// What tables are joined from, as it is at this moment. Costs the engine no copy of what is large.
#[derive(Clone, Debug)]
pub struct Source {
    /// The running configuration.
    pub config: Arc<Config>,
    /// What is intended.
    pub desired: Arc<Network>,
    /// Front-panel ports.
    pub ports: BTreeSet<String>,
    /// Attachments by key.
    pub attachments: BTreeMap<String, Record>,
    /// What is wrong, where that is asked for.
    pub alarms: Vec<Alarm>,
}

/// Why a stream ended before its table did.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The kernel did not show the table.
    #[error("reading the kernel's state: {0}")]
    Kernel(#[from] KernelError),
    /// The reader is gone, or does not read.
    #[error("writing: {0}")]
    Reader(#[from] io::Error),
}

/// Starts a stream of a table; the answer is the reader's end. `permit` is held until the stream ends.
///
/// # Errors
/// When there is no socket or thread for it.
pub fn open<P: Send + 'static>(source: Source, query: Query, permit: P) -> io::Result<OwnedFd> {
    open_within(WRITE_TIMEOUT, source, query, permit)
}

/// The same for a reader that may let the stream wait for so long.
fn open_within<P: Send + 'static>(
    write_timeout: Duration,
    source: Source,
    query: Query,
    permit: P,
) -> io::Result<OwnedFd> {
    let (mut ours, theirs) = UnixStream::pair()?;
    ours.set_write_timeout(Some(write_timeout))?;
    background::spawn("table", move || {
        let begun = Instant::now();
        match write_table(&source, &query, &mut ours) {
            Ok(rows) => {
                tracing::debug!("{}: {rows} rows in {:?}", query.table().as_str(), begun.elapsed());
            }
            // A reader that is gone is told nothing.
            Err(error) => tracing::debug!("{}: {error}", query.table().as_str()),
        }
        drop(permit);
    })?;
    Ok(theirs.into())
}

/// Writes a table from one dump, and the stream's last line. Answers how many rows it has.
///
/// # Errors
/// What ended it before; the kernel's failures are in the stream as well.
pub fn write_table(source: &Source, query: &Query, out: &mut dyn Write) -> Result<u64, StreamError> {
    let mut writer = Writer::new(out);
    match write_rows(source, query, &mut writer) {
        Ok(()) => writer.end(&End::Complete { rows: writer.rows, local: writer.local })?,
        Err(StreamError::Kernel(error)) => {
            writer.end(&End::Failed(format!("reading the kernel's state: {error}")))?;
            return Err(error.into());
        }
        Err(error) => return Err(error),
    }
    Ok(writer.rows)
}

/// Alarms are netd's own: the kernel is not asked.
fn write_alarms(alarms: &[Alarm], writer: &mut Writer<'_>) -> Result<(), StreamError> {
    let _ = alarms.iter().try_for_each(|alarm| writer.row(alarm));
    writer.check()
}

fn write_rows(source: &Source, query: &Query, writer: &mut Writer<'_>) -> Result<(), StreamError> {
    if query.table() == TableName::Alarms {
        return write_alarms(&source.alarms, writer);
    }
    let connection = &mut Connection::open()?;
    let counters = query.table() == TableName::Discards;
    let interfaces = Interfaces::take(connection, counters)?;
    let view = View {
        interfaces: &interfaces,
        config: &source.config,
        desired: &source.desired,
        ports: &source.ports,
        attachments: &source.attachments,
    };
    match query.table() {
        TableName::Routes => view.write_routes(connection, query, writer),
        TableName::Neighbours => view.write_neighbours(connection, query, writer),
        TableName::Fdb => view.write_fdb(connection, query, writer),
        TableName::Mdb => view.write_mdb(connection, query, writer),
        TableName::Discards => view.write_discards(query, writer),
        // They are written by now.
        TableName::Alarms => Ok(()),
    }
}

/// Writes rows as lines, some at once.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    rows: u64,
    /// Entries that were left out as the switch's own.
    local: u64,
    deadline: Instant,
    error: Option<io::Error>,
}

impl<'a> Writer<'a> {
    /// A writer that has written nothing.
    pub fn new(out: &'a mut dyn Write) -> Writer<'a> {
        let deadline = Instant::now() + STREAM_TIMEOUT;
        Writer {
            out,
            buffer: Vec::with_capacity(2 * PORTION_BYTES),
            rows: 0,
            local: 0,
            deadline,
            error: None,
        }
    }

    /// Writes a row; breaks off when the reader does not take it.
    pub fn row(&mut self, row: &impl Serialize) -> ControlFlow<()> {
        if self.error.is_some() {
            return ControlFlow::Break(());
        }
        let outcome = self.line(row).and_then(|()| {
            self.rows += 1;
            match self.rows == FIRST_ROWS || self.buffer.len() >= PORTION_BYTES {
                true => self.flush(),
                false => Ok(()),
            }
        });
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Counts an entry that is left out.
    pub fn leave_out(&mut self) {
        self.local += 1;
    }

    /// Whether the reader took all so far.
    pub fn check(&mut self) -> Result<(), StreamError> {
        self.error.take().map_or(Ok(()), |error| Err(error.into()))
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        self.line(end)?;
        self.flush()
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, value)?;
        self.buffer.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if Instant::now() > self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc::{self, RecvTimeoutError};

    use netd_api::alarm::{AlarmKind, Severity};
    use netd_api::table::Filter;

    use super::*;

    /// Takes so many writes.
    struct Taker(usize);

    impl Write for Taker {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn table_writer_holds_a_portion_at_most_and_stops_with_its_reader() {
        let mut taker = Taker(3);
        let mut writer = Writer::new(&mut taker);
        let mut written = 0;
        while writer.row(&"x".repeat(100)).is_continue() {
            written += 1;
            assert!(writer.buffer.len() <= 2 * PORTION_BYTES, "{}", writer.buffer.len());
            assert!(written < 10_000, "a reader that takes nothing more is written to");
        }
        assert!(writer.row(&"x").is_break());
        assert!(matches!(writer.check(), Err(StreamError::Reader(_))));
    }

    #[test]
    fn table_writer_shows_the_first_rows_at_once() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for number in 0..FIRST_ROWS {
            assert!(writer.row(&number).is_continue());
        }
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count() as u64, FIRST_ROWS);
    }

    #[test]
    fn table_reader_that_never_reads_is_cut_off_and_gives_its_permit_back() {
        let alarm = Alarm {
            kind: AlarmKind::NotApplied,
            object: "swp1".to_owned(),
            severity: Severity::Warning,
            since_s: 0,
            text: "x".repeat(1000),
            remedy: String::new(),
        };
        let source = Source {
            config: Arc::new(netd_api::config::parse("version = 1\n").expect("a valid document")),
            desired: Arc::default(),
            ports: BTreeSet::new(),
            attachments: BTreeMap::new(),
            // More than a socket holds.
            alarms: vec![alarm; 10_000],
        };
        let query = Query::parse("alarms", Filter::default()).expect("a table");
        let (permit, held) = mpsc::channel::<()>();
        let stream = open_within(Duration::from_millis(50), source, query, permit).expect("a stream");
        let given_back = held.recv_timeout(Duration::from_secs(10));
        assert_eq!(
            given_back,
            Err(RecvTimeoutError::Disconnected),
            "a reader that never reads is waited for"
        );
        // What is there ends with no last line.
        let mut text = String::new();
        UnixStream::from(stream).read_to_string(&mut text).expect("the end");
        assert!(text.lines().count() < 10_000 && text.contains("swp1"), "{} bytes", text.len());
    }
}
