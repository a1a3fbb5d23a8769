//! Links: `RTM_GETLINK`, `RTM_NEWLINK`, `RTM_SETLINK`, `RTM_DELLINK`. What only some kinds have is in files of
//! their own.

use netd_api::state::Counters;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::lag::{Aggregator, MemberRecord};
use super::vxlan::VxlanRecord;
use super::wire::{
    Message, attributes, hardware_address, read_mac, read_text, read_u8, read_u16, read_u32, read_u64,
};
use super::{bridge, bridge_port, inet, lag, vlan_interface, vxlan};
use crate::plan::{LinkKind, Setting};

/// Interface group netd puts on every link it creates, so that it later knows them as its own.
pub const OWN_GROUP: u32 = 199;

/// Attributes libc lacks (linux/if_link.h).
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MCAST_N_GROUPS: u16 = 41;
const IFLA_BR_FDB_N_LEARNED: u16 = 48;
/// `BR_STATE_FORWARDING` (linux/if_bridge.h).
const STATE_FORWARDING: u8 = 3;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VRF_TABLE: u16 = 1;
/// Where `struct rtnl_link_stats64` has this counter.
const RX_LENGTH_ERRORS: usize = 10;
/// Flags as they travel in `ifinfomsg`.
const IFF_UP: u32 = libc::IFF_UP as u32;
const IFF_LOWER_UP: u32 = libc::IFF_LOWER_UP as u32;

pub use crate::plan::Settings;

/// A link as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkRecord {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// `ARPHRD_…`.
    pub hardware_type: u16,
    /// `IFF_…`.
    pub flags: u32,
    /// MTU in bytes.
    pub mtu_bytes: u32,
    /// Hardware address.
    pub mac: String,
    /// Index of the bridge, LAG or VRF above; 0 for none.
    pub master: u32,
    /// Index of the link below (of a VLAN interface) or of the peer; 0 for none.
    pub lower: u32,
    /// Alias, the text an operator sees.
    pub alias: String,
    /// Interface group.
    pub group: u32,
    /// `IFLA_INFO_KIND` (`bridge`, `vlan`, `vrf`, `bond`, `vxlan`, `dummy`, `veth`); empty for hardware.
    pub kind: String,
    /// `IFLA_INFO_SLAVE_KIND`: what it is part of (`bridge`, `bond`, `vrf`); empty for nothing.
    pub part_of: String,
    /// Settings that have no field of their own here; absent where the kernel shows none.
    pub settings: Settings,
    /// Of a VLAN interface: its VLAN id.
    pub vlan_id: u16,
    /// Of a VRF: its routing table.
    pub table: u32,
    /// Of a LAG: whether members are negotiated by LACP; `None` for modes netd does not make.
    pub lacp: Option<bool>,
    /// Of a LAG: what it came to with its partner.
    pub aggregator: Aggregator,
    /// Of a LAG's member: how it is doing there.
    pub member: MemberRecord,
    /// Of a VXLAN tunnel end point: which.
    pub vxlan: VxlanRecord,
    /// Of a bridge port: whether it forwards frames (IEEE 802.1D, 7.4); the spanning tree may keep it from that.
    pub forwards: bool,
    /// Of a bridge: how many addresses are learned now; 0 where the kernel does not count them (before Linux 6.7).
    pub learned: u32,
    /// Of a bridge port: how many multicast groups it is in now, static ones included.
    pub groups: u32,
    /// How often it got its carrier.
    pub carriers: u32,
    /// RFC 2863 state, `IF_OPER_…`.
    pub oper_state: u8,
    /// Identifier of the switch ASIC, hexadecimal; empty for none.
    pub switch_id: String,
    /// Name of the port on the ASIC; empty for none.
    pub port_name: String,
    /// Hardware address the device was born with; empty where the driver does not tell.
    pub permanent_mac: String,
    /// Counters; zero when the dump left them out.
    pub counters: Counters,
    /// Frames that came in with a wrong length, as far as the driver counts them.
    pub length_errors: u64,
    /// How often the carrier went.
    pub carrier_losses: u32,
}

impl LinkRecord {
    /// Whether the link is administratively up.
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether the link is up and has a carrier. Unlike the operational state, this is never late.
    pub fn has_carrier(&self) -> bool {
        self.flags & IFF_LOWER_UP != 0
    }

    /// Whether this is an Ethernet device of the hardware (or of the hypervisor), not one made by software.
    /// Some drivers of switches give their ports a kind (`dsa`), but only a port is of a switch.
    pub fn is_hardware(&self) -> bool {
        let of_driver = self.kind.is_empty() || !self.switch_id.is_empty();
        of_driver && self.hardware_type == libc::ARPHRD_ETHER
    }

