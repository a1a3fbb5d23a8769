//! The network as netd models it: what it wants, or what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::filter::{Filter, FilterKey};
use super::held_route::HeldRoute;
use super::offer::Offer;
use super::setting::{Setting, Settings, Value};
use super::vlan_table::VlanTable;

/// All objects netd manages, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Links by name.
    pub links: BTreeMap<String, Link>,
    /// Next hop objects by id, ids of netd's own range only.
    pub next_hops: BTreeMap<NextHopId, NextHopObject>,
    /// Routes of netd's own protocol, sorted by key, each key once: see [`Network::sort`].
    pub routes: Vec<Route>,
    /// Static forwarding entries.
    pub fdb: BTreeMap<FdbKey, FdbTarget>,
    /// Static multicast group memberships.
    pub mdb: BTreeSet<MdbKey>,
    /// Static ARP and ND entries.
    pub neighbours: BTreeMap<NeighbourKey, String>,
    /// Routing rules that look up by VRF, in the local or in the main table, whatever the packet.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub rules: BTreeSet<Rule>,
    /// Filters of frames, of netd's own range of preferences.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<FilterKey, Filter>,
}

/// A link with all that hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Found: whether netd made it. Only such links are ever removed.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub owned: bool,
    /// Administrative state.
    #[serde(default)]
    pub up: bool,
    /// Found: whether the link has a carrier. Groups of next hops do without those that have none.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub carrier: bool,
    /// Bridge, LAG or VRF above.
    #[serde(default)]
    pub master: Option<String>,
    /// Settings; one that is wanted but not named here stays as it is.
    #[serde(default)]
    pub settings: Settings,
    /// Found: what a port that negotiates can offer, and offers. Wishes for its speed and duplex are about that.
    #[serde(default, skip_serializing_if = "Offer::is_empty")]
    pub offer: Offer,
    /// VLANs, of a bridge port or the bridge itself.
    #[serde(default)]
    pub vlans: VlanTable,
    /// VLANs in which the bridge asks for members of multicast groups, of those it is in itself. How it is in
    /// them plays no part.
    #[serde(default)]
    pub queriers: VlanTable,
    /// VLANs in which a bridge port is a member of all groups of the IPv6 link, of those it is in.
    #[serde(default, skip_serializing_if = "VlanTable::is_empty")]
    pub link_groups: VlanTable,
    /// Whether frames of the link can be filtered: it has the queueing discipline `clsact`.
    #[serde(default, skip_serializing_if = "is_no")]
    pub clsact: bool,
    /// Found: whether others filter frames there.
    #[serde(default, skip_serializing_if = "is_no")]
    pub foreign_filters: bool,
    /// Addresses, the primary one first. Found: as the kernel has them in order.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Found: addresses that others set. They satisfy a wish but are never removed.
    #[serde(default)]
    pub foreign_addresses: Vec<IpNet>,
    /// Found: routes that netd holds while addresses change their order. None outlasts a change.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held_routes: BTreeSet<HeldRoute>,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}

impl Link {
    /// A link of this kind: down, alone, with nothing set.
    pub fn new(kind: LinkKind) -> Link {
        Link {
            kind,
            owned: true,
            up: false,
            carrier: true,
            master: None,
            settings: BTreeMap::new(),
            offer: Offer::default(),
            vlans: VlanTable::default(),
            queriers: VlanTable::default(),
            link_groups: VlanTable::default(),
            clsact: false,
            foreign_filters: false,
            addresses: Vec::new(),
            foreign_addresses: Vec::new(),
            held_routes: BTreeSet::new(),
        }
    }

    /// Whether the link has an address, whoever set it.
    pub fn has_address(&self, address: &IpNet) -> bool {
        self.addresses.contains(address) || self.foreign_addresses.contains(address)
    }

    /// Sets a setting.
    pub fn set(&mut self, setting: Setting, value: impl Into<Value>) {
        self.settings.insert(setting, value.into());
    }

    /// A setting's number, where it is set.
    pub fn number(&self, setting: Setting) -> Option<u32> {
        self.settings.get(&setting).and_then(Value::number)
    }
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum LinkKind {
    /// A port of the hardware.
    Hardware,
    /// The switch's side of a workload's interface. Made and removed by attachments, not by plans.
    Veth,
    /// The bridge.
    Bridge,
    /// An 802.1Q interface.
    Vlan {
        /// Link it stands on.
        parent: String,
        /// VLAN id.
        id: u16,
    },
    /// A VRF.
    Vrf {
        /// Routing table.
        table: u32,
    },
    /// A loopback.
    Dummy,
    /// A link aggregation group.
    Lag {
        /// Whether members are negotiated by LACP; static otherwise.
        lacp: bool,
    },
    /// A VXLAN tunnel end point.
    Vxlan {
        /// Virtual network id.
        vni: u32,
        /// Source address.
        local: IpAddr,
        /// UDP port.
        port: u16,
    },
    /// Something netd does not make, in the way of a name it wants.
    Other {
        /// `IFLA_INFO_KIND`.
        kind: String,
    },
}

impl LinkKind {
    /// The kernel's name of the kind.
    pub fn name(&self) -> &str {
        match self {
            LinkKind::Hardware => "hardware",
            LinkKind::Veth => "veth",
            LinkKind::Bridge => "bridge",
            LinkKind::Vlan { .. } => "vlan",
            LinkKind::Vrf { .. } => "vrf",
            LinkKind::Dummy => "dummy",
            LinkKind::Lag { .. } => "bond",
            LinkKind::Vxlan { .. } => "vxlan",
            LinkKind::Other { kind } => kind,
        }
    }

