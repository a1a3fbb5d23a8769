//! The resolved configuration: ranges and profiles expanded, defaults filled in, every object with its
//! place in the document.
//!
//! Only [`super::parse`] makes these values, so what they hold is valid in itself: VLAN ids are 1 to
//! 4094, VRFs that are named are defined, every next hop has an interface. What depends on the switch
//! at hand (which ports it has, what is attached to it) is checked by [`Config::admit`].

mod bridging;
mod drift;
mod interface;
mod port;
mod priority;
mod route;
mod routing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

pub use bridging::{Bridge, MacAddress, StaticFdbEntry, StaticMdbEntry, VXLAN_PORT, Vxlan};
pub use drift::{Drift, DriftSection};
pub use interface::{Layer3, Loopback, Routing, StaticNeighbour, Subinterface, Vlan, Vrf, vlan_interface};
pub use port::{
    BridgePort, Duplex, Ethernet, Fec, HashPolicy, LacpSelect, Lag, LagMode, LinkMode, Port, PortRole,
    PortVlans,
};
pub use priority::{PcpMaps, PriorityMap, ReservedGroups};
pub use route::{NextHop, Route, RouteTarget};
pub use routing::{EcmpFields, EcmpHash, ReversePath};

use crate::state::VlanRange;

/// A place in the document. Line and column count from 1; columns count characters.
///
/// `0:0` stands for "nowhere": the object is a default that the document does not mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// The whole switch, as one document describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[system]`.
    pub system: System,
    /// `[management]`; DHCP in the default VRF when the document says nothing.
    pub management: Management,
    /// `[users.NAME]` by name.
    pub users: BTreeMap<String, User>,
    /// `[ports.NAME]` by interface name, ranges and profiles expanded. Ports the document does not
    /// mention, not even as a member of a LAG, are absent: they are to be down and outside the bridge.
    pub ports: BTreeMap<String, Port>,
    /// `[lags.NAME]` by interface name, none of them that of another interface.
    pub lags: BTreeMap<String, Lag>,
    /// `[bridge]`.
    pub bridge: Bridge,
    /// `[vlans.ID]` by VLAN id. A VLAN that only ports mention is absent here and still carried.
    pub vlans: BTreeMap<u16, Vlan>,
    /// `[vrfs.NAME]` by name.
    pub vrfs: BTreeMap<String, Vrf>,
    /// `[loopbacks.NAME]` by interface name.
    pub loopbacks: BTreeMap<String, Loopback>,
    /// `[subinterfaces."PARENT.VLAN"]` by interface name, which is `PARENT.VLAN`.
    pub subinterfaces: BTreeMap<String, Subinterface>,
    /// `[vxlans.NAME]` by interface name.
    pub vxlans: BTreeMap<String, Vxlan>,
    /// `[routing]`.
    pub routing: Routing,
    /// `[[routes]]` in document order; no two have the same VRF, prefix and metric.
    pub routes: Vec<Route>,
    /// `[[neighbours]]`: static ARP and ND entries; no two have the same address and interface.
    pub neighbours: Vec<StaticNeighbour>,
    /// `[[fdb]]`: static forwarding entries; no two have the same address and VLAN.
    pub fdb: Vec<StaticFdbEntry>,
    /// `[[mdb]]`: static group members; no two have the same group and VLAN.
    pub mdb: Vec<StaticMdbEntry>,
    /// `[drift]`.
    pub drift: Drift,
    /// `[control-plane]`.
    pub control_plane: ControlPlane,
    /// Places of all settings by dotted path, for [`Config::locate`].
    pub(super) places: BTreeMap<String, Place>,
}

impl Config {
    /// The port or LAG of a name.
    pub fn ethernet(&self, name: &str) -> Option<&Ethernet> {
        let port = self.ports.get(name).map(|port| &port.ethernet);
        port.or_else(|| self.lags.get(name).map(|lag| &lag.ethernet))
    }

    /// All ports and LAGs.
    pub fn ethernets(&self) -> impl Iterator<Item = (&str, &Ethernet)> {
        let ports = self.ports.iter().map(|(name, port)| (name.as_str(), &port.ethernet));
        ports.chain(self.lags.iter().map(|(name, lag)| (name.as_str(), &lag.ethernet)))
    }
}

