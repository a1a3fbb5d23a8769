//! `[[routes]]`, each read by itself. Next hops are matched with interfaces by [`super::next_hops`].
//!
//! There may be a million, so what many have in common ([`Ways`]) is kept once, and a route holds nothing but
//! numbers. Plain ones never get here: see [`super::plain_routes`].

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use toml::de::{DeArray, DeValue};

use super::layer3;
use super::model::Place;
use super::names;
use super::plain_routes::PlainRoutes;
use super::reader::{Node, Reader, Section};

/// Most routes.
pub(super) const MAX_ROUTES: usize = 2_000_000;
/// Most next hops of a route.
pub(super) const MAX_NEXT_HOPS: usize = 256;
/// The distance of routes that are never installed (RFC 1812, section 7.4).
pub(super) const NEVER: u32 = 255;

/// A route as written, before its next hops are matched with interfaces.
pub(super) struct WrittenRoute {
    /// Number in the document, from 0.
    pub(super) index: u32,
    pub(super) place: Place,
    pub(super) source: Source,
    pub(super) prefix: IpNet,
    pub(super) metric: u32,
    /// Whether the metric is what the document says: one that could not be read is like no other's.
    pub(super) metric_known: bool,
    pub(super) installed: bool,
    /// Which of [`Written::ways`].
    pub(super) ways: u32,
}

/// Where the text of a route is found, to tell the place of a mistake in it.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Number in the tree's array.
    Tree(u32),
    /// Byte offset in the document.
    Text(u32),
}

/// What a route says beside its prefix and metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ways {
    pub(super) vrf: Option<String>,
    pub(super) dev: Option<String>,
    pub(super) kind: WaysKind,
}

impl Ways {
    /// The next hop of a position.
    pub(super) fn next_hop(&self, position: u16) -> Option<IpAddr> {
        match &self.kind {
            WaysKind::NextHops(hops) => {
                hops.iter().find(|hop| hop.position == position).map(|hop| hop.address)
            }
            WaysKind::Blackhole | WaysKind::Unreachable => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WaysKind {
    Blackhole,
    Unreachable,
    /// With `dev` there may be none.
    NextHops(Vec<WrittenHop>),
}

/// A next hop as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WrittenHop {
    pub(super) address: IpAddr,
    pub(super) weight: u16,
    /// Number in `via`.
    pub(super) position: u16,
}

/// Gives each different [`Ways`] a number.
#[derive(Default)]
pub(super) struct WaysTable(HashMap<Ways, u32>);

impl WaysTable {
    pub(super) fn number(&mut self, ways: Ways) -> u32 {
        // No document holds as many.
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(ways).or_insert(next)
    }

    fn into_list(self) -> Vec<Ways> {
        let mut list: Vec<(u32, Ways)> = self.0.into_iter().map(|(ways, number)| (number, ways)).collect();
        list.sort_unstable_by_key(|(number, _)| *number);
        list.into_iter().map(|(_, ways)| ways).collect()
    }
}

/// All routes as written.
#[derive(Default)]
pub(super) struct Written<'d> {
    pub(super) routes: Vec<WrittenRoute>,
    pub(super) ways: Vec<Ways>,
    /// The array in the tree.
    array: Option<&'d DeArray<'d>>,
    /// The whole document.
    text: &'d str,
}

/// Metric of a distance: 1 stands for the kernel's own default, and each step adds 1.
pub(super) fn metric_of_distance(distance: u32, is_ipv6: bool) -> (u32, bool) {
    (default_metric(is_ipv6) + distance.saturating_sub(1), distance != NEVER)
}

/// What the kernel takes where nothing is said. For IPv6 it takes 0 for its default.
pub(super) fn default_metric(is_ipv6: bool) -> u32 {
    if is_ipv6 { 1024 } else { 0 }
}

/// Reads `[[routes]]`: those in the tree, with those that were cut out before in their places.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>, plain: PlainRoutes<'d>) -> Written<'d> {
    let Some(mut node) = reader.take(root, "routes") else {
        return Written::default();
    };
    let Some(array) = reader.expect(&node, "an array", DeValue::as_array) else {
        return Written::default();
    };
    let count = array.len() + plain.cuts.iter().map(|cut| cut.blocks as usize).sum::<usize>();
    if count > MAX_ROUTES {
        reader.wrong_value(&node, format!("{count} entries; at most {MAX_ROUTES} are supported"));
        return Written::default();
    }
    // A place for each key of each route would take more memory than the routes.
    node.placed = false;
    let mut routes = Vec::with_capacity(count);
    let mut ways = plain.ways;
    let mut cut_out = plain.routes.into_iter();
    let mut cuts = plain.cuts.into_iter().peekable();
    let mut before = 0;
    for (number, item) in array.iter().enumerate() {
        let index = number + before;
        let item_node = reader.item(&node, index, item);
        let read = read_route(reader, &item_node, &mut ways);
        routes.extend(read.map(|read| WrittenRoute {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            place: item_node.place,
            source: Source::Tree(u32::try_from(number).unwrap_or(u32::MAX)),
            prefix: read.prefix,
            metric: read.metric,
            metric_known: read.metric_known,
            installed: read.installed,
            ways: read.ways,
        }));
        if let Some(cut) = cuts.next_if(|cut| cut.anchor == item.span().start) {
            let next = index + 1;
            let numbered = |(offset, route)| WrittenRoute {
                index: u32::try_from(next + offset).unwrap_or(u32::MAX),
                ..route
            };
            routes.extend(cut_out.by_ref().take(cut.routes as usize).enumerate().map(numbered));
            before += cut.blocks as usize;
        }
    }
    Written { routes, ways: ways.into_list(), array: Some(array), text: plain.text }
}