    /// Whether plans make and remove such links.
    pub fn is_made(&self) -> bool {
        !matches!(self, LinkKind::Hardware | LinkKind::Veth | LinkKind::Other { .. })
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkKind::Vlan { parent, id } => write!(f, "vlan {id} on {parent}"),
            LinkKind::Vrf { table } => write!(f, "vrf with table {table}"),
            LinkKind::Lag { lacp } => f.write_str(if *lacp { "lacp lag" } else { "static lag" }),
            LinkKind::Vxlan { vni, local, port } => write!(f, "vxlan {vni} from {local} port {port}"),
            other => f.write_str(other.name()),
        }
    }
}

/// A route of netd's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which.
    #[serde(flatten)]
    pub key: RouteKey,
    /// Where packets go.
    pub target: RouteTarget,
}

/// What tells routes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub prefix: IpNet,
    /// Metric; lower wins.
    pub metric: u32,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} metric {} table {}", self.prefix, self.metric, self.table)
    }
}

/// Where packets that match a route go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteTarget {
    /// Dropped silently.
    Blackhole,
    /// Dropped with an ICMP error: the end of a VRF, past which lookups must not fall into the main table.
    Unreachable,
    /// To a next hop object, which may be a group.
    Object(NextHopId),
    /// To one of these, spelled out in the route: where a driver refuses objects. Sorted.
    NextHops(Arc<[NextHop]>),
}

impl RouteTarget {
    /// A target with next hops spelled out, in the order that makes equal ones equal.
    pub fn inline(mut hops: Vec<NextHop>) -> RouteTarget {
        hops.sort();
        RouteTarget::NextHops(hops.into())
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteTarget::Blackhole => f.write_str("blackhole"),
            RouteTarget::Unreachable => f.write_str("unreachable"),
            RouteTarget::Object(id) => write!(f, "{id}"),
            RouteTarget::NextHops(hops) => {
                let hops: Vec<String> = hops.iter().map(NextHop::to_string).collect();
                f.write_str(&hops.join(", "))
            }
        }
    }
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NextHop {
    /// Gateway; `None` when the destination is on the link.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// Outgoing interface.
    pub device: String,
    /// 1 to 256.
    #[serde(default = "one")]
    pub weight: u16,
    /// The gateway is taken as reachable on the device whatever its subnets.
    #[serde(default)]
    pub on_link: bool,
}

fn one() -> u16 {
    1
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(via) = self.via {
            write!(f, "via {via} ")?;
        }
        write!(f, "dev {}", self.device)?;
        if self.weight != 1 {
            write!(f, " weight {}", self.weight)?;
        }
        if self.on_link { f.write_str(" onlink") } else { Ok(()) }
    }
}

/// Id of a next hop object of netd's. In text, the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NextHopId(pub u32);

impl NextHopId {
    /// First id of netd's range; routing daemons count up from 1 and stay far below.
    pub const FIRST: u32 = 0x4000_0000;
    /// Last id of netd's range.
    pub const LAST: u32 = 0x7fff_ffff;

    /// Whether the id lies in netd's range.
    pub fn is_own(self) -> bool {
        (Self::FIRST..=Self::LAST).contains(&self.0)
    }
}

impl fmt::Display for NextHopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "next hop {}", self.0)
    }
}

impl From<NextHopId> for String {
    fn from(id: NextHopId) -> String {
        id.0.to_string()
    }
}

impl TryFrom<String> for NextHopId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(NextHopId).map_err(|_| format!("{text:?} is no id"))
    }
}

/// A next hop object: a way out that many routes share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextHopObject {
    /// One way out; its weight is that of the group it is in.
    Single {
        /// Gateway; `None` when destinations are on the link.
        #[serde(default)]
        via: Option<IpAddr>,
        /// Outgoing interface.
        device: String,
        /// The gateway is taken as reachable on the device whatever its subnets.
        #[serde(default)]
        on_link: bool,
        /// Whether it serves IPv6 destinations; without a gateway, only this tells.
        #[serde(default)]
        v6: bool,
    },
    /// Several, with their weights, by id.
    Group(Vec<(NextHopId, u16)>),
}

impl NextHopObject {
    /// The outgoing interface of a single one.
    pub fn device(&self) -> Option<&str> {
        match self {
            NextHopObject::Single { device, .. } => Some(device),
            NextHopObject::Group(_) => None,
        }
    }

