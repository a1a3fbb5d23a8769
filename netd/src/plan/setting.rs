//! Settings of links: one value of one link each, all compared and changed in the same way.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A setting of a link. In text as in `Display`: `mtu`, `ageing-time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// MTU in bytes.
    Mtu,
    /// Hardware address.
    Mac,
    /// Text an operator sees.
    Alias,
    /// Whether the link gets an IPv6 link-local address of its own.
    LinkLocal,
    /// Bridge: whether it tells VLANs apart.
    VlanFiltering,
    /// Bridge: VLAN new ports get by themselves; 0 for none.
    DefaultPvid,
    /// Bridge: how long a learned address is kept, in hundredths of a second.
    AgeingTime,
    /// Bridge: most addresses that are learned.
    MostLearned,
    /// Bridge: whether the kernel's spanning tree runs.
    Stp,
    /// Bridge: its priority in the spanning tree.
    Priority,
    /// Bridge: delay of a port on its way to forwarding, in hundredths of a second.
    ForwardDelay,
    /// Bridge: whether it listens to IGMP and MLD and prunes multicast.
    MulticastSnooping,
    /// Bridge: whether it keeps members and queriers of each VLAN apart.
    MulticastPerVlan,
    /// Bridge: most multicast groups it knows. Beyond, the kernel turns snooping off.
    MulticastGroups,
    /// Bridge port: may not talk to other isolated ports.
    Isolated,
    /// Bridge port: whether it learns addresses.
    Learning,
    /// Bridge port: whether frames to unknown unicast addresses leave here.
    UnicastFlood,
    /// Bridge port: most multicast groups behind it, static ones included.
    MostGroups,
    /// Bridge port: cost of the path in the spanning tree.
    PathCost,
    /// Bridge port: groups that usually stay on their link and are forwarded here, as the document names them.
    ForwardReserved,
    /// Tunnel: how long an address that it learned is kept, in seconds.
    TunnelAgeing,
    /// Tunnel: whether it learns behind which remote end point an address is.
    TunnelLearning,
    /// Tunnel: time to live of its packets.
    TunnelTtl,
    /// Tunnel: whether its packets must not be fragmented (IPv4).
    DontFragment,
    /// Tunnel: whether packets need a UDP checksum: of IPv4 those it sends, of IPv6 those that come in.
    UdpChecksum,
    /// VLAN interface on the bridge: whether it has a carrier only while a port of its VLAN has.
    BridgeBinding,
    /// VLAN interface: code points of tags that come in to priorities, `5:3 6:6`.
    PcpIngress,
    /// VLAN interface: priorities to code points of tags that go out, `5:3 6:6`.
    PcpEgress,
    /// LAG: what spreads frames over its members, `BOND_XMIT_POLICY_…`.
    HashPolicy,
    /// LAG: members that must carry for the LAG to carry.
    MinLinks,
    /// LAG: whether LACP partners are asked for fast time-outs.
    LacpFast,
    /// LAG: which of several aggregators is used, `BOND_AD_…`.
    LacpSelect,
    /// LAG: the system identifier that LACP partners see (IEEE 802.1AX 6.3.2), without its priority.
    LacpSystem,
    /// Hardware: whether speed and duplex are negotiated.
    Autoneg,
    /// Hardware: speed in Mbit/s; of a port that negotiates also the link modes it offers, by their names.
    Speed,
    /// Hardware: whether both directions work at once.
    FullDuplex,
    /// Hardware: forward error correction (`auto`, `off`, `rs`, `baser`).
    Fec,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::Mtu => "mtu",
            Setting::Mac => "mac",
            Setting::Alias => "description",
            Setting::LinkLocal => "ipv6 link-local",
            Setting::VlanFiltering => "vlan filtering",
            Setting::DefaultPvid => "default pvid",
            Setting::AgeingTime => "ageing time",
            Setting::MostLearned => "most learned addresses",
            Setting::Stp => "stp",
            Setting::Priority => "priority",
            Setting::ForwardDelay => "forward delay",
            Setting::MulticastSnooping => "multicast snooping",
            Setting::MulticastPerVlan => "multicast per vlan",
            Setting::MulticastGroups => "multicast groups",
            Setting::Isolated => "isolated",
            Setting::Learning => "learning",
            Setting::UnicastFlood => "unicast flood",
            Setting::MostGroups => "most groups",
            Setting::PathCost => "path cost",
            Setting::ForwardReserved => "forward reserved",
            Setting::TunnelAgeing => "tunnel ageing time",
            Setting::TunnelLearning => "tunnel learning",
            Setting::TunnelTtl => "ttl",
            Setting::DontFragment => "don't fragment",
            Setting::UdpChecksum => "udp checksum",
            Setting::BridgeBinding => "bridge binding",
            Setting::PcpIngress => "pcp ingress",
            Setting::PcpEgress => "pcp egress",
            Setting::HashPolicy => "hash policy",
            Setting::MinLinks => "min links",
            Setting::LacpFast => "lacp fast",
            Setting::LacpSelect => "lacp select",
            Setting::LacpSystem => "lacp system",
            Setting::Autoneg => "autoneg",
            Setting::Speed => "speed",
            Setting::FullDuplex => "full duplex",
            Setting::Fec => "fec",
        })
    }
}

