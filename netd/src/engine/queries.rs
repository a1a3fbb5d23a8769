//! What State1 answers.

use std::collections::BTreeMap;

use netd_api::alarm::Alarm;
use netd_api::state::{Interface, Lag, Pending, Port, Vlan};
use netd_api::table::TableName;

use crate::desired::BRIDGE;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::kernel::snapshot::Interfaces;
use crate::kernel::{fdb, querier, route};
use crate::state::View;
use crate::state::stream::Source;

impl Engine {
    fn view<'a>(&'a self, interfaces: &'a Interfaces) -> View<'a> {
        View {
            interfaces,
            config: &self.config,
            desired: &self.desired,
            ports: &self.ports,
            attachments: &self.attachments,
        }
    }

    /// All ports.
    pub fn port_table(&mut self) -> Result<Vec<Port>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, true)?;
        let mut rows = self.view(&interfaces).port_rows();
        for row in &mut rows {
            row.carrier_changed_s = self.hub.carrier_changed_s(&row.name);
        }
        Ok(rows)
    }

    /// All LAGs.
    pub fn lag_table(&mut self) -> Result<Vec<Lag>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        Ok(self.view(&interfaces).lag_rows())
    }

    /// All interfaces that are no ports.
    pub fn interface_table(&mut self) -> Result<Vec<Interface>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, true)?;
        let mut entries = Vec::new();
        for tunnel in interfaces.links.values().filter(|link| link.kind == "vxlan") {
            entries.extend(fdb::dump_tunnel(&mut self.connection, tunnel.index)?);
        }
        Ok(self.view(&interfaces).interface_rows(&entries))
    }

    /// What is not in operation yet, though the switch has done all of its part.
    pub fn pending_table(&mut self) -> Result<Vec<Pending>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let connection = &mut self.connection;
        let vxlans = &self.config.vxlans;
        let mut unreached = BTreeMap::new();
        for (name, vxlan) in vxlans {
            for remote in &vxlan.remotes {
                if route::lookup(connection, *remote, None)?.is_none() {
                    unreached.insert(name.clone(), remote.to_string());
                    break;
                }
            }
        }
        let rows =
            self.view(&interfaces).pending_rows(&self.changed, |link| unreached.get(&link.name).cloned());
        Ok(rows)
    }

    /// All VLANs.
    pub fn vlan_table(&mut self) -> Result<Vec<Vlan>, Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let mut rows = self.view(&interfaces).vlan_rows();
        if let Some(bridge) = interfaces.bridge(BRIDGE) {
            let queriers = querier::dump(&mut self.connection, bridge.index)?;
            rows.iter_mut().for_each(|row| row.querier = queriers.get(row.id).is_some());
        }
        Ok(rows)
    }

    /// What tables are joined from, which streams read beside the engine.
    pub fn source(&mut self, table: TableName) -> Source {
        Source {
            alarms: if table == TableName::Alarms { self.alarm_table() } else { Vec::new() },
            config: self.config.clone(),
            desired: self.desired.clone(),
            ports: self.ports.clone(),
            attachments: self.attachments.clone(),
        }
    }

    /// What is wrong, and since when.
    pub fn alarm_table(&mut self) -> Vec<Alarm> {
        // Nothing tells that it fills up, and who asks wants to know.
        self.check_storage();
        self.alarms.rows()
    }

    /// What somebody else changed and is only reported: the steps that would put it right.
    pub fn drift(&self) -> Vec<String> {
        self.drift.iter().map(|drift| drift.words.clone()).collect()
    }
}
