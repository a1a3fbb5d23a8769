//! Tables that hosts fill: learned addresses, multicast groups, neighbours; and netd's own. A full one is an alarm.
//!
//! The kernel does not tell that a table is full, and netd is not to wake up for what hosts do. So it hears a sample of
//! what makes tables grow ([`Monitor::hear_growth`](crate::kernel::monitor::Monitor::hear_growth)): a switch at rest
//! learns nothing and wakes nobody. What was heard is looked at a moment later, and until then nothing more is heard:
//! however fast hosts fill a table, that is one look a second. The sample is so large that a table cannot go from half to
//! full unheard. A table that is nearly full is looked at every ten seconds, since nothing tells when it empties.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use netd_api::alarm::AlarmKind;
use netd_api::config::model::StaticNeighbour;

use crate::alarms::Condition;
use crate::desired::BRIDGE;
use crate::engine::Engine;
use crate::kernel::link::LinkRecord;
use crate::kernel::neighbour_table::{self, NeighbourTable};
use crate::kernel::{KernelError, link, neighbour, nft_counters};
use crate::plan::{Setting, Settings, Value};
use crate::policy;

/// How long after a table was heard to grow it is looked at.
const SOON: Duration = Duration::from_secs(1);
/// How often a table that is nearly full, or was, is looked at.
const NEAR_PERIOD: Duration = Duration::from_secs(10);
/// How often it is looked whether questions of the switch found no room: nothing tells that, and a switch at rest is to
/// rest.
const QUESTIONS_PERIOD: Duration = Duration::from_secs(600);
/// The same while they find none, and at least so long after the last look when somebody asks for alarms.
const QUESTIONS_FULL_PERIOD: Duration = Duration::from_secs(60);
/// How often a partition that is full, or the memory of events, is looked at.
const STORAGE_PERIOD: Duration = Duration::from_secs(60);
/// A table from half to full is heard of so often on average.
const HEARD_ON_THE_WAY: u32 = 128;
/// The object of the alarm that is about events.
const EVENTS: &str = "events";
/// Addresses of an interface that do not answer and are asked for at once: more than a person or a monitoring program
/// asks for. Below the second number that has ended.
const SCANNED: [usize; 2] = [1000, 250];

/// What is known of tables between two looks.
#[derive(Debug)]
pub(super) struct Limits {
    /// Some grow, and were not looked at since.
    heard: bool,
    /// Some of the bridge's are nearly full.
    bridge_near: bool,
    /// Some of neighbours are, or a subnet is scanned.
    neighbours_near: bool,
    /// How often the tables of neighbours of IPv4 and IPv6 overflowed until the last look.
    overflows: [Option<u64>; 2],
    /// How many questions found no room until the last look, by counter.
    unnoted: BTreeMap<String, u64>,
    /// When that was.
    questions_looked: Option<Instant>,
}

impl Default for Limits {
    /// At its start netd knows nothing of them.
    fn default() -> Limits {
        Limits {
            heard: true,
            bridge_near: false,
            neighbours_near: false,
            overflows: [None; 2],
            unnoted: BTreeMap::new(),
            questions_looked: None,
        }
    }
}

impl Limits {
    /// A table grows. Which, does not matter: while it waits for a look nothing more is heard, so others may grow too.
    pub fn hear(&mut self) {
        self.heard = true;
    }

    fn is_near(&self) -> bool {
        self.bridge_near || self.neighbours_near
    }
}

/// Whether a table that holds so much of so much is full: once it was, until an eighth is free again, so that an entry
/// that goes and comes is no news.
fn is_full(was_full: bool, used: u32, most: u32) -> bool {
    used >= most || was_full && is_near(used, most)
}

fn is_near(used: u32, most: u32) -> bool {
    u64::from(used) * 8 >= u64::from(most) * 7
}

/// What hosts behind a port have of its groups, and how many they may have; what is fixed has its own room
/// (`bound_groups`).
fn joined(port: &LinkRecord, most: u32) -> Option<u32> {
    let bound = number(&port.settings, Setting::MostGroups)?;
    Some(port.groups.saturating_sub(bound.saturating_sub(most)))
}

