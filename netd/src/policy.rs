//! Control-plane protection: what front-panel ports and workloads may reach on the switch itself.
//!
//! [`ruleset`] writes the nftables ruleset (pure, golden-tested); [`load`] hands it to `nft`, which
//! replaces netd's tables in one transaction.
//!
//! There is no connection tracking: it would cost every forwarded packet, and its table can be filled
//! from outside. Replies to what the switch itself asked are known by two bounded sets of (peer,
//! protocol, peer's port, own port) for each routing domain, the default VRF and every other. Only the
//! switch's own questions fill them: the packet that opens a TCP connection, and datagrams that come from
//! no allowed service and are no tunnel's. Time empties them; a question for which a set has no room is counted
//! ([`UNNOTED`]), as its answer is dropped. An answer is accepted in the VRF it was asked in, on any of
//! its interfaces: with more than one way to a peer, the answer may take another than the question.

mod hygiene;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use netd_api::config::Config;
use netd_api::config::model::{Allow, ControlPlane, Layer3, PortRole, ReversePath, vlan_interface};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::platform::MANAGEMENT;
use crate::watchdog::alive;

/// Path of nft in the image.
pub const NFT: &str = "/usr/sbin/nft";

/// How long nft may take: less than the service manager's watchdog gives netd.
const NFT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a ruleset was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// nft could not be run.
    #[error("nft: {0}")]
    Run(#[from] io::Error),
    /// nft hung. Whether the rules are loaded is not known.
    #[error("nft did not load the control-plane rules within {} s", NFT_TIMEOUT.as_secs())]
    Late,
    /// nft or the kernel refused the ruleset.
    #[error("nft refused the control-plane rules: {0}")]
    Refused(String),
}

