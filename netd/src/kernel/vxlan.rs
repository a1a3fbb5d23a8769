//! VXLAN tunnel end points (RFC 7348): `IFLA_INFO_DATA` of the kind `vxlan`.

use std::net::IpAddr;

use super::wire::{Message, attributes, read_be16, read_ip, read_u32};

/// `linux/if_link.h`.
const IFLA_VXLAN_ID: u16 = 1;
const IFLA_VXLAN_LOCAL: u16 = 4;
const IFLA_VXLAN_LEARNING: u16 = 7;
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_VXLAN_LOCAL6: u16 = 17;

/// What tells a tunnel end point from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VxlanRecord {
    /// Virtual network id.
    pub vni: u32,
    /// Source address; `None` when the routing decides.
    pub local: Option<IpAddr>,
    /// UDP port.
    pub port: u16,
}

/// Adds what a new end point needs. Remotes are entries of its forwarding table; it learns which
/// of them an address is behind, unless `learning` says otherwise.
pub(super) fn put_new(data: Message, vni: u32, local: IpAddr, port: u16, learning: bool) -> Message {
    let kind = if local.is_ipv4() { IFLA_VXLAN_LOCAL } else { IFLA_VXLAN_LOCAL6 };
    data.u32(IFLA_VXLAN_ID, vni)
        .ip(kind, local)
        .be16(IFLA_VXLAN_PORT, port)
        .u8(IFLA_VXLAN_LEARNING, learning.into())
}

pub(super) fn read(data: &[u8]) -> VxlanRecord {
    let mut record = VxlanRecord::default();
    for (kind, value) in attributes(data) {
        match kind {
            IFLA_VXLAN_ID => record.vni = read_u32(value),
            IFLA_VXLAN_LOCAL | IFLA_VXLAN_LOCAL6 => record.local = read_ip(value),
            IFLA_VXLAN_PORT => record.port = read_be16(value),
            _ => {}
        }
    }
    record
}
