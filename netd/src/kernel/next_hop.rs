//! Next hop objects: `RTM_GETNEXTHOP`, `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP`.
//!
//! The kernel removes an object by itself when its link goes down or loses its carrier, takes it out of
//! groups, and removes routes that are left without one; it sends no event of that but the link's.

use std::net::IpAddr;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::multipath::{RTNH_F_OFFLOAD, RTNH_F_ONLINK, RTNH_F_TRAP};
use super::route::OWN_PROTOCOL;
use super::wire::{Message, attributes, read_ip, read_u32};
use crate::plan::{NextHopId, NextHopObject};

/// Kinds of messages and attributes (linux/rtnetlink.h, linux/nexthop.h).
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// Length of `struct nhmsg` and of `struct nexthop_grp`.
const HEADER_LEN: usize = 8;
const MEMBER_LEN: usize = 8;

/// A next hop object as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopObjectRecord {
    /// Its id.
    pub id: NextHopId,
    /// `RTPROT_…`.
    pub protocol: u8,
    /// `RTNH_F_…`.
    pub flags: u32,
    /// `AF_…`; unspecified for a group.
    pub family: u8,
    /// Of a group: members and their weights.
    pub members: Vec<(NextHopId, u16)>,
    /// Gateway; `None` when destinations are on the link.
    pub via: Option<IpAddr>,
    /// Outgoing interface's index; 0 when there is none.
    pub index: u32,
}

impl NextHopObjectRecord {
    /// Whether netd made it: its protocol and an id of its range.
    pub fn is_own(&self) -> bool {
        self.protocol == OWN_PROTOCOL && self.id.is_own()
    }

    /// What the hardware did with it: `offloaded`, `trapped` or `software`.
    pub fn hardware(&self) -> &'static str {
        if self.flags & RTNH_F_TRAP != 0 {
            "trapped"
        } else if self.flags & RTNH_F_OFFLOAD != 0 {
            "offloaded"
        } else {
            "software"
        }
    }

    /// Reads the payload of an `RTM_NEWNEXTHOP` or `RTM_DELNEXTHOP`.
    pub fn parse(payload: &[u8]) -> Option<NextHopObjectRecord> {
        let header = payload.get(..HEADER_LEN)?;
        let mut record = NextHopObjectRecord {
            id: NextHopId(0),
            protocol: header[2],
            flags: read_u32(&header[4..]),
            family: header[0],
            members: Vec::new(),
            via: None,
            index: 0,
        };
        for (kind, value) in attributes(&payload[HEADER_LEN..]) {
            match kind {
                NHA_ID => record.id = NextHopId(read_u32(value)),
                NHA_GROUP => record.members = value.chunks_exact(MEMBER_LEN).map(read_member).collect(),
                NHA_OIF => record.index = read_u32(value),
                NHA_GATEWAY => record.via = read_ip(value),
                _ => {}
            }
        }
        (record.id.0 != 0).then_some(record)
    }

    /// As the plan sees it. `name` gives the name of an interface.
    pub fn to_object(&self, name: impl FnOnce(u32) -> String) -> NextHopObject {
        if !self.members.is_empty() {
            return NextHopObject::Group(self.members.clone());
        }
        NextHopObject::Single {
            via: self.via,
            device: name(self.index),
            on_link: self.flags & RTNH_F_ONLINK != 0,
            v6: i32::from(self.family) == libc::AF_INET6,
        }
    }
}

/// `struct nexthop_grp`: the weight travels as one less than it is.
fn read_member(entry: &[u8]) -> (NextHopId, u16) {
    (NextHopId(read_u32(entry)), u16::from(entry[4]) + 1)
}

/// netd's own next hop objects.
pub fn dump(connection: &mut Connection) -> Result<Vec<NextHopObjectRecord>, KernelError> {
    let query = Message::new(RTM_GETNEXTHOP, 0, &[0; HEADER_LEN]);
    connection.dump(&query, |kind, payload| {
        NextHopObjectRecord::parse(payload).filter(|record| kind == RTM_NEWNEXTHOP && record.is_own())
    })
}

/// Sets an object. With `replace`, one with the same id gives way; without, it is an error. `index` is that
/// of the device of a single one.
///
/// A gateway decides the family; only without one `v6` does.
pub fn set(id: NextHopId, object: &NextHopObject, index: u32, replace: bool) -> Message {
    let how = libc::NLM_F_CREATE | if replace { libc::NLM_F_REPLACE } else { libc::NLM_F_EXCL };
    let message = |family: i32, flags: u32| {
        let [a, b, c, d] = flags.to_ne_bytes();
        let header = [family as u8, 0, OWN_PROTOCOL, 0, a, b, c, d];
        Message::new(RTM_NEWNEXTHOP, how as u16, &header).u32(NHA_ID, id.0)
    };
    match object {
        NextHopObject::Single { via, on_link, v6, .. } => {
            let v6 = via.map_or(*v6, |via| via.is_ipv6());
            let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
            let single = message(family, if *on_link { RTNH_F_ONLINK } else { 0 }).u32(NHA_OIF, index);
            match via {
                Some(via) => single.ip(NHA_GATEWAY, *via),
                None => single,
            }
        }
        NextHopObject::Group(members) => {
            let entries: Vec<u8> = members.iter().flat_map(|(id, weight)| member(*id, *weight)).collect();
            message(libc::AF_UNSPEC, 0).attribute(NHA_GROUP, &entries)
        }
    }
}

fn member(id: NextHopId, weight: u16) -> [u8; MEMBER_LEN] {
    let [a, b, c, d] = id.0.to_ne_bytes();
    [a, b, c, d, u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX), 0, 0, 0]
}

/// Removes an object. The kernel takes routes along that use it.
pub fn delete(id: NextHopId) -> Message {
    Message::new(RTM_DELNEXTHOP, 0, &[0; HEADER_LEN]).u32(NHA_ID, id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(object: &NextHopObject) -> NextHopObject {
        let bytes = set(NextHopId(NextHopId::FIRST), object, 7, false).finish(1, 0);
        let record = NextHopObjectRecord::parse(&bytes[16..]).unwrap();
        assert!(record.is_own());
        record.to_object(|index| format!("if{index}"))
    }

    #[test]
    fn objects_read_back_as_they_were_written() {
        let single = |via: Option<&str>, on_link, v6| NextHopObject::Single {
            via: via.map(|via| via.parse().unwrap()),
            device: "if7".to_owned(),
            on_link,
            v6,
        };
        let group = |members: &[(u32, u16)]| {
            NextHopObject::Group(members.iter().map(|(id, weight)| (NextHopId(*id), *weight)).collect())
        };
        for object in [
            single(Some("192.0.2.1"), true, false),
            single(Some("2001:db8::1"), false, true),
            single(None, false, false),
            single(None, false, true),
            group(&[(NextHopId::FIRST + 1, 1), (NextHopId::LAST, 256)]),
        ] {
            assert_eq!(round_trip(&object), object);
        }
    }

    #[test]
    fn only_ids_of_the_own_range_with_the_own_protocol_are_own() {
        let is_own = |id, protocol: u8| {
            let bytes = Message::new(RTM_NEWNEXTHOP, 0, &[2, 0, protocol, 0, 0, 0, 0, 0]).u32(NHA_ID, id);
            NextHopObjectRecord::parse(&bytes.finish(1, 0)[16..]).unwrap().is_own()
        };
        assert!(is_own(NextHopId::FIRST, OWN_PROTOCOL));
        assert!(!is_own(NextHopId::FIRST, 4));
        assert!(!is_own(12, OWN_PROTOCOL));
    }
}
