//! Messages of netd and of the kernel, as journalctl(1) follows them.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::text;

/// The journal's reader.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// The most bytes of one entry that are looked at.
const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// The most characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 1000;
/// How long to wait before journalctl is started again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Local time, `May 02 14:05:09`.
    pub time: String,
    /// Who said it: `netd`, `kernel`.
    pub source: String,
    /// syslog(3) priority, 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// What was said, cleaned.
    pub message: String,
}

/// News from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The journal is read from here on: what was shown is outdated.
    Begin,
    /// A message.
    Entry(Entry),
    /// The journal cannot be read; why.
    Unreadable(String),
}

/// Which messages are read.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// How many of the newest.
    pub lines: u32,
    /// Whether to go on with what comes.
    pub follow: bool,
    /// The least severity, 0 (emergency) to 7 (debug: everything).
    pub priority: u8,
}

/// Follows the journal until the screens close.
pub async fn run(news: mpsc::Sender<News>) {
    let selection = Selection { lines: 1000, follow: true, priority: 7 };
    loop {
        let why = match read(selection, &news).await {
            Ok(()) => "journalctl ended".to_owned(),
            Err(why) => why,
        };
        if news.send(News::Unreadable(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Reads the journal to its end, or as long as somebody listens.
///
/// # Errors
/// What journalctl had to say.
pub async fn read(selection: Selection, news: &mpsc::Sender<News>) -> Result<(), String> {
    run_journalctl(journalctl(selection), news).await.map_err(|error| format!("{JOURNALCTL}: {error}"))?
}

async fn run_journalctl(mut command: Command, news: &mpsc::Sender<News>) -> io::Result<Result<(), String>> {
    // It ends with this function, whatever the reason.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("no pipe"));
    };
    let complaint = tokio::task::spawn_local(async move {
        let mut text = Vec::new();
        let _ = err.take(4096).read_to_end(&mut text).await;
        text::clean(String::from_utf8_lossy(&text).trim())
    });
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    let mut begun = false;
    loop {
        let more = tokio::select! {
            more = read_line(&mut out, &mut line) => more?,
            // A quiet journal would not tell that nobody listens any more.
            () = news.closed() => return Ok(Ok(())),
        };
        if !more {
            break;
        }
        let Some(entry) = parse(&line) else { continue };
        if !begun {
            begun = true;
            let _ = news.send(News::Begin).await;
        }
        if news.send(News::Entry(entry)).await.is_err() {
            return Ok(Ok(()));
        }
    }
    drop(out);
    let status = child.wait().await?;
    let complaint = complaint.await.unwrap_or_default();
    Ok(match (status.success(), complaint.is_empty()) {
        // It tells on standard error that there are none, too.
        (true, _) if begun || complaint.is_empty() => Ok(()),
        (_, false) => Err(complaint),
        (_, true) => Err(format!("journalctl ended ({status})")),
    })
}

fn journalctl(selection: Selection) -> Command {
    let mut command = Command::new(JOURNALCTL);
    if selection.follow {
        command.arg("--follow");
    }
    command
        .args(["--boot", "--no-pager", "--output=json"])
        .arg(format!("--lines={}", selection.lines))
        .arg(format!("--priority={}", selection.priority))
        .arg("--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_TRANSPORT")
        // netd's own words, the service manager's about netd, and the kernel's.
        .args(["_SYSTEMD_UNIT=netd.service", "+", "UNIT=netd.service", "+", "_TRANSPORT=kernel"])
        .env_clear();
    command
}

/// Reads a line of bounded length, the rest of a longer one being left out; `false` at the end.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let bytes = from.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(bytes.len());
        let kept = taken.min(MAX_ENTRY_BYTES.saturating_sub(line.len()));
        line.extend_from_slice(&bytes[..kept]);
        from.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// An entry from journalctl's JSON; `None` for what is none.
fn parse(line: &[u8]) -> Option<Entry> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(line).ok()?;
    let message = field(&fields, "MESSAGE")?;
    let microseconds: i64 = field(&fields, "__REALTIME_TIMESTAMP")?.parse().ok()?;
    let time = jiff::Timestamp::from_microsecond(microseconds).ok()?.to_zoned(jiff::tz::TimeZone::system());
    let source =
        field(&fields, "SYSLOG_IDENTIFIER").or_else(|| field(&fields, "_TRANSPORT")).unwrap_or_default();
    Some(Entry {
        time: time.strftime("%b %d %H:%M:%S").to_string(),
        source: text::clean(&source),
        priority: field(&fields, "PRIORITY").and_then(|text| text.parse().ok()).unwrap_or(6),
        message: text::clean(&message).chars().take(MAX_MESSAGE_CHARS).collect(),
    })
}

/// A field as text. journalctl writes what is not printable text as an array of bytes, and a field that
/// was given several times as an array of its values.
fn field(fields: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => match items.first()? {
            Value::String(text) => Some(text.clone()),
            _ => {
                let bytes = items.iter().map(|item| u8::try_from(item.as_u64()?).ok());
                Some(String::from_utf8_lossy(&bytes.collect::<Option<Vec<u8>>>()?).into_owned())
            }
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_journalctl_are_read() {
        let entry = parse(br#"{"__REALTIME_TIMESTAMP":"1714658709000000","MESSAGE":"port swp1: link down","PRIORITY":"4","SYSLOG_IDENTIFIER":"netd"}"#).unwrap();
        assert_eq!((entry.source.as_str(), entry.priority), ("netd", 4));
        assert_eq!(entry.message, "port swp1: link down");
        assert_eq!(entry.time.len(), "May 02 14:05:09".len());
    }

    #[test]
    fn bytes_and_escape_sequences_become_harmless_text() {
        let entry = parse(
            br#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[27,91,50,74,104,105,255],"_TRANSPORT":"kernel"}"#,
        )
        .unwrap();
        assert_eq!((entry.source.as_str(), entry.message.as_str()), ("kernel", "[2Jhi\u{fffd}"));
        let entry = parse(br#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":["one","two"]}"#).unwrap();
        assert_eq!(entry.message, "one");
    }

    #[test]
    fn what_is_no_entry_is_left_out() {
        for line in ["", "x", "[]", "{}", r#"{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1"}"#] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[tokio::test]
    async fn a_quiet_journal_is_left_when_nobody_listens_any_more() {
        let mut quiet = Command::new("/bin/sh");
        quiet.args(["-c", r#"echo '{"__REALTIME_TIMESTAMP":"1","MESSAGE":"one"}'; exec sleep 1000"#]);
        let (sender, mut news) = mpsc::channel(8);
        let listener = async move {
            assert_eq!(news.recv().await, Some(News::Begin));
            assert!(matches!(news.recv().await, Some(News::Entry(_))));
        };
        let reading = tokio::task::LocalSet::new();
        let ended = reading.run_until(async {
            let both = async { tokio::join!(run_journalctl(quiet, &sender), listener).0 };
            tokio::time::timeout(Duration::from_secs(30), both).await
        });
        assert_eq!(ended.await.expect("it ends when its listener does").unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn overlong_entries_do_not_fill_memory() {
        let text = [vec![b'x'; 3 * MAX_ENTRY_BYTES], b"\nnext\nlast".to_vec()].concat();
        let mut from = BufReader::new(text.as_slice());
        let mut line = Vec::new();
        assert!(read_line(&mut from, &mut line).await.unwrap());
        assert_eq!(line.len(), MAX_ENTRY_BYTES);
        assert!(read_line(&mut from, &mut line).await.unwrap());
        assert_eq!(line, b"next");
        assert!(read_line(&mut from, &mut line).await.unwrap());
        assert_eq!(line, b"last");
        assert!(!read_line(&mut from, &mut line).await.unwrap());
    }
}
