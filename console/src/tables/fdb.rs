//! The bridge's forwarding database.

use std::collections::BTreeMap;

use netd_api::state::FdbEntry;

use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("MAC").at_least(17),
    Column::number("VLAN"),
    Column::text("PORT").at_least(8),
    Column::text("KIND").at_least(8),
    Column::number("AGE").at_least(5),
    Column::text("HW"),
];

/// The table of forwarding entries, with ages to the second.
pub fn table(entries: &[FdbEntry]) -> Table {
    table_with(entries, |age_s| text::age(age_s.into()))
}

/// The same for a screen that is looked at: ages in minutes, so that not every line changes with every look.
pub fn live_table(entries: &[FdbEntry]) -> Table {
    let minutes =
        |age_s: u32| if age_s < 60 { "<1m".to_owned() } else { text::age(u64::from(age_s / 60 * 60)) };
    table_with(entries, minutes)
}

fn table_with(entries: &[FdbEntry], show_age: impl Fn(u32) -> String) -> Table {
    let mut table = Table::new(COLUMNS);
    for entry in entries {
        let hardware = super::hardware(entry.kernel, &entry.hardware);
        let [mac, vlan, port, kind, hardware] =
            super::bridge_entry(&entry.mac, entry.vlan_id, &entry.port, &entry.kind, hardware);
        let age: Cell = match entry.kind.as_str() {
            "learned" => show_age(entry.age_s).into(),
            _ => "-".into(),
        };
        table.push([mac, vlan, port, kind, age, hardware]);
    }
    table
}

/// Has one entry an address: what the ASIC tells of an address that the kernel knows with its VLAN is that entry's
/// hardware state, and no entry of its own. netd tells of VLAN after VLAN, and first what the ASIC tells, which has none:
/// only that is kept, until the end.
#[derive(Debug, Default)]
pub struct Merger {
    /// By hardware address and port; whether the kernel has the address as well.
    by_asic: BTreeMap<(String, String), (FdbEntry, bool)>,
}

impl Merger {
    /// Takes in an entry, and answers it unless it is the ASIC's.
    pub fn push(&mut self, mut entry: FdbEntry) -> Option<FdbEntry> {
        if is_by_asic(&entry) {
            self.by_asic.insert((entry.mac.clone(), entry.port.clone()), (entry, false));
            return None;
        }
        if self.by_asic.is_empty() || entry.vlan_id == 0 || entry.kind == "local" {
            return Some(entry);
        }
        if let Some((told, known)) = self.by_asic.get_mut(&(entry.mac.clone(), entry.port.clone())) {
            *known = true;
            if entry.hardware == "software" {
                entry.hardware.clone_from(&told.hardware);
            }
        }
        Some(entry)
    }

    /// The addresses that only the ASIC told of.
    pub fn finish(self) -> impl Iterator<Item = FdbEntry> {
        self.by_asic.into_values().filter(|(_, known)| !known).map(|(entry, _)| entry)
    }
}

fn is_by_asic(entry: &FdbEntry) -> bool {
    entry.vlan_id == 0 && entry.kind == "external"
}

/// The same for a whole table, in any order.
pub fn merged(entries: Vec<FdbEntry>) -> Vec<FdbEntry> {
    let mut merger = Merger::default();
    let (by_asic, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_by_asic);
    let mut rows: Vec<FdbEntry> =
        by_asic.into_iter().chain(others).filter_map(|row| merger.push(row)).collect();
    rows.extend(merger.finish());
    rows
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

    #[test]
    fn ages_on_a_screen_change_each_minute_at_most() {
        let entry = |age_s| FdbEntry { age_s, ..fdb()[0].clone() };
        let shown = |age_s| live_table(&[entry(age_s)]).render(None, Look::PLAIN);
        assert_eq!(shown(1), shown(59));
        assert_eq!(shown(121), shown(179));
        assert!(shown(121).contains("  2m  "), "{}", shown(121));
    }

    #[test]
    fn address_that_kernel_and_asic_both_tell_is_one_row() {
        let entry = |vlan_id, port: &str, kind: &str, hardware: &str| FdbEntry {
            mac: "02:00:5e:00:53:50".into(),
            vlan_id,
            port: port.into(),
            kind: kind.into(),
            hardware: hardware.into(),
            kernel: true,
            ..FdbEntry::default()
        };
        let rows = merged(vec![
            entry(0, "swp1", "external", "offloaded"),
            entry(20, "swp1", "learned", "software"),
            entry(0, "swp2", "external", "offloaded"),
        ]);
        assert_eq!(
            rows,
            [entry(20, "swp1", "learned", "offloaded"), entry(0, "swp2", "external", "offloaded")]
        );
    }
}