/// The ruleset of a configuration.
pub fn ruleset(config: &Config) -> String {
    let mut text = String::new();
    let allow = &config.control_plane.allow;
    let management = config.management.vrf.as_ref();
    let domains = domains(config);
    text.push_str(TABLES);
    text.push_str("table inet corten {\n");
    for domain in &domains {
        text.push_str(&sets(&domain.name, config.control_plane.most_questions));
    }
    text.push_str("\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n");
    let _ = writeln!(text, "\t\tiifname {{ \"lo\", \"{MANAGEMENT}\" }} accept");
    // At this hook a packet of a VRF carries the VRF as its device, and the port as its "sdif".
    let _ = writeln!(text, "\t\tmeta sdifname \"{MANAGEMENT}\" accept");
    let vrfs: BTreeSet<&str> =
        config.vrfs.keys().map(String::as_str).chain(management.map(|vrf| vrf.name.as_str())).collect();
    if !vrfs.is_empty() {
        let names = quoted(&vrfs);
        let _ =
            writeln!(text, "\t\tiifname {{ {names} }} meta sdif 0 accept comment \"the switch to itself\"");
    }
    text.push_str(FRAGMENTS);
    for line in allow_lines(allow) {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str(ICMP_REPLIES);
    text.push_str(&tunnels(config));
    for domain in &domains {
        text.push_str(&REPLIES.replace("FROM", &domain.from).replace("DOMAIN", &domain.name));
    }
    if allow.contains(&Allow::Icmp) {
        text.push_str(TRACEROUTE);
    }
    text.push_str("\t}\n");
    text.push_str(&reverse_path(config, &vrfs));
    text.push_str(&output(config, &domains, &vrfs));
    for domain in &domains {
        text.push_str(&questions(config).replace("DOMAIN", &domain.name));
    }
    text.push_str("\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n");
    let _ = writeln!(
        text,
        "\t\tiifname \"{MANAGEMENT}\" drop\n\t\tmeta sdifname \"{MANAGEMENT}\" drop\n\t\toifname \"{MANAGEMENT}\" drop"
    );
    text.push_str(LINK_LOCAL);
    let [from_isolated, to_isolated, returns] = hygiene::isolation(config);
    text.push_str(&returns);
    // A management VRF the document does not define has no other members.
    if let Some(vrf) = management.filter(|vrf| !vrf.defined) {
        let _ = writeln!(text, "\t\tiifname \"{0}\" drop\n\t\toifname \"{0}\" drop", vrf.name);
    }
    text.push_str(&no_forwarding(config));
    text.push_str("\t}\n}\n");
    text.push_str(ARP_TABLE);
    let (policy, replies) = if allow.contains(&Allow::Arp) { ("accept", "") } else { ("drop", ARP_REPLIES) };
    let senders = hygiene::arp_senders(config);
    let arp = ARP.replace("MANAGEMENT", MANAGEMENT).replace("POLICY", policy).replace("SENDERS", &senders);
    text.push_str(&arp.replace("REPLIES", replies));
    text.push_str(&BRIDGE.replace("ISOLATED", &from_isolated));
    if !to_isolated.is_empty() {
        text.push_str(&BRIDGE_OUTPUT.replace("ISOLATED", &to_isolated));
    }
    text.push_str("}\n");
    text
}

/// The line that begins the chain of [`reverse_path`].
const REVERSE_PATH: &str = "\tchain reverse_path {";

/// Compares sources with the way back to them, where that is asked for. A packet of a VRF comes by twice: with the port
/// as its device, which counts, and with the VRF.
fn reverse_path(config: &Config, vrfs: &BTreeSet<&str>) -> String {
    let way = match config.routing.reverse_path {
        ReversePath::Off => return String::new(),
        ReversePath::Loose => "fib saddr oif missing",
        ReversePath::Strict => "fib saddr . iif oif missing",
    };
    let others: BTreeSet<&str> = vrfs.iter().copied().chain(["lo", MANAGEMENT]).collect();
    format!(
        "{REVERSE_PATH}\n\t\ttype filter hook prerouting priority filter; policy accept;\n\
         \t\tiifname {{ {} }} accept\n\
         \t\tip saddr != 0.0.0.0 {way} drop\n\
         \t\tip6 saddr != {{ ::, fe80::/10 }} {way} drop\n\t}}\n",
        quoted(&others)
    )
}

/// Lets in what the configured ends of a tunnel send.
fn tunnels(config: &Config) -> String {
    let mut text = String::new();
    for vxlan in config.vxlans.values() {
        let family = if vxlan.local.is_ipv4() { "ip" } else { "ip6" };
        let remotes: BTreeSet<String> = vxlan.remotes.iter().map(ToString::to_string).collect();
        let remotes: Vec<String> = remotes.into_iter().collect();
        let (local, port, remotes) = (vxlan.local, vxlan.port, remotes.join(", "));
        let _ = writeln!(
            text,
            "\t\t{family} daddr {local} {family} saddr {{ {remotes} }} udp dport {port} accept comment \"vxlan\""
        );
    }
    text
}

/// Interfaces of the switch that packets are routed between, with what they are.
fn layer3(config: &Config) -> Vec<(String, &Layer3)> {
    let routed = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Routed(layer3) => Some((name.to_owned(), layer3)),
        PortRole::Unused | PortRole::Bridged(_) | PortRole::Member(_) => None,
    });
    let vlans = config.vlans.iter().map(|(id, vlan)| (vlan_interface(*id), &vlan.layer3));
    let below = config.subinterfaces.iter().map(|(name, below)| (name.clone(), &below.layer3));
    routed.chain(vlans).chain(below).collect()
}

/// Drops what is not to be routed. The kernel's own switches would not do: that of IPv6 counts for all
/// interfaces or none, and neither counts for a port in a VRF.
fn no_forwarding(config: &Config) -> String {
    let mut text = String::new();
    for (on, family) in [(config.routing.ipv4, "ipv4"), (config.routing.ipv6, "ipv6")] {
        if !on {
            let _ = writeln!(text, "\t\tmeta nfproto {family} drop");
        }
    }
    let interfaces = layer3(config);
    let silent: BTreeSet<&str> =
        interfaces.iter().filter(|(_, layer3)| !layer3.forwarding).map(|(name, _)| name.as_str()).collect();
    if !silent.is_empty() {
        let names = quoted(&silent);
        let _ = writeln!(text, "\t\tiifname {{ {names} }} drop\n\t\tmeta sdifname {{ {names} }} drop");
    }
    text
}

/// Where questions and their answers belong together.
struct Domain {
    /// `main`, or the routing table of a VRF: names of VRFs do not fit nft's syntax.
    name: String,
    /// How its packets are told at input.
    from: String,
    /// Its interfaces; none for the default VRF, which has all others.
    interfaces: BTreeSet<String>,
}

