//! The first screen: what is wrong, and the last changes.

use std::collections::VecDeque;

use netd_api::alarm::Alarm;
use netd_api::events::{Event, EventKind};

use super::keys::Key;
use super::list::List;
use super::recent::News;
use crate::text;

/// The most changes kept.
const MAX_CHANGES: usize = 200;
/// From that age on a change has its age, not a time of day.
const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// A change of the switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    monotonic_ns: u64,
    /// Who or what changed.
    pub object: String,
    /// What happened to it.
    pub text: String,
    /// Whether it is trouble.
    pub bad: bool,
}

impl Change {
    /// What an event tells; `None` for one that tells how things stand.
    fn of(event: Event) -> Option<Change> {
        if event.snapshot {
            return None;
        }
        let Event { kind, object, detail, monotonic_ns, .. } = event;
        let generation = |what: &str| {
            // `by ana: new uplink`
            let by = detail.strip_prefix("by ").unwrap_or(&detail);
            let (user, comment) = by.split_once(": ").unwrap_or((by, ""));
            let comment = if comment.is_empty() { String::new() } else { format!(": \"{comment}\"") };
            (user.to_owned(), what.replace('N', &object) + &comment)
        };
        let (object, text) = match kind {
            EventKind::Applied => generation("applied generation N"),
            EventKind::Unconfirmed => generation("applied generation N, unconfirmed"),
            EventKind::Confirmed => generation("confirmed generation N"),
            EventKind::RolledBack => {
                ("netd".to_owned(), format!("generation {object} was taken back: {detail}"))
            }
            EventKind::LinkUp => (object, "link up".to_owned()),
            EventKind::LinkDown => (object, "link down".to_owned()),
            EventKind::PortAdded => (object, "the port is there".to_owned()),
            EventKind::PortRemoved => (object, "the port is gone".to_owned()),
            EventKind::Alarm => (object, detail),
            EventKind::AlarmCleared => (object, format!("no longer: {detail}")),
            EventKind::Repaired => {
                let step = detail.strip_prefix(&format!("{object}: ")).unwrap_or(&detail);
                let text = format!("changed by others, put right: {step}");
                (object, text)
            }
            EventKind::Fallback => (object, detail),
            EventKind::Attached => (object, format!("attached as {detail}")),
            EventKind::Detached => (object, format!("detached from {detail}")),
            EventKind::Lagged => ("netd".to_owned(), detail),
        };
        let bad = matches!(
            kind,
            EventKind::Alarm | EventKind::LinkDown | EventKind::PortRemoved | EventKind::RolledBack
        );
        Some(Change { monotonic_ns, object: text::clean(&object), text: text::clean(&text), bad })
    }

    /// When it was, in five columns: `02:51`, `2d`.
    pub fn when(&self) -> String {
        let age_ns = text::monotonic_ns_now().saturating_sub(self.monotonic_ns);
        match age_ns < DAY_NS {
            true => text::of_monotonic(self.monotonic_ns, "%H:%M"),
            false => text::age(age_ns / 1_000_000_000),
        }
    }
}

/// The first screen.
#[derive(Debug, Default)]
pub struct NowView {
    alarms: Vec<Alarm>,
    changes: VecDeque<Change>,
    /// Place among the alarms that pass the filter.
    pub list: List,
    /// What an alarm or a change must contain to be shown.
    pub filter: String,
    /// Whether alarms were read at all.
    pub known: bool,
    /// Why the changes cannot be told, where they cannot.
    pub unreadable: Option<String>,
}

impl NowView {
    /// Takes a reading. The selection stays on its alarm when others come and go.
    pub fn update(&mut self, alarms: Vec<Alarm>) {
        let selected = self.selected().map(|alarm| (alarm.kind, alarm.object.clone()));
        self.alarms = alarms;
        self.known = true;
        let shown = self.shown();
        let place = selected.and_then(|selected| {
            shown.iter().position(|alarm| (alarm.kind, &alarm.object) == (selected.0, &selected.1))
        });
        let rows = shown.len();
        match place {
            Some(place) => self.list.selected = place,
            None => self.list.keep_within(rows),
        }
    }

    /// Takes news of what changed.
    pub fn take(&mut self, news: News) {
        match news {
            News::Begin => {
                self.changes.clear();
                self.unreadable = None;
            }
            News::Event(event) => {
                self.changes.extend(Change::of(*event));
                if self.changes.len() > MAX_CHANGES {
                    self.changes.pop_front();
                }
            }
            News::Unreadable(why) => self.unreadable = Some(text::clean(&why)),
        }
    }

    /// How many alarms there are.
    pub fn count(&self) -> usize {
        self.alarms.len()
    }

