//! Routes: what is wanted, what the kernel has, what the hardware makes of it.
//!
//! There may be a million: they are written as the kernel shows them, VRF by VRF, and none is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::ControlFlow;

use netd_api::state::{NextHop, Route};
use nix::libc;

use super::View;
use super::query::Query;
use super::stream::{StreamError, Writer};
use crate::alarms::hardware::is_alarm;
use crate::kernel::Connection;
use crate::kernel::held_route::is_held;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::plan;
use crate::platform::MANAGEMENT;

const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
const LOCAL: u32 = libc::RT_TABLE_LOCAL as u32;
const FAMILIES: [i32; 2] = [libc::AF_INET, libc::AF_INET6];

/// What does not change from one route to the next.
struct Context<'a> {
    view: &'a View<'a>,
    query: &'a Query,
    /// Links out of which only the processor sends packets.
    software: BTreeSet<&'a str>,
    /// Which of the intended routes the kernel has, by their places.
    seen: Vec<bool>,
    /// Where the last one of those was: the kernel's order is nearly that of the intended ones.
    cursor: usize,
}

impl View<'_> {
    /// Writes the routes that are asked for: VRF by VRF, the default one first; those that are intended and not in the
    /// kernel at the end of their VRF's.
    pub(super) fn write_routes(
        &self,
        connection: &mut Connection,
        query: &Query,
        out: &mut Writer<'_>,
    ) -> Result<(), StreamError> {
        let mut context = Context {
            view: self,
            query,
            software: self.software_links(),
            seen: vec![false; self.desired.routes.len()],
            cursor: 0,
        };
        if query.addresses.is_some() {
            return self.write_lookups(connection, &mut context, out);
        }
        let vrfs = self.vrfs();
        let mut by_name: Vec<(&str, u32)> =
            vrfs.iter().map(|(table, name)| (name.as_str(), *table)).collect();
        by_name.sort_unstable();
        for (vrf, table) in by_name.into_iter().filter(|(vrf, _)| query.takes_vrf(vrf)) {
            for family in FAMILIES {
                let mut loopbacks = match table {
                    MAIN => self.loopback_routes(connection, family)?.into_iter().peekable(),
                    _ => Vec::new().into_iter().peekable(),
                };
                route::stream(connection, family, table, query.only_protocol(), |record| {
                    if self.is_hidden(record) {
                        return ControlFlow::Continue(());
                    }
                    while let Some(before) = loopbacks.next_if(|before| before.prefix <= record.prefix) {
                        context.write(&before, vrf, out)?;
                    }
                    context.write(record, vrf, out)
                })?;
                for left in loopbacks {
                    let _ = context.write(&left, vrf, out);
                }
                out.check()?;
            }
            context.write_missing(&self.desired.routes, |key| key.table == table, |_| vrf.to_owned(), out);
            out.check()?;
        }
        // Those of VRFs the kernel does not have.
        let elsewhere = |key: &plan::RouteKey| !vrfs.contains_key(&key.table);
        context.write_missing(&self.desired.routes, elsewhere, |table| self.table_name(table, &vrfs), out);
        out.check()
    }

    /// Writes the routes that packets to addresses take, in each VRF that is asked for.
    fn write_lookups(
        &self,
        connection: &mut Connection,
        context: &mut Context<'_>,
        out: &mut Writer<'_>,
    ) -> Result<(), StreamError> {
        let query = context.query;
        let vrfs = self.interfaces.links.values().filter(|link| link.kind == "vrf");
        let mut vrfs: Vec<(&str, u32, Option<u32>)> =
            vrfs.map(|link| (link.name.as_str(), link.table, Some(link.index))).collect();
        vrfs.push(("", MAIN, None));
        vrfs.sort_unstable();
        for (vrf, table, index) in vrfs.into_iter().filter(|(vrf, ..)| query.takes_vrf(vrf)) {
            let mut found: Vec<RouteRecord> = Vec::new();
            for address in query.addresses.iter().flatten() {
                // Where no VRF's device stands, the kernel may look into the VRF of the device a route leads to.
                let by_kernel = route::lookup(connection, *address, index)?
                    .filter(|record| record.table == table || index.is_none() && record.table == LOCAL);
                let mut record = match by_kernel {
                    Some(record) => Some(record),
                    None => longest_match(connection, *address, table)?,
                };
                // Held for a moment in the place of the kernel's own.
                if let Some(record) = record.as_mut().filter(|record| is_held(record)) {
                    (record.protocol, record.metric) = (libc::RTPROT_KERNEL, 0);
                }
                // Where packets go is decided among the routes of all protocols.
                found.extend(record.filter(|record| query.takes_protocol(record.protocol)));
            }
            found.sort_by_key(RouteRecord::key);
            found.dedup();
            for record in &found {
                let _ = context.write(record, vrf, out);
            }
            out.check()?;
        }
        Ok(())
    }

    /// Routes to the addresses of loopbacks, by rising prefixes: no connected route tells of them.
    fn loopback_routes(
        &self,
        connection: &mut Connection,
        family: i32,
    ) -> Result<Vec<RouteRecord>, StreamError> {
        let mut routes = Vec::new();
        route::stream(connection, family, LOCAL, None, |record| {
            if self.is_loopback_address(record) && !is_held(record) {
                routes.push(record.clone());
            }
            ControlFlow::Continue(())
        })?;
        routes.sort_by_key(|route| route.prefix);
        Ok(routes)
    }

    /// Whether a route is one of the switch's own addresses, or a broadcast one. In a VRF these stand beside the others.
    /// One that is held stands behind one of the kernel's.
    fn is_hidden(&self, record: &RouteRecord) -> bool {
        let own = [libc::RTN_LOCAL, libc::RTN_BROADCAST, libc::RTN_ANYCAST, libc::RTN_MULTICAST]
            .contains(&record.kind);
        is_held(record) || own && !self.is_loopback_address(record)
    }

    /// VRF names by routing table; the main table has the empty name.
    fn vrfs(&self) -> BTreeMap<u32, String> {
        let vrfs = self.interfaces.links.values().filter(|link| link.kind == "vrf");
        vrfs.map(|link| (link.table, link.name.clone())).chain([(MAIN, String::new())]).collect()
    }

    /// Whether a route leads to a loopback's own address.
    fn is_loopback_address(&self, record: &RouteRecord) -> bool {
        let of_loopback =
            |index: u32| self.interfaces.links.get(&index).is_some_and(|link| link.kind == "dummy");
        record.kind == libc::RTN_LOCAL && record.next_hops.first().is_some_and(|hop| of_loopback(hop.index))
    }

    /// Links out of which only the processor sends packets: ports that no ASIC has, and workloads' ports.
    fn software_links(&self) -> BTreeSet<&str> {
        let is_port = |name: &str| self.ports.contains(name) || name == MANAGEMENT;
        let links = self.interfaces.links.values();
        let ports = links.filter(|link| link.switch_id.is_empty() && is_port(&link.name));
        let workloads = self.attachments.values().map(|record| record.port.as_str());
        ports.map(|link| link.name.as_str()).chain(workloads).collect()
    }

    fn table_name(&self, table: u32, vrfs: &BTreeMap<u32, String>) -> String {
        let configured =
            || self.config.vrfs.iter().find(|(_, vrf)| vrf.table == table).map(|(name, _)| name.clone());
        vrfs.get(&table).cloned().or_else(configured).unwrap_or_default()
    }

    fn route(&self, record: &RouteRecord, vrf: &str, wanted: bool, alarm: bool) -> Route {
        let hop = |hop: &route::NextHopRecord| NextHop {
            via: hop.via.map(|via| via.to_string()).unwrap_or_default(),
            device: self.interfaces.name(hop.index).to_owned(),
            weight: hop.weight,
            dead: hop.is_dead(),
        };
        Route {
            prefix: record.prefix.to_string(),
            vrf: vrf.to_owned(),
            protocol: route::protocol_name(record.protocol),
            kind: route::kind_name(record.kind).to_owned(),
            metric: record.metric,
            // IPv6 gives even a blackhole the device `lo`.
            next_hops: record
                .next_hops
                .iter()
                .filter(|_| matches!(record.kind, libc::RTN_UNICAST | libc::RTN_LOCAL))
                .map(hop)
                .collect(),
            wanted,
            kernel: true,
            hardware: record.hardware().to_owned(),
            alarm,
        }
    }

    /// A route that is wanted and not there.
    fn missing_route(&self, route: &plan::Route, vrf: String) -> Route {
        let kind = match route.target {
            plan::RouteTarget::Blackhole => "blackhole",
            plan::RouteTarget::Unreachable => "unreachable",
            plan::RouteTarget::Object(_) | plan::RouteTarget::NextHops(_) => "unicast",
        };
        Route {
            prefix: route.key.prefix.to_string(),
            vrf,
            protocol: route::protocol_name(OWN_PROTOCOL),
            kind: kind.to_owned(),
            metric: route.key.metric,
            next_hops: self.wanted_hops(&route.target),
            wanted: true,
            kernel: false,
            hardware: "software".to_owned(),
            alarm: false,
        }
    }

    fn wanted_hops(&self, target: &plan::RouteTarget) -> Vec<NextHop> {
        let hop = |via: Option<IpAddr>, device: &str, weight: u16| NextHop {
            via: via.map(|via| via.to_string()).unwrap_or_default(),
            device: device.to_owned(),
            weight,
            dead: true,
        };
        let object = |id: &plan::NextHopId, weight: u16| match self.desired.next_hops.get(id) {
            Some(plan::NextHopObject::Single { via, device, .. }) => Some(hop(*via, device, weight)),
            _ => None,
        };
        match target {
            plan::RouteTarget::Blackhole | plan::RouteTarget::Unreachable => Vec::new(),
            plan::RouteTarget::NextHops(hops) => {
                hops.iter().map(|way| hop(way.via, &way.device, way.weight)).collect()
            }
            plan::RouteTarget::Object(id) => match self.desired.next_hops.get(id) {
                Some(plan::NextHopObject::Group(members)) => {
                    members.iter().filter_map(|(id, weight)| object(id, *weight)).collect()
                }
                _ => object(id, 1).into_iter().collect(),
            },
        }
    }
}