/// The default VRF, and those VRFs that have interfaces here.
fn domains(config: &Config) -> Vec<Domain> {
    let main =
        Domain { name: "main".to_owned(), from: "meta sdif 0".to_owned(), interfaces: BTreeSet::new() };
    let interfaces = layer3(config);
    let of = |vrf: &str| {
        let here = |(name, layer3): &(String, &Layer3)| member(layer3, vrf).then(|| name.clone());
        interfaces.iter().filter_map(here).collect::<BTreeSet<String>>()
    };
    let vrfs = config.vrfs.iter().map(|(name, vrf)| Domain {
        name: vrf.table.to_string(),
        from: format!("iifname \"{name}\""),
        interfaces: of(name),
    });
    [main].into_iter().chain(vrfs.filter(|domain| !domain.interfaces.is_empty())).collect()
}

fn member(layer3: &Layer3, vrf: &str) -> bool {
    layer3.vrf.as_deref() == Some(vrf)
}

fn quoted(names: &BTreeSet<&str>) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// What the switch sends. A packet of a VRF comes by twice: with the VRF as its device, which is left
/// alone, and with the port. A port of the bridge says nothing of itself: the kernel would have it report the groups that
/// routers are in (MLD) whenever its link comes up.
fn output(config: &Config, domains: &[Domain], vrfs: &BTreeSet<&str>) -> String {
    let mut text =
        "\tchain output {\n\t\ttype filter hook output priority filter; policy accept;\n".to_owned();
    let silent: BTreeSet<&str> = vrfs.iter().copied().chain(["lo", MANAGEMENT]).collect();
    let _ = writeln!(text, "\t\toifname {{ {} }} accept", quoted(&silent));
    let bridged = config.ethernets().filter(|(_, ethernet)| matches!(ethernet.role, PortRole::Bridged(_)));
    let bridged: BTreeSet<&str> =
        bridged.map(|(name, _)| name).chain(config.vxlans.keys().map(String::as_str)).collect();
    if !bridged.is_empty() {
        let reports = "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report }";
        let _ = writeln!(text, "\t\toifname {{ {} }} {reports} drop", quoted(&bridged));
    }
    for domain in domains.iter().filter(|domain| !domain.interfaces.is_empty()) {
        let names = quoted(&domain.interfaces.iter().map(String::as_str).collect());
        let _ = writeln!(text, "\t\toifname {{ {names} }} goto ask_{}", domain.name);
    }
    text.push_str("\t\tgoto ask_main\n\t}\n");
    text
}

/// What of it are questions, by TCP (6) and UDP (17): numbers, since names would need /etc/protocols.
///
/// A connection is the switch's own if the switch sent its first packet; what follows only keeps it. One
/// that is quiet for two hours is over (TCP keepalive's default). UDP has no first packet: what an
/// allowed service sends is an answer, and needs no entry as every answer to its port is let in anyway. What tunnels
/// carry is nobody's question: its ports follow from the packets inside, so workloads could fill the sets with it.
fn questions(config: &Config) -> String {
    let allow = &config.control_plane.allow;
    let mut text = "\tchain ask_DOMAIN {\n".to_owned();
    let tunnels: BTreeSet<String> = config.vxlans.values().map(|vxlan| vxlan.port.to_string()).collect();
    if !tunnels.is_empty() {
        let ports = tunnels.into_iter().collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "\t\tudp dport {{ {ports} }} accept comment \"vxlan\"");
    }
    let keys = [
        ("asked4_DOMAIN", "ip daddr . meta l4proto . th dport . th sport"),
        ("asked6_DOMAIN", "ip6 daddr . meta l4proto . th dport . th sport"),
    ];
    // A set that is full ends the rule: what was noted is accepted before the rest is counted.
    if !allow.contains(&Allow::Protocol(6)) {
        for (set, key) in keys {
            let _ =
                writeln!(text, "\t\ttcp flags & (syn | ack | rst) == syn update @{set} {{ {key} }} accept");
            // Resets keep nothing: they answer probes.
            let _ = writeln!(
                text,
                "\t\ttcp flags & (ack | rst) == ack {key} @{set} update @{set} {{ {key} timeout 2h }}"
            );
        }
        let _ = writeln!(text, "\t\ttcp flags & (syn | ack | rst) == syn counter name \"{UNNOTED}DOMAIN\"");
    }
    if !allow.contains(&Allow::Protocol(17)) {
        let services = ports(allow, |allow| if let Allow::Udp(port) = allow { Some(*port) } else { None });
        let from = services.map(|ports| format!("udp sport != {{ {ports} }} ")).unwrap_or_default();
        for (set, key) in keys {
            let _ = writeln!(text, "\t\tmeta l4proto 17 {from}update @{set} {{ {key} }} accept");
        }
        let _ = writeln!(text, "\t\tmeta l4proto 17 {from}counter name \"{UNNOTED}DOMAIN\"");
    }
    text.push_str("\t}\n");
    text
}

