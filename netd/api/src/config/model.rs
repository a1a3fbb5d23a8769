//! The resolved configuration: ranges and profiles expanded, defaults filled in, every object with its
//! place in the document.
//!
//! Only [`super::parse`] makes these values, so what they hold is valid in itself: VLAN ids are 1 to
//! 4094, VRFs that are named are defined, every next hop has an interface. What depends on the switch
//! at hand (which ports it has, what is attached to it) is checked by [`Config::admit`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::state::VlanRange;

/// A place in the document. Line and column count from 1; columns count characters.
///
/// `0:0` stands for "nowhere": the object is a default that the document does not mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    /// mention are absent: they are to be down and outside the bridge.
    pub ports: BTreeMap<String, Port>,
    /// `[vlans.ID]` by VLAN id. A VLAN that only ports mention is absent here and still carried.
    pub vlans: BTreeMap<u16, Vlan>,
    /// `[vrfs.NAME]` by name.
    pub vrfs: BTreeMap<String, Vrf>,
    /// `[loopbacks.NAME]` by interface name.
    pub loopbacks: BTreeMap<String, Loopback>,
    /// `[[routes]]` in document order; no two have the same VRF, prefix and metric.
    pub routes: Vec<Route>,
    /// `[[fdb]]`: static forwarding entries; no two have the same address and VLAN.
    pub fdb: Vec<StaticFdbEntry>,
    /// `[control-plane]`.
    pub control_plane: ControlPlane,
    /// Places of all settings by dotted path, for [`Config::locate`].
    pub(super) places: BTreeMap<String, Place>,
}

/// `[system]`: the switch as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Where the section begins.
    pub place: Place,
    /// Host name (RFC 1123); `None` keeps the image's default.
    pub hostname: Option<String>,
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

/// `[ports.NAME]`: a front-panel port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Where the port is configured: its own section, or the range that names it.
    pub place: Place,
    /// Free text; empty when none.
    pub description: String,
    /// Whether the port is to be up.
    pub enabled: bool,
    /// Maximum transmission unit in bytes; `None` keeps the driver's default.
    pub mtu_bytes: Option<u32>,
    /// What the port is for.
    pub role: PortRole,
}

/// What a port is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortRole {
    /// Neither VLANs nor addresses: the port carries nothing and stays outside the bridge.
    #[default]
    Unused,
    /// A port of the bridge.
    Bridged(PortVlans),
    /// A port with addresses or a VRF of its own, outside the bridge.
    Routed(Layer3),
}

/// VLANs of a bridge port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortVlans {
    /// Access or native VLAN: frames without a tag belong to it and leave without one. `None` drops
    /// untagged frames.
    pub untagged: Option<u16>,
    /// VLANs carried with a tag: sorted, merged, without the untagged one.
    pub tagged: Vec<VlanRange>,
}

impl PortVlans {
    /// Whether the port carries this VLAN, with a tag or without.
    pub fn carries(&self, vlan_id: u16) -> bool {
        self.untagged == Some(vlan_id)
            || self.tagged.iter().any(|range| range.first <= vlan_id && vlan_id <= range.last)
    }
}

/// Addresses and VRF of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer3 {
    /// Addresses with prefix length, each once, in document order (the first is the primary one).
    pub addresses: Vec<IpNet>,
    /// VRF; `None` for the default VRF.
    pub vrf: Option<String>,
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

/// `[[routes]]`: a static route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the route begins.
    pub place: Place,
    /// Destination, host bits zero.
    pub prefix: IpNet,
    /// VRF; `None` for the default VRF.
    pub vrf: Option<String>,
    /// Metric (kernel priority); lower wins. By default what the kernel itself takes: 0 for IPv4, 1024
    /// for IPv6, where 0 cannot be expressed.
    pub metric: u32,
    /// Where matching packets go.
    pub target: RouteTarget,
}

/// Where packets that match a route go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Dropped silently.
    Blackhole,
    /// To one of these, at least one; more than one is ECMP.
    NextHops(Vec<NextHop>),
}

/// One way out of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Place of the gateway (or of `dev` when there is none).
    pub place: Place,
    /// Gateway; `None` when the destination is reached directly on `device`.
    pub via: Option<IpAddr>,
    /// Outgoing interface: the route's `dev`, or the interface whose subnet holds the gateway.
    pub device: String,
    /// The gateway is to be taken as reachable on `device` whatever its subnets are (`RTNH_F_ONLINK`).
    pub on_link: bool,
    /// Share among the next hops of the route, 1 to 256.
    pub weight: u16,
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
    /// Bridged front-panel port.
    pub port: String,
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

/// `[control-plane]`: what front-panel ports and workloads may reach on the switch itself. The
/// management port is not concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    /// Where the section begins.
    pub place: Place,
    /// What may reach the switch; everything else is dropped, but for replies to what the switch itself
    /// asked. Named services are already spelled out (`"ssh"` is TCP port 22).
    pub allow: BTreeSet<Allow>,
}

impl Default for ControlPlane {
    fn default() -> Self {
        ControlPlane { place: Place::default(), allow: BTreeSet::from([Allow::Icmp, Allow::Arp, Allow::Nd]) }
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