/// A bound that is set; 0 is none.
fn number(settings: &Settings, setting: Setting) -> Option<u32> {
    settings.get(&setting).and_then(Value::number).filter(|bound| *bound > 0)
}

impl Engine {
    /// Of how many learned addresses one is to be heard; `None` while what was heard is not looked at yet.
    pub fn growth_heard(&self) -> Option<u32> {
        let one_of = (self.config.bridge.most_learned / 2 / HEARD_ON_THE_WAY).max(1);
        // Rounded down to a power of two.
        (!self.limits.heard).then(|| 1 << one_of.ilog2())
    }

    /// How long until tables are to be looked at; `None` while nothing grows and nothing is nearly full.
    pub fn limits_due(&self) -> Option<Duration> {
        match (self.limits.is_near(), self.limits.heard) {
            (true, _) => Some(NEAR_PERIOD),
            (false, true) => Some(SOON),
            (false, false) if self.is_storage_full() || self.alarms.holds_any(AlarmKind::EventStatesFull) => {
                Some(STORAGE_PERIOD)
            }
            (false, false) if self.alarms.holds_any(AlarmKind::QuestionsFull) => Some(QUESTIONS_FULL_PERIOD),
            // Without rules nothing is counted.
            (false, false) => (!self.ruleset.is_empty()).then_some(QUESTIONS_PERIOD),
        }
    }

    /// Looks at the tables that hosts fill. `hear` has growth heard again, before they are read. Answers whether
    /// something else is wrong, so that all is to be looked at.
    pub fn check_limits(&mut self, hear: impl FnOnce(&Engine)) -> bool {
        self.limits.heard = false;
        hear(self);
        self.check_storage();
        self.check_questions();
        self.check_event_states();
        self.try_check_limits().unwrap_or_else(|error| {
            tracing::warn!("asking for tables at their limits: {error}");
            self.limits.heard = true;
            false
        })
    }

    /// Whether the switch asked more than its control-plane rules remember since the last look, which counts for some
    /// time.
    pub(super) fn check_questions(&mut self) {
        if self.limits.questions_looked.is_some_and(|looked| looked.elapsed() < QUESTIONS_FULL_PERIOD) {
            return;
        }
        self.limits.questions_looked = Some(Instant::now());
        match nft_counters::packets(policy::TABLE) {
            Ok(counters) => self.judge_questions(counters),
            Err(error) => tracing::warn!("asking for counters of the control-plane rules: {error}"),
        }
    }

    /// Whether events remember the state of as many objects as they may.
    pub(super) fn check_event_states(&mut self) {
        let [used, most] = self.hub.event_states().map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let full = is_full(self.alarms.holds(AlarmKind::EventStatesFull, EVENTS), used, most).then(|| {
            let text = format!(
                "{used} objects have a state of {most}: new readers of events are not told of the oldest"
            );
            Condition::warning(AlarmKind::EventStatesFull, EVENTS, text).try_this("show alarms")
        });
        self.alarms.report(&[AlarmKind::EventStatesFull], full);
    }

    fn judge_questions(&mut self, counters: BTreeMap<String, u64>) {
        let before = std::mem::replace(&mut self.limits.unnoted, counters);
        let config = self.config.as_ref();
        let full = self.limits.unnoted.iter().filter_map(|(counter, count)| {
            let domain = counter.strip_prefix(policy::UNNOTED)?;
            // Rules that are loaded anew go on counting; a table that others removed begins again.
            let lost = count.checked_sub(before.get(counter).copied().unwrap_or(0)).unwrap_or(*count);
            let vrf = config.vrfs.iter().find(|(_, vrf)| vrf.table.to_string() == domain);
            let object = vrf.map_or_else(
                || "control-plane".to_owned(),
                |(name, _)| format!("control-plane of VRF {name}"),
            );
            let text = format!(
                "{lost} questions of the switch found no room in the control-plane rules: their answers are dropped"
            );
            let condition = Condition::critical(AlarmKind::QuestionsFull, object, text);
            (lost > 0).then(|| condition.try_this("log"))
        });
        let full: Vec<Condition> = full.collect();
        self.alarms.report(&[AlarmKind::QuestionsFull], full);
    }

