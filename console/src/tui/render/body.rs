//! The banner over the body: netd is away, a change waits for its confirmation, or was taken back.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::text;
use crate::tui::app::{App, Link};

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
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    // What the banner is over is worth more than half of a small screen.
    if lines.is_empty() || body.height < 3 || height > body.height / 2 {
        return body;
    }
    for (y, text) in (0..).zip(&lines) {
        write(picture, line(body, y), &format!("! {text}"), app.look.style(Tone::Bad));
    }
    Rect { y: body.y + height, height: body.height - height, ..body }
}
