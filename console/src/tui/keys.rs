//! Key presses and terminal answers from the bytes of a terminal.
//!
//! The answer to "where is the cursor" comes in the same stream as the keys, whenever the line is slow
//! enough. Reading both here means that no key is lost and nothing has to wait.

use vte::{Params, Parser, Perform};

const ESCAPE: u8 = 0x1b;

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Control with a letter, in lower case.
    Ctrl(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
}

/// What came from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// The cursor's place, from 1, as the terminal reports it when asked (DSR 6).
    Cursor {
        /// Column.
        column: u16,
        /// Line.
        line: u16,
    },
}

/// Turns bytes into inputs.
#[derive(Default)]
pub struct Decoder {
    parser: Parser,
    sink: Sink,
    /// Whether the last byte was an escape: a key of its own, or the start of a sequence still under way.
    after_escape: bool,
}

#[derive(Default)]
struct Sink {
    inputs: Vec<Input>,
    /// After a carriage return: a line feed belongs to the same key, as in text from Windows.
    after_return: bool,
    /// After `ESC O`: the next character names a key (SS3).
    single_shift: bool,
}

impl Decoder {
    /// Inputs of these bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Input> {
        for &byte in bytes {
            if byte == ESCAPE && self.after_escape {
                self.sink.key(Key::Escape);
            }
            self.after_escape = byte == ESCAPE;
            self.parser.advance(&mut self.sink, &[byte]);
        }
        std::mem::take(&mut self.sink.inputs)
    }

    /// Whether a lone escape waits for what follows it. After a moment without bytes it is the key.
    pub fn is_waiting(&self) -> bool {
        self.after_escape
    }

    /// Gives up waiting: the escape was the key.
    pub fn flush(&mut self) -> Option<Input> {
        if !self.after_escape {
            return None;
        }
        *self = Decoder::default();
        Some(Input::Key(Key::Escape))
    }
}

impl Sink {
    fn key(&mut self, key: Key) {
        self.after_return = false;
        self.inputs.push(Input::Key(key));
    }
}

impl Perform for Sink {
    fn print(&mut self, c: char) {
        let shifted = std::mem::take(&mut self.single_shift);
        match (shifted, c) {
            (true, 'M') => self.key(Key::Enter),
            (true, c) => self.inputs.extend(final_key(c).map(Input::Key)),
            (false, '\u{7f}') => self.key(Key::Backspace),
            (false, c) if c.is_control() => {}
            (false, c) => self.key(Key::Char(c)),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => {
                self.key(Key::Enter);
                self.after_return = true;
            }
            b'\n' if self.after_return => self.after_return = false,
            b'\n' => self.key(Key::Enter),
            b'\t' => self.key(Key::Tab),
            0x08 | 0x7f => self.key(Key::Backspace),
            0x01..=0x1a => self.key(Key::Ctrl(char::from(byte - 1 + b'a'))),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, _intermediates: &[u8], _ignore: bool, action: char) {
        let mut numbers = params.iter().map(|param| param.first().copied().unwrap_or(0));
        let first = numbers.next().unwrap_or(0);
        let second = numbers.next().unwrap_or(0);
        match action {
            'R' if first > 0 && second > 0 => self.inputs.push(Input::Cursor { column: second, line: first }),
            '~' => self.inputs.extend(numbered_key(first).map(Input::Key)),
            'Z' => self.key(Key::BackTab),
            _ => self.inputs.extend(final_key(action).map(Input::Key)),
        }
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignore: bool, byte: u8) {
        self.single_shift = byte == b'O';
    }
}

/// Keys of `ESC [ X` and `ESC O X`.
fn final_key(c: char) -> Option<Key> {
    Some(match c {
        'A' => Key::Up,
        'B' => Key::Down,
        'C' => Key::Right,
        'D' => Key::Left,
        'H' => Key::Home,
        'F' => Key::End,
        _ => return None,
    })
}

/// Keys of `ESC [ N ~`.
fn numbered_key(number: u16) -> Option<Key> {
    Some(match number {
        1 | 7 => Key::Home,
        3 => Key::Delete,
        4 | 8 => Key::End,
        5 => Key::PageUp,
        6 => Key::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let inputs = Decoder::default().feed(bytes);
        inputs
            .into_iter()
            .filter_map(|input| if let Input::Key(key) = input { Some(key) } else { None })
            .collect()
    }

    #[test]
    fn cursor_keys_work_in_both_modes() {
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~"), [Key::Up, Key::Down, Key::PageUp, Key::PageDown]);
        assert_eq!(keys(b"\x1b[H\x1b[4~\x1b[3~\x1b[Z"), [Key::Home, Key::End, Key::Delete, Key::BackTab]);
    }

    #[test]
    fn text_and_control_keys() {
        assert_eq!(
            keys("é/\r\t\x7f\x0c".as_bytes()),
            [Key::Char('é'), Key::Char('/'), Key::Enter, Key::Tab, Key::Backspace, Key::Ctrl('l')]
        );
    }

    #[test]
    fn the_cursor_report_is_no_key() {
        assert_eq!(
            Decoder::default().feed(b"a\x1b[24;80Rb"),
            [Input::Key(Key::Char('a')), Input::Cursor { column: 80, line: 24 }, Input::Key(Key::Char('b'))]
        );
    }

    #[test]
    fn a_sequence_may_arrive_byte_by_byte() {
        let mut decoder = Decoder::default();
        assert!(decoder.feed(b"\x1b").is_empty());
        assert!(decoder.is_waiting());
        assert!(decoder.feed(b"[").is_empty());
        assert!(!decoder.is_waiting());
        assert_eq!(decoder.feed(b"A"), [Input::Key(Key::Up)]);
    }

    #[test]
    fn a_lone_escape_is_a_key_after_a_moment() {
        let mut decoder = Decoder::default();
        decoder.feed(b"\x1b");
        assert_eq!(decoder.flush(), Some(Input::Key(Key::Escape)));
        assert_eq!(decoder.flush(), None);
        assert_eq!(decoder.feed(b"[A"), [Input::Key(Key::Char('[')), Input::Key(Key::Char('A'))]);
        assert_eq!(decoder.feed(b"\x1b\x1b"), [Input::Key(Key::Escape)]);
    }

    #[test]
    fn line_noise_does_no_harm() {
        let mut decoder = Decoder::default();
        let mut noise = 1u32;
        for _ in 0..100_000 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            decoder.feed(&noise.to_le_bytes()[2..]);
        }
    }
}
