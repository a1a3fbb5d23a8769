//! The keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::tui::app::App;

const LINES: &[(&str, &str)] = &[
    ("1 2 3  Tab", "ports, VLANs with the forwarding database, log"),
    ("arrows PgUp PgDn", "move; on the VLAN screen pages turn the database"),
    ("Enter", "the selected port, or the log's messages, in full"),
    ("p", "on the log: everything, warnings, errors"),
    ("/", "show only lines with a text: uplink, swp[1-4]"),
    (":", "a command; Tab completes, arrow up recalls"),
    ("Ctrl-L", "ask for the terminal's size, paint again"),
    ("q", "leave, which logs out at the switch's console"),
    ("", ""),
    (":show ports swp1", "a table, or one in full; also interfaces, lags,"),
    ("", "vxlans, vrfs, vlans, routes, neighbours, fdb, mdb,"),
    ("", "system; words may be shortened: sh po swp1"),
    (":edit", "edit the configuration, check, compare, apply"),
    (":apply -", "the same with a text you paste; Ctrl-D ends it"),
    (":check :diff :apply", "with a FILE; apply takes --confirm 2m"),
    (":confirm :rollback", "keep a change, or take it back"),
    (":history :config", "what was applied; a document as it was applied"),
    (":log :man switch.toml", "messages; the reference of the configuration"),
    ("", "Over SSH also: corten events, what happens now"),
    ("STATE VLAN", "administrative/operational; untagged/tagged"),
];

/// Draws the keys.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    write(picture, line(area, 0), "Keys and commands", app.look.style(Tone::Heading));
    for (y, (key, meaning)) in (1u16..).zip(LINES) {
        write(picture, line(area, y), &format!("  {key:23}{meaning}"), app.look.style(Tone::Normal));
    }
}
