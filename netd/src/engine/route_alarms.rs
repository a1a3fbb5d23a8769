//! Alarms: routes that are meant for the hardware and are not in it.

use std::collections::{BTreeMap, BTreeSet};

use netd_api::events::{EventKind, EventSource};
use nix::libc;

use crate::alarms::is_alarm;
use crate::engine::Engine;
use crate::kernel::KernelError;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::plan::RouteKey;

/// Alarms that come at once and are told of one by one; more are told of together.
const MOST_SINGLE_ALARMS: usize = 10;
/// The object of events about many routes.
const MANY_ROUTES: &str = "routes";

/// What became of alarms since readers were told last.
#[derive(Debug, Default)]
pub(super) struct News {
    raised: BTreeMap<RouteKey, &'static str>,
    cleared: BTreeMap<RouteKey, &'static str>,
    /// Those that are alarms, and were told of one by one.
    told: BTreeSet<RouteKey>,
}

impl Engine {
    /// Whether there are alarms: only then it matters what else becomes of routes.
    pub fn has_alarms(&self) -> bool {
        !self.alarms.is_empty()
    }

    /// Whether a switch ASIC forwards for some port.
    pub(super) fn has_asic(&self) -> bool {
        self.devices.iter().any(|device| !device.switch_id.is_empty())
    }

    /// The hardware says something of a route.
    pub(super) fn note_route(&mut self, record: &RouteRecord) {
        self.judge(record.key(), record.hardware());
    }

    /// Compares the alarms with what the hardware says of all routes now, and tells what is new. Where the kernel does
    /// not answer, the next look asks again.
    pub fn check_alarms(&mut self) {
        if let Err(error) = self.try_check_alarms() {
            tracing::warn!("asking for the hardware's routes: {error}");
            self.unheard = true;
        }
        self.tell_alarms();
    }

    fn try_check_alarms(&mut self) -> Result<(), KernelError> {
        let known = &self.alarms;
        let mut said = BTreeMap::new();
        route::dump_with(&mut self.connection, Some(OWN_PROTOCOL), |record| {
            if record.is_alarming() || known.contains_key(&record.key()) {
                said.insert(record.key(), record.hardware());
            }
            None::<()>
        })?;
        let gone: Vec<RouteKey> = known.keys().filter(|key| !said.contains_key(key)).copied().collect();
        for key in gone {
            self.clear(key, "gone");
        }
        for (key, word) in said {
            self.judge(key, word);
        }
        Ok(())
    }

    fn judge(&mut self, key: RouteKey, word: &'static str) {
        if self.is_alarm(&key, word) {
            self.raise(key, word);
        } else {
            self.clear(key, word);
        }
    }

    fn is_alarm(&self, key: &RouteKey, word: &str) -> bool {
        let Ok(place) = self.desired.routes.binary_search_by(|route| route.key.cmp(key)) else {
            return false;
        };
        let is_software = |name: &str| {
            self.devices.iter().any(|device| device.name == name && device.switch_id.is_empty())
                || self.attachments.values().any(|record| record.port == name)
        };
        is_alarm(&self.desired, &self.desired.routes[place], word, is_software)
    }

    fn raise(&mut self, key: RouteKey, word: &'static str) {
        if self.alarms.insert(key, word) != Some(word) {
            self.alarm_news.cleared.remove(&key);
            self.alarm_news.raised.insert(key, word);
        }
    }

    fn clear(&mut self, key: RouteKey, word: &'static str) {
        if self.alarms.remove(&key).is_none() {
            return;
        }
        let News { raised, cleared, told } = &mut self.alarm_news;
        // One that came and went before anybody was told is no news.
        if raised.remove(&key).is_none() || told.contains(&key) {
            cleared.insert(key, word);
        }
    }

    /// Whether something became of alarms that nobody was told yet.
    pub fn has_alarm_news(&self) -> bool {
        !self.alarm_news.raised.is_empty() || !self.alarm_news.cleared.is_empty()
    }

