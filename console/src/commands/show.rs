//! `corten show`: the tables of the switch.

mod alarms;
mod entries;
mod fdb;
mod neighbours;
mod print;
mod routes;
mod system;

use netd_api::state::{Discard, Interface, Lag, MdbEntry, Port, VlanRange};
use netd_api::table::{Filter, TableName};
use serde::Serialize;

use super::Context;
use crate::cli::{Format, Show};
use crate::client::{Error, Netd};
use crate::outcome::Outcome;
use crate::pattern::{self, Pattern};
use crate::table::Table;
use crate::tables::{self, interfaces::Row};
use entries::Named;

pub use routes::PROTOCOLS;
pub use system::hostname;

/// Reads one table, narrows it and prints it.
pub async fn run(what: Show, context: &Context) -> Result<Outcome, Error> {
    match what {
        Show::System { format } => return system::run(format, context).await,
        Show::Log(log) => return super::log::run(log, context).await,
        Show::Pending { format } => return super::generations::pending(format, context).await,
        _ => {}
    }
    let netd = super::connect().await?;
    match what {
        Show::Alarms { watch, format } => alarms::run(&netd, watch, format, context).await,
        Show::Ports { ports: names, format } => {
            let names = expand(&names);
            let rows = named(netd.ports().await?, &names, "port");
            let rows = match rows {
                Err(Error::NotFound(text)) => {
                    return Err(Error::NotFound(other_table(&netd, &names, text).await));
                }
                rows => rows?,
            };
            show_ports(&netd, rows, &names, format, context).await
        }
        Show::Interfaces { interfaces: names, format } => {
            let mut all: Vec<Row> = netd.ports().await?.into_iter().map(Row::Port).collect();
            all.extend(netd.interfaces().await?.into_iter().map(Row::Interface));
            let rows = named(all, &expand(&names), "interface")?;
            print(&rows, tables::interfaces::table, format, context)
        }
        Show::Lags { lags: names, format } => {
            let rows = named(netd.lags().await?, &expand(&names), "LAG")?;
            let json = format.json;
            let mut outcome = print(&rows, tables::lags::table, format, context)?;
            if !json {
                outcome.out.push_str(&tables::lags::reasons(&rows));
            }
            Ok(outcome)
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
            routes::some(&netd, &prefixes, vrf.as_deref(), protocol.as_deref(), format, context).await
        }
        Show::Neighbours { addresses, port, vrf, format } => {
            known_vrf(&netd, vrf.as_deref()).await?;
            neighbours::run(&netd, (addresses, port), vrf.as_deref(), format, context).await
        }
        Show::Fdb { macs, port, vlan, all, format } => {
            fdb::run(&netd, fdb::Request { macs, port, vlan, all }, format, context).await
        }
        Show::Mdb { groups, port, format } => {
            let (groups, filter) = entries::with_interface(&netd, groups, port, entries::address).await?;
            let named = Named { noun: "group", names: &groups, read: entries::address };
            let filter = Filter { addresses: named.values()?, ..filter };
            let rows: Vec<MdbEntry> = netd.table(TableName::Mdb, &filter).await?;
            named.check(&rows, |row| &row.group)?;
            print(&rows, tables::mdb::table, format, context)
        }
        Show::System { format } => system::run(format, context).await,
        Show::Pending { format } => super::generations::pending(format, context).await,
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

/// A port with what it discarded.
#[derive(Serialize)]
struct PortWithDiscards<'a> {
    #[serde(flatten)]
    port: &'a Port,
    discards: Vec<&'a Discard>,
}

/// The ports as a table; one port that was named by itself in full. What ports discarded is told of those that were
/// named: it costs questions to drivers.
async fn show_ports(
    netd: &Netd,
    rows: Vec<Port>,
    names: &[String],
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    let whole = matches!((rows.as_slice(), names), ([_], [name]) if !Pattern::new(name).is_plural());
    if !whole && (!format.json || names.is_empty()) {
        return print(&rows, |rows| tables::ports::table(rows, context.width), format, context);
    }
    let discards = netd.discards(rows.iter().map(|port| port.name.clone()).collect()).await?;
    if !format.json {
        let detail: String = rows.iter().map(|port| tables::ports::detail(port, context.look)).collect();
        let discards = match discards.is_empty() {
            true => String::new(),
            false => format!("\n{}", tables::discards::table(&discards).render(context.width, context.look)),
        };
        return Ok(Outcome::done(detail + &discards));
    }
    let of = |port: &Port| discards.iter().filter(|row| row.port == port.name).collect();
    let rows: Vec<_> = rows.iter().map(|port| PortWithDiscards { port, discards: of(port) }).collect();
    super::json(&rows)
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
}
