//! Queueing disciplines: `RTM_GETQDISC`, `RTM_NEWQDISC`, `RTM_DELQDISC`. Only `clsact`, where a link's frames pass
//! filters.

use std::collections::BTreeSet;

use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_text, read_u32};
use crate::plan::Direction;

/// `linux/rtnetlink.h`.
pub(super) const TCA_KIND: u16 = 1;
/// `TC_H_CLSACT` (linux/pkt_sched.h): parent of the discipline. Its handle is the major part.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`: its classes.
const INGRESS: u32 = 0xfff2;
const EGRESS: u32 = 0xfff3;
/// Length of `struct tcmsg`.
pub(super) const HEADER_LEN: usize = 20;

/// `struct tcmsg`.
pub(super) fn header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    for (place, value) in [(4, index), (8, handle), (12, parent), (16, info)] {
        bytes[place..place + 4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// The class of `clsact` that frames of a direction pass.
pub(super) fn class(direction: Direction) -> u32 {
    CLSACT_HANDLE
        | match direction {
            Direction::Ingress => INGRESS,
            Direction::Egress => EGRESS,
        }
}

/// Indexes of links that have `clsact`.
pub fn dump_clsact(connection: &mut Connection) -> Result<BTreeSet<u32>, KernelError> {
    let query = Message::new(libc::RTM_GETQDISC, 0, &header(0, 0, 0, 0));
    match connection.dump(&query, |_, payload| parse(payload)) {
        Ok(rows) => Ok(rows.into_iter().collect()),
        // A kernel without queueing disciplines.
        Err(error) if error.is_unsupported() => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Reads the payload of an `RTM_NEWQDISC`: the index of the link, if it is about `clsact`.
pub(super) fn parse(payload: &[u8]) -> Option<u32> {
    let header = payload.get(..HEADER_LEN)?;
    let kind = attributes(&payload[HEADER_LEN..]).find(|(kind, _)| *kind == TCA_KIND)?;
    (read_text(kind.1) == "clsact").then(|| read_u32(&header[4..]))
}

/// Adds `clsact` to the link with this index, or removes it with all its filters.
pub fn clsact(index: u32, add: bool) -> Message {
    let header = header(index, CLSACT_HANDLE, CLSACT, 0);
    if add {
        let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
        Message::new(libc::RTM_NEWQDISC, flags, &header).text(TCA_KIND, "clsact")
    } else {
        Message::new(libc::RTM_DELQDISC, 0, &header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clsact_is_told_from_other_disciplines() {
        assert_eq!(parse(&clsact(7, true).finish(1, 0)[16..]), Some(7));
        let other = Message::new(libc::RTM_NEWQDISC, 0, &header(7, 0, 0, 0)).text(TCA_KIND, "fq_codel");
        assert_eq!(parse(&other.finish(1, 0)[16..]), None);
        assert_eq!(parse(&[0; 19]), None);
    }
}
