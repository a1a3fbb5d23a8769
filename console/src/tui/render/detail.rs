//! One port in full.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::tables::ports;
use crate::text;
use crate::tui::app::App;

/// Draws the selected port.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    let Some((port, rate)) = app.ports.selected() else { return };
    let (plain, heading) = (app.look.style(Tone::Normal), app.look.style(Tone::Heading));
    let mut y = 0;
    for (name, value) in ports::facts(port) {
        write(picture, line(area, y), &format!("{name:14}"), plain);
        let place = line(area, y);
        let value_place =
            Rect { x: place.x + 15.min(place.width), width: place.width.saturating_sub(15), ..place };
        let style = if name == "State" { app.look.style(ports::state(port).tone) } else { plain };
        write(picture, value_place, &app.look.text(&value), style);
        y += 1;
    }
    y += 1;
    write(picture, line(area, y), &format!("{:14} {:>20}  {:>20}", "", "RECEIVED", "SENT"), heading);
    let bits = |bits: u64| format!("{} b/s", text::short_number(bits));
    let (received, sent) = match rate {
        Some(rate) => (bits(rate.rx_bits_per_s), bits(rate.tx_bits_per_s)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let counters =
        ports::counter_rows(&port.counters).map(|(name, rx, tx)| (name, rx.to_string(), tx.to_string()));
    for (name, received, sent) in std::iter::once(("Rate", received, sent)).chain(counters) {
        y += 1;
        write(picture, line(area, y), &format!("{name:14} {received:>20}  {sent:>20}"), plain);
    }
}
