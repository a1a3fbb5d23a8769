//! What a change did to the network: what held before it, and what of that holds now.
//!
//! Before an apply that is to be confirmed, [`record`] notes what there is of each kind of objects. While the change
//! waits, [`watch`] looks again and again at what of it is left. There is one file for each [`Kind`]; another one is
//! added by such a file and a line in [`KINDS`]. All of a kind is a number of objects by name ([`facts`]), so that a
//! record is small however large the tables are.

mod attachments;
mod default_routes;
pub mod facts;
mod fdb;
mod lags;
mod neighbours;
mod ports;
pub mod record;
pub mod watch;

use std::collections::BTreeMap;

use netd_api::comparison::{Compared, Difference, MAX_DIFFERENCES, Verdict};

use crate::kernel::link::LinkRecord;
use crate::kernel::snapshot::Hosts;
use crate::kernel::{Connection, KernelError, link};
use facts::Facts;

/// The kinds that are compared, in the order in which they are told.
pub const KINDS: [&dyn Kind; 6] = [
    &ports::Ports,
    &lags::Lags,
    &neighbours::Neighbours,
    &fdb::Fdb,
    &default_routes::DefaultRoutes,
    &attachments::Attachments,
];

/// Differences of a kind that the log and the history name.
const NAMED_DIFFERENCES: usize = 3;

/// A kind of objects that a change may cost.
pub trait Kind: Sync {
    /// Its name in the API.
    fn name(&self) -> &'static str;

    /// What there is of it: before a change all, afterwards at least what is left of the objects there were.
    ///
    /// # Errors
    /// When it cannot be read.
    fn observe(&self, look: &mut Look<'_>) -> Result<Facts, Unreadable>;

    /// What there is of it, by what the snapshot of a transaction came by; `None` of kinds that are not in it.
    fn of_snapshot(&self, _hosts: &Hosts) -> Option<Facts> {
        None
    }

    /// Whether an object's number is clearly less. Numbers that rise and fall by themselves leave some room.
    fn is_fewer(&self, before: u64, now: u64) -> bool {
        now < before
    }
}

/// Whether a number of hosts is clearly less: they come and go, so less than 95 in 100 is.
fn is_clearly_less(before: u64, now: u64) -> bool {
    now.saturating_mul(20) < before.saturating_mul(19)
}

/// Why a kind cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl From<KernelError> for Unreadable {
    fn from(error: KernelError) -> Unreadable {
        Unreadable(format!("reading the kernel's state: {error}"))
    }
}

/// A look at the network.
#[derive(Debug)]
pub struct Look<'a> {
    /// For what the kernel is asked.
    pub connection: &'a mut Connection,
    /// All links, by index.
    pub links: &'a BTreeMap<u32, LinkRecord>,
    /// Keys of attachments by their ports.
    pub attachments: &'a BTreeMap<String, String>,
    /// What it is compared with; `None` while that is recorded.
    pub after: Option<After<'a>>,
}

/// What a look after a change knows of what was before.
#[derive(Debug)]
pub struct After<'a> {
    /// What there was of the kind.
    pub before: &'a Facts,
    /// How long ago that was recorded, in milliseconds.
    pub since_record_ms: u64,
    /// How long ago the change was made, or netd started after it, in milliseconds.
    pub since_change_ms: u64,
    /// How many neighbours may still be asked whether they are there.
    pub probes: &'a mut usize,
}

impl Look<'_> {
    /// The link of a name, which takes going through all of them.
    fn link(&self, name: &str) -> Option<&LinkRecord> {
        self.links.values().find(|link| link.name == name)
    }
}

/// What a snapshot is to see of hosts.
pub fn hosts() -> Hosts {
    Hosts {
        heard_within_s: (fdb::HEARD_WITHIN_MS / 1000) as u32,
        known_within_ms: neighbours::KNOWN_WITHIN_MS,
        ..Hosts::default()
    }
}

/// All links, by index.
fn links(connection: &mut Connection) -> Result<BTreeMap<u32, LinkRecord>, KernelError> {
    Ok(link::dump(connection, false)?.into_iter().map(|link| (link.index, link)).collect())
}

/// What became of the objects of a kind.
fn compare(kind: &dyn Kind, before: Option<&Facts>, now: Result<Facts, Unreadable>) -> Compared {
    let mut compared = Compared { kind: kind.name().to_owned(), ..Compared::default() };
    let (before, now) = match (before, now) {
        (Some(before), Ok(now)) => (before, now),
        (before, now) => {
            let why = now.err().map_or_else(|| "it was not recorded".to_owned(), |error| error.0);
            let objects = before.map_or(0, Facts::objects);
            return Compared { verdict: Verdict::Unknown, objects, reason: why, ..compared };
        }
    };
    let (mut lost, mut fewer) = (Vec::new(), Vec::new());
    for (object, count) in before.iter() {
        let left = now.count(object);
        let group = match left {
            0 => &mut lost,
            left if kind.is_fewer(count, left) => &mut fewer,
            _ => continue,
        };
        group.push(Difference { object: object.to_owned(), before: count, now: left });
    }
    (compared.objects, compared.lost, compared.fewer) =
        (before.objects(), lost.len() as u64, fewer.len() as u64);
    compared.verdict = match (lost.is_empty(), fewer.is_empty()) {
        (false, _) => Verdict::Lost,
        (true, false) => Verdict::Fewer,
        (true, true) => Verdict::Same,
    };
    compared.differences = lost.into_iter().chain(fewer).take(MAX_DIFFERENCES).collect();
    compared
}

