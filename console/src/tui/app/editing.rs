//! The editor on the screens: how it opens, what its keys do, and what comes of checking and applying its text.

use super::{App, Effect, Over, Page};
use crate::cli::Command;
use crate::commands::change::{Applied, Base, Change, Confirm, Review};
use crate::text;
use crate::tui::editor::{self, Editor, Typed};
use crate::tui::keys::Key;

impl App {
    /// Takes a command that opens the editor: `edit`, and those that read a document from standard input, which is
    /// the keyboard here. `None` for others.
    pub(super) fn editing(&mut self, line: &str) -> Option<Option<Effect>> {
        let words = crate::login::split(line).ok()?;
        let (paste, anew, comment) = match crate::cli::parse(&words).ok()?.command {
            Command::Edit { anew, comment } => (None, anew, comment),
            Command::Check { file, json: false, anew }
            | Command::Diff { file, with: None, json: false, anew }
                if file == "-" =>
            {
                (Some(Editor::paste_to_look()), anew, None)
            }
            Command::Apply { file, base, force, confirm, if_same, no_confirm, comment, timeout: _, anew }
                if file == "-" =>
            {
                let confirm = Confirm::of(confirm, no_confirm, if_same);
                let change = Change { base: Base::of(base, force), confirm, force, comment };
                (Some(Editor::paste(change)), anew, None)
            }
            _ => return None,
        };
        Some(self.open_editor(line, paste, anew, comment))
    }

    /// Opens the editor with an empty text to paste into, or with the text that is kept, or the running document.
    /// Nothing is opened that the outcome of a command would cover, and nothing thrown away unasked.
    fn open_editor(
        &mut self,
        line: &str,
        paste: Option<Editor>,
        anew: bool,
        comment: Option<String>,
    ) -> Option<Effect> {
        if self.running.is_some() {
            self.notice(line, "Another command is still running.");
            return None;
        }
        let viewer = self.is_viewer();
        let paste = paste.map(|paste| if viewer { paste.for_viewer() } else { paste });
        match (paste, &mut self.editor) {
            (None, Some(kept)) if !anew => {
                kept.resume(comment);
                kept.look_only |= viewer;
            }
            (_, Some(kept)) if kept.busy => {
                self.notice(line, "A text is still being checked or applied.");
                return None;
            }
            (Some(_), Some(kept)) if !anew && kept.is_touched() => {
                let words = format!(
                    "A text that was not applied is kept: `:edit` goes on with it, `:{line} --anew` discards it."
                );
                self.notice(line, &self.look.text(&words));
                return None;
            }
            (Some(paste), _) => self.editor = Some(paste),
            (None, _) => {
                self.comment = comment;
                self.running = Some(line.to_owned());
                return Some(Effect::Load);
            }
        }
        self.over = Over::Editor;
        None
    }

    /// Takes a key in the editor, or where what it changes is shown.
    pub(super) fn press_in_editor(&mut self, key: Key) -> Option<Effect> {
        let Some(editor) = self.editor.as_mut() else {
            self.over = Over::Nothing;
            return None;
        };
        if editor.busy {
            if matches!(key, Key::Escape | Key::Ctrl('c')) {
                let words = "The text is still being checked or applied. What comes of it will be shown here; \
                             `:edit` goes back to it.";
                self.notice("edit", words);
            }
            return None;
        }
        if let Over::Review(page) = &mut self.over {
            // Caps Lock makes no difference: keeping a change for good has a key of its own.
            let change = match key {
                Key::Char('a' | 'A') if !editor.look_only => editor.confirmed_change(),
                Key::Char('g' | 'G') if !editor.look_only => editor.change_for_good(),
                Key::Escape | Key::Char('q') | Key::Ctrl('c') => {
                    self.over = Over::Editor;
                    return None;
                }
                key => {
                    page.press(key, self.page);
                    return None;
                }
            };
            editor.busy = true;
            return Some(Effect::Apply(editor.document(), change));
        }
        match editor.press(key, self.page) {
            Typed::More => None,
            Typed::Left => {
                let mut words =
                    "This text was not applied. It is kept until you leave: `:edit` goes on with it."
                        .to_owned();
                if let Some(waits) = self.pending_words() {
                    words.push_str(&format!(" {waits}"));
                }
                self.notice("edit", &words);
                None
            }
            Typed::Done => {
                editor.busy = true;
                Some(Effect::Review(editor.document()))
            }
        }
    }

    /// Takes the running document for the editor.
    pub fn loaded(&mut self, document: Result<(String, u64), String>) {
        self.running = None;
        match document {
            Ok((text, _)) if text.len() > editor::MAX_BYTES => {
                let words = format!(
                    "The configuration has {} KiB, and the editor takes {}. Edit it elsewhere: \
                     `ssh ana@switch config > switch.toml`, and then `ssh ana@switch apply - < switch.toml`.",
                    text.len().div_ceil(1024),
                    editor::MAX_BYTES / 1024
                );
                self.notice("edit", &words);
            }
            Ok((text, generation)) => {
                let editor = Editor::new(&text, generation, self.comment.take());
                self.editor = Some(if self.is_viewer() { editor.for_viewer() } else { editor });
                if !matches!(self.over, Over::Notice(_)) {
                    self.over = Over::Editor;
                    self.prompt = None;
                }
            }
            Err(why) => self.show(Page::new("edit", vec![self.look.text(&why)])),
        }
    }

    /// Takes what a look at the text brought: back to the text, or on to what would change.
    pub fn reviewed(&mut self, review: Review) {
        let Some(editor) = &mut self.editor else { return };
        let over = match &review {
            Review::Difference { text, generation } => {
                let note = editor.overtaken(*generation);
                let lines = note.iter().flat_map(|note| text::wrap(note, self.columns));
                let lines = lines.chain(text.lines().map(|line| self.look.text(line))).collect();
                Over::Review(Page::new("What applying it changes", lines))
            }
            _ => Over::Editor,
        };
        editor.take(review);
        self.rollback = None;
        self.show_editor(over);
    }

    /// Whether the user may only look.
    fn is_viewer(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.role == "view")
    }

    /// Goes back to the text, or on to what it changes; tells whoever left it meanwhile.
    fn show_editor(&mut self, over: Over) {
        if self.is_editing() {
            self.over = over;
            return;
        }
        let said = self.editor.as_ref().and_then(Editor::said);
        let said = said.unwrap_or_else(|| "The text is valid, and was not applied.".to_owned());
        let mut lines = text::wrap(&self.look.text(&said), self.columns);
        lines.push("`:edit` goes on with the text.".to_owned());
        self.show(Page::new("edit", lines));
    }

    fn is_editing(&self) -> bool {
        matches!(self.over, Over::Editor | Over::Review(_))
    }

    /// Takes what became of applying the text. What was not applied is still there.
    pub fn applied(&mut self, applied: Applied) {
        match applied {
            Applied::Done(outcome) => {
                self.editor = None;
                self.show_outcome("apply".to_owned(), outcome);
            }
            Applied::Not(review) => {
                if let Some(editor) = &mut self.editor {
                    editor.take(review);
                    self.show_editor(Over::Editor);
                }
            }
        }
    }
}
