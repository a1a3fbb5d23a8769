//! What waits for its confirmation, for every screen: how long it has, that it was taken back, and whether to leave
//! while it waits.

use netd_api::comparison::Comparison;
use netd_api::generation::{Generation, State, Status};

use super::{App, Effect};
use crate::look::Tone;
use crate::tables::comparison::{self, Line};
use crate::text;
use crate::tui::editor::Editor;
use crate::tui::keys::Key;

/// A change that was taken back so long ago is no news to who opens the screens.
const NEWS_S: u64 = 3600;

/// Objects of a kind that every screen names.
const MOST_OBJECTS: usize = 2;

/// A generation that was taken back while nobody confirmed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// The generation.
    pub generation: u64,
    /// Why; empty when that is not known yet.
    pub reason: String,
    /// Whether it was on the screen: a key that came before that has not seen it.
    pub shown: bool,
}

impl App {
    /// Takes what runs, and notes when what waited is gone.
    pub(super) fn update_status(&mut self, status: Status) {
        if let Some(before) = &self.status
            && before.confirm_by_s != 0
            && status.confirm_by_s == 0
            && status.generation < before.generation
        {
            self.taken_back = Some(TakenBack { generation: before.generation, ..TakenBack::default() });
        }
        match status.confirm_by_s {
            0 => self.comparison = None,
            _ => self.taken_back = None,
        }
        self.status = Some(status);
    }

    /// Takes what the change that waits did to the network.
    pub(super) fn update_comparison(&mut self, comparison: Comparison) {
        // It may have ended meanwhile.
        let waits = self.status.as_ref().filter(|status| status.confirm_by_s != 0);
        let is_its = waits.is_some_and(|status| status.generation == comparison.generation);
        self.comparison = is_its.then_some(comparison);
    }

    /// What every screen tells of that, a line each object, within so many columns and lines.
    pub fn comparison_lines(&self, columns: usize, most: usize) -> Vec<Line> {
        let Some(comparison) = &self.comparison else { return Vec::new() };
        let mut lines = comparison::lines(comparison, MOST_OBJECTS, columns);
        if lines.len() > most {
            lines.truncate(most.saturating_sub(1));
            let words = " and more: :show pending".to_owned();
            lines.push(Line { text: words, tone: Tone::Normal });
            lines.truncate(most);
        }
        lines
    }

    /// Takes the history: why something was taken back, also shortly before the screens were opened.
    pub(super) fn update_history(&mut self, history: &[Generation]) {
        let first = self.generations.is_empty();
        self.generations = history.iter().map(|row| row.generation).collect();
        let running = self.status.as_ref().map_or(0, |status| status.generation);
        if first
            && let Some(newest) = history.first()
            && newest.state == State::RolledBack
            && newest.generation > running
            && self.now_s.saturating_sub(newest.time_s) < NEWS_S
        {
            self.taken_back = Some(TakenBack { generation: newest.generation, ..TakenBack::default() });
        }
        if let Some(taken_back) = &mut self.taken_back
            && let Some(row) = history.iter().find(|row| row.generation == taken_back.generation)
        {
            taken_back.reason = text::clean(&row.reason);
        }
    }

    /// Seconds until what waits is taken back; `None` when nothing waits.
    pub fn seconds_left(&self) -> Option<u64> {
        let until_s = self.status.as_ref()?.confirm_by_s;
        (until_s != 0).then(|| until_s.saturating_sub(self.now_s))
    }

    /// What every screen tells of that, in a line.
    pub fn pending_words(&self) -> Option<String> {
        if let (Some(left), Some(status)) = (self.seconds_left(), &self.status) {
            let (generation, left) = (status.generation, text::countdown(left));
            let by = match text::clean(&status.user) {
                user if user.is_empty() || user == self.user => String::new(),
                user => format!(" of {user}"),
            };
            let what = match self.comparison.as_ref().is_some_and(|comparison| comparison.if_same) {
                true => format!("kept in {left} if nothing is lost then, else taken back"),
                false => format!("taken back in {left}"),
            };
            return Some(format!(
                "Generation {generation}{by} is not confirmed: {what}. :confirm keeps it, :take-back ends it."
            ));
        }
        let TakenBack { generation, reason, .. } = self.taken_back.as_ref()?;
        let running = self.status.as_ref().map_or(0, |status| status.generation);
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        Some(format!("Generation {generation} was TAKEN BACK{reason}: generation {running} runs."))
    }

    /// Leaves, unless there is something to lose: then that is asked first.
    pub(super) fn leave(&mut self) -> Option<Effect> {
        if self.seconds_left().is_none() && !self.has_unapplied_text() {
            return Some(Effect::Quit);
        }
        self.leaving = true;
        None
    }

    fn has_unapplied_text(&self) -> bool {
        self.editor.as_ref().is_some_and(Editor::is_touched)
    }

    /// The question before leaving.
    pub fn leaving_question(&self) -> Option<String> {
        if !self.leaving {
            return None;
        }
        let generation = self.status.as_ref().map_or(0, |status| status.generation);
        let waits = self
            .seconds_left()
            .map(|left| format!("Generation {generation} is not confirmed, {} left", text::countdown(left)));
        let text = self.has_unapplied_text().then(|| "A text is not applied".to_owned());
        let what: Vec<String> = waits.into_iter().chain(text).collect();
        Some(format!("{}. Leave? y leave  any other key stay", what.join(". ")))
    }

    /// Takes the answer.
    pub(super) fn press_leaving(&mut self, key: Key) -> Option<Effect> {
        self.leaving = false;
        matches!(key, Key::Char('y' | 'Y')).then_some(Effect::Quit)
    }
}
