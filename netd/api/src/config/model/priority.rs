//! Priorities of frames: 802.1Q priority code points (PCP), and groups that usually stay on their link.

use std::fmt;
use std::str::FromStr;

/// What priorities, 0 to 7, become; those it does not name become 0. In text `5:3 6:6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityMap(pub [u8; 8]);

impl fmt::Display for PriorityMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().enumerate().filter(|(_, to)| **to != 0);
        let words: Vec<String> = named.map(|(from, to)| format!("{from}:{to}")).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for PriorityMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = PriorityMap::default();
        for word in text.split_whitespace() {
            let pair =
                word.split_once(':').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
            let (from, to): (usize, u8) =
                pair.ok_or_else(|| format!("{word:?} is no `PRIORITY:PRIORITY`"))?;
            *map.0.get_mut(from).ok_or_else(|| format!("{from} is no priority"))? = to;
        }
        Ok(map)
    }
}

/// `pcp` of an interface in a VLAN: how the code point of a tag and the priority of a packet inside the
/// switch become one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcpMaps {
    /// Code point of a tag that comes in to the packet's priority.
    pub ingress: PriorityMap,
    /// The packet's priority to the code point of the tag it leaves with.
    pub egress: PriorityMap,
}

/// Groups that IEEE 802.1Q (table 8-1) keeps on one link, and that a port forwards all the same: a bit for each of
/// 01:80:c2:00:00:00 to 01:80:c2:00:00:0f. In text as in the document: `eapol lldp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservedGroups(pub u16);

impl ReservedGroups {
    /// The names that groups have, by the last byte of their address.
    pub const NAMES: [(&'static str, u8); 5] =
        [("stp", 0x00), ("lacp", 0x02), ("eapol", 0x03), ("elmi", 0x07), ("lldp", 0x0e)];
    /// What the addresses of all of them begin with.
    const PREFIX: &'static str = "01:80:c2:00:00:0";
    /// The last byte of the group of pause frames, which no bridge forwards (IEEE 802.3, annex 31B).
    const PAUSE: u8 = 0x01;

    /// The group of a name or of an address.
    pub fn parse_one(text: &str) -> Result<ReservedGroups, String> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, last)| *last);
        let by_address = || {
            let digit = text.to_ascii_lowercase().strip_prefix(Self::PREFIX)?.to_owned();
            u8::from_str_radix(&digit, 16).ok().filter(|_| digit.len() == 1)
        };
        match named.or_else(by_address) {
            Some(Self::PAUSE) => Err("pause frames never leave their link".to_owned()),
            Some(last) => Ok(ReservedGroups(1 << last)),
            None => {
                let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "no group that stays on its link: they are {}, and {}0 to {}f",
                    names.join(", "),
                    Self::PREFIX,
                    Self::PREFIX
                ))
            }
        }
    }
}

impl fmt::Display for ReservedGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |last: u8| match Self::NAMES.iter().find(|(_, named)| *named == last) {
            Some((name, _)) => (*name).to_owned(),
            None => format!("{}{last:x}", Self::PREFIX),
        };
        let words: Vec<String> = (0..16).filter(|last| self.0 & 1 << last != 0).map(word).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for ReservedGroups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let groups = text.split_whitespace().map(Self::parse_one).collect::<Result<Vec<_>, _>>()?;
        Ok(ReservedGroups(groups.iter().fold(0, |all, group| all | group.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_groups_read_as_they_print() {
        for text in ["", "5:3 6:7"] {
            assert_eq!(text.parse::<PriorityMap>().map(|map| map.to_string()), Ok(text.to_owned()));
        }
        assert!("8:1".parse::<PriorityMap>().is_err());
        for text in ["", "eapol lldp", "stp 01:80:c2:00:00:0d"] {
            assert_eq!(text.parse::<ReservedGroups>().map(|groups| groups.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("lacp".parse(), Ok(ReservedGroups(4)));
        assert!("01:80:c2:00:00:01".parse::<ReservedGroups>().is_err());
        assert!("01:80:c2:00:00:10".parse::<ReservedGroups>().is_err());
    }
}
