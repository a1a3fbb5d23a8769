//! What a port offers when it negotiates: link modes, each a speed and a duplex, by the names the kernel gives
//! them (`100baseT/Half`, `25000baseCR/Full`).

use std::collections::BTreeSet;

use super::wire::{Message, attributes, read_u32};

pub(super) const ETHTOOL_A_BITSET_BITS: u16 = 3;
pub(super) const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
pub(super) const ETHTOOL_A_BITSET_BIT_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BIT_VALUE: u16 = 3;

/// A speed and duplex a port can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    /// Its number (`ETHTOOL_LINK_MODE_…`, linux/ethtool.h).
    index: u32,
    speed_mbps: u32,
    full_duplex: bool,
    offered: bool,
}

/// The speeds and duplexes a port can, and which of them it offers. Empty of one that does not tell, as many
/// virtual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer(Vec<Mode>);

impl Offer {
    /// From a set of modes with their names. What is no speed (a medium, pauses, error correction) is left out.
    pub fn read(set: &[u8]) -> Offer {
        let bits = attributes(set).find(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS).map(|(_, bits)| bits);
        let bits = attributes(bits.unwrap_or_default());
        Offer(
            bits.filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT)
                .filter_map(|(_, bit)| mode(bit))
                .collect(),
        )
    }

    /// The one speed that is offered in Mbit/s, where it is one.
    pub fn speed_mbps(&self) -> Option<u32> {
        only(self.offered().map(|mode| mode.speed_mbps))
    }

    /// Whether both directions are offered to work at once, where it is that or not that.
    pub fn full_duplex(&self) -> Option<bool> {
        only(self.offered().map(|mode| mode.full_duplex))
    }

    /// Whether the port tells what it offers.
    pub fn is_told(&self) -> bool {
        self.offered().next().is_some()
    }

    fn offered(&self) -> impl Iterator<Item = &Mode> {
        self.0.iter().filter(|mode| mode.offered)
    }

    /// Why a port cannot offer this speed and duplex; of a port that does not tell what it can, nothing is said.
    /// The kernel would offer nothing at all instead.
    pub fn refusal(&self, speed_mbps: Option<u32>, full_duplex: Option<bool>) -> Option<String> {
        let fits = |mode: &Mode| {
            speed_mbps.is_none_or(|speed| speed == mode.speed_mbps)
                && full_duplex.is_none_or(|full| full == mode.full_duplex)
        };
        if self.0.is_empty() || self.0.iter().any(fits) {
            return None;
        }
        let words = |speed: Option<u32>, full: Option<bool>| {
            let speed = speed.map(|speed| format!("{speed} Mbit/s"));
            let duplex = full.map(|full| format!("{} duplex", if full { "full" } else { "half" }));
            speed.into_iter().chain(duplex).collect::<Vec<_>>().join(" ")
        };
        let can: BTreeSet<_> = self.0.iter().map(|mode| (mode.speed_mbps, mode.full_duplex)).collect();
        let can: Vec<_> = can.into_iter().map(|(speed, full)| words(Some(speed), Some(full))).collect();
        let wanted = words(speed_mbps, full_duplex);
        Some(format!("the port negotiates and cannot offer {wanted}, only {}", can.join(", ")))
    }

    /// Puts into a message that everything is offered. What the set says of other modes stays.
    pub fn put_all(&self, message: Message) -> Message {
        message.nest(ETHTOOL_A_BITSET_BITS, |bits| {
            self.0.iter().fold(bits, |bits, mode| {
                bits.nest(ETHTOOL_A_BITSET_BITS_BIT, |bit| {
                    bit.u32(ETHTOOL_A_BITSET_BIT_INDEX, mode.index).attribute(ETHTOOL_A_BITSET_BIT_VALUE, &[])
                })
            })
        })
    }

    /// Whether there is nothing it could offer.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value they all have.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

