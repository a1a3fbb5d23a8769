//! The terminal: raw mode and back again, its size, and the fewest bytes that bring a picture to it.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::terminal as crossterm;
use ratatui::layout::{Position, Rect};

use crate::look::Look;

/// Columns and lines of a terminal that does not tell.
pub const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// The largest picture that is painted; a terminal that claims more gets this much.
const MAX_SIZE: (u16, u16) = (500, 200);

/// How long a terminal at the start may take to tell its size before the default is painted.
pub const PROBE_PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// Cursor to the far corner, then: where is the cursor (DSR 6)? The answer is the size.
const PROBE: &[u8] = b"\x1b[999;999H\x1b[6n";
const SHOW_CURSOR: &[u8] = b"\x1b[?25h";
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";
const ENTER_ALTERNATE: &[u8] = b"\x1b[?1049h";
const LEAVE_ALTERNATE: &[u8] = b"\x1b[?1049l";
const PLAIN_AND_CLEAR: &[u8] = b"\x1b[0m\x1b[H\x1b[2J";

/// Whether the terminal is ours, so that it is given back exactly once.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the alternate screen is in use.
static ALTERNATE: AtomicBool = AtomicBool::new(false);

/// Columns and lines as the kernel knows them; `None` on a serial line, where it does not.
pub fn window_size() -> Option<(u16, u16)> {
    let size = crossterm::window_size().ok()?;
    (size.columns > 0 && size.rows > 0).then(|| bounded(size.columns, size.rows))
}

/// A size within what is painted.
pub fn bounded(columns: u16, lines: u16) -> (u16, u16) {
    (columns.clamp(1, MAX_SIZE.0), lines.clamp(1, MAX_SIZE.1))
}

/// The terminal while the screens have it. Dropping it gives it back, and so does a panic.
pub struct Terminal {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    /// What the terminal shows.
    shown: Buffer,
    /// Where it shows its cursor.
    cursor: Option<Position>,
    /// Whether it was asked for its size and has not answered yet.
    asked: bool,
}

impl Terminal {
    /// Takes the terminal: raw mode, cleared, no cursor.
    ///
    /// # Errors
    /// When standard input or output is no terminal that can be set.
    pub fn take(look: Look, (columns, lines): (u16, u16)) -> io::Result<Terminal> {
        crossterm::enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        ALTERNATE.store(look.alternate_screen, Ordering::SeqCst);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
            // A task that panics would otherwise leave the rest painting on a terminal given back.
            std::process::exit(101);
        }));
        let mut terminal = Terminal {
            // A whole picture in one write: a serial line shows it in one go.
            backend: CrosstermBackend::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            shown: Buffer::empty(Rect::new(0, 0, columns, lines)),
            cursor: None,
            asked: false,
        };
        if look.alternate_screen {
            terminal.backend.write_all(ENTER_ALTERNATE)?;
        }
        terminal.backend.write_all(HIDE_CURSOR)?;
        terminal.clear()?;
        Ok(terminal)
    }

    /// Asks the terminal for its size. The answer comes among the keys, as a cursor's place.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn probe(&mut self) -> io::Result<()> {
        self.asked = true;
        self.backend.write_all(PROBE)?;
        // The question moved the cursor; a cursor that is shown goes back to its place.
        if let Some(position) = self.cursor {
            self.backend.set_cursor_position(position)?;
        }
        Write::flush(&mut self.backend)
    }

    /// Whether a cursor report is the answer to a question. Without one it is a key: xterm sends the same
    /// bytes for Shift-F3.
    pub fn takes_answer(&mut self) -> bool {
        std::mem::take(&mut self.asked)
    }

    /// The area pictures are made for.
    pub fn area(&self) -> Rect {
        self.shown.area
    }

    /// Takes a new size. The next picture is painted whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&mut self, (columns, lines): (u16, u16)) -> io::Result<()> {
        self.shown.resize(Rect::new(0, 0, columns, lines));
        self.clear()
    }

    /// Clears the terminal, whatever may be on it. The next picture is painted whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.shown.reset();
        self.backend.write_all(PLAIN_AND_CLEAR)
    }

    /// Brings a picture to the terminal: only cells that differ, and no byte when none does.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn paint(&mut self, picture: Buffer, cursor: Option<Position>) -> io::Result<()> {
        let changes = self.shown.diff(&picture);
        let painted = !changes.is_empty();
        if painted {
            self.backend.draw(changes.into_iter())?;
        }
        match (self.cursor, cursor) {
            (Some(_), None) => self.backend.write_all(HIDE_CURSOR)?,
            (None, Some(_)) => self.backend.write_all(SHOW_CURSOR)?,
            _ => {}
        }
        if let Some(position) = cursor
            && (painted || self.cursor != cursor)
        {
            self.backend.set_cursor_position(position)?;
        }
        self.shown = picture;
        self.cursor = cursor;
        // Without a change this writes nothing: the buffer is empty.
        Write::flush(&mut self.backend)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was found. Nothing can be done where that fails.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout().lock();
    let _ = out.write_all(PLAIN_AND_CLEAR);
    if ALTERNATE.load(Ordering::SeqCst) {
        let _ = out.write_all(LEAVE_ALTERNATE);
    }
    let _ = out.write_all(SHOW_CURSOR);
    let _ = out.flush();
    let _ = crossterm::disable_raw_mode();
}
