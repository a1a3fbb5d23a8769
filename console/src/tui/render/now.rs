//! The first screen: alarms above, the last changes below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, table, write};
use crate::look::Tone;
use crate::tables::alarms;
use crate::text;
use crate::tui::app::App;

/// Lines that are left to the changes however many alarms there are: their title and a few of them.
const LEAST_CHANGES: usize = 6;
/// Columns of a change's object.
const OBJECT_COLUMNS: usize = 10;

/// Draws the alarms and, below them, the newest changes that fit.
pub fn draw(app: &mut App, area: Rect, picture: &mut Buffer) {
    let look = app.look;
    let height = usize::from(area.height);
    let count = app.now.shown().len();
    let most = height.saturating_sub(1 + LEAST_CHANGES).max(height / 2);
    let rows = count.clamp(1, most.max(1));
    let view = app.now.list.view(count, rows);
    let selected = app.now.list.selected.checked_sub(view.start).filter(|_| count > 0);
    let shown: Vec<_> = app.now.shown().drain(view).cloned().collect();
    let part = |y: usize, lines: usize| {
        let (y, lines) = (u16::try_from(y).unwrap_or(u16::MAX), u16::try_from(lines).unwrap_or(u16::MAX));
        Rect { y: area.y.saturating_add(y), height: lines, ..area }.intersection(area)
    };
    let above = part(0, rows + 1);
    table::draw(&alarms::table(&shown, app.now_s), selected, look, above, picture);
    if count == 0 {
        let (words, tone) = match (app.now.known, app.now.count()) {
            (false, _) => ("Waiting for netd.", Tone::Quiet),
            (true, 0) => ("No alarms.", Tone::Good),
            (true, _) => ("No alarm contains this text.", Tone::Quiet),
        };
        write(picture, line(above, 1), words, look.style(tone));
    }
    let below = part(rows + 1, height.saturating_sub(rows + 1));
    let title = match app.now.count() {
        all if count < all => format!("---- the last changes (alarms: {count} of {all}) "),
        all if all > rows => format!("---- the last changes (alarms: {rows} of {all} in view) "),
        _ => "---- the last changes ".to_owned(),
    };
    let columns = usize::from(area.width);
    write(picture, line(below, 0), &format!("{title:-<columns$}"), look.style(Tone::Quiet));
    draw_changes(app, below, picture);
}

fn draw_changes(app: &App, area: Rect, picture: &mut Buffer) {
    let look = app.look;
    let mut first = 1;
    if let Some(why) = &app.now.unreadable {
        let words = look.text(&format!("They cannot be read: {why}"));
        write(picture, line(area, first), &words, look.style(Tone::Bad));
        first += 1;
    }
    let mut none = true;
    for (y, change) in (first..area.height).zip(app.now.changes()) {
        none = false;
        let object = text::fit(&look.text(&change.object), OBJECT_COLUMNS, look.cut_mark());
        let shown = format!("{:>5} {object:OBJECT_COLUMNS$} {}", change.when(), look.text(&change.text));
        let shown = text::fit(&shown, usize::from(area.width), look.cut_mark());
        let tone = if change.bad { Tone::Bad } else { Tone::Normal };
        write(picture, line(area, y), &shown, look.style(tone));
    }
    if none && app.now.unreadable.is_none() {
        write(picture, line(area, first), "None since netd started.", look.style(Tone::Quiet));
    }
}
