//! `corten show`: the tables of the switch.

mod print;
mod routes;
mod system;

use std::net::IpAddr;

use netd_api::state::{FdbEntry, Interface, Lag, MdbEntry, Neighbour, Port, VlanRange};
use netd_api::table::{Filter, TableName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use crate::cli::{Format, Show};
use crate::client::{Error, Netd};
use crate::outcome::Outcome;
use crate::pattern::{self, Pattern};
use crate::table::Table;
use crate::tables::{self, interfaces::Row};
use print::Printer;

pub use routes::PROTOCOLS;
pub use system::hostname;

/// Reads one table, narrows it and prints it.
pub async fn run(what: Show, context: &Context) -> Result<Outcome, Error> {
    match what {
        Show::System { format } => return system::run(format, context).await,
        Show::Log(log) => return super::log::run(log, context).await,
        _ => {}
    }
    let netd = super::connect().await?;
    match what {
        Show::Ports { ports: names, format } => {
            let names = expand(&names);
            let rows = named(netd.ports().await?, &names, "port");
            let rows = match rows {
                Err(Error::NotFound(text)) => {
                    return Err(Error::NotFound(other_table(&netd, &names, text).await));
                }
                rows => rows?,
            };
            show_ports(&rows, &names, format, context)
        }
        Show::Interfaces { interfaces: names, format } => {
            let mut all: Vec<Row> = netd.ports().await?.into_iter().map(Row::Port).collect();
            all.extend(netd.interfaces().await?.into_iter().map(Row::Interface));
            let rows = named(all, &expand(&names), "interface")?;
            print(&rows, tables::interfaces::table, format, context)
        }
        Show::Lags { lags: names, format } => {
            let rows = named(netd.lags().await?, &expand(&names), "LAG")?;
            print(&rows, tables::lags::table, format, context)
        }
        Show::Vxlans { vxlans: names, format } => {
            let rows = interfaces_of(&netd, "vxlan").await?;
            let rows = named(rows, &expand(&names), "VXLAN")?;
            print(&rows, tables::interfaces::vxlans, format, context)
        }
        Show::Vrfs { vrfs: names, format } => {
            let rows = interfaces_of(&netd, "vrf").await?;
            let rows = named(rows, &expand(&names), "VRF")?;
            print(&rows, tables::interfaces::vrfs, format, context)
        }
        Show::Vlans { vlans: wanted, format } => {
            let mut rows = netd.vlans().await?;
            for range in &wanted {
                if !rows.iter().any(|vlan| holds(*range, vlan.id)) {
                    return Err(no_vlan(&crate::text::vlan_ranges(&[*range])));
                }
            }
            rows.retain(|vlan| wanted.is_empty() || wanted.iter().any(|range| holds(*range, vlan.id)));
            print(&rows, tables::vlans::table, format, context)
        }
        Show::Routes { prefixes, vrf, protocol, format } => {
            known_vrf(&netd, vrf.as_deref()).await?;
            if prefixes.is_empty() {
                return routes::all(&netd, vrf.as_deref(), protocol, format, context).await;
            }
            let rows = routes::named(&netd, &prefixes, vrf.as_deref(), protocol.as_deref()).await?;
            print(&rows, tables::routes::table, format, context)
        }
        Show::Neighbours { addresses, port, vrf, format } => {
            known_vrf(&netd, vrf.as_deref()).await?;
            let interfaces = known_ports(&netd, port.as_deref()).await?;
            let filter = Filter { interfaces, vrf: vrf.as_deref().map(vrf_name), ..Filter::default() };
            let named = Named { table: TableName::Neighbours, noun: "neighbour", names: &addresses };
            let layout = tables::neighbours::table;
            entries::<Neighbour>(&netd, named, filter, layout, format, context, |wanted, row| {
                same_address(wanted, &row.address)
            })
            .await
        }
        Show::Fdb { macs, port, vlan, all, format } => {
            let interfaces = known_ports(&netd, port.as_deref()).await?;
            if let Some(id) = vlan
                && !netd.vlans().await?.iter().any(|vlan| vlan.id == id)
            {
                return Err(no_vlan(&id.to_string()));
            }
            let without_local = (!all && macs.is_empty() && !format.json).then_some(true);
            let filter = Filter { interfaces, vlan_id: vlan, without_local, ..Filter::default() };
            let named = Named { table: TableName::Fdb, noun: "FDB entry", names: &macs };
            let layout = tables::fdb::table;
            entries::<FdbEntry>(&netd, named, filter, layout, format, context, |wanted, row| {
                same_mac(wanted, &row.mac)
            })
            .await
        }
        Show::Mdb { groups, port, format } => {
            let interfaces = known_ports(&netd, port.as_deref()).await?;
            let filter = Filter { interfaces, ..Filter::default() };
            let named = Named { table: TableName::Mdb, noun: "group", names: &groups };
            let layout = tables::mdb::table;
            entries::<MdbEntry>(&netd, named, filter, layout, format, context, |wanted, row| {
                same_address(wanted, &row.group)
            })
            .await
        }
        Show::System { format } => system::run(format, context).await,
        Show::Log(log) => super::log::run(log, context).await,
    }
}

/// Interfaces of one kind.
async fn interfaces_of(netd: &Netd, kind: &str) -> Result<Vec<Interface>, Error> {
    let mut rows = netd.interfaces().await?;
    rows.retain(|row| row.kind == kind);
    Ok(rows)
}

/// The names of lists such as `swp1,swp2`, one by one.
fn expand(names: &[String]) -> Vec<String> {
    names.iter().flat_map(|names| pattern::items(names)).collect()
}

/// Entries of a table that were asked for by name.
struct Named<'a> {
    table: TableName,
    noun: &'a str,
    names: &'a [String],
}

