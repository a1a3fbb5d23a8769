//! Ethernet frames: built for a test, taken apart after a capture.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, ensure};

/// Ethertype of test frames: "IEEE Std 802 - Local Experimental Ethertype 1".
pub const ETHERTYPE_TEST: u16 = 0x88b5;
/// Ethertype of an 802.1Q tag.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// Where the priority code point stands in a tag.
const PRIORITY_SHIFT: u16 = 13;
/// Smallest frame without its check sequence (IEEE 802.3), in bytes.
const MINIMUM_BYTES: usize = 60;

/// An EUI-48 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the segment.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The address of test host `number`, locally administered.
    pub fn of_host(number: u16) -> Mac {
        let [high, low] = number.to_be_bytes();
        Mac([0x02, 0xc0, 0x27, 0xe2, high, low])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = text
            .split(':')
            .map(|part| u8::from_str_radix(part, 16))
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{text:?} is not a hardware address"))?;
        ensure!(bytes.len() == 6, "{text:?} is not a hardware address of six bytes");
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes);
        Ok(Mac(mac))
    }
}

/// A frame to be sent: Ethernet II, with 802.1Q tags if any were asked for.
#[derive(Clone, Debug)]
pub struct Frame {
    destination: Mac,
    source: Mac,
    tags: Vec<u16>,
    ethertype: u16,
    payload: Vec<u8>,
}

impl Frame {
    /// An untagged test frame without payload.
    pub fn new(source: Mac, destination: Mac) -> Self {
        Frame { destination, source, tags: Vec::new(), ethertype: ETHERTYPE_TEST, payload: Vec::new() }
    }

    /// Adds an 802.1Q tag (priority 0) inside those already there. The id is not checked: tests send wrong ones.
    pub fn vlan(self, vlan_id: u16) -> Self {
        self.tag(vlan_id, 0)
    }

    /// Adds an 802.1Q tag with this priority code point, 0 to 7, inside those already there.
    pub fn tag(mut self, vlan_id: u16, priority: u8) -> Self {
        self.tags.push(u16::from(priority) << PRIORITY_SHIFT | vlan_id);
        self
    }

    /// Another ethertype than [`ETHERTYPE_TEST`].
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = ethertype;
        self
    }

    /// What the frame carries.
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// The bytes on the wire, padded to the smallest legal length, without check sequence.
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MINIMUM_BYTES + self.payload.len());
        bytes.extend_from_slice(&self.destination.0);
        bytes.extend_from_slice(&self.source.0);
        for tag in &self.tags {
            bytes.extend_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
            bytes.extend_from_slice(&tag.to_be_bytes());
        }
        bytes.extend_from_slice(&self.ethertype.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        if bytes.len() < MINIMUM_BYTES {
            bytes.resize(MINIMUM_BYTES, 0);
        }
        bytes
    }
}

/// A captured frame, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Destination address.
    pub destination: Mac,
    /// Source address.
    pub source: Mac,
    /// VLAN id of the outer 802.1Q tag; `None` when untagged.
    pub vlan_id: Option<u16>,
    /// Priority code point of that tag; 0 when untagged.
    pub priority: u8,
    /// Ethertype behind the outer tag.
    pub ethertype: u16,
    /// What follows, padding included.
    pub payload: &'a [u8],
}

impl<'a> View<'a> {
    /// Takes a frame apart; `None` when it is too short.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mac = |from: usize| -> Option<Mac> { Some(Mac(bytes.get(from..from + 6)?.try_into().ok()?)) };
        let word = |from: usize| -> Option<u16> {
            Some(u16::from_be_bytes(bytes.get(from..from + 2)?.try_into().ok()?))
        };
        let (tag, at) = match word(12)? {
            ETHERTYPE_VLAN => (Some(word(14)?), 16),
            _ => (None, 12),
        };
        Some(View {
            destination: mac(0)?,
            source: mac(6)?,
            vlan_id: tag.map(|tag| tag & 0x0fff),
            priority: (tag.unwrap_or_default() >> PRIORITY_SHIFT) as u8,
            ethertype: word(at)?,
            payload: bytes.get(at + 2..)?,
        })
    }

    /// Whether this text is in the payload.
    pub fn carries(&self, text: &str) -> bool {
        contains(self.payload, text.as_bytes())
    }
}

/// Whether `needle` is somewhere in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    find(haystack, needle).is_some()
}

/// Where `needle` begins in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_frame_comes_apart_as_it_was_built() {
        let bytes = Frame::new(Mac::of_host(1), Mac::BROADCAST).tag(20, 5).payload("hello").build();
        let view = View::parse(&bytes).unwrap();
        assert_eq!(bytes.len(), 60);
        assert_eq!(
            (view.source, view.destination, view.vlan_id),
            (Mac::of_host(1), Mac::BROADCAST, Some(20))
        );
        assert_eq!((view.priority, view.ethertype), (5, ETHERTYPE_TEST));
        assert!(view.carries("hello"));
    }

    #[test]
    fn an_untagged_frame_has_no_vlan() {
        let bytes = Frame::new(Mac::of_host(1), Mac::of_host(2)).payload("x").build();
        assert_eq!(View::parse(&bytes).unwrap().vlan_id, None);
    }

    #[test]
    fn a_truncated_frame_is_no_frame() {
        let bytes = Frame::new(Mac::of_host(1), Mac::of_host(2)).vlan(1).build();
        assert!(View::parse(&bytes[..15]).is_none());
        assert!(View::parse(&[]).is_none());
    }

    #[test]
    fn an_address_reads_as_it_prints() {
        let mac = Mac::of_host(513);
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        assert!("02:00".parse::<Mac>().is_err());
        assert!("zz:00:00:00:00:00".parse::<Mac>().is_err());
    }
}
