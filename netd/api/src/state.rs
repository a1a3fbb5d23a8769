//! The state netd shows: what the kernel holds, beside what was wanted and what the hardware took.
//!
//! The same types travel over D-Bus (as structures, in field order) and as JSON (by field name); long tables as JSON
//! lines alone ([`crate::table`]). D-Bus has no "absent", so an empty string or a zero stands for "none"; each field
//! says so. In JSON those that may be unknown are `null` then ([`crate::absent`]).

use serde::{Deserialize, Serialize};
use zbus::zvariant::Type;

/// Packet and byte counters of an interface since it was created (`rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Counters {
    /// Received bytes.
    pub rx_bytes: u64,
    /// Received packets.
    pub rx_packets: u64,
    /// Received packets with errors.
    pub rx_errors: u64,
    /// Received packets dropped by the kernel.
    pub rx_dropped: u64,
    /// Sent bytes.
    pub tx_bytes: u64,
    /// Sent packets.
    pub tx_packets: u64,
    /// Packets that could not be sent because of errors.
    pub tx_errors: u64,
    /// Packets dropped on the way out.
    pub tx_dropped: u64,
}

/// An inclusive range of VLAN ids (IEEE 802.1Q, 1 to 4094).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Type)]
pub struct VlanRange {
    /// First VLAN id.
    pub first: u16,
    /// Last VLAN id.
    pub last: u16,
}

/// A switch port: on the front panel, or the switch's side of a workload's interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Port {
    /// Interface name (`swp1`).
    pub name: String,
    /// `front-panel`, `lag`, `attachment` or `management`.
    pub kind: String,
    /// Text from the configuration; empty when none.
    pub description: String,
    /// Kernel interface index.
    pub ifindex: u32,
    /// Whether the configuration wants the port up.
    pub wanted_up: bool,
    /// Administrative state in the kernel (`IFF_UP`).
    pub admin_up: bool,
    /// Operational state (RFC 2863): `up`, `down`, `lower-layer-down`, `dormant`, `testing`, `unknown`.
    pub oper_state: String,
    /// Speed in Mbit/s; 0 when the driver does not say.
    #[serde(with = "crate::absent")]
    pub speed_mbps: u32,
    /// `full`, `half`; empty when the driver does not say.
    #[serde(with = "crate::absent")]
    pub duplex: String,
    /// Maximum transmission unit in bytes.
    pub mtu_bytes: u32,
    /// Hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// VLAN of untagged frames (access or native VLAN); 0 when there is none.
    #[serde(with = "crate::absent")]
    pub untagged_vlan: u16,
    /// VLANs carried with a tag.
    pub tagged_vlans: Vec<VlanRange>,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// VRF name; empty for the default VRF or a bridged port.
    pub vrf: String,
    /// Driver name (`rocker`, `virtio_net`, `veth`).
    pub driver: String,
    /// Identifier of the switch ASIC (`phys_switch_id`), hexadecimal; empty when the port forwards in software.
    #[serde(with = "crate::absent")]
    pub switch_id: String,
    /// `offloaded` when the ASIC forwards for this port, else `software`.
    pub hardware: String,
    /// LAG this port is a member of; empty for none.
    #[serde(with = "crate::absent")]
    pub lag: String,
    /// Attachment key `namespace/service/interface`; empty for other kinds.
    #[serde(with = "crate::absent")]
    pub attachment: String,
    /// Counters.
    pub counters: Counters,
    /// Why the port forwards nothing (`enabled = false at line 41`, `no carrier`); empty while it could.
    #[serde(with = "crate::absent")]
    pub reason: String,
    /// When its carrier last came or went, in seconds since 1970; 0 when it has not since netd started.
    #[serde(with = "crate::absent")]
    pub carrier_changed_s: u64,
    /// How often its carrier went since the port was made.
    pub carrier_losses: u32,
}

/// A VLAN of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Vlan {
    /// VLAN id, 1 to 4094.
    pub id: u16,
    /// Name from the configuration; empty when none.
    pub name: String,
    /// Ports on which the VLAN's frames carry no tag.
    pub untagged_ports: Vec<String>,
    /// Ports on which they carry the tag.
    pub tagged_ports: Vec<String>,
    /// Addresses of the switch in this VLAN, with prefix length.
    pub addresses: Vec<String>,
    /// VRF of the VLAN interface; empty for the default VRF.
    pub vrf: String,
    /// Operational state of the VLAN interface; empty when the VLAN has none.
    #[serde(with = "crate::absent")]
    pub oper_state: String,
    /// Whether the configuration wants this VLAN.
    pub wanted: bool,
    /// Whether a port of the bridge carries it.
    pub kernel: bool,
    /// `offloaded` when a port of the ASIC carries it, else `software`.
    pub hardware: String,
    /// Whether the switch asks for members of multicast groups here (the kernel's answer, not the wish).
    pub querier: bool,
}

