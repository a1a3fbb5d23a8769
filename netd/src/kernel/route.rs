//! Routes: `RTM_GETROUTE`, `RTM_NEWROUTE`, `RTM_DELROUTE`, with next hops inline.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_ip, read_u8, read_u16, read_u32};
use crate::plan::{RouteKey, RouteTarget};

/// `rtm_protocol` of the routes netd sets, and `IFA_PROTO` of its addresses. Its name for iproute2 is in
/// the image's rt_protos.d.
pub const OWN_PROTOCOL: u8 = 199;

/// Flags of a next hop (linux/rtnetlink.h).
const RTNH_F_DEAD: u32 = 1;
const RTNH_F_ONLINK: u32 = 4;
const RTNH_F_OFFLOAD: u32 = 8;
const RTNH_F_LINKDOWN: u32 = 16;
const RTNH_F_TRAP: u32 = 64;
/// Flags of a route (linux/rtnetlink.h).
const RTM_F_CLONED: u32 = 0x200;
const RTM_F_OFFLOAD: u32 = 0x4000;
const RTM_F_TRAP: u32 = 0x8000;
const RTM_F_OFFLOAD_FAILED: u32 = 0x2000_0000;
/// Length of `struct rtnexthop`.
const RTNH_LEN: usize = 8;

/// A way out of a route as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHopRecord {
    /// Gateway; `None` when the destination is on the link.
    pub via: Option<IpAddr>,
    /// Outgoing interface's index; 0 when there is none.
    pub index: u32,
    /// 1 to 256.
    pub weight: u16,
    /// `RTNH_F_…`.
    pub flags: u32,
}

impl NextHopRecord {
    /// Whether the kernel holds it unusable.
    pub fn is_dead(&self) -> bool {
        self.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) != 0
    }

    /// Whether the gateway was given as on the link.
    pub fn is_on_link(&self) -> bool {
        self.flags & RTNH_F_ONLINK != 0
    }
}

/// A route as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Ways out.
    pub next_hops: Vec<NextHopRecord>,
}

impl RouteRecord {
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

    /// Reads the payload of an `RTM_NEWROUTE` or `RTM_DELROUTE`; `None` for cached ones and other families.
    pub fn parse(payload: &[u8]) -> Option<RouteRecord> {
        let header = payload.get(..12)?;
        let family = i32::from(header[0]);
        let unspecified = match family {
            libc::AF_INET => IpAddr::from([0; 4]),
            libc::AF_INET6 => IpAddr::from([0; 16]),
            _ => return None,
        };
        let flags = read_u32(&header[8..]);
        if flags & RTM_F_CLONED != 0 {
            return None;
        }
        let (mut table, mut metric, mut destination) = (u32::from(header[4]), 0, unspecified);
        let mut single = NextHopRecord { weight: 1, flags, ..NextHopRecord::default() };
        let mut next_hops = Vec::new();
        for (kind, value) in attributes(&payload[12..]) {
            match kind {
                libc::RTA_DST => destination = read_ip(value)?,
                libc::RTA_TABLE => table = read_u32(value),
                libc::RTA_PRIORITY => metric = read_u32(value),
                libc::RTA_GATEWAY => single.via = read_ip(value),
                libc::RTA_VIA => single.via = read_ip(value.get(2..)?),
                libc::RTA_OIF => single.index = read_u32(value),
                libc::RTA_MULTIPATH => next_hops = read_multipath(value),
                _ => {}
            }
        }
        if next_hops.is_empty() && (single.via.is_some() || single.index != 0) {
            next_hops.push(single);
        }
        let prefix = IpNet::new(destination, header[1]).ok()?;
        Some(RouteRecord { prefix, table, metric, protocol: header[5], kind: header[7], flags, next_hops })
    }
}

