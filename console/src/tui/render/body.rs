//! The banner over the body when netd is away.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::tui::app::{App, Link};

/// Draws the banner where one is needed and answers what is left of the body.
pub fn banner(app: &App, body: Rect, picture: &mut Buffer) -> Rect {
    let Link::Away { why, since } = &app.link else { return body };
    if body.height < 3 {
        return body;
    }
    let style = app.look.style(Tone::Bad);
    let why = app.look.text(why);
    write(picture, line(body, 0), &format!("! {why}"), style);
    write(picture, line(body, 1), &format!("! No news since {since}; trying again each second."), style);
    Rect { y: body.y + 2, height: body.height - 2, ..body }
}
