//! What a command printed, and what a change would do.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Over, Page};

/// Draws the part of the lines that is in view.
pub fn draw(app: &App, page: &Page, area: Rect, picture: &mut Buffer) {
    let Page { title, lines, top, left } = page;
    let look = app.look;
    let height = usize::from(area.height.saturating_sub(1));
    let end = lines.len().min(top + height);
    let mut place = match lines.len() > height {
        true => format!("  ({}-{end} of {})", top + 1, lines.len()),
        false => String::new(),
    };
    if *left > 0 {
        place.push_str(&format!("  (from column {})", left + 1));
    }
    let sign = if matches!(app.over, Over::Review(_)) { "" } else { ":" };
    write(picture, line(area, 0), &format!("{sign}{}{place}", look.text(title)), look.style(Tone::Heading));
    for (y, text) in (1u16..).zip(lines.iter().skip(*top).take(height)) {
        let text = text::fit(&text::from_column(text, *left), usize::from(area.width), look.cut_mark());
        write(picture, line(area, y), &text, look.style(Tone::Normal));
    }
}
