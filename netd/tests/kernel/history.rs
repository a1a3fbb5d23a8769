//! The two invariants of ARCHITECTURE, over random documents: the kernel takes every document that `check` accepts, and
//! whatever documents were applied before, the kernel is as if it had seen the last one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use netd::desired::{self, Inputs};
use netd::kernel::snapshot::Scope;
use netd::kernel::unreported::Unreported;
use netd::kernel::{Connection, link, snapshot};
use netd::plan::plan;
use netd::transaction::{Kernel, commit};
use netd_api::config::Config;
use netd_api::config::model::Inventory;
use serde_json::Value;

use crate::common::{isolated, isolated_as_root};
use crate::random::{self, Random};
use crate::random_documents::{self, PORTS, document};
use crate::room::{BRIDGE, Room};

/// Sequences of documents in a run that asks for no number.
const SAMPLE: u64 = 12;
/// Seeds of sequences that failed once, which run before the others: these two while addresses were not set in their
/// order.
const FAILED: [u64; 2] = [38, 122];
/// Sequences at a time.
const AT_ONCE: usize = 8;
/// Most documents of a sequence.
const DOCUMENTS: u64 = 4;
/// How many documents are made up until one is valid.
const TRIES: usize = 500;
/// Hardware address of the bridge.
const BRIDGE_MAC: &str = "02:00:00:00:00:01";

/// What the kernel holds, as its own tools tell it.
const DUMPS: [(&str, &[&str]); 11] = [
    ("ip", &["-j", "-d", "address", "show"]),
    ("ip", &["-j", "route", "show", "table", "all"]),
    ("ip", &["-j", "-6", "route", "show", "table", "all"]),
    ("ip", &["-j", "nexthop", "show"]),
    ("ip", &["-j", "rule", "show"]),
    ("ip", &["-j", "-6", "rule", "show"]),
    ("tc", &["-j", "qdisc", "show"]),
    ("ip", &["-j", "neighbour", "show", "nud", "permanent"]),
    ("bridge", &["-j", "vlan", "show"]),
    ("bridge", &["-j", "fdb", "show"]),
    ("bridge", &["-j", "mdb", "show"]),
];
/// What asks in the VLANs of a bridge. Kernels whose bridge knows none refuse to say.
const QUERIERS: (&str, &[&str]) = ("bridge", &["-j", "vlan", "global", "show"]);
/// Keys whose values pass by themselves, count, or follow the order in which links were made.
const PASSING: [&str; 29] = [
    "index",
    "router",
    "ifindex",
    "link_index",
    "link_netnsid",
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
    "carrier",
    "cost",
    "id",
    "no",
    "designated_port",
    "designated_cost",
    // What a LAG gives back to a member that leaves; netd then sets the port's own.
    "perm_hwaddr",
];
const PASSING_PARTS: [&str; 6] = ["_timer", "gso_", "gro_", "tso_", "ad_actor_oper", "ad_partner_oper"];

/// A switch in a network namespace of its own.
struct Switch {
    room: Room,
    ports: BTreeSet<String>,
    macs: BTreeMap<String, String>,
    unreported: Unreported,
    kernel: random_documents::Kernel,
}

impl Switch {
    fn new(kernel: random_documents::Kernel) -> Switch {
        let mut room = Room::new();
        // As on every switch: without an address of its own the kernel takes no next hop for one of a host.
        room.connection.request(link::set_admin("lo", true)).expect("lo");
        for number in 1..=PORTS {
            room.add_pair(&format!("swp{number}"), &format!("host{number}"));
        }
        let ports = room.scope.ports.clone();
        let macs = room.snapshot().links;
        let macs = macs
            .into_iter()
            .map(|(name, link)| (name, link.settings[&netd::plan::Setting::Mac].text().to_owned()));
        Switch { macs: macs.collect(), room, ports, unreported: Unreported::default(), kernel }
    }

