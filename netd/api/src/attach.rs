//! Attachments: ports of containers, virtual machines and functions.

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

use crate::state::VlanRange;

/// Asks netd for a port whose far end is an interface of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AttachRequest {
    /// `namespace/service/interface`. Name, hardware address and counters of the port follow from it, so
    /// they survive a restart of the workload.
    pub key: String,
    /// Interface name inside the workload (`eth0`).
    pub interface: String,
    /// Access or native VLAN, 1 to 4094; 0 when untagged frames are dropped.
    pub untagged_vlan: u16,
    /// VLANs carried with a tag.
    pub tagged_vlans: Vec<VlanRange>,
    /// Hardware address of the workload's interface; empty to derive one from the key.
    pub mac: String,
    /// Addresses with prefix length set inside the workload.
    pub addresses: Vec<String>,
    /// Default gateways set inside the workload, at most one of each family.
    pub gateways: Vec<String>,
    /// MTU in bytes; 0 for the default.
    pub mtu_bytes: u32,
}

/// What netd made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Attached {
    /// Name of the switch port.
    pub port: String,
    /// Hardware address of the workload's interface.
    pub mac: String,
}
