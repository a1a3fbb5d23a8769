//! `corten events`: what happens on the switch, as it happens.

use netd_api::alarm::AlarmKind;
use netd_api::events::Event;

use super::Context;
use crate::client::Error;
use crate::document::Sources;
use crate::events::Events;
use crate::look::{Look, Tone};
use crate::outcome::{Exit, Outcome};
use crate::text;

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
        let words = "corten: events go on and on, as these screens do: see the first one (0) and the log (9), or over SSH \
                     `ssh ana@switch events`\n"
            .to_owned();
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    let mut events = Events::open(&super::connect().await?, ("", 0), &request.ports).await?;
    let mut left = request.count.unwrap_or(u64::MAX);
    let gone = super::reader_gone();
    tokio::pin!(gone);
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event?,
            () = &mut gone => break,
        };
        let shown = if request.json { super::json_line(&event)? } else { show(&event, context.look) };
        match super::print_now(&(shown + "\n")) {
            Err(Error::ReaderGone) => break,
            printed => printed?,
        }
        left -= 1;
    }
    Ok(Outcome::default())
}

/// `14:05:09.123  link-down          swp8  poll`.
fn show(event: &Event, look: Look) -> String {
    let kind = super::json_line(&event.kind).unwrap_or_default();
    let kind = kind.trim_matches('"');
    let tone = match kind {
        "link-down" | "port-removed" | "alarm" | "lagged" => Tone::Bad,
        "link-up" | "alarm-cleared" => Tone::Good,
        _ => Tone::Normal,
    };
    let source = super::json_line(&event.source).unwrap_or_default();
    // What only tells how things stand is no news.
    let source = if event.snapshot { "state" } else { source.trim_matches('"') };
    let alarm = event.alarm.map_or("", AlarmKind::as_str).to_owned();
    let parts = [text::clean(&event.object), source.to_owned(), alarm, text::clean(&event.detail)];
    let rest: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let kind = look.paint(&format!("{kind:19}"), tone);
    format!("{}  {kind}  {}", wall_clock(event.monotonic_ns), rest.join("  "))
}

/// The local time of a moment of CLOCK_MONOTONIC, with milliseconds.
fn wall_clock(monotonic_ns: u64) -> String {
    text::of_monotonic(monotonic_ns, "%H:%M:%S%.3f")
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
            alarm: None,
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
        let alarm = Event {
            kind: EventKind::Alarm,
            alarm: Some(AlarmKind::GroupsFull),
            source: EventSource::Netd,
            ..event("swp8", "full")
        };
        let alarm = show(&alarm, Look::PLAIN);
        assert!(alarm.ends_with("  alarm                swp8  netd  groups-full  full"), "{alarm}");
    }

    #[test]
    fn moments_that_cannot_be_do_no_harm() {
        for moment in [0, u64::MAX] {
            assert_eq!(wall_clock(moment).len(), "14:05:09.123".len());
        }
    }
}
