//! Netlink messages as bytes: a builder for requests and a reader for attributes.
//!
//! The typed crates lack much of what a switch needs (ext-ack, next hop flags, per-VLAN options) and drop a
//! whole message when one attribute does not decode, which would be a silent hole in a dump. So netd
//! reads just the attributes it knows, by kind, and steps over all others.

use std::net::IpAddr;

use nix::errno::Errno;
use nix::libc;

use super::extack::KernelError;

/// Alignment of headers and attributes (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
const ALIGN: usize = 4;
/// Length of `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// Set on attributes that hold attributes.
const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// The bits of an attribute's kind that are not flags.
const KIND_MASK: u16 = 0x3fff;
/// Room for nearly every request, so that making one takes one allocation.
const TYPICAL_BYTES: usize = 128;

/// A request: `nlmsghdr`, the family's fixed header, attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` (`RTM_…`) with `flags` beyond `NLM_F_REQUEST`, and the family's fixed header.
    pub fn new(kind: u16, flags: u16, fixed_header: &[u8]) -> Message {
        let mut header = [0; HEADER_LEN];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        let mut bytes = Vec::with_capacity(TYPICAL_BYTES);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(fixed_header);
        pad(&mut bytes);
        Message { bytes }
    }

    /// What it is: `RTM_…`, or the number of a generic family.
    pub fn kind(&self) -> u16 {
        read_u16(&self.bytes[4..])
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        push(&mut self.bytes, kind, value);
        self
    }

    /// Adds a one-byte attribute.
    pub fn u8(self, kind: u16, value: u8) -> Message {
        self.attribute(kind, &[value])
    }

    /// Adds a two-byte attribute.
    pub fn u16(self, kind: u16, value: u16) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a four-byte attribute.
    pub fn u32(self, kind: u16, value: u32) -> Message {
        self.four_bytes(kind, value.to_ne_bytes())
    }

    /// Adds an attribute of the length most have: all at once, since a million routes have some each.
    fn four_bytes(mut self, kind: u16, value: [u8; 4]) -> Message {
        let mut attribute = [0; 8];
        attribute[0..2].copy_from_slice(&8u16.to_ne_bytes());
        attribute[2..4].copy_from_slice(&kind.to_ne_bytes());
        attribute[4..8].copy_from_slice(&value);
        self.bytes.extend_from_slice(&attribute);
        self
    }

    /// Adds a two-byte attribute in network byte order.
    pub fn be16(self, kind: u16, value: u16) -> Message {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Adds a text attribute with its terminating zero.
    pub fn text(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an IPv4 or IPv6 address.
    pub fn ip(self, kind: u16, value: IpAddr) -> Message {
        match value {
            IpAddr::V4(address) => self.four_bytes(kind, address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// Adds an attribute that holds the attributes `fill` adds.
    pub fn nest(self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        self.nest_after(kind, &[], fill)
    }

    /// Adds an attribute that holds a fixed header and then the attributes `fill` adds.
    pub fn nest_after(mut self, kind: u16, head: &[u8], fill: impl FnOnce(Message) -> Message) -> Message {
        let start = self.bytes.len();
        push(&mut self.bytes, kind | NESTED, head);
        let mut message = fill(self);
        let length = (message.bytes.len() - start) as u16;
        message.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        message
    }

    /// Adds bytes as they are: for structures inside an attribute, such as `rtnexthop`.
    pub fn raw(mut self, value: &[u8]) -> Message {
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
        self
    }

    /// Number of bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Writes a two-byte value over what stands at `offset`: for lengths known only afterwards.
    pub fn patch_u16(mut self, offset: usize, value: u16) -> Message {
        self.bytes[offset..offset + 2].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// Writes the message behind those that stand in `batch`, with its length and sequence number.
    pub fn append_to(&self, batch: &mut Vec<u8>, sequence: u32) {
        let start = batch.len();
        batch.extend_from_slice(&self.bytes);
        batch[start..start + 4].copy_from_slice(&(self.bytes.len() as u32).to_ne_bytes());
        batch[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }

    /// The bytes to send, with the sequence number and further flags filled in.
    pub fn finish(&self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        self.append_to(&mut bytes, sequence);
        add_flags(&mut bytes, more_flags);
        bytes
    }
}

/// Adds flags to the message that begins at the start of `bytes`.
pub fn add_flags(bytes: &mut [u8], flags: u16) {
    let flags = u16::from_ne_bytes([bytes[6], bytes[7]]) | flags;
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
}

fn pad(bytes: &mut Vec<u8>) {
    let missing = bytes.len().next_multiple_of(ALIGN) - bytes.len();
    bytes.extend_from_slice(&[0; ALIGN][..missing]);
}

fn push(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = (4 + value.len()) as u16;
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    pad(bytes);
}

/// The attributes in `bytes`, as (kind, value). Ends at the first one whose length does not hold.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & KIND_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first byte.
pub fn read_u8(value: &[u8]) -> u8 {
    value.first().copied().unwrap_or_default()
}

/// Two bytes in host order; 0 when there are fewer.
pub fn read_u16(value: &[u8]) -> u16 {
    value.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

/// Two bytes in network order; 0 when there are fewer.
pub fn read_be16(value: &[u8]) -> u16 {
    value.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Four bytes in host order; 0 when there are fewer.
pub fn read_u32(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Eight bytes in host order; 0 when there are fewer.
pub fn read_u64(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// Text up to the terminating zero.
pub fn read_text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An address of 4 or 16 bytes.
pub fn read_ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A hardware address as `aa:bb:cc:dd:ee:ff`; empty for none.
pub fn read_mac(value: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(3 * value.len());
    for byte in value {
        if !text.is_empty() {
            text.push(':');
        }
        // Tables have a hundred thousand of them, so `format!` would cost more than all else.
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes of a hardware address written as `aa:bb:cc:dd:ee:ff`.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// The bytes of a hardware address, or an error that names the text.
pub fn hardware_address(text: &str) -> Result<[u8; 6], KernelError> {
    parse_mac(text)
        .ok_or_else(|| KernelError::with_words(Errno::EINVAL, format!("{text:?} is no hardware address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_attribute_covers_what_was_added_inside() {
        let message = Message::new(16, 0, &[0; 16]).nest(18, |inner| inner.text(1, "vrf").u32(2, 7)).u8(3, 9);
        let bytes = message.finish(1, 0);
        let top: Vec<_> = attributes(&bytes[32..]).collect();
        assert_eq!(top.len(), 2);
        assert_eq!(top[0].0, 18);
        let inner: Vec<_> = attributes(top[0].1).collect();
        assert_eq!(inner, vec![(1, &b"vrf\0"[..]), (2, &7u32.to_ne_bytes()[..])]);
        assert_eq!(top[1], (3, &[9u8][..]));
    }

    #[test]
    fn broken_attribute_lengths_end_the_walk() {
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 1, 2]).count(), 0);
        assert_eq!(attributes(&[4]).count(), 0);
        assert_eq!(attributes(&[5, 0, 1, 0, 7]).collect::<Vec<_>>(), vec![(1, &[7u8][..])]);
    }

    #[test]
    fn hardware_addresses_read_back_as_written() {
        assert_eq!(
            parse_mac("02:00:5e:10:00:ff").map(|mac| read_mac(&mac)).as_deref(),
            Some("02:00:5e:10:00:ff")
        );
        assert_eq!(parse_mac("02:00:5e:10:00"), None);
        assert_eq!(parse_mac("02:00:5e:10:00:ff:11"), None);
        assert_eq!(parse_mac("2:0:5e:10:0:ff"), None);
    }
}
