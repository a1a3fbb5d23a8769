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
        let words = "corten: the log screen follows the log: 9\n".to_owned();
        return Ok(Outcome::failed(Exit::Usage, words));
    }
    let selection = Selection {
        lines: log.lines,
        follow: log.follow,
        priority: log.priority.map_or(7, |priority| priority as u8),
    };
    let (sender, news) = mpsc::channel(64);
    let reader = async move { journal::read(selection, &sender).await };
    let line = |entry: &Entry| match log.json {
        true => super::json_line(entry),
        false => Ok(show(entry, context.look)),
    };
    let (ended, printed) = match log.follow {
        true => {
            let (ended, printed) =
                tokio::join!(reader, follow(news, line, io::stdout(), super::reader_gone()));
            (ended, printed.map(|()| Outcome::default()))
        }
        false => {
            let (ended, entries) = tokio::join!(reader, collect(news));
            let printed = match log.json {
                true => super::json(&entries),
                false => Ok(Outcome::done(lines(&entries, context))),
            };
            (ended, printed)
        }
    };
    match ended {
        Ok(()) => printed,
        Err(why) => Ok(Outcome {
            out: printed?.out,
            ..Outcome::failed(Exit::Refused, format!("corten: the journal: {why}\n"))
        }),
    }
}

/// Messages for a person, a line each.
fn lines(entries: &[Entry], context: &Context) -> String {
    // Whoever looks at a screen would take nothing for a command that did something. A program gets nothing.
    if entries.is_empty() && context.width.is_some() {
        return "No messages.\n".to_owned();
    }
    entries.iter().map(|entry| show(entry, context.look) + "\n").collect()
}

async fn collect(mut news: mpsc::Receiver<News>) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some(news) = news.recv().await {
        if let News::Entry(entry) = news {
            entries.push(entry);
        }
    }
    entries
}

/// Prints messages as they come, until there are no more or their reader is `gone`. The journal's reader ends with
/// it, as it takes the receiver along.
async fn follow(
    mut news: mpsc::Receiver<News>,
    line: impl Fn(&Entry) -> Result<String, Error>,
    mut out: impl Write,
    gone: impl Future<Output = ()>,
) -> Result<(), Error> {
    tokio::pin!(gone);
    loop {
        let news = tokio::select! {
            news = news.recv() => news,
            () = &mut gone => None,
        };
        match news {
            None => return Ok(()),
            Some(News::Entry(entry)) => {
                if writeln!(out, "{}", line(&entry)?).and_then(|()| out.flush()).is_err() {
                    return Ok(());
                }
            }
            Some(_) => {}
        }
    }
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

    fn entry() -> Entry {
        Entry {
            time: "May 02 14:05:09".into(),
            source: "netd".into(),
            priority: 4,
            message: "\u{9b}2J".into(),
        }
    }

    /// What becomes of a journal that gives one message and then keeps quiet.
    async fn followed(out: impl Write, gone: impl Future<Output = ()>) {
        let (sender, news) = mpsc::channel(1);
        let quiet = async move {
            sender.send(News::Entry(entry())).await.unwrap();
            sender.closed().await;
        };
        let both = async { tokio::join!(quiet, follow(news, super::super::json_line, out, gone)).1 };
        tokio::time::timeout(std::time::Duration::from_secs(30), both).await.expect("both end").unwrap();
    }

    #[tokio::test]
    async fn following_ends_when_its_reader_goes_away() {
        // A full slice cannot be written to.
        followed(&mut [0u8; 0][..], std::future::pending()).await;
        let mut out = Vec::new();
        followed(&mut out, std::future::ready(())).await;
    }

    #[tokio::test]
    async fn each_message_is_a_line_of_json() {
        let (sender, news) = mpsc::channel(3);
        for news in [News::Begin, News::Entry(entry()), News::Entry(entry())] {
            sender.send(news).await.unwrap();
        }
        drop(sender);
        let mut out = Vec::new();
        follow(news, super::super::json_line, &mut out, std::future::pending()).await.unwrap();
        let line = r#"{"time":"May 02 14:05:09","source":"netd","priority":4,"message":"\u009b2J"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n{line}\n"));
    }

    #[test]
    fn empty_log_says_so_to_a_person_and_nothing_to_a_program() {
        let context =
            |width| Context { width, look: Look::PLAIN, error_look: Look::PLAIN, sources: Sources::Any };
        assert_eq!(lines(&[], &context(Some(80))), "No messages.\n");
        assert_eq!(lines(&[], &context(None)), "");
        assert_eq!(lines(&[entry()], &context(Some(80))).lines().count(), 1);
    }

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
