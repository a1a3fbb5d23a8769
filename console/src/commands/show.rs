//! `corten show`: the tables of the switch.

mod routes;
mod system;

use netd_api::state::{Interface, Lag, Port, VlanRange};
use serde::Serialize;

use super::Context;
use crate::cli::{Format, Show};
use crate::client::{Error, Netd};
use crate::outcome::Outcome;
use crate::pattern::{self, Pattern};
use crate::table::Table;
use crate::tables::{self, interfaces::Row};

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
            let rows = routes::narrow(netd.routes().await?, &prefixes, vrf.as_deref(), protocol.as_deref())?;
            print(&rows, tables::routes::table, format, context)
        }
        Show::Neighbours { addresses, port, vrf, format } => {
            known_vrf(&netd, vrf.as_deref()).await?;
            let port = known_port(&netd, port.as_deref()).await?;
            let all = netd.neighbours().await?;
            let mut rows = narrow(
                all,
                &addresses,
                "neighbour",
                |n| &n.address,
                |wanted, n| same_address(wanted, &n.address),
            )?;
            rows.retain(|entry| port.takes(&entry.device) && in_vrf(vrf.as_deref(), &entry.vrf));
            print(&rows, tables::neighbours::table, format, context)
        }
        Show::Fdb { macs, port, vlan, all, format } => {
            let port = known_port(&netd, port.as_deref()).await?;
            if let Some(id) = vlan
                && !netd.vlans().await?.iter().any(|vlan| vlan.id == id)
            {
                return Err(no_vlan(&id.to_string()));
            }
            let named = !macs.is_empty();
            let mut rows = narrow(
                netd.fdb().await?,
                &macs,
                "FDB entry",
                |e| &e.mac,
                |wanted, e| same_mac(wanted, &e.mac),
            )?;
            rows.retain(|entry| port.takes(&entry.port) && vlan.is_none_or(|id| id == entry.vlan_id));
            let before = rows.len();
            rows.retain(|entry| all || named || format.json || entry.kind != "local");
            let hidden = before - rows.len();
            let mut outcome = print(&rows, tables::fdb::table, format, context)?;
            if hidden > 0 {
                // A program reads nothing but rows.
                let to = if context.width.is_some() { &mut outcome.out } else { &mut outcome.err };
                to.push_str(&format!("{hidden} of the switch itself (local) not shown: --all\n"));
            }
            Ok(outcome)
        }
        Show::Mdb { groups, port, format } => {
            let port = known_port(&netd, port.as_deref()).await?;
            let all = netd.mdb().await?;
            let mut rows =
                narrow(all, &groups, "group", |e| &e.group, |wanted, e| same_address(wanted, &e.group))?;
            rows.retain(|entry| port.takes(&entry.port));
            print(&rows, tables::mdb::table, format, context)
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

/// What has a name that patterns go by.
trait Named {
    fn name(&self) -> &str;
}

impl Named for String {
    fn name(&self) -> &str {
        self
    }
}

impl Named for Port {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Interface {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Row {
    fn name(&self) -> &str {
        match self {
            Row::Port(port) => &port.name,
            Row::Interface(row) => &row.name,
        }
    }
}

impl Named for Lag {
    fn name(&self) -> &str {
        &self.name
    }
}

/// The rows whose names fit a pattern; all of them without one.
fn named<T: Named>(rows: Vec<T>, patterns: &[String], noun: &str) -> Result<Vec<T>, Error> {
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

/// An interface to narrow a table to.
struct PortFilter(Option<Pattern>);

impl PortFilter {
    fn takes(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

/// The filter for an interface, where there is one of that name.
async fn known_port(netd: &Netd, port: Option<&str>) -> Result<PortFilter, Error> {
    let Some(port) = port else { return Ok(PortFilter(None)) };
    let mut names: Vec<String> = netd.ports().await?.into_iter().map(|port| port.name).collect();
    names.extend(netd.interfaces().await?.into_iter().map(|row| row.name));
    // Entries of the bridge itself are under its name.
    names.push("bridge".to_owned());
    named(names, &[port.to_owned()], "port")?;
    Ok(PortFilter(Some(Pattern::new(port))))
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

fn in_vrf(wanted: Option<&str>, vrf: &str) -> bool {
    match wanted {
        None => true,
        Some("default") => vrf.is_empty(),
        Some(wanted) => wanted == vrf,
    }
}

/// Whether two hardware addresses are the same, `02-C0-27-E2-00-01`, `02c0.27e2.0001` or with colons.
fn same_mac(wanted: &str, mac: &str) -> bool {
    let digits = |text: &str| -> Option<String> {
        let digits = text.replace([':', '-', '.'], "").to_ascii_lowercase();
        (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
    };
    digits(wanted).is_some_and(|wanted| Some(wanted) == digits(mac))
}

fn same_address(wanted: &str, address: &str) -> bool {
    let parse = |text: &str| text.parse::<std::net::IpAddr>().ok();
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
