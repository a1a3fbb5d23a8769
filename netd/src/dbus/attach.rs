//! `org.corten.Netd1.Attach1`. Root only.

use netd_api::attach::{AttachRequest, Attached};
use zbus::message::Header;
use zbus::{Connection, OwnedFd, interface};

use super::Handle;
use super::caller::Caller;
use crate::failure::Failure;

/// Ports of workloads.
pub struct Attach1(pub(super) Handle);

async fn demand_root(connection: &Connection, header: &Header<'_>) -> Result<(), Failure> {
    if Caller::of(connection, header).await?.is_root() {
        return Ok(());
    }
    Err(Failure::Denied("only root may attach and detach workloads".to_owned()))
}

#[interface(name = "org.corten.Netd1.Attach1")]
impl Attach1 {
    /// Makes a port for a workload. `netns` is its network namespace, `netlink` a `NETLINK_ROUTE` socket
    /// opened inside it. Asking again with the same key replaces the port.
    async fn attach(
        &self,
        request: AttachRequest,
        netns: OwnedFd,
        netlink: OwnedFd,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Attached, Failure> {
        demand_root(connection, &header).await?;
        self.0.change(move |engine| engine.attach(&request, &netns.into(), netlink.into())).await
    }

    /// Removes a port. Removing one that is gone succeeds.
    async fn detach(
        &self,
        key: String,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Failure> {
        demand_root(connection, &header).await?;
        self.0.change(move |engine| engine.detach(&key)).await
    }
}
