//! Links: `RTM_GETLINK`, `RTM_NEWLINK`, `RTM_SETLINK`, `RTM_DELLINK`.

use std::os::fd::{AsRawFd, BorrowedFd};

use netd_api::state::Counters;
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::wire::{
    Message, attributes, parse_mac, read_mac, read_text, read_u8, read_u16, read_u32, read_u64,
};
use crate::plan::LinkKind;

/// Interface group netd puts on every link it creates, so that it later knows them as its own.
pub const OWN_GROUP: u32 = 199;

/// `IFLA_INET6_ADDR_GEN_MODE` and its value `IN6_ADDR_GEN_MODE_NONE` (linux/if_link.h).
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_EUI64: u8 = 0;
const ADDR_GEN_MODE_NONE: u8 = 1;
/// Kinds inside `IFLA_INFO_DATA` (linux/if_link.h, linux/veth.h).
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VRF_TABLE: u16 = 1;
const VETH_INFO_PEER: u16 = 1;
/// `IFF_UP` as it travels in `ifinfomsg`.
const IFF_UP: u32 = libc::IFF_UP as u32;

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
    /// Index of the bridge or VRF above; 0 for none.
    pub master: u32,
    /// Index of the link below (of a VLAN interface) or of the peer; 0 for none.
    pub lower: u32,
    /// Alias, the text an operator sees.
    pub alias: String,
    /// Interface group.
    pub group: u32,
    /// `IFLA_INFO_KIND` (`bridge`, `vlan`, `vrf`, `dummy`, `veth`); empty for hardware.
    pub kind: String,
    /// Of a bridge: whether it filters VLANs.
    pub vlan_filtering: bool,
    /// Of a bridge: the PVID new ports get; 0 for none.
    pub vlan_default_pvid: u16,
    /// Of a VLAN interface: its VLAN id.
    pub vlan_id: u16,
    /// Of a VRF: its routing table.
    pub table: u32,
    /// RFC 2863 state, `IF_OPER_…`.
    pub oper_state: u8,
    /// Whether the kernel makes an IPv6 link-local address when the link comes up.
    pub link_local: bool,
    /// Identifier of the switch ASIC, hexadecimal; empty for none.
    pub switch_id: String,
    /// Name of the port on the ASIC; empty for none.
    pub port_name: String,
    /// Counters; zero when the dump left them out.
    pub counters: Counters,
}

impl LinkRecord {
    /// Whether the link is administratively up.
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether this is an Ethernet device of the hardware (or of the hypervisor), not one made by software.
    pub fn is_hardware(&self) -> bool {
        self.kind.is_empty() && self.hardware_type == libc::ARPHRD_ETHER
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
                libc::IFLA_STATS64 => link.counters = read_counters(value),
                libc::IFLA_LINKINFO => link.read_info(value),
                libc::IFLA_AF_SPEC => link.read_af_spec(value),
                _ => {}
            }
        }
        (!link.name.is_empty()).then_some(link)
    }

    fn read_info(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            match kind {
                libc::IFLA_INFO_KIND => self.kind = read_text(value),
                libc::IFLA_INFO_DATA => self.read_info_data(value),
                _ => {}
            }
        }
    }

    /// The kernel writes `IFLA_INFO_KIND` before `IFLA_INFO_DATA` (`rtnl_link_info_fill`).
    fn read_info_data(&mut self, value: &[u8]) {
        for (kind, value) in attributes(value) {
            match (self.kind.as_str(), kind) {
                ("bridge", IFLA_BR_VLAN_FILTERING) => self.vlan_filtering = read_u8(value) != 0,
                ("bridge", IFLA_BR_VLAN_DEFAULT_PVID) => self.vlan_default_pvid = read_u16(value),
                ("vlan", IFLA_VLAN_ID) => self.vlan_id = read_u16(value),
                ("vrf", IFLA_VRF_TABLE) => self.table = read_u32(value),
                _ => {}
            }
        }
    }

    fn read_af_spec(&mut self, value: &[u8]) {
        let families = attributes(value).filter(|(family, _)| *family == libc::AF_INET6 as u16);
        for (kind, value) in families.flat_map(|(_, inner)| attributes(inner)) {
            if kind == IFLA_INET6_ADDR_GEN_MODE {
                self.link_local = read_u8(value) != ADDR_GEN_MODE_NONE;
            }
        }
    }
}