/// Prints the entries of a table that fit a filter: all of them while they are read, or those of some names.
///
/// # Errors
/// [`Error::NotFound`] when a name has no entry.
async fn entries<T: Serialize + DeserializeOwned + Send + 'static>(
    netd: &Netd,
    Named { table, noun, names }: Named<'_>,
    mut filter: Filter,
    layout: fn(&[T]) -> Table,
    format: Format,
    context: &Context,
    matches: impl Fn(&str, &T) -> bool,
) -> Result<Outcome, Error> {
    if !names.is_empty() {
        let none = |name: &String| Error::NotFound(format!("no {noun} {}", crate::text::clean(name)));
        let mut values = Vec::with_capacity(names.len());
        for name in names {
            let value = match table {
                TableName::Fdb => plain_mac(name),
                _ => name.parse::<IpAddr>().ok().map(|address| address.to_string()),
            };
            values.push(value.ok_or_else(|| none(name))?);
        }
        match table {
            TableName::Fdb => filter.macs = Some(values),
            _ => filter.addresses = Some(values),
        }
        let rows: Vec<T> = netd.table(table, &filter).await?;
        if let Some(name) = names.iter().find(|name| !rows.iter().any(|row| matches(name, row))) {
            return Err(none(name));
        }
        return print(&rows, layout, format, context);
    }
    let mut printer = Printer::new(layout, format, context);
    let hidden = netd.rows(table, &filter, |row| printer.push(row)).await?;
    let mut outcome = printer.finish()?;
    if hidden > 0 {
        // A program reads nothing but rows.
        let to = if context.width.is_some() { &mut outcome.out } else { &mut outcome.err };
        to.push_str(&format!("{hidden} of the switch itself (local) not shown: --all\n"));
    }
    Ok(outcome)
}

/// What has a name that patterns go by.
trait HasName {
    fn name(&self) -> &str;
}

impl HasName for String {
    fn name(&self) -> &str {
        self
    }
}

impl HasName for Port {
    fn name(&self) -> &str {
        &self.name
    }
}

impl HasName for Interface {
    fn name(&self) -> &str {
        &self.name
    }
}

impl HasName for Row {
    fn name(&self) -> &str {
        match self {
            Row::Port(port) => &port.name,
            Row::Interface(row) => &row.name,
        }
    }
}

impl HasName for Lag {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The rows whose names fit a pattern; all of them without one.
fn named<T: HasName>(rows: Vec<T>, patterns: &[String], noun: &str) -> Result<Vec<T>, Error> {
    narrow(rows, patterns, noun, T::name, |pattern, row| Pattern::new(pattern).matches(row.name()))
}

/// Where a name that is no port is an interface of another kind, says so.
async fn other_table(netd: &Netd, names: &[String], text: String) -> String {
    let others = netd.interfaces().await.unwrap_or_default();
    let found = others.iter().find(|row| names.iter().any(|name| Pattern::new(name).matches(&row.name)));
    match found {
        Some(row) => {
            let name = crate::text::clean(&row.name);
            format!("{name} is no port but a {}: see `show interfaces {name}`", row.kind)
        }
        None => text,
    }
}

/// The interfaces that fit a pattern, to narrow a table to; `None` for all of them.
async fn known_ports(netd: &Netd, pattern: Option<&str>) -> Result<Option<Vec<String>>, Error> {
    let Some(pattern) = pattern else { return Ok(None) };
    let mut names: Vec<String> = netd.ports().await?.into_iter().map(|port| port.name).collect();
    names.extend(netd.interfaces().await?.into_iter().map(|row| row.name));
    // Entries of the bridge itself are under its name.
    names.push("bridge".to_owned());
    named(names, &[pattern.to_owned()], "port").map(Some)
}

/// What netd calls a VRF.
fn vrf_name(vrf: &str) -> String {
    if vrf == "default" { String::new() } else { vrf.to_owned() }
}

/// # Errors
/// [`Error::NotFound`] when there is no VRF of that name.
async fn known_vrf(netd: &Netd, vrf: Option<&str>) -> Result<(), Error> {
    if matches!(vrf, None | Some("default")) {
        return Ok(());
    }
    let rows = interfaces_of(netd, "vrf").await?;
    known(vrf, "VRF", rows.iter().map(|row| &row.name))
}

/// # Errors
/// [`Error::NotFound`] when what was asked for is none of those there are.
fn known<'a>(wanted: Option<&str>, noun: &str, there: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let Some(wanted) = wanted else { return Ok(()) };
    let there: Vec<String> = there.cloned().collect();
    narrow(there, &[wanted.to_owned()], noun, |name| name, |wanted, name| wanted == name).map(|_| ())
}

