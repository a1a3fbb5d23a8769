//! What a port runs at, over the generic netlink family `ethtool`: speed, duplex, negotiation, FEC.

use netd_api::config::model::Fec;
use nix::errno::Errno;

use super::connection::Connection;
use super::extack::KernelError;
use super::generic::{self, Family, payload_attributes};
use super::link::Settings;
use super::wire::{Message, attributes, read_u8, read_u32};
use crate::plan::{Mode, Offer, Setting, Value};

/// `linux/ethtool_netlink.h`.
pub(super) const FAMILY: &str = "ethtool";
pub(super) const FAMILY_VERSION: u8 = 1;
const ETHTOOL_MSG_LINKINFO_GET: u8 = 2;
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_MSG_LINKMODES_SET: u8 = 5;
pub(super) const ETHTOOL_MSG_LINKSTATE_GET: u8 = 6;
const ETHTOOL_MSG_FEC_GET: u8 = 29;
const ETHTOOL_MSG_FEC_SET: u8 = 30;
/// Events: others have numbers of their own.
pub(super) const ETHTOOL_MSG_LINKMODES_NTF: u8 = 5;
pub(super) const ETHTOOL_MSG_FEC_NTF: u8 = 31;
pub(super) const ETHTOOL_MCGRP_MONITOR_NAME: &str = "monitor";
/// Each message begins with this attribute, which names the device.
const ETHTOOL_A_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_HEADER_FLAGS: u16 = 3;
const ETHTOOL_FLAG_COMPACT_BITSETS: u32 = 1;
const ETHTOOL_A_LINKINFO_PORT: u16 = 2;
const ETHTOOL_A_LINKMODES_AUTONEG: u16 = 2;
const ETHTOOL_A_LINKMODES_OURS: u16 = 3;
const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;
const ETHTOOL_A_LINKMODES_DUPLEX: u16 = 6;
const ETHTOOL_A_LINKSTATE_LINK: u16 = 2;
const ETHTOOL_A_FEC_MODES: u16 = 2;
const ETHTOOL_A_FEC_AUTO: u16 = 3;
const ETHTOOL_A_BITSET_NOMASK: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BIT_VALUE: u16 = 3;
const ETHTOOL_A_BITSET_VALUE: u16 = 4;
/// The speed of a port that knows none (`linux/ethtool.h`, as are the values and bits that follow).
const SPEED_UNKNOWN: u32 = u32::MAX;
const DUPLEX_HALF: u8 = 0;
const DUPLEX_FULL: u8 = 1;
const DUPLEX_UNKNOWN: u8 = 0xff;
const FEC_NONE_BIT: u32 = 49;
const FEC_RS_BIT: u32 = 50;
const FEC_BASER_BIT: u32 = 51;

/// What a port runs at, or is to: to set, what is not to change is `None`; as read, what the driver does not know
/// (many know no speed without a carrier). Where it negotiates and tells its modes, speed and duplex are those of its
/// [`Offer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkModes {
    /// Whether speed and duplex are negotiated.
    pub autoneg: Option<bool>,
    /// Speed in Mbit/s, names of link modes, or that none is to be known any more.
    pub speed: Option<Value>,
    /// Whether both directions work at once, or that this is not to be known any more.
    pub full_duplex: Option<Value>,
}

impl LinkModes {
    /// Takes over what `other` sets.
    pub fn merge(&mut self, other: LinkModes) {
        self.autoneg = other.autoneg.or(self.autoneg);
        self.speed = other.speed.or(self.speed.take());
        self.full_duplex = other.full_duplex.or(self.full_duplex.take());
    }
}

/// A connection to the family.
#[derive(Debug)]
pub struct Ethtool {
    family: Family,
}

impl Ethtool {
    /// Opens a connection.
    pub fn open() -> Result<Ethtool, KernelError> {
        Ok(Ethtool { family: Family::open(FAMILY)? })
    }

    /// The connection and the family's number.
    pub(super) fn parts(&mut self) -> (&mut Connection, u16) {
        (&mut self.family.connection, self.family.id)
    }

