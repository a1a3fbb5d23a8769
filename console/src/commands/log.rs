//! `corten log`: messages of netd and of the kernel.

use std::io::{self, Write};

use tokio::sync::mpsc;

use super::Context;
use crate::cli::Log;
use crate::client::Error;
use crate::document::Sources;
use crate::journal::{self, Entry, News, Selection};
use crate::look::{Look, Tone};
use crate::outcome::{Exit, Outcome};

/// Prints the newest messages, and with `--follow` those that come.
pub async fn run(log: Log, context: &Context) -> Result<Outcome, Error> {
    if log.follow && context.sources == Sources::RegularFiles {
        let words = "corten: the log screen follows the log: 3\n".to_owned();
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    let selection = Selection {
        lines: log.lines,
        follow: log.follow,
        priority: log.priority.map_or(7, |priority| priority as u8),
    };
    let (sender, mut news) = mpsc::channel(64);
    let reader = async {
        let ended = journal::read(selection, &sender).await;
        drop(sender);
        ended
    };
    let printer = async {
        let mut out = String::new();
        while let Some(news) = news.recv().await {
            let News::Entry(entry) = news else { continue };
            let line = format!("{}\n", show(&entry, context.look));
            if !log.follow {
                out.push_str(&line);
            } else if print(&line).is_err() {
                // Whoever read it went away.
                break;
            }
        }
        out
    };
    let (ended, out) = tokio::join!(reader, printer);
    match ended {
        Ok(()) => Ok(Outcome::done(out)),
        Err(why) => {
            Ok(Outcome { out, ..Outcome::failed(Exit::Refused, format!("corten: the journal: {why}\n")) })
        }
    }
}

fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// `May 02 14:05:09 netd! port swp3: link down`; warnings and worse are marked.
fn show(entry: &Entry, look: Look) -> String {
    let tone = match entry.priority {
        0..=3 => Tone::Bad,
        7 => Tone::Quiet,
        _ => Tone::Normal,
    };
    let mark = if entry.priority <= 4 { '!' } else { ':' };
    look.paint(&format!("{} {}{mark} {}", entry.time, entry.source, entry.message), tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_with_its_time_source_and_severity() {
        let entry = |priority| Entry {
            time: "May 02 14:05:09".into(),
            source: "netd".into(),
            priority,
            message: "port swp3: link down".into(),
        };
        assert_eq!(show(&entry(4), Look::PLAIN), "May 02 14:05:09 netd! port swp3: link down");
        assert_eq!(show(&entry(6), Look::PLAIN), "May 02 14:05:09 netd: port swp3: link down");
    }
}
