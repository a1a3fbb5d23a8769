//! The first line: host, screens, netd, generation and time.

use netd_api::generation::Health;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{bar, write};
use crate::look::Tone;
use crate::text;
use crate::tui::DEFAULT_SIZE;
use crate::tui::app::{App, Link, Screen};

/// Draws the header.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    bar(picture, area, app.look);
    let style = app.look.style(Tone::Bar);
    let fits = area.width >= DEFAULT_SIZE.0;
    let right = if fits { right_side(app) } else { format!("needs {} columns ", DEFAULT_SIZE.0) };
    let columns = usize::from(area.width);
    let host = text::fit(&app.look.text(&app.host), 20, app.look.cut_mark());
    let mut left = format!(" {host} ");
    for (screen, title) in Screen::ALL {
        let (open, close) = if screen == app.screen { ('[', ']') } else { (' ', ' ') };
        left.push_str(&format!(" {open}{title}{close}"));
    }
    write(picture, area, &left, style);
    // Where both do not fit the screens' names win.
    let at = columns.saturating_sub(text::width(&right));
    if at > text::width(&left) {
        let place = Rect { x: area.x + u16::try_from(at).unwrap_or(0), ..area }.intersection(area);
        write(picture, place, &right, style);
    }
}

fn right_side(app: &App) -> String {
    let netd = match app.link {
        Link::Connecting => "netd ...",
        Link::Up => "netd up",
        Link::Away { .. } => "netd AWAY",
    };
    let generation = app.status.as_ref().map_or(String::new(), |status| {
        let state = match status.state {
            Health::Ok => "",
            Health::Unconfirmed => " UNCONFIRMED",
            Health::Degraded => " DEGRADED",
        };
        format!("  gen {}{state}", status.generation)
    });
    format!("{netd}{generation}  {} ", app.clock)
}
