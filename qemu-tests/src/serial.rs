//! A terminal of 80 columns and 24 rows on the machine's serial line.
//!
//! A thread drains the line into a log file, a text without escape sequences (for [`Serial::wait_for`])
//! and a screen (for [`Serial::wait_for_screen`]). It answers the question for the cursor's place as a
//! terminal does, so that programs which probe the size find 80 by 24.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::frame::find;
use crate::sync::{lock, wait_until};

/// Rows of the terminal.
pub const ROWS: u16 = 24;
/// Columns of the terminal.
pub const COLUMNS: u16 = 80;
/// Bytes of raw output kept in memory; the log file has all.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// Lines of the log shown when something awaited did not come.
const LINES_SHOWN: usize = 20;

/// The terminal.
pub struct Serial {
    shared: Arc<Shared>,
    stream: UnixStream,
    log: PathBuf,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    terminal: vt100::Parser<Answers>,
    /// Everything that came, and the same without escape sequences, each with what was cut off its front.
    raw: Kept,
    plain: Kept,
    stripper: Stripper,
    /// Where [`Serial::wait_for`] goes on, in `plain`.
    awaited: usize,
    closed: bool,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    cut: usize,
}

/// Answers to be sent to programs that ask the terminal.
#[derive(Default)]
struct Answers(Vec<u8>);

impl vt100::Callbacks for Answers {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        final_character: char,
    ) {
        if first.is_some() {
            return;
        }
        match (final_character, parameters.first().and_then(|values| values.first())) {
            // Device status report: the cursor's place (ECMA-48 8.3.35), and "ready".
            ('n', Some(6)) => {
                let (row, column) = screen.cursor_position();
                self.0.extend_from_slice(format!("\x1b[{};{}R", row + 1, column + 1).as_bytes());
            }
            ('n', Some(5)) => self.0.extend_from_slice(b"\x1b[0n"),
            // Device attributes: a VT220.
            ('c', None | Some(0)) => self.0.extend_from_slice(b"\x1b[?62;1;6c"),
            _ => {}
        }
    }
}

impl Serial {
    /// Attaches a terminal to the line; everything that comes is also written to `log`.
    pub fn new(stream: UnixStream, log: &Path) -> Result<Serial> {
        let mut file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let size = |count| NonZeroU16::new(count).context("a terminal without rows or columns");
        let terminal = vt100::Parser::new_with_callbacks(size(ROWS)?, size(COLUMNS)?, 0, Answers::default());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                terminal,
                raw: Kept::default(),
                plain: Kept::default(),
                stripper: Stripper::default(),
                awaited: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let (for_reader, mut line) =
            (Arc::clone(&shared), stream.try_clone().context("cannot share a socket")?);
        let reader = std::thread::Builder::new()
            .name("serial".to_owned())
            .spawn(move || for_reader.read(&mut line, &mut file))
            .context("cannot start the reader of the serial line")?;
        Ok(Serial { shared, stream, log: log.to_owned(), reader: Some(reader) })
    }

