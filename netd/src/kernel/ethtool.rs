//! What a port runs at, over the generic netlink family `ethtool`: speed, duplex, negotiation, FEC.

use netd_api::config::model::Fec;
use nix::errno::Errno;

use super::extack::KernelError;
use super::generic::{self, Family, payload_attributes};
use super::link::Settings;
use super::offer::{ETHTOOL_A_BITSET_BIT_INDEX, ETHTOOL_A_BITSET_BITS, ETHTOOL_A_BITSET_BITS_BIT, Offer};
use super::wire::{Message, attributes, read_u8, read_u32};
use crate::plan::{Setting, Value};

/// `linux/ethtool_netlink.h`.
pub(super) const FAMILY: &str = "ethtool";
const VERSION: u8 = 1;
const ETHTOOL_MSG_LINKINFO_GET: u8 = 2;
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_MSG_LINKMODES_SET: u8 = 5;
pub(super) const ETHTOOL_MSG_LINKSTATE_GET: u8 = 6;
const ETHTOOL_MSG_FEC_GET: u8 = 29;
const ETHTOOL_MSG_FEC_SET: u8 = 30;
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
const ETHTOOL_A_BITSET_VALUE: u16 = 4;
/// The speed of a port that knows none (`linux/ethtool.h`, as are the values and bits that follow).
pub const SPEED_UNKNOWN: u32 = u32::MAX;
const DUPLEX_HALF: u8 = 0;
const DUPLEX_FULL: u8 = 1;
const DUPLEX_UNKNOWN: u8 = 0xff;
const FEC_NONE_BIT: u32 = 49;
const FEC_RS_BIT: u32 = 50;
const FEC_BASER_BIT: u32 = 51;

/// Whether both directions work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// One at a time.
    Half,
    /// Both.
    Full,
    /// To be forgotten; as read, that both are offered.
    Unknown,
}

impl Duplex {
    /// Full, or half.
    pub fn of(full: bool) -> Duplex {
        if full { Duplex::Full } else { Duplex::Half }
    }

    fn value(self) -> Value {
        match self {
            Duplex::Unknown => Value::unknown(),
            duplex => Value::Flag(duplex == Duplex::Full),
        }
    }
}

/// What a port offers where it negotiates, and runs at where it does not: to set, what is not to change is `None`;
/// as read, what the driver does not know (many know no speed without a carrier).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkModes {
    /// Whether speed and duplex are negotiated.
    pub autoneg: Option<bool>,
    /// Speed in Mbit/s; [`SPEED_UNKNOWN`] to forget it; as read, that several are offered.
    pub speed_mbps: Option<u32>,
    /// Whether both directions work at once.
    pub duplex: Option<Duplex>,
}

impl LinkModes {
    /// Takes over what `other` sets.
    pub fn merge(&mut self, other: &LinkModes) {
        self.autoneg = other.autoneg.or(self.autoneg);
        self.speed_mbps = other.speed_mbps.or(self.speed_mbps);
        self.duplex = other.duplex.or(self.duplex);
    }

