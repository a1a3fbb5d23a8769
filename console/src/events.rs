//! A stream of netd's events, one by one.

use std::io;

use netd_api::events::Event;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;

use crate::client::{Error, Netd};

/// Longest line that is read; netd's are far shorter.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// A stream that is being read.
pub struct Events {
    reader: BufReader<UnixStream>,
    /// What was read of the next line.
    line: Vec<u8>,
}

fn failed(error: io::Error) -> Error {
    Error::Failed(format!("the stream of events: {error}"))
}

impl Events {
    /// Those after a number that counts in `boot_id`; for an empty one, how things stand and what comes. The links of
    /// `ports` are looked at closely meanwhile.
    ///
    /// # Errors
    /// What netd answers.
    pub async fn open(netd: &Netd, (boot_id, after): (&str, u64), ports: &[String]) -> Result<Events, Error> {
        let stream = netd.events(boot_id, after, ports).await?;
        stream.set_nonblocking(true).map_err(failed)?;
        let reader = BufReader::new(UnixStream::from_std(stream).map_err(failed)?);
        Ok(Events { reader, line: Vec::new() })
    }

    /// The next one. May be given up, and asked for again: nothing of a line is lost.
    ///
    /// # Errors
    /// When the stream ends, or holds something else.
    pub async fn next(&mut self) -> Result<Event, Error> {
        let left = MAX_LINE_BYTES.saturating_sub(self.line.len() as u64);
        (&mut self.reader).take(left).read_until(b'\n', &mut self.line).await.map_err(failed)?;
        if self.line.last() != Some(&b'\n') {
            return Err(Error::Unreachable("it ended the stream of events".to_owned()));
        }
        let event = serde_json::from_slice(&self.line).map_err(|error| failed(error.into()));
        self.line.clear();
        event
    }
}