    /// Tells what became of alarms. A table that overflows brings thousands at once: they are one event, and one line.
    pub fn tell_alarms(&mut self) {
        let raised = std::mem::take(&mut self.alarm_news.raised);
        let cleared = std::mem::take(&mut self.alarm_news.cleared);
        let (each, many): (Vec<_>, Vec<_>) =
            cleared.into_iter().partition(|(key, _)| self.alarm_news.told.contains(key));
        for (key, word) in each {
            self.alarm_news.told.remove(&key);
            self.tell_alarm(EventKind::RouteAlarmCleared, &key, word);
        }
        // Those that were told of together, and are left.
        let is_left = |key: &&RouteKey| !self.alarm_news.told.contains(*key) && !raised.contains_key(*key);
        let left = self.alarms.keys().filter(is_left).count();
        if !many.is_empty() {
            let detail = format!("{} routes are no alarm any more, {left} are", many.len());
            tracing::info!("{detail}");
            let kind = if left == 0 { EventKind::RouteAlarmCleared } else { EventKind::RouteAlarm };
            self.hub.tell(kind, MANY_ROUTES, EventSource::Netlink, detail);
        }
        if raised.len() <= MOST_SINGLE_ALARMS {
            for (key, word) in raised {
                self.alarm_news.told.insert(key);
                self.tell_alarm(EventKind::RouteAlarm, &key, word);
            }
        } else if let Some((first, word)) = raised.first_key_value() {
            let first = self.route_name(first);
            let detail = format!("{} routes are not in the hardware, first {first}: {word}", raised.len());
            tracing::error!("{detail}");
            self.hub.tell(EventKind::RouteAlarm, MANY_ROUTES, EventSource::Netlink, detail);
        }
    }

    fn tell_alarm(&self, kind: EventKind, key: &RouteKey, word: &str) {
        let name = self.route_name(key);
        match kind {
            EventKind::RouteAlarm => {
                tracing::error!("route {name}: the hardware does not forward by it: {word}");
            }
            _ => tracing::info!("route {name}: no alarm any more: {word}"),
        }
        self.hub.tell(kind, &name, EventSource::Netlink, word);
    }

    /// The prefix, and the VRF where it is another than the default: hardware has one route of each.
    fn route_name(&self, key: &RouteKey) -> String {
        if key.table == u32::from(libc::RT_TABLE_MAIN) {
            return key.prefix.to_string();
        }
        match self.config.vrfs.iter().find(|(_, vrf)| vrf.table == key.table) {
            Some((name, _)) => format!("{} vrf {name}", key.prefix),
            None => format!("{} table {}", key.prefix, key.table),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::engine::Paths;
    use crate::events::Hub;
    use crate::events::watch::{self, Request};
    use crate::plan::{Network, Route, RouteTarget};
    use crate::store::disk::Files;

    /// What a new reader is told: object and detail of each state.
    async fn told(hub: &Hub) -> Vec<String> {
        let stream = UnixStream::from(watch::open(hub, Request::default(), (), || true).expect("a stream"));
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
        let lines = move || BufReader::new(stream).lines().map_while(Result::ok).collect::<Vec<_>>();
        let lines = tokio::task::spawn_blocking(lines).await.expect("the reader");
        let events = lines.iter().map(|line| serde_json::from_str(line).expect("an event"));
        events.map(|event: netd_api::events::Event| format!("{}: {}", event.object, event.detail)).collect()
    }

    #[tokio::test]
    async fn route_alarms_that_come_at_once_are_one_event() {
        let hub = Hub::open().expect("a thread");
        let mut engine = Engine::open(Paths::default(), hub.clone(), Box::new(Files)).expect("netlink");
        let key = |number: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            RouteKey { table: 254, prefix: format!("{address}/32").parse().expect("a prefix"), metric: 0 }
        };
        let routes =
            (0..50).map(|number| Route { key: key(number), target: RouteTarget::Blackhole }).collect();
        engine.desired = Arc::new(Network { routes, ..Network::default() });
        (0..50).for_each(|number| engine.judge(key(number), "failed"));
        assert!(engine.has_alarm_news());
        engine.tell_alarms();
        let first = "routes: 50 routes are not in the hardware, first 10.0.0.0/32: failed";
        assert_eq!(told(&hub).await, [first]);
        (0..49).for_each(|number| engine.judge(key(number), "offloaded"));
        engine.tell_alarms();
        assert_eq!(told(&hub).await, ["routes: 49 routes are no alarm any more, 1 are"]);
        engine.judge(key(49), "offloaded");
        engine.tell_alarms();
        assert_eq!(told(&hub).await, [""; 0], "all are well");
        // A few are told of one by one, and what came and went meanwhile not at all.
        engine.judge(key(7), "failed");
        engine.judge(key(8), "trapped");
        engine.judge(key(9), "failed");
        engine.judge(key(9), "offloaded");
        engine.tell_alarms();
        assert_eq!(told(&hub).await, ["10.0.0.7/32: failed", "10.0.0.8/32: trapped"]);
        engine.judge(key(7), "gone");
        engine.tell_alarms();
        assert_eq!(told(&hub).await, ["10.0.0.8/32: trapped"]);
    }
}
