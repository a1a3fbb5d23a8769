//! What State1 answers of what the engine knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use netd_api::alarm::Alarm;
use netd_api::state::Pending;
use netd_api::table::TableName;

use crate::engine::Engine;
use crate::failure::Failure;
use crate::kernel::route;
use crate::kernel::snapshot::Interfaces;
use crate::state::stream::Source;

impl Engine {
    /// What is not in operation yet, though the switch has done all of its part.
    pub fn pending_table(&mut self) -> Result<Vec<Pending>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let mut unreached = BTreeMap::new();
        for (name, vxlan) in &self.config.vxlans {
            for remote in &vxlan.remotes {
                if route::lookup(&mut self.connection, *remote, None)?.is_none() {
                    unreached.insert(name.clone(), remote.to_string());
                    break;
                }
            }
        }
        let state = self.state();
        Ok(state.view(&interfaces).pending_rows(&self.changed, |link| unreached.get(&link.name).cloned()))
    }

    /// What tables are joined from, which streams read beside the engine.
    pub fn source(&mut self, table: TableName) -> Source {
        let alarms = if table == TableName::Alarms { self.alarm_table() } else { Vec::new() };
        Source { alarms, ..self.state() }
    }

    fn state(&self) -> Source {
        Source {
            config: self.config.clone(),
            desired: self.desired.clone(),
            ports: self.ports.clone(),
            attachments: self.attachments.clone(),
            alarms: Vec::new(),
        }
    }

    /// Has those who answer questions beside the engine know what holds now.
    pub fn publish(&self) {
        let is_known = |known: &Source| {
            Arc::ptr_eq(&known.config, &self.config)
                && Arc::ptr_eq(&known.desired, &self.desired)
                && known.ports == self.ports
                && known.attachments == self.attachments
        };
        if !self.hub.source().is_some_and(|known| is_known(&known)) {
            self.hub.publish(self.state());
        }
    }

    /// What is wrong, and since when.
    pub fn alarm_table(&mut self) -> Vec<Alarm> {
        // Nothing tells of these, and who asks wants to know.
        self.check_storage();
        self.check_questions();
        self.check_event_states();
        self.alarms.rows()
    }

    /// What somebody else changed and is only reported: the steps that would put it right.
    pub fn drift(&self) -> Vec<String> {
        self.drift.iter().map(|drift| drift.words.clone()).collect()
    }
}
