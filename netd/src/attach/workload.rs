//! The veth pair of an attachment, and the workload's side of it.

use std::os::fd::{AsFd, OwnedFd};

use ipnet::IpNet;
use nix::libc;

use super::{Record, derive_mac};
use crate::kernel::netns::{self, DescriptorError};
use crate::kernel::route::ResolvedNextHop;
use crate::kernel::veth::{self, VethRequest};
use crate::kernel::wire::parse_mac;
use crate::kernel::{Connection, KernelError, address, link, route};
use crate::plan::{RouteKey, RouteTarget};

/// Why a workload's interface was not made.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A descriptor is not what it must be.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
    /// The kernel refused.
    #[error("{what}: {error}")]
    Kernel {
        /// What was tried.
        what: String,
        /// The kernel's words.
        error: KernelError,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(KernelError) -> WorkloadError {
    let what = what.into();
    move |error| WorkloadError::Kernel { what, error }
}

/// Whether the descriptors are what they are said to be. Asked before anything is changed.
pub fn check(namespace: &OwnedFd, netlink: &OwnedFd) -> Result<(), WorkloadError> {
    Ok(netns::check(namespace, netlink)?)
}

/// Makes the pair and sets up the workload's side. On failure nothing is left: the pair goes with its
/// switch's side.
pub fn create(
    connection: &mut Connection,
    record: &Record,
    namespace: &OwnedFd,
    netlink: OwnedFd,
) -> Result<(), WorkloadError> {
    let request = VethRequest {
        name: &record.port,
        mac: derive_mac(&record.key, "switch"),
        peer_name: &record.interface,
        // The record's address was checked when it was made.
        peer_mac: parse_mac(&record.mac).unwrap_or_else(|| derive_mac(&record.key, "workload")),
        peer_namespace: namespace.as_fd(),
        mtu_bytes: record.mtu_bytes,
    };
    connection
        .request(veth::create(&request))
        .map_err(failed(format!("making {} with {} inside the workload", record.port, record.interface)))?;
    let prepared = Connection::adopt(netlink)
        .map_err(failed("using the workload's netlink socket"))
        .and_then(|mut inside| set_up(&mut inside, record));
    if prepared.is_err()
        && let Err(error) = delete(connection, &record.port)
    {
        tracing::warn!("{error}");
    }
    prepared
}

/// Removes the pair by its switch's side. Removing one that is gone succeeds.
pub fn delete(connection: &mut Connection, port: &str) -> Result<(), WorkloadError> {
    match connection.request(link::delete(port)) {
        Err(error) if !error.is_absent() => Err(failed(format!("removing {port}"))(error)),
        _ => Ok(()),
    }
}

/// Sets addresses, brings the interface up, and sets routes, all inside the workload's namespace.
fn set_up(inside: &mut Connection, record: &Record) -> Result<(), WorkloadError> {
    let links = link::dump(inside, false).map_err(failed("reading the workload's links"))?;
    let name = record.interface.as_str();
    let index = links.iter().find(|link| link.name == name).map(|link| link.index).ok_or_else(|| {
        let error = KernelError::from(nix::errno::Errno::ENODEV);
        WorkloadError::Kernel { what: format!("finding {name} inside the workload"), error }
    })?;
    if let Some(lo) = links.iter().find(|link| link.name == "lo") {
        inside.request(link::set_up_by_index(lo.index)).map_err(failed("lo: setting up"))?;
    }
    for address in &record.addresses {
        // The workload starts at once and may bind to its address; a tentative one would refuse it.
        let message = address::add(index, address, false);
        inside.request(message).map_err(failed(format!("{name}: adding address {address}")))?;
    }
    inside.request(link::set_up_by_index(index)).map_err(failed(format!("{name}: setting up")))?;
    for gateway in &record.gateways {
        let default = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        let prefix: IpNet = default.parse().unwrap_or_else(|_| IpNet::from(*gateway));
        let key = RouteKey { table: u32::from(libc::RT_TABLE_MAIN), prefix, metric: 0 };
        let hop = ResolvedNextHop { via: Some(*gateway), index, weight: 1, on_link: false };
        let message = route::set(&key, &RouteTarget::inline(Vec::new()), &[hop], false);
        inside.request(message).map_err(failed(format!("{name}: adding the default route via {gateway}")))?;
    }
    Ok(())
}
