//! The log as the screen holds it: the last messages, and how far back one has gone.

use std::collections::VecDeque;

use super::journal::{Entry, News};
use super::keys::Key;

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
        super::contains(&self.filter, &[&entry.source, &entry.message])
    }

    /// Takes a key that moves.
    pub fn press(&mut self, key: Key, page: usize) {
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
