//! One port in full.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::{line, write};
use crate::look::{Look, Tone};
use crate::tables::{discards, ports};
use crate::text;
use crate::tui::app::App;

/// Column in which values begin.
const VALUES_AT: u16 = 15;

/// Draws the selected port, from the line on that is scrolled to.
pub fn draw(app: &mut App, area: Rect, picture: &mut Buffer) {
    let Some((port, rate)) = app.ports.selected() else { return };
    let (plain, heading) = (app.look.style(Tone::Normal), app.look.style(Tone::Heading));
    // Name, value and the styles of both.
    let mut rows: Vec<(String, String, Style, Style)> = Vec::new();
    for (name, value) in ports::facts(port, app.now_s) {
        let style = if name == "State" { app.look.style(ports::state(port).tone) } else { plain };
        rows.push((format!("{name:14}"), app.look.text(&value), plain, style));
    }
    rows.push((String::new(), String::new(), plain, plain));
    rows.push((format!("{:14} {:>20}  {:>20}", "", "RECEIVED", "SENT"), String::new(), heading, plain));
    let bits = |bits: u64| format!("{} b/s", text::short_number(bits));
    let (received, sent) = match rate {
        Some(rate) => (bits(rate.rx_bits_per_s), bits(rate.tx_bits_per_s)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let counters =
        ports::counter_rows(&port.counters).map(|(name, rx, tx)| (name, rx.to_string(), tx.to_string()));
    for (name, received, sent) in std::iter::once(("Rate", received, sent)).chain(counters) {
        rows.push((format!("{name:14} {received:>20}  {sent:>20}"), String::new(), plain, plain));
    }
    // Those of another port are not known of this one.
    if app.discards.0 == port.name && !app.discards.1.is_empty() {
        rows.push((String::new(), String::new(), plain, plain));
        let table = discards::table(&app.discards.1).render(Some(usize::from(area.width)), Look::PLAIN);
        for (index, line) in table.lines().enumerate() {
            let style = if index == 0 { heading } else { plain };
            rows.push((app.look.text(line), String::new(), style, plain));
        }
    }
    app.detail_lines = rows.len();
    let top = app.detail_top.min(rows.len().saturating_sub(usize::from(area.height)));
    app.detail_top = top;
    for (y, (name, value, name_style, style)) in (0..area.height).zip(rows.iter().skip(top)) {
        let place = line(area, y);
        write(picture, place, name, *name_style);
        let at = VALUES_AT.min(place.width);
        write(picture, Rect { x: place.x + at, width: place.width - at, ..place }, value, *style);
    }
}
