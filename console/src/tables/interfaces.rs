//! Interfaces of the switch: all of them, the tunnels, the VRFs.

use netd_api::state::{Interface, Port};
use serde::Serialize;

use crate::look::Tone;
use crate::table::{Cell, Column, Table};
use crate::tables::vlans::port_ranges;
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("INTERFACE"),
    Column::text("KIND"),
    Column::text("STATE"),
    Column::number("MTU"),
    Column::text("VRF"),
    Column::text("ADDRESSES"),
    Column::text("DESCRIPTION").cut_to(8),
];

const VXLAN_COLUMNS: &[Column] = &[
    Column::text("VXLAN"),
    Column::number("VNI"),
    Column::number("VLAN"),
    Column::text("STATE"),
    Column::text("LOCAL"),
    Column::text("REMOTES"),
    Column::number("UDP"),
];

const VRF_COLUMNS: &[Column] = &[
    Column::text("VRF"),
    Column::number("TABLE"),
    Column::text("STATE"),
    Column::text("INTERFACES").cut_to(20),
];

/// A port or another interface, as netd tells them.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// A port.
    Port(Port),
    /// Another interface.
    Interface(Interface),
}

/// A port as one interface among others: what it is called, and red while it is wanted up and is not.
fn of_port(port: &Port) -> Interface {
    Interface {
        name: port.name.clone(),
        kind: port.kind.clone(),
        description: super::ports::label(port),
        ifindex: port.ifindex,
        admin_up: port.admin_up,
        oper_state: port.oper_state.clone(),
        mtu_bytes: port.mtu_bytes,
        mac: port.mac.clone(),
        addresses: port.addresses.clone(),
        vrf: port.vrf.clone(),
        wanted: port.wanted_up,
        counters: port.counters,
        ..Interface::default()
    }
}

/// The table of interfaces. Further addresses follow on lines of their own.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(COLUMNS);
    for row in rows {
        let row = match row {
            Row::Port(port) => &of_port(port),
            Row::Interface(row) => row,
        };
        let mut addresses = row.addresses.iter().map(String::as_str);
        table.push([
            row.name.as_str().into(),
            row.kind.as_str().into(),
            state(row),
            row.mtu_bytes.to_string().into(),
            super::vrf(&row.vrf),
            addresses.next().unwrap_or("-").into(),
            row.description.as_str().into(),
        ]);
        for address in addresses {
            table.push(["".into(), "".into(), "".into(), "".into(), "".into(), address.into(), "".into()]);
        }
    }
    table
}

/// The table of VXLAN tunnel end points. Further remote ones follow on lines of their own.
pub fn vxlans(rows: &[Interface]) -> Table {
    let mut table = Table::new(VXLAN_COLUMNS);
    for row in rows {
        let mut remotes = row.remotes.iter().map(String::as_str);
        let vlan = if row.vlan_id == 0 { "-".to_owned() } else { row.vlan_id.to_string() };
        table.push([
            row.name.as_str().into(),
            row.vni.to_string().into(),
            vlan.into(),
            state(row),
            text::or_dash(&row.local).into(),
            remotes.next().unwrap_or("-").into(),
            row.udp_port.to_string().into(),
        ]);
        for remote in remotes {
            table.push(["".into(), "".into(), "".into(), "".into(), "".into(), remote.into(), "".into()]);
        }
    }
    table
}

/// The table of VRFs.
pub fn vrfs(rows: &[Interface]) -> Table {
    let mut table = Table::new(VRF_COLUMNS);
    for row in rows {
        table.push([
            row.name.as_str().into(),
            row.table.to_string().into(),
            state(row),
            text::or_dash(&port_ranges(&row.members)).into(),
        ]);
    }
    table
}

/// Administrative and operational state. The kernel does not tell the latter of devices without a cable
/// (loopbacks, tunnels): they are as they were set.
fn state(row: &Interface) -> Cell {
    let admin = if row.admin_up { "up" } else { "down" };
    let oper = match row.oper_state.as_str() {
        "" | "unknown" => admin,
        state => text::oper_state(state),
    };
    let tone = match oper {
        "up" => Tone::Good,
        _ if row.wanted => Tone::Bad,
        _ => Tone::Quiet,
    };
    Cell::new(format!("{admin}/{oper}"), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::Look;

    fn interface(name: &str, kind: &str) -> Interface {
        Interface {
            name: name.into(),
            kind: kind.into(),
            admin_up: true,
            oper_state: "unknown".into(),
            mtu_bytes: 1500,
            wanted: true,
            ..Interface::default()
        }
    }

    #[test]
    fn ports_and_interfaces_are_one_table() {
        let mut rows: Vec<Row> = crate::tables::tests::ports().into_iter().map(Row::Port).collect();
        rows.push(Row::Interface(Interface {
            addresses: vec!["192.0.2.255/32".into(), "2001:db8::255/128".into()],
            ..interface("lo0", "loopback")
        }));
        let vlan10 = Interface { vrf: "blue".into(), vlan_id: 10, ..interface("vlan10", "vlan") };
        rows.push(Row::Interface(vlan10));
        let shown = table(&rows).render(Some(80), Look::PLAIN);
        assert!(shown.lines().all(|line| text::width(line) <= 80), "{shown}");
        assert!(shown.contains("lo0        loopback     up/up      1500  -     192.0.2.255/32"), "{shown}");
        assert!(shown.lines().any(|line| line.trim() == "2001:db8::255/128"), "{shown}");
    }

    #[test]
    fn tunnels_tell_their_network_and_their_ends() {
        let row = Interface {
            vni: 10_010,
            vlan_id: 10,
            local: "192.0.2.1".into(),
            remotes: vec!["192.0.2.2".into(), "192.0.2.3".into()],
            udp_port: 4789,
            ..interface("vx10", "vxlan")
        };
        let shown = vxlans(&[row]).render(Some(80), Look::PLAIN);
        insta::assert_snapshot!(shown, @r"
        VXLAN    VNI  VLAN  STATE  LOCAL      REMOTES     UDP
        vx10   10010    10  up/up  192.0.2.1  192.0.2.2  4789
                                              192.0.2.3
        ");
    }

    #[test]
    fn vrfs_tell_their_table_and_who_is_in_them() {
        let row = Interface {
            table: 1001,
            members: vec!["vlan10".into(), "vlan11".into()],
            ..interface("blue", "vrf")
        };
        let shown = vrfs(&[row]).render(Some(80), Look::PLAIN);
        insta::assert_snapshot!(shown, @r"
        VRF   TABLE  STATE  INTERFACES
        blue   1001  up/up  vlan[10-11]
        ");
    }
}
