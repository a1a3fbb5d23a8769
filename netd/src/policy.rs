//! Control-plane protection: what front-panel ports and workloads may reach on the switch itself.
//!
//! [`ruleset`] writes the nftables ruleset (pure, golden-tested); [`load`] hands it to `nft`, which
//! replaces netd's tables in one transaction.
//!
//! There is no connection tracking: it would cost every forwarded packet, and its table can be filled
//! from outside. Replies to what the switch itself asked are known by two bounded sets of (peer,
//! protocol, peer's port, own port) which outgoing packets fill and time empties.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use netd_api::config::model::{Allow, ControlPlane, ManagementVrf};

use crate::platform::MANAGEMENT;

/// Path of nft in the image.
const NFT: &str = "/usr/sbin/nft";

/// Why a ruleset was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// nft could not be run.
    #[error("{NFT}: {0}")]
    Run(#[from] io::Error),
    /// nft or the kernel refused the ruleset.
    #[error("nft refused the control-plane rules: {0}")]
    Refused(String),
}

/// The ruleset. `vrfs` are the VRFs of the configuration.
pub fn ruleset(
    control_plane: &ControlPlane,
    management: Option<&ManagementVrf>,
    vrfs: &BTreeSet<&str>,
) -> String {
    let mut text = String::new();
    let allow = &control_plane.allow;
    text.push_str(TABLES);
    text.push_str("table inet corten {\n");
    text.push_str(SETS);
    text.push_str("\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n");
    let _ = writeln!(text, "\t\tiifname {{ \"lo\", \"{MANAGEMENT}\" }} accept");
    // At this hook a packet of a VRF carries the VRF as its device, and the port as its "sdif".
    let _ = writeln!(text, "\t\tmeta sdifname \"{MANAGEMENT}\" accept");
    let devices: BTreeSet<&str> =
        vrfs.iter().copied().chain(management.map(|vrf| vrf.name.as_str())).collect();
    if !devices.is_empty() {
        let names: Vec<String> = devices.iter().map(|name| format!("\"{name}\"")).collect();
        let _ = writeln!(
            text,
            "\t\tiifname {{ {} }} meta sdif 0 accept comment \"the switch to itself\"",
            names.join(", ")
        );
    }
    text.push_str(FRAGMENTS);
    for line in allow_lines(allow) {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str(ICMP_REPLIES);
    text.push_str(REPLIES);
    text.push_str("\t}\n");
    text.push_str(&OUTPUT.replace("MANAGEMENT", MANAGEMENT));
    text.push_str("\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n");
    let _ = writeln!(
        text,
        "\t\tiifname \"{MANAGEMENT}\" drop\n\t\tmeta sdifname \"{MANAGEMENT}\" drop\n\t\toifname \"{MANAGEMENT}\" drop"
    );
    // A management VRF the document does not define has no other members.
    if let Some(vrf) = management.filter(|vrf| !vrf.defined) {
        let _ = writeln!(text, "\t\tiifname \"{0}\" drop\n\t\toifname \"{0}\" drop", vrf.name);
    }
    text.push_str("\t}\n}\n");
    if !allow.contains(&Allow::Arp) {
        text.push_str(ARP_TABLE);
        text.push_str(&NO_ARP.replace("MANAGEMENT", MANAGEMENT));
    }
    text
}

/// Making a table before deleting it lets one transaction replace it whether or not it was there.
const TABLES: &str = "\
table inet corten
delete table inet corten
";

/// The same for ARP. A kernel without ARP tables (CONFIG_NF_TABLES_ARP) refuses it, so it stands apart.
const ARP_TABLE: &str = "\
table arp corten
delete table arp corten
";

const SETS: &str = "\
\tset asked4 {
\t\ttypeof ip saddr . meta l4proto . th sport . th dport
\t\tsize 65536
\t\tflags dynamic,timeout
\t\ttimeout 2m
\t}
\tset asked6 {
\t\ttypeof ip6 saddr . meta l4proto . th sport . th dport
\t\tsize 65536
\t\tflags dynamic,timeout
\t\ttimeout 2m
\t}
";

/// IPv4 is reassembled before this hook, IPv6 after it. A later fragment is useless without a first one,
/// and a first one that does not hold its ports matches no rule and is dropped.
const FRAGMENTS: &str = "\t\texthdr frag exists frag frag-off != 0 accept\n";

const REPLIES: &str = "\
\t\tip saddr . meta l4proto . th sport . th dport @asked4 accept
\t\tip6 saddr . meta l4proto . th sport . th dport @asked6 accept
";

