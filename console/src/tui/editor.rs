//! A document being typed or pasted: the text, and what is wrong with it.

use netd_api::diagnostic::Diagnostic;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;
use ratatui_textarea::{CursorMove, Input, TextArea};

use super::keys::Key;
use crate::commands::change::{Base, CONFIRM_TIMEOUT_S, Change, Confirm, Review};

/// Longest document that is opened: each key goes through the whole text.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Lines that the widget draws itself: it counts them, and those in view behind them, in 16 bits.
const WIDGET_LINES: usize = 60_000;

/// A document under way, and how it is to be applied.
#[derive(Debug)]
pub struct Editor {
    text: TextArea<'static>,
    /// What it began with.
    beginning: String,
    /// How it is to be applied.
    pub change: Change,
    /// Whether the operator said what generation the text is based on; else it is the one last compared with.
    base_given: bool,
    /// Whether it is only to be looked at, not to be applied.
    pub look_only: bool,
    /// What it is called.
    pub title: String,
    /// Mistakes that were found, and which of them is shown.
    mistakes: Vec<Diagnostic>,
    shown: usize,
    /// What else there is to say.
    note: Option<String>,
    /// Whether the text was refused just now: a key that was meant to apply it is no part of it.
    refused: bool,
    /// Whether such a key came.
    swallowed: bool,
    /// Whether it is being checked or applied: keys wait.
    pub busy: bool,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The text goes on.
    More,
    /// It is complete: check it.
    Done,
    /// Leave it for now.
    Left,
}

impl Editor {
    /// The running document, to be edited.
    pub fn new(document: &str, generation: u64, comment: Option<String>) -> Editor {
        let change = Change { base: Base::Is(generation), confirm: Confirm::Unsaid, force: false, comment };
        Editor::of(document, change, format!("Configuration of generation {generation}"))
    }

    /// An empty text, to be pasted.
    pub fn paste(change: Change) -> Editor {
        let base_given = change.base != Base::Running;
        let title = "Paste a configuration; Ctrl-D ends it".to_owned();
        Editor { base_given, ..Editor::of("", change, title) }
    }

    /// An empty text, to be pasted and looked at only.
    pub fn paste_to_look() -> Editor {
        let change = Change { base: Base::Running, confirm: Confirm::Unsaid, force: false, comment: None };
        Editor { look_only: true, ..Editor::paste(change) }
    }

    /// Goes on with the text, to be applied now whatever it was for.
    pub fn resume(&mut self, comment: Option<String>) {
        self.look_only = false;
        self.change.comment = comment.or(self.change.comment.take());
    }

    /// The same, where the operator's role allows no more than to look.
    pub fn for_viewer(self) -> Editor {
        Editor {
            look_only: true,
            title: format!("{} - role view: nothing can be applied", self.title),
            ..self
        }
    }

    /// Whether there is something of the operator's to lose.
    pub fn is_touched(&self) -> bool {
        self.document() != self.beginning
    }

    fn of(document: &str, change: Change, title: String) -> Editor {
        Editor {
            text: text_area(document.split('\n').map(ToOwned::to_owned).collect()),
            beginning: document.to_owned(),
            change,
            base_given: false,
            look_only: false,
            title,
            mistakes: Vec::new(),
            shown: 0,
            note: None,
            refused: false,
            swallowed: false,
            busy: false,
        }
    }

    /// The change, to be taken back unless it is confirmed.
    pub fn confirmed_change(&self) -> Change {
        let confirm = match self.change.confirm {
            Confirm::IfSame(seconds) => Confirm::IfSame(seconds),
            _ => Confirm::Within(self.timeout_s()),
        };
        Change { confirm, ..self.change.clone() }
    }

    /// The change for good, but for what may end this session, unless it was said that this shall not matter.
    pub fn change_for_good(&self) -> Change {
        let confirm = match self.change.confirm {
            Confirm::Never => Confirm::Never,
            Confirm::Within(_) | Confirm::IfSame(_) | Confirm::Unsaid => Confirm::Unsaid,
        };
        Change { confirm, ..self.change.clone() }
    }

    /// In what time such a change must be confirmed.
    pub fn timeout_s(&self) -> u32 {
        match self.change.confirm {
            Confirm::Within(seconds) | Confirm::IfSame(seconds) => seconds,
            Confirm::Never | Confirm::Unsaid => CONFIRM_TIMEOUT_S,
        }
    }

    /// Draws what is around the cursor.
    pub fn draw(&self, area: Rect, picture: &mut Buffer) {
        let (row, column) = (self.text.cursor().0, self.text.cursor().1);
        if row < WIDGET_LINES || area.height == 0 {
            return self.text.render(area, picture);
        }
        // Page by page, as lines that the widget can count.
        let height = usize::from(area.height);
        let first = row - row % height;
        let lines = self.text.lines().iter().skip(first).take(height).cloned().collect();
        let mut page = text_area(lines);
        page.move_cursor(CursorMove::Jump(bounded(row - first), bounded(column)));
        page.render(area, picture);
    }

