//! The keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{line, write};
use crate::look::Tone;
use crate::tui::app::App;

const LINES: &[(&str, &str)] = &[
    ("1 2 3  Tab", "ports, VLANs with the forwarding database, log"),
    ("arrows", "move; on the VLAN screen, choose a VLAN"),
    ("PgUp PgDn Home End", "move by pages; on the VLAN screen, in the database"),
    ("Enter", "the selected port in full; Esc goes back"),
    ("/", "show only lines with a text; Esc shows all again"),
    (":", "a command; Tab completes, arrow up recalls"),
    ("Ctrl-L", "ask for the terminal's size, paint again"),
    ("?", "this page"),
    ("q", "leave, which logs out at the switch's console"),
    ("", ""),
    (":show ports swp1", "a table or a port; also vlans, routes,"),
    ("", "neighbours, fdb, system; --json for programs"),
    (":check FILE", "every mistake of a configuration document"),
    (":diff FILE", "what applying it would change"),
    (":apply FILE", "make it the running configuration; --confirm 2m"),
    (":confirm :rollback", "keep it, or take it back; :history, :config"),
    ("", ""),
    ("STATE", "administrative/operational"),
    ("VLAN", "untagged/tagged: 10, 1/10-20, -/30"),
];

/// Draws the keys.
pub fn draw(app: &App, area: Rect, picture: &mut Buffer) {
    write(picture, line(area, 0), "Keys and commands", app.look.style(Tone::Heading));
    for (y, (key, meaning)) in (1u16..).zip(LINES) {
        write(picture, line(area, y), &format!("  {key:20}{meaning}"), app.look.style(Tone::Normal));
    }
}
