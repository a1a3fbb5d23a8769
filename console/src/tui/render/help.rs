//! The keys.

const LINES: &[(&str, &str)] = &[
    ("0 1 2 9  Tab", "now: alarms and the last changes; ports; VLANs with"),
    ("", "the forwarding database; log"),
    ("arrows PgUp PgDn", "move; on the VLAN screen pages turn the database"),
    ("Enter", "the selected alarm or port, the log's messages, in full"),
    ("p", "on the log: everything, warnings, errors"),
    ("/", "show only lines with a text: uplink, swp[1-4]; in an"),
    ("", "output search, n next, N previous"),
    (":", "a command; Tab completes, arrow up recalls"),
    ("Ctrl-L", "ask for the terminal's size, paint again"),
    ("q", "leave, which logs out at the switch's console"),
    ("", ""),
    (":show ports swp1", "a table, or one in full; also alarms, interfaces,"),
    ("", "lags, vxlans, vrfs, vlans, routes, neighbours, fdb,"),
    ("", "mdb, system, pending; may be shortened: sh po swp1"),
    (":edit", "edit the configuration, check, compare, apply"),
    (":apply -", "the same with a text you paste; Ctrl-D ends it"),
    (":check :diff :apply", "with a FILE; apply takes --confirm 2m --if-same"),
    (":confirm :take-back", "keep a change that waits, or end it"),
    (":rollback -1", "back to the generation before, compared first"),
    (":history :config", "what was applied; a document as it was applied"),
    (":diff 2 4", "how the documents of two generations differ"),
    (":log :man switch.toml", "messages; the reference of the configuration"),
    (":ping :traceroute", "an address, with --vrf"),
    ("", "Over SSH also: corten events, what happens now"),
    ("STATE VLAN", "administrative/operational; untagged/tagged"),
];

/// The keys, a line each.
pub fn lines() -> Vec<String> {
    LINES.iter().map(|(key, meaning)| format!("  {key:23}{meaning}").trim_end().to_owned()).collect()
}
