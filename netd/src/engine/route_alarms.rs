//! Alarms of routes that are meant for the hardware and are not in it.

use std::collections::BTreeMap;

use netd_api::alarm::AlarmKind;

use crate::alarms::Condition;
use crate::alarms::hardware::is_alarm;
use crate::engine::Engine;
use crate::kernel::KernelError;
use crate::kernel::route::{self, OWN_PROTOCOL, RouteRecord};
use crate::plan::RouteKey;
use crate::route_name;

impl Engine {
    /// Whether routes are not in the hardware: only then it matters what else becomes of routes.
    pub fn has_failed_routes(&self) -> bool {
        !self.failed_routes.is_empty()
    }

    /// Whether a switch ASIC forwards for some port.
    pub(super) fn has_asic(&self) -> bool {
        self.devices.iter().any(|device| !device.switch_id.is_empty())
    }

    /// The hardware says something of a route.
    pub(super) fn note_route(&mut self, record: &RouteRecord) {
        self.judge(record.key(), record.hardware());
    }

    /// Compares what is known with what the hardware says of all routes now, and tells what is new. Where the kernel does
    /// not answer, the next look asks again.
    pub fn check_routes(&mut self) {
        if let Err(error) = self.try_check_routes() {
            tracing::warn!("asking for the hardware's routes: {error}");
            self.unheard = true;
        }
        self.tell_failed_routes();
    }

    fn try_check_routes(&mut self) -> Result<(), KernelError> {
        let known = &self.failed_routes;
        let mut said = BTreeMap::new();
        route::dump_with(&mut self.connection, Some(OWN_PROTOCOL), |record| {
            if record.is_alarming() || known.contains_key(&record.key()) {
                said.insert(record.key(), record.hardware());
            }
            None::<()>
        })?;
        let gone: Vec<RouteKey> = known.keys().filter(|key| !said.contains_key(key)).copied().collect();
        for key in gone {
            self.clear(&key);
        }
        for (key, word) in said {
            self.judge(key, word);
        }
        Ok(())
    }

    fn judge(&mut self, key: RouteKey, word: &'static str) {
        if !self.is_alarm(&key, word) {
            self.clear(&key);
        } else if self.failed_routes.insert(key, word) != Some(word) {
            self.failed_routes_changed = true;
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

    fn clear(&mut self, key: &RouteKey) {
        self.failed_routes_changed |= self.failed_routes.remove(key).is_some();
    }

    /// Whether something became of routes that alarms do not tell yet.
    pub fn has_route_news(&self) -> bool {
        self.failed_routes_changed
    }

    /// Brings alarms in line with the routes that failed. A table that overflows brings thousands at once: what comes
    /// within a moment is told together.
    pub fn tell_failed_routes(&mut self) {
        self.failed_routes_changed = false;
        let config = self.config.as_ref();
        let conditions = self.failed_routes.iter().map(|(key, word)| {
            let name = route_name::in_table(key, &[config]);
            let text = format!("{word}: the hardware does not forward by it");
            let condition = Condition::critical(AlarmKind::RouteNotInHardware, name, text);
            condition.try_this(format!("show routes {}", key.prefix))
        });
        self.alarms.report(&[AlarmKind::RouteNotInHardware], conditions);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Paths;
    use crate::events::Hub;
    use crate::plan::{Network, Route, RouteTarget};
    use crate::store::disk::Files;

    #[test]
    fn route_alarms_that_come_at_once_are_one() {
        let hub = Hub::open().expect("a thread");
        let file = std::env::temp_dir().join(format!("netd-route-alarms-{}.json", std::process::id()));
        let paths = Paths { alarms: file.clone(), ..Paths::default() };
        let mut engine = Engine::open(paths, hub, Box::new(Files)).expect("netlink");
        let key = |number: u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            RouteKey { table: 254, prefix: format!("{address}/32").parse().expect("a prefix"), metric: 0 }
        };
        let routes =
            (0..50).map(|number| Route { key: key(number), target: RouteTarget::Blackhole }).collect();
        engine.desired = Arc::new(Network { routes, ..Network::default() });
        let told = |engine: &mut Engine| -> Vec<String> {
            engine.tell_failed_routes();
            assert!(!engine.has_route_news());
            engine.alarms.rows().iter().map(|row| format!("{}: {}", row.object, row.text)).collect()
        };
        (0..50).for_each(|number| engine.judge(key(number), "failed"));
        assert!(engine.has_route_news());
        let one = "the hardware does not forward by it";
        assert_eq!(told(&mut engine), [format!("routes: 50, first 10.0.0.0/32: failed: {one}")]);
        (0..49).for_each(|number| engine.judge(key(number), "offloaded"));
        assert_eq!(told(&mut engine), [format!("routes: 1, first 10.0.0.49/32: failed: {one}")]);
        engine.judge(key(49), "offloaded");
        assert_eq!(told(&mut engine), [""; 0], "all are well");
        // A few are told of one by one, and what came and went meanwhile not at all.
        engine.judge(key(7), "failed");
        engine.judge(key(9), "failed");
        engine.judge(key(9), "offloaded");
        assert_eq!(told(&mut engine), [format!("10.0.0.7/32: failed: {one}")]);
        engine.judge(key(7), "trapped");
        assert_eq!(told(&mut engine), [format!("10.0.0.7/32: trapped: {one}")]);
        engine.judge(key(7), "gone");
        assert_eq!(told(&mut engine), [""; 0]);
        let _ = std::fs::remove_file(file);
    }
}