    fn query<T>(
        &mut self,
        command: u8,
        index: u32,
        read: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, KernelError> {
        let query = device_message(self.family.id, command, index);
        self.family.connection.query(&query, read)
    }

    /// What the port with this index runs at, and what it can and offers if it negotiates. What was negotiated is
    /// an outcome, perhaps of before: what is set is the offer.
    pub fn link_modes(&mut self, index: u32) -> Result<(LinkModes, Offer), KernelError> {
        let (told, offer) = self.told_modes(index)?;
        if told.autoneg != Some(true) || offer.is_empty() {
            return Ok((told, Offer::default()));
        }
        // A driver may tell what it can, and what it offers only while it is up.
        let offer = if offer.is_told() { offer } else { Offer::default() };
        let speed = (!offer.is_empty()).then(|| offer.as_wish());
        Ok((LinkModes { autoneg: told.autoneg, speed, full_duplex: None }, offer))
    }

    /// What the port with this index runs at, and what it can, whether it negotiates or not.
    fn told_modes(&mut self, index: u32) -> Result<(LinkModes, Offer), KernelError> {
        let read = |_, payload: &[u8]| Some((read_modes(payload), read_offer(payload)));
        Ok(self.query(ETHTOOL_MSG_LINKMODES_GET, index, read)?.unwrap_or_default())
    }

    /// Changes what the port with this index negotiates, or runs at. One that negotiates and is told neither speed
    /// nor duplex offers all it can.
    pub fn set_link_modes(&mut self, index: u32, modes: &LinkModes) -> Result<(), KernelError> {
        let (told, offer) = match self.told_modes(index) {
            // A driver that tells nothing negotiates nothing, or refuses below.
            Err(error) if error.is_unsupported() => Default::default(),
            told => told?,
        };
        let (speed, full_duplex) = (modes.speed.as_ref(), modes.full_duplex.as_ref());
        let mut message = device_message(self.family.id, ETHTOOL_MSG_LINKMODES_SET, index);
        if let Some(on) = modes.autoneg {
            message = message.u8(ETHTOOL_A_LINKMODES_AUTONEG, on.into());
        }
        if modes.autoneg.or(told.autoneg) != Some(true) {
            message = put_fixed(message, speed, full_duplex);
        } else if offer.is_empty() {
            // The kernel would look for a mode of an unknown speed.
            let known = |value: &&Value| value.number().is_some();
            message = put_fixed(message, speed.filter(known), full_duplex.filter(known));
        } else if let Some(words) = offer.refusal(speed, full_duplex) {
            // It would offer nothing at all instead.
            return Err(KernelError::with_words(Errno::EINVAL, words));
        } else {
            let chosen = offer.chosen(speed, full_duplex);
            message = message.nest(ETHTOOL_A_LINKMODES_OURS, |set| put_offer(set, &chosen));
        }
        self.family.connection.request(message)
    }

    /// How the port with this index is told to correct errors; `None` for what has no name here.
    pub fn fec(&mut self, index: u32) -> Result<Option<Fec>, KernelError> {
        let query = addressed(self.family.id, ETHTOOL_MSG_FEC_GET, index, ETHTOOL_FLAG_COMPACT_BITSETS);
        self.family.connection.query(&query, |_, payload| read_fec(payload))
    }

    /// Changes how the port with this index corrects errors.
    pub fn set_fec(&mut self, index: u32, fec: Fec) -> Result<(), KernelError> {
        let message = fec_message(self.family.id, index, fec);
        self.family.connection.request(message)
    }

    /// What is plugged into the port with this index; empty when the driver does not say.
    pub fn medium(&mut self, index: u32) -> Result<&'static str, KernelError> {
        let found = self.query(ETHTOOL_MSG_LINKINFO_GET, index, |_, payload| Some(read_medium(payload)));
        Ok(found?.unwrap_or_default())
    }

    /// Whether the port with this index has a link; `None` when the driver does not say. Asking makes the
    /// kernel look at once, and tell its own users of the link, which by itself it may delay by a second.
    pub fn link_state(&mut self, index: u32) -> Result<Option<bool>, KernelError> {
        self.query(ETHTOOL_MSG_LINKSTATE_GET, index, |_, payload| read_link_state(payload))
    }

    /// The settings of the port with this index that its driver tells, and what it offers if it negotiates. One
    /// that tells nothing is no error: a wish for it is refused when it is set.
    pub fn settings(&mut self, index: u32) -> (Settings, Offer) {
        let (modes, offer) = self.link_modes(index).unwrap_or_default();
        let fec = self.fec(index).ok().flatten();
        let found = [
            (Setting::Autoneg, modes.autoneg.map(Value::Flag)),
            (Setting::Speed, modes.speed),
            (Setting::FullDuplex, modes.full_duplex),
            (Setting::Fec, fec.map(|fec| Value::from(fec.name()))),
        ];
        (found.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect(), offer)
    }
}