/// `[system]`: the switch as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Where the section begins.
    pub place: Place,
    /// Host name (RFC 1123); `None` keeps the image's default.
    pub hostname: Option<String>,
    /// Most objects, beside links and generations, whose state readers of events that come late are told.
    pub most_event_states: u32,
}

impl Default for System {
    fn default() -> Self {
        System { place: Place::default(), hostname: None, most_event_states: 4096 }
    }
}

/// `[management]`: how the switch itself is reached over `mgmt0`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Management {
    /// Where the section begins.
    pub place: Place,
    /// Addresses of `mgmt0`.
    pub address: ManagementAddress,
    /// VRF of `mgmt0`; `None` for the default VRF.
    pub vrf: Option<ManagementVrf>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
    /// NTP servers, addresses or host names.
    pub ntp: Vec<String>,
}

/// Where the addresses of `mgmt0` come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ManagementAddress {
    /// DHCPv4, and IPv6 by router advertisement.
    #[default]
    Dhcp,
    /// From the document.
    Static {
        /// Addresses with prefix length, at least one.
        addresses: Vec<IpNet>,
        /// Default gateways, at most one of each family, each inside a subnet of `addresses` or link-local.
        gateways: Vec<IpAddr>,
    },
}

/// The VRF of the management port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementVrf {
    /// Name of the VRF device.
    pub name: String,
    /// Routing table: that of `[vrfs.NAME]` if the document has it, else [`MANAGEMENT_VRF_TABLE`].
    pub table: u32,
    /// Whether `[vrfs.NAME]` defines it too, so that front-panel interfaces may join it.
    pub defined: bool,
}

/// Routing table of a management VRF that `[vrfs]` does not define.
pub const MANAGEMENT_VRF_TABLE: u32 = 1000;

/// `[users.NAME]`: a person who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Where the user is defined.
    pub place: Place,
    /// What the user may do.
    pub role: Role,
    /// SSH public keys, one `authorized_keys` line each, without options.
    pub keys: Vec<String>,
    /// Hash of the password for the serial console; `None` refuses passwords.
    pub console_password: Option<PasswordHash>,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything: group `corten-admin`.
    Admin,
    /// Look, validate and watch: group `corten-view`.
    View,
}

impl Role {
    /// The Unix group that carries the role.
    pub fn group(self) -> &'static str {
        match self {
            Role::Admin => "corten-admin",
            Role::View => "corten-view",
        }
    }
}

impl fmt::Display for Role {
    /// The document's word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Admin => "admin",
            Role::View => "view",
        })
    }
}

/// A crypt(3) password hash. Its `Debug` form hides the value, so that it reaches no log.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub(super) String);

impl PasswordHash {
    /// The hash, for the user database only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// `[control-plane]`: what front-panel ports and workloads may reach on the switch itself. The
/// management port is not concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Where the section begins.
    pub place: Place,
    /// What may reach the switch; everything else is dropped, but for replies to what the switch itself
    /// asked. Named services are already spelled out (`"ssh"` is TCP port 22).
    pub allow: BTreeSet<Allow>,
    /// Most questions of the switch, of each VRF and address family, whose answers are waited for.
    pub most_questions: u32,
}

impl Default for ControlPlane {
    fn default() -> Self {
        ControlPlane {
            place: Place::default(),
            allow: BTreeSet::from([Allow::Icmp, Allow::Arp, Allow::Nd]),
            most_questions: 65_536,
        }
    }
}

/// Traffic that may reach the switch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allow {
    /// ARP.
    Arp,
    /// ICMP and ICMPv6 but for neighbour discovery.
    Icmp,
    /// IPv6 neighbour discovery (RFC 4861): ICMPv6 types 133 to 137.
    Nd,
    /// A TCP destination port.
    Tcp(u16),
    /// A UDP destination port.
    Udp(u16),
    /// An IP protocol by number (OSPF 89, VRRP 112).
    Protocol(u8),
}

/// What [`Config::admit`] needs to know of the switch at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Front-panel ports this switch has, by name.
    pub ports: BTreeSet<String>,
    /// Attachments that exist now.
    pub attachments: Vec<AttachmentUse>,
}

/// An attachment and the VLANs it relies on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachmentUse {
    /// `namespace/service/interface`.
    pub key: String,
    /// VLANs the attachment is in, with a tag or without.
    pub vlans: Vec<VlanRange>,
}
