//! `[profiles]` and `[ports]`.
//!
//! A port takes each key from its own section, else from its profile, else the default; `vlan` is one
//! key in this respect.

use std::collections::BTreeMap;

use super::document::shortened;
use super::ethernet::{self, MAX_DESCRIPTION, Settings};
use super::model::{Port, PortRole};
use super::names::{self, MAX_PORTS, split_name};
use super::reader::{Node, Reader, Section, join, nearest};

/// Most profiles.
const MAX_PROFILES: usize = 1024;

/// Reads `[profiles]` and `[ports]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, Port> {
    let profiles = read_profiles(reader, root);
    let Some(node) = reader.take(root, "ports") else {
        return BTreeMap::new();
    };
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for (pattern, node) in reader.members(&node, MAX_PORTS) {
        let names = names::expand_ports(pattern);
        let port = read_port(reader, &node, &profiles);
        match names {
            Ok(names) => {
                check_breakout(reader, &node, &names, &port);
                add(reader, &mut ports, names, &node, &port);
            }
            Err(message) => reader.wrong_value(&node, message),
        }
    }
    check_parts(reader, &ports);
    ports
}

fn read_profiles<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<&'d str, Settings> {
    let Some(node) = reader.take(root, "profiles") else {
        return BTreeMap::new();
    };
    let members = reader.members(&node, MAX_PROFILES);
    let mut profiles = BTreeMap::new();
    for (name, node) in members {
        if let Some(section) = reader.section(&node, "profiles.*") {
            let mut settings = ethernet::read_shared(reader, &section);
            settings.link_mode = ethernet::read_link_mode(reader, &section);
            reader.finish(&section);
            profiles.insert(name, settings);
        }
    }
    profiles
}

fn read_port<'d>(reader: &mut Reader<'d>, node: &Node<'d>, profiles: &BTreeMap<&str, Settings>) -> Port {
    let Some(section) = reader.section(node, "ports.*") else {
        return Port { place: node.place, ..Port::default() };
    };
    let profile = read_profile_name(reader, &section, profiles);
    let mut own = ethernet::read_shared(reader, &section);
    ethernet::read_own(reader, &section, &mut own);
    own.link_mode = ethernet::read_link_mode(reader, &section);
    let breakout = reader.take(&section, "breakout").and_then(|node| read_breakout(reader, &node));
    reader.finish(&section);
    let settings = own.over(profile);
    let link_mode = settings.link_mode;
    ethernet::check_link_mode(reader, &section, link_mode);
    let ethernet = ethernet::resolve(reader, &section, "port", settings);
    Port { place: node.place, ethernet, link_mode, breakout }
}

fn read_breakout<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<u8> {
    let number = reader.any_integer(node)?;
    let parts = u8::try_from(number).ok().filter(|parts| matches!(parts, 1 | 2 | 4 | 8));
    if parts.is_none() {
        reader.wrong_value(node, format!("a port is split into 1, 2, 4 or 8, not {number}"));
    }
    parts
}

/// A port that is split is no port itself any more.
fn check_breakout<'d>(reader: &mut Reader<'d>, node: &Node<'d>, names: &[String], port: &Port) {
    let (Some(parts), Some(name)) = (port.breakout, names.first()) else {
        return;
    };
    let path = join(&node.path, "breakout");
    let place = reader.places.get(&path).copied().unwrap_or(node.place);
    if let Some((whole, _)) = split_name(name) {
        reader.wrong(
            place,
            &path,
            format!("{name} is a part of {whole}: `breakout` belongs to [ports.{whole}]"),
        );
    } else if parts > 1 && port.ethernet.role != PortRole::Unused {
        let message = format!(
            "{name} is gone when it is split into {parts}: configure {name}s0 to {name}s{} instead",
            parts - 1
        );
        reader.wrong(place, &path, message);
    }
}

/// Parts that their port is not split into do not exist.
fn check_parts(reader: &mut Reader<'_>, ports: &BTreeMap<String, Port>) {
    for (name, port) in ports {
        let Some((whole, part)) = split_name(name) else {
            continue;
        };
        let Some((parts, place)) = ports.get(whole).and_then(|whole| Some((whole.breakout?, whole.place)))
        else {
            continue;
        };
        if part >= u32::from(parts) {
            let line = place.line;
            let message = match parts {
                1 => format!("no port {name}: {whole} is not split (line {line})"),
                _ => format!(
                    "no port {name}: {whole} is split into {whole}s0 to {whole}s{} (line {line})",
                    parts - 1
                ),
            };
            reader.wrong(port.place, &format!("ports.{name}"), message);
        }
    }
}

fn read_profile_name<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    profiles: &BTreeMap<&str, Settings>,
) -> Settings {
    let Some(node) = reader.take(section, "profile") else {
        return Settings::default();
    };
    let Some(name) = reader.text(&node, MAX_DESCRIPTION) else {
        return Settings::default();
    };
    if let Some(settings) = profiles.get(name) {
        return settings.clone();
    }
    if !reader.partial {
        let shown = shortened(name);
        let message = match nearest(name, profiles.keys().copied()) {
            Some(near) => format!("no profile `{shown}`; did you mean `{near}`?"),
            None => format!("no profile `{shown}`: define [profiles.{shown}]"),
        };
        reader.wrong_value(&node, message);
    }
    Settings::default()
}

/// Adds the ports a section stands for, refusing names that another section has.
fn add(
    reader: &mut Reader<'_>,
    ports: &mut BTreeMap<String, Port>,
    names: Vec<String>,
    node: &Node<'_>,
    port: &Port,
) {
    for name in names {
        let place = node.place;
        match ports.get(&name).map(|known| known.place) {
            Some(known) if known == place => {
                reader.wrong(place, &node.path, format!("{name} is named twice in this range"));
            }
            Some(known) => {
                let message = format!(
                    "{name} is already configured in line {}; give each port one section",
                    known.line
                );
                reader.wrong(place, &node.path, message);
            }
            None if ports.len() == MAX_PORTS => {
                reader.wrong(
                    place,
                    &node.path,
                    format!("more than {MAX_PORTS} ports, the most that are supported"),
                );
                return;
            }
            None => {
                locate_expanded(reader, &node.path, &name);
                ports.insert(name, port.clone());
            }
        }
    }
}

/// Makes the settings of a range findable under each port's own name.
fn locate_expanded(reader: &mut Reader<'_>, pattern_path: &str, name: &str) {
    let path = format!("ports.{name}");
    if path == pattern_path {
        return;
    }
    let settings: Vec<_> = reader
        .places
        .range(pattern_path.to_owned()..)
        .map_while(|(key, place)| key.strip_prefix(pattern_path).map(|rest| (rest, *place)))
        .filter(|(rest, _)| rest.is_empty() || (rest.starts_with('.') && !rest.ends_with(']')))
        .map(|(rest, place)| (format!("{path}{rest}"), place))
        .collect();
    reader.places.extend(settings);
}
