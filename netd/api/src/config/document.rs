//! Text to tree: the TOML of a document, its syntax errors, and the line and column of each byte.

use std::collections::HashSet;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::DeTable;

use super::depth;
use super::model::Place;
use crate::diagnostic::Diagnostic;

/// Largest document that is read, in bytes. It comes in one message, which D-Bus bounds at 128 MiB (its
/// specification, "Message Format") with all that is around it.
pub const MAX_DOCUMENT_BYTES: usize = 127 * 1024 * 1024;

/// Most of it that may be something else than plain `[[routes]]` blocks, in bytes: what becomes a tree takes
/// many times its size in memory.
pub const MAX_TREE_BYTES: usize = 4 * 1024 * 1024;

/// Above this size only the first syntax error is reported: a document that is not TOML at all would
/// otherwise cost a hundred times its size in error records.
pub(super) const RECOVERY_BYTES: usize = 256 * 1024;

/// How often lines with syntax errors are taken out before the rest is given up.
const RECOVERY_ROUNDS: usize = 5;

/// Finds lines and columns. Built once a document; each question then costs at most one step's scan,
/// whatever the length of the line.
pub(super) struct Lines<'d> {
    text: &'d str,
    /// Byte offset of each line's first byte.
    starts: Vec<usize>,
    /// Number of characters before each `STEP`th byte.
    characters: Vec<u32>,
    gaps: &'d [Gap],
}

/// Whole lines that are missing in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Number of lines of the text before the gap.
    pub(super) line: u32,
    /// Number of lines missing here and before.
    pub(super) missing: u32,
}

/// Distance of the checkpoints that count characters, in bytes.
const STEP: usize = 256;

impl<'d> Lines<'d> {
    pub(super) fn new(text: &'d str) -> Self {
        Lines::with_gaps(text, &[])
    }

    /// Of a text in which lines are missing.
    pub(super) fn with_gaps(text: &'d str, gaps: &'d [Gap]) -> Self {
        let mut starts = vec![0];
        let mut characters = Vec::with_capacity(text.len() / STEP + 1);
        let mut count = 0;
        for (offset, byte) in text.bytes().enumerate() {
            if offset % STEP == 0 {
                characters.push(count);
            }
            // Every byte but the continuation bytes of UTF-8 begins a character.
            count += u32::from(byte & 0xc0 != 0x80);
            if byte == b'\n' {
                starts.push(offset + 1);
            }
        }
        characters.push(count);
        Lines { text, starts, characters, gaps }
    }

    /// Line and column of a byte offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.characters_before(offset).saturating_sub(self.characters_before(start));
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let gaps = self.gaps.partition_point(|gap| gap.line < line);
        let missing = gaps.checked_sub(1).and_then(|last| self.gaps.get(last)).map_or(0, |gap| gap.missing);
        Place { line: line.saturating_add(missing), column: column + 1 }
    }

    fn characters_before(&self, offset: usize) -> u32 {
        let step = offset / STEP;
        let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
        let rest =
            self.text.as_bytes().get(step * STEP..offset).unwrap_or_default().iter().filter(begins).count();
        self.characters.get(step).copied().unwrap_or(0) + u32::try_from(rest).unwrap_or(0)
    }

    /// The bytes of a line (from 1), without its line feed.
    fn line(&self, line: u32) -> Range<usize> {
        let index = line.saturating_sub(1) as usize;
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        start..end.max(start)
    }
}

/// Refuses a document that is too large, before anything else looks at it.
pub(super) fn check_size(text: &str) -> Result<(), Diagnostic> {
    if text.len() <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(too_large(text.len(), "", MAX_DOCUMENT_BYTES))
}

/// Says that so many bytes are too many, beside plain routes.
pub(super) fn too_large_for_a_tree(bytes: usize) -> Diagnostic {
    too_large(bytes, " beside plain [[routes]] blocks", MAX_TREE_BYTES)
}

fn too_large(bytes: usize, what: &str, limit: usize) -> Diagnostic {
    let mebibytes = limit / (1024 * 1024);
    let message = format!("the document has {bytes} bytes{what}; the limit is {limit} ({mebibytes} MiB)");
    Diagnostic { line: 1, column: 1, path: String::new(), message }
}

