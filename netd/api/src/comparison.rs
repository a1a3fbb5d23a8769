//! What a change that waits for its confirmation did to the network: what held before it, and what of that holds now.

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

/// Most differences that are told of one kind; how many more there are, the counts tell.
pub const MAX_DIFFERENCES: usize = 100;

/// How far a comparison is. A string over D-Bus and in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zvariant(signature = "s")]
pub enum Progress {
    /// No change waits for its confirmation.
    #[default]
    NothingWaits,
    /// Nothing was recorded before the change, or the record is lost: whether all is the same is not known.
    NotRecorded,
    /// netd has not looked yet.
    NotLooked,
    /// It is made, and made again every few seconds.
    Compared,
}

/// What became of objects. A string over D-Bus and in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
#[zvariant(signature = "s")]
pub enum Verdict {
    /// All that was there is there.
    #[default]
    Same,
    /// It could not be compared; the reason tells why.
    Unknown,
    /// All objects are there, but an object's number is clearly less.
    Fewer,
    /// An object is gone.
    Lost,
}

impl Verdict {
    /// The text D-Bus and JSON have.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Unknown => "unknown",
            Verdict::Fewer => "fewer",
            Verdict::Lost => "lost",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An object that is gone, or whose number is clearly less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Difference {
    /// The object, as `swp3`, `vlan20 10.0.20.7` or `VLAN 20`.
    pub object: String,
    /// Its number before: of addresses, members, next hops; 1 for an object that has none.
    pub before: u64,
    /// Its number now; 0 for an object that is gone.
    pub now: u64,
}

/// The comparison of one kind of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Compared {
    /// The kind: `port`, `lag`, `neighbour`, `fdb`, `default-route`, `attachment`. Others may come.
    pub kind: String,
    /// The gravest of what became of its objects.
    pub verdict: Verdict,
    /// How many objects there were before.
    pub objects: u64,
    /// How many of them are gone.
    pub lost: u64,
    /// Of how many the number is clearly less.
    pub fewer: u64,
    /// Which: those that are gone first, at most [`MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    /// Why it could not be compared; empty when it could.
    pub reason: String,
}

/// What netd answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Comparison {
    /// The generation that waits for its confirmation; 0 for none.
    pub generation: u64,
    /// How far it is.
    pub progress: Progress,
    /// Whether the change confirms itself at the end of its time, if nothing is lost then.
    pub if_same: bool,
    /// How often netd has looked since the change, or since netd was started after it.
    pub looks: u32,
    /// How long ago it looked last, in milliseconds.
    pub age_ms: u64,
    /// The kinds.
    pub kinds: Vec<Compared>,
}

impl Comparison {
    /// Whether all that was there before the change is there now, as far as it was looked.
    pub fn is_same(&self) -> bool {
        self.progress == Progress::Compared && self.kinds.iter().all(|kind| kind.verdict == Verdict::Same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_the_same_only_where_it_was_made() {
        let kind = |verdict| Compared { verdict, ..Compared::default() };
        let of = |progress, verdicts: &[Verdict]| Comparison {
            progress,
            kinds: verdicts.iter().copied().map(kind).collect(),
            ..Comparison::default()
        };
        assert!(of(Progress::Compared, &[Verdict::Same, Verdict::Same]).is_same());
        for verdict in [Verdict::Unknown, Verdict::Fewer, Verdict::Lost] {
            assert!(!of(Progress::Compared, &[Verdict::Same, verdict]).is_same(), "{verdict}");
        }
        for progress in [Progress::NothingWaits, Progress::NotRecorded, Progress::NotLooked] {
            assert!(!of(progress, &[]).is_same(), "{progress:?}");
        }
    }

    #[test]
    fn verdicts_are_ordered_by_how_grave_they_are() {
        let mut verdicts = [Verdict::Lost, Verdict::Same, Verdict::Fewer, Verdict::Unknown];
        verdicts.sort();
        assert_eq!(verdicts, [Verdict::Same, Verdict::Unknown, Verdict::Fewer, Verdict::Lost]);
    }
}
