//! The tables of the switch: which columns each object has.

pub mod alarms;
pub mod comparison;
pub mod discards;
pub mod fdb;
pub mod history;
pub mod interfaces;
pub mod lags;
pub mod mdb;
pub mod neighbours;
pub mod pending;
pub mod ports;
pub mod routes;
pub mod vlans;

use crate::look::Tone;
use crate::table::Cell;

/// The hardware's answer, in red where it failed. What is wanted and not in the kernel is missing altogether.
fn hardware(kernel: bool, flag: &str) -> Cell {
    if !kernel {
        return Cell::new("missing", Tone::Bad);
    }
    let tone = match flag {
        "failed" => Tone::Bad,
        "offloaded" => Tone::Good,
        _ => Tone::Normal,
    };
    Cell::new(crate::text::or_dash(flag), tone)
}

/// A row of one of the bridge's tables: what the entry is for, its VLAN, port, kind, and the hardware's answer.
fn bridge_entry(key: &str, vlan_id: u16, port: &str, kind: &str, hardware: Cell) -> [Cell; 5] {
    let vlan = if vlan_id == 0 { "-".to_owned() } else { vlan_id.to_string() };
    [key.into(), vlan.into(), port.into(), kind.into(), hardware]
}

/// A VRF's name; the default VRF is a dash.
fn vrf(name: &str) -> Cell {
    crate::text::or_dash(name).into()
}

/// A small switch for tests.
#[cfg(test)]
pub mod tests {
    use netd_api::alarm::{Alarm, AlarmKind, Severity};
    use netd_api::state::{Counters, FdbEntry, Neighbour, NextHop, Port, Route, Vlan, VlanRange};

    /// When [`alarms`] are looked at.
    pub const NOW_S: u64 = 1_700_000_000;

    /// Two that are critical, and three that are not.
    pub fn alarms() -> Vec<Alarm> {
        let alarm = |kind, object: &str, age_s: u64, text: &str, remedy: &str| Alarm {
            kind,
            object: object.into(),
            severity: Severity::Warning,
            since_s: NOW_S - age_s,
            text: text.into(),
            remedy: remedy.into(),
        };
        let critical = |alarm| Alarm { severity: Severity::Critical, ..alarm };
        vec![
            critical(alarm(AlarmKind::NotApplied, "swp3", 192, "set mtu 9216: EINVAL", "line 41")),
            critical(alarm(
                AlarmKind::DuplicateAddress,
                "10.0.7.9/24",
                3700,
                "another host on swp7 (02:00:5e:00:53:99) uses the address: the switch defends it",
                "show neighbours swp7",
            )),
            alarm(
                AlarmKind::FdbFull,
                "bridge",
                41,
                "131072 addresses learned of 131072: frames to further ones are flooded",
                "show fdb",
            ),
            alarm(
                AlarmKind::SubnetScanned,
                "vlan20",
                200_000,
                "4711 addresses are asked for that do not answer: is the subnet scanned?",
                "show neighbours vlan20",
            ),
            alarm(AlarmKind::Drift, "swp4 \x1b[2J", 1_300_000, "changed by others\nswp9 faked", ""),
        ]
    }

    /// An access port, a trunk, a port without link, a routed port that is off, and a workload's port.
    pub fn ports() -> Vec<Port> {
        let port = |index: u32, description: &str| Port {
            name: format!("swp{index}"),
            kind: "front-panel".into(),
            description: description.into(),
            ifindex: index + 2,
            wanted_up: true,
            admin_up: true,
            oper_state: "up".into(),
            speed_mbps: 100_000,
            duplex: "full".into(),
            mtu_bytes: 9216,
            mac: format!("02:00:5e:00:53:{index:02x}"),
            driver: "rocker".into(),
            switch_id: "5254001235".into(),
            hardware: "offloaded".into(),
            ..Port::default()
        };
        let counters = |rx_bytes, tx_bytes| Counters {
            rx_bytes,
            rx_packets: rx_bytes / 1000,
            tx_bytes,
            tx_packets: tx_bytes / 1000,
            ..Counters::default()
        };
        vec![
            Port { untagged_vlan: 10, counters: counters(1_234_567, 890), ..port(1, "server a") },
            Port {
                untagged_vlan: 1,
                tagged_vlans: vec![VlanRange { first: 10, last: 20 }, VlanRange { first: 30, last: 30 }],
                counters: counters(98_765_432_100, 45_600_000),
                ..port(2, "uplink to spine1, rack 7, patch panel 3 port 12")
            },
            Port {
                oper_state: "down".into(),
                speed_mbps: 0,
                duplex: String::new(),
                untagged_vlan: 20,
                ..port(3, "hostile \x1b[2J\u{9b}31m text\n")
            },
            Port {
                wanted_up: false,
                admin_up: false,
                oper_state: "down".into(),
                speed_mbps: 25_000,
                mtu_bytes: 1500,
                addresses: vec!["192.0.2.1/31".into(), "2001:db8::1/64".into()],
                vrf: "blue".into(),
                ..port(4, "")
            },
            Port {
                name: "web-eth0".into(),
                kind: "attachment".into(),
                untagged_vlan: 10,
                speed_mbps: 10_000,
                mtu_bytes: 1500,
                driver: "veth".into(),
                switch_id: String::new(),
                hardware: "software".into(),
                attachment: "default/web/eth0".into(),
                counters: counters(999, 1000),
                ..port(5, "")
            },
        ]
    }

