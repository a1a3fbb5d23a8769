//! Next hops spelled out in a route: attributes of its own for one, `RTA_MULTIPATH` for several.

use std::net::IpAddr;

use nix::libc;

use super::wire::{Message, attributes, read_ip, read_u8, read_u16, read_u32};

/// Flags of a next hop (linux/rtnetlink.h).
pub(super) const RTNH_F_DEAD: u32 = 1;
pub(super) const RTNH_F_ONLINK: u32 = 4;
pub(super) const RTNH_F_OFFLOAD: u32 = 8;
pub(super) const RTNH_F_LINKDOWN: u32 = 16;
pub(super) const RTNH_F_TRAP: u32 = 64;
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

    /// Without what changes by itself.
    pub(super) fn resolved(&self) -> ResolvedNextHop {
        let on_link = self.is_on_link();
        ResolvedNextHop { via: self.via, index: self.index, weight: self.weight, on_link }
    }
}

/// A next hop with its device resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// Adds the next hops of a route to an IPv4 or IPv6 destination.
pub(super) fn put(message: Message, v4: bool, hops: &[ResolvedNextHop]) -> Message {
    match hops {
        [] => message,
        [hop] => put_gateway(message, v4, hop).u32(libc::RTA_OIF, hop.index),
        many => message
            .nest(libc::RTA_MULTIPATH, |list| many.iter().fold(list, |list, hop| put_entry(list, v4, hop))),
    }
}

fn put_gateway(message: Message, v4: bool, hop: &ResolvedNextHop) -> Message {
    match hop.via {
        None => message,
        // An IPv4 destination over an IPv6 gateway (RFC 8950): `struct rtvia`.
        Some(IpAddr::V6(via)) if v4 => {
            let mut value = [0; 18];
            value[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            value[2..].copy_from_slice(&via.octets());
            message.attribute(libc::RTA_VIA, &value)
        }
        Some(via) => message.ip(libc::RTA_GATEWAY, via),
    }
}

fn put_entry(message: Message, v4: bool, hop: &ResolvedNextHop) -> Message {
    let start = message.size();
    let flags = if hop.on_link { RTNH_F_ONLINK as u8 } else { 0 };
    let weight = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    let [a, b, c, d] = hop.index.to_ne_bytes();
    let message = put_gateway(message.raw(&[0, 0, flags, weight, a, b, c, d]), v4, hop);
    let length = (message.size() - start) as u16;
    message.patch_u16(start, length)
}

/// Reads `struct rtnexthop` entries, each with its attributes.
pub(super) fn read(mut value: &[u8], hops: &mut Vec<NextHopRecord>) {
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
            read_gateway(kind, value, &mut hop);
        }
        hops.push(hop);
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Reads an attribute that may be a gateway.
pub(super) fn read_gateway(kind: u16, value: &[u8], hop: &mut NextHopRecord) {
    match kind {
        libc::RTA_GATEWAY => hop.via = read_ip(value),
        libc::RTA_VIA => hop.via = value.get(2..).and_then(read_ip),
        _ => {}
    }
}
