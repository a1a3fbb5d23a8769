//! ARP and ND entries.

use std::collections::BTreeMap;

use netd_api::state::{FdbEntry, Interface, Neighbour};

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("ADDRESS"),
    Column::text("MAC"),
    Column::text("INTERFACE"),
    Column::text("PORT"),
    Column::text("STATE"),
    Column::text("VRF"),
    Column::text("HW"),
];

/// Ports by VLAN and hardware address: behind which port of a VLAN's interface a neighbour is.
#[derive(Clone, Debug, Default)]
pub struct Ports(BTreeMap<(u16, String), String>);

impl Ports {
    /// Takes in an entry of the forwarding database.
    pub fn push(&mut self, entry: FdbEntry) {
        if entry.kind != "local" && entry.vlan_id != 0 {
            self.0.insert((entry.vlan_id, entry.mac), entry.port);
        }
    }

    /// The port of a neighbour: the interface itself, where that is one.
    fn of_neighbour(&self, entry: &Neighbour, vlans: &BTreeMap<String, u16>) -> String {
        match vlans.get(&entry.device) {
            Some(vlan_id) => self.0.get(&(*vlan_id, entry.mac.clone())).cloned().unwrap_or_default(),
            None => entry.device.clone(),
        }
    }
}

/// VLAN ids of the interfaces of VLANs, by name.
pub fn vlan_interfaces(interfaces: &[Interface]) -> BTreeMap<String, u16> {
    let vlans = interfaces.iter().filter(|row| row.kind == "vlan");
    vlans.map(|row| (row.name.clone(), row.vlan_id)).collect()
}

/// The table of neighbours. A neighbour in a VLAN is behind the port that its hardware address was learned from.
pub fn table(neighbours: &[Neighbour], ports: &Ports, vlans: &BTreeMap<String, u16>) -> Table {
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
            text::or_dash(&ports.of_neighbour(entry, vlans)).into(),
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
    use crate::tables::tests::{fdb, neighbours};

    fn ports() -> Ports {
        let mut ports = Ports::default();
        fdb().into_iter().for_each(|entry| ports.push(entry));
        ports
    }

    #[test]
    fn addresses_of_both_families_line_up() {
        let vlans = [("vlan10".to_owned(), 10)].into();
        insta::assert_snapshot!(table(&neighbours(), &ports(), &vlans).render(Some(80), Look::PLAIN));
    }

    #[test]
    fn neighbour_in_a_vlan_is_behind_the_port_its_address_was_learned_from() {
        let vlans = [("vlan10".to_owned(), 10)].into();
        let shown = table(&neighbours(), &ports(), &vlans).render(None, Look::PLAIN);
        let words =
            |line: usize| -> Vec<&str> { shown.lines().nth(line).unwrap().split_whitespace().collect() };
        assert_eq!(words(1)[2..4], ["vlan10", "swp1"]);
        // One that answers nothing has no hardware address to be found by.
        assert_eq!(words(2)[2..4], ["vlan10", "-"]);
        let routed = Neighbour { device: "swp4".into(), ..neighbours()[0].clone() };
        assert!(
            table(&[routed], &Ports::default(), &vlans).render(None, Look::PLAIN).contains("swp4       swp4")
        );
    }
}
