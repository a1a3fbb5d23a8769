//! The banner over the body: netd is away, a change waits for its confirmation and what it cost, or was taken back.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Link};

/// Lines of the banner that tell what a change did to the network.
const MOST_COMPARED: usize = 6;

/// Draws the banner where one is needed and answers what is left of the body.
pub fn banner(app: &App, body: Rect, picture: &mut Buffer) -> Rect {
    let mut lines = Vec::new();
    if let Link::Away { why, since } = &app.link {
        lines.push(app.look.text(why));
        lines.push(format!("No news since {since}; trying again each second."));
    }
    if let Some(words) = app.pending_words() {
        lines.extend(text::wrap(&app.look.text(&words), usize::from(body.width).saturating_sub(2)));
    }
    let columns = usize::from(body.width);
    let room = usize::from(body.height / 2).saturating_sub(lines.len());
    let compared = app.comparison_lines(columns, room.min(MOST_COMPARED));
    let height = u16::try_from(lines.len() + compared.len()).unwrap_or(u16::MAX);
    // What the banner is over is worth more than half of a small screen.
    if lines.is_empty() || body.height < 3 || height > body.height / 2 {
        return body;
    }
    for (y, text) in (0..).zip(&lines) {
        write(picture, line(body, y), &format!("! {text}"), app.look.style(Tone::Bad));
    }
    for (y, row) in (lines.len()..).zip(&compared) {
        let place = line(body, u16::try_from(y).unwrap_or(u16::MAX));
        write(picture, place, &app.look.text(&row.text), app.look.style(row.tone));
    }
    Rect { y: body.y + height, height: body.height - height, ..body }
}