fn mode(bit: &[u8]) -> Option<Mode> {
    let (mut index, mut speed, mut offered) = (None, None, false);
    for (kind, value) in attributes(bit) {
        match kind {
            ETHTOOL_A_BITSET_BIT_INDEX => index = Some(read_u32(value)),
            ETHTOOL_A_BITSET_BIT_NAME => {
                speed = parse(std::str::from_utf8(value).ok()?.trim_end_matches('\0'))
            }
            ETHTOOL_A_BITSET_BIT_VALUE => offered = true,
            _ => {}
        }
    }
    let (speed_mbps, full_duplex) = speed?;
    Some(Mode { index: index?, speed_mbps, full_duplex, offered })
}

/// Speed in Mbit/s and duplex of a mode's name.
fn parse(name: &str) -> Option<(u32, bool)> {
    let (speed, rest) = name.split_once("base")?;
    let full_duplex = match rest.split_once('/') {
        Some((_, "Full")) => true,
        Some((_, "Half")) => false,
        // The one that is named otherwise.
        None if rest == "R_FEC" => true,
        _ => return None,
    };
    Some((speed.parse().ok()?, full_duplex))
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

    /// Of twisted pair, with those modes offered whose number is in `offered`.
    fn copper(offered: &[u32]) -> Offer {
        let modes = [
            (0, "10baseT/Half"),
            (1, "10baseT/Full"),
            (2, "100baseT/Half"),
            (3, "100baseT/Full"),
            (5, "1000baseT/Full"),
            (6, "Autoneg"),
            (7, "TP"),
            (13, "Pause"),
            (50, "RS"),
        ];
        Offer::read(&set(&modes.map(|(index, name)| (index, name, index > 5 || offered.contains(&index)))))
    }

    #[test]
    fn the_one_speed_that_is_offered_is_known_and_several_are_none() {
        for (offered, speed, full) in [
            (&[0, 1, 2, 3, 5][..], None, None),
            (&[2, 3], Some(100), None),
            (&[3], Some(100), Some(true)),
            (&[0, 2], None, Some(false)),
            (&[], None, None),
        ] {
            let offer = copper(offered);
            assert_eq!((offer.speed_mbps(), offer.full_duplex()), (speed, full), "{offered:?}");
            assert_eq!(offer.is_told(), !offered.is_empty());
        }
        let dear = Offer::read(&set(&[(31, "25000baseCR/Full", true), (70, "10000baseKR/Full", false)]));
        assert_eq!(dear.speed_mbps(), Some(25_000));
    }

    #[test]
    fn everything_a_port_can_is_offered_and_nothing_else_is_changed() {
        let message = copper(&[2, 3]).put_all(Message::new(0, 0, &[])).finish(1, 0);
        let bits = attributes(&message[16..]).next().unwrap().1;
        let named: Vec<(u32, bool)> = attributes(bits)
            .map(|(_, bit)| {
                let has =
                    |wanted: u16| attributes(bit).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
                (
                    read_u32(has(ETHTOOL_A_BITSET_BIT_INDEX).unwrap()),
                    has(ETHTOOL_A_BITSET_BIT_VALUE).is_some(),
                )
            })
            .collect();
        assert_eq!(named, [0, 1, 2, 3, 5].map(|index| (index, true)));
    }

    #[test]
    fn what_a_port_cannot_offer_is_refused_with_what_it_can() {
        let offer = copper(&[5]);
        for (speed, full) in [(Some(10), None), (Some(1000), Some(true)), (None, Some(false)), (None, None)] {
            assert_eq!(offer.refusal(speed, full), None, "{speed:?} {full:?}");
        }
        let words = offer.refusal(Some(1000), Some(false)).unwrap();
        assert!(
            words.contains("cannot offer 1000 Mbit/s half duplex, only 10 Mbit/s half duplex, 10"),
            "{words}"
        );
        assert!(offer.refusal(Some(25_000), None).unwrap().contains("offer 25000 Mbit/s, only"));
        assert_eq!(Offer::default().refusal(Some(10), None), None);
    }

    #[test]
    fn names_that_are_no_speed_are_none() {
        assert_eq!(parse("10000baseR_FEC"), Some((10_000, true)));
        for name in
            ["", "Autoneg", "base/Full", "10base", "10baseT/", "10baseT/Both", "99999999999baseT/Full"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
        assert!(Offer::read(&[3; 9]).is_empty());
    }
}
