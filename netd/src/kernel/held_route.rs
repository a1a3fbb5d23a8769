//! Routes that stand behind those of the kernel while addresses change their order
//! ([`HeldRoute`](crate::plan::HeldRoute)).
//!
//! That to an IPv4 address is no route alone: without the address itself the switch answers no question for it (ARP), and
//! in a VRF it cannot speak as it (`__ip_dev_find` looks for routes in the local table alone). The address is there twice
//! meanwhile, with two prefix lengths.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use super::address::{self, AddressRecord, HELD_PROTOCOL};
use super::connection::Connection;
use super::extack::KernelError;
use super::names::Names;
use super::route::{self, HEADER_LEN, OWN_PROTOCOL, RouteRecord};
use super::wire::Message;
use crate::plan::{Action, HeldRoute};

/// The best metric that is worse than that of the kernel's own: 0, and of subnets of IPv6 256 (`IP6_RT_PRIO_ADDRCONF`).
/// Of those the kernel removes the best one, whoever's it is (`addrconf_get_prefix_route`).
const METRIC: u32 = 1;
const METRIC_OF_IPV6_SUBNET: u32 = 257;

/// How long the kernel may take for its route to an IPv6 address it was given: some milliseconds, if it has time.
const PATIENCE: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(1);

/// Holds a route out of the link with this index.
pub fn hold(index: u32, route: &HeldRoute) -> Message {
    if is_address(route) {
        return address::hold(index, &route.prefix);
    }
    let scope = if route.local { libc::RT_SCOPE_HOST } else { libc::RT_SCOPE_LINK };
    message(libc::RTM_NEWROUTE, libc::NLM_F_CREATE as u16, scope, index, route)
}

/// Releases it.
pub fn release(index: u32, route: &HeldRoute) -> Message {
    if is_address(route) {
        return address::delete(index, &route.prefix);
    }
    message(libc::RTM_DELROUTE, 0, libc::RT_SCOPE_NOWHERE, index, route)
}

/// Whether it is the kernel's route to an address that is held.
fn is_address(route: &HeldRoute) -> bool {
    route.local && route.prefix.addr().is_ipv4()
}

/// The route of a held address of a link whose addresses are in this table.
pub(super) fn of_address(record: &AddressRecord, table: u32) -> Option<HeldRoute> {
    record.is_held().then_some(HeldRoute { local: true, prefix: record.address, table })
}

/// Protocol, type and metric of a held route: by these it is known again.
fn marks(local: bool, is_ipv4: bool) -> (u8, u8, u32) {
    match (local, is_ipv4) {
        (true, _) => (OWN_PROTOCOL, libc::RTN_LOCAL, METRIC),
        (false, true) => (HELD_PROTOCOL, libc::RTN_UNICAST, METRIC),
        (false, false) => (HELD_PROTOCOL, libc::RTN_UNICAST, METRIC_OF_IPV6_SUBNET),
    }
}

fn message(kind: u16, flags: u16, scope: u8, index: u32, route: &HeldRoute) -> Message {
    let is_ipv4 = route.prefix.addr().is_ipv4();
    let family = if is_ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    let (protocol, of, metric) = marks(route.local, is_ipv4);
    let table = libc::RT_TABLE_UNSPEC;
    let header: [u8; HEADER_LEN] =
        [family as u8, route.prefix.prefix_len(), 0, 0, table, protocol, scope, of, 0, 0, 0, 0];
    Message::new(kind, flags, &header)
        .ip(libc::RTA_DST, route.prefix.addr())
        .u32(libc::RTA_TABLE, route.table)
        .u32(libc::RTA_PRIORITY, metric)
        .u32(libc::RTA_OIF, index)
}

/// Whether a route is held by netd.
pub fn is_held(record: &RouteRecord) -> bool {
    of_ipv6_address(record).or_else(|| of_subnet(record)).is_some()
}

/// The held route to an IPv6 address, with its link's index.
pub(super) fn of_ipv6_address(record: &RouteRecord) -> Option<(u32, HeldRoute)> {
    read(record, true)
}

