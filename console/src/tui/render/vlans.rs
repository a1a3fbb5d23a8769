//! VLANs above, the forwarding database of the selected one below.

use netd_api::state::Vlan;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, table, write};
use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::tables::{fdb, vlans::port_ranges};
use crate::text::{self, or_dash};
use crate::tui::app::App;

const COLUMNS: &[Column] = &[
    Column::number("VLAN").at_least(4),
    Column::text("NAME").at_least(8).cut_to(8),
    Column::text("STATE").at_least(5).cut_to(5),
    Column::text("UNTAGGED").at_least(8).cut_to(10),
    Column::text("TAGGED").at_least(8).cut_to(10),
    Column::text("ADDRESSES").cut_to(9),
];

/// Draws both tables.
pub fn draw(app: &mut App, area: Rect, picture: &mut Buffer) {
    let rows = app.vlans.shown().len() + 1;
    // A title line, the VLANs, a blank line; at most half of the screen.
    let height = u16::try_from(rows + 2).unwrap_or(u16::MAX).min(area.height / 2).max(2);
    let above = Rect { height, ..area }.intersection(area);
    let below =
        Rect { y: area.y + height, height: area.height.saturating_sub(height), ..area }.intersection(area);
    draw_vlans(app, rows, above, picture);
    draw_entries(app, below, picture);
    if !app.vlans.known {
        write(picture, line(above, 1), "Waiting for netd.", app.look.style(Tone::Quiet));
    }
}

fn draw_vlans(app: &mut App, rows: usize, area: Rect, picture: &mut Buffer) {
    // The last line stays blank, above the other table's titles.
    let area = Rect { height: area.height.saturating_sub(1), ..area };
    let view = app.vlans.list.view(rows, usize::from(area.height.saturating_sub(1)));
    let selected = app.vlans.list.selected.checked_sub(view.start);
    let mut vlans = Table::new(COLUMNS);
    let shown = app.vlans.shown();
    for index in view {
        match index.checked_sub(1).and_then(|index| shown.get(index)) {
            Some(vlan) => push(&mut vlans, vlan),
            None => vlans.push(["all".into(), "".into(), "".into(), "".into(), "".into(), "".into()]),
        }
    }
    if app.vlans.known {
        table::draw(&vlans, selected, app.look, area, picture);
    }
}

fn push(table: &mut Table, vlan: &Vlan) {
    let tone = match vlan.oper_state.as_str() {
        "up" => Tone::Good,
        "" => Tone::Normal,
        _ => Tone::Bad,
    };
    let state = or_dash(text::oper_state(&vlan.oper_state));
    table.push([
        vlan.id.to_string().into(),
        or_dash(&vlan.name).into(),
        Cell::new(state, tone),
        or_dash(&port_ranges(&vlan.untagged_ports)).into(),
        or_dash(&port_ranges(&vlan.tagged_ports)).into(),
        or_dash(&vlan.addresses.join(" ")).into(),
    ]);
}

fn draw_entries(app: &mut App, area: Rect, picture: &mut Buffer) {
    let rows = app.vlans.entries().len();
    let height = usize::from(area.height.saturating_sub(1));
    // Pages move by what is selected; the table shows no selection, so the top is what counts.
    let top = app.vlans.fdb_list.selected.min(rows.saturating_sub(height));
    let entries: Vec<_> = app.vlans.entries().into_iter().skip(top).take(height).cloned().collect();
    let place = Rect { width: area.width.min(66), ..area };
    if app.vlans.known {
        table::draw(&fdb::live_table(&entries), None, app.look, place, picture);
    }
    let count = match rows {
        1 => "1 address".to_owned(),
        rows => format!("{rows} addresses"),
    };
    let at = area.width.saturating_sub(u16::try_from(count.len()).unwrap_or(0));
    if app.vlans.known && at > 66 {
        let place = Rect { x: area.x + at, width: area.width - at, ..line(area, 0) };
        write(picture, place, &count, app.look.style(Tone::Normal));
    }
}
