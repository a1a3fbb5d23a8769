//! What a command printed, and what a change would do.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Over, Page};

/// Draws the part of the lines that is in view.
pub fn draw(app: &App, page: &Page, area: Rect, picture: &mut Buffer) {
    let Page { title, lines, top, left, found, .. } = page;
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
    place.push_str(&look.text(&page.search_state()));
    let sign = if matches!(app.over, Over::Review(_) | Over::Help(_)) { "" } else { ":" };
    write(picture, line(area, 0), &format!("{sign}{}{place}", look.text(title)), look.style(Tone::Heading));
    for (index, text) in lines.iter().enumerate().skip(*top).take(height) {
        let Ok(y) = u16::try_from(index - top + 1) else { break };
        let tone = if *found == Some(index) { Tone::Bar } else { Tone::Normal };
        let text = text::fit(&text::from_column(text, *left), usize::from(area.width), look.cut_mark());
        write(picture, line(area, y), &text, look.style(tone));
    }
}
