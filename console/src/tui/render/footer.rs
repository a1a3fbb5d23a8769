//! The last line: keys, or the line being typed with its candidates above it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{bar, line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Over, Screen};
use crate::tui::prompt::Prompt;

/// Draws the footer; answers where the cursor stands when a line is being typed.
pub fn draw(app: &App, area: Rect, body: Rect, picture: &mut Buffer) -> Option<Position> {
    if area.height == 0 {
        return None;
    }
    if let Some(prompt) = &app.prompt {
        draw_candidates(app, &prompt.candidates, body, picture);
        return Some(draw_prompt(app, prompt, area, picture));
    }
    bar(picture, area, app.look);
    let keys = app.leaving_question().unwrap_or_else(|| keys(app));
    write(picture, area, &format!(" {keys}"), app.look.style(Tone::Bar));
    None
}

fn keys(app: &App) -> String {
    if let Some(running) = &app.running {
        return format!("running: {}", app.look.text(running));
    }
    let busy = app.editor.as_ref().is_some_and(|editor| editor.busy);
    match (&app.over, app.screen) {
        (Over::Editor | Over::Review(_), _) if busy => "working ...  Esc leave, it goes on".into(),
        (Over::Editor, _) => {
            "Ctrl-D check, compare  Ctrl-F find  Ctrl-Z undo  Ctrl-K cut line  Esc leave".into()
        }
        (Over::Review(_), _) => review_keys(app),
        (Over::Notice(_), _) => ": command  Esc back".into(),
        (Over::Port, _) => "Up/Down other ports  PgUp/PgDn scroll  : command  Esc back".into(),
        (Over::Help(_), _) => "Up/Down PgUp/PgDn scroll  : command  other keys back".into(),
        (Over::Output(_), _) => "Up/Down PgUp/PgDn Left/Right scroll  / search  : command  Esc back".into(),
        (Over::Nothing, screen) => screen_keys(app, screen),
    }
}

/// The keys of a comparison.
fn review_keys(app: &App) -> String {
    let (window, if_same) = match (app.rollback_window_s(), &app.editor) {
        (Some(0), _) => return "a go back for good  / search  Esc back".into(),
        (Some(seconds), _) => (seconds, app.rollback_is_if_same()),
        (None, Some(editor)) if !editor.look_only => (editor.timeout_s(), editor.change.confirm.is_if_same()),
        (None, _) => return "Up/Down PgUp/PgDn Left/Right scroll  / search  Esc back".into(),
    };
    let window = crate::timespan::show(window);
    if if_same {
        return format!("a apply for {window}, kept if nothing is lost  g apply for good  Esc back");
    }
    format!("a apply, taken back in {window} unless confirmed  g apply for good  Esc back")
}

/// The keys of a screen. Beside a filter there is room for the most needed only.
fn screen_keys(app: &App, screen: Screen) -> String {
    let filter = app.look.text(app.filter());
    if !filter.is_empty() {
        let filter = text::fit(&filter, 24, app.look.cut_mark());
        return format!("only \"{filter}\"  Esc all  / other  ? help  q log out");
    }
    let own = match screen {
        Screen::Now => "Enter in full",
        Screen::Ports => "Enter port",
        Screen::Vlans => "Up/Down VLAN",
        Screen::Log => "Enter in full  p severity",
    };
    format!("Tab screen  {own}  / filter  : command  ? help  q log out")
}

/// The line with its cursor in view, however long it is.
fn draw_prompt(app: &App, prompt: &Prompt, area: Rect, picture: &mut Buffer) -> Position {
    let columns = usize::from(area.width);
    let before = format!("{}{}", prompt.sign(), app.look.text(&prompt.line.before_cursor()));
    let mut shown = before.as_str();
    // The cursor itself takes a column.
    while text::width(shown) + 1 > columns {
        let mut rest = shown.chars();
        if rest.next().is_none() {
            break;
        }
        shown = rest.as_str();
    }
    let column = text::width(shown);
    let line = format!("{shown}{}", app.look.text(&prompt.line.after_cursor()));
    write(picture, area, &line, app.look.style(Tone::Normal));
    Position::new(area.x + u16::try_from(column).unwrap_or(0), area.y)
}

/// What Tab could not decide between, in the last lines of the body.
fn draw_candidates(app: &App, candidates: &[String], body: Rect, picture: &mut Buffer) {
    let widest = candidates.iter().map(|candidate| text::width(candidate)).max().unwrap_or(0) + 2;
    let columns = (usize::from(body.width) / widest).max(1);
    let rows: Vec<&[String]> = candidates.chunks(columns).take(usize::from(body.height / 2)).collect();
    let height = u16::try_from(rows.len()).unwrap_or(0);
    for (y, row) in (body.height - height..).zip(rows) {
        let text: String = row.iter().map(|candidate| format!("{candidate:widest$}")).collect();
        let place = line(body, y);
        write(picture, place, &" ".repeat(usize::from(body.width)), app.look.style(Tone::Bar));
        write(picture, place, &app.look.text(&text), app.look.style(Tone::Bar));
    }
}
