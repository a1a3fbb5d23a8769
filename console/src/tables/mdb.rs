//! Multicast groups of the bridge.

use netd_api::state::MdbEntry;

use crate::table::{Column, Table};

const COLUMNS: &[Column] = &[
    Column::text("GROUP").at_least(15),
    Column::number("VLAN"),
    Column::text("PORT").at_least(8),
    Column::text("KIND").at_least(7),
    Column::text("HW"),
];

/// The table of group members.
pub fn table(entries: &[MdbEntry]) -> Table {
    let mut table = Table::new(COLUMNS);
    for entry in entries {
        let hardware = super::hardware(entry.kernel, &entry.hardware);
        table.push(super::bridge_entry(&entry.group, entry.vlan_id, &entry.port, &entry.kind, hardware));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;

    #[test]
    fn members_line_up() {
        let entry = |group: &str, kind: &str, kernel| MdbEntry {
            group: group.to_owned(),
            vlan_id: 10,
            port: "swp1".to_owned(),
            kind: kind.to_owned(),
            wanted: kind == "static",
            kernel,
            hardware: "software".to_owned(),
        };
        let rows = [entry("239.1.1.1", "static", true), entry("ff0e::1", "learned", true)];
        let text = table(&rows).render(Some(80), Look::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("239.1.1.1") && lines[1].contains("static"), "{text}");
    }
}
