//! The log as the screen holds it: the last messages, and how far back one has gone.

use std::collections::VecDeque;

use super::keys::Key;
use crate::journal::{Entry, News};
use crate::text;

/// The most messages kept.
const MAX_ENTRIES: usize = 2000;

/// The log screen.
#[derive(Debug, Default)]
pub struct LogView {
    entries: VecDeque<Entry>,
    /// Why there is no journal, where there is none.
    pub unreadable: Option<String>,
    /// Lines between the last one in view and the newest; 0 follows.
    pub back: usize,
    /// What a message must contain to be shown.
    pub filter: String,
    /// What it must be at least.
    pub severity: Severity,
    /// The first column in view.
    pub left: usize,
}

/// How bad a message must be to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    /// Everything.
    #[default]
    All,
    /// Warnings and worse.
    Warnings,
    /// Errors and worse.
    Errors,
}

impl Severity {
    fn takes(self, priority: u8) -> bool {
        match self {
            Severity::All => true,
            Severity::Warnings => priority <= 4,
            Severity::Errors => priority <= 3,
        }
    }
}

impl LogView {
    /// Takes news from the journal.
    pub fn take(&mut self, news: News) {
        match news {
            News::Begin => {
                self.entries.clear();
                self.unreadable = None;
                self.back = 0;
            }
            News::Entry(entry) => {
                // Whoever reads further back keeps the lines in view.
                if self.back > 0 && self.passes(&entry) {
                    self.back += 1;
                }
                self.entries.push_back(entry);
                if self.entries.len() > MAX_ENTRIES {
                    self.entries.pop_front();
                }
            }
            News::Unreadable(why) => self.unreadable = Some(why),
        }
    }

    /// The messages that pass the filter, oldest first.
    pub fn shown(&self) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| self.passes(entry)).collect()
    }

    fn passes(&self, entry: &Entry) -> bool {
        self.severity.takes(entry.priority) && super::contains(&self.filter, &[&entry.source, &entry.message])
    }

    /// Everything, then warnings, then errors.
    pub fn next_severity(&mut self) {
        self.severity = match self.severity {
            Severity::All => Severity::Warnings,
            Severity::Warnings => Severity::Errors,
            Severity::Errors => Severity::All,
        };
        self.back = 0;
    }

    /// The messages around those in view in lines of at most `columns`, and which line the first in view begins.
    pub fn in_full(&self, columns: usize, page: usize) -> (Vec<String>, usize) {
        let shown = self.shown();
        let first = shown.len().saturating_sub(self.back + page);
        let (mut lines, mut at) = (Vec::new(), 0);
        for (index, entry) in shown.into_iter().enumerate() {
            if index == first {
                at = lines.len();
            }
            let mark = if entry.priority <= 4 { '!' } else { ':' };
            let text = format!("{} {}{mark} {}", entry.time, entry.source, entry.message);
            // What goes on is indented.
            for (part, line) in text::wrap(&text, columns.saturating_sub(4)).into_iter().enumerate() {
                lines.push(if part == 0 { line } else { format!("    {line}") });
            }
        }
        (lines, at)
    }

    /// Takes a key that moves.
    pub fn press(&mut self, key: Key, page: usize) {
        self.left = super::app::sideways(self.left, key);
        let most = self.shown().len().saturating_sub(page);
        self.back = match key {
            Key::Up | Key::Char('k') => self.back.saturating_add(1),
            Key::Down | Key::Char('j') => self.back.saturating_sub(1),
            Key::PageUp => self.back.saturating_add(page),
            Key::PageDown => self.back.saturating_sub(page),
            Key::Home => most,
            Key::End => 0,
            _ => self.back,
        }
        .min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str) -> News {
        News::Entry(Entry { message: message.into(), ..Entry::default() })
    }

    #[test]
    fn the_log_is_bounded() {
        let mut log = LogView::default();
        for number in 0..MAX_ENTRIES + 5 {
            log.take(entry(&number.to_string()));
        }
        assert_eq!(log.shown().len(), MAX_ENTRIES);
        assert_eq!(log.shown()[0].message, "5");
    }

    #[test]
    fn severities_narrow_and_long_messages_can_be_read_in_full() {
        let mut log = LogView::default();
        for priority in [3, 4, 6] {
            let message = format!("{priority} {}", "word ".repeat(40));
            log.take(News::Entry(Entry { message, priority, ..Entry::default() }));
        }
        let count = |log: &mut LogView| {
            let count = log.shown().len();
            log.next_severity();
            count
        };
        assert_eq!([count(&mut log), count(&mut log), count(&mut log), count(&mut log)], [3, 2, 1, 3]);
        log.severity = Severity::All;
        let (lines, at) = log.in_full(60, 2);
        assert!(lines.iter().all(|line| line.len() <= 60), "{lines:?}");
        assert_eq!(lines.join(" ").matches("word").count(), 120);
        assert!(lines[at].contains("! 4 word"), "{}", lines[at]);
    }

    #[test]
    fn reading_back_is_not_disturbed_by_new_messages() {
        let mut log = LogView::default();
        for number in 0..50 {
            log.take(entry(&number.to_string()));
        }
        log.press(Key::PageUp, 10);
        log.take(entry("new"));
        assert_eq!(log.back, 11);
        log.press(Key::End, 10);
        assert_eq!(log.back, 0);
        log.press(Key::Home, 10);
        assert_eq!(log.back, 41);
    }
}