/// One transaction replaces the rules and leaves the sets: what was asked before is still answered. A
/// table that is there is no mistake.
const TABLES: &str = "\
table inet corten
flush table inet corten
";

/// Making a table before deleting it lets one transaction replace it whether or not it was there.
const ARP_TABLE: &str = "\
table arp corten
delete table arp corten
";

/// The table of these rules.
pub const TABLE: &str = "corten";
/// How the counter of questions begins for which a domain's sets had no room; the domain follows.
pub const UNNOTED: &str = "unnoted_";

/// The sets and the counter of a domain.
fn sets(domain: &str, most: u32) -> String {
    SETS.replace("DOMAIN", domain).replace("MOST", &most.to_string())
}

const SETS: &str = "\
\tset asked4_DOMAIN {
\t\ttypeof ip saddr . meta l4proto . th sport . th dport
\t\tsize MOST
\t\tflags dynamic,timeout
\t\ttimeout 2m
\t}
\tset asked6_DOMAIN {
\t\ttypeof ip6 saddr . meta l4proto . th sport . th dport
\t\tsize MOST
\t\tflags dynamic,timeout
\t\ttimeout 2m
\t}
\tcounter unnoted_DOMAIN {
\t}
";

/// IPv4 is reassembled before this hook, IPv6 after it. A later fragment is useless without a first one,
/// and a first one that does not hold its ports matches no rule and is dropped.
const FRAGMENTS: &str = "\t\texthdr frag exists frag frag-off != 0 accept\n";

const REPLIES: &str = "\
\t\tFROM ip saddr . meta l4proto . th sport . th dport @asked4_DOMAIN accept
\t\tFROM ip6 saddr . meta l4proto . th sport . th dport @asked6_DOMAIN accept
";

/// Answers and errors: harmless without a question, and what path MTU discovery and ping live on.
const ICMP_REPLIES: &str = "\
\t\ticmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem } accept
\t\ticmpv6 type { echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
";

/// No host has a hardware address that is multicast or broadcast (RFC 1812, section 3.3.2).
const ARP: &str = "\
table arp corten {
\tchain input {
\t\ttype filter hook input priority filter; policy POLICY;
\t\tiifname \"MANAGEMENT\" accept
\t\tarp saddr ether & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop
SENDERSREPLIES\t}
}
";

const ARP_REPLIES: &str = "\t\tarp operation reply accept\n";

/// What the bridge would learn members and queriers from, although it may not be so: IGMP has a TTL of 1 (RFC 3376,
/// section 4), and is about a group; MLD has a hop limit of 1, comes from a link-local address, a report perhaps
/// from none yet (RFC 3810, sections 5.1.14 and 5.2.13), and is about a group as well. Of the records of IGMPv3 (type
/// 0x22) and MLDv2 (type 143) the first is judged: where the next begins depends on its sources, and nft has no loops.
/// A query of IGMP may come from 0.0.0.0: so ask switches that have no address in the VLAN (RFC 4541, section 2.1.1),
/// this one among them. Numbers of protocols: names would need /etc/protocols. Frames of MAC control (IEEE 802.3, annex
/// 31) are of one link, whoever they are addressed to.
const BRIDGE: &str = "\
table bridge corten
delete table bridge corten
table bridge corten {
\tchain prerouting {
\t\ttype filter hook prerouting priority filter; policy accept;
\t\tether type 0x8808 drop
ISOLATED\t\tip protocol 2 ip ttl != 1 drop
\t\tip protocol 2 @th,0,8 { 0x12, 0x16, 0x17 } @th,32,4 != 0xe drop
\t\tip protocol 2 @th,0,8 0x22 @th,96,4 != 0xe drop
\t\ticmpv6 type { 130, 131, 132, 143 } ip6 hoplimit != 1 drop
\t\ticmpv6 type 130 ip6 saddr != fe80::/10 drop
\t\ticmpv6 type { 131, 132, 143 } ip6 saddr != { ::, fe80::/10 } drop
\t\ticmpv6 type { 131, 132 } @th,64,8 != 0xff drop
\t\ticmpv6 type 143 @th,96,8 != 0xff drop
\t}
";

const BRIDGE_OUTPUT: &str = "\
\tchain output {
\t\ttype filter hook output priority filter; policy accept;
ISOLATED\t}
";

