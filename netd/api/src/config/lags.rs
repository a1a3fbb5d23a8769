//! `[lags]`: link aggregation groups and the ports that are their members.

use std::collections::BTreeMap;

use super::document::shortened;
use super::ethernet;
use super::model::{Ethernet, HashPolicy, LacpSelect, Lag, LagMode, Place, Port, PortRole};
use super::names;
use super::reader::{Node, Reader, Section, join};

/// Most LAGs.
const MAX_LAGS: usize = 256;
/// Most members of a LAG.
const MAX_MEMBERS: usize = 64;

/// Reads `[lags]`, and gives the ports that are members their role.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    root: &Section<'d>,
    ports: &mut BTreeMap<String, Port>,
) -> BTreeMap<String, Lag> {
    let Some(node) = reader.take(root, "lags") else {
        return BTreeMap::new();
    };
    let mut lags = BTreeMap::new();
    for (name, node) in reader.members(&node, MAX_LAGS) {
        if let Err(message) = names::check_interface_name(name) {
            reader.wrong_value(&node, message);
        }
        if let Some(lag) = read_lag(reader, &node, name, ports) {
            lags.insert(name.to_owned(), lag);
        }
    }
    lags
}

fn read_lag<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    name: &str,
    ports: &mut BTreeMap<String, Port>,
) -> Option<Lag> {
    let section = reader.section(node, "lags.*")?;
    let members_node = reader.take(&section, "members");
    let mode = read_mode(reader, &section);
    let hash = reader.take(&section, "hash").and_then(|node| reader.choice(&node, &HashPolicy::NAMES));
    let min_links_node = reader.take(&section, "min-links");
    let mut settings = ethernet::read_shared(reader, &section);
    ethernet::read_own(reader, &section, &mut settings);
    let all_known = reader.finish(&section);
    let ethernet = ethernet::resolve(reader, &section, "LAG", settings);
    let names = match &members_node {
        Some(members) => {
            if members.value.as_array().is_some_and(|array| array.is_empty()) {
                reader.wrong_value(members, "a LAG without members: list at least one port");
            }
            ethernet::read_port_names(reader, members, MAX_MEMBERS, names::expand_ports)
        }
        None => {
            reader.missing(node, all_known, "`members` is missing: list the ports, such as [\"swp[1-2]\"]");
            Vec::new()
        }
    };
    let mut members = Vec::new();
    for (item, member) in names {
        if join_lag(reader, ports, &item, &member, (name, &ethernet)) {
            members.push(member);
        }
    }
    let min_links = min_links_node.and_then(|node| read_min_links(reader, &node, members.len()));
    Some(Lag {
        place: node.place,
        ethernet,
        members,
        mode,
        hash: hash.unwrap_or_default(),
        min_links: min_links.unwrap_or(1),
    })
}

fn read_mode<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> LagMode {
    let mode = reader.take(section, "mode");
    let lacp = mode.and_then(|node| reader.choice(&node, &[("lacp", true), ("static", false)]));
    let rate = reader.take(section, "lacp-rate");
    let fast = rate.as_ref().and_then(|node| reader.choice(node, &[("fast", true), ("slow", false)]));
    let selected = reader.take(section, "lacp-select");
    let select = selected.as_ref().and_then(|node| reader.choice(node, &LacpSelect::NAMES));
    if lacp != Some(false) {
        return LagMode::Lacp { fast: fast.unwrap_or(false), select: select.unwrap_or_default() };
    }
    for (key, node) in [("lacp-rate", rate), ("lacp-select", selected)] {
        if let Some(node) = node {
            reader.wrong_value(
                &node,
                format!("a static LAG does not speak LACP: remove `{key}`, or write `mode = \"lacp\"`"),
            );
        }
    }
    LagMode::Static
}

fn read_min_links<'d>(reader: &mut Reader<'d>, node: &Node<'d>, members: usize) -> Option<u32> {
    let number = reader.integer(node, 1..=i64::try_from(MAX_MEMBERS).unwrap_or(i64::MAX))?;
    // Where members could not be read, their number proves nothing.
    if members > 0 && usize::try_from(number).is_ok_and(|number| number > members) && !reader.partial {
        reader.wrong_value(
            node,
            format!("the LAG has {members} members, fewer than {number}: it would never carry"),
        );
    }
    u32::try_from(number).ok()
}

/// Makes a port a member. A port that only LAGs mention is configured by this.
fn join_lag<'d>(
    reader: &mut Reader<'d>,
    ports: &mut BTreeMap<String, Port>,
    item: &Node<'d>,
    name: &str,
    lag: (&str, &Ethernet),
) -> bool {
    let (lag_name, lag) = (shortened(lag.0), lag.1);
    let Some(port) = ports.get_mut(name) else {
        let ethernet =
            Ethernet { mtu_bytes: lag.mtu_bytes, role: PortRole::Member(lag_name), ..Ethernet::default() };
        ports.insert(name.to_owned(), Port { place: item.place, ethernet, ..Port::default() });
        reader.places.insert(format!("ports.{name}"), item.place);
        return true;
    };
    if let PortRole::Member(other) = &port.ethernet.role {
        reader.wrong_value(item, format!("{name} is in LAG `{other}` already: a port is in one LAG"));
        return false;
    }
    let conflict = conflict(port, lag);
    if let Some((keys, message)) = conflict {
        let (place, path) = culprit(reader, name, port.place, keys);
        let line = item.place.line;
        reader.wrong(
            place,
            &path,
            format!("{name} is a member of LAG `{lag_name}` (line {line}): {message}"),
        );
    }
    port.ethernet.mtu_bytes = lag.mtu_bytes;
    port.ethernet.role = PortRole::Member(lag_name);
    true
}

/// What a member says that is its LAG's to say: the keys that may be to blame, and the advice.
fn conflict(port: &Port, lag: &Ethernet) -> Option<(&'static [&'static str], String)> {
    let own = &port.ethernet;
    match own.role {
        PortRole::Bridged(_) => {
            return Some((&["vlan"], "its VLANs are those of the LAG, so remove `vlan` here".to_owned()));
        }
        PortRole::Routed(_) => {
            let message = "addresses and VRF are those of the LAG, so remove them here".to_owned();
            return Some((&["addresses", "vrf"], message));
        }
        PortRole::Unused | PortRole::Member(_) => {}
    }
    if port.breakout.is_some_and(|parts| parts > 1) {
        return Some((&["breakout"], "it is gone when it is split, so list its parts instead".to_owned()));
    }
    if own.mac.is_some() {
        return Some((&["mac"], "its address is that of the LAG, so remove `mac` here".to_owned()));
    }
    if own.mtu_bytes.is_some() && own.mtu_bytes != lag.mtu_bytes {
        return Some((&["mtu"], "its MTU is that of the LAG, so set `mtu` there alone".to_owned()));
    }
    None
}

/// The first of the keys that the port's own section has, else the port: the key is from its profile then.
fn culprit(reader: &Reader<'_>, name: &str, port: Place, keys: &[&str]) -> (Place, String) {
    let section = format!("ports.{name}");
    let found = keys.iter().find_map(|key| {
        let path = join(&section, key);
        reader.places.get(&path).map(|place| (*place, path))
    });
    found.unwrap_or((port, section))
}