/// A message about the device with this index.
pub(super) fn device_message(family: u16, command: u8, index: u32) -> Message {
    addressed(family, command, index, 0)
}

fn addressed(family: u16, command: u8, index: u32, flags: u32) -> Message {
    generic::message(family, command, FAMILY_VERSION).nest(ETHTOOL_A_HEADER, |header| {
        header.u32(ETHTOOL_A_HEADER_DEV_INDEX, index).u32(ETHTOOL_A_HEADER_FLAGS, flags)
    })
}

/// Puts what a port that does not negotiate runs at.
fn put_fixed(mut message: Message, speed: Option<&Value>, full_duplex: Option<&Value>) -> Message {
    if let Some(speed) = speed {
        message = message.u32(ETHTOOL_A_LINKMODES_SPEED, speed.number().unwrap_or(SPEED_UNKNOWN));
    }
    if let Some(full) = full_duplex {
        let known = if full.is_on() { DUPLEX_FULL } else { DUPLEX_HALF };
        message =
            message.u8(ETHTOOL_A_LINKMODES_DUPLEX, if full.is_unknown() { DUPLEX_UNKNOWN } else { known });
    }
    message
}

/// Puts which modes are offered and which are not. What the set says of others stays.
fn put_offer(set: Message, offer: &Offer) -> Message {
    set.nest(ETHTOOL_A_BITSET_BITS, |bits| {
        offer.modes().fold(bits, |bits, (mode, offered)| {
            bits.nest(ETHTOOL_A_BITSET_BITS_BIT, |bit| {
                let bit = bit.text(ETHTOOL_A_BITSET_BIT_NAME, mode.name());
                if offered { bit.attribute(ETHTOOL_A_BITSET_BIT_VALUE, &[]) } else { bit }
            })
        })
    })
}

fn fec_message(family: u16, index: u32, fec: Fec) -> Message {
    let bit = match fec {
        Fec::Auto => None,
        Fec::Off => Some(FEC_NONE_BIT),
        Fec::Rs => Some(FEC_RS_BIT),
        Fec::BaseR => Some(FEC_BASER_BIT),
    };
    device_message(family, ETHTOOL_MSG_FEC_SET, index)
        .nest(ETHTOOL_A_FEC_MODES, |modes| {
            // Without a mask, bits that are not named are cleared.
            let modes = modes.attribute(ETHTOOL_A_BITSET_NOMASK, &[]);
            modes.nest(ETHTOOL_A_BITSET_BITS, |bits| match bit {
                Some(bit) => {
                    bits.nest(ETHTOOL_A_BITSET_BITS_BIT, |entry| entry.u32(ETHTOOL_A_BITSET_BIT_INDEX, bit))
                }
                None => bits,
            })
        })
        .u8(ETHTOOL_A_FEC_AUTO, (fec == Fec::Auto).into())
}

pub(super) fn read_modes(payload: &[u8]) -> LinkModes {
    let mut modes = LinkModes::default();
    for (kind, value) in payload_attributes(payload) {
        match kind {
            ETHTOOL_A_LINKMODES_AUTONEG => modes.autoneg = Some(read_u8(value) != 0),
            ETHTOOL_A_LINKMODES_SPEED => {
                let known = Some(read_u32(value)).filter(|speed| ![0, SPEED_UNKNOWN].contains(speed));
                modes.speed = known.map(Value::Number);
            }
            ETHTOOL_A_LINKMODES_DUPLEX => {
                modes.full_duplex = match read_u8(value) {
                    DUPLEX_HALF => Some(Value::Flag(false)),
                    DUPLEX_FULL => Some(Value::Flag(true)),
                    _ => None,
                };
            }
            _ => {}
        }
    }
    modes
}

fn read_offer(payload: &[u8]) -> Offer {
    let ours = payload_attributes(payload).find(|(kind, _)| *kind == ETHTOOL_A_LINKMODES_OURS);
    ours.map(|(_, modes)| read_modes_set(modes)).unwrap_or_default()
}

/// From a set of modes with their names. What is no speed is left out.
pub(super) fn read_modes_set(set: &[u8]) -> Offer {
    let bits = attributes(set).find(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS).map(|(_, bits)| bits);
    let bits = attributes(bits.unwrap_or_default()).filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT);
    bits.filter_map(|(_, bit)| read_mode(bit)).collect()
}