/// `struct rtnl_link_stats64`: 64-bit counters in a fixed order.
fn read_counters(value: &[u8]) -> Counters {
    let at = |index: usize| read_u64(value.get(index * 8..).unwrap_or_default());
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

/// `struct ifinfomsg`.
fn header(index: u32, flags: u32, change: u32) -> [u8; 16] {
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

/// MTU in bytes a bridge is made with: IPv6's minimum, and less than any that is set afterwards. A bridge
/// follows its narrowest port until somebody sets its MTU to something other than it is
/// (`br_mtu_auto_adjust`, `dev_set_mtu_ext` of Linux 6.12).
const BRIDGE_MTU_BYTES: u32 = 1280;

/// Makes a link. `lower` is the index of the link a VLAN interface stands on.
pub fn create(name: &str, kind: &LinkKind, lower: Option<u32>, mac: Option<&str>) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut message = Message::new(libc::RTM_NEWLINK, flags, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, name)
        .u32(libc::IFLA_GROUP, OWN_GROUP);
    if let Some(mac) = mac.and_then(parse_mac) {
        message = message.attribute(libc::IFLA_ADDRESS, &mac);
    }
    if let Some(lower) = lower {
        message = message.u32(libc::IFLA_LINK, lower);
    }
    if matches!(kind, LinkKind::Bridge { .. }) {
        message = message.u32(libc::IFLA_MTU, BRIDGE_MTU_BYTES);
    }
    message.nest(libc::IFLA_LINKINFO, |info| {
        let info = info.attribute(libc::IFLA_INFO_KIND, kind.name().as_bytes());
        match kind {
            LinkKind::Bridge { vlan_filtering, default_pvid } => info.nest(libc::IFLA_INFO_DATA, |data| {
                let data = data.u32(IFLA_BR_FORWARD_DELAY, 0).u32(IFLA_BR_STP_STATE, 0);
                // Kernels without VLAN filtering refuse even to hear that it shall be off.
                match vlan_filtering {
                    true => data.u8(IFLA_BR_VLAN_FILTERING, 1).u16(IFLA_BR_VLAN_DEFAULT_PVID, *default_pvid),
                    false => data,
                }
            }),
            LinkKind::Vlan { id, .. } => info.nest(libc::IFLA_INFO_DATA, |data| data.u16(IFLA_VLAN_ID, *id)),
            LinkKind::Vrf { table } => {
                info.nest(libc::IFLA_INFO_DATA, |data| data.u32(IFLA_VRF_TABLE, *table))
            }
            LinkKind::Dummy | LinkKind::Hardware | LinkKind::Veth | LinkKind::Other { .. } => info,
        }
    })
}

/// What [`create_veth`] makes.
pub struct VethRequest<'a> {
    /// Name of the switch's side.
    pub name: &'a str,
    /// Hardware address of the switch's side.
    pub mac: [u8; 6],
    /// Name of the workload's side.
    pub peer_name: &'a str,
    /// Hardware address of the workload's side.
    pub peer_mac: [u8; 6],
    /// Network namespace the workload's side is born in.
    pub peer_namespace: BorrowedFd<'a>,
    /// MTU of both sides in bytes.
    pub mtu_bytes: u32,
}

/// Makes a veth pair whose far side is born in another namespace.
pub fn create_veth(request: &VethRequest) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    Message::new(libc::RTM_NEWLINK, flags, &header(0, 0, 0))
        .text(libc::IFLA_IFNAME, request.name)
        .attribute(libc::IFLA_ADDRESS, &request.mac)
        .u32(libc::IFLA_MTU, request.mtu_bytes)
        .u32(libc::IFLA_GROUP, OWN_GROUP)
        .nest(libc::IFLA_LINKINFO, |info| {
            info.attribute(libc::IFLA_INFO_KIND, b"veth").nest(libc::IFLA_INFO_DATA, |data| {
                data.nest_after(VETH_INFO_PEER, &header(0, 0, 0), |peer| {
                    peer.text(libc::IFLA_IFNAME, request.peer_name)
                        .attribute(libc::IFLA_ADDRESS, &request.peer_mac)
                        .u32(libc::IFLA_MTU, request.mtu_bytes)
                        .u32(libc::IFLA_NET_NS_FD, request.peer_namespace.as_raw_fd() as u32)
                })
            })
        })
}

/// Removes a link.
pub fn delete(name: &str) -> Message {
    Message::new(libc::RTM_DELLINK, 0, &header(0, 0, 0)).text(libc::IFLA_IFNAME, name)
}

fn set(name: &str) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(0, 0, 0)).text(libc::IFLA_IFNAME, name)
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

/// Sets the MTU in bytes.
pub fn set_mtu(name: &str, mtu_bytes: u32) -> Message {
    set(name).u32(libc::IFLA_MTU, mtu_bytes)
}

/// Sets the hardware address.
pub fn set_mac(name: &str, mac: &str) -> Message {
    set(name).attribute(libc::IFLA_ADDRESS, &parse_mac(mac).unwrap_or_default())
}

/// Sets the alias; an empty one removes it.
pub fn set_alias(name: &str, alias: &str) -> Message {
    set(name).attribute(libc::IFLA_IFALIAS, alias.as_bytes())
}

/// Puts a link under a bridge or VRF; index 0 takes it out.
pub fn set_master(name: &str, master: u32) -> Message {
    set(name).u32(libc::IFLA_MASTER, master)
}

/// Turns the kernel's IPv6 link-local address on or off.
pub fn set_link_local(name: &str, on: bool) -> Message {
    let mode = if on { ADDR_GEN_MODE_EUI64 } else { ADDR_GEN_MODE_NONE };
    set(name).nest(libc::IFLA_AF_SPEC, |spec| {
        spec.nest(libc::AF_INET6 as u16, |inet6| inet6.u8(IFLA_INET6_ADDR_GEN_MODE, mode))
    })
}

/// Sets VLAN filtering and default PVID of a bridge that exists.
pub fn set_bridge(name: &str, vlan_filtering: bool, default_pvid: u16) -> Message {
    let message = Message::new(libc::RTM_NEWLINK, 0, &header(0, 0, 0)).text(libc::IFLA_IFNAME, name);
    message.nest(libc::IFLA_LINKINFO, |info| {
        info.attribute(libc::IFLA_INFO_KIND, b"bridge").nest(libc::IFLA_INFO_DATA, |data| {
            data.u16(IFLA_BR_VLAN_DEFAULT_PVID, default_pvid)
                .u8(IFLA_BR_VLAN_FILTERING, vlan_filtering.into())
        })
    })
}

/// Gives the link with this index another name.
pub fn rename(index: u32, name: &str) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, 0, 0)).text(libc::IFLA_IFNAME, name)
}

/// Brings the link with this index down.
pub fn set_down_by_index(index: u32) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(index, 0, IFF_UP))
}
