//! Ports: one line each, or one in full.

use netd_api::state::{Counters, DISCARDING, Port};

use crate::look::{Look, Tone};
use crate::table::{Cell, Column, Table};
use crate::text;

const COLUMNS: &[Column] = &[
    Column::text("PORT"),
    Column::text("STATE"),
    Column::number("SPEED"),
    Column::number("MTU"),
    Column::text("VLAN").cut_to(8),
    Column::number("RX"),
    Column::number("TX"),
    Column::text("HW"),
    Column::text("DESCRIPTION").cut_to(8),
];

/// With errors and drops in both directions, where there is room.
const WIDE_COLUMNS: &[Column] = &[
    Column::text("PORT"),
    Column::text("STATE"),
    Column::number("SPEED"),
    Column::number("MTU"),
    Column::text("VLAN").cut_to(8),
    Column::number("RX"),
    Column::number("TX"),
    Column::number("ERRORS"),
    Column::number("DROPS"),
    Column::text("HW"),
    Column::text("DESCRIPTION").cut_to(8),
];

/// Columns of a terminal that has room for them.
const WIDE: usize = 100;

/// The table of ports for a terminal of so many columns, `None` for a program.
pub fn table(ports: &[Port], columns: Option<usize>) -> Table {
    if columns.is_some_and(|columns| columns < WIDE) {
        return narrow_table(ports);
    }
    let mut table = Table::new(WIDE_COLUMNS);
    for port in ports {
        let [errors, drops] = faults(&port.counters);
        table.push([
            port.name.as_str().into(),
            state(port),
            text::speed(port.speed_mbps).into(),
            port.mtu_bytes.to_string().into(),
            text::port_vlans(port).into(),
            text::short_number(port.counters.rx_bytes).into(),
            text::short_number(port.counters.tx_bytes).into(),
            errors,
            drops,
            super::hardware(true, &port.hardware),
            label(port).into(),
        ]);
    }
    table
}

/// Errors and drops of both directions; bad when there are any errors.
pub fn faults(counters: &Counters) -> [Cell; 2] {
    let errors = counters.rx_errors.saturating_add(counters.tx_errors);
    let drops = counters.rx_dropped.saturating_add(counters.tx_dropped);
    let tone = if errors > 0 { Tone::Bad } else { Tone::Normal };
    [Cell::new(text::short_number(errors), tone), text::short_number(drops).into()]
}

fn narrow_table(ports: &[Port]) -> Table {
    let mut table = Table::new(COLUMNS);
    for port in ports {
        table.push([
            port.name.as_str().into(),
            state(port),
            text::speed(port.speed_mbps).into(),
            port.mtu_bytes.to_string().into(),
            text::port_vlans(port).into(),
            text::short_number(port.counters.rx_bytes).into(),
            text::short_number(port.counters.tx_bytes).into(),
            super::hardware(true, &port.hardware),
            label(port).into(),
        ]);
    }
    table
}

/// A port's state; bad when it is wanted up and is not.
pub fn state(port: &Port) -> Cell {
    let tone = match port.oper_state.as_str() {
        "up" if port.reason == DISCARDING => Tone::Normal,
        "up" => Tone::Good,
        _ if port.wanted_up => Tone::Bad,
        _ => Tone::Quiet,
    };
    Cell::new(text::port_state(port), tone)
}

/// What to call the port: its description, or the workload it belongs to; and the LAG it is a member of.
pub fn label(port: &Port) -> String {
    let label = if port.description.is_empty() { &port.attachment } else { &port.description };
    match (port.lag.as_str(), label.as_str()) {
        ("", label) => label.to_owned(),
        (lag, "") => format!("[{lag}]"),
        (lag, label) => format!("[{lag}] {label}"),
    }
}

/// Everything about one port, a line for each thing.
pub fn detail(port: &Port, look: Look) -> String {
    let mut out = String::new();
    for (name, value) in facts(port, text::now_s()) {
        let title = look.paint(&format!("{name}:"), Tone::Heading);
        let padding = " ".repeat(15usize.saturating_sub(name.len() + 1));
        out.push_str(&format!("{title}{padding}{}\n", text::clean(&value)));
    }
    let counters = &port.counters;
    out.push_str(&format!("\n{:15}{:>20}  {:>20}\n", "", "RECEIVED", "SENT"));
    for (name, received, sent) in counter_rows(counters) {
        out.push_str(&format!("{:15}{received:>20}  {sent:>20}\n", format!("{name}:")));
    }
    out
}

/// Why a port forwards nothing, since when, and how often its carrier went.
fn reason(port: &Port, now_s: u64) -> String {
    let since = match port.carrier_changed_s {
        0 => String::new(),
        changed_s => format!(" for {}", text::age(now_s.saturating_sub(changed_s))),
    };
    let state = match port.reason.as_str() {
        "" if port.oper_state == "up" => format!("carrier{since}"),
        "" => "-".to_owned(),
        // Only a carrier comes and goes with time; the rest is as the document says.
        reason @ "no carrier" => format!("{reason}{since}"),
        reason => reason.to_owned(),
    };
    match port.carrier_losses {
        0 => state,
        1 => format!("{state}; carrier lost once"),
        losses => format!("{state}; carrier lost {losses} times"),
    }
}

