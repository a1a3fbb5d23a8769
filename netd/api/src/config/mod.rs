//! The configuration document: what it may say, read and checked whole.
//!
//! A document is TOML with `version = 1`; `switch.toml(5)` describes every key, and [`schema`] gives the
//! same to editors. [`parse`] answers the resolved [`Config`], or every mistake of the document at its
//! line and column; [`Config::admit`] then checks it against the switch at hand.
//!
//! A VLAN that a port mentions needs no section: `[vlans.N]` is for names, addresses and VRFs. A port
//! the document does not mention is down and carries nothing.
//!
//! Each section has a small reader of its own (`ports.rs`, `routing.rs`, …) over the tools of `reader.rs`;
//! `checks.rs` then compares the objects with one another, and `next_hops.rs` the routes with all of them.
//! Routes come by the million, so plain ones never become a tree: `plain_routes.rs` takes them out first.
//! Everything is bounded: the size of the document, its depth, the length of every list and of every range.

mod admit;
mod bridging;
mod checks;
mod depth;
#[cfg(test)]
mod differential;
mod document;
mod drift;
mod ethernet;
mod interfaces;
mod lags;
mod layer3;
pub mod model;
mod mtu;
mod mtu_checks;
mod names;
mod next_hop_covers;
mod next_hops;
mod pcp;
mod plain_lines;
mod plain_routes;
mod plain_ways;
mod port_vlans;
mod ports;
mod reach;
mod reader;
mod routes;
mod routing;
mod schema;
mod subinterfaces;
mod surroundings;
mod switch;
mod underlay;
mod users;
mod vlan_ids;
mod vxlans;

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

pub use bridging::MAX_BRIDGE_PORTS;
pub use document::{MAX_DOCUMENT_BYTES, MAX_TREE_BYTES};
pub use model::{Config, Inventory, Place};
pub use mtu::{DEFAULT_MTU_BYTES, IPV6_MTU_BYTES, Mtu, Mtus};
pub use names::{MAX_PORTS, is_port_name, split_name};
pub use schema::schema;
pub use switch::CONTROL_PLANE_SERVICES;
pub use users::check_ssh_key;

use crate::diagnostic::Diagnostic;
use document::{Lines, RECOVERY_BYTES};
use plain_routes::{PlainRoutes, Split};
use reader::{Reader, Section};

/// Most mistakes reported at once; a last entry then says that there are more.
pub const MAX_DIAGNOSTICS: usize = 200;

/// Reads a document and checks it in itself.
///
/// # Errors
/// Every mistake of the document, sorted by place. Where the TOML itself is broken, the lines that can
/// be read are checked too, but not how they fit together.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    parse_within(text, &Limits::default())
}

/// Bounds of what a document costs; less in tests.
struct Limits {
    /// Most bytes of what becomes a tree.
    tree_bytes: usize,
    /// Largest document of which all syntax errors are told.
    recovery_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { tree_bytes: MAX_TREE_BYTES, recovery_bytes: RECOVERY_BYTES }
    }
}

fn parse_within(text: &str, limits: &Limits) -> Result<Config, Vec<Diagnostic>> {
    document::check_size(text).map_err(|diagnostic| vec![diagnostic])?;
    let split = plain_routes::split(text, limits.tree_bytes);
    let split = split.map_err(|bytes| vec![document::too_large_for_a_tree(bytes)])?;
    let Some(Split { rest, gaps, plain }) = split else {
        return parse_whole(text, limits);
    };
    let lines = Lines::with_gaps(&rest, &gaps);
    depth::check(&rest, &lines).map_err(|diagnostic| vec![diagnostic])?;
    match DeTable::parse(&rest) {
        Ok(tree) if plain.fits(tree.get_ref()) => finish(read_tree(&lines, tree.get_ref(), plain, false)),
        Err(error) if text.len() > limits.recovery_bytes => {
            Err(tidy(document::syntax_errors(&rest, &lines, vec![error])))
        }
        _ => parse_whole(text, limits),
    }
}

/// Reads a document without the quick way for plain routes.
fn parse_whole(text: &str, limits: &Limits) -> Result<Config, Vec<Diagnostic>> {
    if text.len() > limits.tree_bytes {
        return Err(vec![document::too_large_for_a_tree(text.len())]);
    }
    let lines = Lines::new(text);
    depth::check(text, &lines).map_err(|diagnostic| vec![diagnostic])?;
    match DeTable::parse(text) {
        Ok(tree) => finish(read_tree(&lines, tree.get_ref(), PlainRoutes::none(text), false)),
        Err(error) if text.len() > limits.recovery_bytes => {
            Err(tidy(document::syntax_errors(text, &lines, vec![error])))
        }
        Err(_) => Err(tidy(with_broken_lines(text, &lines))),
    }
}

fn finish((config, mistakes): (Config, Vec<Diagnostic>)) -> Result<Config, Vec<Diagnostic>> {
    if mistakes.is_empty() { Ok(config) } else { Err(tidy(mistakes)) }
}

