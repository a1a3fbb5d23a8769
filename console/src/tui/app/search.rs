//! Search in long outputs and in the editor.

use super::{App, Over};
use crate::tui::prompt::Prompt;

impl App {
    /// Opens the line for what is searched.
    pub(super) fn begin_search(&mut self) {
        self.prompt = Some(Prompt::search());
    }

    /// Takes what was typed: in the editor the cursor goes to it, in an output the lines do.
    pub(super) fn search(&mut self, text: &str) {
        let height = self.page;
        match &mut self.over {
            Over::Output(page) | Over::Notice(page) | Over::Review(page) | Over::Help(page) => {
                page.search(text, height)
            }
            Over::Editor => {
                if let Some(editor) = &mut self.editor {
                    editor.search(text);
                }
            }
            Over::Nothing | Over::Port => {}
        }
    }
}
