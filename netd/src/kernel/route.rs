//! Routes: `RTM_GETROUTE`, `RTM_NEWROUTE`, `RTM_DELROUTE`.
//!
//! There may be a million of them: reading one takes no memory of its own, writing one takes one allocation.

use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::multipath::{self, RTNH_F_OFFLOAD, RTNH_F_ONLINK, RTNH_F_TRAP};
use super::wire::{Message, attributes, read_ip, read_u32};
use crate::plan::{NextHopId, RouteKey, RouteTarget};

pub use super::multipath::{NextHopRecord, ResolvedNextHop};

/// `rtm_protocol` of the routes netd sets, and what marks its other objects. Its name for iproute2 is in the
/// image's rt_protos.d.
pub const OWN_PROTOCOL: u8 = 199;

/// An attribute libc lacks (linux/rtnetlink.h).
const RTA_NH_ID: u16 = 30;
/// Flags of a route (linux/rtnetlink.h).
const RTM_F_CLONED: u32 = 0x200;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTM_F_OFFLOAD: u32 = 0x4000;
pub(super) const RTM_F_TRAP: u32 = 0x8000;
pub(super) const RTM_F_OFFLOAD_FAILED: u32 = 0x2000_0000;
/// Length of `struct rtmsg`.
pub(super) const HEADER_LEN: usize = 12;

/// A route as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRecord {
    /// Destination.
    pub prefix: IpNet,
    /// Routing table.
    pub table: u32,
    /// Metric; lower wins.
    pub metric: u32,
    /// `RTPROT_…`.
    pub protocol: u8,
    /// `RTN_…`.
    pub kind: u8,
    /// `RTM_F_…`.
    pub flags: u32,
    /// The next hop object it leads to.
    pub object: Option<NextHopId>,
    /// Ways out; where there is an object, those of the object.
    pub next_hops: Vec<NextHopRecord>,
}

impl RouteRecord {
    /// What tells it from the other routes of its protocol.
    pub fn key(&self) -> RouteKey {
        RouteKey { table: self.table, prefix: self.prefix, metric: self.metric }
    }

    /// What the hardware did with it: `offloaded`, `trapped`, `failed` or `software`.
    pub fn hardware(&self) -> &'static str {
        let hop = |flag| self.next_hops.iter().any(|hop| hop.flags & flag != 0);
        if self.flags & RTM_F_OFFLOAD_FAILED != 0 {
            "failed"
        } else if self.flags & RTM_F_TRAP != 0 || hop(RTNH_F_TRAP) {
            "trapped"
        } else if self.flags & RTM_F_OFFLOAD != 0 || hop(RTNH_F_OFFLOAD) {
            "offloaded"
        } else {
            "software"
        }
    }

    /// Whether the hardware told that it does not forward by the route: it traps packets to the processor, or
    /// could not take the route.
    pub fn is_alarming(&self) -> bool {
        ["failed", "trapped"].contains(&self.hardware())
    }

    /// Reads the payload of an `RTM_NEWROUTE` or `RTM_DELROUTE`; `None` for cached ones and other families.
    pub fn parse(payload: &[u8]) -> Option<RouteRecord> {
        let mut record = RouteRecord::default();
        record.read(payload)?;
        Some(record)
    }

    /// Like [`RouteRecord::parse`], into a record whose memory is used again.
    pub fn read(&mut self, payload: &[u8]) -> Option<()> {
        let header = payload.get(..HEADER_LEN)?;
        let mut destination = match i32::from(header[0]) {
            libc::AF_INET => IpAddr::from([0; 4]),
            libc::AF_INET6 => IpAddr::from([0; 16]),
            _ => return None,
        };
        self.flags = read_u32(&header[8..]);
        if self.flags & RTM_F_CLONED != 0 {
            return None;
        }
        self.table = u32::from(header[4]);
        self.protocol = header[5];
        self.kind = header[7];
        self.metric = 0;
        self.object = None;
        self.next_hops.clear();
        let mut single = NextHopRecord { weight: 1, flags: self.flags, ..NextHopRecord::default() };
        for (kind, value) in attributes(&payload[HEADER_LEN..]) {
            match kind {
                libc::RTA_DST => destination = read_ip(value)?,
                libc::RTA_TABLE => self.table = read_u32(value),
                libc::RTA_PRIORITY => self.metric = read_u32(value),
                libc::RTA_OIF => single.index = read_u32(value),
                libc::RTA_MULTIPATH => multipath::read(value, &mut self.next_hops),
                RTA_NH_ID => self.object = Some(NextHopId(read_u32(value))),
                _ => multipath::read_gateway(kind, value, &mut single),
            }
        }
        if self.next_hops.is_empty() && (single.via.is_some() || single.index != 0) {
            self.next_hops.push(single);
        }
        self.prefix = IpNet::new(destination, header[1]).ok()?;
        Some(())
    }
}

