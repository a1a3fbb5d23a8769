//! What the kernel itself holds, told by its own tools and not by netd.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::{Lab, eventually};

/// Links with their addresses, routes of all tables, next hops, neighbours, VLANs, forwarding entries, groups
/// and rules: a headline each, then what the tool prints. The shell's own `ip` is another one.
const SCRIPT: &str = "echo '@@@ link'; /usr/bin/ip -j -d address show; \
     echo '@@@ route'; /usr/bin/ip -j route show table all; echo '@@@ route6'; /usr/bin/ip -j -6 route show table all; \
     echo '@@@ nexthop'; /usr/bin/ip -j nexthop show; echo '@@@ neighbour'; /usr/bin/ip -j neighbour show nud permanent; \
     echo '@@@ vlan'; bridge -j vlan show; echo '@@@ fdb'; bridge -j fdb show; echo '@@@ mdb'; bridge -j mdb show; \
     echo '@@@ rules'; nft -s -t list ruleset";

/// How long the kernel may take to settle.
const SOON: Duration = Duration::from_secs(60);

/// What comes and goes by itself, or only counts: of no interest to who asks whether a change was made whole.
const PASSING: [&str; 21] = [
    "ifindex",
    "link_index",
    "operstate",
    "promiscuity",
    "allmulti",
    "expires",
    "qdisc",
    "age",
    "valid_life_time",
    "preferred_life_time",
    "tentative",
    "mii_status",
    "link_failure_count",
    "fdb_n_learned",
    "root_port",
    "topology_change",
    "topology_change_detected",
    "ad_info",
    "used",
    "protocol_down",
    "carrier",
];
/// The same by what a key begins or ends with.
const PASSING_PREFIXES: [&str; 5] = ["gso_", "gro_", "tso_", "ad_actor_oper", "ad_partner_oper"];
const PASSING_SUFFIXES: [&str; 1] = ["_timer"];
/// A port's place in its bridge is that of its arrival, its cost that of the speed it had then; the address that a LAG
/// gives back to a member is the one it had then, and netd sets the port's own when it leaves.
const PASSING_IN_SLAVES: [&str; 7] =
    ["cost", "id", "no", "designated_port", "designated_cost", "state", "perm_hwaddr"];
/// Flags that follow a carrier.
const PASSING_FLAGS: [&str; 6] = ["LOWER_UP", "NO-CARRIER", "M-DOWN", "DORMANT", "linkdown", "dead"];

/// A line for each thing the kernel holds, sorted: two dumps are of one state if they are equal.
pub fn take(lab: &Lab) -> Result<Vec<String>> {
    let text = lab.vm.run(SCRIPT)?;
    let (mut lines, mut made_up) = (Vec::new(), Vec::new());
    for section in text.split("@@@ ").skip(1) {
        let (name, body) = section.split_once('\n').with_context(|| format!("no body: {section}"))?;
        if name == "rules" {
            lines.extend(in_order(body).into_iter().map(|line| format!("{name} {line}")));
            continue;
        }
        // A tool that has nothing to tell prints nothing.
        let body = if body.trim().is_empty() { "[]" } else { body };
        let rows: Value = serde_json::from_str(body).with_context(|| format!("{name}: no JSON: {body}"))?;
        for row in rows.as_array().into_iter().flatten() {
            made_up.extend(made_up_address(row));
            lines.extend(flat(name, row).iter().map(|row| format!("{name} {row}")));
        }
    }
    // The management network is not netd's: its lease and its router come when they come.
    lines.retain(|line| line.starts_with("rules ") || !line.contains("\"mgmt"));
    for address in made_up {
        lines.iter_mut().for_each(|line| *line = line.replace(&address, "made up"));
    }
    lines.sort();
    Ok(lines)
}

/// The state that `take` answers, once nothing changes by itself any more: links get addresses of their own a
/// moment after they came up.
pub fn settled(take: impl Fn() -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut last = take()?;
    eventually("the kernel's state settles", SOON, || {
        let now = take()?;
        let changed = differences(&last, &now);
        last = now;
        ensure!(changed.is_empty(), "it still changes:\n{}", changed.join("\n"));
        Ok(())
    })?;
    Ok(last)
}

/// The hardware address of a link the kernel makes one up for, another one each time.
fn made_up_address(link: &Value) -> Option<String> {
    let kind = link["linkinfo"]["info_kind"].as_str()?;
    ["vrf", "dummy", "vxlan"].contains(&kind).then(|| link["address"].as_str().map(str::to_owned))?
}

/// The rows of a row: each address and each VLAN counts for itself.
fn flat(section: &str, row: &Value) -> Vec<Value> {
    let mut row = row.clone();
    strip(&mut row, false);
    let static_ = |entry: &Value| entry["state"] == "permanent" || entry["state"] == "static";
    match section {
        "link" => {
            let addresses = row["addr_info"].take();
            let name = row["ifname"].clone();
            let of = |address: &Value| serde_json::json!({"ifname": name, "address": address});
            let mut rows: Vec<Value> = addresses.as_array().into_iter().flatten().map(of).collect();
            rows.push(row);
            rows
        }
        "fdb" => Some(row).filter(static_).into_iter().collect(),
        "mdb" => {
            row["mdb"].as_array().into_iter().flatten().filter(|entry| static_(entry)).cloned().collect()
        }
        "vlan" => {
            let of = |vlan: &Value| serde_json::json!({"ifname": row["ifname"], "vlan": vlan});
            row["vlans"].as_array().into_iter().flatten().map(of).collect()
        }
        _ => vec![row],
    }
}

