//! Filters of frames on a link (`clsact`, tc(8)), and their differences.
//!
//! netd's own have preferences of a range of their own. Others' are neither compared nor removed.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::network::Network;
use super::step::{Action, Step};
use super::usable::Usable;

/// What tells filters apart. In text: `swp1 ingress 16384`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilterKey {
    /// Link.
    pub link: String,
    /// Which frames of the link.
    pub direction: Direction,
    /// Of several filters those with a lower one come first.
    pub preference: u16,
}

impl FilterKey {
    /// First preference of netd's range; tc(8) counts down from 49152 by itself.
    pub const FIRST: u16 = 0x4000;
    /// Last preference of netd's range.
    pub const LAST: u16 = 0x4fff;

    /// Whether a preference is one of netd's.
    pub fn is_own(preference: u16) -> bool {
        (Self::FIRST..=Self::LAST).contains(&preference)
    }
}

/// Frames that come in, or that go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Frames that come in.
    Ingress,
    /// Frames that go out.
    Egress,
}

impl Direction {
    /// Both, as tc(8) calls them.
    pub const NAMES: [(&str, Direction); 2] =
        [("ingress", Direction::Ingress), ("egress", Direction::Egress)];
}

/// A filter: the frames it is about, and what is done with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Filter {
    /// Frames to some addresses.
    Destination {
        /// Their destination.
        address: MaskedMac,
        /// Their tag.
        tag: Tag,
        /// What is done with it.
        action: TagAction,
    },
    /// Found: something netd does not make, in the place of one of its filters.
    Other,
}

/// Hardware addresses that are alike in the bits of a mask. In text `01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0`, or the
/// address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaskedMac {
    /// One of them.
    pub address: [u8; 6],
    /// Bits in which they are alike.
    pub mask: [u8; 6],
}

impl MaskedMac {
    /// One address.
    pub fn one(address: [u8; 6]) -> MaskedMac {
        MaskedMac { address, mask: [0xff; 6] }
    }
}

/// The 802.1Q tag of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// None.
    Untagged,
    /// One with this VLAN id; 0 says a priority only.
    Vlan(u16),
}

/// What is done with the tag of a frame, as in tc-vlan(8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TagAction {
    /// One with this VLAN id is added.
    Push(u16),
    /// The VLAN id becomes this one; the priority stays.
    Modify(u16),
    /// It is removed.
    Pop,
}

impl fmt::Display for FilterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Direction::NAMES.iter();
        let name = names.clone().find(|(_, known)| *known == self.direction).map_or("", |(name, _)| name);
        write!(f, "{} {name} {}", self.link, self.preference)
    }
}

impl From<FilterKey> for String {
    fn from(key: FilterKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for FilterKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let key = match words.as_slice() {
            [link, direction, preference] => {
                let direction = Direction::NAMES.iter().find(|(name, _)| name == direction);
                direction.zip(preference.parse().ok()).map(|((_, direction), preference)| FilterKey {
                    link: (*link).to_owned(),
                    direction: *direction,
                    preference,
                })
            }
            _ => None,
        };
        key.ok_or_else(|| format!("{text:?} is no `LINK DIRECTION PREFERENCE`"))
    }
}

impl fmt::Display for MaskedMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: [u8; 6]| bytes.map(|byte| format!("{byte:02x}")).join(":");
        f.write_str(&text(self.address))?;
        if self.mask == [0xff; 6] { Ok(()) } else { write!(f, "/{}", text(self.mask)) }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Filter::Destination { address, tag, action } = self else { return f.write_str("of others") };
        write!(f, "to {address} ")?;
        match tag {
            Tag::Untagged => f.write_str("untagged")?,
            Tag::Vlan(id) => write!(f, "vlan {id}")?,
        }
        match action {
            TagAction::Push(id) => write!(f, ": vlan push {id}"),
            TagAction::Modify(id) => write!(f, ": vlan modify {id}"),
            TagAction::Pop => f.write_str(": vlan pop"),
        }
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> String {
        filter.to_string()
    }
}

impl TryFrom<String> for Filter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == Filter::Other.to_string() {
            return Ok(Filter::Other);
        }
        read(&text).ok_or_else(|| format!("{text:?} is no `to ADDRESS TAG: ACTION`"))
    }
}

