//! Pictures of the screens: one part, one file.

mod body;
mod detail;
mod editor;
mod footer;
mod header;
mod help;
mod log;
mod now;
mod output;
mod ports;
mod table;
mod vlans;

#[cfg(test)]
mod tests;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

pub use help::lines as help_lines;

use super::app::{App, Over, Screen};
use crate::look::Look;

/// A picture of the screens, and where the cursor stands when a line is being typed. Also tells the app
/// how many lines its body has.
pub fn draw(app: &mut App, area: Rect) -> (Buffer, Option<Position>) {
    let mut picture = Buffer::empty(area);
    let [top, body, foot] = split(area);
    header::draw(app, top, &mut picture);
    let body = body::banner(app, body, &mut picture);
    // The first line of the body is a title line on every screen.
    app.page = usize::from(body.height).saturating_sub(1).max(1);
    app.columns = usize::from(area.width);
    match &app.over {
        Over::Nothing => match app.screen {
            Screen::Now => now::draw(app, body, &mut picture),
            Screen::Ports => ports::draw(app, body, &mut picture),
            Screen::Vlans => vlans::draw(app, body, &mut picture),
            Screen::Log => log::draw(app, body, &mut picture),
        },
        Over::Port => detail::draw(app, body, &mut picture),
        Over::Output(page) | Over::Notice(page) | Over::Review(page) | Over::Help(page) => {
            output::draw(app, page, body, &mut picture)
        }
        Over::Editor => editor::draw(app, body, &mut picture),
    }
    let cursor = footer::draw(app, foot, body, &mut picture);
    (picture, cursor)
}

/// Header, body and footer.
fn split(area: Rect) -> [Rect; 3] {
    let line = |y: u16, height: u16| Rect::new(area.x, area.y + y, area.width, height);
    match area.height {
        0 | 1 => [line(0, 0), line(0, area.height), line(0, 0)],
        2 => [line(0, 0), line(0, 1), line(1, 1)],
        height => [line(0, 1), line(1, height - 2), line(height - 1, 1)],
    }
}

/// One line of an area.
fn line(area: Rect, y: u16) -> Rect {
    Rect::new(area.x, area.y + y, area.width, 1).intersection(area)
}

/// Writes text at the start of a line.
fn write(picture: &mut Buffer, at: Rect, text: &str, style: ratatui::style::Style) {
    if at.width > 0 && at.height > 0 {
        picture.set_stringn(at.x, at.y, text, usize::from(at.width), style);
    }
}

/// Fills a line with a tone.
fn bar(picture: &mut Buffer, at: Rect, look: Look) {
    picture.set_style(at, look.style(crate::look::Tone::Bar));
}
