//! A table with a selected row.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{bar, line, write};
use crate::look::{Look, Tone};
use crate::table::{Cell, Column, GAP, Table};
use crate::text;

/// Draws the table's titles and rows from the top of an area; `selected` counts among the rows given.
pub fn draw(table: &Table, selected: Option<usize>, look: Look, area: Rect, picture: &mut Buffer) {
    let widths = table.widths(Some(usize::from(area.width)));
    let titles: Vec<Cell> = table.columns.iter().map(|column| column.title.into()).collect();
    draw_row(&titles, table.columns, &widths, (look, Some(Tone::Heading)), line(area, 0), picture);
    for (index, row) in table.rows.iter().enumerate() {
        let Some(y) = u16::try_from(index + 1).ok().filter(|y| *y < area.height) else { return };
        let place = line(area, y);
        // A tone in a selected row would fight with the bar.
        let tone = (selected == Some(index)).then_some(Tone::Bar);
        if tone.is_some() {
            bar(picture, place, look);
        }
        draw_row(row, table.columns, &widths, (look, tone), place, picture);
    }
}

fn draw_row(
    row: &[Cell],
    columns: &[Column],
    widths: &[usize],
    (look, tone): (Look, Option<Tone>),
    area: Rect,
    picture: &mut Buffer,
) {
    let mut x = 0;
    for ((cell, column), width) in row.iter().zip(columns).zip(widths) {
        let shown = text::fit(&look.text(&cell.text), *width, look.cut_mark());
        let padding = if column.right { width.saturating_sub(text::width(&shown)) } else { 0 };
        let at = u16::try_from(x + padding).unwrap_or(u16::MAX);
        if at < area.width {
            let place = Rect { x: area.x + at, width: area.width - at, ..area };
            write(picture, place, &shown, look.style(tone.unwrap_or(cell.tone)));
        }
        x += width + GAP;
    }
}
