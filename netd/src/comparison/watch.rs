//! Looks again and again at what is left of what was before a change, on a thread of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netd_api::comparison::Compared;

use super::facts::Facts;
use super::record::Record;
use super::{After, KINDS, Kind, Look, Unreadable, compare, words};
use crate::kernel::{Connection, KernelError};
use crate::{background, clock};

/// How often it is looked at first, when hosts answer and links settle, and how often that is.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const FIRST_LOOKS: u32 = 8;
/// How often it is looked later.
const PAUSE: Duration = Duration::from_secs(2);
/// A look that takes a processor for long, over long tables, is followed by a pause so many times as long, up to a
/// bound. That it waits for its turn, which others have before it, costs nobody anything.
const PAUSE_FACTOR: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Neighbours that are asked whether they are there, in a second and at the first look.
const PROBES_PER_SECOND: u64 = 256;
const FIRST_PROBES: u64 = 64;
/// A look that is older does not tell what is.
const OUTDATED_NS: u64 = 30_000_000_000;
/// For how long before the end of its time nothing may be missing, in a change that confirms itself; of a short time,
/// for its last quarter.
const SETTLED_NS: u64 = 5_000_000_000;

/// What the last look showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latest {
    /// How often it was looked.
    pub looks: u32,
    /// When the look began, by CLOCK_BOOTTIME.
    pub begun_ns: u64,
    /// What it showed.
    pub kinds: Vec<Compared>,
    /// Since which look nothing is missing; `None` while something is.
    pub same_since_ns: Option<u64>,
    /// What was missing last; empty when nothing ever was.
    pub missing: String,
}

impl Latest {
    /// Takes what a look showed.
    fn take(&mut self, begun_ns: u64, kinds: Vec<Compared>) {
        self.looks = self.looks.saturating_add(1);
        self.begun_ns = begun_ns;
        match words(&kinds) {
            None => {
                self.same_since_ns.get_or_insert(begun_ns);
            }
            Some(words) => {
                self.same_since_ns = None;
                self.missing = words;
            }
        }
        self.kinds = kinds;
    }

    /// Whether a change whose time began and ends at these moments of CLOCK_BOOTTIME has lost nothing for good.
    ///
    /// # Errors
    /// What is missing, or why that is not known.
    pub fn judge(&self, began_ns: u64, ends_ns: u64) -> Result<(), String> {
        if self.looks == 0 {
            return Err("nothing was compared yet".to_owned());
        }
        let Some(since_ns) = self.same_since_ns else { return Err(self.missing.clone()) };
        if self.begun_ns.saturating_add(OUTDATED_NS) < ends_ns {
            return Err("nothing was compared for too long".to_owned());
        }
        let settled_ns = SETTLED_NS.min(ends_ns.saturating_sub(began_ns) / 4);
        if since_ns <= ends_ns.saturating_sub(settled_ns) {
            return Ok(());
        }
        Err(match self.missing.as_str() {
            "" => "compared for too short a time".to_owned(),
            missing => format!("until a moment ago: {missing}"),
        })
    }
}

