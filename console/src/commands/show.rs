//! `corten show`: the tables of the switch.

mod system;

use netd_api::state::Port;
use serde::Serialize;

use super::Context;
use crate::cli::{Format, Show};
use crate::client::Error;
use crate::outcome::Outcome;
use crate::table::Table;
use crate::tables;

pub use system::hostname;

/// Reads one table, narrows it and prints it.
pub async fn run(what: Show, context: &Context) -> Result<Outcome, Error> {
    if let Show::System { format } = what {
        return system::run(format, context).await;
    }
    let netd = super::connect().await?;
    match what {
        Show::Ports { ports: names, format } => {
            let all = netd.ports().await?;
            let rows =
                narrow(all, &names, "port", |port| &port.name, |name, port| matches(name, &port.name))?;
            show_ports(&rows, &names, format, context)
        }
        Show::Vlans { vlans: ids, format } => {
            let ids: Vec<String> = ids.iter().map(u16::to_string).collect();
            let rows = netd.vlans().await?.into_iter().map(|vlan| (vlan.id.to_string(), vlan)).collect();
            let rows = narrow(rows, &ids, "VLAN", |row| &row.0, |id, row| *id == row.0)?;
            let rows: Vec<_> = rows.into_iter().map(|(_, vlan)| vlan).collect();
            print(&rows, tables::vlans::table, format, context)
        }
        Show::Routes { prefixes, vrf, protocol, format } => {
            let all = netd.routes().await?;
            let mut rows =
                narrow(all, &prefixes, "route", |r| &r.prefix, |wanted, r| same_prefix(wanted, &r.prefix))?;
            rows.retain(|route| {
                in_vrf(vrf.as_deref(), &route.vrf) && is(protocol.as_deref(), &route.protocol)
            });
            print(&rows, tables::routes::table, format, context)
        }
        Show::Neighbours { addresses, port, vrf, format } => {
            let all = netd.neighbours().await?;
            let mut rows = narrow(
                all,
                &addresses,
                "neighbour",
                |n| &n.address,
                |wanted, n| same_address(wanted, &n.address),
            )?;
            rows.retain(|entry| is(port.as_deref(), &entry.device) && in_vrf(vrf.as_deref(), &entry.vrf));
            print(&rows, tables::neighbours::table, format, context)
        }
        Show::Fdb { macs, port, vlan, format } => {
            let all = netd.fdb().await?;
            let mut rows =
                narrow(all, &macs, "FDB entry", |e| &e.mac, |wanted, e| wanted.eq_ignore_ascii_case(&e.mac))?;
            rows.retain(|entry| {
                is(port.as_deref(), &entry.port) && vlan.is_none_or(|id| id == entry.vlan_id)
            });
            print(&rows, tables::fdb::table, format, context)
        }
        Show::Mdb { groups, port, format } => {
            let all = netd.mdb().await?;
            let mut rows =
                narrow(all, &groups, "group", |e| &e.group, |wanted, e| same_address(wanted, &e.group))?;
            rows.retain(|entry| is(port.as_deref(), &entry.port));
            print(&rows, tables::mdb::table, format, context)
        }
        Show::System { format } => system::run(format, context).await,
    }
}

/// The ports as a table; one port that was named without a `*` in full.
fn show_ports(rows: &[Port], names: &[String], format: Format, context: &Context) -> Result<Outcome, Error> {
    match (rows, names) {
        ([port], [name]) if !format.json && !name.contains('*') => {
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

/// Whether a name fits a pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn is(wanted: Option<&str>, value: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

fn in_vrf(wanted: Option<&str>, vrf: &str) -> bool {
    match wanted {
        None => true,
        Some("default") => vrf.is_empty(),
        Some(wanted) => wanted == vrf,
    }
}

/// `default` and differently written prefixes mean the same route.
fn same_prefix(wanted: &str, prefix: &str) -> bool {
    if wanted == "default" {
        return prefix == "0.0.0.0/0" || prefix == "::/0";
    }
    let parts = |text: &str| {
        let (address, length) = text.split_once('/')?;
        Some((address.parse::<std::net::IpAddr>().ok()?, length.parse::<u8>().ok()?))
    };
    wanted == prefix || parts(wanted).is_some_and(|wanted| Some(wanted) == parts(prefix))
}

fn same_address(wanted: &str, address: &str) -> bool {
    let parse = |text: &str| text.parse::<std::net::IpAddr>().ok();
    wanted == address || parse(wanted).is_some_and(|wanted| Some(wanted) == parse(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, fits) in [
            ("swp1", "swp1", true),
            ("swp1", "swp12", false),
            ("swp1*", "swp12", true),
            ("*s1", "swp3s1", true),
            ("s*p*1", "swp21", true),
            ("s*p*1", "swp12", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        let rows = vec!["swp1".to_owned(), "swp2".to_owned()];
        let error =
            narrow(rows, &["spw2".to_owned()], "port", |row| row, |name, row| name == row).unwrap_err();
        assert_eq!(error.to_string(), "no port spw2; did you mean swp2?");
    }

    #[test]
    fn prefixes_and_addresses_compare_by_meaning() {
        assert!(same_prefix("2001:db8:0::/48", "2001:db8::/48"));
        assert!(same_prefix("default", "::/0"));
        assert!(!same_prefix("10.0.0.0/8", "10.0.0.0/16"));
        assert!(same_address("2001:DB8::1", "2001:db8::1"));
        assert!(!same_address("x", "y"));
    }
}
