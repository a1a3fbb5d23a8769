//! What a change did to the network, where it is told on standard output or on a page of the screens.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use netd_api::comparison::{Comparison, Progress};
use tokio::time::{Instant, sleep};

use super::Context;
use crate::client::Netd;
use crate::tables;
use crate::text;

/// How long links and hosts have after a change before what is missing is told as gone; at most half of the time in
/// which the change must be confirmed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long they have, with the same bound, where netd comes to fewer looks than [`LOOKS`] meanwhile: at the first one
/// no host has answered yet.
const MOST_PATIENCE: Duration = Duration::from_secs(10);
/// How often netd is asked meanwhile.
const PERIOD: Duration = Duration::from_millis(250);
/// Looks of netd after which what is the same is taken for that: a link may go down a moment after the change.
const LOOKS: u32 = 3;
/// Objects of a kind that are told each by itself.
const MOST: usize = 10;
/// Columns where there is no terminal.
const COLUMNS: usize = 80;

/// What a change that was just applied did to the network, once that shows.
pub(super) async fn after_change(timeout_s: u32, netd: &Netd, context: &Context) -> String {
    let half = Duration::from_secs(timeout_s.into()) / 2;
    let begun = Instant::now();
    let mut said = false;
    loop {
        let comparison = netd.comparison().await;
        let (settled, patience) = match &comparison {
            Ok(comparison) => (is_settled(comparison), patience(comparison).min(half)),
            Err(_) => (true, PATIENCE),
        };
        if settled || begun.elapsed() >= patience {
            return show(comparison.ok().as_ref(), context);
        }
        if !said
            && begun.elapsed() >= Duration::from_secs(1)
            && context.prints()
            && io::stderr().is_terminal()
        {
            said = true;
            // The change is made; nothing can be said where standard error itself fails.
            let _ = io::stderr().write_all(b"applied; comparing what is there with what was\n");
        }
        sleep(PERIOD).await;
    }
}

/// Whether there is nothing to wait for.
fn is_settled(comparison: &Comparison) -> bool {
    match comparison.progress {
        Progress::NothingWaits | Progress::NotRecorded => true,
        Progress::NotLooked => false,
        Progress::Compared => comparison.is_same() && comparison.looks >= LOOKS,
    }
}

/// How long to wait for what is missing.
fn patience(comparison: &Comparison) -> Duration {
    if comparison.looks < LOOKS { MOST_PATIENCE } else { PATIENCE }
}

/// The comparison as lines of text; `None` where netd does not tell it.
pub(super) fn show(comparison: Option<&Comparison>, context: &Context) -> String {
    let Some(comparison) = comparison else {
        return "What was there before the change is not compared: netd does not tell.\n".to_owned();
    };
    let lines = tables::comparison::lines(comparison, MOST, context.width.unwrap_or(COLUMNS));
    if lines.is_empty() {
        return String::new();
    }
    let mut out = match comparison.progress {
        Progress::Compared => {
            let age = text::age(comparison.age_ms / 1000);
            format!("What was there before the change, looked at {age} ago:\n")
        }
        _ => "What was there before the change:\n".to_owned(),
    };
    for line in lines {
        out.push_str(&context.look.paint(&line.text, line.tone));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_right_after_a_change_has_some_time_to_come_back() {
        let of = |progress, looks| Comparison { progress, looks, ..Comparison::default() };
        assert!(is_settled(&of(Progress::NotRecorded, 0)));
        assert!(!is_settled(&of(Progress::NotLooked, 0)));
        assert!(!is_settled(&of(Progress::Compared, 1)), "a link may go down a moment later");
        assert!(is_settled(&of(Progress::Compared, LOOKS)));
        assert!(!is_settled(&Comparison { looks: 9, ..tables::comparison::tests::comparison() }));
        // Hosts are asked at the first look, and what they answer is seen at later ones.
        assert!(patience(&of(Progress::Compared, 1)) > patience(&of(Progress::Compared, LOOKS)));
    }
}