/// A watch; it ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    latest: Latest,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; whether the watch has ended.
    fn pause(&self, time: Duration) -> bool {
        let state = self.lock();
        let waited = self.ended.wait_timeout_while(state, time, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Watch {
    /// Watches what is left of what a record has.
    pub fn start(record: Arc<Record>) -> Watch {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let spawned = background::spawn("compare", move || run(&record, &of_thread));
        if let Err(error) = spawned {
            tracing::error!("what the change did to the network is not compared: {error}");
        }
        Watch { shared }
    }

    /// What the last look showed.
    pub fn latest(&self) -> Latest {
        self.shared.lock().latest.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.ended.notify_all();
    }
}

fn run(record: &Record, shared: &Shared) {
    let since_ns = clock::boottime_ns();
    let mut last_ns = since_ns;
    loop {
        let (before, begun_ns) = (clock::thread_time(), clock::boottime_ns());
        let probes = probes(begun_ns.saturating_sub(last_ns));
        let kinds = look(record, since_ns, begun_ns, probes);
        last_ns = begun_ns;
        let looks = {
            let mut state = shared.lock();
            state.latest.take(begun_ns, kinds);
            state.latest.looks
        };
        if shared.pause(pause(looks, clock::thread_time().saturating_sub(before))) {
            return;
        }
    }
}

/// How long to wait after so many looks, the last of which took so much time of a processor.
fn pause(looks: u32, took: Duration) -> Duration {
    let pause = if looks < FIRST_LOOKS { FIRST_PAUSE } else { PAUSE };
    pause.max(took.saturating_mul(PAUSE_FACTOR).min(LONGEST_PAUSE))
}

/// How many neighbours may be asked at a look that is so long after the last one.
fn probes(since_last_ns: u64) -> usize {
    let probes = (since_last_ns / 1_000_000).saturating_mul(PROBES_PER_SECOND) / 1000;
    usize::try_from(probes.max(FIRST_PROBES)).unwrap_or(usize::MAX)
}

/// What is left, kind by kind, of what a record has.
fn look(record: &Record, since_ns: u64, now_ns: u64, probes: usize) -> Vec<Compared> {
    try_look(record, since_ns, now_ns, probes).unwrap_or_else(|error| {
        let unreadable = |kind: &dyn Kind| {
            compare(kind, record.kinds.get(kind.name()), Err(Unreadable::from(error.clone())))
        };
        KINDS.into_iter().map(unreadable).collect()
    })
}

fn try_look(
    record: &Record,
    since_ns: u64,
    now_ns: u64,
    mut probes: usize,
) -> Result<Vec<Compared>, KernelError> {
    let mut connection = Connection::open()?;
    let links = super::links(&mut connection)?;
    let ms_since = |from_ns: u64| now_ns.saturating_sub(from_ns) / 1_000_000;
    let attachments = BTreeMap::new();
    let mut compared = Vec::with_capacity(KINDS.len());
    for kind in KINDS {
        let Some(before) = record.kinds.get(kind.name()) else {
            compared.push(compare(kind, None, Ok(Facts::default())));
            continue;
        };
        let after = After {
            before,
            since_record_ms: ms_since(record.taken_ns),
            since_change_ms: ms_since(since_ns),
            probes: &mut probes,
        };
        let mut look = Look {
            connection: &mut connection,
            links: &links,
            attachments: &attachments,
            after: Some(after),
        };
        let now = kind.observe(&mut look);
        compared.push(compare(kind, Some(before), now));
    }
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use netd_api::comparison::Verdict;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    /// What looks at these seconds showed, of which some lacked a port.
    fn latest(looks: &[(u64, bool)]) -> Latest {
        let mut latest = Latest::default();
        for (second, same) in looks {
            let mut before = Facts::default();
            before.add("swp1".to_owned(), 1);
            let now = if *same { before.clone() } else { Facts::default() };
            let compared = compare(KINDS[0], Some(&before), Ok(now));
            assert_eq!(compared.verdict == Verdict::Same, *same);
            latest.take(second * SECOND_NS, vec![compared]);
        }
        latest
    }

    fn judged(looks: &[(u64, bool)]) -> Result<(), String> {
        latest(looks).judge(0, 60 * SECOND_NS)
    }

    #[test]
    fn change_that_loses_something_for_a_moment_has_lost_nothing() {
        assert_eq!(judged(&[(1, true), (59, true)]), Ok(()));
        assert_eq!(judged(&[(1, true), (3, false), (5, true), (59, true)]), Ok(()));
        assert_eq!(judged(&[(1, false), (54, true), (59, true)]), Ok(()));
    }

    #[test]
    fn change_that_lacks_something_at_its_end_has_lost_it() {
        assert_eq!(judged(&[(1, true), (59, false)]), Err("lost port swp1".to_owned()));
        let flaps: Vec<(u64, bool)> = (1..60).map(|second| (second, second % 4 != 0)).collect();
        assert_eq!(judged(&flaps), Err("until a moment ago: lost port swp1".to_owned()));
    }

    #[test]
    fn change_that_was_not_looked_at_is_not_the_same() {
        assert_eq!(judged(&[]), Err("nothing was compared yet".to_owned()));
        assert_eq!(judged(&[(1, true)]), Err("nothing was compared for too long".to_owned()));
        assert_eq!(judged(&[(58, true)]), Err("compared for too short a time".to_owned()));
    }

    #[test]
    fn short_time_settles_within_its_last_quarter() {
        let latest = latest(&[(1, false), (3, true)]);
        assert_eq!(latest.judge(0, 4 * SECOND_NS), Ok(()));
        assert!(latest.judge(2 * SECOND_NS, 3 * SECOND_NS + 1).is_err(), "it was missing a moment ago");
    }

    #[test]
    fn every_neighbour_that_is_kept_is_asked_before_its_answer_is_too_old() {
        use super::super::neighbours::MAX_HOSTS;
        assert_eq!(probes(0), 64);
        assert!(probes(2 * SECOND_NS) >= MAX_HOSTS / 2);
        assert!(probes(10 * SECOND_NS) >= MAX_HOSTS);
    }

    #[test]
    fn looks_are_rarer_later_and_where_they_take_long() {
        assert_eq!(pause(1, Duration::ZERO), FIRST_PAUSE);
        assert_eq!(pause(FIRST_LOOKS, Duration::ZERO), PAUSE);
        assert_eq!(pause(1, Duration::from_millis(500)), Duration::from_secs(5));
        assert_eq!(pause(1, Duration::from_secs(60)), LONGEST_PAUSE);
    }
}