    /// The text as it is.
    pub fn document(&self) -> String {
        self.text.lines().join("\n")
    }

    /// Line and column of the cursor, from 1.
    pub fn place(&self) -> (usize, usize) {
        let cursor = self.text.cursor();
        (cursor.0 + 1, cursor.1 + 1)
    }

    /// What is wrong: the mistake shown, and how many there are; or another note.
    pub fn said(&self) -> Option<String> {
        let note = || self.note.clone();
        let swallowed = if self.swallowed { "Nothing can be applied yet. " } else { "" };
        let Some(mistake) = self.mistakes.get(self.shown) else {
            return note().map(|note| format!("{swallowed}{note}"));
        };
        let count = match self.mistakes.len() {
            1 => "Mistake".to_owned(),
            count => format!("Mistake {} of {count} (Ctrl-N: next)", self.shown + 1),
        };
        Some(format!("{swallowed}{count}: {mistake}"))
    }

    /// What to know before applying the text over a generation that it was not made from.
    pub fn overtaken(&self, running: u64) -> Option<String> {
        let Base::Is(base) = self.change.base else { return None };
        let end = match self.base_given {
            true => "as --base says, so it will be refused",
            false => "so applying it takes back what others changed since",
        };
        (base != running).then(|| format!("Generation {running} runs; the text was made from {base}, {end}."))
    }

    /// Takes what was found. The cursor goes to the first mistake.
    pub fn take(&mut self, review: Review) {
        self.busy = false;
        self.refused = matches!(review, Review::Mistakes(_) | Review::Failed(_));
        self.swallowed = false;
        self.note = None;
        self.mistakes.clear();
        match review {
            Review::Mistakes(mistakes) => {
                self.mistakes = mistakes;
                self.show(0);
            }
            Review::Failed(why) => self.note = Some(why.trim().replace('\n', " ")),
            // What was seen is what may be applied over.
            Review::Difference { generation, .. } if !self.base_given => {
                self.change.base = Base::Is(generation)
            }
            Review::Difference { .. } => {}
        }
    }

    fn show(&mut self, index: usize) {
        self.shown = index;
        let Some(mistake) = self.mistakes.get(index).filter(|mistake| mistake.line > 0) else { return };
        let from_0 = |number: u32| number.saturating_sub(1) as usize;
        let (row, column) = (from_0(mistake.line), from_0(mistake.column));
        self.go_to(row, column);
    }

    /// Moves the cursor to a line and column, from 0, or to the last there is.
    fn go_to(&mut self, row: usize, column: usize) {
        self.text.move_cursor(CursorMove::Jump(bounded(row), 0));
        // Behind what the widget jumps to.
        for _ in usize::from(u16::MAX)..row.min(self.text.lines().len() - 1) {
            self.text.move_cursor(CursorMove::Down);
        }
        let characters = self.text.lines()[self.text.cursor().0].chars().count();
        for _ in 0..column.min(characters) {
            self.text.move_cursor(CursorMove::Forward);
        }
    }

    /// Takes a key. `page` is how many lines are in view.
    pub fn press(&mut self, key: Key, page: usize) -> Typed {
        self.swallowed = false;
        // Whoever expected the comparison presses its keys: they are not to become text.
        if std::mem::take(&mut self.refused) && matches!(key, Key::Char('a' | 'A' | 'g' | 'G')) {
            self.swallowed = true;
            return Typed::More;
        }
        match key {
            Key::Ctrl('d' | 'x') => return Typed::Done,
            Key::Escape | Key::Ctrl('c') => return Typed::Left,
            Key::Ctrl('n') if !self.mistakes.is_empty() => self.show((self.shown + 1) % self.mistakes.len()),
            Key::Ctrl('z' | 'u') => {
                self.text.undo();
            }
            Key::Ctrl('y' | 'r') => {
                self.text.redo();
            }
            Key::Ctrl('k') => self.cut_line(),
            Key::Ctrl('a') | Key::Home => self.text.move_cursor(CursorMove::Head),
            Key::Ctrl('e') | Key::End => self.text.move_cursor(CursorMove::End),
            Key::Up => self.text.move_cursor(CursorMove::Up),
            Key::Down => self.text.move_cursor(CursorMove::Down),
            Key::Left => self.text.move_cursor(CursorMove::Back),
            Key::Right => self.text.move_cursor(CursorMove::Forward),
            Key::PageUp | Key::PageDown => {
                let (line, column) = self.place();
                let to = match key {
                    Key::PageUp => line.saturating_sub(page + 1),
                    _ => (line - 1 + page).min(self.text.lines().len() - 1),
                };
                self.go_to(to, column - 1);
            }
            Key::Enter => self.text.insert_newline(),
            Key::Tab => self.text.insert_char('\t'),
            Key::Char(c) => self.text.insert_char(c),
            Key::Backspace => self.edit(ratatui_textarea::Key::Backspace),
            Key::Delete => self.edit(ratatui_textarea::Key::Delete),
            Key::BackTab | Key::Ctrl(_) => {}
        }
        Typed::More
    }

