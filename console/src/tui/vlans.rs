//! VLANs and the forwarding database as the screen holds them.

use netd_api::state::{FdbEntry, Vlan};

use super::list::List;
use crate::tables::fdb;

/// The VLAN screen.
#[derive(Debug, Default)]
pub struct VlansView {
    vlans: Vec<Vlan>,
    fdb: Vec<FdbEntry>,
    /// Place among the VLANs; row 0 stands for all.
    pub list: List,
    /// Place in the forwarding database.
    pub fdb_list: List,
    /// What a line must contain to be shown.
    pub filter: String,
    /// Whether they were read at all.
    pub known: bool,
}

impl VlansView {
    /// Takes a reading. The selection stays on its VLAN when others come and go.
    pub fn update(&mut self, vlans: Vec<Vlan>, entries: Vec<FdbEntry>) {
        let id = self.selected().map(|vlan| vlan.id);
        self.vlans = vlans;
        self.fdb = fdb::merged(entries);
        self.known = true;
        self.select(id);
    }

    /// Takes a filter. The selection stays on its VLAN where that is still shown.
    pub fn set_filter(&mut self, filter: String) {
        let id = self.selected().map(|vlan| vlan.id);
        self.filter = filter;
        self.select(id);
    }

    fn select(&mut self, id: Option<u16>) {
        let place = id.and_then(|id| self.shown().iter().position(|vlan| vlan.id == id));
        self.list.selected = place.map_or(0, |index| index + 1);
    }

    /// All VLANs.
    pub fn all(&self) -> &[Vlan] {
        &self.vlans
    }

    /// The VLANs the filter names by number, name, port or address; all of them where it names none, as it may be
    /// about addresses that were learned.
    pub fn shown(&self) -> Vec<&Vlan> {
        let number = self.filter.trim().parse::<u16>().ok();
        if let Some(vlan) = self.vlans.iter().find(|vlan| Some(vlan.id) == number) {
            return vec![vlan];
        }
        let named: Vec<&Vlan> = self.vlans.iter().filter(|vlan| self.names(vlan)).collect();
        if named.is_empty() { self.vlans.iter().collect() } else { named }
    }

    fn names(&self, vlan: &Vlan) -> bool {
        let ports = vlan.untagged_ports.iter().chain(&vlan.tagged_ports).map(String::as_str);
        let texts: Vec<&str> = [vlan.name.as_str()]
            .into_iter()
            .chain(ports)
            .chain(vlan.addresses.iter().map(String::as_str))
            .filter(|text| !text.is_empty())
            .collect();
        super::contains(&self.filter, &texts)
    }

    /// The selected VLAN; `None` for all.
    pub fn selected(&self) -> Option<&Vlan> {
        self.list.selected.checked_sub(1).and_then(|index| self.shown().get(index).copied())
    }

    /// The forwarding entries of the selected VLAN that pass the filter; the switch's own only when they are
    /// asked for.
    pub fn entries(&self) -> Vec<&FdbEntry> {
        let id = self.selected().map(|vlan| vlan.id);
        let local = self.filter.eq_ignore_ascii_case("local");
        let digits = hex_digits(&self.filter);
        let names: Vec<u16> =
            self.vlans.iter().filter(|vlan| self.is_of_vlan(vlan)).map(|vlan| vlan.id).collect();
        let wanted = |entry: &&FdbEntry| {
            id.is_none_or(|id| id == entry.vlan_id)
                && (local || entry.kind != "local")
                && (super::contains(&self.filter, &[&entry.mac, &entry.port, &entry.kind])
                    || names.contains(&entry.vlan_id)
                    || digits.as_ref().is_some_and(|digits| plain_mac(&entry.mac).contains(digits.as_str())))
        };
        self.fdb.iter().filter(wanted).collect()
    }

    /// Whether the filter is the VLAN's number, or part of its name.
    fn is_of_vlan(&self, vlan: &Vlan) -> bool {
        let filter = self.filter.trim();
        !filter.is_empty()
            && (filter == vlan.id.to_string()
                || !vlan.name.is_empty() && super::contains(filter, &[vlan.name.as_str()]))
    }
}

/// The digits of a hardware address, or of a piece of one, however it is written; `None` for other texts.
fn hex_digits(text: &str) -> Option<String> {
    let digits = plain_mac(text.trim());
    (digits.len() >= 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

fn plain_mac(text: &str) -> String {
    text.replace([':', '-', '.'], "").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests as switch;

    fn found(filter: &str) -> (Vec<u16>, Vec<String>) {
        let mut view = VlansView::default();
        view.update(switch::vlans(), switch::fdb());
        view.set_filter(filter.to_owned());
        let vlans = view.shown().iter().map(|vlan| vlan.id).collect();
        (vlans, view.entries().iter().map(|entry| entry.mac.clone()).collect())
    }

    #[test]
    fn filter_finds_vlans_by_number_and_name_and_macs_in_any_notation() {
        let (ten, twenty) = ("02:00:5e:00:53:50".to_owned(), "02:00:5e:00:53:51".to_owned());
        for (filter, vlans, macs) in [
            ("20", vec![20], vec![twenty.clone()]),
            ("storage", vec![20], vec![twenty.clone()]),
            ("servers", vec![10], vec![ten.clone()]),
            ("0200.5e00.5350", vec![1, 10, 20], vec![ten.clone()]),
            ("02-00-5E-00-53-51", vec![1, 10, 20], vec![twenty]),
            ("swp1", vec![10], vec![ten]),
        ] {
            assert_eq!(found(filter), (vlans, macs), "{filter}");
        }
    }
}
