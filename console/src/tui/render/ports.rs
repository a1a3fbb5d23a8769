//! The ports screen.

use netd_api::state::Port;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, table, write};
use crate::look::Tone;
use crate::table::{Column, Table};
use crate::tables;
use crate::text;
use crate::tui::app::App;
use crate::tui::rates::Rate;

// Numbers have their full width from the start, so that a tick moves no column: that would paint the
// whole table anew.
const COLUMNS: &[Column] = &[
    Column::text("PORT").at_least(5),
    Column::text("STATE").at_least(9),
    Column::number("SPEED").at_least(5),
    Column::text("VLAN").at_least(4).cut_to(6),
    Column::number("RX b/s").at_least(6),
    Column::number("TX b/s").at_least(6),
    Column::number("RX B").at_least(5),
    Column::number("TX B").at_least(5),
    Column::text("DESCR").cut_to(5),
];

/// With errors and drops in both directions, where there is room.
const WIDE_COLUMNS: &[Column] = &[
    Column::text("PORT").at_least(5),
    Column::text("STATE").at_least(9),
    Column::number("SPEED").at_least(5),
    Column::text("VLAN").at_least(4).cut_to(6),
    Column::number("RX b/s").at_least(6),
    Column::number("TX b/s").at_least(6),
    Column::number("RX B").at_least(5),
    Column::number("TX B").at_least(5),
    Column::number("ERRORS").at_least(6),
    Column::number("DROPS").at_least(5),
    Column::text("DESCR").cut_to(5),
];

/// Columns of a terminal that has room for them.
const WIDE: u16 = 100;

/// Draws the ports.
pub fn draw(app: &mut App, area: Rect, picture: &mut Buffer) {
    let height = usize::from(area.height.saturating_sub(1));
    let rows = app.ports.shown().len();
    let view = app.ports.list.view(rows, height);
    let selected = app.ports.list.selected.checked_sub(view.start);
    let shown = app.ports.shown();
    let wide = area.width >= WIDE;
    let mut ports = Table::new(if wide { WIDE_COLUMNS } else { COLUMNS });
    for (port, rate) in &shown[view] {
        push(&mut ports, port, *rate, wide);
    }
    table::draw(&ports, selected, app.look, area, picture);
    if rows == 0 {
        let text = match (app.ports.known, app.ports.filter.is_empty()) {
            (false, _) => "Waiting for netd.",
            (true, true) => "No ports.",
            (true, false) => "No port contains this text; Esc shows all.",
        };
        write(picture, line(area, 2), text, app.look.style(Tone::Quiet));
    }
}

fn push(table: &mut Table, port: &Port, rate: Option<Rate>, wide: bool) {
    let bits = |of: fn(&Rate) -> u64| rate.map_or("-".to_owned(), |rate| text::short_number(of(&rate)));
    let [name, state, speed, vlans, rx_rate, tx_rate, rx, tx, label] = [
        port.name.as_str().into(),
        tables::ports::state(port),
        text::speed(port.speed_mbps).into(),
        text::port_vlans(port).into(),
        bits(|rate| rate.rx_bits_per_s).into(),
        bits(|rate| rate.tx_bits_per_s).into(),
        text::short_number(port.counters.rx_bytes).into(),
        text::short_number(port.counters.tx_bytes).into(),
        tables::ports::label(port).into(),
    ];
    if !wide {
        table.push([name, state, speed, vlans, rx_rate, tx_rate, rx, tx, label]);
        return;
    }
    let [errors, drops] = tables::ports::faults(&port.counters);
    table.push([name, state, speed, vlans, rx_rate, tx_rate, rx, tx, errors, drops, label]);
}
