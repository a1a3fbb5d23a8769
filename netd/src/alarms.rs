//! Alarms: the conditions that hold now, each with when it began.
//!
//! Whoever finds conditions reports all of their kinds that hold ([`Alarms::report`]): one that is new begins, one that
//! is not among them any more has ended, and what stays keeps its beginning. Begin and end are an event each and a line
//! in the log each, and nothing is said in between. What holds is remembered for the next start of netd, so that a
//! restart neither makes an old alarm young nor says again what was said.
//!
//! However many conditions of a kind hold, they are [`MOST_SINGLE`] rows at most and one that stands for the rest: a
//! table of routes that overflows in the hardware fails by the thousand.

pub mod hardware;
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use netd_api::alarm::{Alarm, AlarmKind, Severity};
use netd_api::events::EventKind;

use crate::clock;
use crate::events::Hub;
use memory::{Memory, Remembered};

/// Conditions of a kind that are shown one by one.
pub const MOST_SINGLE: usize = 10;
/// Longest text of an alarm, in bytes: a driver may have much to say.
const MAX_TEXT_BYTES: usize = 400;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is wrong.
    pub kind: AlarmKind,
    /// Where.
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, for people.
    pub text: String,
    /// What to try; empty where nothing helps.
    pub remedy: String,
}

impl Condition {
    /// A condition that cuts packets off, or would at the next change.
    pub fn critical(kind: AlarmKind, object: impl Into<String>, text: impl Into<String>) -> Condition {
        let (object, text) = (object.into(), text.into());
        Condition { kind, object, severity: Severity::Critical, text, remedy: String::new() }
    }

    /// One that does not.
    pub fn warning(kind: AlarmKind, object: impl Into<String>, text: impl Into<String>) -> Condition {
        Condition { severity: Severity::Warning, ..Condition::critical(kind, object, text) }
    }

    /// The same with what to try.
    pub fn try_this(self, remedy: impl Into<String>) -> Condition {
        Condition { remedy: remedy.into(), ..self }
    }

    fn key(&self) -> Key {
        (self.kind, self.object.clone())
    }
}

type Key = (AlarmKind, String);

/// A condition that holds.
#[derive(Clone, Debug)]
struct Open {
    /// When it began, by CLOCK_BOOTTIME.
    since_ns: u64,
    condition: Condition,
}

/// The conditions that hold.
pub struct Alarms {
    hub: Hub,
    memory: Memory,
    /// Those that are shown one by one.
    open: BTreeMap<Key, Open>,
    /// Those that stand for the rest of their kind.
    many: BTreeMap<AlarmKind, Open>,
    /// What held when netd ended and was not found again yet.
    remembered: BTreeMap<Key, Remembered>,
}

/// Conditions of one kind that are reported and were not known.
#[derive(Default)]
struct New {
    /// The first of them.
    first: Vec<Condition>,
    count: usize,
}

impl Alarms {
    /// No condition is known to hold; what held when netd ended is in this file.
    pub fn load(hub: Hub, path: &Path) -> Alarms {
        let memory = Memory::at(path);
        let remembered = memory.load();
        Alarms { hub, memory, open: BTreeMap::new(), many: BTreeMap::new(), remembered }
    }

    /// Takes in all conditions of these kinds that hold now: others of these kinds have ended.
    pub fn report(&mut self, kinds: &[AlarmKind], conditions: impl IntoIterator<Item = Condition>) {
        let before = self.open.len() + self.many.len();
        let is_meant = |kind: &AlarmKind| kinds.contains(kind);
        let mut ended: BTreeSet<Key> = self.open.keys().filter(|(kind, _)| is_meant(kind)).cloned().collect();
        let mut new: BTreeMap<AlarmKind, New> = BTreeMap::new();
        for condition in conditions {
            debug_assert!(is_meant(&condition.kind), "{condition:?} is none of {kinds:?}");
            let condition = Condition { text: bounded(condition.text), ..condition };
            let key = condition.key();
            if let Some(open) = self.open.get_mut(&key) {
                // Said twice of one object in one report: both count.
                match ended.remove(&key) {
                    true => open.condition = condition,
                    false => join(&mut open.condition, &condition),
                }
                continue;
            }
            let of_kind = new.entry(condition.kind).or_default();
            match of_kind.first.iter_mut().find(|known| known.object == condition.object) {
                Some(known) => join(known, &condition),
                None => {
                    of_kind.count += 1;
                    if of_kind.first.len() <= MOST_SINGLE {
                        of_kind.first.push(condition);
                    }
                }
            }
        }
        let changed = !ended.is_empty() || !new.is_empty();
        ended.into_iter().for_each(|key| self.end(&key));
        for kind in kinds {
            self.take_new(*kind, new.remove(kind).unwrap_or_default());
        }
        if changed || before != self.open.len() + self.many.len() {
            self.save();
        }
    }

