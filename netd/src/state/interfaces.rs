//! Interfaces that are no ports: loopbacks, VLAN interfaces, subinterfaces, tunnels, VRFs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netd_api::state::Interface;

use super::{View, natural, oper_state};
use crate::desired::BRIDGE;
use crate::kernel::fdb::FdbRecord;
use crate::kernel::link::LinkRecord;

/// The address whose entries tell where a tunnel sends what has no known place.
const FLOOD: &str = "00:00:00:00:00:00";

impl View<'_> {
    /// All interfaces of the switch that are no ports. `tunnels` are the entries of the tunnels' own forwarding
    /// databases.
    pub fn interface_rows(&self, tunnels: &[FdbRecord]) -> Vec<Interface> {
        let links = self.interfaces.links.values();
        let mut rows: Vec<Interface> = links.filter_map(|link| self.interface(link, tunnels)).collect();
        let kinds = ["loopback", "vlan", "subinterface", "vxlan", "vrf"];
        let order = |kind: &str| kinds.iter().position(|known| *known == kind);
        rows.sort_by_cached_key(|row| (order(&row.kind), natural(&row.name)));
        rows
    }

    fn interface(&self, link: &LinkRecord, tunnels: &[FdbRecord]) -> Option<Interface> {
        let lower = self.interfaces.name(link.lower);
        let kind = match link.kind.as_str() {
            "dummy" => "loopback",
            "vlan" if lower == BRIDGE => "vlan",
            "vlan" => "subinterface",
            "vxlan" => "vxlan",
            "vrf" => "vrf",
            _ => return None,
        };
        let mut row = Interface {
            name: link.name.clone(),
            kind: kind.to_owned(),
            description: link.alias.clone(),
            ifindex: link.index,
            admin_up: link.is_up(),
            oper_state: oper_state(link.oper_state).to_owned(),
            mtu_bytes: link.mtu_bytes,
            mac: link.mac.clone(),
            addresses: self.addresses(link.index),
            vrf: self.vrf_of(link),
            vlan_id: link.vlan_id,
            wanted: self.desired.links.contains_key(&link.name),
            counters: link.counters,
            ..Interface::default()
        };
        match kind {
            "subinterface" => row.parent = lower.to_owned(),
            "vxlan" => {
                let runs = self.interfaces.vlans.get(&link.index).map_or(&[][..], |vlans| vlans.runs());
                row.vlan_id = runs.iter().find(|run| run.membership.pvid).map_or(0, |run| run.first);
                row.vni = link.vxlan.vni;
                row.local = link.vxlan.local.map(|local| local.to_string()).unwrap_or_default();
                row.udp_port = link.vxlan.port;
                let flood = tunnels.iter().filter(|entry| entry.index == link.index && entry.mac == FLOOD);
                let remotes: BTreeSet<IpAddr> = flood.filter_map(|entry| entry.remote).collect();
                row.remotes = remotes.iter().map(IpAddr::to_string).collect();
            }
            "vrf" => {
                row.table = link.table;
                let members = self.interfaces.links.values().filter(|member| member.master == link.index);
                row.members = members.map(|member| member.name.clone()).collect();
                row.members.sort_by_cached_key(|name| natural(name));
            }
            _ => {}
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{link, with_view};

    #[test]
    fn interfaces_that_are_no_ports_are_shown_with_what_their_kind_has() {
        let remote = |last: u8| FdbRecord {
            index: 3,
            bridge: 0,
            mac: FLOOD.to_owned(),
            vlan_id: 0,
            remote: Some([192, 0, 2, last].into()),
            state: 0,
            flags: 0,
            age_s: 0,
        };
        let vxlan =
            crate::kernel::vxlan::VxlanRecord { vni: 10_010, local: Some([192, 0, 2, 1].into()), port: 4789 };
        let links = vec![
            link(1, BRIDGE, "bridge"),
            link(2, "lo0", "dummy"),
            LinkRecord { vxlan, ..link(3, "vx10", "vxlan") },
            LinkRecord { table: 1001, ..link(4, "blue", "vrf") },
            LinkRecord { lower: 1, vlan_id: 10, master: 4, ..link(5, "vlan10", "vlan") },
            LinkRecord { lower: 7, vlan_id: 20, ..link(6, "swp1.20", "vlan") },
            link(7, "swp1", ""),
        ];
        let mut other = remote(9);
        other.mac = "02:00:00:00:00:01".to_owned();
        let entries = [remote(3), remote(2), other];
        let rows = with_view(links, "version = 1\n", |view| view.interface_rows(&entries));
        let kinds: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.kind.as_str())).collect();
        let wanted = [
            ("lo0", "loopback"),
            ("vlan10", "vlan"),
            ("swp1.20", "subinterface"),
            ("vx10", "vxlan"),
            ("blue", "vrf"),
        ];
        assert_eq!(kinds, wanted);
        assert_eq!((rows[1].vlan_id, rows[1].vrf.as_str()), (10, "blue"));
        assert_eq!((rows[2].vlan_id, rows[2].parent.as_str()), (20, "swp1"));
        assert_eq!((rows[3].vni, rows[3].local.as_str(), rows[3].udp_port), (10_010, "192.0.2.1", 4789));
        assert_eq!(rows[3].remotes, ["192.0.2.2", "192.0.2.3"]);
        assert_eq!((rows[4].table, rows[4].members.as_slice()), (1001, &["vlan10".to_owned()][..]));
    }
}