/// What [`read_route`] finds.
struct Read {
    prefix: IpNet,
    metric: u32,
    metric_known: bool,
    installed: bool,
    ways: u32,
}

fn read_route<'d>(reader: &mut Reader<'d>, node: &Node<'d>, ways: &mut WaysTable) -> Option<Read> {
    let section = reader.section(node, "routes[]")?;
    let prefix_node = reader.take(&section, "prefix");
    let prefix = prefix_node.as_ref().and_then(|node| reader.parsed(node, 64, parse_destination));
    let via_node = reader.take(&section, "via");
    let mut hops = via_node.as_ref().map(|node| read_via(reader, node, prefix)).unwrap_or_default();
    let dev = reader.take(&section, "dev").and_then(|node| reader.text(&node, 64));
    let vrf = reader.take(&section, "vrf").and_then(|node| reader.parsed(&node, 64, parse_vrf));
    let before = reader.count();
    let metric = read_metric(reader, &section, prefix);
    let metric_known = reader.count() == before;
    let blackhole = reader.flag(&section, "blackhole").unwrap_or(false);
    let unreachable = reader.flag(&section, "unreachable").unwrap_or(false);
    if let Some(weights) = reader.take(&section, "weights") {
        read_weights(reader, &weights, via_node.as_ref(), &mut hops);
    }
    let all_known = reader.finish(&section);
    if prefix_node.is_none() {
        reader.missing(node, all_known, "`prefix` is missing: the destination, such as \"0.0.0.0/0\"");
    }
    let goes_on = via_node.is_some() || dev.is_some();
    match (blackhole, unreachable, goes_on) {
        (true, true, _) => {
            reader.wrong_value(node, "a route is a blackhole or unreachable: remove one of the two");
        }
        (true, false, true) => {
            reader
                .wrong_value(node, "a blackhole route goes nowhere: remove `blackhole`, or `via` and `dev`");
        }
        (false, true, true) => {
            reader.wrong_value(
                node,
                "an unreachable route goes nowhere: remove `unreachable`, or `via` and `dev`",
            );
        }
        (false, false, false) => reader.missing(
            node,
            all_known,
            "the route goes nowhere: give `via`, `dev`, `blackhole = true` or `unreachable = true`",
        ),
        _ => {}
    }
    let prefix = prefix?;
    let kind = match (blackhole, unreachable) {
        (true, _) => WaysKind::Blackhole,
        (_, true) => WaysKind::Unreachable,
        _ => WaysKind::NextHops(hops),
    };
    let ways = ways.number(Ways { vrf, dev: dev.map(str::to_owned), kind });
    let (metric, installed) = metric.unwrap_or((default_metric(prefix.addr().is_ipv6()), true));
    Some(Read { prefix, metric, metric_known, installed, ways })
}

/// A destination: a prefix without host bits.
pub(super) fn parse_destination(text: &str) -> Result<IpNet, String> {
    let net = layer3::parse_prefixed(text)?;
    if net.trunc() != net {
        return Err(format!(
            "{net} has bits beyond its prefix length: write {} (or {} for the host)",
            net.trunc(),
            IpNet::from(net.addr())
        ));
    }
    if net.addr().is_multicast() || net.addr().is_loopback() {
        return Err(format!("{net} cannot be routed: it is multicast or loopback"));
    }
    Ok(net)
}

/// Whether the VRF exists is asked later, of all routes at once.
fn parse_vrf(text: &str) -> Result<String, String> {
    names::check_interface_name(text).map(|()| text.to_owned())
}

