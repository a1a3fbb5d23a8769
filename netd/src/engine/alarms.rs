//! Alarms: routes that are meant for the hardware and are not in it.

use std::collections::BTreeMap;

use netd_api::events::{EventKind, EventSource};
use nix::libc;

use crate::alarms::is_alarm;
use crate::engine::Engine;
use crate::kernel::KernelError;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::plan::RouteKey;

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

    /// Compares the alarms with what the hardware says of all routes now.
    pub fn check_alarms(&mut self) -> Result<(), KernelError> {
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
            self.clear(&key, "gone");
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
            self.clear(&key, word);
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
        if self.alarms.insert(key, word) == Some(word) {
            return;
        }
        let name = self.route_name(&key);
        tracing::error!("route {name}: the hardware does not forward by it: {word}");
        self.hub.tell(EventKind::RouteAlarm, &name, EventSource::Netlink, word);
    }

    fn clear(&mut self, key: &RouteKey, word: &str) {
        if self.alarms.remove(key).is_some() {
            let name = self.route_name(key);
            tracing::info!("route {name}: no alarm any more: {word}");
            self.hub.tell(EventKind::RouteAlarmCleared, &name, EventSource::Netlink, word);
        }
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
