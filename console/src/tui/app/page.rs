//! Lines to read, longer and wider than the screen, with a search among them.

use super::{scroll, sideways};
use crate::tui::keys::Key;

/// Lines to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What they are.
    pub title: String,
    /// The lines.
    pub lines: Vec<String>,
    /// The first line in view.
    pub top: usize,
    /// The first column in view.
    pub left: usize,
    /// What is searched for; empty for nothing.
    pub searched: String,
    /// The line the search has come to.
    pub found: Option<usize>,
}

impl Page {
    /// Lines under a title, from the first on.
    pub fn new(title: impl Into<String>, lines: Vec<String>) -> Page {
        Page { title: title.into(), lines, ..Page::default() }
    }

    /// The same, from the end: the newest of what goes on.
    pub fn at_end(self, height: usize) -> Page {
        Page { top: self.lines.len().saturating_sub(height), ..self }
    }

    /// Takes a key that moves, or goes on with a search; `height` is how many lines are in view.
    pub fn press(&mut self, key: Key, height: usize) {
        match key {
            Key::Char('n') => self.next(height, true),
            Key::Char('N') => self.next(height, false),
            key => {
                let most = self.lines.len().saturating_sub(height);
                self.top = scroll(self.top, key, most, height);
                self.left = sideways(self.left, key);
            }
        }
    }

    /// Searches from the lines in view on; an empty text ends the search.
    pub fn search(&mut self, text: &str, height: usize) {
        self.searched = text.to_owned();
        self.found = None;
        let lines = &self.lines;
        let from = self.top;
        self.go_to((from..lines.len()).chain(0..from).find(|at| self.holds(*at)), height);
    }

    fn next(&mut self, height: usize, forward: bool) {
        let count = self.lines.len();
        if count == 0 {
            return;
        }
        let at = self.found.unwrap_or(self.top);
        let step = |by: usize| if forward { (at + by) % count } else { (at + count - by) % count };
        self.go_to((1..=count).map(step).find(|at| self.holds(*at)), height);
    }

    fn holds(&self, at: usize) -> bool {
        !self.searched.is_empty()
            && self.lines.get(at).is_some_and(|line| crate::tui::contains(&self.searched, &[line]))
    }

    fn go_to(&mut self, line: Option<usize>, height: usize) {
        let Some(line) = line else { return };
        self.found = Some(line);
        if !(self.top..self.top + height.max(1)).contains(&line) {
            self.top = line.min(self.lines.len().saturating_sub(height));
        }
    }

    /// What a search came to, for the title line.
    pub fn search_state(&self) -> String {
        if self.searched.is_empty() {
            return String::new();
        }
        let hits: Vec<usize> = (0..self.lines.len()).filter(|at| self.holds(*at)).collect();
        match self.found.and_then(|line| hits.iter().position(|hit| *hit == line)) {
            Some(place) => format!("  \"{}\" {} of {} (n next)", self.searched, place + 1, hits.len()),
            None => format!("  no \"{}\"", self.searched),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new("title", (1..=100).map(|number| format!("line {number}")).collect())
    }

    #[test]
    fn search_goes_from_hit_to_hit_and_around() {
        let mut page = page();
        page.search("LINE 4", 10);
        assert_eq!((page.found, page.top), (Some(3), 0));
        page.press(Key::Char('n'), 10);
        assert_eq!((page.found, page.top), (Some(39), 39));
        assert_eq!(page.search_state(), "  \"LINE 4\" 2 of 11 (n next)");
        page.press(Key::Char('N'), 10);
        page.press(Key::Char('N'), 10);
        assert_eq!(page.found, Some(48));
        page.search("nothing", 10);
        assert_eq!((page.found, page.search_state().as_str()), (None, "  no \"nothing\""));
        page.search("", 10);
        assert_eq!(page.search_state(), "");
    }

    #[test]
    fn log_begins_at_its_end() {
        assert_eq!(page().at_end(10).top, 90);
        assert_eq!(Page::new("short", vec!["one".to_owned()]).at_end(10).top, 0);
    }
}
