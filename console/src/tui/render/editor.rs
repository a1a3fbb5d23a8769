//! The editor.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::{Look, Tone};
use crate::text;
use crate::tui::app::App;

/// The most lines what is wrong may take.
const NOTE_LINES: usize = 4;

/// Draws the text, and below it what is wrong with it.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    let Some(editor) = &app.editor else { return };
    let (row, column) = editor.place();
    let title = format!("{}  (line {row}, column {column})", editor.title);
    write(picture, line(area, 0), &app.look.text(&title), app.look.style(Tone::Heading));
    let note = editor.said().map(|said| app.look.text(&said)).unwrap_or_default();
    let mut notes = text::wrap(&note, usize::from(area.width));
    notes.truncate(NOTE_LINES.min(usize::from(area.height / 2)));
    let height = u16::try_from(notes.len()).unwrap_or(0);
    let place =
        Rect { y: area.y + 1, height: area.height.saturating_sub(1 + height), ..area }.intersection(area);
    if place.height > 0 && place.width > 0 {
        editor.draw(place, picture);
        tame(picture, place, app.look);
    }
    for (y, note) in (area.height - height.min(area.height)..).zip(&notes) {
        write(picture, line(area, y), note, app.look.style(Tone::Bad));
    }
}

/// What the terminal cannot show, or should not, becomes a mark in its place.
fn tame(picture: &mut Buffer, area: Rect, look: Look) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            let cell = &mut picture[(x, y)];
            let symbol = cell.symbol();
            if symbol.is_empty() || symbol == " " {
                continue;
            }
            if look.text(symbol) != symbol {
                cell.set_char('?');
            }
        }
    }
}
