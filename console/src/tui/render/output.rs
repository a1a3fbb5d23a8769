//! What a command printed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Over};

/// Draws the part of the output that is in view.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    let Over::Output { title, lines, top } = &app.over else { return };
    let look = app.look;
    let height = usize::from(area.height.saturating_sub(1));
    let end = lines.len().min(top + height);
    let place = match lines.len() > height {
        true => format!("  ({}-{end} of {})", top + 1, lines.len()),
        false => String::new(),
    };
    write(picture, line(area, 0), &format!(":{}{place}", look.text(title)), look.style(Tone::Heading));
    for (y, text) in (1u16..).zip(lines.iter().skip(*top).take(height)) {
        let text = text::fit(text, usize::from(area.width), look.cut_mark());
        write(picture, line(area, y), &text, look.style(Tone::Normal));
    }
}
