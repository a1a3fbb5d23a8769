//! `org.corten.Netd1.State1`.

use netd_api::state::{FdbEntry, Interface, Lag, MdbEntry, Neighbour, Port, Route, Vlan};
use zbus::interface;

use super::Handle;
use crate::failure::Failure;

/// The state of the switch. Long tables come in pages: an empty cursor asks for the first, an empty cursor
/// in the answer says that it was the last.
pub struct State1(pub(super) Handle);

#[interface(name = "org.corten.Netd1.State1")]
impl State1 {
    /// All ports.
    async fn ports(&self) -> Result<Vec<Port>, Failure> {
        self.0.ask(|engine| engine.port_table()).await
    }

    /// All LAGs with their members.
    async fn lags(&self) -> Result<Vec<Lag>, Failure> {
        self.0.ask(|engine| engine.lag_table()).await
    }

    /// Interfaces of the switch that are no ports.
    async fn interfaces(&self) -> Result<Vec<Interface>, Failure> {
        self.0.ask(|engine| engine.interface_table()).await
    }

    /// All VLANs of the bridge.
    async fn vlans(&self) -> Result<Vec<Vlan>, Failure> {
        self.0.ask(|engine| engine.vlan_table()).await
    }

    /// Routes of all VRFs; of local ones only those to loopbacks, and no broadcast ones.
    async fn routes(&self, cursor: String, limit: u32) -> Result<(Vec<Route>, String), Failure> {
        self.0.ask(move |engine| engine.route_table(&cursor, limit)).await
    }

    /// ARP and ND entries.
    async fn neighbours(&self, cursor: String, limit: u32) -> Result<(Vec<Neighbour>, String), Failure> {
        self.0.ask(move |engine| engine.neighbour_table(&cursor, limit)).await
    }

    /// Entries of the bridge's forwarding database.
    async fn fdb(&self, cursor: String, limit: u32) -> Result<(Vec<FdbEntry>, String), Failure> {
        self.0.ask(move |engine| engine.fdb_table(&cursor, limit)).await
    }

    /// Multicast groups of the bridge and their members.
    async fn mdb(&self, cursor: String, limit: u32) -> Result<(Vec<MdbEntry>, String), Failure> {
        self.0.ask(move |engine| engine.mdb_table(&cursor, limit)).await
    }

    /// What somebody else changed and is only reported: the steps that would put it right.
    async fn drift(&self) -> Result<Vec<String>, Failure> {
        self.0.ask(|engine| Ok(engine.drift().to_vec())).await
    }
}