    fn try_check_limits(&mut self) -> Result<bool, KernelError> {
        self.judge_neighbours()?;
        let Some(bridge) = link::find_by_name(&mut self.connection, BRIDGE)? else { return Ok(false) };
        let mut links = link::dump_ports(&mut self.connection, bridge.index)?;
        let switched_off = self.is_switched_off(&bridge);
        links.push(bridge);
        self.judge_bridge(&links);
        Ok(switched_off)
    }

    /// Whether the kernel has switched snooping off, as it does when its table of groups is full
    /// (`br_multicast_new_group`): it tells nobody.
    fn is_switched_off(&self, bridge: &LinkRecord) -> bool {
        let is_on = |settings: &Settings| settings.get(&Setting::MulticastSnooping).is_some_and(Value::is_on);
        let desired = self.desired.links.get(BRIDGE).is_some_and(|link| is_on(&link.settings));
        self.managing && desired && !is_on(&bridge.settings)
    }

    /// Brings alarms in line with how full the bridge's tables are. `links` has the bridge and its ports.
    pub(super) fn judge_bridge(&mut self, links: &[LinkRecord]) {
        let bridge = links.iter().find(|link| link.name == BRIDGE && link.kind == "bridge");
        let (mut fdb, mut mdb) = (Vec::new(), Vec::new());
        let (mut fdb_near, mut mdb_near) = (false, false);
        if let Some(bridge) = bridge
            && let Some(most) = number(&bridge.settings, Setting::MostLearned)
        {
            let learned = bridge.learned;
            fdb_near = is_near(learned, most);
            if is_full(self.alarms.holds(AlarmKind::FdbFull, BRIDGE), learned, most) {
                let text =
                    format!("{learned} addresses learned of {most}: frames to further ones are flooded");
                fdb.push(Condition::warning(AlarmKind::FdbFull, BRIDGE, text).try_this("show fdb"));
            }
        }
        let most = self.config.bridge.most_groups;
        let is_port = |link: &&LinkRecord| bridge.is_some_and(|bridge| link.master == bridge.index);
        for port in links.iter().filter(is_port) {
            let Some(joined) = joined(port, most) else { continue };
            mdb_near |= is_near(joined, most);
            if is_full(self.alarms.holds(AlarmKind::GroupsFull, &port.name), joined, most) {
                let text = format!("{joined} groups joined of {most}: hosts get no further ones");
                let condition = Condition::warning(AlarmKind::GroupsFull, port.name.clone(), text);
                mdb.push(condition.try_this(format!("show mdb {}", port.name)));
            }
        }
        self.alarms.report(&[AlarmKind::FdbFull], fdb);
        self.alarms.report(&[AlarmKind::GroupsFull], mdb);
        self.limits.bridge_near = fdb_near || mdb_near;
    }

    fn judge_neighbours(&mut self) -> Result<(), KernelError> {
        let tables = neighbour_table::dump(&mut self.connection)?;
        let mut near = false;
        let mut full = Vec::new();
        for table in &tables {
            let NeighbourTable { v6, entries, most, overflows } = *table;
            // Static ones take no room.
            let is_static = |neighbour: &&StaticNeighbour| neighbour.address.is_ipv6() == v6;
            let fixed = self.config.neighbours.iter().filter(is_static).count();
            let entries = entries.saturating_sub(u32::try_from(fixed).unwrap_or(u32::MAX));
            let object = if v6 { "ND table" } else { "ARP table" };
            let before = self.limits.overflows[usize::from(v6)].replace(overflows);
            let overflowed = before.is_some_and(|before| overflows > before);
            near |= overflowed || is_near(entries, most);
            if overflowed || is_full(self.alarms.holds(AlarmKind::NeighboursFull, object), entries, most) {
                let text = format!("{entries} entries of {most}: hosts may not be reached");
                let condition = Condition::critical(AlarmKind::NeighboursFull, object, text);
                full.push(condition.try_this("show neighbours"));
            }
        }
        let entries: usize = tables.iter().map(|table| table.entries as usize).sum();
        let [_, ends] = SCANNED;
        let mut scanned = Vec::new();
        if entries >= ends {
            let mut counts = neighbour::unanswered(&mut self.connection)?;
            counts.retain(|_, count| *count >= ends);
            if !counts.is_empty() {
                near = true;
                let links = link::dump(&mut self.connection, false)?;
                let counted = links.iter().filter_map(|link| Some((link, *counts.get(&link.index)?)));
                scanned = counted.filter_map(|(link, count)| self.scanned(&link.name, count)).collect();
            }
        }
        self.alarms.report(&[AlarmKind::NeighboursFull], full);
        self.alarms.report(&[AlarmKind::SubnetScanned], scanned);
        self.limits.neighbours_near = near;
        Ok(())
    }