fn read_mode(bit: &[u8]) -> Option<(Mode, bool)> {
    let part = |wanted: u16| attributes(bit).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let name = std::str::from_utf8(part(ETHTOOL_A_BITSET_BIT_NAME)?).ok()?;
    Some((Mode::from_name(name.trim_end_matches('\0'))?, part(ETHTOOL_A_BITSET_BIT_VALUE).is_some()))
}

pub(super) fn read_fec(payload: &[u8]) -> Option<Fec> {
    let (mut auto, mut bits): (bool, &[u8]) = (false, &[]);
    for (kind, value) in payload_attributes(payload) {
        match kind {
            ETHTOOL_A_FEC_AUTO => auto = read_u8(value) != 0,
            ETHTOOL_A_FEC_MODES => {
                let words = attributes(value).find(|(kind, _)| *kind == ETHTOOL_A_BITSET_VALUE);
                bits = words.map_or(&[], |(_, words)| words);
            }
            _ => {}
        }
    }
    let has = |bit: u32| {
        let word = read_u32(bits.get((bit / 32 * 4) as usize..).unwrap_or_default());
        word >> (bit % 32) & 1 == 1
    };
    match (auto, has(FEC_NONE_BIT), has(FEC_RS_BIT), has(FEC_BASER_BIT)) {
        (true, ..) => Some(Fec::Auto),
        (false, true, false, false) => Some(Fec::Off),
        (false, false, true, false) => Some(Fec::Rs),
        (false, false, false, true) => Some(Fec::BaseR),
        _ => None,
    }
}

/// `PORT_…` (linux/ethtool.h).
pub(super) fn read_medium(payload: &[u8]) -> &'static str {
    let port = payload_attributes(payload).find(|(kind, _)| *kind == ETHTOOL_A_LINKINFO_PORT);
    match port.map(|(_, value)| read_u8(value)) {
        Some(0) => "twisted pair",
        Some(3) => "fibre",
        Some(5) => "direct attach",
        Some(0xef) => "none",
        _ => "",
    }
}

/// Index of the device an answer is about; 0 when it does not say.
pub(super) fn read_index(payload: &[u8]) -> u32 {
    let header = payload_attributes(payload).find(|(kind, _)| *kind == ETHTOOL_A_HEADER);
    let inside = header.and_then(|(_, value)| {
        attributes(value).find(|(kind, _)| *kind == ETHTOOL_A_HEADER_DEV_INDEX).map(|(_, index)| index)
    });
    inside.map_or(0, read_u32)
}

pub(super) fn read_link_state(payload: &[u8]) -> Option<bool> {
    let link = payload_attributes(payload).find(|(kind, _)| *kind == ETHTOOL_A_LINKSTATE_LINK);
    link.map(|(_, value)| read_u8(value) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set as the kernel sends it: numbers, names, and whether each is offered.
    fn set(modes: &[(u32, &str, bool)]) -> Vec<u8> {
        let message = Message::new(0, 0, &[]).nest(ETHTOOL_A_BITSET_BITS, |bits| {
            modes.iter().fold(bits, |bits, (index, name, offered)| {
                bits.nest(ETHTOOL_A_BITSET_BITS_BIT, |bit| {
                    let bit =
                        bit.u32(ETHTOOL_A_BITSET_BIT_INDEX, *index).text(ETHTOOL_A_BITSET_BIT_NAME, name);
                    if *offered { bit.attribute(ETHTOOL_A_BITSET_BIT_VALUE, &[]) } else { bit }
                })
            })
        });
        message.finish(1, 0)[16..].to_vec()
    }

    #[test]
    fn modes_are_read_by_their_names_and_what_is_no_speed_is_left_out() {
        let offer = read_modes_set(&set(&[
            (3, "100baseT/Full", false),
            (5, "1000baseT/Full", true),
            (6, "Autoneg", true),
            (7, "TP", true),
            (50, "RS", false),
        ]));
        let modes: Vec<_> = offer.modes().map(|(mode, offered)| (mode.name(), offered)).collect();
        assert_eq!(modes, [("100baseT/Full", false), ("1000baseT/Full", true)]);
        assert!(read_modes_set(&[3; 9]).is_empty());
    }

    #[test]
    fn an_offer_is_sent_as_it_is_read() {
        let offer = read_modes_set(&set(&[(3, "100baseT/Full", false), (5, "1000baseT/Full", true)]));
        let message = put_offer(Message::new(0, 0, &[]), &offer).finish(1, 0);
        assert_eq!(read_modes_set(&message[16..]), offer);
    }
}