/// Settings with their values.
pub type Settings = BTreeMap<Setting, Value>;

/// The settings of how a port talks to its partner.
pub const LINK_MODES: [Setting; 4] = [Setting::Autoneg, Setting::Speed, Setting::FullDuplex, Setting::Fec];

impl Setting {
    /// Whether the setting belongs to a link's place under a bridge, so that it is gone when it leaves.
    pub fn is_of_bridge_port(self) -> bool {
        matches!(
            self,
            Setting::Isolated
                | Setting::Learning
                | Setting::UnicastFlood
                | Setting::MostGroups
                | Setting::PathCost
                | Setting::ForwardReserved
        )
    }

    /// Whether the kernel does not always show what it was set to: many drivers know no speed without a carrier, and
    /// of the bridge's timers the kernel shows those that the spanning tree has learned.
    pub fn is_sometimes_unreported(self) -> bool {
        self.is_speed_or_duplex() || matches!(self, Setting::ForwardDelay | Setting::AgeingTime)
    }

    /// Whether it is one of those that ports negotiate, and that many drivers tell only while there is a carrier.
    pub fn is_speed_or_duplex(self) -> bool {
        matches!(self, Setting::Speed | Setting::FullDuplex)
    }

    /// Whether a link that has it otherwise must be made anew: the kernel does not change it later, or the bridge
    /// does not hear of it.
    pub fn needs_new_link(self) -> bool {
        matches!(self, Setting::UdpChecksum | Setting::BridgeBinding)
    }

    /// Whether the kernel takes it only when the link is made, or before it has members.
    pub fn is_set_at_creation(self) -> bool {
        matches!(
            self,
            Setting::Mac
                | Setting::VlanFiltering
                | Setting::DefaultPvid
                | Setting::Stp
                | Setting::ForwardDelay
                | Setting::MulticastSnooping
                | Setting::TunnelAgeing
                | Setting::TunnelLearning
                | Setting::TunnelTtl
                | Setting::DontFragment
                | Setting::UdpChecksum
                | Setting::BridgeBinding
                | Setting::PcpIngress
                | Setting::PcpEgress
                | Setting::HashPolicy
                | Setting::MinLinks
                | Setting::LacpFast
                | Setting::LacpSelect
                | Setting::LacpSystem
        )
    }
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A number in the setting's unit.
    Number(u32),
    /// A text.
    Text(String),
}

impl Value {
    /// No speed or duplex in particular: of a port that was never told one, to be forgotten, or, where it negotiates,
    /// all it can.
    pub fn unknown() -> Value {
        Value::from("unknown")
    }

    /// Whether it is [`Value::unknown`].
    pub fn is_unknown(&self) -> bool {
        self.text() == "unknown"
    }

    /// The number, where the value is one.
    pub fn number(&self) -> Option<u32> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Flag(flag) => Some((*flag).into()),
            Value::Text(_) => None,
        }
    }

    /// Whether the value says yes.
    pub fn is_on(&self) -> bool {
        self.number().is_some_and(|number| number != 0)
    }

    /// The text, empty where the value is none.
    pub fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Flag(_) | Value::Number(_) => "",
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Flag(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Value::Number(value)
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Value::Number(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(flag) => f.write_str(if *flag { "on" } else { "off" }),
            Value::Number(number) => number.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
        }
    }
}