    /// Applies a valid document.
    fn apply(&mut self, config: &Config) -> Result<(), String> {
        let nothing = BTreeMap::new();
        let modes = BTreeMap::new();
        let mut desired = desired::network(&Inputs {
            config,
            ports: &self.ports,
            permanent_macs: &self.macs,
            original_modes: &modes,
            set_modes: self.unreported.settings(),
            attachments: &nothing,
            bridge_mac: BRIDGE_MAC,
            objects: true,
        });
        if !self.kernel.has_vlans {
            desired.links.remove(BRIDGE);
        }
        let names = desired.links.keys().cloned().collect();
        let scope = Scope { ports: self.ports.clone(), names, ..Scope::default() };
        let no_carrier = BTreeSet::new();
        let mut connection = Connection::open().map_err(|error| error.to_string())?;
        let mut kernel = Kernel::new(&mut connection, &scope, BRIDGE, no_carrier, &mut self.unreported);
        commit(&mut kernel, &desired).map_err(|error| error.to_string())?;
        let mut found = snapshot::network(&mut self.room.connection, &scope, BRIDGE, true)
            .map_err(|error| error.to_string())?;
        self.unreported.complete(&mut found);
        let left: Vec<String> = plan(&desired, &found).iter().map(|step| step.action.to_string()).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("not done: {left:?}")) }
    }

    /// A line for each thing the kernel holds; the order of a link's addresses is part of it.
    fn dump(&self) -> BTreeSet<String> {
        let queriers = self.kernel.has_vlans.then_some(QUERIERS);
        let mut lines: BTreeSet<String> =
            DUMPS.into_iter().chain(queriers).flat_map(|(tool, arguments)| told(tool, arguments)).collect();
        for port in &self.ports {
            for side in ["ingress", "egress"] {
                lines.extend(told("tc", &["-j", "filter", "show", "dev", port, side]));
            }
        }
        lines
    }
}

/// A line for each lasting thing a tool tells.
fn told(tool: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Value = serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).unwrap();
    let rows = rows.as_array().into_iter().flatten().filter(|row| is_lasting(arguments[1], row));
    rows.map(|row| format!("{} {}", arguments.join(" "), stripped(row))).collect()
}

/// Not what hosts, tables and the kernel's own link-local addresses bring by themselves.
fn is_lasting(what: &str, row: &Value) -> bool {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    let of_host = [text("ifname"), text("dev")].iter().any(|name| name.starts_with("host"));
    let link_local = ["fe80:", "ff00::"].iter().any(|prefix| text("dst").starts_with(prefix));
    // Groups an interface itself listens to: the kernel forgets to leave some as an MTU falls below IPv6's.
    let listens = ["33:33:", "01:00:5e:"].iter().any(|prefix| text("mac").starts_with(prefix));
    // The kernel makes up a tunnel's hardware address; the bridge has an entry for it.
    let made_up =
        text("ifname").starts_with("vx") && !row["master"].is_null() && text("state") == "permanent";
    // Routes of the switch's own IPv6 addresses, which are compared themselves, come once others were asked for these.
    let own_address = text("dst").contains(':') && ["local", "anycast"].contains(&text("type"));
    !of_host
        && !link_local
        && !listens
        && !made_up
        && !own_address
        && (what != "fdb" || ["permanent", "static"].contains(&text("state")))
        // Other queues are the kernel's choice.
        && (what != "qdisc" || text("kind") == "clsact")
}

