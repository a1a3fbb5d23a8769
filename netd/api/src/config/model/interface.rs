//! Interfaces of the switch itself, and what routing needs beside them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{EcmpHash, MacAddress, PcpMaps, Place, ReversePath};

/// Addresses and VRF of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer3 {
    /// Addresses with prefix length, each once, in document order (the first is the primary one).
    pub addresses: Vec<IpNet>,
    /// VRF; `None` for the default VRF.
    pub vrf: Option<String>,
    /// Whether packets that come in here are routed on, where [`Routing`] does not forbid it altogether.
    pub forwarding: bool,
}

impl Default for Layer3 {
    fn default() -> Self {
        Layer3 { addresses: Vec::new(), vrf: None, forwarding: true }
    }
}

/// `[vlans.ID]`: a VLAN of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vlan {
    /// Where the VLAN is defined.
    pub place: Place,
    /// Free text; empty when none.
    pub name: String,
    /// Addresses and VRF of its interface `vlanID` (see [`vlan_interface`]).
    pub layer3: Layer3,
    /// Priorities of that interface.
    pub pcp: PcpMaps,
    /// Whether the bridge asks for members of multicast groups here; `None` for what `[bridge]` says.
    pub querier: Option<bool>,
}

impl Vlan {
    /// Whether the VLAN has an interface of the switch: only one with addresses or a VRF has.
    pub fn has_interface(&self) -> bool {
        !self.layer3.addresses.is_empty() || self.layer3.vrf.is_some()
    }
}

/// Name of the switch's own interface in a VLAN.
pub fn vlan_interface(vlan_id: u16) -> String {
    format!("vlan{vlan_id}")
}

/// `[subinterfaces."PARENT.VLAN"]`: an interface in a VLAN of a port or LAG outside the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subinterface {
    /// Where the subinterface is defined.
    pub place: Place,
    /// Port or LAG it stands on: configured, not bridged, not a member of a LAG.
    pub parent: String,
    /// VLAN id of its frames, which carry the tag.
    pub vlan_id: u16,
    /// Free text; empty when none.
    pub description: String,
    /// Whether it is to be up.
    pub enabled: bool,
    /// Maximum transmission unit in bytes, at most that of the parent; `None` for that of the parent.
    pub mtu_bytes: Option<u32>,
    /// Addresses and VRF.
    pub layer3: Layer3,
    /// Priorities of its tags.
    pub pcp: PcpMaps,
}

/// `[vrfs.NAME]`: a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vrf {
    /// Where the VRF is defined.
    pub place: Place,
    /// Routing table, unique among the VRFs; never 0 nor one of the kernel's own (253 to 255).
    pub table: u32,
}

/// `[loopbacks.NAME]`: an interface that is always up and holds addresses of the switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loopback {
    /// Where the loopback is defined.
    pub place: Place,
    /// Addresses and VRF.
    pub layer3: Layer3,
}

/// `[routing]`: whether the switch routes at all, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Where the section begins.
    pub place: Place,
    /// Whether IPv4 packets are routed.
    pub ipv4: bool,
    /// Whether IPv6 packets are routed.
    pub ipv6: bool,
    /// What spreads packets over the next hops of a route.
    pub ecmp_hash: EcmpHash,
    /// Whether a packet's source is compared with the way back to it.
    pub reverse_path: ReversePath,
    /// Most ARP entries, and most ND entries, of all interfaces together.
    pub most_neighbours: u32,
}

impl Default for Routing {
    fn default() -> Self {
        Routing {
            place: Place::default(),
            ipv4: true,
            ipv6: true,
            ecmp_hash: EcmpHash::default(),
            reverse_path: ReversePath::default(),
            most_neighbours: 32_768,
        }
    }
}

/// `[[neighbours]]`: a static ARP or ND entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNeighbour {
    /// Where the entry begins.
    pub place: Place,
    /// IPv4 or IPv6 address of another host.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Interface: a routed port or LAG, `vlanID`, or a subinterface.
    pub device: String,
}
