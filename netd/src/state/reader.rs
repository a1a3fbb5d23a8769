//! Answers about the state, given beside the engine: it may be making a change that takes minutes. They are joined from
//! what the engine published last and what the kernel shows.

use netd_api::state::{Interface, Lag, Port, Vlan};

use super::View;
use super::stream::Source;
use crate::desired::BRIDGE;
use crate::events::Hub;
use crate::kernel::snapshot::Interfaces;
use crate::kernel::{Connection, KernelError, fdb, querier};
use crate::turns;

/// One question at a time.
#[derive(Default)]
pub struct Reader {
    connection: Option<Connection>,
}

impl Reader {
    /// Has a question answered.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn answer<T>(
        &mut self,
        question: impl FnOnce(&mut Connection) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open()?,
        };
        let answer = question(&mut connection)?;
        // After a failure something of it may still be to come.
        self.connection = Some(connection);
        Ok(answer)
    }
}

fn take(connection: &mut Connection, counters: bool) -> Result<Interfaces, KernelError> {
    let _turn = turns::LINKS.read();
    Interfaces::take(connection, counters)
}

impl Source {
    /// What rows are made from.
    pub(crate) fn view<'a>(&'a self, interfaces: &'a Interfaces) -> View<'a> {
        View {
            interfaces,
            config: &self.config,
            desired: &self.desired,
            ports: &self.ports,
            attachments: &self.attachments,
        }
    }

    /// All ports.
    ///
    /// # Errors
    /// What the kernel says; as with the others.
    pub fn port_table(&self, connection: &mut Connection, hub: &Hub) -> Result<Vec<Port>, KernelError> {
        let interfaces = take(connection, true)?;
        let mut rows = self.view(&interfaces).port_rows();
        for row in &mut rows {
            row.carrier_changed_s = hub.carrier_changed_s(&row.name);
        }
        Ok(rows)
    }

    /// All LAGs.
    pub fn lag_table(&self, connection: &mut Connection) -> Result<Vec<Lag>, KernelError> {
        let interfaces = take(connection, false)?;
        Ok(self.view(&interfaces).lag_rows())
    }

    /// All interfaces that are no ports.
    pub fn interface_table(&self, connection: &mut Connection) -> Result<Vec<Interface>, KernelError> {
        let interfaces = take(connection, true)?;
        let mut entries = Vec::new();
        for tunnel in interfaces.links.values().filter(|link| link.kind == "vxlan") {
            entries.extend(fdb::dump_tunnel(connection, tunnel.index)?);
        }
        Ok(self.view(&interfaces).interface_rows(&entries))
    }

    /// All VLANs.
    pub fn vlan_table(&self, connection: &mut Connection) -> Result<Vec<Vlan>, KernelError> {
        let interfaces = take(connection, false)?;
        let mut rows = self.view(&interfaces).vlan_rows();
        if let Some(bridge) = interfaces.bridge(BRIDGE) {
            let queriers = querier::dump(connection, bridge.index)?;
            rows.iter_mut().for_each(|row| row.querier = queriers.get(row.id).is_some());
        }
        Ok(rows)
    }
}