/// Every mistake of a document that is not TOML throughout.
fn with_broken_lines(text: &str, lines: &Lines<'_>) -> Vec<Diagnostic> {
    let mut diagnostics = document::syntax_errors(text, lines, DeTable::parse_recoverable(text).1);
    if let Some(readable) = document::without_broken_lines(text) {
        let tree = document::tree(&readable);
        let (_, mistakes) = read_tree(lines, tree.get_ref(), PlainRoutes::none(text), true);
        let broken: BTreeSet<u32> = diagnostics.iter().map(|diagnostic| diagnostic.line).collect();
        diagnostics.extend(mistakes.into_iter().filter(|mistake| !broken.contains(&mistake.line)));
    }
    diagnostics
}

fn read_tree(
    lines: &Lines<'_>,
    tree: &DeTable<'_>,
    plain: PlainRoutes<'_>,
    partial: bool,
) -> (Config, Vec<Diagnostic>) {
    let mut reader = Reader::new(lines, partial);
    let config = read(&mut reader, tree, plain);
    let (mistakes, places) = reader.into_parts();
    (Config { places, ..config }, mistakes)
}

fn read<'d>(reader: &mut Reader<'d>, table: &'d DeTable<'d>, plain: PlainRoutes<'d>) -> Config {
    let root = reader.root(table);
    read_version(reader, &root);
    let vrfs = routing::read_vrfs(reader, &root);
    let system = switch::read_system(reader, &root);
    let management = switch::read_management(reader, &root, &vrfs);
    let users = users::read(reader, &root);
    let mut ports = ports::read(reader, &root);
    let lags = lags::read(reader, &root, &mut ports);
    let mut config = Config {
        system,
        management,
        users,
        ports,
        lags,
        bridge: bridging::read_bridge(reader, &root),
        vlans: routing::read_vlans(reader, &root),
        subinterfaces: subinterfaces::read(reader, &root),
        vxlans: vxlans::read(reader, &root),
        vrfs,
        loopbacks: routing::read_loopbacks(reader, &root),
        routing: routing::read_routing(reader, &root),
        routes: Vec::new(),
        neighbours: routing::read_neighbours(reader, &root),
        fdb: bridging::read_fdb(reader, &root),
        mdb: bridging::read_mdb(reader, &root),
        control_plane: switch::read_control_plane(reader, &root),
        drift: drift::read(reader, &root),
        places: BTreeMap::new(),
    };
    let routes = routes::read(reader, &root, plain);
    refuse_later_sections(reader, &root);
    reader.finish(&root);
    if !reader.partial {
        config.routes = checks::check(reader, &config, &routes);
    }
    config
}

fn read_version<'d>(reader: &mut Reader<'d>, root: &Section<'d>) {
    match reader.take(root, "version") {
        Some(node) => {
            if let Some(version) = reader.any_integer(&node).filter(|version| *version != 1) {
                reader
                    .wrong_value(&node, format!("version {version} is not known here: write `version = 1`"));
            }
        }
        None if reader.partial => {}
        None => {
            reader.wrong(root.place, "version", "`version` is missing: begin the document with `version = 1`")
        }
    }
}

/// Sections the document knows and this release does not carry out: refused, never ignored.
fn refuse_later_sections<'d>(reader: &mut Reader<'d>, root: &Section<'d>) {
    let Some(node) = reader.take(root, "services") else {
        return;
    };
    for (_, member) in reader.members(&node, 4096) {
        reader.wrong_value(&member, "not supported yet: this release has no services; remove the section");
    }
}

/// Sorts by place, drops what was said twice, and cuts a long list short.
fn tidy(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort();
    diagnostics.dedup_by(|a, b| (a.line, a.column, &a.message) == (b.line, b.column, &b.message));
    if diagnostics.len() > MAX_DIAGNOSTICS {
        diagnostics.truncate(MAX_DIAGNOSTICS);
        if let Some(last) = diagnostics.last().cloned() {
            let message = "and more mistakes from here on: correct these first".to_owned();
            diagnostics.push(Diagnostic { path: String::new(), message, ..last });
        }
    }
    diagnostics
}

impl Config {
    /// Where a setting stands, by its dotted path (`ports.swp1.mtu`, `vlans.10`, `routes[0].via`). Ports
    /// of a range are found under their own names. A setting the document leaves out is at the place of
    /// the nearest one around it; `None` when there is none either.
    /// So are the keys of a route: at the place of the route.
    pub fn locate(&self, path: &str) -> Option<Place> {
        let route =
            path.strip_prefix("routes[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        let route = route.and_then(|index| self.routes.get(index));
        route.map_or_else(|| locate_in(&self.places, path), |route| Some(route.place))
    }
}

fn locate_in(places: &BTreeMap<String, Place>, path: &str) -> Option<Place> {
    let mut path = path;
    loop {
        if let Some(place) = places.get(path) {
            return Some(*place);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}
