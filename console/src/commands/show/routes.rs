//! Which routes `corten show routes PREFIX` and `corten show routes ADDRESS` mean.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::state::{Neighbour, Route};
use netd_api::table::{Filter, MAX_FILTER_VALUES, TableName};

use super::print::Printer;
use crate::cli::Format;
use crate::client::{Error, Netd};
use crate::commands::Context;
use crate::outcome::Outcome;
use crate::tables::routes::Silent;
use crate::{tables, text};

/// What netd calls who installs routes; others are numbers (rtnetlink(7), rtm_protocol).
pub const PROTOCOLS: [&str; 10] =
    ["redirect", "kernel", "boot", "static", "ra", "zebra", "bird", "dhcp", "bgp", "ospf"];

/// Prints all routes of a VRF, or of every one, while they are read.
///
/// # Errors
/// [`Error::NotFound`] when there is no such protocol.
pub async fn all(
    netd: &Netd,
    vrf: Option<&str>,
    protocol: Option<String>,
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    let filter = Filter { vrf: vrf.map(super::vrf_name), protocol: protocol.clone(), ..Filter::default() };
    let silent = if format.json { Silent::default() } else { silent(netd, None).await? };
    let mut printer = Printer::new(|rows: &[Route]| tables::routes::table(rows, &silent), format, context);
    let mut rows = 0_u64;
    netd.rows(TableName::Routes, &filter, |row: Route| {
        rows += 1;
        printer.push(row)
    })
    .await?;
    known_protocol(protocol.as_deref(), rows > 0)?;
    printer.finish()
}

/// Prints the routes to some prefixes, and those that packets to some addresses take.
///
/// # Errors
/// [`Error::NotFound`] when there is no such protocol, a prefix has no route, or an address none that leads there.
pub async fn some(
    netd: &Netd,
    wanted: &[String],
    vrf: Option<&str>,
    protocol: Option<&str>,
    format: Format,
    context: &Context,
) -> Result<Outcome, Error> {
    let rows = named(netd, wanted, vrf, protocol).await?;
    let hops = rows.iter().flat_map(|route| &route.next_hops);
    let gateways: BTreeSet<&String> = hops.map(|hop| &hop.via).filter(|via| !via.is_empty()).collect();
    let silent = match format.json || gateways.is_empty() {
        true => Silent::default(),
        false => silent(netd, Some(gateways.into_iter().cloned().collect())).await?,
    };
    super::print(&rows, |rows| tables::routes::table(rows, &silent), format, context)
}

/// Which of some gateways do not answer, or of all neighbours. A program reads what netd tells, and asks for neighbours
/// where it wants them.
async fn silent(netd: &Netd, gateways: Option<Vec<String>>) -> Result<Silent, Error> {
    let addresses = gateways.filter(|gateways| gateways.len() <= MAX_FILTER_VALUES);
    let filter = Filter { addresses, ..Filter::default() };
    let mut silent = Silent::default();
    netd.rows(TableName::Neighbours, &filter, |row: Neighbour| {
        silent.push(row);
        Ok(())
    })
    .await?;
    Ok(silent)
}

async fn named(
    netd: &Netd,
    wanted: &[String],
    vrf: Option<&str>,
    protocol: Option<&str>,
) -> Result<Vec<Route>, Error> {
    let vrf = vrf.map(super::vrf_name);
    let (mut prefixes, mut addresses) = (Vec::new(), Vec::new());
    for text in wanted {
        match (text.parse::<IpAddr>(), text.parse::<IpNet>(), text.as_str()) {
            (Ok(address), ..) => addresses.push(address.to_string()),
            (_, Ok(prefix), _) => prefixes.push(prefix.to_string()),
            (.., "default") => prefixes.extend(["0.0.0.0/0".to_owned(), "::/0".to_owned()]),
            _ => return Err(Error::NotFound(none(&[], text))),
        }
    }
    let mut rows: Vec<Route> = Vec::new();
    if !prefixes.is_empty() {
        let filter = Filter { prefixes: Some(prefixes), vrf: vrf.clone(), ..Filter::default() };
        rows.extend(netd.table::<Route>(TableName::Routes, &filter).await?);
    }
    if !addresses.is_empty() {
        let filter = Filter { addresses: Some(addresses), vrf: vrf.clone(), ..Filter::default() };
        let found = netd.table::<Route>(TableName::Routes, &filter).await?;
        rows.extend(found.into_iter().filter(|route| !rows.contains(route)).collect::<Vec<_>>());
    }
    match narrow(rows, wanted, protocol) {
        Err(Missing::Protocol(error)) => Err(error),
        Err(Missing::Route(text)) => {
            // A route to a shorter prefix may lead there.
            let around: Vec<Route> = match text.parse::<IpNet>() {
                Ok(prefix) => {
                    let addresses = Some(vec![prefix.addr().to_string()]);
                    netd.table(TableName::Routes, &Filter { addresses, vrf, ..Filter::default() }).await?
                }
                Err(_) => Vec::new(),
            };
            Err(Error::NotFound(none(&around, &text)))
        }
        Ok(rows) => Ok(rows),
    }
}