fn strip(value: &mut Value, in_slave: bool) {
    match value {
        Value::Object(members) => {
            let passes = |key: &str| {
                PASSING.contains(&key)
                    || PASSING_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
                    || PASSING_SUFFIXES.iter().any(|suffix| key.ends_with(suffix))
                    || in_slave && PASSING_IN_SLAVES.contains(&key)
            };
            members.retain(|key, _| !passes(key));
            for (key, member) in members.iter_mut() {
                strip(member, in_slave || key == "info_slave_data");
            }
        }
        Value::Array(rows) => {
            rows.retain(|row| !row.as_str().is_some_and(|flag| PASSING_FLAGS.contains(&flag)));
            rows.iter_mut().for_each(|row| strip(row, in_slave));
            rows.sort_by_cached_key(Value::to_string);
        }
        _ => {}
    }
}

/// Rules, each with the table and chain it stands in and its place there: their order matters.
fn in_order(ruleset: &str) -> Vec<String> {
    let (mut blocks, mut lines) = (Vec::<(String, u32)>::new(), Vec::new());
    for line in ruleset.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "}" {
            blocks.pop();
            continue;
        }
        let place = blocks.last_mut().map_or(0, |(_, count)| {
            *count += 1;
            *count
        });
        let path: Vec<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
        lines.push(format!("{} {place}: {line}", path.join(" ")));
        if let Some(name) = line.strip_suffix(" {") {
            blocks.push((name.to_owned(), 0));
        }
    }
    lines
}

/// What the one has and the other lacks, a line each.
pub fn differences(wanted: &[String], found: &[String]) -> Vec<String> {
    let mut balance = BTreeMap::<&str, i32>::new();
    wanted.iter().for_each(|line| *balance.entry(line).or_default() += 1);
    found.iter().for_each(|line| *balance.entry(line).or_default() -= 1);
    let of = |word: &'static str, lines: Vec<(&str, i32)>| {
        lines.into_iter().map(move |(line, _)| format!("{word}: {line}")).collect::<Vec<_>>()
    };
    let (lacks, has): (Vec<_>, Vec<_>) =
        balance.into_iter().filter(|(_, count)| *count != 0).partition(|(_, count)| *count > 0);
    [of("missing", lacks), of("too much", has)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_left_out_and_what_is_set_stays() {
        let row = serde_json::json!({
            "ifindex": 3, "ifname": "swp1", "flags": ["UP", "LOWER_UP"], "mtu": 1500,
            "linkinfo": {"info_slave_data": {"no": "0x1", "hold_timer": 0.0, "isolated": true}},
            "addr_info": [{"local": "192.0.2.1", "valid_life_time": 7}],
        });
        let rows: Vec<String> = flat("link", &row).iter().map(Value::to_string).collect();
        assert_eq!(rows[0], r#"{"address":{"local":"192.0.2.1"},"ifname":"swp1"}"#);
        assert!(rows[1].contains(r#""isolated":true"#) && rows[1].contains(r#""flags":["UP"]"#), "{rows:?}");
        assert!(!rows[1].contains("ifindex") && !rows[1].contains("0x1"), "{rows:?}");
    }

    #[test]
    fn addresses_that_the_kernel_makes_up_are_known() {
        let link =
            |kind: &str| serde_json::json!({"address": "02:00:00:00:00:01", "linkinfo": {"info_kind": kind}});
        assert_eq!(made_up_address(&link("vrf")).as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(made_up_address(&link("bridge")), None);
        assert_eq!(made_up_address(&serde_json::json!({"address": "02:00:00:00:00:01"})), None);
    }

    #[test]
    fn learned_entries_are_no_state() {
        let entry = |state: &str| serde_json::json!({"mac": "02:00:00:00:00:01", "state": state});
        assert_eq!(flat("fdb", &entry("permanent")).len(), 1);
        assert_eq!(flat("fdb", &entry("")).len(), 0);
    }

    #[test]
    fn differences_are_told_both_ways() {
        let lines = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let told = differences(&lines(&["a", "b"]), &lines(&["b", "c"]));
        assert_eq!(told, ["missing: a", "too much: c"]);
        assert_eq!(differences(&lines(&["a", "a"]), &lines(&["a"])), ["missing: a"]);
    }

    #[test]
    fn rules_in_another_order_or_chain_are_others() {
        let rules = |chain: &str, rules: [&str; 2]| {
            in_order(&format!(
                "table inet t {{\n\tchain {chain} {{\n\t\t{}\n\t\t{}\n\t}}\n}}\n",
                rules[0], rules[1]
            ))
        };
        let one = rules("input", ["accept", "drop"]);
        assert_eq!(one[2], "table inet t chain input 1: accept");
        assert_eq!(differences(&one, &rules("input", ["drop", "accept"])).len(), 4);
        assert!(!differences(&one, &rules("output", ["accept", "drop"])).is_empty());
    }
}