fn stripped(row: &Value) -> Value {
    match row {
        Value::Object(fields) => {
            // The kernel makes up another hardware address for such a link each time.
            let kind =
                fields.get("linkinfo").map_or("", |info| info["info_kind"].as_str().unwrap_or_default());
            let made_up = ["vrf", "dummy", "vxlan"].contains(&kind);
            // A spanning tree lets a port listen and learn before it forwards.
            let of_bridge_port = fields.contains_key("bridge_id") && fields.contains_key("bcast_flood");
            // While it hears no partner, LACP goes on with the member that it used before.
            let of_lacp_member = fields.contains_key("ad_aggregator_id");
            let keep = |key: &str| {
                let passes = of_bridge_port && key == "state"
                    || of_lacp_member && ["state", "ad_aggregator_id"].contains(&key)
                    || PASSING.contains(&key)
                    || PASSING_PARTS.iter().any(|part| key.contains(part));
                !passes && (key != "address" || !made_up)
            };
            let flags = |key: &str, value: &Value| match (key, value) {
                ("flags", Value::Array(flags)) => {
                    let follow = ["LOWER_UP", "NO-CARRIER", "M-DOWN", "DORMANT", "linkdown", "dead"];
                    let keep = |flag: &&Value| !follow.iter().any(|passing| **flag == *passing);
                    Value::Array(flags.iter().filter(keep).cloned().collect())
                }
                ("mdb", Value::Array(rows)) => {
                    // Static ones, in any order: hosts join and leave.
                    let mut rows: Vec<Value> =
                        rows.iter().filter(|row| row["state"] == "permanent").map(stripped).collect();
                    rows.sort_by_key(Value::to_string);
                    Value::Array(rows)
                }
                ("addr_info", Value::Array(rows)) => {
                    // The link-local address is the kernel's, and stands where it came.
                    let keep = |row: &&Value| row["scope"] != "link";
                    Value::Array(rows.iter().filter(keep).map(stripped).collect())
                }
                _ => stripped(value),
            };
            let kept = fields.iter().filter(|(key, _)| keep(key));
            Value::Object(kept.map(|(key, value)| (key.clone(), flags(key, value))).collect())
        }
        Value::Array(rows) => Value::Array(rows.iter().map(stripped).collect()),
        other => other.clone(),
    }
}

/// Does something in a network namespace of its own.
fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A document that `check` accepts on this switch.
fn valid(random: &mut Random, kernel: random_documents::Kernel) -> (String, Config) {
    let inventory = Inventory {
        ports: (1..=PORTS).map(|number| format!("swp{number}")).collect(),
        ..Inventory::default()
    };
    for _ in 0..TRIES {
        let text = document(random, kernel);
        if let Ok(config) = netd_api::config::parse(&text)
            && config.admit(&inventory).is_empty()
        {
            return (text, config);
        }
    }
    panic!("none of {TRIES} documents is valid");
}

#[test]
fn history_does_not_matter_and_check_tells_all() {
    const NAME: &str = "history::history_does_not_matter_and_check_tells_all";
    let kernel = random_documents::Kernel { has_vlans: std::env::var_os("NETD_TEST_VLANS").is_some() };
    let body = || check_sequences(kernel);
    // A LAG's LACP system is shown to root of the machine alone.
    if kernel.has_vlans { isolated_as_root(NAME, body) } else { isolated(NAME, body) }
}

fn check_sequences(kernel: random_documents::Kernel) {
    let seed = random::seed("NETD_HISTORY_SEED");
    let sequences = random::asked_for("NETD_HISTORY_SEQUENCES").unwrap_or(SAMPLE);
    // They mostly wait until the kernel knows that nobody else has an IPv6 address.
    let seeds: Vec<u64> =
        FAILED.into_iter().chain((0..sequences).map(|number| seed.wrapping_add(number))).collect();
    for some in seeds.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|seed| scope.spawn(|| check(*seed, kernel))).collect();
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
    }
}

/// Applies a sequence of documents, and in another namespace the last of them alone.
fn check(seed: u64, kernel: random_documents::Kernel) {
    let random = &mut Random::new(seed);
    let documents: Vec<(String, Config)> =
        (0..2 + random.below(DOCUMENTS - 1)).map(|_| valid(random, kernel)).collect();
    let texts: Vec<&str> = documents.iter().map(|(text, _)| text.as_str()).collect();
    let told = format!("NETD_HISTORY_SEED={seed}\n{}", texts.join("\n--- then\n"));
    let dump_after = |documents: &[(String, Config)]| {
        in_namespace(|| {
            let mut switch = Switch::new(kernel);
            for (at, (_, config)) in documents.iter().enumerate() {
                switch.apply(config).unwrap_or_else(|error| panic!("document {}: {error}\n{told}", at + 1));
            }
            switch.dump()
        })
    };
    let after_others = dump_after(&documents);
    let alone = dump_after(&documents[documents.len() - 1..]);
    let missing = |from: &BTreeSet<String>, what: &str, other: &BTreeSet<String>| -> Vec<String> {
        from.difference(other).map(|line| format!("{what}: {line}")).collect()
    };
    let differ =
        [missing(&after_others, "after others", &alone), missing(&alone, "alone", &after_others)].concat();
    assert!(differ.is_empty(), "{}\n{told}", differ.join("\n"));
}
