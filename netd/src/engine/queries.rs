//! What State1 answers.

use netd_api::state::{FdbEntry, Interface, Lag, MdbEntry, Neighbour, Port, Route, Vlan};

use crate::desired::BRIDGE;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::kernel::snapshot::Interfaces;
use crate::kernel::{fdb, mdb, neighbour, querier, route};
use crate::state::{View, page};

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
        Ok(self.view(&interfaces).port_rows())
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

    /// A page of routes, and the cursor of the next.
    pub fn route_table(&mut self, cursor: &str, limit: u32) -> Result<(Vec<Route>, String), Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let records = route::dump(&mut self.connection, None)?;
        Ok(page(self.view(&interfaces).route_rows(&records), cursor, limit))
    }

    /// A page of ARP and ND entries, and the cursor of the next.
    pub fn neighbour_table(&mut self, cursor: &str, limit: u32) -> Result<(Vec<Neighbour>, String), Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let records = neighbour::dump(&mut self.connection)?;
        Ok(page(self.view(&interfaces).neighbour_rows(&records), cursor, limit))
    }

    /// A page of forwarding entries, and the cursor of the next.
    pub fn fdb_table(&mut self, cursor: &str, limit: u32) -> Result<(Vec<FdbEntry>, String), Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let records = match interfaces.by_name(BRIDGE) {
            Some(bridge) => fdb::dump(&mut self.connection, bridge.index)?,
            None => Vec::new(),
        };
        Ok(page(self.view(&interfaces).fdb_rows(&records), cursor, limit))
    }

    /// A page of group members, and the cursor of the next.
    pub fn mdb_table(&mut self, cursor: &str, limit: u32) -> Result<(Vec<MdbEntry>, String), Failure> {
        let interfaces = Interfaces::take(&mut self.connection, false)?;
        let mut records = mdb::dump(&mut self.connection)?;
        let bridge = interfaces.by_name(BRIDGE).map(|bridge| bridge.index);
        records.retain(|record| Some(record.bridge) == bridge);
        Ok(page(self.view(&interfaces).mdb_rows(&records), cursor, limit))
    }

    /// What somebody else changed and is only reported: the steps that would put it right.
    pub fn drift(&self) -> &[String] {
        &self.drift
    }
}
