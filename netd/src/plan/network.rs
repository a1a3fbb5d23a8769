//! The network as netd models it: what it wants, or what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// All objects netd manages, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Links by name.
    pub links: BTreeMap<String, Link>,
    /// Routes of netd's own protocol.
    pub routes: Vec<Route>,
    /// Static forwarding entries.
    pub fdb: BTreeMap<FdbKey, String>,
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
    /// MTU in bytes; `None` means "as it is".
    #[serde(default)]
    pub mtu_bytes: Option<u32>,
    /// Hardware address; `None` means "as it is".
    #[serde(default)]
    pub mac: Option<String>,
    /// Text an operator sees.
    #[serde(default)]
    pub alias: String,
    /// Bridge or VRF above.
    #[serde(default)]
    pub master: Option<String>,
    /// Whether the link gets an IPv6 link-local address of its own; `None` means "as it is".
    #[serde(default)]
    pub link_local: Option<bool>,
    /// VLANs, of a bridge port or the bridge itself.
    #[serde(default)]
    pub vlans: VlanTable,
    /// Addresses, the primary one first.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Found: addresses that others set. They satisfy a wish but are never removed.
    #[serde(default)]
    pub foreign_addresses: Vec<IpNet>,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

impl Link {
    /// A link of this kind: down, alone, with nothing set.
    pub fn new(kind: LinkKind) -> Link {
        Link {
            kind,
            owned: true,
            up: false,
            mtu_bytes: None,
            mac: None,
            alias: String::new(),
            master: None,
            link_local: None,
            vlans: VlanTable::default(),
            addresses: Vec::new(),
            foreign_addresses: Vec::new(),
        }
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
    Bridge {
        /// Whether it tells VLANs apart.
        vlan_filtering: bool,
        /// VLAN new ports get by themselves; 0 for none.
        default_pvid: u16,
    },
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
            LinkKind::Bridge { .. } => "bridge",
            LinkKind::Vlan { .. } => "vlan",
            LinkKind::Vrf { .. } => "vrf",
            LinkKind::Dummy => "dummy",
            LinkKind::Other { kind } => kind,
        }
    }

    /// Whether plans make and remove such links.
    pub fn is_made(&self) -> bool {
        !matches!(self, LinkKind::Hardware | LinkKind::Veth | LinkKind::Other { .. })
    }

    /// Whether a link of this kind can be changed into the other without making it anew.
    pub fn becomes(&self, other: &LinkKind) -> bool {
        matches!((self, other), (LinkKind::Bridge { .. }, LinkKind::Bridge { .. })) || self == other
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkKind::Vlan { parent, id } => write!(f, "vlan {id} on {parent}"),
            LinkKind::Vrf { table } => write!(f, "vrf with table {table}"),
            other => f.write_str(other.name()),
        }
    }
}

/// How a port is in a VLAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VlanMembership {
    /// Untagged frames that come in belong to this VLAN.
    pub pvid: bool,
    /// Frames leave without a tag.
    pub untagged: bool,
}

/// VLANs of a port. In text, one line a range: `"10 pvid untagged"`, `"20-29"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct VlanTable(pub BTreeMap<u16, VlanMembership>);

impl VlanTable {
    /// Runs of consecutive VLANs with the same membership.
    pub fn ranges(&self) -> Vec<(u16, u16, VlanMembership)> {
        let mut ranges: Vec<(u16, u16, VlanMembership)> = Vec::new();
        for (&id, &membership) in &self.0 {
            match ranges.last_mut() {
                // The kernel takes no PVID inside a range.
                Some((_, last, same)) if *last + 1 == id && *same == membership && !membership.pvid => {
                    *last = id
                }
                _ => ranges.push((id, id, membership)),
            }
        }
        ranges
    }
}

impl From<VlanTable> for Vec<String> {
    fn from(table: VlanTable) -> Self {
        table
            .ranges()
            .iter()
            .map(|(first, last, membership)| show_vlans(*first, *last, *membership))
            .collect()
    }
}

