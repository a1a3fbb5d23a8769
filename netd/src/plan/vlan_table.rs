//! VLANs of a port as runs of ids, so that 4000 VLANs cost what one costs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a port is in a VLAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanMembership {
    /// Untagged frames that come in belong to this VLAN.
    pub pvid: bool,
    /// Frames leave without a tag.
    pub untagged: bool,
}

/// A run of consecutive VLANs with the same membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanRun {
    /// First VLAN id.
    pub first: u16,
    /// Last VLAN id.
    pub last: u16,
    /// How the port is in them.
    pub membership: VlanMembership,
}

/// VLANs of a port: runs in order, none touching another of the same membership (a PVID stands alone,
/// since the kernel takes none inside a range). In text, a line a run: `"10 pvid untagged"`, `"20-29"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct VlanTable(Vec<VlanRun>);

impl VlanTable {
    /// The runs, in order.
    pub fn runs(&self) -> &[VlanRun] {
        &self.0
    }

    /// How many VLANs it has.
    pub fn ids(&self) -> u32 {
        self.runs().iter().map(|run| u32::from(run.last - run.first) + 1).sum()
    }

    /// Whether there is no VLAN.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How the port is in a VLAN.
    pub fn get(&self, id: u16) -> Option<VlanMembership> {
        let after = self.0.partition_point(|run| run.last < id);
        self.0.get(after).filter(|run| run.first <= id).map(|run| run.membership)
    }

    /// Adds VLANs, or changes how the port is in them.
    pub fn insert(&mut self, first: u16, last: u16, membership: VlanMembership) {
        self.remove(first, last);
        let at = self.0.partition_point(|run| run.last < first);
        self.0.insert(at, VlanRun { first, last, membership });
        self.join();
    }

    /// Adds all VLANs of another table, as plain members.
    pub fn insert_all(&mut self, other: &VlanTable) {
        other.0.iter().for_each(|run| self.insert(run.first, run.last, VlanMembership::default()));
    }

    /// Takes VLANs out.
    pub fn remove(&mut self, first: u16, last: u16) {
        let mut runs = Vec::with_capacity(self.0.len() + 1);
        for run in self.0.drain(..) {
            if run.last < first || run.first > last {
                runs.push(run);
                continue;
            }
            if run.first < first {
                runs.push(VlanRun { last: first - 1, ..run });
            }
            if run.last > last {
                runs.push(VlanRun { first: last + 1, ..run });
            }
        }
        self.0 = runs;
    }

    fn join(&mut self) {
        self.0.dedup_by(|next, run| {
            let joined =
                run.last + 1 == next.first && run.membership == next.membership && !run.membership.pvid;
            if joined {
                run.last = next.last;
            }
            joined
        });
    }

    /// VLANs of this table that `other` has not, or has in another way.
    pub fn differing_from(&self, other: &VlanTable) -> VlanTable {
        self.keep(|id, membership| other.get(id) != Some(membership), other)
    }

    /// VLANs of this table that `other` has not at all.
    pub fn missing_in(&self, other: &VlanTable) -> VlanTable {
        self.keep(|id, _| other.get(id).is_none(), other)
    }

    /// VLANs of this table that `other` has too, in whatever way.
    pub fn shared_with(&self, other: &VlanTable) -> VlanTable {
        self.keep(|id, _| other.get(id).is_some(), other)
    }

    /// Cuts the runs where those of `other` begin and end, and keeps the pieces that fit.
    fn keep(&self, fits: impl Fn(u16, VlanMembership) -> bool, other: &VlanTable) -> VlanTable {
        let mut kept = VlanTable::default();
        for run in &self.0 {
            let mut first = run.first;
            while first <= run.last {
                // Within a piece, every id has the same answer.
                let edge =
                    other.0.iter().flat_map(|cut| [cut.first, cut.last + 1]).find(|edge| *edge > first);
                let last = edge.map_or(run.last, |edge| run.last.min(edge - 1));
                if fits(first, run.membership) {
                    kept.0.push(VlanRun { first, last, membership: run.membership });
                }
                first = last + 1;
            }
        }
        kept.join();
        kept
    }
}

/// `10 pvid untagged` or `20-29`.
pub(super) fn show_vlans(first: u16, last: u16, membership: VlanMembership) -> String {
    let mut text = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if membership.pvid {
        text.push_str(" pvid");
    }
    if membership.untagged {
        text.push_str(" untagged");
    }
    text
}

impl From<VlanTable> for Vec<String> {
    fn from(table: VlanTable) -> Self {
        table.0.iter().map(|run| show_vlans(run.first, run.last, run.membership)).collect()
    }
}

impl TryFrom<Vec<String>> for VlanTable {
    type Error = String;

    fn try_from(lines: Vec<String>) -> Result<Self, String> {
        let mut table = VlanTable::default();
        for line in lines {
            let mut words = line.split_whitespace();
            let ids = words.next().ok_or("an empty VLAN line")?;
            let (first, last) = ids.split_once('-').unwrap_or((ids, ids));
            let number = |text: &str| u16::from_str(text).map_err(|_| format!("{line:?} is no VLAN line"));
            let mut membership = VlanMembership::default();
            for word in words {
                match word {
                    "pvid" => membership.pvid = true,
                    "untagged" => membership.untagged = true,
                    _ => return Err(format!("{line:?}: what is {word:?}?")),
                }
            }
            table.insert(number(first)?, number(last)?, membership);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGGED: VlanMembership = VlanMembership { pvid: false, untagged: false };
    const NATIVE: VlanMembership = VlanMembership { pvid: true, untagged: true };

    fn table(lines: &[&str]) -> VlanTable {
        VlanTable::try_from(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn neighbouring_runs_join_and_a_pvid_stands_alone() {
        let mut vlans = table(&["10-12", "14"]);
        vlans.insert(13, 13, TAGGED);
        assert_eq!(vlans, table(&["10-14"]));
        vlans.insert(12, 12, NATIVE);
        assert_eq!(vlans.runs().len(), 3);
        assert_eq!(vlans.get(12), Some(NATIVE));
        assert_eq!(vlans.get(15), None);
    }

    #[test]
    fn differences_are_cut_at_the_edges() {
        let (want, found) = (table(&["5-20"]), table(&["1-9", "12 pvid untagged"]));
        assert_eq!(want.missing_in(&found), table(&["10-11", "13-20"]));
        assert_eq!(want.differing_from(&found), table(&["10-20"]));
        assert_eq!(found.missing_in(&want), table(&["1-4"]));
        assert_eq!(found.shared_with(&want), table(&["5-9", "12 pvid untagged"]));
    }
}