    /// Types bytes.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        (&self.stream).write_all(bytes.as_ref()).context("cannot write to the serial line")
    }

    /// Types a line and presses Enter.
    pub fn send_line(&self, line: &str) -> Result<()> {
        self.send(format!("{line}\r"))
    }

    /// Waits until the line said `text`, after what the last call waited for. Escape sequences do not
    /// count, line ends do.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<()> {
        self.wait_for_any(&[text], timeout).map(drop)
    }

    /// Waits until the line said one of the texts; answers which came first.
    pub fn wait_for_any(&self, texts: &[&str], timeout: Duration) -> Result<usize> {
        let what = format!("{texts:?} on the serial line");
        self.wait(&what, timeout, |state| {
            let from = state.awaited.saturating_sub(state.plain.cut);
            let seen = state.plain.bytes.get(from..).unwrap_or_default();
            let found = texts
                .iter()
                .enumerate()
                .filter_map(|(index, text)| find(seen, text.as_bytes()).map(|at| (at, text.len(), index)))
                .min();
            found.map(|(at, length, index)| {
                state.awaited = state.plain.cut + from + at + length;
                index
            })
        })
    }

    /// Lets [`Serial::wait_for`] go on behind everything that has come so far.
    pub fn skip(&self) {
        let mut state = lock(&self.shared.state);
        state.awaited = state.plain.cut + state.plain.bytes.len();
    }

    /// Whether the line has said `text` at any time.
    pub fn has_said(&self, text: &str) -> bool {
        find(&lock(&self.shared.state).plain.bytes, text.as_bytes()).is_some()
    }

    /// Waits until the screen fits. `what` completes the sentence "… did not show …".
    pub fn wait_for_screen(
        &self,
        what: &str,
        timeout: Duration,
        mut fits: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        let outcome = self.wait(&format!("a screen with {what}"), timeout, |state| {
            let screen = state.terminal.screen().contents();
            fits(&screen).then_some(screen)
        });
        outcome.with_context(|| format!("the screen was:\n{}", framed(&self.screen())))
    }

    /// What the screen shows: 24 lines, trailing blanks cut.
    pub fn screen(&self) -> String {
        lock(&self.shared.state).terminal.screen().contents()
    }

    /// Whether any cell of the screen has a colour of its own.
    pub fn has_colour(&self) -> bool {
        let state = lock(&self.shared.state);
        let screen = state.terminal.screen();
        (0..ROWS).any(|row| {
            (0..COLUMNS).filter_map(|column| screen.cell(row, column)).any(|cell| {
                cell.fgcolor() != vt100::Color::Default || cell.bgcolor() != vt100::Color::Default
            })
        })
    }

    /// A mark for [`Serial::raw_since`].
    pub fn mark(&self) -> usize {
        let state = lock(&self.shared.state);
        state.raw.cut + state.raw.bytes.len()
    }

    /// The bytes that came since the mark, escape sequences included.
    pub fn raw_since(&self, mark: usize) -> Vec<u8> {
        let state = lock(&self.shared.state);
        state.raw.bytes.get(mark.saturating_sub(state.raw.cut)..).unwrap_or_default().to_vec()
    }

    /// The log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the text that came.
    pub fn tail(&self) -> String {
        let state = lock(&self.shared.state);
        let bytes = &state.plain.bytes;
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(64 * 1024)..]).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(answer) = look(&mut state) {
                return Ok(answer);
            }
            let why = if state.closed {
                "the line was closed"
            } else if Instant::now() >= deadline {
                "the deadline passed"
            } else {
                state = wait_until(&self.shared.changed, state, Some(deadline));
                continue;
            };
            drop(state);
            bail!(
                "waited {:.0} s for {what}: {why}\nlog: {}\nlast lines:\n{}",
                timeout.as_secs_f64(),
                self.log.display(),
                self.tail()
            );
        }
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn read(&self, line: &mut UnixStream, log: &mut File) {
        let mut buffer = vec![0; 4096];
        loop {
            match line.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    // A log that cannot be written is no reason to stop the test.
                    let _ = log.write_all(&buffer[..length]);
                    let answers = self.take(&buffer[..length]);
                    if !answers.is_empty() {
                        let _ = line.write_all(&answers);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    fn take(&self, bytes: &[u8]) -> Vec<u8> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        state.raw.push(bytes);
        let plain: Vec<u8> = bytes.iter().copied().filter(|&byte| state.stripper.is_text(byte)).collect();
        state.plain.push(&plain);
        state.terminal.process(bytes);
        self.changed.notify_all();
        std::mem::take(&mut state.terminal.callbacks_mut().0)
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > KEPT_BYTES {
            let excess = self.bytes.len() - KEPT_BYTES / 2;
            self.bytes.drain(..excess);
            self.cut += excess;
        }
    }
}

/// Tells text from escape sequences, byte by byte.
#[derive(Default)]
enum Stripper {
    #[default]
    Text,
    Escape,
    /// `ESC [` … up to a final byte.
    Control,
    /// `ESC ]`, `ESC P` … up to BEL or `ESC \`.
    String,
    StringEscape,
    /// One more byte belongs to the sequence (`ESC ( B`).
    One,
}

impl Stripper {
    fn is_text(&mut self, byte: u8) -> bool {
        let (next, text) = match (&self, byte) {
            (Stripper::Text, 0x1b) => (Stripper::Escape, false),
            (Stripper::Text, b'\r') => (Stripper::Text, false),
            (Stripper::Text, _) => (Stripper::Text, true),
            (Stripper::Escape, b'[') => (Stripper::Control, false),
            (Stripper::Escape, b']' | b'P' | b'X' | b'^' | b'_') => (Stripper::String, false),
            (Stripper::Escape, b'(' | b')' | b'*' | b'+' | b'#' | b'%' | b' ') => (Stripper::One, false),
            (Stripper::Escape | Stripper::One, _) => (Stripper::Text, false),
            (Stripper::Control, 0x40..=0x7e) => (Stripper::Text, false),
            (Stripper::Control, _) => (Stripper::Control, false),
            (Stripper::String, 0x07) => (Stripper::Text, false),
            (Stripper::String, 0x1b) => (Stripper::StringEscape, false),
            (Stripper::String, _) => (Stripper::String, false),
            (Stripper::StringEscape, _) => (Stripper::Text, false),
        };
        *self = next;
        text
    }
}

/// A screen in a frame, for error messages.
pub fn framed(screen: &str) -> String {
    let rule = "-".repeat(usize::from(COLUMNS));
    let mut text = format!("+{rule}+\n");
    for line in screen.lines() {
        text.push_str(&format!("|{line:<80}|\n"));
    }
    text + "+" + &rule + "+"
}

/// Counts the escape sequences in `bytes` that set a colour (SGR 30–38, 40–48, 90–97, 100–107).
pub fn colour_sequences(bytes: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = bytes;
    while let Some(at) = find(rest, b"\x1b[") {
        rest = &rest[at + 2..];
        let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)).unwrap_or(rest.len());
        if rest.get(end) == Some(&b'm') {
            let sets_colour = rest[..end].split(|&byte| byte == b';' || byte == b':').any(|parameter| {
                let value = std::str::from_utf8(parameter).ok().and_then(|text| text.parse::<u16>().ok());
                matches!(value, Some(30..=38 | 40..=48 | 90..=97 | 100..=107))
            });
            count += usize::from(sets_colour);
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> (Serial, UnixStream, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Serial::new(ours, &folder.path().join("serial.log")).unwrap(), theirs, folder)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_program_that_probes_the_size_finds_80_by_24() {
        let (_serial, mut line, _folder) = terminal();
        line.write_all(b"\x1b[999;999H\x1b[6n").unwrap();
        let mut answer = [0; 8];
        line.set_read_timeout(Some(SOON)).unwrap();
        line.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"\x1b[24;80R");
    }

    #[test]
    fn text_is_found_through_escape_sequences_and_only_once() {
        let (serial, mut line, folder) = terminal();
        line.write_all(b"\x1b[1;31mleaf1\x1b[0m lo\x1b(Bgin: ").unwrap();
        serial.wait_for("leaf1 login: ", SOON).unwrap();
        let error = serial.wait_for("login: ", Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.contains("login: ") && error.contains("serial.log"), "{error}");
        assert!(std::fs::read(folder.path().join("serial.log")).unwrap().ends_with(b"gin: "));
    }

    #[test]
    fn a_line_that_closes_ends_the_wait() {
        let (serial, line, _folder) = terminal();
        drop(line);
        assert!(serial.wait_for("x", Duration::from_secs(60)).unwrap_err().to_string().contains("closed"));
    }

    #[test]
    fn the_screen_shows_what_was_painted() {
        let (serial, mut line, _folder) = terminal();
        line.write_all(b"\x1b[2J\x1b[3;5Hswp1 up\x1b[3;10Hdown").unwrap();
        let screen = serial.wait_for_screen("the port down", SOON, |screen| screen.contains("down")).unwrap();
        assert_eq!(screen.lines().nth(2), Some("    swp1 down"));
    }

    #[test]
    fn colours_are_told_from_other_attributes() {
        assert_eq!(colour_sequences(b"\x1b[1m\x1b[7mtext\x1b[0m\x1b[39;49m"), 0);
        assert_eq!(colour_sequences(b"\x1b[1;32mtext\x1b[48;5;1m"), 2);
    }
}
