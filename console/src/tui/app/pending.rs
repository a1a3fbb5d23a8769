//! What waits for its confirmation, for every screen: how long it has, that it was taken back, and whether to leave
//! while it waits.

use netd_api::generation::{Generation, State, Status};

use super::{App, Effect};
use crate::text;
use crate::tui::editor::Editor;
use crate::tui::keys::Key;

/// A change that was taken back so long ago is no news to who opens the screens.
const NEWS_S: u64 = 3600;

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
        if status.confirm_by_s != 0 {
            self.taken_back = None;
        }
        self.status = Some(status);
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
            return Some(format!(
                "Generation {generation}{by} is not confirmed: taken back in {left}. :confirm keeps it, :take-back ends it."
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
