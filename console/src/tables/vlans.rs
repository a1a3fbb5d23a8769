//! VLANs of the bridge.

use netd_api::state::{Vlan, VlanRange};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::number("VLAN"),
    Column::text("NAME").cut_to(8),
    Column::text("STATE"),
    Column::text("UNTAGGED").cut_to(12),
    Column::text("TAGGED").cut_to(12),
    Column::text("VRF"),
    Column::text("ADDRESSES"),
];

/// The table of VLANs, those that differ in nothing but their number on one line. Further addresses of a VLAN
/// follow on lines of their own.
pub fn table(vlans: &[Vlan]) -> Table {
    let mut table = Table::new(COLUMNS);
    for run in vlans.chunk_by(|one, next| one.id + 1 == next.id && alike(one, next)) {
        let [vlan, ..] = run else { continue };
        let last = run.last().map_or(vlan.id, |last| last.id);
        let ids = text::vlan_ranges(&[VlanRange { first: vlan.id, last }]);
        let state_tone = match vlan.oper_state.as_str() {
            "up" => Tone::Good,
            "" => Tone::Normal,
            _ => Tone::Bad,
        };
        let mut addresses = vlan.addresses.iter().map(String::as_str);
        table.push([
            ids.into(),
            text::or_dash(&vlan.name).into(),
            Cell::new(text::or_dash(text::oper_state(&vlan.oper_state)), state_tone),
            text::or_dash(&port_ranges(&vlan.untagged_ports)).into(),
            text::or_dash(&port_ranges(&vlan.tagged_ports)).into(),
            super::vrf(&vlan.vrf),
            addresses.next().unwrap_or("-").into(),
        ]);
        for address in addresses {
            table.push(["".into(), "".into(), "".into(), "".into(), "".into(), "".into(), address.into()]);
        }
    }
    table
}

/// Whether two VLANs differ in nothing but their number.
fn alike(one: &Vlan, other: &Vlan) -> bool {
    Vlan { id: other.id, ..one.clone() } == *other
}

/// Port names, runs of numbers written as the configuration writes ranges: `swp[1-4],swp7`.
pub fn port_ranges(names: &[String]) -> String {
    let mut runs: Vec<(&str, u32, u32)> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    let mut numbered: Vec<(&str, u32)> = Vec::new();
    for name in names {
        match split_number(name) {
            Some(port) => numbered.push(port),
            None => parts.push(name.clone()),
        }
    }
    numbered.sort_unstable();
    for (stem, number) in numbered {
        match runs.last_mut() {
            Some((run, _, last)) if *run == stem && last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((stem, number, number)),
        }
    }
    let runs = runs.into_iter().map(|(stem, first, last)| match first == last {
        true => format!("{stem}{first}"),
        false => format!("{stem}[{first}-{last}]"),
    });
    runs.chain(parts.drain(..)).collect::<Vec<_>>().join(",")
}

/// `swp12` is `swp` and 12. Names whose number could be written otherwise (`x007`) have none.
fn split_number(name: &str) -> Option<(&str, u32)> {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[stem.len()..];
    if digits.starts_with('0') && digits.len() > 1 {
        return None;
    }
    Some((stem, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;
    use crate::tables::tests::vlans;

    #[test]
    fn the_table_fits_80_columns() {
        let shown = table(&vlans()).render(Some(80), Look::PLAIN);
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn vlans_that_differ_in_nothing_but_their_number_share_a_line() {
        let trunk = |id| Vlan { id, tagged_ports: vec!["swp3".into()], ..Vlan::default() };
        let mut rows: Vec<Vlan> = (11..=20).chain(30..=31).map(trunk).collect();
        rows[4].untagged_ports = vec!["swp4".into()];
        let shown = table(&rows).render(Some(80), Look::PLAIN);
        let ids: Vec<&str> = shown.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(ids, ["VLAN", "11-14", "15", "16-20", "30-31"], "{shown}");
    }

    #[test]
    fn neighbouring_ports_become_ranges() {
        let of =
            |names: &[&str]| port_ranges(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]), "");
        assert_eq!(of(&["swp10", "swp2", "swp1", "swp3"]), "swp[1-3],swp10");
        assert_eq!(of(&["swp3s0", "swp3s1", "web-eth0", "uplink"]), "swp3s[0-1],web-eth0,uplink");
        assert_eq!(of(&["x007", "swp4294967295", "swp99999999999"]), "swp4294967295,x007,swp99999999999");
    }
}