fn read(text: &str) -> Option<Filter> {
    let (frames, action) = text.strip_prefix("to ")?.split_once(": vlan ")?;
    let (address, tag) = frames.split_once(' ')?;
    let tag = match tag {
        "untagged" => Tag::Untagged,
        vlan => Tag::Vlan(vlan.strip_prefix("vlan ")?.parse().ok()?),
    };
    let action = match action.split_once(' ') {
        Some(("push", id)) => TagAction::Push(id.parse().ok()?),
        Some(("modify", id)) => TagAction::Modify(id.parse().ok()?),
        _ if action == "pop" => TagAction::Pop,
        _ => return None,
    };
    let mac = |text: &str| {
        let bytes: Vec<u8> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect::<Option<_>>()?;
        <[u8; 6]>::try_from(bytes).ok()
    };
    let address = match address.split_once('/') {
        Some((address, mask)) => MaskedMac { address: mac(address)?, mask: mac(mask)? },
        None => MaskedMac::one(mac(address)?),
    };
    Some(Filter::Destination { address, tag, action })
}

impl Network {
    /// Adds a filter, and what filters need to be on a link.
    pub fn add_filter(&mut self, key: FilterKey, filter: Filter) {
        if let Some(link) = self.links.get_mut(&key.link) {
            link.clsact = true;
            self.filters.insert(key, filter);
        }
    }
}

pub(super) fn diff(
    desired: &Network,
    actual: &Network,
    usable: &Usable<'_>,
    recreated: &BTreeSet<String>,
    steps: &mut Vec<Step>,
) {
    let step = |key: &FilterKey, filter: &Filter, add| {
        Step::reversible(Action::Filter { key: key.clone(), filter: filter.clone(), add })
    };
    let clsact = |link: &str, add| Step::reversible(Action::Clsact { link: link.to_owned(), add });
    // A link that is made anew loses its filters, and gets those it should have.
    let stays = |key: &FilterKey, filter: &Filter| {
        let wanted = usable.has_link(&key.link) && desired.filters.get(key) == Some(filter);
        wanted && !recreated.contains(&key.link)
    };
    let mut emptied = BTreeSet::new();
    for (key, filter) in actual.filters.iter().filter(|(key, filter)| !stays(key, filter)) {
        steps.push(step(key, filter, false));
        emptied.insert(key.link.as_str());
    }
    let classifies =
        |name: &str| desired.links.get(name).is_some_and(|want| want.clsact && usable.has_link(name));
    for (name, link) in actual.links.iter().filter(|(_, link)| link.clsact) {
        let goes = !classifies(name) || recreated.contains(name);
        // Where netd has no filter, somebody may be about to add one.
        if goes && emptied.contains(name.as_str()) && !link.foreign_filters {
            steps.push(clsact(name, false));
        }
    }
    for name in desired.links.keys().filter(|name| classifies(name)) {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        if !found.is_some_and(|link| link.clsact) {
            steps.push(clsact(name, true));
        }
    }
    // What others put in the place of a filter cannot be made again.
    let made = desired.filters.iter().filter(|(_, filter)| **filter != Filter::Other);
    for (key, filter) in made.filter(|(key, _)| usable.has_link(&key.link)) {
        let found = actual.filters.get(key).filter(|found| stays(key, found));
        if found.is_none() {
            steps.push(step(key, filter, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_read_as_they_print() {
        for text in [
            "to 01:80:c2:00:00:0e untagged: vlan push 10",
            "to 01:80:c2:00:00:00 vlan 0: vlan modify 4094",
            "to 01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0 vlan 10: vlan pop",
            "of others",
        ] {
            assert_eq!(Filter::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
        for text in ["swp1 ingress 16384", "uplink egress 20479"] {
            assert_eq!(FilterKey::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
        for text in ["", "to 01:80:c2:00:00 untagged: vlan pop", "to 01:80:c2:00:00:00 untagged: vlan push"] {
            assert!(Filter::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(FilterKey::try_from("swp1 sideways 1".to_owned()).is_err());
    }
}
