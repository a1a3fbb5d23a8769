//! `corten events`: what happens on the switch, as it happens.

use std::io::{self, Write};

use netd_api::events::Event;
use nix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;

use super::Context;
use crate::client::Error;
use crate::document::Sources;
use crate::look::{Look, Tone};
use crate::outcome::{Exit, Outcome};
use crate::text;

/// Longest line that is read; netd's are far shorter.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// What to print.
pub struct Request {
    /// Ports whose links are looked at closely meanwhile.
    pub ports: Vec<String>,
    /// End after this many events.
    pub count: Option<u64>,
    /// A line of JSON each.
    pub json: bool,
}

/// Prints events until there were as many as asked for, or the reader or netd goes away.
pub async fn run(request: Request, context: &Context) -> Result<Outcome, Error> {
    if context.sources == Sources::RegularFiles {
        let words = "corten: events go on and on, as these screens do: see the log (3), or over SSH \
                     `ssh ana@switch events`\n"
            .to_owned();
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    let stream = super::connect().await?.events(&request.ports).await?;
    let failed = |error: io::Error| Error::Failed(format!("the stream of events: {error}"));
    stream.set_nonblocking(true).map_err(failed)?;
    let mut reader = BufReader::new(UnixStream::from_std(stream).map_err(failed)?);
    let mut line = Vec::new();
    let mut left = request.count.unwrap_or(u64::MAX);
    let gone = super::reader_gone();
    tokio::pin!(gone);
    while left > 0 {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE_BYTES);
        let read = tokio::select! {
            read = bounded.read_until(b'\n', &mut line) => read.map_err(failed)?,
            () = &mut gone => break,
        };
        if read == 0 {
            return Err(Error::Unreachable("it ended the stream of events".to_owned()));
        }
        let event: Event = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
        let shown = if request.json { super::json_line(&event)? } else { show(&event, context.look) };
        match print(&shown) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            printed => printed.map_err(failed)?,
        }
        left -= 1;
    }
    Ok(Outcome::default())
}

/// Printed at once: what waits in a buffer is of no use to whoever watches.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// `14:05:09.123  link-down          swp8  poll`.
fn show(event: &Event, look: Look) -> String {
    let kind = super::json_line(&event.kind).unwrap_or_default();
    let kind = kind.trim_matches('"');
    let tone = match kind {
        "link-down" | "port-removed" | "route-alarm" | "degraded" | "duplicate-address" | "lagged" => {
            Tone::Bad
        }
        "link-up" | "recovered" | "route-alarm-cleared" => Tone::Good,
        _ => Tone::Normal,
    };
    let source = super::json_line(&event.source).unwrap_or_default();
    // What only tells how things stand is no news.
    let source = if event.snapshot { "state" } else { source.trim_matches('"') };
    let parts = [text::clean(&event.object), source.to_owned(), text::clean(&event.detail)];
    let rest: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let kind = look.paint(&format!("{kind:19}"), tone);
    format!("{}  {kind}  {}", wall_clock(event.monotonic_ns), rest.join("  "))
}

/// The local time of a moment of CLOCK_MONOTONIC, with milliseconds.
fn wall_clock(monotonic_ns: u64) -> String {
    let now_ns = clock_gettime(ClockId::CLOCK_MONOTONIC).map(std::time::Duration::from).unwrap_or_default();
    let ago_ns = i64::try_from(now_ns.as_nanos()).unwrap_or(i64::MAX).saturating_sub_unsigned(monotonic_ns);
    let time = jiff::Zoned::now().saturating_sub(jiff::SignedDuration::from_nanos(ago_ns));
    time.strftime("%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netd_api::events::{EventKind, EventSource};

    fn event(object: &str, detail: &str) -> Event {
        Event {
            boot_id: "boot".into(),
            seq: 7,
            monotonic_ns: 1,
            kind: EventKind::LinkDown,
            object: object.into(),
            source: EventSource::Poll,
            detail: detail.into(),
            snapshot: false,
        }
    }

    #[test]
    fn an_event_is_a_line_that_moves_no_cursor() {
        let line = show(&event("swp8", "evil \x1b[2J\nline"), Look::PLAIN);
        assert_eq!(&line["14:05:09.123".len()..], "  link-down            swp8  poll  evil [2J line");
        let state = show(&Event { snapshot: true, ..event("swp8", "") }, Look::PLAIN);
        assert!(state.ends_with("swp8  state"), "{state}");
    }

    #[test]
    fn moments_that_cannot_be_do_no_harm() {
        for moment in [0, u64::MAX] {
            assert_eq!(wall_clock(moment).len(), "14:05:09.123".len());
        }
    }
}