/// One way out of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct NextHop {
    /// Gateway address; empty for a directly connected destination.
    #[serde(with = "crate::absent")]
    pub via: String,
    /// Outgoing interface.
    pub device: String,
    /// Weight among the next hops of the route, 1 to 256.
    pub weight: u16,
    /// Whether the kernel holds this next hop unusable (`dead` or `linkdown`).
    pub dead: bool,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Route {
    /// Destination prefix.
    pub prefix: String,
    /// VRF name; empty for the default VRF.
    pub vrf: String,
    /// Who installed it, as iproute2 names it (`kernel`, `corten`, `dhcp`, `bird`, …).
    pub protocol: String,
    /// `unicast`, `blackhole`, `unreachable`, `prohibit`, `local`, ….
    pub kind: String,
    /// Route metric (priority); lower wins.
    pub metric: u32,
    /// Ways out; empty for kinds that have none.
    pub next_hops: Vec<NextHop>,
    /// Whether the configuration wants this route.
    pub wanted: bool,
    /// Whether the kernel holds it; false only for wanted routes that are missing.
    pub kernel: bool,
    /// `offloaded`, `trapped`, `failed` or `software` (`RTM_F_OFFLOAD`, `RTM_F_TRAP`, `RTM_F_OFFLOAD_FAILED`).
    pub hardware: String,
    /// Whether the route is wanted in the hardware, which says that it does not forward by it.
    pub alarm: bool,
}

/// An ARP or ND entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Neighbour {
    /// IPv4 or IPv6 address.
    pub address: String,
    /// Hardware address; empty while unresolved.
    #[serde(with = "crate::absent")]
    pub mac: String,
    /// Interface.
    pub device: String,
    /// `reachable`, `stale`, `delay`, `probe`, `failed`, `incomplete`, `permanent`, `noarp`.
    pub state: String,
    /// VRF name; empty for the default VRF.
    pub vrf: String,
    /// Whether the configuration wants this entry; false for those that were learned.
    pub wanted: bool,
    /// Whether the kernel holds it; false only for wanted entries that are missing.
    pub kernel: bool,
    /// `offloaded` or `software`.
    pub hardware: String,
}

/// An entry of the bridge's forwarding database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct FdbEntry {
    /// Hardware address.
    pub mac: String,
    /// VLAN id; 0 when the entry has none.
    #[serde(with = "crate::absent")]
    pub vlan_id: u16,
    /// Port.
    pub port: String,
    /// `learned`, `static`, `local` or `external` (learned by the ASIC or another manager).
    pub kind: String,
    /// Whether the configuration wants this entry; false for those that were learned.
    pub wanted: bool,
    /// Whether the kernel holds it; false only for wanted entries that are missing.
    pub kernel: bool,
    /// `offloaded` or `software`.
    pub hardware: String,
    /// Seconds since a frame from the address was last seen; 0 for entries that do not age.
    pub age_s: u32,
}

/// A port's membership in a multicast group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct MdbEntry {
    /// Group address.
    pub group: String,
    /// VLAN id; 0 when the entry has none.
    #[serde(with = "crate::absent")]
    pub vlan_id: u16,
    /// Port.
    pub port: String,
    /// `static`, or `learned` from IGMP or MLD.
    pub kind: String,
    /// Whether the configuration wants this entry; false for those that were learned.
    pub wanted: bool,
    /// Whether the kernel holds it; false only for wanted entries that are missing.
    pub kernel: bool,
    /// `offloaded` or `software`.
    pub hardware: String,
}

/// Frames that a port discarded for one reason, though nothing was wrong with them (`ifInDiscards` and
/// `ifOutDiscards` of RFC 2863), or since they were too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// Port.
    pub port: String,
    /// Whether they had come in, or were to go out: `in` or `out`.
    pub direction: String,
    /// Why; one of [`DISCARD_REASONS`].
    pub reason: String,
    /// How many; `None` where nobody counts them.
    pub frames: Option<u64>,
    /// Who counts them: `kernel`, `driver`, or `trap NAME`, a trap of the ASIC, which counts for all of its ports
    /// together. `None` where nobody does.
    pub counted_by: Option<String>,
}

/// Directions and reasons of [`Discard`], each with what it means.
pub const DISCARD_REASONS: [(&str, &str, &str); 8] = [
    ("in", "vlan", "VLAN not on the port"),
    ("in", "untagged", "untagged, no VLAN for it"),
    ("in", "spanning-tree", "port does not forward"),
    ("in", "too-long", "too long"),
    ("in", "no-port", "no other port in the VLAN"),
    ("in", "other", "other, in the kernel"),
    ("out", "too-long", "too long for the port"),
    ("out", "other", "queue full, or other"),
];

/// Why a port with a carrier forwards nothing ([`Port::reason`]): it is blocking, listening or learning (IEEE 802.1D-1998,
/// 8.4).
pub const DISCARDING: &str = "the spanning tree keeps it from forwarding";