/// The held route to a subnet, with its link's index.
pub(super) fn of_subnet(record: &RouteRecord) -> Option<(u32, HeldRoute)> {
    read(record, false)
}

fn read(record: &RouteRecord, local: bool) -> Option<(u32, HeldRoute)> {
    let marks = marks(local, record.prefix.addr().is_ipv4());
    if (record.protocol, record.kind, record.metric) != marks {
        return None;
    }
    let index = record.next_hops.first()?.index;
    Some((index, HeldRoute { local, prefix: record.prefix, table: record.table }))
}

/// Before routes are released: waits until the kernel has its own. Of IPv6 it acknowledges an address before it sets the
/// route to it (`addrconf_dad_work`). An address that is gone has none, and one of which it takes the kernel too long is
/// not waited for any longer.
pub(super) fn wait(connection: &mut Connection, names: &mut Names, actions: &[&Action]) {
    let mut waiting: Vec<(u32, IpAddr)> = Vec::new();
    for action in actions {
        if let Action::ReleaseRoute { link, route, .. } = action
            && route.local
            && route.prefix.addr().is_ipv6()
            && let Ok(index) = names.index(link)
        {
            waiting.push((index, route.prefix.addr()));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while !waiting.is_empty() {
        if let Err(error) = drop_answered(connection, &mut waiting) {
            return tracing::warn!("waiting for routes to addresses: {error}");
        }
        if waiting.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            let late: Vec<String> = waiting.iter().map(|(_, address)| address.to_string()).collect();
            return tracing::warn!("the kernel set no route to {} within {PATIENCE:?}", late.join(", "));
        }
        thread::sleep(INTERVAL);
    }
}

/// Leaves the addresses to which there is only the held route.
fn drop_answered(connection: &mut Connection, waiting: &mut Vec<(u32, IpAddr)>) -> Result<(), KernelError> {
    let addresses = address::dump(connection)?;
    let mut left = Vec::new();
    for (index, address) in waiting.drain(..) {
        let is_there = addresses.iter().any(|row| row.index == index && row.address.addr() == address);
        let is_held = |record: Option<RouteRecord>| record.is_some_and(|record| is_held(&record));
        if is_there && is_held(route::lookup(connection, address, Some(index))?) {
            left.push((index, address));
        }
    }
    *waiting = left;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_routes_read_back_as_they_were_written() {
        for (prefix, local, metric) in [
            ("10.0.0.0/24", false, METRIC),
            ("2001:db8::1/128", true, METRIC),
            ("2001:db8::/64", false, METRIC_OF_IPV6_SUBNET),
        ] {
            let route = HeldRoute { local, prefix: prefix.parse().expect("a prefix"), table: 1001 };
            let record = RouteRecord::parse(&hold(3, &route).finish(1, 0)[16..]).expect("a route");
            assert_eq!(
                (of_ipv6_address(&record), record.metric),
                (local.then_some((3, route)), metric),
                "{prefix}"
            );
            assert_eq!(of_subnet(&record), (!local).then_some((3, route)), "{prefix}");
            assert!(is_held(&record), "{prefix}");
            let of_others = RouteRecord { metric: 20, ..record };
            assert!(!is_held(&of_others), "{prefix}");
        }
    }

    #[test]
    fn held_ipv4_address_reads_back_as_it_was_written() {
        let route = HeldRoute { local: true, prefix: "10.0.0.1/31".parse().expect("a prefix"), table: 1001 };
        let record = AddressRecord::parse(&hold(3, &route).finish(1, 0)[16..]).expect("an address");
        assert_eq!((record.index, of_address(&record, 1001)), (3, Some(route)));
        assert_eq!(record.flags, libc::IFA_F_NOPREFIXROUTE);
        let of_others = AddressRecord { protocol: OWN_PROTOCOL, ..record };
        assert_eq!(of_address(&of_others, 1001), None);
    }
}