    /// Removes the line the cursor is in, with its end.
    fn cut_line(&mut self) {
        let row = self.text.cursor().0;
        let characters = self.text.lines().get(row).map_or(0, |line| line.chars().count());
        let end = usize::from(row + 1 < self.text.lines().len());
        self.text.move_cursor(CursorMove::Head);
        self.text.delete_str(characters + end);
    }

    /// Moves the cursor to where a text comes next, from the cursor on and then from the beginning; whatever the case.
    pub fn search(&mut self, text: &str) {
        let wanted: Vec<char> = text.to_lowercase().chars().collect();
        if wanted.is_empty() {
            return;
        }
        let (row, column) = self.place();
        let lines = self.text.lines();
        let find = |row: usize, from: usize| {
            let line: Vec<char> = lines[row].chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect();
            let end = line.len().checked_sub(wanted.len())?;
            (from..=end).find(|at| line[*at..].starts_with(&wanted)).map(|column| (row, column))
        };
        let here = find(row - 1, column);
        let after = || (row..lines.len()).chain(0..row).find_map(|row| find(row, 0));
        self.note = None;
        match here.or_else(after) {
            Some((row, column)) => self.go_to(row, column),
            None => self.note = Some(format!("\"{text}\" is not in the text.")),
        }
    }

    fn edit(&mut self, key: ratatui_textarea::Key) {
        self.text.input_without_shortcuts(Input { key, ..Input::default() });
    }
}

fn text_area(lines: Vec<String>) -> TextArea<'static> {
    let mut text = TextArea::new(lines);
    text.set_cursor_line_style(ratatui::style::Style::new());
    text.set_max_histories(1000);
    text.set_hard_tab_indent(true);
    text
}

