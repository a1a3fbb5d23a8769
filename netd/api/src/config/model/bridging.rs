//! The bridge, what is fixed in its tables, and the tunnels that extend it.

use std::fmt;
use std::net::IpAddr;

use super::Place;

/// `[bridge]`: the one bridge, of all ports that are in VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Where the section begins.
    pub place: Place,
    /// How long a learned address is kept, in seconds; 0 learns none.
    pub ageing_time_s: u32,
    /// Most addresses that are learned, of all ports and VLANs together; frames to further ones are flooded.
    pub most_learned: u32,
    /// Most multicast groups that hosts behind one port may join, in all VLANs together.
    pub most_groups: u32,
    /// Whether the spanning tree protocol runs (IEEE 802.1D-1998, the kernel's own).
    pub stp: bool,
    /// Bridge priority, a multiple of 4096; the lowest becomes the root.
    pub priority: u16,
    /// Whether the bridge listens to IGMP and MLD, and sends multicast only where it was asked for.
    pub igmp_snooping: bool,
    /// Whether it asks for members itself where no router does, in each VLAN that does not say otherwise.
    pub querier: bool,
}

impl Default for Bridge {
    fn default() -> Self {
        Bridge {
            place: Place::default(),
            ageing_time_s: 300,
            most_learned: 131_072,
            most_groups: 1024,
            stp: false,
            priority: 32768,
            igmp_snooping: true,
            querier: false,
        }
    }
}

/// `[[fdb]]`: a static entry of the bridge's forwarding database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticFdbEntry {
    /// Where the entry begins.
    pub place: Place,
    /// Unicast hardware address.
    pub mac: MacAddress,
    /// VLAN, one that the port carries.
    pub vlan_id: u16,
    /// Bridged port or LAG.
    pub port: String,
}

/// `[[mdb]]`: static members of a multicast group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMdbEntry {
    /// Where the entry begins.
    pub place: Place,
    /// IPv4 or IPv6 group, not one that goes to all ports in any case.
    pub group: IpAddr,
    /// VLAN, one that each port carries.
    pub vlan_id: u16,
    /// Bridged ports and LAGs, at least one, each once.
    pub ports: Vec<String>,
}

/// UDP port of VXLAN (RFC 7348).
pub const VXLAN_PORT: u16 = 4789;

/// `[vxlans.NAME]`: a VXLAN tunnel end point (RFC 7348) that joins a VLAN of the bridge to static remote ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Where the tunnel is defined.
    pub place: Place,
    /// VXLAN network identifier, 1 to 16777215; no two tunnels of one UDP port have the same.
    pub vni: u32,
    /// The one VLAN it carries, untagged; no two tunnels have the same.
    pub vlan_id: u16,
    /// Source address, one of the switch's own in the default VRF.
    pub local: IpAddr,
    /// Other end points, at least one, of the same family as `local`: what has no known place goes to all.
    pub remotes: Vec<IpAddr>,
    /// UDP port; by default [`VXLAN_PORT`].
    pub port: u16,
}

/// An EUI-48 hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