    /// The alarms that pass the filter.
    pub fn shown(&self) -> Vec<&Alarm> {
        let passes = |alarm: &&Alarm| {
            super::contains(&self.filter, &[&alarm.object, &alarm.text, alarm.kind.as_str(), &alarm.remedy])
        };
        self.alarms.iter().filter(passes).collect()
    }

    /// The changes that pass the filter, the newest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        let passes = |change: &&Change| super::contains(&self.filter, &[&change.object, &change.text]);
        self.changes.iter().rev().filter(passes)
    }

    /// The selected alarm.
    pub fn selected(&self) -> Option<&Alarm> {
        self.shown().get(self.list.selected).copied()
    }

    /// Takes a key that moves.
    pub fn press(&mut self, key: Key, page: usize) {
        let rows = self.shown().len();
        self.list.press(key, rows, page);
    }

    /// Takes a filter.
    pub fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        let rows = self.shown().len();
        self.list.keep_within(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netd_api::alarm::AlarmKind;
    use netd_api::events::EventSource;

    fn event(kind: EventKind, object: &str, detail: &str) -> Event {
        Event {
            boot_id: "boot".into(),
            seq: 7,
            monotonic_ns: text::monotonic_ns_now(),
            kind,
            object: object.into(),
            alarm: (kind == EventKind::Alarm).then_some(AlarmKind::GroupsFull),
            source: EventSource::Netd,
            detail: detail.into(),
            snapshot: false,
        }
    }

    fn change(kind: EventKind, object: &str, detail: &str) -> String {
        let change = Change::of(event(kind, object, detail)).expect("a change");
        format!("{} {}", change.object, change.text)
    }

    #[test]
    fn events_read_as_changes() {
        for (kind, object, detail, words) in [
            (
                EventKind::Unconfirmed,
                "12",
                "by ana: new uplink",
                "ana applied generation 12, unconfirmed: \"new uplink\"",
            ),
            (EventKind::Applied, "12", "by ana", "ana applied generation 12"),
            (EventKind::Confirmed, "12", "by ana", "ana confirmed generation 12"),
            (
                EventKind::RolledBack,
                "12",
                "not confirmed in time",
                "netd generation 12 was taken back: not confirmed in time",
            ),
            (EventKind::LinkUp, "swp49", "", "swp49 link up"),
            (EventKind::Repaired, "swp1", "swp1: set up", "swp1 changed by others, put right: set up"),
            (EventKind::Alarm, "swp1", "full \x1b[2J", "swp1 full [2J"),
            (EventKind::AlarmCleared, "swp1", "full", "swp1 no longer: full"),
        ] {
            assert_eq!(change(kind, object, detail), words);
        }
        let stands = Event { snapshot: true, ..event(EventKind::LinkUp, "swp1", "") };
        assert_eq!(Change::of(stands), None, "how things stand is no change");
    }

    #[test]
    fn changes_are_bounded_and_the_newest_come_first() {
        let mut view = NowView::default();
        for number in 0..MAX_CHANGES + 5 {
            let event = event(EventKind::LinkUp, &format!("swp{number}"), "");
            view.take(News::Event(Box::new(event)));
        }
        assert_eq!(view.changes().count(), MAX_CHANGES);
        assert_eq!(view.changes().next().map(|change| change.object.as_str()), Some("swp204"));
        view.set_filter("swp[200-203]".into());
        assert_eq!(view.changes().count(), 4);
        view.take(News::Begin);
        assert_eq!(view.changes().count(), 0);
    }

    #[test]
    fn age_takes_the_place_of_the_time_of_day_after_a_day() {
        let mut change = Change::of(event(EventKind::LinkUp, "swp1", "")).expect("a change");
        assert_eq!(change.when().len(), "02:51".len());
        change.monotonic_ns = 0;
        let up_s = text::monotonic_ns_now() / 1_000_000_000;
        let expected = if up_s < 86_400 { "02:51".len() } else { text::age(up_s).len() };
        assert_eq!(change.when().len(), expected);
    }

    #[test]
    fn selection_stays_on_its_alarm() {
        let mut view = NowView::default();
        let alarms = crate::tables::tests::alarms();
        view.update(alarms.clone());
        view.press(Key::Down, 10);
        view.press(Key::Down, 10);
        view.update(alarms[1..].to_vec());
        assert_eq!(view.selected().map(|alarm| alarm.object.as_str()), Some("bridge"));
        view.update(alarms[..1].to_vec());
        assert_eq!(view.selected().map(|alarm| alarm.object.as_str()), Some("swp3"));
        view.update(Vec::new());
        assert_eq!(view.selected(), None);
    }
}
