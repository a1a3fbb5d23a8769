//! A line the user types.

use super::keys::Key;

/// The most characters a line may have.
const MAX_CHARS: usize = 1000;

/// Text with a cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    text: Vec<char>,
    cursor: usize,
}

impl Line {
    /// A line with the cursor at its end.
    pub fn new(text: &str) -> Line {
        let text: Vec<char> = text.chars().take(MAX_CHARS).collect();
        Line { cursor: text.len(), text }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// The text up to the cursor.
    pub fn before_cursor(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    /// The text from the cursor on.
    pub fn after_cursor(&self) -> String {
        self.text[self.cursor..].iter().collect()
    }

    /// Takes a key; `false` when the key means nothing to a line.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Char(c) if self.text.len() < MAX_CHARS => {
                self.text.insert(self.cursor, c);
                self.cursor += 1;
            }
            Key::Char(_) => {}
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            Key::Delete | Key::Ctrl('d') if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            Key::Left | Key::Ctrl('b') => self.cursor = self.cursor.saturating_sub(1),
            Key::Right | Key::Ctrl('f') => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            Key::Ctrl('u') => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::Ctrl('k') => self.text.truncate(self.cursor),
            Key::Ctrl('w') => self.erase_word(),
            _ => return false,
        }
        true
    }

    fn erase_word(&mut self) {
        let end = self.cursor;
        while self.cursor > 0 && self.text[self.cursor - 1] == ' ' {
            self.cursor -= 1;
        }
        while self.cursor > 0 && self.text[self.cursor - 1] != ' ' {
            self.cursor -= 1;
        }
        self.text.drain(self.cursor..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_keys_do_what_shells_do() {
        let mut line = Line::new("show ports");
        for key in
            [Key::Ctrl('w'), Key::Char('f'), Key::Home, Key::Delete, Key::Char('S'), Key::End, Key::Backspace]
        {
            assert!(line.press(key));
        }
        assert_eq!(line.text(), "Show ");
        line.press(Key::Left);
        line.press(Key::Left);
        assert_eq!((line.before_cursor().as_str(), line.after_cursor().as_str()), ("Sho", "w "));
        line.press(Key::Ctrl('k'));
        line.press(Key::Ctrl('u'));
        assert_eq!(line, Line::default());
        assert!(!line.press(Key::Backspace));
    }

    #[test]
    fn a_line_does_not_grow_without_end() {
        let mut line = Line::default();
        for _ in 0..2 * MAX_CHARS {
            line.press(Key::Char('é'));
        }
        assert_eq!(line.text().chars().count(), MAX_CHARS);
    }
}