/// A line or column as the widget counts them.
fn bounded(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(base: Base) -> Change {
        Change { base, confirm: Confirm::Unsaid, force: false, comment: None }
    }

    fn typed(editor: &mut Editor, text: &str) {
        for c in text.chars() {
            let key = match c {
                '\n' => Key::Enter,
                '\t' => Key::Tab,
                c => Key::Char(c),
            };
            assert_eq!(editor.press(key, 20), Typed::More);
        }
    }

    #[test]
    fn a_document_that_is_only_looked_at_stays_byte_for_byte() {
        for document in ["", "version = 1\n", "a\n\n\tb\r\nno end", "\n\n"] {
            assert_eq!(Editor::new(document, 7, None).document(), document, "{document:?}");
        }
    }

    #[test]
    fn what_is_pasted_arrives_as_it_is() {
        let mut editor = Editor::paste(change(Base::Any));
        let text = "version = 1\n\n[ports.swp1]\n\tdescription = \"Zürich (a] 東\"\n";
        typed(&mut editor, text);
        assert_eq!(editor.document(), text);
        assert_eq!(editor.press(Key::Ctrl('d'), 20), Typed::Done);
    }

    #[test]
    fn a_text_is_applied_over_what_it_was_compared_with_unless_it_was_said_otherwise() {
        let paste = |base| Editor::paste(change(base));
        let compared = || Review::Difference { text: String::new(), generation: 9 };
        for (mut editor, base, told) in [
            (paste(Base::Running), Base::Is(9), None),
            (Editor::new("", 9, None), Base::Is(9), None),
            (Editor::new("", 7, None), Base::Is(9), Some("takes back what others changed")),
            (paste(Base::Is(7)), Base::Is(7), Some("refused")),
            (paste(Base::Any), Base::Any, None),
        ] {
            let words = editor.overtaken(9);
            assert_eq!(words.is_some(), told.is_some(), "{words:?}");
            assert!(words.unwrap_or_default().contains(told.unwrap_or_default()));
            editor.take(compared());
            assert_eq!(editor.change.base, base);
        }
    }

    #[test]
    fn mistakes_are_gone_to_one_after_the_other() {
        let mut editor = Editor::new("version = 1\n[ports.swp1]\nmtuu = 1\n", 7, None);
        let at = |line, column| Diagnostic { line, column, path: "p".into(), message: "wrong".into() };
        editor.take(Review::Mistakes(vec![at(2, 8), at(3, 1)]));
        assert_eq!(editor.place(), (2, 8));
        assert!(editor.said().unwrap().starts_with("Mistake 1 of 2 (Ctrl-N: next): 2:8: p: wrong"));
        editor.press(Key::Ctrl('n'), 20);
        assert_eq!(editor.place(), (3, 1));
        editor.press(Key::Ctrl('n'), 20);
        assert_eq!(editor.place(), (2, 8));
    }

    #[test]
    fn typing_can_be_undone_and_a_change_from_the_screens_has_a_window() {
        let mut editor = Editor::new("a\n", 7, None);
        typed(&mut editor, "b");
        assert_eq!(editor.document(), "ba\n");
        editor.press(Key::Ctrl('z'), 20);
        assert_eq!(editor.document(), "a\n");
        let change = editor.confirmed_change();
        assert_eq!((change.base, change.confirm), (Base::Is(7), Confirm::Within(120)));
        assert_eq!(editor.change_for_good().confirm, Confirm::Unsaid);
    }

    #[test]
    fn keys_of_the_comparison_that_did_not_come_are_no_text() {
        let mut editor = Editor::new("breakout = 9\n", 7, None);
        let mistake = || Diagnostic { line: 1, column: 12, path: "p".into(), message: "wrong".into() };
        for key in ['a', 'A', 'g'] {
            editor.take(Review::Mistakes(vec![mistake()]));
            editor.press(Key::Char(key), 20);
            assert_eq!(editor.document(), "breakout = 9\n");
            let said = editor.said().unwrap();
            assert!(said.starts_with("Nothing can be applied yet. Mistake: 1:12"), "{said}");
        }
        // A second one is meant.
        typed(&mut editor, "a");
        assert_eq!(editor.document(), "breakout = a9\n");
        assert!(editor.said().unwrap().starts_with("Mistake"));
    }

    #[test]
    fn cutting_a_line_leaves_no_empty_one() {
        let mut editor = Editor::new("one\ntwo\nthree", 7, None);
        editor.press(Key::Down, 20);
        editor.press(Key::Right, 20);
        editor.press(Key::Ctrl('k'), 20);
        assert_eq!((editor.document().as_str(), editor.place()), ("one\nthree", (2, 1)));
        editor.press(Key::Ctrl('z'), 20);
        assert_eq!(editor.document(), "one\ntwo\nthree");
        editor.press(Key::PageDown, 20);
        editor.press(Key::Ctrl('k'), 20);
        editor.press(Key::Ctrl('k'), 20);
        assert_eq!(editor.document(), "one\ntwo\n");
    }

    #[test]
    fn search_goes_on_behind_the_cursor_and_around() {
        let mut editor = Editor::new("Ärger swp1\nSWP1 b swp1\n", 7, None);
        let mut places = Vec::new();
        for _ in 0..4 {
            editor.search("swp1");
            places.push(editor.place());
        }
        assert_eq!(places, [(1, 7), (2, 1), (2, 8), (1, 7)]);
        editor.search("none");
        assert_eq!(editor.said().as_deref(), Some("\"none\" is not in the text."));
    }

    #[test]
    fn cursor_reaches_every_line_of_the_longest_text() {
        let lines = MAX_BYTES / 2;
        let mut editor = Editor::new(&format!("{}last = 1", "\n".repeat(lines)), 7, None);
        let at = |line, column| Diagnostic { line, column, path: "p".into(), message: "wrong".into() };
        editor.take(Review::Mistakes(vec![at(65_536, 1), at(65_537, 1), at(lines as u32 + 1, 6)]));
        for place in [(65_536, 1), (65_537, 1), (lines + 1, 6), (65_536, 1)] {
            assert_eq!(editor.place(), place);
            editor.press(Key::Ctrl('n'), 20);
        }
        editor.search("last");
        assert_eq!(editor.place(), (lines + 1, 1));
        editor.press(Key::PageUp, 20);
        editor.press(Key::PageUp, 20);
        editor.press(Key::PageDown, 20);
        assert_eq!(editor.place(), (lines - 19, 1));
    }

    #[test]
    fn line_beyond_those_the_widget_counts_is_drawn() {
        let text: Vec<String> = (1..=70_000).map(|number| format!("line {number}")).collect();
        let mut editor = Editor::new(&text.join("\n"), 7, None);
        for number in [59_999, 60_000, 60_001, 65_536, 65_537, 70_000] {
            editor.search(&format!("line {number}"));
            let area = Rect::new(0, 0, 20, 10);
            let mut picture = Buffer::empty(area);
            editor.draw(area, &mut picture);
            let rows: Vec<String> = (0..10)
                .map(|y| (0..20).map(|x| picture[(x, y)].symbol()).collect::<String>().trim().to_owned())
                .collect();
            assert!(rows.contains(&format!("line {number}")), "{number}: {rows:?}");
        }
    }
}