/// Routes of both families; with `protocol`, only those the kernel holds for it.
pub fn dump(connection: &mut Connection, protocol: Option<u8>) -> Result<Vec<RouteRecord>, KernelError> {
    dump_with(connection, protocol, |record| Some(record.clone()))
}

/// What `each` makes of the routes of both families, which are shown to it one after the other.
pub fn dump_with<T>(
    connection: &mut Connection,
    protocol: Option<u8>,
    mut each: impl FnMut(&RouteRecord) -> Option<T>,
) -> Result<Vec<T>, KernelError> {
    let mut rows = Vec::new();
    let mut record = RouteRecord::default();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = [family as u8, 0, 0, 0, 0, protocol.unwrap_or(0), 0, 0, 0, 0, 0, 0];
        let query = Message::new(libc::RTM_GETROUTE, 0, &header);
        let part = connection.dump(&query, |kind, payload| {
            let read = kind == libc::RTM_NEWROUTE && record.read(payload).is_some();
            let wanted = read && protocol.is_none_or(|protocol| record.protocol == protocol);
            if wanted { each(&record) } else { None }
        });
        match part {
            Ok(part) if rows.is_empty() => rows = part,
            Ok(part) => rows.extend(part),
            // A filter that no table matches answers ENOENT.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

/// Shows the routes of one family (`AF_INET…`) in one table to `each` as the kernel goes through them, by rising
/// prefixes; with `protocol`, only those of that. A table the kernel does not have has none.
pub fn stream(
    connection: &mut Connection,
    family: i32,
    table: u32,
    protocol: Option<u8>,
    mut each: impl FnMut(&RouteRecord) -> ControlFlow<()>,
) -> Result<(), KernelError> {
    let mut record = RouteRecord::default();
    let header = [family as u8, 0, 0, 0, 0, protocol.unwrap_or(0), 0, 0, 0, 0, 0, 0];
    let query = Message::new(libc::RTM_GETROUTE, 0, &header).u32(libc::RTA_TABLE, table);
    let outcome = connection.stream(&query, |kind, payload| {
        let read = kind == libc::RTM_NEWROUTE && record.read(payload).is_some();
        // A kernel that does not filter shows more.
        let fits = record.table == table && protocol.is_none_or(|protocol| record.protocol == protocol);
        if read && fits { each(&record) } else { ControlFlow::Continue(()) }
    });
    match outcome {
        Err(error) if error.is_absent() => Ok(()),
        outcome => outcome,
    }
}

/// The route packets to an address take, as the kernel decides it: for who is in the VRF with this index, or in none.
/// `None` when it answers packets instead of forwarding them, or drops them: then it does not say by which route.
pub fn lookup(
    connection: &mut Connection,
    address: IpAddr,
    vrf: Option<u32>,
) -> Result<Option<RouteRecord>, KernelError> {
    // IPv4 tells in which table it found the route only where it is asked to; IPv6 tells, and takes no such flag.
    let (family, bits, flags) = match address {
        IpAddr::V4(_) => (libc::AF_INET, 32, RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE),
        IpAddr::V6(_) => (libc::AF_INET6, 128, RTM_F_FIB_MATCH),
    };
    let [a, b, c, d] = flags.to_ne_bytes();
    let header = [family as u8, bits, 0, 0, 0, 0, 0, 0, a, b, c, d];
    let query = Message::new(libc::RTM_GETROUTE, 0, &header).ip(libc::RTA_DST, address);
    let query = match vrf {
        Some(index) => query.u32(libc::RTA_OIF, index),
        None => query,
    };
    let read = |kind, payload: &[u8]| (kind == libc::RTM_NEWROUTE).then(|| RouteRecord::parse(payload))?;
    match connection.query(&query, read) {
        Err(error) if error.is_no_route() => Ok(None),
        answer => answer,
    }
}

fn header(key: &RouteKey, kind: u8, scope: u8, flags: u32) -> [u8; HEADER_LEN] {
    let family = if key.prefix.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let [a, b, c, d] = flags.to_ne_bytes();
    let table = libc::RT_TABLE_UNSPEC;
    [family as u8, key.prefix.prefix_len(), 0, 0, table, OWN_PROTOCOL, scope, kind, a, b, c, d]
}

fn kind(target: &RouteTarget) -> u8 {
    match target {
        RouteTarget::Blackhole => libc::RTN_BLACKHOLE,
        RouteTarget::Unreachable => libc::RTN_UNREACHABLE,
        RouteTarget::NextHops(_) | RouteTarget::Object(_) => libc::RTN_UNICAST,
    }
}

/// Sets a route. With `replace`, one with the same prefix and metric gives way; without, it is an error.
/// `hops` are those of a target that spells them out.
pub fn set(key: &RouteKey, target: &RouteTarget, hops: &[ResolvedNextHop], replace: bool) -> Message {
    let how = libc::NLM_F_CREATE | if replace { libc::NLM_F_REPLACE } else { libc::NLM_F_EXCL };
    let direct = !hops.is_empty() && hops.iter().all(|hop| hop.via.is_none());
    let scope = if direct { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    let flags = if hops.len() == 1 && hops[0].on_link { RTNH_F_ONLINK } else { 0 };
    let message = Message::new(libc::RTM_NEWROUTE, how as u16, &header(key, kind(target), scope, flags));
    let message = identify(message, key);
    match target {
        RouteTarget::Object(id) => message.u32(RTA_NH_ID, id.0),
        _ => multipath::put(message, key.prefix.addr().is_ipv4(), hops),
    }
}

fn identify(message: Message, key: &RouteKey) -> Message {
    let message = message.ip(libc::RTA_DST, key.prefix.addr()).u32(libc::RTA_TABLE, key.table);
    if key.metric == 0 { message } else { message.u32(libc::RTA_PRIORITY, key.metric) }
}

/// Removes a route of netd's.
pub fn delete(key: &RouteKey, target: &RouteTarget) -> Message {
    let header = header(key, kind(target), libc::RT_SCOPE_NOWHERE, 0);
    identify(Message::new(libc::RTM_DELROUTE, 0, &header), key)
}

/// Name of a route kind as iproute2 writes it.
pub fn kind_name(kind: u8) -> &'static str {
    match kind {
        libc::RTN_UNICAST => "unicast",
        libc::RTN_LOCAL => "local",
        libc::RTN_BROADCAST => "broadcast",
        libc::RTN_ANYCAST => "anycast",
        libc::RTN_MULTICAST => "multicast",
        libc::RTN_BLACKHOLE => "blackhole",
        libc::RTN_UNREACHABLE => "unreachable",
        libc::RTN_PROHIBIT => "prohibit",
        libc::RTN_THROW => "throw",
        _ => "other",
    }
}

/// Name of a route protocol as iproute2 writes it (rt_protos).
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        // Routes of the configuration: what operators know as static.
        OWN_PROTOCOL => "static",
        186 => "bgp",
        188 => "ospf",
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefix: &str) -> RouteKey {
        RouteKey { table: 1001, prefix: prefix.parse().unwrap(), metric: 20 }
    }

    fn round_trip(prefix: &str, target: &RouteTarget, hops: &[ResolvedNextHop]) -> RouteRecord {
        let record = RouteRecord::parse(&set(&key(prefix), target, hops, false).finish(1, 0)[16..]).unwrap();
        assert_eq!((record.key(), record.protocol), (key(prefix), OWN_PROTOCOL));
        record
    }

    #[test]
    fn routes_read_back_as_they_were_written() {
        let hop = |via: &str, index, weight, on_link| {
            let via = via.parse().ok();
            ResolvedNextHop { via, index, weight, on_link }
        };
        let inline = RouteTarget::inline(Vec::new());
        for (prefix, hops) in [
            ("0.0.0.0/0", vec![hop("192.0.2.1", 3, 1, false), hop("192.0.2.5", 4, 256, false)]),
            ("0.0.0.0/0", vec![hop("2001:db8::1", 3, 1, false), hop("192.0.2.5", 4, 2, true)]),
            ("10.0.0.0/8", vec![hop("192.0.2.1", 3, 1, true)]),
            ("10.0.0.0/8", vec![hop("2001:db8::1", 3, 1, false)]),
            ("2001:db8::/32", vec![hop("2001:db8::1", 3, 1, false), hop("", 4, 1, false)]),
            ("2001:db8::/32", vec![hop("", 4, 1, false)]),
        ] {
            let record = round_trip(prefix, &inline, &hops);
            let read: Vec<_> = record.next_hops.iter().map(NextHopRecord::resolved).collect();
            assert_eq!((read, record.kind, record.object), (hops, libc::RTN_UNICAST, None), "{prefix}");
        }
        assert_eq!(round_trip("10.0.0.0/8", &RouteTarget::Blackhole, &[]).kind, libc::RTN_BLACKHOLE);
        assert_eq!(round_trip("10.0.0.0/8", &RouteTarget::Unreachable, &[]).kind, libc::RTN_UNREACHABLE);
        let id = NextHopId(NextHopId::FIRST + 9);
        let record = round_trip("10.0.0.0/8", &RouteTarget::Object(id), &[]);
        assert_eq!((record.kind, record.object), (libc::RTN_UNICAST, Some(id)));
    }

    #[test]
    fn a_record_that_is_used_again_keeps_nothing_of_the_route_before() {
        let hops = [ResolvedNextHop { via: None, index: 3, weight: 1, on_link: false }];
        let mut record = round_trip("10.0.0.0/8", &RouteTarget::inline(Vec::new()), &hops);
        let other = RouteKey { table: 254, prefix: "::/0".parse().unwrap(), metric: 0 };
        record.read(&set(&other, &RouteTarget::Blackhole, &[], false).finish(1, 0)[16..]).unwrap();
        assert_eq!(record.key(), other);
        assert!(record.next_hops.is_empty());
    }
}