/// Something that the configuration has in operation and that is not, though the switch has done all of its part: a cable,
/// a partner, the spanning tree or a route decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Pending {
    /// Interface name.
    pub object: String,
    /// `front-panel`, `lag`, `attachment`, `lag-member`, `vlan` or `vxlan`.
    pub kind: String,
    /// Of a member of a LAG: the LAG.
    #[serde(with = "crate::absent")]
    pub lag: String,
    /// What it waits for, in the words of [`Port::reason`] and [`LagMember::reason`].
    pub reason: String,
    /// Whether the last change was about it, or about what it follows.
    pub changed: bool,
}

/// A member of a LAG.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct LagMember {
    /// Port.
    pub port: String,
    /// Whether the LAG's driver holds the link for good (`IFLA_BOND_SLAVE_MII_STATUS`).
    pub link_up: bool,
    /// Whether frames go through this member: its link is up and, with LACP, it is of the aggregator in use and
    /// in collecting and distributing state.
    pub active: bool,
    /// How often its link was lost since it joined.
    pub link_failures: u32,
    /// LACP: the aggregator it was sorted into (IEEE 802.1AX); 0 without LACP.
    #[serde(with = "crate::absent")]
    pub aggregator: u16,
    /// LACP: this side's state (`activity`, `short-timeout`, `aggregatable`, `synchronized`, `collecting`,
    /// `distributing`, `defaulted`, `expired`).
    pub actor_state: Vec<String>,
    /// LACP: the other side's state in the same words; empty while no partner was heard.
    pub partner_state: Vec<String>,
    /// Why no frames go through this member; empty when they do.
    #[serde(with = "crate::absent")]
    pub reason: String,
}

/// A link aggregation group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Lag {
    /// Interface name.
    pub name: String,
    /// `lacp` or `static`.
    pub mode: String,
    /// LACP: how often the partner is to send, `fast` (each second) or `slow` (every 30 s); empty without LACP.
    #[serde(with = "crate::absent")]
    pub lacp_rate: String,
    /// What spreads frames: `layer2`, `layer2+3`, `layer3+4`, or the kernel's number of another policy.
    pub hash: String,
    /// Active members below which the LAG is down.
    pub min_links: u32,
    /// Administrative state in the kernel.
    pub admin_up: bool,
    /// Operational state (RFC 2863).
    pub oper_state: String,
    /// LACP: the aggregator in use; 0 for none.
    #[serde(with = "crate::absent")]
    pub aggregator: u16,
    /// LACP: the partner's system, a hardware address; empty while none was heard.
    #[serde(with = "crate::absent")]
    pub partner: String,
    /// LACP: the partner's key of this group; 0 while none was heard.
    #[serde(with = "crate::absent")]
    pub partner_key: u16,
    /// Members, in natural order.
    pub members: Vec<LagMember>,
    /// Whether the configuration wants this LAG.
    pub wanted: bool,
}

/// An interface of the switch itself, one that is no port: a loopback, a VLAN's interface, a subinterface, a VXLAN
/// tunnel end point or a VRF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Interface {
    /// Interface name.
    pub name: String,
    /// `loopback`, `vlan`, `subinterface`, `vxlan` or `vrf`.
    pub kind: String,
    /// Text from the configuration; empty when none.
    pub description: String,
    /// Kernel interface index.
    pub ifindex: u32,
    /// Administrative state in the kernel.
    pub admin_up: bool,
    /// Operational state (RFC 2863).
    pub oper_state: String,
    /// Maximum transmission unit in bytes.
    pub mtu_bytes: u32,
    /// Hardware address.
    #[serde(with = "crate::absent")]
    pub mac: String,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// VRF name; empty for the default VRF.
    pub vrf: String,
    /// Of a subinterface: the port or LAG below.
    #[serde(with = "crate::absent")]
    pub parent: String,
    /// Of a VLAN's interface, a subinterface, or a tunnel: the VLAN; 0 for none.
    #[serde(with = "crate::absent")]
    pub vlan_id: u16,
    /// Of a tunnel: the VXLAN network identifier (RFC 7348).
    #[serde(with = "crate::absent")]
    pub vni: u32,
    /// Of a tunnel: its own address.
    #[serde(with = "crate::absent")]
    pub local: String,
    /// Of a tunnel: the other end points that get what has no known place.
    pub remotes: Vec<String>,
    /// Of a tunnel: the UDP port.
    #[serde(with = "crate::absent")]
    pub udp_port: u16,
    /// Of a VRF: its routing table.
    #[serde(with = "crate::absent")]
    pub table: u32,
    /// Of a VRF: its interfaces.
    pub members: Vec<String>,
    /// Whether the configuration wants this interface.
    pub wanted: bool,
    /// Counters.
    pub counters: Counters,
}