    /// Whether both are groups and this one has some of the other's members, as they are there.
    pub fn is_part_of(&self, other: &NextHopObject) -> bool {
        match (self, other) {
            (NextHopObject::Group(some), NextHopObject::Group(all)) => {
                some.iter().all(|member| all.contains(member))
            }
            _ => false,
        }
    }
}

impl fmt::Display for NextHopObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHopObject::Single { via, device, on_link, .. } => {
                NextHop { via: *via, device: device.clone(), weight: 1, on_link: *on_link }.fmt(f)
            }
            NextHopObject::Group(members) => {
                let members: Vec<String> =
                    members.iter().map(|(id, weight)| format!("{} weight {weight}", id.0)).collect();
                write!(f, "group {}", members.join(", "))
            }
        }
    }
}

/// What tells forwarding entries apart. In text: `02:00:00:00:00:01 vlan 10`, and `on vxlan1` where the entry
/// is one of several of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FdbKey {
    /// Hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// VLAN id; 0 for an entry of a tunnel.
    pub vlan_id: u16,
    /// Of a tunnel's entry: the tunnel and the remote address.
    pub tunnel: Option<(String, IpAddr)>,
}

/// Where frames to a forwarding entry's address go.
pub type FdbTarget = String;

impl fmt::Display for FdbKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vlan {}", self.mac, self.vlan_id)?;
        match &self.tunnel {
            Some((tunnel, remote)) => write!(f, " on {tunnel} to {remote}"),
            None => Ok(()),
        }
    }
}

impl From<FdbKey> for String {
    fn from(key: FdbKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for FdbKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let wrong = || format!("{text:?} is no `MAC vlan ID [on TUNNEL to REMOTE]`");
        let (mac, vlan, rest) = match words.as_slice() {
            [mac, "vlan", vlan, rest @ ..] => (*mac, vlan.parse().map_err(|_| wrong())?, rest),
            _ => return Err(wrong()),
        };
        let tunnel = match rest {
            [] => None,
            ["on", tunnel, "to", remote] => {
                Some(((*tunnel).to_owned(), remote.parse().map_err(|_| wrong())?))
            }
            _ => return Err(wrong()),
        };
        Ok(FdbKey { mac: mac.to_owned(), vlan_id: vlan, tunnel })
    }
}

/// A static multicast group membership of a bridge port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MdbKey {
    /// Group, IPv4 or IPv6.
    pub group: IpAddr,
    /// VLAN id.
    pub vlan_id: u16,
    /// Bridge port.
    pub port: String,
}

impl fmt::Display for MdbKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} vlan {} port {}", self.group, self.vlan_id, self.port)
    }
}

/// A routing rule that is about every packet of a family. In text: `ipv4 32765 local`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Whether it is about IPv6, not IPv4.
    pub ipv6: bool,
    /// Rules with a lower one come first (`FRA_PRIORITY`).
    pub preference: u32,
    /// Where it has a route looked up.
    pub lookup: Lookup,
}

/// Where a rule has a route looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// In the table of the VRF (layer 3 master device) that the packet belongs to.
    L3mdev,
    /// In the table of the switch's own addresses.
    Local,
    /// In the main table.
    Main,
}

impl Lookup {
    const NAMES: [(&str, Lookup); 3] =
        [("l3mdev", Lookup::L3mdev), ("local", Lookup::Local), ("main", Lookup::Main)];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Lookup::NAMES.iter().find(|(_, lookup)| *lookup == self.lookup).map_or("", |(name, _)| name);
        write!(f, "{} {} {name}", if self.ipv6 { "ipv6" } else { "ipv4" }, self.preference)
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let rule = match words.as_slice() {
            [family @ ("ipv4" | "ipv6"), preference, name] => {
                let lookup = Lookup::NAMES.iter().find(|(known, _)| known == name).map(|(_, lookup)| *lookup);
                let preference = preference.parse().ok();
                preference.zip(lookup).map(|(preference, lookup)| Rule {
                    ipv6: *family == "ipv6",
                    preference,
                    lookup,
                })
            }
            _ => None,
        };
        rule.ok_or_else(|| format!("{text:?} is no `FAMILY PREFERENCE LOOKUP`"))
    }
}

/// What tells static ARP and ND entries apart. In text: `192.0.2.1 dev swp1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NeighbourKey {
    /// Interface.
    pub device: String,
    /// Address.
    pub address: IpAddr,
}

impl fmt::Display for NeighbourKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.address, self.device)
    }
}

impl From<NeighbourKey> for String {
    fn from(key: NeighbourKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for NeighbourKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed =
            text.split_once(" dev ").and_then(|(address, device)| Some((address.parse().ok()?, device)));
        let (address, device) = parsed.ok_or_else(|| format!("{text:?} is no `ADDRESS dev DEVICE`"))?;
        Ok(NeighbourKey { device: device.to_owned(), address })
    }
}

impl Network {
    /// Puts the routes in the order plans rely on. Of several with one key the first stays.
    pub fn sort(&mut self) {
        self.routes.sort_by_key(|route| route.key);
        self.routes.dedup_by(|later, first| later.key == first.key);
    }
}