    /// New ones are rows of their own while there are few. Once some stand together they do until none of those holds
    /// any more: else each that recovers would make another one a row, with a line in the log.
    fn take_new(&mut self, kind: AlarmKind, new: New) {
        let single = self.open.keys().filter(|(known, _)| *known == kind).count();
        if !self.many.contains_key(&kind) && single + new.count <= MOST_SINGLE {
            return new.first.into_iter().for_each(|condition| self.begin(condition));
        }
        let Some(first) = new.first.into_iter().next() else {
            if let Some(open) = self.many.remove(&kind) {
                self.tell_end(&open.condition);
            }
            return;
        };
        let more = if single > 0 { " more" } else { "" };
        let text = format!("{}{more}, first {}: {}", new.count, first.object, first.text);
        let condition = Condition { object: kind.many().to_owned(), text: bounded(text), ..first };
        match self.many.get_mut(&kind) {
            Some(open) => open.condition = condition,
            None => {
                let open = self.tell_begin(condition);
                self.many.insert(kind, open);
            }
        }
    }

    fn begin(&mut self, condition: Condition) {
        let key = condition.key();
        let open = self.tell_begin(condition);
        self.open.insert(key, open);
    }

    /// Tells that a condition begins, unless an earlier run of netd has told it.
    fn tell_begin(&mut self, condition: Condition) -> Open {
        let Condition { kind, object, severity, text, .. } = &condition;
        let known = self.remembered.remove(&condition.key());
        match (&known, severity) {
            (Some(_), _) => {}
            (None, Severity::Critical) => tracing::error!(alarm = kind.as_str(), "{object}: {text}"),
            (None, Severity::Warning) => tracing::warn!(alarm = kind.as_str(), "{object}: {text}"),
        }
        self.hub.tell_alarm(EventKind::Alarm, *kind, object, text.clone());
        Open { since_ns: known.map_or_else(clock::boottime_ns, |known| known.since_ns), condition }
    }

    fn end(&mut self, key: &Key) {
        if let Some(open) = self.open.remove(key) {
            self.tell_end(&open.condition);
        }
    }

    fn tell_end(&self, condition: &Condition) {
        self.tell_ended(condition.kind, &condition.object, &condition.text);
    }

    fn tell_ended(&self, kind: AlarmKind, object: &str, text: &str) {
        tracing::info!(alarm = kind.as_str(), "{object}: no longer: {text}");
        self.hub.tell_alarm(EventKind::AlarmCleared, kind, object, text);
    }

    /// What held when netd ended and was not found until now has ended meanwhile.
    pub fn forget_remembered(&mut self) {
        let gone = std::mem::take(&mut self.remembered);
        if gone.is_empty() {
            return;
        }
        for ((kind, object), Remembered { text, .. }) in gone {
            self.tell_ended(kind, &object, &text);
        }
        self.save();
    }

    fn save(&self) {
        let open = self.open.values().chain(self.many.values());
        let open = open.map(|Open { since_ns, condition }| {
            (condition.key(), Remembered { since_ns: *since_ns, text: condition.text.clone() })
        });
        let remembered = self.remembered.iter().map(|(key, known)| (key.clone(), known.clone()));
        self.memory.save(open.chain(remembered));
    }

    /// Whether a condition of this kind and object is told.
    pub fn holds(&self, kind: AlarmKind, object: &str) -> bool {
        self.open.contains_key(&(kind, object.to_owned()))
    }

    /// Whether any condition of this kind is told.
    pub fn holds_any(&self, kind: AlarmKind) -> bool {
        self.open.keys().any(|(open, _)| *open == kind)
    }

    /// The table: the worst first, of those the newest.
    pub fn rows(&self) -> Vec<Alarm> {
        let mut open: Vec<&Open> = self.open.values().chain(self.many.values()).collect();
        open.sort_by_key(|open| (open.condition.severity, std::cmp::Reverse(open.since_ns)));
        let now = clock::Now::take();
        let row = |open: &Open| {
            let Condition { kind, object, severity, text, remedy } = open.condition.clone();
            Alarm { kind, object, severity, since_s: now.wall_s(open.since_ns), text, remedy }
        };
        open.into_iter().map(row).collect()
    }
}

/// Takes in what else is wrong with the same object.
fn join(known: &mut Condition, more: &Condition) {
    known.severity = known.severity.min(more.severity);
    if !known.text.contains(&more.text) {
        known.text = bounded(format!("{}; {}", known.text, more.text));
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests;
