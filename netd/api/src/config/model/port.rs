//! `[ports]` and `[lags]`: what frames come in and go out through.

use super::{Layer3, MacAddress, Place, ReservedGroups};
use crate::state::VlanRange;

/// `[ports.NAME]`: a front-panel port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Where the port is configured: its own section, the range that names it, or else the LAG that has it
    /// as a member.
    pub place: Place,
    /// What ports have in common with LAGs.
    pub ethernet: Ethernet,
    /// How the port talks to its partner.
    pub link_mode: LinkMode,
    /// Number of ports this one is split into (1, 2, 4 or 8): `swp1` into `swp1s0`, `swp1s1`, …. `None`
    /// leaves it as it is. A port split into more than one has the role [`PortRole::Unused`].
    pub breakout: Option<u8>,
}

/// What ports and LAGs have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Free text; empty when none.
    pub description: String,
    /// Whether the port is to be up.
    pub enabled: bool,
    /// Maximum transmission unit in bytes; `None` keeps the driver's default. Members have that of their LAG.
    pub mtu_bytes: Option<u32>,
    /// Hardware address; `None` keeps the one it was born with. Members have none of their own.
    pub mac: Option<MacAddress>,
    /// What the port is for.
    pub role: PortRole,
}

impl Default for Ethernet {
    fn default() -> Self {
        Ethernet {
            description: String::new(),
            enabled: true,
            mtu_bytes: None,
            mac: None,
            role: PortRole::Unused,
        }
    }
}

/// How a port talks to its partner; `None` keeps the driver's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkMode {
    /// Speed in Mbit/s: the only one offered when the port negotiates, else the one that is set.
    pub speed_mbps: Option<u32>,
    /// Whether both directions work at once.
    pub duplex: Option<Duplex>,
    /// Whether speed and duplex are negotiated (IEEE 802.3, clauses 28 and 73).
    pub autoneg: Option<bool>,
    /// Forward error correction.
    pub fec: Option<Fec>,
}

/// Whether both directions work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// One at a time.
    Half,
    /// Both.
    Full,
}

/// Forward error correction (IEEE 802.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fec {
    /// What the module and the partner ask for.
    Auto,
    /// None.
    Off,
    /// Reed-Solomon (clauses 91, 108, 134).
    Rs,
    /// BASE-R, also called Firecode (clause 74).
    BaseR,
}

impl Fec {
    /// All of them.
    pub const ALL: [Fec; 4] = [Fec::Auto, Fec::Off, Fec::Rs, Fec::BaseR];

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Fec> {
        Fec::ALL.into_iter().find(|fec| fec.name() == name)
    }

    /// The document's word, which is also that of ethtool(8).
    pub fn name(self) -> &'static str {
        match self {
            Fec::Auto => "auto",
            Fec::Off => "off",
            Fec::Rs => "rs",
            Fec::BaseR => "baser",
        }
    }
}

/// What a port or LAG is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortRole {
    /// Neither VLANs nor addresses: nothing but its subinterfaces, if it has any. Outside the bridge.
    #[default]
    Unused,
    /// A port of the bridge.
    Bridged(BridgePort),
    /// A port with addresses or a VRF of its own, outside the bridge.
    Routed(Layer3),
    /// A member of the LAG of this name. Never the role of a LAG.
    Member(String),
}

/// A port of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgePort {
    /// VLANs it carries.
    pub vlans: PortVlans,
    /// Whether it may not exchange frames with other isolated ports.
    pub isolated: bool,
    /// Whether the bridge learns addresses from it.
    pub learning: bool,
    /// Groups that usually stay on their link, and are forwarded when they come in here.
    pub forward_reserved: ReservedGroups,
}

impl Default for BridgePort {
    fn default() -> Self {
        BridgePort {
            vlans: PortVlans::default(),
            isolated: false,
            learning: true,
            forward_reserved: ReservedGroups::default(),
        }
    }
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

/// `[lags.NAME]`: a link aggregation group (IEEE 802.1AX).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Where the LAG is defined.
    pub place: Place,
    /// What LAGs have in common with ports.
    pub ethernet: Ethernet,
    /// Its ports, at least one, in document order. Each is in [`super::Config::ports`] too, as
    /// [`PortRole::Member`], and in no other LAG.
    pub members: Vec<String>,
    /// How members are chosen.
    pub mode: LagMode,
    /// What spreads frames over the members.
    pub hash: HashPolicy,
    /// Members that must carry for the LAG to carry; 1 or more, at most all of them.
    pub min_links: u32,
}

/// How a LAG chooses its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagMode {
    /// All that have a carrier.
    Static,
    /// Those the partner agrees to (LACP).
    Lacp {
        /// Whether the partner is asked to speak each second instead of every 30 s.
        fast: bool,
        /// Which members are used where not all agree.
        select: LacpSelect,
    },
}

impl Default for LagMode {
    fn default() -> Self {
        LagMode::Lacp { fast: false, select: LacpSelect::default() }
    }
}

/// Which of several aggregators of a LAG is used: members of other speeds or partners are in another one (IEEE 802.1AX,
/// 6.3.6; the names are iproute2's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LacpSelect {
    /// The one that was chosen first, for as long as it carries.
    #[default]
    Stable,
    /// The one with the most bandwidth.
    Bandwidth,
    /// The one with the most members.
    Count,
}

impl LacpSelect {
    /// All of them by their names in the document.
    pub const NAMES: [(&str, LacpSelect); 3] =
        [("stable", LacpSelect::Stable), ("bandwidth", LacpSelect::Bandwidth), ("count", LacpSelect::Count)];
}

/// What spreads frames over the members of a LAG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashPolicy {
    /// Hardware addresses.
    Layer2,
    /// Hardware and IP addresses.
    Layer2And3,
    /// IP addresses and ports.
    #[default]
    Layer3And4,
}

impl HashPolicy {
    /// All of them by their names in the document.
    pub const NAMES: [(&str, HashPolicy); 3] = [
        ("layer2", HashPolicy::Layer2),
        ("layer2+3", HashPolicy::Layer2And3),
        ("layer3+4", HashPolicy::Layer3And4),
    ];
}
