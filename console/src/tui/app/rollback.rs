//! Going back to an earlier generation from the screens: compared first, then applied as any change is.

use super::{App, Effect, Over, Page};
use crate::cli::Command;
use crate::commands::change::{Confirm, RollBack, RollBackReview};
use crate::tui::keys::Key;

impl App {
    /// Takes a command that goes back; `None` for others.
    pub(super) fn rolling_back(&mut self, line: &str) -> Option<Option<Effect>> {
        let words = crate::login::split(line).ok()?;
        let Command::Rollback { generation, force, confirm, if_same, no_confirm, comment } =
            crate::cli::parse(&words).ok()?.command
        else {
            return None;
        };
        let confirm = Confirm::of(confirm, no_confirm, if_same);
        let request = RollBack::new(generation, confirm, force, comment);
        if self.running.is_some() {
            self.show(Page::new(line, vec!["Another command is still running.".to_owned()]));
            return Some(None);
        }
        self.running = Some(line.to_owned());
        Some(Some(Effect::ReviewRollBack(request)))
    }

    /// Takes the comparison with an earlier generation.
    pub fn reviewed_roll_back(&mut self, review: RollBackReview) {
        let title = self.running.take().unwrap_or_default();
        match review {
            RollBackReview::Over(outcome) => self.show_outcome(title, outcome),
            RollBackReview::Compared { text, request } => {
                let lines = text.lines().map(|line| self.look.text(line)).collect();
                let title = format!("What going back to generation {} changes", request.generation);
                let page = Page::new(title, lines);
                // Whoever edits meanwhile is not torn away.
                if matches!(self.over, Over::Editor | Over::Review(_) | Over::Notice(_)) {
                    let words = "The comparison is there: leave the text and give `:rollback` again.";
                    self.notice("rollback", words);
                    return;
                }
                self.rollback = Some(request);
                self.over = Over::Review(page);
                self.prompt = None;
            }
        }
    }

    /// Takes a key where the comparison is shown. `None` when there is none.
    pub(super) fn press_in_rollback(&mut self, key: Key) -> Option<Option<Effect>> {
        let request = self.rollback.clone()?;
        let Over::Review(page) = &mut self.over else { return None };
        let request = match key {
            Key::Char('a' | 'A') => request,
            Key::Char('g' | 'G') => RollBack { timeout_s: 0, ..request },
            Key::Escape | Key::Char('q') | Key::Ctrl('c') => {
                self.rollback = None;
                self.over = Over::Nothing;
                return Some(None);
            }
            key => {
                page.press(key, self.page);
                return Some(None);
            }
        };
        self.rollback = None;
        self.over = Over::Nothing;
        self.running = Some(format!("rollback {}", request.generation));
        Some(Some(Effect::RollBack(request)))
    }

    /// Whether it confirms itself then if nothing is lost.
    pub fn rollback_is_if_same(&self) -> bool {
        self.rollback.as_ref().is_some_and(|request| request.if_same)
    }

    /// In what time the roll-back on the screen must be confirmed, 0 for none; `None` when there is none.
    pub fn rollback_window_s(&self) -> Option<u32> {
        self.rollback.as_ref().map(|request| request.timeout_s)
    }
}
