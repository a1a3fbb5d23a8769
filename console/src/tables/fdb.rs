//! The bridge's forwarding database.

use netd_api::state::FdbEntry;

use crate::table::{Column, Table};

const COLUMNS: &[Column] = &[
    Column::text("MAC").at_least(17),
    Column::number("VLAN"),
    Column::text("PORT").at_least(8),
    Column::text("KIND").at_least(8),
    Column::text("HW"),
];

/// The table of forwarding entries.
pub fn table(entries: &[FdbEntry]) -> Table {
    let mut table = Table::new(COLUMNS);
    for entry in entries {
        let hardware = super::hardware(entry.kernel, &entry.hardware);
        table.push(super::bridge_entry(&entry.mac, entry.vlan_id, &entry.port, &entry.kind, hardware));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;
    use crate::tables::tests::fdb;

    #[test]
    fn entries_line_up() {
        insta::assert_snapshot!(table(&fdb()).render(Some(80), Look::PLAIN));
    }
}