/// Names and values of what a port is, without its counters; `now_s` is the time in seconds since 1970.
pub fn facts(port: &Port, now_s: u64) -> Vec<(&'static str, String)> {
    let or_dash = |value: &str| text::or_dash(value).to_owned();
    let untagged = if port.untagged_vlan == 0 { String::new() } else { port.untagged_vlan.to_string() };
    let asic = if port.switch_id.is_empty() { String::new() } else { format!(", ASIC {}", port.switch_id) };
    let duplex = if port.duplex.is_empty() { String::new() } else { format!(", {} duplex", port.duplex) };
    let mut facts = vec![
        ("Port", format!("{} ({}, interface {})", port.name, port.kind, port.ifindex)),
        ("Description", or_dash(&port.description)),
        (
            "State",
            format!("{}, wanted {}", text::port_state(port), if port.wanted_up { "up" } else { "down" }),
        ),
        ("Why", reason(port, now_s)),
        ("Speed", format!("{}{duplex}", text::speed(port.speed_mbps))),
        ("MTU", format!("{} bytes", port.mtu_bytes)),
        ("MAC", or_dash(&port.mac)),
        ("Untagged VLAN", or_dash(&untagged)),
        ("Tagged VLANs", or_dash(&text::vlan_ranges(&port.tagged_vlans))),
        ("Addresses", or_dash(&port.addresses.join(", "))),
        ("VRF", or_dash(&port.vrf)),
        ("Driver", or_dash(&port.driver)),
        ("Forwarding", format!("{}{asic}", or_dash(&port.hardware))),
    ];
    if !port.lag.is_empty() {
        facts.push(("LAG", format!("member of {}; see show lags", port.lag)));
    }
    if !port.attachment.is_empty() {
        facts.push(("Workload", port.attachment.clone()));
    }
    facts
}

/// Counters by name: received and sent.
pub fn counter_rows(counters: &Counters) -> [(&'static str, u64, u64); 4] {
    [
        ("Bytes", counters.rx_bytes, counters.tx_bytes),
        ("Packets", counters.rx_packets, counters.tx_packets),
        ("Errors", counters.rx_errors, counters.tx_errors),
        ("Dropped", counters.rx_dropped, counters.tx_dropped),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::tests::ports;

    #[test]
    fn the_table_fits_80_columns() {
        let shown = table(&ports(), Some(80)).render(Some(80), Look::PLAIN);
        assert!(shown.lines().all(|line| text::width(line) <= 80), "{shown}");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_pipe_gets_the_whole_table() {
        insta::assert_snapshot!(table(&ports(), None).render(None, Look::PLAIN));
    }

    #[test]
    fn errors_and_drops_have_columns_where_there_is_room() {
        let mut rows = ports();
        rows[0].counters.rx_errors = 3;
        rows[0].counters.tx_dropped = 41;
        let shown = table(&rows, Some(132)).render(Some(132), Look::PLAIN);
        let of = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<Vec<String>> = shown.lines().map(of).collect();
        assert_eq!(lines[0][7..9], ["ERRORS", "DROPS"]);
        assert_eq!(lines[1][7..9], ["3", "41"], "{shown}");
        assert!(!table(&rows, Some(80)).render(Some(80), Look::PLAIN).contains("ERRORS"));
    }

    #[test]
    fn state_names_a_port_that_the_spanning_tree_holds_back() {
        let held = Port {
            admin_up: true,
            oper_state: "up".to_owned(),
            reason: DISCARDING.to_owned(),
            ..Port::default()
        };
        assert_eq!(state(&held), Cell::new("up/discarding", Tone::Normal));
        let forwards = Port { reason: String::new(), ..held.clone() };
        assert_eq!(state(&forwards), Cell::new("up/up", Tone::Good));
        let shown = detail(&held, Look::PLAIN);
        assert!(shown.contains("the spanning tree keeps it from forwarding"), "{shown}");
    }

    #[test]
    fn port_in_full_says_why_it_forwards_nothing_and_since_when() {
        let port = |reason: &str, changed_s, losses| Port {
            reason: reason.into(),
            oper_state: if reason.is_empty() { "up" } else { "down" }.into(),
            carrier_changed_s: changed_s,
            carrier_losses: losses,
            ..Port::default()
        };
        for (port, said) in [
            (port("enabled = false at line 41", 0, 0), "enabled = false at line 41"),
            (port("no carrier", 808, 17), "no carrier for 3m12s; carrier lost 17 times"),
            (port("no carrier", 0, 0), "no carrier"),
            (port("", 993, 1), "carrier for 7s; carrier lost once"),
            (port("", 0, 0), "carrier"),
        ] {
            assert_eq!(reason(&port, 1000), said);
        }
    }

    #[test]
    fn one_port_is_shown_in_full() {
        insta::assert_snapshot!(detail(&ports()[2], Look::PLAIN));
    }
}
