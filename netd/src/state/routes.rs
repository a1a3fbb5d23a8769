//! Routes: what is wanted, what the kernel has, what the hardware makes of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::state::{NextHop, Route};
use nix::libc;

use super::{View, address_key};
use crate::alarms::is_alarm;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::plan;
use crate::platform::MANAGEMENT;

impl View<'_> {
    /// VRF names by routing table; the main table has the empty name.
    fn vrfs(&self) -> BTreeMap<u32, String> {
        let vrfs = self.interfaces.links.values().filter(|link| link.kind == "vrf");
        let main = (u32::from(libc::RT_TABLE_MAIN), String::new());
        vrfs.map(|link| (link.table, link.name.clone())).chain([main]).collect()
    }

    /// Routes of all VRFs, with their sort keys; wanted ones that the kernel lacks included.
    pub fn route_rows(&self, records: &[RouteRecord]) -> Vec<(String, Route)> {
        let vrfs = self.vrfs();
        let mut missing: BTreeMap<&plan::RouteKey, &plan::Route> =
            self.desired.routes.iter().map(|route| (&route.key, route)).collect();
        let mut rows = Vec::new();
        for record in records {
            let hidden = matches!(
                record.kind,
                libc::RTN_LOCAL | libc::RTN_BROADCAST | libc::RTN_ANYCAST | libc::RTN_MULTICAST
            );
            // Of the switch's own addresses those of loopbacks are shown: no connected route tells of them.
            let (hidden, table) = match self.is_loopback_address(record) {
                true if record.table == u32::from(libc::RT_TABLE_LOCAL) => {
                    (false, libc::RT_TABLE_MAIN.into())
                }
                true => (false, record.table),
                false => (hidden, record.table),
            };
            let Some(vrf) = vrfs.get(&table).filter(|_| !hidden) else {
                continue;
            };
            let key = plan::RouteKey { table: record.table, prefix: record.prefix, metric: record.metric };
            let wanted = if record.protocol == OWN_PROTOCOL { missing.remove(&key) } else { None };
            rows.push((
                route_key(vrf, &record.prefix, record.metric, record.protocol),
                self.route(record, vrf, wanted),
            ));
        }
        for (key, route) in missing {
            let vrf = self.table_name(key.table, &vrfs);
            let row = self.missing_route(route, vrf);
            rows.push((route_key(&row.vrf, &key.prefix, key.metric, OWN_PROTOCOL), row));
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    }

    /// Whether a route leads to a loopback's own address.
    fn is_loopback_address(&self, record: &RouteRecord) -> bool {
        let of_loopback =
            |index: u32| self.interfaces.links.get(&index).is_some_and(|link| link.kind == "dummy");
        record.kind == libc::RTN_LOCAL && record.next_hops.first().is_some_and(|hop| of_loopback(hop.index))
    }

    fn table_name(&self, table: u32, vrfs: &BTreeMap<u32, String>) -> String {
        let configured =
            || self.config.vrfs.iter().find(|(_, vrf)| vrf.table == table).map(|(name, _)| name.clone());
        vrfs.get(&table).cloned().or_else(configured).unwrap_or_default()
    }

    /// Whether only the processor sends packets out of a link.
    fn is_software(&self, name: &str) -> bool {
        let port = self.ports.contains(name) || name == MANAGEMENT;
        port && self.interfaces.by_name(name).is_some_and(|link| link.switch_id.is_empty())
            || self.attachments.values().any(|record| record.port == name)
    }

    fn route(&self, record: &RouteRecord, vrf: &str, wanted: Option<&plan::Route>) -> Route {
        let is_software = |name: &str| self.is_software(name);
        let alarm = wanted.is_some_and(|route| is_alarm(self.desired, route, record.hardware(), is_software));
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
            wanted: wanted.is_some(),
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

fn route_key(vrf: &str, prefix: &IpNet, metric: u32, protocol: u8) -> String {
    format!("{vrf} {}/{:03} {metric:010} {protocol:03}", address_key(prefix.addr()), prefix.prefix_len())
}
