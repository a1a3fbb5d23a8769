//! What a port offers when it negotiates: link modes, each a speed and a duplex, by the names the kernel gives
//! them (`100baseT/Half`, `25000baseCR/Full`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::setting::Value;

/// A speed and duplex a port can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode {
    speed_mbps: u32,
    full_duplex: bool,
    name: String,
}

impl Mode {
    /// The mode of this name; `None` for what is no speed: a medium, pauses, error correction.
    pub fn from_name(name: &str) -> Option<Mode> {
        let (speed, rest) = name.split_once("base")?;
        let full_duplex = match rest.split_once('/') {
            Some((_, "Full")) => true,
            Some((_, "Half")) => false,
            // The one that is named otherwise.
            None if rest == "R_FEC" => true,
            _ => return None,
        };
        Some(Mode { speed_mbps: speed.parse().ok()?, full_duplex, name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is one of those a wish for a speed and a duplex is about.
    fn fits(&self, speed: Option<&Value>, full_duplex: Option<&Value>) -> bool {
        let of_speed = match speed {
            Some(any) if any.is_unknown() => true,
            Some(Value::Text(names)) => names.split(' ').any(|name| name == self.name),
            Some(Value::Number(mbps)) => *mbps == self.speed_mbps,
            Some(Value::Flag(_)) | None => true,
        };
        let of_duplex = full_duplex.is_none_or(|full| full.is_unknown() || full.is_on() == self.full_duplex);
        of_speed && of_duplex
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        mode.name
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(name: String) -> Result<Mode, String> {
        Mode::from_name(&name).ok_or_else(|| format!("{name:?} is no link mode"))
    }
}

/// The speeds and duplexes a port can, and whether it offers each. Empty of one that does not tell, as many virtual
/// ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offer(BTreeMap<Mode, bool>);

impl FromIterator<(Mode, bool)> for Offer {
    fn from_iter<T: IntoIterator<Item = (Mode, bool)>>(modes: T) -> Offer {
        Offer(modes.into_iter().collect())
    }
}

impl Offer {
    /// Whether there is nothing the port could offer, as far as it tells.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the port tells what it offers.
    pub fn is_told(&self) -> bool {
        self.0.values().any(|offered| *offered)
    }

    /// What is offered, as the wish for a speed that has it offered again: unknown for everything, else the names of
    /// the modes.
    pub fn as_wish(&self) -> Value {
        if self.0.values().all(|offered| *offered) {
            return Value::unknown();
        }
        let names = self.0.iter().filter(|(_, offered)| **offered).map(|(mode, _)| mode.name.as_str());
        Value::Text(names.collect::<Vec<_>>().join(" "))
    }

    /// The same port with what a wish for a speed and a duplex comes to: what it can of that, and no more. Names of
    /// modes of which it can none, or none of that duplex, are those of something else that was plugged in: then they
    /// ask for nothing.
    pub fn chosen(&self, speed: Option<&Value>, full_duplex: Option<&Value>) -> Offer {
        let only = |speed: Option<&Value>| -> Offer {
            self.0.keys().map(|mode| (mode.clone(), mode.fits(speed, full_duplex))).collect()
        };
        let chosen = only(speed);
        let is_names = speed.is_some_and(|speed| speed.number().is_none());
        if is_names && !chosen.is_told() { only(None) } else { chosen }
    }

    /// Why a port cannot offer what is wanted, of which it can nothing; of one that does not tell what it can,
    /// nothing is said.
    pub fn refusal(&self, speed: Option<&Value>, full_duplex: Option<&Value>) -> Option<String> {
        if self.is_empty() || self.chosen(speed, full_duplex).is_told() {
            return None;
        }
        let words = |mbps: Option<u32>, full: Option<bool>| {
            let speed = mbps.map(|mbps| format!("{mbps} Mbit/s"));
            let duplex = full.map(|full| format!("{} duplex", if full { "full" } else { "half" }));
            speed.into_iter().chain(duplex).collect::<Vec<_>>().join(" ")
        };
        let can: BTreeSet<_> = self.0.keys().map(|mode| (mode.speed_mbps, mode.full_duplex)).collect();
        let can: Vec<_> = can.into_iter().map(|(mbps, full)| words(Some(mbps), Some(full))).collect();
        let full = full_duplex.filter(|full| !full.is_unknown()).map(Value::is_on);
        let wanted = words(speed.and_then(Value::number), full);
        Some(format!("the port negotiates and cannot offer {wanted}, only {}", can.join(", ")))
    }

    /// The modes it can, and whether it offers each.
    pub fn modes(&self) -> impl Iterator<Item = (&Mode, bool)> {
        self.0.iter().map(|(mode, offered)| (mode, *offered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "10baseT/Half 10baseT/Full 100baseT/Half 100baseT/Full 1000baseT/Full";

    /// Of twisted pair, with those modes offered that `offered` names.
    fn copper(offered: &str) -> Offer {
        let is_offered = |name: &str| offered.split(' ').any(|other| other == name);
        ALL.split(' ').map(|name| (Mode::from_name(name).unwrap(), is_offered(name))).collect()
    }

    fn mbps(speed: u32) -> Option<Value> {
        Some(Value::Number(speed))
    }

    fn full(full: bool) -> Option<Value> {
        Some(Value::Flag(full))
    }

    #[test]
    fn a_wish_comes_to_the_modes_of_its_speed_and_duplex() {
        let (none, unknown) = (None, Some(Value::unknown()));
        for (speed, duplex, modes) in [
            (mbps(100), none.clone(), "100baseT/Half 100baseT/Full"),
            (mbps(100), unknown.clone(), "100baseT/Half 100baseT/Full"),
            (mbps(100), full(true), "100baseT/Full"),
            (mbps(1000), none.clone(), "1000baseT/Full"),
            (mbps(1000), full(true), "1000baseT/Full"),
            (mbps(1000), full(false), ""),
            (unknown.clone(), full(false), "10baseT/Half 100baseT/Half"),
            (unknown.clone(), unknown, ALL),
            (none.clone(), none.clone(), ALL),
            (Some(Value::from("10baseT/Full 40000baseCR4/Full")), none.clone(), "10baseT/Full"),
            (Some(Value::from("10baseT/Half 10baseT/Full")), full(true), "10baseT/Full"),
            (Some(Value::from("40000baseCR4/Full")), none, ALL),
        ] {
            // Whatever it offers before.
            for before in ["", "10baseT/Half", ALL] {
                let chosen = copper(before).chosen(speed.as_ref(), duplex.as_ref());
                assert_eq!(chosen, copper(modes), "{speed:?} {duplex:?}");
            }
        }
    }

    #[test]
    fn what_is_offered_is_offered_again_by_the_speed_it_is_told_as() {
        assert_eq!(copper(ALL).as_wish(), Value::unknown());
        assert_eq!(copper("100baseT/Full 10baseT/Full").as_wish(), Value::from("10baseT/Full 100baseT/Full"));
        for offered in [ALL, "1000baseT/Full", "10baseT/Half 100baseT/Full"] {
            assert_eq!(
                copper("10baseT/Full").chosen(Some(&copper(offered).as_wish()), None),
                copper(offered)
            );
        }
        assert!(!copper("").is_told() && copper("10baseT/Full").is_told());
    }

    #[test]
    fn what_a_port_cannot_offer_is_refused_with_what_it_can() {
        let offer = copper("1000baseT/Full");
        for (speed, duplex) in [(mbps(10), None), (mbps(1000), full(true)), (None, full(false)), (None, None)]
        {
            assert_eq!(offer.refusal(speed.as_ref(), duplex.as_ref()), None, "{speed:?} {duplex:?}");
        }
        let words = offer.refusal(mbps(1000).as_ref(), full(false).as_ref()).unwrap();
        assert!(
            words.contains("cannot offer 1000 Mbit/s half duplex, only 10 Mbit/s half duplex, 10"),
            "{words}"
        );
        assert!(offer.refusal(mbps(25_000).as_ref(), None).unwrap().contains("offer 25000 Mbit/s, only"));
        assert_eq!(Offer::default().refusal(mbps(10).as_ref(), None), None);
    }

    #[test]
    fn names_that_are_no_speed_are_none() {
        let mode = Mode::from_name("10000baseR_FEC").unwrap();
        assert_eq!((mode.speed_mbps, mode.full_duplex), (10_000, true));
        for name in
            ["", "Autoneg", "base/Full", "10base", "10baseT/", "10baseT/Both", "99999999999baseT/Full"]
        {
            assert_eq!(Mode::from_name(name), None, "{name}");
        }
    }
}
