//! `org.corten.Netd1.State1`.

use netd_api::comparison::Comparison;
use netd_api::state::{Interface, Lag, Pending, Port, Vlan};
use netd_api::table::{Filter, TableName};
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::Handle;
use super::caller::Caller;
use crate::failure::Failure;
use crate::state::query::Query;
use crate::state::stream::{self, Source};

/// The state of the switch.
pub struct State1(pub(super) Handle);

#[interface(name = "org.corten.Netd1.State1")]
impl State1 {
    /// All ports.
    async fn ports(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Port>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let hub = self.0.hub.clone();
        self.0.read(&caller, move |source, connection| source.port_table(connection, &hub)).await
    }

    /// All LAGs with their members.
    async fn lags(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Lag>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.read(&caller, Source::lag_table).await
    }

    /// Interfaces of the switch that are no ports.
    async fn interfaces(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Interface>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.read(&caller, Source::interface_table).await
    }

    /// All VLANs of the bridge.
    async fn vlans(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Vlan>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.read(&caller, Source::vlan_table).await
    }

    /// A table, named `routes`, `neighbours`, `fdb`, `mdb`, `discards` or `alarms`, as a stream of one dump: each line
    /// read from the descriptor is a row as JSON, the last one tells how it ended. A reader that does not read for 10 s
    /// is cut off. The filter has the keys `prefixes`, `addresses`, `vrf`, `protocol`, `macs`, `vlan_id`, `interfaces` and
    /// `without_local`, as far as the table has a use for them.
    async fn table(
        &self,
        table: String,
        filter: Filter,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        let query = Query::parse(&table, filter)?;
        let permit = self.0.tables.take(&caller)?;
        let name = query.table();
        let source = match name {
            // The engine's own.
            TableName::Alarms => self.0.ask(&caller, move |engine| Ok(engine.source(name))).await?,
            _ => Source::clone(&*self.0.source().await?),
        };
        let stream =
            stream::open(source, query, permit).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(stream.into())
    }

    /// What somebody else changed and is only reported: the steps that would put it right.
    async fn drift(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<String>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, |engine| Ok(engine.drift())).await
    }

    /// What the change that waits for its confirmation did to the network: what held before it and is gone.
    async fn comparison(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Comparison, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, |engine| Ok(engine.comparison())).await
    }

    /// What the configuration has in operation and is not yet, as others decide that: cables, partners, spanning tree.
    async fn pending(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<Pending>, Failure> {
        let caller = Caller::viewer(connection, &header).await?;
        self.0.ask(&caller, |engine| engine.pending_table()).await
    }
}