/// Syntax errors of a text, as far as they can be told apart.
pub(super) fn syntax_errors(text: &str, lines: &Lines<'_>, errors: Vec<toml::de::Error>) -> Vec<Diagnostic> {
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let mut broken = HashSet::new();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let Place { line, column } = lines.place(span.start);
        // What follows on the line of an error is its consequence more often than a second mistake.
        let duplicate = error.message() == DUPLICATE;
        if broken.insert(line) || duplicate {
            let message = message(text, error.message(), span);
            diagnostics.push(Diagnostic { line, column, path: String::new(), message });
        }
    }
    diagnostics
}

/// How the TOML parser names a key that is given twice.
const DUPLICATE: &str = "duplicate key";

fn message(text: &str, message: &str, span: Range<usize>) -> String {
    if message == DUPLICATE {
        let key = text.get(span).unwrap_or_default();
        return format!("`{}` is given twice; keep one of the two", shortened(key));
    }
    format!("not valid TOML: {message}")
}

/// Text from the document, safe to repeat in a message: short, and without control characters.
pub(super) fn shortened(text: &str) -> String {
    const LIMIT: usize = 60;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(LIMIT).map(clean).collect();
    if text.chars().nth(LIMIT).is_some() {
        short.push('…');
    }
    short
}

/// Text with the lines that are no TOML blanked out, so that the mistakes in the others can still be
/// found at their places. `None` when no such text is found quickly.
pub(super) fn without_broken_lines(text: &str) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..RECOVERY_ROUNDS {
        // Blanking replaces whole characters of whole lines by spaces, so the text stays UTF-8.
        let current = String::from_utf8(bytes).ok()?;
        // What closed a bracket may be gone.
        let lines = Lines::new(&current);
        if depth::check(&current, &lines).is_err() {
            return None;
        }
        let (_, errors) = DeTable::parse_recoverable(&current);
        let broken: Vec<usize> = errors
            .iter()
            .filter(|error| error.message() != DUPLICATE)
            .map(|error| error.span().unwrap_or(0..0).start)
            .collect();
        if broken.is_empty() {
            return Some(current);
        }
        bytes = current.as_bytes().to_vec();
        for offset in broken {
            blank(&mut bytes, &lines, lines.place(offset).line);
        }
    }
    None
}

/// Blanks a line. With a broken section header goes the section: its keys would land in the one before.
fn blank(bytes: &mut [u8], lines: &Lines<'_>, line: u32) {
    let is_header = |range: Range<usize>| lines.text[range].trim_start().starts_with('[');
    let mut last = line;
    if is_header(lines.line(line)) {
        let count = u32::try_from(lines.starts.len()).unwrap_or(u32::MAX);
        while last < count && !is_header(lines.line(last + 1)) {
            last += 1;
        }
    }
    for range in (line..=last).map(|line| lines.line(line)) {
        if let Some(part) = bytes.get_mut(range) {
            part.fill(b' ');
        }
    }
}

/// The tree of a text, as far as it goes.
pub(super) fn tree(text: &str) -> Spanned<DeTable<'_>> {
    DeTable::parse_recoverable(text).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a = \"äöü\" # x\nb\n";
        let lines = Lines::new(text);
        assert_eq!(lines.place(0), Place { line: 1, column: 1 });
        let hash = text.find('#').unwrap();
        assert_eq!(lines.place(hash), Place { line: 1, column: 11 });
        assert_eq!(lines.place(text.find('b').unwrap()), Place { line: 2, column: 1 });
        assert_eq!(lines.place(usize::MAX), Place { line: 3, column: 1 });
    }

    #[test]
    fn columns_are_right_far_into_a_long_line() {
        let text = "é".repeat(10_000);
        assert_eq!(Lines::new(&text).place(2 * 9_000), Place { line: 1, column: 9_001 });
    }

    #[test]
    fn a_broken_header_takes_its_section_with_it() {
        let text = "a = 1\n[broken\nb = 2\n[c]\nd = 3\n";
        assert_eq!(without_broken_lines(text).unwrap(), "a = 1\n       \n     \n[c]\nd = 3\n");
    }
}