    /// The same without what is to be forgotten: of a port that negotiates, the kernel would look for a mode
    /// of an unknown speed.
    fn named(&self) -> LinkModes {
        LinkModes {
            speed_mbps: self.speed_mbps.filter(|speed| *speed != SPEED_UNKNOWN),
            duplex: self.duplex.filter(|duplex| *duplex != Duplex::Unknown),
            ..*self
        }
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

    fn query<T>(
        &mut self,
        command: u8,
        index: u32,
        read: impl FnMut(u16, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, KernelError> {
        let query = device_message(self.family.id, command, index);
        self.family.connection.query(&query, read)
    }

    /// What the port with this index negotiates, or runs at.
    pub fn link_modes(&mut self, index: u32) -> Result<LinkModes, KernelError> {
        let (told, offer) = self.told_modes(index)?;
        if told.autoneg != Some(true) || offer.is_empty() {
            return Ok(told);
        }
        // What was negotiated is an outcome, perhaps of before; what is set is what is offered.
        let known = offer.is_told();
        let duplex = offer.full_duplex().map_or(Duplex::Unknown, Duplex::of);
        Ok(LinkModes {
            autoneg: told.autoneg,
            speed_mbps: known.then(|| offer.speed_mbps().unwrap_or(SPEED_UNKNOWN)),
            duplex: known.then_some(duplex),
        })
    }

    /// What the port with this index runs at, and what it can and offers.
    fn told_modes(&mut self, index: u32) -> Result<(LinkModes, Offer), KernelError> {
        let read = |_, payload: &[u8]| Some((read_modes(payload), read_offer(payload)));
        Ok(self.query(ETHTOOL_MSG_LINKMODES_GET, index, read)?.unwrap_or_default())
    }

    /// Changes what the port with this index negotiates, or runs at. One that negotiates and is told neither speed
    /// nor duplex offers all it can.
    pub fn set_link_modes(&mut self, index: u32, modes: &LinkModes) -> Result<(), KernelError> {
        // A driver that tells nothing negotiates nothing, or refuses below.
        let (told, offer) = self.told_modes(index).unwrap_or_default();
        let id = self.family.id;
        if modes.autoneg.or(told.autoneg) != Some(true) {
            return self.family.connection.request(modes_message(id, index, modes));
        }
        let named = modes.named();
        let full_duplex = named.duplex.map(|duplex| duplex == Duplex::Full);
        if let Some(words) = offer.refusal(named.speed_mbps, full_duplex) {
            return Err(KernelError::with_words(Errno::EINVAL, words));
        }
        let mut message = modes_message(id, index, &named);
        if named.speed_mbps.is_none() && full_duplex.is_none() && !offer.is_empty() {
            message = message.nest(ETHTOOL_A_LINKMODES_OURS, |modes| offer.put_all(modes));
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

    /// The settings of the port with this index that its driver tells. One that tells nothing is no error:
    /// a wish for it is refused when it is set.
    pub fn settings(&mut self, index: u32) -> Settings {
        let modes = self.link_modes(index).unwrap_or_default();
        let fec = self.fec(index).ok().flatten();
        let found = [
            (Setting::Autoneg, modes.autoneg.map(Value::Flag)),
            (Setting::Speed, modes.speed_mbps.map(speed_value)),
            (Setting::FullDuplex, modes.duplex.map(Duplex::value)),
            (Setting::Fec, fec.map(|fec| Value::from(fec.name()))),
        ];
        found.into_iter().filter_map(|(setting, value)| Some((setting, value?))).collect()
    }
}

/// A message about the device with this index.
pub(super) fn device_message(family: u16, command: u8, index: u32) -> Message {
    addressed(family, command, index, 0)
}

fn addressed(family: u16, command: u8, index: u32, flags: u32) -> Message {
    generic::message(family, command, VERSION).nest(ETHTOOL_A_HEADER, |header| {
        header.u32(ETHTOOL_A_HEADER_DEV_INDEX, index).u32(ETHTOOL_A_HEADER_FLAGS, flags)
    })
}

fn speed_value(mbps: u32) -> Value {
    if mbps == SPEED_UNKNOWN { Value::unknown() } else { Value::Number(mbps) }
}

fn modes_message(family: u16, index: u32, modes: &LinkModes) -> Message {
    let mut message = device_message(family, ETHTOOL_MSG_LINKMODES_SET, index);
    if let Some(on) = modes.autoneg {
        message = message.u8(ETHTOOL_A_LINKMODES_AUTONEG, on.into());
    }
    if let Some(speed) = modes.speed_mbps {
        message = message.u32(ETHTOOL_A_LINKMODES_SPEED, speed);
    }
    if let Some(duplex) = modes.duplex {
        let value = match duplex {
            Duplex::Half => DUPLEX_HALF,
            Duplex::Full => DUPLEX_FULL,
            Duplex::Unknown => DUPLEX_UNKNOWN,
        };
        message = message.u8(ETHTOOL_A_LINKMODES_DUPLEX, value);
    }
    message
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
                modes.speed_mbps = Some(read_u32(value)).filter(|speed| ![0, SPEED_UNKNOWN].contains(speed));
            }
            ETHTOOL_A_LINKMODES_DUPLEX => {
                modes.duplex = match read_u8(value) {
                    DUPLEX_HALF => Some(Duplex::Half),
                    DUPLEX_FULL => Some(Duplex::Full),
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
    ours.map(|(_, modes)| Offer::read(modes)).unwrap_or_default()
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
