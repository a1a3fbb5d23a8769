//! Default routes of each VRF and family, with the number of next hops that can be used.
//!
//! There may be a million routes beside them, so the kernel is not asked for all: IPv4 shows the default route first,
//! and of IPv6 it is asked where packets to addresses go that are nobody's.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;

use nix::libc;

use super::facts::Facts;
use super::{Kind, Look, Unreadable};
use crate::kernel::route::{self, RouteRecord};
use crate::kernel::{Connection, KernelError};
use crate::route_name;

const MAIN: u32 = libc::RT_TABLE_MAIN as u32;

/// How often a table is read before it cannot be.
const TRIES: u32 = 4;
/// Addresses of three blocks that the IETF holds back (RFC 4291 2.4): only a default route leads there. One whose
/// block somebody drops leaves two.
const NOBODYS: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xc000, 0, 0, 0, 0, 0, 0, 1),
];

/// See the module.
pub struct DefaultRoutes;

impl Kind for DefaultRoutes {
    fn name(&self) -> &'static str {
        "default-route"
    }

    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable> {
        let vrfs = look.links.values().filter(|link| link.kind == "vrf");
        let vrfs = vrfs.map(|link| (Some(link.name.as_str()), link.table, Some(link.index)));
        let vrfs: Vec<_> = vrfs.chain([(None, MAIN, None)]).collect();
        let mut facts = Facts::default();
        for (vrf, table, index) in vrfs {
            if let Some(route) = ipv4(table)? {
                facts.add(route_name::in_vrf("0.0.0.0/0", vrf), usable(&route));
            }
            if let Some(route) = ipv6(look.connection, table, index)? {
                facts.add(route_name::in_vrf("::/0", vrf), usable(&route));
            }
        }
        Ok(facts)
    }
}

/// Whether a route is one that packets to anywhere take.
fn is_default(record: &RouteRecord) -> bool {
    record.prefix.prefix_len() == 0 && record.kind == libc::RTN_UNICAST
}

fn usable(record: &RouteRecord) -> u64 {
    record.next_hops.iter().filter(|hop| !hop.is_dead()).count() as u64
}

/// The default route of a table: that of the lowest metric that has a next hop. It stands before all routes to other addresses, and the
/// rest is not waited for, which the connection does not survive.
fn ipv4(table: u32) -> Result<Option<RouteRecord>, KernelError> {
    // Changes of other routes may interrupt it.
    let mut tries = 1..TRIES;
    loop {
        match first_ipv4(table) {
            Err(_) if tries.next().is_some() => {}
            found => return found,
        }
    }
}

fn first_ipv4(table: u32) -> Result<Option<RouteRecord>, KernelError> {
    let mut connection = Connection::open()?;
    let mut best: Option<RouteRecord> = None;
    route::stream(&mut connection, libc::AF_INET, table, None, |record| {
        if !record.prefix.addr().is_unspecified() {
            return ControlFlow::Break(());
        }
        let leads_on = is_default(record) && usable(record) > 0;
        if leads_on && best.as_ref().is_none_or(|best| record.metric < best.metric) {
            best = Some(record.clone());
        }
        ControlFlow::Continue(())
    })?;
    Ok(best)
}

fn ipv6(
    connection: &mut Connection,
    table: u32,
    vrf: Option<u32>,
) -> Result<Option<RouteRecord>, KernelError> {
    for address in NOBODYS {
        let found = match route::lookup(connection, IpAddr::V6(address), vrf) {
            // A kernel without IPv6 has no such route.
            Err(error) if error.is_unsupported() => None,
            found => found?,
        };
        if let Some(route) = found.filter(|route| route.table == table && is_default(route)) {
            return Ok(Some(route));
        }
    }
    Ok(None)
}