fn no_vlan(ids: &str) -> Error {
    Error::NotFound(format!("no VLAN {ids}"))
}

fn holds(range: VlanRange, id: u16) -> bool {
    (range.first..=range.last).contains(&id)
}

/// The ports as a table; one port that was named by itself in full.
fn show_ports(rows: &[Port], names: &[String], format: Format, context: &Context) -> Result<Outcome, Error> {
    match (rows, names) {
        ([port], [name]) if !format.json && !Pattern::new(name).is_plural() => {
            Ok(Outcome::done(tables::ports::detail(port, context.look)))
        }
        _ => print(rows, tables::ports::table, format, context),
    }
}

fn print<T: Serialize>(
    rows: &[T],
    table: impl Fn(&[T]) -> Table,
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    match format.json {
        true => super::json(&rows),
        false => Ok(Outcome::done(table(rows).render(context.width, context.look))),
    }
}

/// The rows that were asked for; all of them when none was named.
///
/// # Errors
/// [`Error::NotFound`] when a name has no row, with a suggestion where one is close.
fn narrow<T>(
    rows: Vec<T>,
    names: &[String],
    noun: &str,
    key: impl Fn(&T) -> &str,
    matches: impl Fn(&str, &T) -> bool,
) -> Result<Vec<T>, Error> {
    if names.is_empty() {
        return Ok(rows);
    }
    for name in names {
        if !rows.iter().any(|row| matches(name, row)) {
            let shown = crate::text::clean(name);
            return Err(Error::NotFound(match closest(name, rows.iter().map(&key)) {
                Some(close) => format!("no {noun} {shown}; did you mean {close}?"),
                None => format!("no {noun} {shown}"),
            }));
        }
    }
    Ok(rows.into_iter().filter(|row| names.iter().any(|name| matches(name, row))).collect())
}

/// The name nearest to a mistyped one.
fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    // A suggestion is for a person's typing: what is longer than a name can be has no near one.
    if name.len() > 64 {
        return None;
    }
    names
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| crate::text::clean(candidate))
}

/// A hardware address as the table has it, of `02-C0-27-E2-00-01`, `02c0.27e2.0001` or with colons.
fn plain_mac(text: &str) -> Option<String> {
    let digits = text.replace([':', '-', '.'], "").to_ascii_lowercase();
    let is_mac = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = || (0..6).map(|at| &digits[2 * at..2 * at + 2]).collect::<Vec<_>>().join(":");
    is_mac.then(pairs)
}

/// Whether two hardware addresses are the same, however they are written.
fn same_mac(wanted: &str, mac: &str) -> bool {
    plain_mac(wanted).is_some_and(|wanted| Some(wanted) == plain_mac(mac))
}

fn same_address(wanted: &str, address: &str) -> bool {
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    wanted == address || parse(wanted).is_some_and(|wanted| Some(wanted) == parse(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        let rows = vec!["swp1".to_owned(), "swp2".to_owned()];
        let error =
            narrow(rows, &["spw2".to_owned()], "port", |row| row, |name, row| name == row).unwrap_err();
        assert_eq!(error.to_string(), "no port spw2; did you mean swp2?");
    }

    #[test]
    fn addresses_compare_by_meaning() {
        assert!(same_address("2001:DB8::1", "2001:db8::1"));
        assert!(!same_address("x", "y"));
        for mac in ["02:c0:27:e2:00:01", "02C0.27E2.0001", "02-C0-27-E2-00-01", "02c027e20001"] {
            assert!(same_mac(mac, "02:c0:27:e2:00:01"), "{mac}");
        }
        assert!(!same_mac("02:c0:27:e2:00", "02:c0:27:e2:00:01"));
        assert!(!same_mac("", ""));
    }
}