    /// Reads the payload of an `RTM_NEWLINK` or `RTM_DELLINK`.
    pub fn parse(payload: &[u8]) -> Option<LinkRecord> {
        let header = payload.get(..16)?;
        let mut link = LinkRecord {
            hardware_type: read_u16(&header[2..]),
            index: read_u32(&header[4..]),
            flags: read_u32(&header[8..]),
            ..LinkRecord::default()
        };
        // Messages of the bridge use the same attribute for its VLANs.
        let of_bridge = i32::from(header[0]) == libc::AF_BRIDGE;
        for (kind, value) in attributes(&payload[16..]) {
            match kind {
                libc::IFLA_IFNAME => link.name = read_text(value),
                libc::IFLA_MTU => link.mtu_bytes = read_u32(value),
                libc::IFLA_ADDRESS => link.mac = read_mac(value),
                libc::IFLA_MASTER => link.master = read_u32(value),
                libc::IFLA_LINK => link.lower = read_u32(value),
                libc::IFLA_IFALIAS => link.alias = read_text(value),
                libc::IFLA_GROUP => link.group = read_u32(value),
                libc::IFLA_OPERSTATE => link.oper_state = read_u8(value),
                libc::IFLA_PHYS_SWITCH_ID => link.switch_id = read_mac(value).replace(':', ""),
                libc::IFLA_PHYS_PORT_NAME => link.port_name = read_text(value),
                IFLA_CARRIER_UP_COUNT => link.carriers = read_u32(value),
                IFLA_PERM_ADDRESS => link.permanent_mac = read_mac(value),
                libc::IFLA_CARRIER_DOWN_COUNT => link.carrier_losses = read_u32(value),
                libc::IFLA_STATS64 => {
                    link.counters = read_counters(value);
                    link.length_errors = counter(value, RX_LENGTH_ERRORS);
                }
                libc::IFLA_LINKINFO => link.read_info(value),
                libc::IFLA_AF_SPEC if !of_bridge => inet::read(value, &mut link.settings),
                _ => {}
            }
        }
        (!link.name.is_empty()).then_some(link)
    }

    /// The kernel writes each kind before its data (`rtnl_link_fill`).
    fn read_info(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            match kind {
                libc::IFLA_INFO_KIND => self.kind = read_text(value),
                IFLA_INFO_SLAVE_KIND => self.part_of = read_text(value),
                IFLA_INFO_SLAVE_DATA if self.part_of == "bridge" => {
                    self.forwards = find(value, IFLA_BRPORT_STATE).map(read_u8) == Some(STATE_FORWARDING);
                    self.groups = find(value, IFLA_BRPORT_MCAST_N_GROUPS).map_or(0, read_u32);
                    bridge_port::read(value, &mut self.settings);
                }
                IFLA_INFO_SLAVE_DATA if self.part_of == "bond" => self.member = lag::read_member(value),
                libc::IFLA_INFO_DATA => match self.kind.as_str() {
                    "bridge" => {
                        self.learned = find(value, IFLA_BR_FDB_N_LEARNED).map_or(0, read_u32);
                        bridge::read(value, &mut self.settings);
                    }
                    "bond" => {
                        self.lacp = lag::read(value, &mut self.settings);
                        self.aggregator = lag::read_aggregator(value);
                    }
                    "vxlan" => self.vxlan = vxlan::read(value, &mut self.settings),
                    "vlan" => {
                        self.vlan_id = find(value, IFLA_VLAN_ID).map_or(0, read_u16);
                        vlan_interface::read(value, &mut self.settings);
                    }
                    "vrf" => self.table = find(value, IFLA_VRF_TABLE).map_or(0, read_u32),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

pub(super) fn find(value: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// `struct rtnl_link_stats64`: 64-bit counters in a fixed order.
fn read_counters(value: &[u8]) -> Counters {
    let at = |index| counter(value, index);
    Counters {
        rx_packets: at(0),
        tx_packets: at(1),
        rx_bytes: at(2),
        tx_bytes: at(3),
        rx_errors: at(4),
        tx_errors: at(5),
        rx_dropped: at(6),
        tx_dropped: at(7),
    }
}

fn counter(value: &[u8], index: usize) -> u64 {
    read_u64(value.get(index * 8..).unwrap_or_default())
}

/// `struct ifinfomsg`.
pub(super) fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// All links; with counters only where asked, for they are most of a dump's bytes.
pub fn dump(connection: &mut Connection, counters: bool) -> Result<Vec<LinkRecord>, KernelError> {
    let filter = if counters { 0 } else { libc::RTEXT_FILTER_SKIP_STATS as u32 };
    let query = Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0)).u32(libc::IFLA_EXT_MASK, filter);
    connection.dump(&query, |_, payload| LinkRecord::parse(payload))
}

/// The ports of a bridge, without counters.
pub fn dump_ports(connection: &mut Connection, bridge: u32) -> Result<Vec<LinkRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0))
        .u32(libc::IFLA_MASTER, bridge)
        .u32(libc::IFLA_EXT_MASK, libc::RTEXT_FILTER_SKIP_STATS as u32);
    connection.dump(&query, |_, payload| LinkRecord::parse(payload).filter(|link| link.master == bridge))
}