/// `struct rtnexthop` entries, each with its attributes.
fn read_multipath(mut value: &[u8]) -> Vec<NextHopRecord> {
    let mut hops = Vec::new();
    while value.len() >= RTNH_LEN {
        let length = usize::from(read_u16(value));
        let Some(entry) = value.get(..length).filter(|_| length >= RTNH_LEN) else {
            break;
        };
        let mut hop = NextHopRecord {
            via: None,
            index: read_u32(&entry[4..]),
            weight: u16::from(entry[3]) + 1,
            flags: u32::from(read_u8(&entry[2..])),
        };
        for (kind, value) in attributes(&entry[RTNH_LEN..]) {
            match kind {
                libc::RTA_GATEWAY => hop.via = read_ip(value),
                libc::RTA_VIA => hop.via = value.get(2..).and_then(read_ip),
                _ => {}
            }
        }
        hops.push(hop);
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// Routes of both families; with `protocol`, only those the kernel holds for it.
pub fn dump(connection: &mut Connection, protocol: Option<u8>) -> Result<Vec<RouteRecord>, KernelError> {
    let mut rows = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = [family as u8, 0, 0, 0, 0, protocol.unwrap_or(0), 0, 0, 0, 0, 0, 0];
        let query = Message::new(libc::RTM_GETROUTE, 0, &header);
        let part = connection
            .dump(&query, |kind, payload| RouteRecord::parse(payload).filter(|_| kind == libc::RTM_NEWROUTE));
        match part {
            Ok(part) => rows.extend(part),
            // A filter that no table matches answers ENOENT.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    rows.retain(|row| protocol.is_none_or(|protocol| row.protocol == protocol));
    Ok(rows)
}

/// A next hop with its device resolved.
#[derive(Clone, Debug)]
pub struct ResolvedNextHop {
    /// Gateway.
    pub via: Option<IpAddr>,
    /// Outgoing interface's index.
    pub index: u32,
    /// 1 to 256.
    pub weight: u16,
    /// `RTNH_F_ONLINK`.
    pub on_link: bool,
}

fn header(key: &RouteKey, kind: u8, scope: u8, flags: u32) -> [u8; 12] {
    let family = if key.prefix.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let [a, b, c, d] = flags.to_ne_bytes();
    let table = libc::RT_TABLE_UNSPEC;
    [family as u8, key.prefix.prefix_len(), 0, 0, table, OWN_PROTOCOL, scope, kind, a, b, c, d]
}

/// Sets a route. With `replace`, one with the same prefix and metric gives way; without, it is an error.
pub fn add(key: &RouteKey, target: &RouteTarget, hops: &[ResolvedNextHop], replace: bool) -> Message {
    let how = if replace { libc::NLM_F_REPLACE } else { libc::NLM_F_EXCL };
    let kind = match target {
        RouteTarget::Blackhole => libc::RTN_BLACKHOLE,
        RouteTarget::Unreachable => libc::RTN_UNREACHABLE,
        RouteTarget::NextHops(_) => libc::RTN_UNICAST,
    };
    let direct = !hops.is_empty() && hops.iter().all(|hop| hop.via.is_none());
    let scope = if direct { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    let flags = if hops.len() == 1 && hops[0].on_link { RTNH_F_ONLINK } else { 0 };
    let message =
        Message::new(libc::RTM_NEWROUTE, (libc::NLM_F_CREATE | how) as u16, &header(key, kind, scope, flags));
    let message = identify(message, key);
    match hops {
        [] => message,
        [hop] => gateway(message, key, hop).u32(libc::RTA_OIF, hop.index),
        many => message
            .nest(libc::RTA_MULTIPATH, |list| many.iter().fold(list, |list, hop| entry(list, key, hop))),
    }
}

fn identify(message: Message, key: &RouteKey) -> Message {
    let message = message.ip(libc::RTA_DST, key.prefix.addr()).u32(libc::RTA_TABLE, key.table);
    if key.metric == 0 { message } else { message.u32(libc::RTA_PRIORITY, key.metric) }
}

fn gateway(message: Message, key: &RouteKey, hop: &ResolvedNextHop) -> Message {
    match hop.via {
        None => message,
        // An IPv4 destination over an IPv6 gateway (RFC 8950).
        Some(IpAddr::V6(via)) if key.prefix.addr().is_ipv4() => {
            let mut value = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
            value.extend_from_slice(&via.octets());
            message.attribute(libc::RTA_VIA, &value)
        }
        Some(via) => message.ip(libc::RTA_GATEWAY, via),
    }
}

fn entry(message: Message, key: &RouteKey, hop: &ResolvedNextHop) -> Message {
    let start = message.size();
    let flags = if hop.on_link { RTNH_F_ONLINK as u8 } else { 0 };
    let weight = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    let [a, b, c, d] = hop.index.to_ne_bytes();
    let message = gateway(message.raw(&[0, 0, flags, weight, a, b, c, d]), key, hop);
    let length = (message.size() - start) as u16;
    message.patch_u16(start, length)
}

/// Removes a route of netd's.
pub fn delete(key: &RouteKey, target: &RouteTarget) -> Message {
    let kind = match target {
        RouteTarget::Blackhole => libc::RTN_BLACKHOLE,
        RouteTarget::Unreachable => libc::RTN_UNREACHABLE,
        RouteTarget::NextHops(_) => libc::RTN_UNICAST,
    };
    let header = header(key, kind, libc::RT_SCOPE_NOWHERE, 0);
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
        OWN_PROTOCOL => "corten",
        186 => "bgp",
        188 => "ospf",
        other => return other.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multipath_route_reads_back_as_it_was_written() {
        let key = RouteKey { table: 1001, prefix: "0.0.0.0/0".parse().unwrap(), metric: 20 };
        let hops = [("192.0.2.1", 3, 1), ("192.0.2.5", 4, 256)].map(|(via, index, weight)| ResolvedNextHop {
            via: via.parse().ok(),
            index,
            weight,
            on_link: false,
        });
        let bytes = add(&key, &RouteTarget::NextHops(Vec::new()), &hops, false).finish(1, 0);
        let record = RouteRecord::parse(&bytes[16..]).unwrap();
        assert_eq!((record.table, record.metric, record.protocol), (1001, 20, OWN_PROTOCOL));
        let read: Vec<_> = record.next_hops.iter().map(|hop| (hop.via, hop.index, hop.weight)).collect();
        assert_eq!(read, hops.iter().map(|hop| (hop.via, hop.index, hop.weight)).collect::<Vec<_>>());
    }

    #[test]
    fn hostile_multipath_does_not_panic() {
        for value in [&[0u8; 8][..], &[255, 255, 0, 0, 0, 0, 0, 0], &[9, 0, 0, 0, 1, 0, 0, 0, 7]] {
            let _ = read_multipath(value);
        }
    }
}
