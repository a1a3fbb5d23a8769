//! Addresses: `RTM_GETADDR`, `RTM_NEWADDR`, `RTM_DELADDR`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::libc;

use super::connection::Connection;
use super::extack::KernelError;
use super::route::OWN_PROTOCOL;
use super::wire::{Message, attributes, read_ip, read_u8, read_u32};

/// `IFA_FLAGS` and `IFA_PROTO` (linux/if_addr.h).
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
/// `IFAPROT_KERNEL_LL`: the kernel derived the address of a link itself.
pub const KERNEL_LINK_LOCAL: u8 = 3;
/// `IFA_PROTO` of addresses that netd holds, and `rtm_protocol` of routes of subnets: by it nobody takes one for a route of
/// the configuration. Held routes to IPv6 addresses are told by their type, and of [`OWN_PROTOCOL`], so that a snapshot sees
/// them anyway.
pub(super) const HELD_PROTOCOL: u8 = 198;

/// An address as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// Interface index.
    pub index: u32,
    /// The address with its prefix length.
    pub address: IpNet,
    /// Who set it (`IFA_PROTO`); 0 when nobody said.
    pub protocol: u8,
    /// `RT_SCOPE_…`.
    pub scope: u8,
    /// `IFA_F_…`.
    pub flags: u32,
}

impl AddressRecord {
    /// Whether duplicate address detection found another host that uses it (RFC 4862, 5.4.5).
    pub fn is_duplicate(&self) -> bool {
        self.flags & libc::IFA_F_DADFAILED != 0
    }

    /// Whether that detection still goes on, so that the address cannot be used yet.
    pub fn is_tentative(&self) -> bool {
        self.flags & libc::IFA_F_TENTATIVE != 0
    }

    /// Whether it is an IPv6 address of its link alone, which the kernel sets by itself.
    pub fn is_link_local(&self) -> bool {
        matches!(self.address, IpNet::V6(net) if net.addr().is_unicast_link_local())
    }

    /// Whether this is one netd set.
    pub fn is_own(&self) -> bool {
        self.protocol == OWN_PROTOCOL
    }

    /// Whether netd holds it while another of the same address goes and comes again.
    pub fn is_held(&self) -> bool {
        self.protocol == HELD_PROTOCOL
    }

    /// Reads the payload of an `RTM_NEWADDR` or `RTM_DELADDR`.
    pub fn parse(payload: &[u8]) -> Option<AddressRecord> {
        let header = payload.get(..8)?;
        let (prefix_len, scope, index) = (header[1], header[3], read_u32(&header[4..]));
        let (mut flags, mut protocol) = (u32::from(header[2]), 0);
        let (mut address, mut local) = (None, None);
        for (kind, value) in attributes(&payload[8..]) {
            match kind {
                libc::IFA_ADDRESS => address = read_ip(value),
                // With a peer, IFA_ADDRESS is the peer's.
                libc::IFA_LOCAL => local = read_ip(value),
                IFA_FLAGS => flags = read_u32(value),
                IFA_PROTO => protocol = read_u8(value),
                _ => {}
            }
        }
        let address = IpNet::new(local.or(address)?, prefix_len).ok()?;
        Some(AddressRecord { index, address, protocol, scope, flags })
    }
}

fn header(index: u32, address: &IpNet, flags: u8) -> [u8; 8] {
    let family = if address.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let [a, b, c, d] = index.to_ne_bytes();
    [family as u8, address.prefix_len(), flags, libc::RT_SCOPE_UNIVERSE, a, b, c, d]
}

/// All addresses but those that netd holds meanwhile.
pub fn dump(connection: &mut Connection) -> Result<Vec<AddressRecord>, KernelError> {
    let mut all = dump_with_held(connection)?;
    all.retain(|record| !record.is_held());
    Ok(all)
}

/// All addresses.
pub fn dump_with_held(connection: &mut Connection) -> Result<Vec<AddressRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETADDR, 0, &[0; 8]);
    connection.dump(&query, |_, payload| AddressRecord::parse(payload))
}

/// Sets an address. `detect_duplicates` asks for RFC 4862 detection, which only makes sense on a wire.
pub fn add(index: u32, address: &IpNet, detect_duplicates: bool) -> Message {
    let kind_flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    let flags = if address.addr().is_ipv6() && !detect_duplicates { libc::IFA_F_NODAD as u8 } else { 0 };
    let header = header(index, address, flags);
    let message = with_address(Message::new(libc::RTM_NEWADDR, kind_flags, &header), address);
    let message = message.u8(IFA_PROTO, OWN_PROTOCOL);
    match broadcast(address) {
        Some(broadcast) => message.ip(libc::IFA_BROADCAST, IpAddr::V4(broadcast)),
        None => message,
    }
}

/// Both attributes: the kernel compares the prefix length with that of IPv4 addresses only where there is the second.
fn with_address(message: Message, address: &IpNet) -> Message {
    message.ip(libc::IFA_LOCAL, address.addr()).ip(libc::IFA_ADDRESS, address.addr())
}

/// Holds an IPv4 address of a link, beside one of another prefix length that goes and comes again: the switch answers
/// for it and speaks as it meanwhile. It has no route of a subnet.
pub(super) fn hold(index: u32, address: &IpNet) -> Message {
    let header = header(index, address, 0);
    with_address(Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE as u16, &header), address)
        .u32(IFA_FLAGS, libc::IFA_F_NOPREFIXROUTE)
        .u8(IFA_PROTO, HELD_PROTOCOL)
}

/// Link-local addresses of IPv6.
pub fn dump_link_local(connection: &mut Connection) -> Result<Vec<AddressRecord>, KernelError> {
    let query = Message::new(libc::RTM_GETADDR, 0, &[libc::AF_INET6 as u8, 0, 0, 0, 0, 0, 0, 0]);
    connection.dump(&query, |_, payload| AddressRecord::parse(payload).filter(AddressRecord::is_link_local))
}

/// Sets a link-local address as the kernel does by itself.
pub fn add_link_local(index: u32, address: Ipv6Net) -> Message {
    let kind_flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    Message::new(libc::RTM_NEWADDR, kind_flags, &header(index, &IpNet::V6(address), 0))
        .ip(libc::IFA_LOCAL, IpAddr::V6(address.addr()))
        .u8(IFA_PROTO, KERNEL_LINK_LOCAL)
}

/// The broadcast address; RFC 3021 and host prefixes have none.
fn broadcast(address: &IpNet) -> Option<Ipv4Addr> {
    match address {
        IpNet::V4(net) if net.prefix_len() < 31 => Some(Ipv4Net::broadcast(net)),
        _ => None,
    }
}

/// Removes an address.
pub fn delete(index: u32, address: &IpNet) -> Message {
    with_address(Message::new(libc::RTM_DELADDR, 0, &header(index, address, 0)), address)
}