/// The link of this name.
pub fn find_by_name(connection: &mut Connection, name: &str) -> Result<Option<LinkRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETLINK, 0, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name)
        .u32(libc::IFLA_EXT_MASK, libc::RTEXT_FILTER_SKIP_STATS as u32);
    match connection.query(&query, |_, payload| LinkRecord::parse(payload)) {
        Err(error) if error.is_absent() => Ok(None),
        found => found,
    }
}

/// MTU in bytes a bridge is made with: IPv6's minimum, and less than any that is set afterwards. A bridge
/// follows its narrowest port until somebody sets its MTU to something other than it is
/// (`br_mtu_auto_adjust`, `dev_set_mtu_ext` of Linux 6.12).
const BRIDGE_MTU_BYTES: u32 = 1280;

/// Makes a link. `lower` is the index of the link a VLAN interface stands on. Of `settings`, those are
/// used that the kernel takes with the creation.
pub fn create(
    name: &str,
    kind: &LinkKind,
    lower: Option<u32>,
    settings: &Settings,
) -> Result<Message, KernelError> {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut message = Message::new(libc::RTM_NEWLINK, flags, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name)
        .u32(libc::IFLA_GROUP, OWN_GROUP);
    if let Some(mac) = settings.get(&Setting::Mac) {
        message = message.attribute(libc::IFLA_ADDRESS, &hardware_address(mac.text())?);
    }
    if let Some(lower) = lower {
        message = message.u32(libc::IFLA_LINK, lower);
    }
    if *kind == LinkKind::Bridge {
        message = message.u32(libc::IFLA_MTU, BRIDGE_MTU_BYTES);
    }
    Ok(message.nest(libc::IFLA_LINKINFO, |info| {
        let info = info.attribute(libc::IFLA_INFO_KIND, kind.name().as_bytes());
        let data = |fill: &dyn Fn(Message) -> Message| info.clone().nest(libc::IFLA_INFO_DATA, fill);
        match kind {
            LinkKind::Bridge => data(&|data| bridge::put_new(data, settings)),
            LinkKind::Lag { lacp } => data(&|data| lag::put_new(data, *lacp, settings)),
            LinkKind::Vxlan { vni, local, port } => {
                data(&|data| vxlan::put_new(data, *vni, *local, *port, settings))
            }
            LinkKind::Vlan { id, .. } => {
                data(&|data| vlan_interface::put_new(data.u16(IFLA_VLAN_ID, *id), settings))
            }
            LinkKind::Vrf { table } => data(&|data| data.u32(IFLA_VRF_TABLE, *table)),
            LinkKind::Dummy | LinkKind::Hardware | LinkKind::Veth | LinkKind::Other { .. } => info,
        }
    }))
}

/// Removes a link.
pub fn delete(name: &str) -> Message {
    Message::new(libc::RTM_DELLINK, 0, &header(0, 0, 0)).text(libc::IFLA_IFNAME, name)
}

/// A change of the link of this name.
pub(super) fn set(name: &str) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(0, 0, 0)).text(libc::IFLA_IFNAME, name)
}

/// Has the kernel notify of a change of the own link with this index, while it is up: its group is set to what it is.
pub(super) fn refresh(index: u32) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, 0, 0)).u32(libc::IFLA_GROUP, OWN_GROUP)
}

/// Brings a link up or down.
pub fn set_admin(name: &str, up: bool) -> Message {
    let flags = if up { IFF_UP } else { 0 };
    Message::new(libc::RTM_SETLINK, 0, &header(0, flags, IFF_UP)).text(libc::IFLA_IFNAME, name)
}

/// Brings a link up by its index: for namespaces where names are the workload's.
pub fn set_up_by_index(index: u32) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, IFF_UP, IFF_UP))
}

/// Puts a link under a bridge, LAG or VRF; index 0 takes it out.
pub fn set_master(name: &str, master: u32) -> Message {
    set(name).u32(libc::IFLA_MASTER, master)
}

/// Gives the link with this index another name.
pub fn rename(index: u32, name: &str) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, 0, 0)).text(libc::IFLA_IFNAME, name)
}

/// Brings the link with this index down.
pub fn set_down_by_index(index: u32) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, 0, IFF_UP))
}
