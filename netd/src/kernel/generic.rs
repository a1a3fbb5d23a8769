//! Generic netlink: families that are known by name and get their number when the kernel starts.

use nix::errno::Errno;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{Message, attributes, read_u16, read_u32};

/// `linux/genetlink.h`.
const GENL_ID_CTRL: u16 = libc::GENL_ID_CTRL as u16;
const CTRL_CMD_GETFAMILY: u8 = libc::CTRL_CMD_GETFAMILY as u8;
const CTRL_ATTR_FAMILY_ID: u16 = libc::CTRL_ATTR_FAMILY_ID as u16;
const CTRL_ATTR_FAMILY_NAME: u16 = libc::CTRL_ATTR_FAMILY_NAME as u16;
const CTRL_ATTR_MCAST_GROUPS: u16 = libc::CTRL_ATTR_MCAST_GROUPS as u16;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = libc::CTRL_ATTR_MCAST_GRP_NAME as u16;
const CTRL_ATTR_MCAST_GRP_ID: u16 = libc::CTRL_ATTR_MCAST_GRP_ID as u16;
/// Length of `struct genlmsghdr`.
pub(super) const HEADER_LEN: usize = 4;

/// A family, with a connection to it.
#[derive(Debug)]
pub struct Family {
    /// The connection.
    pub connection: Connection,
    /// The family's number, which is the kind of its messages.
    pub id: u16,
}

impl Family {
    /// Opens a connection and looks the family up.
    pub fn open(name: &str) -> Result<Family, KernelError> {
        let mut connection = Connection::open_generic()?;
        let found = connection.query(&family_query(name), |_, payload| read_id(payload));
        let absent = || {
            let words = format!("this kernel has no netlink family `{name}`");
            KernelError::with_words(Errno::EOPNOTSUPP, words)
        };
        match found {
            Ok(Some(id)) => Ok(Family { connection, id }),
            Ok(None) => Err(absent()),
            Err(error) if error.is_absent() => Err(absent()),
            Err(error) => Err(error),
        }
    }
}

/// A group of events of the family, where both exist.
pub(super) fn group(family: &str, name: &str) -> Result<Option<u32>, KernelError> {
    let found = Connection::open_generic()?
        .query(&family_query(family), |_, payload| Some(read_group(payload, name)));
    match found {
        Err(error) if error.is_absent() => Ok(None),
        found => Ok(found?.flatten()),
    }
}

fn family_query(name: &str) -> Message {
    message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1).text(CTRL_ATTR_FAMILY_NAME, name)
}

/// A message of a generic family: `struct genlmsghdr`, then attributes.
pub(super) fn message(family: u16, command: u8, version: u8) -> Message {
    Message::new(family, 0, &[command, version, 0, 0])
}

/// The attributes of a generic message's payload.
pub(super) fn payload_attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(payload.get(HEADER_LEN..).unwrap_or_default())
}

pub(super) fn read_id(payload: &[u8]) -> Option<u16> {
    payload_attributes(payload).find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID).map(|(_, id)| read_u16(id))
}

pub(super) fn read_group(payload: &[u8], name: &str) -> Option<u32> {
    let (_, groups) = payload_attributes(payload).find(|(kind, _)| *kind == CTRL_ATTR_MCAST_GROUPS)?;
    attributes(groups).find_map(|(_, group)| {
        let part = |wanted: u16| attributes(group).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let named = part(CTRL_ATTR_MCAST_GRP_NAME)?.strip_suffix(&[0])? == name.as_bytes();
        part(CTRL_ATTR_MCAST_GRP_ID).filter(|_| named).map(read_u32)
    })
}