/// What is not the same, for the log and the history; `None` where all is.
pub fn words(kinds: &[Compared]) -> Option<String> {
    let parts: Vec<String> =
        kinds.iter().filter(|kind| kind.verdict != Verdict::Same).map(words_of).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn words_of(kind: &Compared) -> String {
    let name = &kind.kind;
    if kind.verdict == Verdict::Unknown {
        return format!("{name} not compared: {}", kind.reason);
    }
    let one = |difference: &Difference| match difference {
        Difference { object, now: 0, .. } => format!("lost {name} {object}"),
        Difference { object, before, now } => format!("fewer {name} {object}: {now} of {before}"),
    };
    let mut words: Vec<String> = kind.differences.iter().take(NAMED_DIFFERENCES).map(one).collect();
    let more = (kind.lost + kind.fewer).saturating_sub(words.len() as u64);
    if more > 0 {
        words.push(format!("{more} more of {name}"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(objects: &[(&str, u64)]) -> Facts {
        let mut facts = Facts::default();
        objects.iter().for_each(|(object, count)| facts.add((*object).to_owned(), *count));
        facts
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<&str> = KINDS.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn objects_are_lost_fewer_or_the_same_and_new_ones_are_no_matter() {
        let before = facts(&[("swp1", 1), ("swp2", 1), ("swp3", 1)]);
        let now = facts(&[("swp1", 1), ("swp3", 1), ("swp9", 1)]);
        let compared = compare(&ports::Ports, Some(&before), Ok(now));
        assert_eq!((compared.verdict, compared.objects, compared.lost), (Verdict::Lost, 3, 1));
        let difference = Difference { object: "swp2".to_owned(), before: 1, now: 0 };
        assert_eq!(compared.differences, [difference]);
        let same = compare(&ports::Ports, Some(&before), Ok(before.clone()));
        assert_eq!((same.verdict, same.lost, same.fewer), (Verdict::Same, 0, 0));
        let members = compare(&lags::Lags, Some(&facts(&[("up", 2)])), Ok(facts(&[("up", 1)])));
        assert_eq!((members.verdict, members.fewer), (Verdict::Fewer, 1));
    }

    #[test]
    fn learned_addresses_are_fewer_only_where_that_is_clear() {
        let before = facts(&[("VLAN 10", 340), ("VLAN 20", 340), ("VLAN 30", 4)]);
        let now = facts(&[("VLAN 10", 325), ("VLAN 20", 312), ("VLAN 30", 3)]);
        let compared = compare(&fdb::Fdb, Some(&before), Ok(now));
        let fewer: Vec<&str> = compared.differences.iter().map(|row| row.object.as_str()).collect();
        assert_eq!((compared.verdict, fewer), (Verdict::Fewer, vec!["VLAN 20", "VLAN 30"]));
    }

    #[test]
    fn kind_that_cannot_be_compared_is_never_the_same() {
        let not_recorded = compare(&ports::Ports, None, Ok(Facts::default()));
        assert_eq!(
            (not_recorded.verdict, not_recorded.reason.as_str()),
            (Verdict::Unknown, "it was not recorded")
        );
        let unreadable = compare(&ports::Ports, Some(&Facts::default()), Err(Unreadable("no".to_owned())));
        assert_eq!((unreadable.verdict, unreadable.reason.as_str()), (Verdict::Unknown, "no"));
        assert_eq!(words(&[unreadable]), Some("port not compared: no".to_owned()));
    }

    #[test]
    fn differences_are_bounded_and_their_number_is_not() {
        let mut before = Facts::default();
        (0..500).for_each(|number| before.add(format!("vlan10 10.0.0.{number}"), 1));
        let compared = compare(&neighbours::Neighbours, Some(&before), Ok(Facts::default()));
        assert_eq!((compared.lost, compared.differences.len()), (500, MAX_DIFFERENCES));
        let said = words(&[compared]).unwrap();
        assert!(said.starts_with("lost neighbour vlan10 10.0.0.0, lost neighbour "), "{said}");
        assert!(said.ends_with(", 497 more of neighbour"), "{said}");
        assert_eq!(words(&[]), None);
    }
}