    /// Two VLANs with an interface and one without.
    pub fn vlans() -> Vec<Vlan> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        vec![
            Vlan { id: 1, untagged_ports: names(&["swp2"]), ..Vlan::default() },
            Vlan {
                id: 10,
                name: "servers".into(),
                untagged_ports: names(&["swp1", "web-eth0"]),
                tagged_ports: names(&["swp2"]),
                addresses: names(&["10.0.10.1/24", "2001:db8:10::1/64"]),
                vrf: "blue".into(),
                oper_state: "up".into(),
                ..Vlan::default()
            },
            Vlan {
                id: 20,
                name: "storage".into(),
                untagged_ports: names(&["swp3"]),
                tagged_ports: names(&["swp2", "swp5", "swp6", "swp7", "swp8"]),
                addresses: names(&["10.0.20.1/24"]),
                oper_state: "lower-layer-down".into(),
                ..Vlan::default()
            },
        ]
    }

    /// A connected, an ECMP, a blackhole and a missing route, and one that should be in the hardware.
    pub fn routes() -> Vec<Route> {
        let hop = |via: &str, device: &str| NextHop {
            via: via.into(),
            device: device.into(),
            weight: 1,
            dead: false,
        };
        let route = |prefix: &str, next_hops| Route {
            prefix: prefix.into(),
            protocol: "corten".into(),
            kind: "unicast".into(),
            next_hops,
            wanted: true,
            kernel: true,
            hardware: "software".into(),
            ..Route::default()
        };
        vec![
            Route {
                hardware: "offloaded".into(),
                vrf: "blue".into(),
                ..route(
                    "0.0.0.0/0",
                    vec![
                        hop("10.0.10.253", "vlan10"),
                        NextHop { dead: true, ..hop("10.0.10.254", "vlan10") },
                    ],
                )
            },
            Route {
                protocol: "kernel".into(),
                wanted: false,
                ..route("10.0.10.0/24", vec![hop("", "vlan10")])
            },
            Route { kind: "blackhole".into(), metric: 4_278_198_272, ..route("203.0.113.0/24", vec![]) },
            Route {
                hardware: "trapped".into(),
                alarm: true,
                ..route("2001:db8:1::/48", vec![hop("2001:db8:10::1", "vlan10")])
            },
            Route { kernel: false, ..route("2001:db8:ffff::/48", vec![hop("2001:db8:10::ffff", "vlan10")]) },
        ]
    }

    /// A reachable, a failed and an IPv6 neighbour.
    pub fn neighbours() -> Vec<Neighbour> {
        let entry = |address: &str, mac: &str, state: &str| Neighbour {
            address: address.into(),
            mac: mac.into(),
            device: "vlan10".into(),
            state: state.into(),
            vrf: String::new(),
            wanted: false,
            kernel: true,
            hardware: "software".into(),
        };
        vec![
            entry("10.0.10.80", "02:00:5e:00:53:50", "reachable"),
            entry("10.0.10.81", "", "failed"),
            entry("fe80::200:5eff:fe00:5350", "02:00:5e:00:53:50", "stale"),
        ]
    }

    /// A learned, a static and a local entry.
    pub fn fdb() -> Vec<FdbEntry> {
        let entry = |mac: &str, vlan_id, port: &str, kind: &str, hardware: &str| FdbEntry {
            mac: mac.into(),
            vlan_id,
            port: port.into(),
            kind: kind.into(),
            wanted: kind == "static",
            kernel: true,
            hardware: hardware.into(),
            age_s: if kind == "learned" { 42 } else { 0 },
        };
        vec![
            entry("02:00:5e:00:53:50", 10, "swp1", "learned", "offloaded"),
            entry("02:00:5e:00:53:51", 20, "swp2", "static", "software"),
            entry("02:00:5e:00:53:01", 0, "swp1", "local", "software"),
        ]
    }
}
