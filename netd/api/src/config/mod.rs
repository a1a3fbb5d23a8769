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
//! `checks.rs` then compares the objects with one another. Everything is bounded: the size of the
//! document, its depth, the length of every list and of every range.

mod admit;
mod checks;
mod document;
mod layer3;
pub mod model;
mod names;
mod ports;
mod reader;
mod routing;
mod schema;
mod switch;
mod users;
mod vlan_ids;

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

pub use document::MAX_DOCUMENT_BYTES;
pub use model::{Config, Inventory, Place};
pub use names::{MAX_PORTS, is_port_name};
pub use schema::schema;
pub use switch::CONTROL_PLANE_SERVICES;
pub use users::check_ssh_key;

use crate::diagnostic::Diagnostic;
use document::Lines;
use reader::{Reader, Section};

/// Most mistakes reported at once; a last entry then says that there are more.
pub const MAX_DIAGNOSTICS: usize = 200;

/// Reads a document and checks it in itself.
///
/// # Errors
/// Every mistake of the document, sorted by place. Where the TOML itself is broken, the lines that can
/// be read are checked too, but not how they fit together.
pub fn parse(text: &str) -> Result<Config, Vec<Diagnostic>> {
    document::check_size(text).map_err(|diagnostic| vec![diagnostic])?;
    let lines = Lines::new(text);
    match DeTable::parse(text) {
        Ok(tree) => {
            let (config, mistakes) = read_tree(&lines, tree.get_ref(), false);
            if mistakes.is_empty() { Ok(config) } else { Err(tidy(mistakes)) }
        }
        Err(error) => Err(tidy(with_broken_lines(text, &lines, error))),
    }
}

/// Every mistake of a document that is not TOML throughout.
fn with_broken_lines(text: &str, lines: &Lines<'_>, first: toml::de::Error) -> Vec<Diagnostic> {
    let mut diagnostics = document::syntax_errors(text, lines, first);
    if let Some(readable) = document::without_broken_lines(text) {
        let tree = document::tree(&readable);
        let (_, mistakes) = read_tree(lines, tree.get_ref(), true);
        let broken: BTreeSet<u32> = diagnostics.iter().map(|diagnostic| diagnostic.line).collect();
        diagnostics.extend(mistakes.into_iter().filter(|mistake| !broken.contains(&mistake.line)));
    }
    diagnostics
}

fn read_tree(lines: &Lines<'_>, tree: &DeTable<'_>, partial: bool) -> (Config, Vec<Diagnostic>) {
    let mut reader = Reader::new(lines, partial);
    let config = read(&mut reader, tree);
    let (mistakes, places) = reader.into_parts();
    (Config { places, ..config }, mistakes)
}

fn read<'d>(reader: &mut Reader<'d>, table: &'d DeTable<'d>) -> Config {
    let root = reader.root(table);
    read_version(reader, &root);
    let vrfs = routing::read_vrfs(reader, &root);
    let written_routes;
    let mut config = Config {
        system: switch::read_system(reader, &root),
        management: switch::read_management(reader, &root, &vrfs),
        users: users::read(reader, &root),
        ports: ports::read(reader, &root),
        vlans: routing::read_vlans(reader, &root),
        loopbacks: routing::read_loopbacks(reader, &root),
        routes: {
            written_routes = routing::read_routes(reader, &root);
            Vec::new()
        },
        fdb: routing::read_fdb(reader, &root),
        control_plane: switch::read_control_plane(reader, &root),
        vrfs,
        places: BTreeMap::new(),
        ..Config::default()
    };
    refuse_later_sections(reader, &root);
    reader.finish(&root);
    if !reader.partial {
        config.routes = checks::check(reader, &config, &written_routes);
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
    for key in ["lags", "services"] {
        let Some(node) = reader.take(root, key) else {
            continue;
        };
        for (_, member) in reader.members(&node, 4096) {
            reader.wrong_value(
                &member,
                format!("not supported yet: this release has no {key}; remove the section"),
            );
        }
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
    pub fn locate(&self, path: &str) -> Option<Place> {
        locate_in(&self.places, path)
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
