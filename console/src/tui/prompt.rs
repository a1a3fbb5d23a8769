//! The line at the foot of the screen: a filter or a command.

use super::keys::Key;
use super::line::Line;
use crate::complete::{self, Names};

/// What the line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Filter,
    Command,
    Search,
}

/// A line being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    kind: Kind,
    /// The line.
    pub line: Line,
    /// What Tab could not decide between.
    pub candidates: Vec<String>,
    /// How far back in the history one has gone.
    back: usize,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The line goes on.
    More,
    /// The line is complete.
    Done,
    /// The user wants none of it.
    GivenUp,
}

impl Prompt {
    /// An empty command line.
    pub fn command() -> Prompt {
        Prompt { kind: Kind::Command, line: Line::default(), candidates: Vec::new(), back: 0 }
    }

    /// A filter, to be changed.
    pub fn filter(filter: &str) -> Prompt {
        Prompt { kind: Kind::Filter, line: Line::new(filter), candidates: Vec::new(), back: 0 }
    }

    /// What is to be searched for.
    pub fn search() -> Prompt {
        Prompt { kind: Kind::Search, ..Prompt::command() }
    }

    /// Whether it is a search.
    pub fn is_search(&self) -> bool {
        self.kind == Kind::Search
    }

    /// Whether it is a filter.
    pub fn is_filter(&self) -> bool {
        self.kind == Kind::Filter
    }

    /// The character before the line.
    pub fn sign(&self) -> char {
        if self.kind == Kind::Command { ':' } else { '/' }
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key, history: &[String], names: impl Fn() -> Names) -> Asked {
        self.candidates.clear();
        match key {
            Key::Enter => return Asked::Done,
            Key::Escape | Key::Ctrl('c') => return Asked::GivenUp,
            // Erasing beyond the beginning leaves the line, as in vi and less.
            Key::Backspace if self.line == Line::default() => return Asked::GivenUp,
            Key::Tab if self.kind == Kind::Command => self.complete(&names()),
            Key::Up if self.kind == Kind::Command => self.recall(history, self.back + 1),
            Key::Down if self.kind == Kind::Command => self.recall(history, self.back.saturating_sub(1)),
            key => {
                self.line.press(key);
            }
        }
        Asked::More
    }

    fn complete(&mut self, names: &Names) {
        let before = self.line.before_cursor();
        let completion = complete::complete(&crate::cli::tree(), &before, names);
        match completion.complete(&before) {
            Some(completed) => {
                let after = self.line.after_cursor();
                self.line = Line::new(&format!("{completed}{after}"));
                for _ in after.chars() {
                    self.line.press(Key::Left);
                }
            }
            None if completion.candidates.len() > 1 => self.candidates = completion.candidates,
            None => {}
        }
    }

    fn recall(&mut self, history: &[String], back: usize) {
        let back = back.min(history.len());
        if back == self.back {
            return;
        }
        self.back = back;
        self.line = match back {
            0 => Line::default(),
            back => history.get(history.len() - back).map_or_else(Line::default, |line| Line::new(line)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(prompt: &mut Prompt, text: &str, history: &[String]) {
        for c in text.chars() {
            prompt.press(Key::Char(c), history, Names::default);
        }
    }

    #[test]
    fn tab_completes_and_lists_what_it_cannot_decide() {
        let names = || Names { ports: vec!["swp1".into(), "swp2".into()], ..Names::default() };
        let mut prompt = Prompt::command();
        typed(&mut prompt, "sh", &[]);
        prompt.press(Key::Tab, &[], names);
        assert_eq!(prompt.line.text(), "show ");
        typed(&mut prompt, "po", &[]);
        prompt.press(Key::Tab, &[], names);
        prompt.press(Key::Tab, &[], names);
        assert_eq!(prompt.line.text(), "show ports swp");
        prompt.press(Key::Tab, &[], names);
        assert_eq!(prompt.candidates, ["swp1", "swp2"]);
    }

    #[test]
    fn commands_typed_before_come_back() {
        let history = ["show ports", "show vlans"].map(String::from);
        let mut prompt = Prompt::command();
        let mut press = |key| {
            prompt.press(key, &history, Names::default);
            prompt.line.text()
        };
        assert_eq!(press(Key::Up), "show vlans");
        assert_eq!(press(Key::Up), "show ports");
        assert_eq!(press(Key::Up), "show ports");
        assert_eq!(press(Key::Down), "show vlans");
        assert_eq!(press(Key::Down), "");
    }

    #[test]
    fn erasing_beyond_the_beginning_leaves() {
        let mut prompt = Prompt::filter("x");
        assert_eq!(prompt.press(Key::Backspace, &[], Names::default), Asked::More);
        assert_eq!(prompt.press(Key::Backspace, &[], Names::default), Asked::GivenUp);
    }
}