    fn scanned(&self, interface: &str, count: usize) -> Option<Condition> {
        let [begins, ends] = SCANNED;
        let least = if self.alarms.holds(AlarmKind::SubnetScanned, interface) { ends } else { begins };
        (count >= least).then(|| {
            let text = format!("{count} addresses are asked for that do not answer: is the subnet scanned?");
            let condition = Condition::warning(AlarmKind::SubnetScanned, interface, text);
            condition.try_this(format!("show neighbours {interface}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use netd_api::events::{EventKind, EventSource};

    use super::*;
    use crate::engine::Paths;
    use crate::events::Hub;
    use crate::store::disk::Files;

    fn engine(name: &str) -> (Engine, std::path::PathBuf) {
        let file = std::env::temp_dir().join(format!("netd-limits-{name}-{}.json", std::process::id()));
        let paths = Paths { alarms: file.clone(), ..Paths::default() };
        (Engine::open(paths, Hub::open().expect("a thread"), Box::new(Files)).expect("netlink"), file)
    }

    fn bridge(learned: u32, most: u32) -> LinkRecord {
        LinkRecord {
            index: 3,
            name: BRIDGE.to_owned(),
            kind: "bridge".to_owned(),
            learned,
            settings: [(Setting::MostLearned, Value::Number(most))].into(),
            ..LinkRecord::default()
        }
    }

    fn port(groups: u32, most: u32) -> LinkRecord {
        LinkRecord {
            index: 4,
            name: "swp1".to_owned(),
            master: 3,
            groups,
            settings: [(Setting::MostGroups, Value::Number(most))].into(),
            ..LinkRecord::default()
        }
    }

    fn told(engine: &Engine) -> Vec<String> {
        engine.alarms.rows().into_iter().map(|row| format!("{}: {}", row.object, row.text)).collect()
    }

    #[test]
    fn full_fdb_is_an_alarm_until_an_eighth_is_free_again() {
        let (mut engine, file) = engine("fdb");
        let mut full = |learned: u32, most: u32| {
            engine.judge_bridge(&[bridge(learned, most)]);
            (told(&engine).len(), engine.limits.bridge_near)
        };
        assert_eq!(full(99, 100), (0, true));
        assert_eq!(full(100, 100), (1, true));
        assert_eq!(full(88, 100), (1, true));
        assert_eq!(full(87, 100), (0, false));
        assert_eq!(full(99, 100), (0, true), "it was not full since");
        assert_eq!(full(1, 1), (1, true));
        assert_eq!(full(0, 1), (0, false));
        assert_eq!(full(5, 0), (0, false), "0 bounds nothing");
        assert_eq!(full(u32::MAX, u32::MAX), (1, true));
        engine.judge_bridge(&[bridge(7, 7)]);
        let words = "bridge: 7 addresses learned of 7: frames to further ones are flooded";
        assert_eq!(told(&engine), [words]);
        // A bridge that is gone holds nothing.
        engine.judge_bridge(&[]);
        assert_eq!(told(&engine), [""; 0]);
        let _ = std::fs::remove_file(file);
    }

    #[test]
    fn groups_that_are_fixed_do_not_count_against_those_hosts_join() {
        let (mut engine, file) = engine("mdb");
        let most = engine.config.bridge.most_groups;
        let mut full = |joined: u32| {
            engine.judge_bridge(&[bridge(0, 0), port(joined + 30, most + 30)]);
            told(&engine).len()
        };
        assert_eq!([most - 1, most, most * 7 / 8, most * 7 / 8 - 1].map(&mut full), [0, 1, 1, 0]);
        // What is no port of the bridge has no groups.
        let other = LinkRecord { master: 9, ..port(most, most) };
        engine.judge_bridge(&[bridge(0, 0), other]);
        assert_eq!(told(&engine), [""; 0]);
        let _ = std::fs::remove_file(file);
    }

    #[test]
    fn full_event_states_are_an_alarm_until_an_eighth_is_free_again() {
        let (mut engine, file) = engine("event-states");
        let [_, most] = engine.hub.event_states();
        let key = |number: usize| format!("default/web{number}/eth0");
        let tell = |engine: &Engine, kind, numbers: std::ops::Range<usize>| {
            numbers.for_each(|number| engine.hub.tell(kind, &key(number), EventSource::Netd, ""));
        };
        let full = |engine: &mut Engine| {
            engine.check_event_states();
            told(engine).len()
        };
        tell(&engine, EventKind::Attached, 0..most - 1);
        assert_eq!(full(&mut engine), 0);
        tell(&engine, EventKind::Attached, most - 1..most);
        assert_eq!(full(&mut engine), 1);
        let words =
            "events: 4096 objects have a state of 4096: new readers of events are not told of the oldest";
        assert_eq!(told(&engine), [words]);
        // The alarm is one of the states itself, and takes the place of the oldest.
        tell(&engine, EventKind::Detached, 1..most / 8 + 1);
        assert_eq!((full(&mut engine), engine.limits_due()), (1, Some(SOON)));
        engine.limits.heard = false;
        assert_eq!(engine.limits_due(), Some(STORAGE_PERIOD));
        tell(&engine, EventKind::Detached, most / 8 + 1..most / 8 + 2);
        assert_eq!(full(&mut engine), 0);
        assert_eq!(engine.limits_due(), None);
        let _ = std::fs::remove_file(file);
    }

    #[test]
    fn unnoted_questions_are_an_alarm_until_a_look_finds_none() {
        let (mut engine, file) = engine("questions");
        let document = "version = 1\n[vrfs.blue]\ntable = 1001\n";
        engine.config = netd_api::config::parse(document).expect("valid").into();
        let mut seen = |main: u64, blue: u64| {
            let counters = [("unnoted_main", main), ("unnoted_1001", blue), ("other", 9)];
            engine.judge_questions(counters.map(|(name, count)| (name.to_owned(), count)).into());
            told(&engine)
        };
        let words =
            "questions of the switch found no room in the control-plane rules: their answers are dropped";
        assert_eq!(seen(0, 0), [""; 0]);
        assert_eq!(seen(0, 7), [format!("control-plane of VRF blue: 7 {words}")]);
        assert_eq!(seen(3, 7), [format!("control-plane: 3 {words}")]);
        assert_eq!(seen(3, 7), [""; 0]);
        // A table that was made anew counts from 0.
        assert_eq!(seen(2, 0), [format!("control-plane: 2 {words}")]);
        engine.ruleset = "rules".to_owned();
        engine.limits.heard = false;
        assert_eq!(engine.limits_due(), Some(QUESTIONS_FULL_PERIOD));
        engine.judge_questions(BTreeMap::new());
        assert_eq!(engine.limits_due(), Some(QUESTIONS_PERIOD));
        let _ = std::fs::remove_file(file);
    }

    #[test]
    fn growth_is_heard_more_of_where_less_is_room_and_not_while_it_waits_for_a_look() {
        let (mut engine, file) = engine("heard");
        assert_eq!(engine.growth_heard(), None, "at the start all is to be looked at");
        assert_eq!(engine.limits_due(), Some(SOON));
        engine.limits.heard = false;
        assert_eq!(engine.limits_due(), None);
        for (most, one_of) in [(131_072, 512), (4_194_304, 16_384), (1000, 2), (255, 1), (1, 1)] {
            let mut config = netd_api::config::Config::default();
            config.bridge.most_learned = most;
            engine.config = config.into();
            assert_eq!(engine.growth_heard(), Some(one_of), "{most}");
        }
        engine.limits.hear();
        assert_eq!((engine.growth_heard(), engine.limits_due()), (None, Some(SOON)));
        engine.limits.bridge_near = true;
        assert_eq!(engine.limits_due(), Some(NEAR_PERIOD));
        let _ = std::fs::remove_file(file);
    }
}