/// What there is not.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Protocol(Error),
    /// The prefix or address that has none.
    Route(String),
}

/// # Errors
/// [`Error::NotFound`] for a protocol nobody knows, unless it `has_routes`.
fn known_protocol(protocol: Option<&str>, has_routes: bool) -> Result<(), Error> {
    match protocol {
        Some(protocol)
            if !has_routes && !PROTOCOLS.contains(&protocol) && protocol.parse::<u8>().is_err() =>
        {
            let (shown, names) = (text::clean(protocol), PROTOCOLS.join(", "));
            Err(Error::NotFound(format!("no protocol {shown}: there are {names}, and numbers")))
        }
        _ => Ok(()),
    }
}

/// The routes that were asked for, as far as a protocol installed them.
fn narrow(routes: Vec<Route>, wanted: &[String], protocol: Option<&str>) -> Result<Vec<Route>, Missing> {
    let installed = routes.iter().any(|route| Some(route.protocol.as_str()) == protocol);
    known_protocol(protocol, installed).map_err(Missing::Protocol)?;
    // Where packets go is decided among the routes of all protocols.
    let mut routes = select(routes, wanted).map_err(Missing::Route)?;
    routes.retain(|route| protocol.is_none_or(|protocol| protocol == route.protocol));
    Ok(routes)
}

/// The routes asked for, in their order; all of them when nothing was asked for.
fn select(routes: Vec<Route>, wanted: &[String]) -> Result<Vec<Route>, String> {
    if wanted.is_empty() {
        return Ok(routes);
    }
    let mut chosen = vec![false; routes.len()];
    for text in wanted {
        let found = match text.parse::<IpAddr>() {
            Ok(address) => lookup(&routes, address),
            Err(_) => exact(&routes, text),
        };
        if found.is_empty() {
            return Err(text.clone());
        }
        found.into_iter().for_each(|index| chosen[index] = true);
    }
    Ok(routes.into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(route, _)| route).collect())
}

/// The routes packets to an address take: in each VRF those of the longest prefix, and of these the ones with the
/// lowest metric, as the kernel decides (RFC 1812 5.2.4.3).
fn lookup(routes: &[Route], address: IpAddr) -> Vec<usize> {
    let mut best: BTreeMap<&str, ((u8, u32), Vec<usize>)> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| route.kernel) {
        let Ok(prefix) = route.prefix.parse::<IpNet>() else { continue };
        if !prefix.contains(&address) {
            continue;
        }
        let rank = (prefix.prefix_len(), u32::MAX - route.metric);
        let (known, found) = best.entry(&route.vrf).or_insert_with(|| (rank, Vec::new()));
        if rank > *known {
            *known = rank;
            found.clear();
        }
        if rank == *known {
            found.push(index);
        }
    }
    best.into_values().flat_map(|(_, found)| found).collect()
}

/// The routes to just this prefix, however it is written.
fn exact(routes: &[Route], text: &str) -> Vec<usize> {
    let wanted = text.parse::<IpNet>().ok();
    let is = |prefix: &str| match text {
        "default" => prefix == "0.0.0.0/0" || prefix == "::/0",
        _ => text == prefix || wanted.is_some_and(|wanted| prefix.parse() == Ok(wanted)),
    };
    routes.iter().enumerate().filter(|(_, route)| is(&route.prefix)).map(|(index, _)| index).collect()
}