/// Answers and errors: harmless without a question, and what path MTU discovery and ping live on.
const ICMP_REPLIES: &str = "\
\t\ticmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem } accept
\t\ticmpv6 type { echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
";

/// What the switch asks, by TCP (6) and UDP (17): numbers, since names would need /etc/protocols.
/// Resets are no question: they answer probes. A session that is quiet for two hours
/// is over (TCP keepalive's default).
const OUTPUT: &str = "\
\tchain output {
\t\ttype filter hook output priority filter; policy accept;
\t\toifname { \"lo\", \"MANAGEMENT\" } accept
\t\ttcp flags & rst == rst accept
\t\tmeta l4proto 6 update @asked4 { ip daddr . meta l4proto . th dport . th sport timeout 2h }
\t\tmeta l4proto 6 update @asked6 { ip6 daddr . meta l4proto . th dport . th sport timeout 2h }
\t\tmeta l4proto 17 update @asked4 { ip daddr . meta l4proto . th dport . th sport }
\t\tmeta l4proto 17 update @asked6 { ip6 daddr . meta l4proto . th dport . th sport }
\t}
";

const NO_ARP: &str = "\
table arp corten {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tiifname \"MANAGEMENT\" accept
\t\tarp operation reply accept
\t}
}
";

const ND_TYPES: &str =
    "{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect }";

fn allow_lines(allow: &BTreeSet<Allow>) -> Vec<String> {
    let ports = |pick: fn(&Allow) -> Option<u16>| {
        let ports: Vec<String> = allow.iter().filter_map(pick).map(|port| port.to_string()).collect();
        (!ports.is_empty()).then(|| ports.join(", "))
    };
    let mut lines = Vec::new();
    // ND is only valid if it was not routed (RFC 4861, 6.1 and 7.1).
    if allow.contains(&Allow::Nd) {
        lines.push(format!("icmpv6 type {ND_TYPES} ip6 hoplimit 255 accept"));
    }
    if allow.contains(&Allow::Icmp) {
        lines.push("meta l4proto 1 accept comment \"ICMP\"".to_owned());
        lines.push(format!("meta l4proto 58 icmpv6 type != {ND_TYPES} accept"));
    }
    if let Some(ports) = ports(|allow| if let Allow::Tcp(port) = allow { Some(*port) } else { None }) {
        lines.push(format!("tcp dport {{ {ports} }} accept"));
    }
    if let Some(ports) = ports(|allow| if let Allow::Udp(port) = allow { Some(*port) } else { None }) {
        lines.push(format!("udp dport {{ {ports} }} accept"));
    }
    let protocols: Vec<String> = allow
        .iter()
        .filter_map(|allow| if let Allow::Protocol(number) = allow { Some(number.to_string()) } else { None })
        .collect();
    if !protocols.is_empty() {
        lines.push(format!("meta l4proto {{ {} }} accept", protocols.join(", ")));
    }
    lines
}

/// Replaces netd's tables by the ruleset, all or nothing.
///
/// `previous` is the ruleset loaded before: its ARP rules go if the new one has none.
pub fn load(ruleset: &str, previous: &str) -> Result<(), PolicyError> {
    run(ruleset)?;
    if previous.contains(ARP_TABLE) && !ruleset.contains(ARP_TABLE) {
        run(ARP_TABLE)?;
    }
    Ok(())
}

fn run(ruleset: &str) -> Result<(), PolicyError> {
    let mut child = Command::new(NFT)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(ruleset.as_bytes()),
        None => Ok(()),
    };
    let output = child.wait_with_output()?;
    if output.status.success() {
        return written.map_err(PolicyError::Run);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = words.lines().filter(|line| line.contains("rror")).take(3).collect();
    Err(PolicyError::Refused(if first.is_empty() { output.status.to_string() } else { first.join("; ") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(document: &str) -> String {
        let config = netd_api::config::parse(document).expect("a valid document");
        let vrfs = config.vrfs.keys().map(String::as_str).collect();
        ruleset(&config.control_plane, config.management.vrf.as_ref(), &vrfs)
    }

    /// Compares with a file beside this one; UPDATE_GOLDEN=1 writes it.
    fn golden(file: &str, found: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy").join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{file}");
    }

    #[test]
    fn the_default_lets_arp_nd_and_icmp_in_and_nothing_else() {
        golden("default.nft", &shown("version = 1\n"));
    }

    #[test]
    fn allowed_services_and_vrfs_are_spelled_out() {
        let document = "version = 1\n[management]\nvrf = \"mgmt\"\n[vrfs.blue]\ntable = 1001\n\
                        [control-plane]\nallow = [\"nd\", \"ssh\", \"tcp/179\", \"udp/3784\"]\n";
        golden("allow.nft", &shown(document));
    }
}