/// The route of a table with the longest prefix that holds an address, and of those the one with the lowest metric
/// (RFC 1812 5.2.4.3).
fn longest_match(
    connection: &mut Connection,
    address: IpAddr,
    table: u32,
) -> Result<Option<RouteRecord>, StreamError> {
    let mut best: Option<RouteRecord> = None;
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let rank = |record: &RouteRecord| (record.prefix.prefix_len(), u32::MAX - record.metric);
    route::stream(connection, family, table, None, |record| {
        let better = best.as_ref().is_none_or(|best| rank(record) > rank(best));
        if record.prefix.contains(&address) && better {
            best = Some(record.clone());
        }
        ControlFlow::Continue(())
    })?;
    Ok(best)
}

impl Context<'_> {
    /// Writes a route of the kernel's, if it is asked for.
    fn write(&mut self, record: &RouteRecord, vrf: &str, out: &mut Writer<'_>) -> ControlFlow<()> {
        let place = match record.protocol {
            OWN_PROTOCOL => self.intended(&record.key()),
            _ => None,
        };
        if let Some(place) = place {
            self.seen[place] = true;
        }
        if !self.query.takes_prefix(&record.prefix) || !self.query.takes_protocol(record.protocol) {
            return ControlFlow::Continue(());
        }
        let desired = self.view.desired;
        let is_software = |name: &str| self.software.contains(name);
        let alarm = place
            .is_some_and(|place| is_alarm(desired, &desired.routes[place], record.hardware(), is_software));
        out.row(&self.view.route(record, vrf, place.is_some(), alarm))
    }

    /// The place of an intended route.
    fn intended(&mut self, key: &plan::RouteKey) -> Option<usize> {
        let routes = &self.view.desired.routes;
        if routes.get(self.cursor).is_none_or(|next| next.key != *key) {
            self.cursor = routes.binary_search_by(|route| route.key.cmp(key)).ok()?;
        }
        let place = self.cursor;
        self.cursor += 1;
        Some(place)
    }

    /// Writes intended routes that the kernel does not have.
    fn write_missing(
        &mut self,
        routes: &[plan::Route],
        of_table: impl Fn(&plan::RouteKey) -> bool,
        vrf: impl Fn(u32) -> String,
        out: &mut Writer<'_>,
    ) {
        if !self.query.takes_protocol(OWN_PROTOCOL) {
            return;
        }
        for (route, _) in
            routes.iter().zip(&self.seen).filter(|(route, seen)| !**seen && of_table(&route.key))
        {
            let vrf = vrf(route.key.table);
            let asked = self.query.takes_prefix(&route.key.prefix) && self.query.takes_vrf(&vrf);
            if asked && out.row(&self.view.missing_route(route, vrf)).is_break() {
                return;
            }
        }
    }
}