/// What to say when there is none.
fn none(routes: &[Route], text: &str) -> String {
    let shown = text::clean(text);
    if text.parse::<IpAddr>().is_ok() {
        return format!("no route leads to {shown}");
    }
    let Ok(wanted) = text.parse::<IpNet>() else {
        return format!("{shown} is neither a prefix such as 10.0.0.0/8 nor an address");
    };
    let inside =
        routes.iter().find(|route| route.prefix.parse::<IpNet>().is_ok_and(|at| at.contains(&wanted)));
    match inside {
        Some(_) => {
            format!("no route to just {shown}; what leads there shows `show routes {}`", wanted.addr())
        }
        None => format!("no route to {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(prefix: &str, vrf: &str, metric: u32) -> Route {
        Route { prefix: prefix.into(), vrf: vrf.into(), metric, kernel: true, ..Route::default() }
    }

    fn found(wanted: &str) -> Vec<String> {
        let routes = vec![
            route("0.0.0.0/0", "", 0),
            route("10.0.0.0/8", "", 0),
            route("10.0.10.0/24", "", 100),
            route("10.0.10.0/24", "", 20),
            Route { kernel: false, ..route("10.0.10.4/30", "", 0) },
            route("10.0.0.0/16", "blue", 0),
            route("::/0", "", 1024),
            route("2001:db8::/32", "", 1024),
        ];
        let words = [wanted.to_owned()];
        let rows = select(routes, &words).unwrap_or_default();
        rows.iter().map(|route| format!("{} {}{}", route.prefix, route.metric, route.vrf)).collect()
    }

    #[test]
    fn an_address_shows_the_route_of_the_longest_prefix_in_each_vrf() {
        assert_eq!(found("10.0.10.5"), ["10.0.10.0/24 20", "10.0.0.0/16 0blue"]);
        assert_eq!(found("10.200.0.1"), ["10.0.0.0/8 0"]);
        assert_eq!(found("192.0.2.1"), ["0.0.0.0/0 0"]);
        assert_eq!(found("2001:db8::1"), ["2001:db8::/32 1024"]);
        assert_eq!(found("2001:db9::1"), ["::/0 1024"]);
    }

    #[test]
    fn the_lookup_comes_before_the_protocol() {
        let bgp = Route { protocol: "bgp".into(), ..route("10.0.0.0/8", "", 20) };
        let own = Route { protocol: "static".into(), ..route("10.0.10.0/24", "", 0) };
        let rows = |protocol| {
            narrow(vec![bgp.clone(), own.clone()], &["10.0.10.5".to_owned()], Some(protocol)).unwrap()
        };
        assert_eq!(rows("static"), std::slice::from_ref(&own));
        assert_eq!(rows("bgp"), []);
    }

    #[test]
    fn a_protocol_without_routes_is_none_that_is_unknown() {
        for known in ["bgp", "ospf", "static", "42"] {
            assert_eq!(known_protocol(Some(known), false), Ok(()), "{known}");
        }
        assert_eq!(known_protocol(Some("babel"), true), Ok(()));
        let words = known_protocol(Some("bpg"), false).unwrap_err().to_string();
        assert!(words.starts_with("no protocol bpg: there are redirect, kernel"), "{words}");
    }

    #[test]
    fn prefixes_compare_by_meaning() {
        assert_eq!(found("10.0.10.0/24").len(), 2);
        assert_eq!(found("2001:DB8:0::/32"), ["2001:db8::/32 1024"]);
        assert_eq!(found("default").len(), 2);
        assert!(found("10.0.10.0/25").is_empty());
    }

    #[test]
    fn what_leads_nowhere_is_an_error() {
        let around = [route("10.0.0.0/8", "", 0)];
        assert_eq!(select(around.to_vec(), &["192.0.2.1".to_owned()]), Err("192.0.2.1".to_owned()));
        let error = |wanted: &str| none(&around, wanted);
        assert_eq!(error("192.0.2.1"), "no route leads to 192.0.2.1");
        assert_eq!(error("192.0.2.0/24"), "no route to 192.0.2.0/24");
        assert!(error("10.1.0.0/16").contains("`show routes 10.1.0.0`"));
        assert!(error("blue").contains("neither a prefix"));
    }
}