fn read_via<'d>(reader: &mut Reader<'d>, node: &Node<'d>, prefix: Option<IpNet>) -> Vec<WrittenHop> {
    if node.value.as_array().is_some_and(|array| array.is_empty()) {
        reader.wrong_value(
            node,
            "no next hop: list at least one, or write `blackhole = true` instead of `via`",
        );
    }
    let mut hops: Vec<WrittenHop> = Vec::new();
    for (position, item) in (0_u16..).zip(reader.one_or_many(node, MAX_NEXT_HOPS)) {
        let Some(address) = reader.parsed(&item, 64, layer3::parse_host_address) else {
            continue;
        };
        if prefix.is_some_and(|prefix| prefix.addr().is_ipv4() != address.is_ipv4()) {
            reader.wrong_value(&item, format!("next hop {address} is not of the same family as the prefix"));
        } else if hops.iter().any(|known| known.address == address) {
            reader.wrong_value(
                &item,
                format!("next hop {address} is listed twice; use `weights` for unequal shares"),
            );
        } else {
            hops.push(WrittenHop { address, weight: 1, position });
        }
    }
    hops
}

/// Reads `metric` or `distance`; answers the metric, and whether the route is to be installed.
fn read_metric<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    prefix: Option<IpNet>,
) -> Option<(u32, bool)> {
    let is_ipv6 = prefix.is_some_and(|prefix| prefix.addr().is_ipv6());
    let metric_node = reader.take(section, "metric");
    let distance_node = reader.take(section, "distance");
    if let (Some(_), Some(distance)) = (&metric_node, &distance_node) {
        reader.wrong_value(distance, "`distance` and `metric` say the same: keep one of the two");
    }
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
    let metric =
        metric_node.and_then(|node| number(reader.integer(&node, i64::from(is_ipv6)..=i64::from(u32::MAX))));
    let distance = distance_node.and_then(|node| number(reader.integer(&node, 1..=i64::from(NEVER))));
    metric.map(|metric| (metric, true)).or(distance.map(|distance| metric_of_distance(distance, is_ipv6)))
}

fn read_weights<'d>(
    reader: &mut Reader<'d>,
    node: &Node<'d>,
    via: Option<&Node<'d>>,
    hops: &mut [WrittenHop],
) {
    let items = reader.array(node, MAX_NEXT_HOPS);
    let read = |item: &Node<'d>| reader.integer(item, 1..=256).and_then(|weight| u16::try_from(weight).ok());
    let weights: Vec<Option<u16>> = items.iter().map(read).collect();
    let written = via.map_or(0, |via| via.value.as_array().map_or(1, |array| array.len()));
    if items.len() != written {
        reader.wrong_value(node, format!("{} weights for {written} next hops: give one each", items.len()));
    }
    for hop in hops {
        hop.weight = weights.get(usize::from(hop.position)).copied().flatten().unwrap_or(1);
    }
}

/// A part of a route that only all objects together show to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Vrf,
    Dev,
    /// The next hop of this position.
    Via(u16),
}

impl Part {
    /// Byte offset of the part's value, and its path within the route.
    fn find(self, route: &DeValue<'_>) -> Option<(usize, String)> {
        let table = route.as_table()?;
        let value = |key: &str| table.get(key);
        Some(match self {
            Part::Vrf => (value("vrf")?.span().start, ".vrf".to_owned()),
            Part::Dev => (value("dev")?.span().start, ".dev".to_owned()),
            Part::Via(position) => {
                let via = value("via")?;
                match via.get_ref().as_array() {
                    None => (via.span().start, ".via".to_owned()),
                    Some(array) => {
                        let item = array.get(usize::from(position))?;
                        (item.span().start, format!(".via[{position}]"))
                    }
                }
            }
        })
    }
}

impl WrittenRoute {
    /// Path of the route in the document.
    pub(super) fn path(&self) -> String {
        format!("routes[{}]", self.index)
    }
}

impl Written<'_> {
    /// Place and path of a part of a route.
    pub(super) fn locate(&self, route: &WrittenRoute, part: Part, reader: &Reader<'_>) -> (Place, String) {
        let found = match route.source {
            Source::Tree(number) => self
                .array
                .and_then(|array| part.find(array.get(number as usize)?.get_ref()))
                .map(|(offset, path)| (reader.lines.place(offset), path)),
            Source::Text(offset) => super::plain_routes::read_again(self.text, offset, |lines, block| {
                let (offset, path) = part.find(block)?;
                let Place { line, column } = lines.place(offset);
                Some((Place { line: line + route.place.line - 1, column }, path))
            }),
        };
        match found {
            Some((place, path)) => (place, route.path() + &path),
            None => (route.place, route.path()),
        }
    }
}