/// `10 pvid untagged` or `20-29`.
pub(super) fn show_vlans(first: u16, last: u16, membership: VlanMembership) -> String {
    let mut text = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if membership.pvid {
        text.push_str(" pvid");
    }
    if membership.untagged {
        text.push_str(" untagged");
    }
    text
}

impl TryFrom<Vec<String>> for VlanTable {
    type Error = String;

    fn try_from(lines: Vec<String>) -> Result<Self, String> {
        let mut table = VlanTable::default();
        for line in lines {
            let mut words = line.split_whitespace();
            let ids = words.next().ok_or("an empty VLAN line")?;
            let (first, last) = ids.split_once('-').unwrap_or((ids, ids));
            let number = |text: &str| u16::from_str(text).map_err(|_| format!("{line:?} is no VLAN line"));
            let mut membership = VlanMembership::default();
            for word in words {
                match word {
                    "pvid" => membership.pvid = true,
                    "untagged" => membership.untagged = true,
                    _ => return Err(format!("{line:?}: what is {word:?}?")),
                }
            }
            table.0.extend((number(first)?..=number(last)?).map(|id| (id, membership)));
        }
        Ok(table)
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// To one of these.
    NextHops(Vec<NextHop>),
}

impl RouteTarget {
    /// The next hops; none for the kinds that drop.
    pub fn next_hops(&self) -> &[NextHop] {
        match self {
            RouteTarget::NextHops(hops) => hops,
            RouteTarget::Blackhole | RouteTarget::Unreachable => &[],
        }
    }

    /// The same target whatever the order of the next hops.
    pub fn matches(&self, other: &RouteTarget) -> bool {
        match (self, other) {
            (RouteTarget::NextHops(mine), RouteTarget::NextHops(theirs)) => {
                let (mut mine, mut theirs) = (mine.clone(), theirs.clone());
                mine.sort();
                theirs.sort();
                mine == theirs
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteTarget::Blackhole => f.write_str("blackhole"),
            RouteTarget::Unreachable => f.write_str("unreachable"),
            RouteTarget::NextHops(hops) => {
                let hops: Vec<String> = hops.iter().map(NextHop::to_string).collect();
                f.write_str(&hops.join(", "))
            }
        }
    }
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// What tells forwarding entries apart. In text: `02:00:00:00:00:01 vlan 10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FdbKey {
    /// Hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// VLAN id.
    pub vlan_id: u16,
}

impl fmt::Display for FdbKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vlan {}", self.mac, self.vlan_id)
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
        let parsed = text.split_once(" vlan ").and_then(|(mac, vlan)| Some((mac, vlan.parse().ok()?)));
        let (mac, vlan_id) = parsed.ok_or_else(|| format!("{text:?} is no `MAC vlan ID`"))?;
        Ok(FdbKey { mac: mac.to_owned(), vlan_id })
    }
}

impl Network {
    /// Takes out what cannot be there now: links that only hardware or an attachment can bring, and
    /// whatever needs such a link or one that is down. What is taken out comes back with the link.
    pub fn prune(&mut self, actual: &Network) {
        self.links.retain(|name, link| link.kind.is_made() || actual.links.contains_key(name));
        let present: BTreeSet<String> = self.links.keys().cloned().collect();
        self.links.retain(|_, link| match &link.kind {
            LinkKind::Vlan { parent, .. } => present.contains(parent),
            _ => true,
        });
        let usable: BTreeSet<&String> =
            self.links.iter().filter(|(_, link)| link.up).map(|(name, _)| name).collect();
        for route in &mut self.routes {
            if let RouteTarget::NextHops(hops) = &mut route.target {
                hops.retain(|hop| usable.contains(&hop.device));
            }
        }
        self.routes.retain(|route| !matches!(&route.target, RouteTarget::NextHops(hops) if hops.is_empty()));
        let links = &self.links;
        self.fdb.retain(|_, port| links.contains_key(port));
    }
}
