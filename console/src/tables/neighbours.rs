//! ARP and ND entries.

use netd_api::state::Neighbour;

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("ADDRESS"),
    Column::text("MAC"),
    Column::text("PORT"),
    Column::text("STATE"),
    Column::text("VRF"),
    Column::text("HW"),
];

/// The table of neighbours.
pub fn table(neighbours: &[Neighbour]) -> Table {
    let mut table = Table::new(COLUMNS);
    for entry in neighbours {
        let tone = match entry.state.as_str() {
            "failed" | "incomplete" => Tone::Bad,
            "reachable" | "permanent" => Tone::Good,
            _ => Tone::Normal,
        };
        table.push([
            entry.address.as_str().into(),
            text::or_dash(&entry.mac).into(),
            entry.device.as_str().into(),
            Cell::new(&entry.state, tone),
            super::vrf(&entry.vrf),
            super::hardware(entry.kernel, &entry.hardware),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;
    use crate::tables::tests::neighbours;

    #[test]
    fn addresses_of_both_families_line_up() {
        insta::assert_snapshot!(table(&neighbours()).render(Some(80), Look::PLAIN));
    }
}