/// Who traces the way to the switch is told that nobody listens, as often as the kernel sends such errors.
const TRACEROUTE: &str = "\t\tudp dport 33434-33523 reject comment \"traceroute\"\n";

/// Addresses of one link stay on it (RFC 3927, section 2.7). Of IPv6 the kernel sees to that.
const LINK_LOCAL: &str = "\t\tip saddr 169.254.0.0/16 drop\n\t\tip daddr 169.254.0.0/16 drop\n";

const ND_TYPES: &str =
    "{ nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect }";

/// Ports of allowed services, as a list.
fn ports(allow: &BTreeSet<Allow>, pick: fn(&Allow) -> Option<u16>) -> Option<String> {
    let ports: Vec<String> = allow.iter().filter_map(pick).map(|port| port.to_string()).collect();
    (!ports.is_empty()).then(|| ports.join(", "))
}

fn allow_lines(allow: &BTreeSet<Allow>) -> Vec<String> {
    let mut lines = Vec::new();
    // ND is only valid if it was not routed (RFC 4861, 6.1 and 7.1).
    if allow.contains(&Allow::Nd) {
        lines.push(format!("icmpv6 type {ND_TYPES} ip6 hoplimit 255 accept"));
    }
    if allow.contains(&Allow::Icmp) {
        lines.push("meta l4proto 1 accept comment \"ICMP\"".to_owned());
        lines.push(format!("meta l4proto 58 icmpv6 type != {ND_TYPES} accept"));
    }
    if let Some(ports) = ports(allow, |allow| if let Allow::Tcp(port) = allow { Some(*port) } else { None }) {
        lines.push(format!("tcp dport {{ {ports} }} accept"));
    }
    if let Some(ports) = ports(allow, |allow| if let Allow::Udp(port) = allow { Some(*port) } else { None }) {
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

/// Replaces netd's rules by the ruleset, all or nothing, with the program `nft`.
///
/// `previous` is the ruleset loaded before, or [`either`] of two: what only it has goes.
pub fn load(nft: &Path, ruleset: &str, previous: &str) -> Result<(), PolicyError> {
    run(nft, ruleset)?;
    let left = left_over(ruleset, previous) + &overfull(ruleset, previous);
    if left.is_empty() { Ok(()) } else { run(nft, &left) }
}

/// What there may be when a load ends halfway: what of both rulesets the next [`load`] does not replace, as its
/// `previous`.
pub fn either(previous: &str, ruleset: &str) -> String {
    let stays = |line: &&str| is_set(line) || line.starts_with(SIZE) || *line == REVERSE_PATH;
    let lines: BTreeSet<&str> = previous.lines().chain(ruleset.lines()).filter(stays).collect();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether a line of a ruleset begins the first of a domain's sets.
fn is_set(line: &str) -> bool {
    line.starts_with("\tset asked4_")
}

/// How the line of a set begins that says how many elements it takes.
const SIZE: &str = "\t\tsize ";

/// How many elements the sets of a ruleset take.
fn size(ruleset: &str) -> Option<u32> {
    ruleset.lines().filter_map(|line| line.strip_prefix(SIZE)?.parse().ok()).max()
}

/// Empties sets that are to take fewer than before: the kernel lets one that holds more than its size grow without end
/// (`nft_dynset_new`, Linux 6.12).
fn overfull(ruleset: &str, previous: &str) -> String {
    if size(previous) <= size(ruleset) {
        return String::new();
    }
    let sets = ruleset.lines().filter(|line| is_set(line)).filter_map(|line| line.split(' ').nth(1));
    sets.fold(String::new(), |mut text, of_ipv4| {
        let of_ipv6 = of_ipv4.replacen("asked4", "asked6", 1);
        let _ = write!(text, "flush set inet corten {of_ipv4}\nflush set inet corten {of_ipv6}\n");
        text
    })
}

/// Deletes chains and sets that only the previous ruleset has.
fn left_over(ruleset: &str, previous: &str) -> String {
    let mut text = String::new();
    if previous.contains(REVERSE_PATH) && !ruleset.contains(REVERSE_PATH) {
        let _ = writeln!(
            text,
            "table inet corten {{\n{REVERSE_PATH} }}\n}}\ndelete chain inet corten reverse_path"
        );
    }
    for set in previous.lines().filter(|line| is_set(line) && !ruleset.contains(*line)) {
        let domain = set.trim_start_matches("\tset asked4_").trim_end_matches(" {");
        let sets = sets(domain, ControlPlane::default().most_questions);
        let _ = write!(
            text,
            "table inet corten {{\n{sets}\tchain ask_{domain} {{ }}\n}}\ndelete chain inet corten ask_{domain}\n\
             delete set inet corten asked4_{domain}\ndelete set inet corten asked6_{domain}\n\
             delete counter inet corten {UNNOTED}{domain}\n"
        );
    }
    text
}

fn run(nft: &Path, ruleset: &str) -> Result<(), PolicyError> {
    // Two loads in a row are long work.
    alive();
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let process = Pid::from_raw(child.id().cast_signed());
    let stdin = child.stdin.take();
    let ruleset = ruleset.to_owned();
    let (done, outcome) = mpsc::channel();
    // A program that hangs neither reads nor ends; the thread ends with it.
    std::thread::Builder::new().name("nft".to_owned()).spawn(move || {
        let written = stdin.map_or(Ok(()), |mut stdin| stdin.write_all(ruleset.as_bytes()));
        let _ = done.send((written, child.wait_with_output()));
    })?;
    let (written, output) = match outcome.recv_timeout(NFT_TIMEOUT) {
        Ok(outcome) => outcome,
        Err(_) => {
            // It is still waited for, so the number is still its own.
            let _ = kill(process, Signal::SIGKILL);
            return Err(PolicyError::Late);
        }
    };
    let output = output?;
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

    #[test]
    fn nft_that_hangs_is_ended() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("netd-nft-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let nft = folder.join("nft");
        std::fs::write(&nft, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&nft, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Longer than a pipe holds.
        let refused = load(&nft, &"#".repeat(1 << 20), "").expect_err("it hangs");
        assert!(matches!(refused, PolicyError::Late), "{refused}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn shown(document: &str) -> String {
        let config = netd_api::config::parse(document).expect("a valid document");
        ruleset(&config)
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
    fn vxlan_packets_of_the_switch_are_no_questions() {
        let document = "version = 1\n[loopbacks.lo0]\naddresses = [\"192.0.2.1/32\"]\n[ports.swp1]\nvlan.access = 10\n\
                        [vxlans.vx10]\nvni = 10010\nvlan = 10\nlocal = \"192.0.2.1\"\nremotes = [\"192.0.2.2\"]\n";
        let rules = shown(document);
        let (_, ask) = rules.split_once("chain ask_main {\n").expect("the chain");
        let first = ask.lines().next().expect("a rule");
        assert_eq!(first.trim(), "udp dport { 4789 } accept comment \"vxlan\"");
        assert!(!shown("version = 1\n").contains("4789"));
    }

    #[test]
    fn ports_of_the_bridge_say_nothing_of_themselves() {
        let rules = shown(
            "version = 1\n[ports.swp1]\nvlan.access = 10\n[ports.swp2]\naddresses = [\"192.0.2.1/24\"]\n",
        );
        assert!(rules.contains("\t\toifname { \"swp1\" } icmpv6 type { mld-listener-report, "), "{rules}");
    }

    #[test]
    fn allowed_services_and_vrfs_are_spelled_out() {
        let document = "version = 1\n[routing]\nreverse-path = \"strict\"\n[management]\nvrf = \"mgmt\"\n[vrfs.blue]\ntable = 1001\n\
                        [ports.swp3]\nvrf = \"blue\"\n[vlans.10]\nvrf = \"blue\"\n[control-plane]\nallow = [\"nd\", \"ssh\", \"tcp/179\", \"udp/3784\"]\n";
        golden("allow.nft", &shown(document));
    }
}
