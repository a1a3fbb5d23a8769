//! IP packets in frames: datagrams with a chosen hop limit or size, and reports of multicast members.
//!
//! A [`crate::host::Host`] builds what ordinary programs send; these are for what they do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};

use crate::frame::{Frame, Mac};

/// Ethertypes.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// IP protocol numbers.
const HOP_BY_HOP: u8 = 0;
const IGMP: u8 = 2;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Bytes of an IPv4 header without options, and of an IPv6 header.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// A hop-by-hop header with nothing but the router alert for MLD (RFC 2711), its next header first.
const ROUTER_ALERT: [u8; 8] = [ICMPV6, 0, 5, 2, 0, 0, 1, 0];

/// A UDP datagram to be sent.
#[derive(Clone, Debug)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    ports: [u16; 2],
    hop_limit: u8,
    dont_fragment: bool,
    payload: Vec<u8>,
}

impl Packet {
    /// A datagram to the discard port (9). Both addresses are of one family.
    pub fn udp(source: IpAddr, destination: IpAddr) -> Self {
        Packet {
            source,
            destination,
            ports: [9, 9],
            hop_limit: 64,
            dont_fragment: false,
            payload: Vec::new(),
        }
    }

    /// Another source port.
    pub fn from_port(mut self, port: u16) -> Self {
        self.ports[0] = port;
        self
    }

    /// Another hop limit (IPv4: time to live) than 64.
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Routers must not fragment it (IPv4; IPv6 routers never do).
    pub fn dont_fragment(mut self) -> Self {
        self.dont_fragment = true;
        self
    }

    /// What it carries.
    pub fn payload(mut self, payload: impl AsRef<[u8]>) -> Self {
        self.payload = payload.as_ref().to_vec();
        self
    }

    /// Pads the payload with zeros until the packet, its headers included, has this many bytes.
    pub fn padded_to(mut self, bytes: usize) -> Self {
        let header = if self.source.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER };
        self.payload.resize(bytes.saturating_sub(header + 8), 0);
        self
    }

    /// The frame from one hardware address to another, untagged.
    pub fn frame(&self, source: Mac, destination: Mac) -> Result<Frame> {
        let length = (8 + self.payload.len()) as u16;
        let mut datagram: Vec<u8> =
            [self.ports[0], self.ports[1], length, 0].into_iter().flat_map(u16::to_be_bytes).collect();
        datagram.extend(&self.payload);
        let (ethertype, packet) = match (self.source, self.destination) {
            // Without a checksum, which IPv4 allows.
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                (ETHERTYPE_IPV4, ipv4(from, to, UDP, self.hop_limit, self.dont_fragment, &datagram))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                seal(from, to, UDP, &mut datagram, 6);
                (ETHERTYPE_IPV6, ipv6(from, to, UDP, self.hop_limit, &datagram))
            }
            (from, to) => bail!("{from} and {to} are of different families"),
        };
        Ok(Frame::new(source, destination).ethertype(ethertype).payload(packet))
    }
}

/// What a host says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// It listens: an IGMPv2 or MLDv1 report.
    Join,
    /// It listens no longer: a leave or done message.
    Leave,
}

/// The frame by which a host joins or leaves a group: IGMPv2 (RFC 2236) or MLDv1 (RFC 2710), untagged.
pub fn membership(host: Mac, source: IpAddr, group: IpAddr, what: Membership) -> Result<Frame> {
    let join = what == Membership::Join;
    Ok(match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let mut message = vec![if join { 0x16 } else { 0x17 }, 0, 0, 0];
            message.extend(group.octets());
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let to = if join { group } else { Ipv4Addr::new(224, 0, 0, 2) };
            let packet = ipv4(source, to, IGMP, 1, false, &message);
            Frame::new(host, group_mac(IpAddr::V4(to))).ethertype(ETHERTYPE_IPV4).payload(packet)
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let mut message = vec![if join { 131 } else { 132 }, 0, 0, 0, 0, 0, 0, 0];
            message.extend(group.octets());
            let to = if join { group } else { Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2) };
            seal(source, to, ICMPV6, &mut message, 2);
            let options = [&ROUTER_ALERT[..], &message].concat();
            let packet = ipv6(source, to, HOP_BY_HOP, 1, &options);
            Frame::new(host, group_mac(IpAddr::V6(to))).ethertype(ETHERTYPE_IPV6).payload(packet)
        }
        (source, group) => bail!("{source} and {group} are of different families"),
    })
}

/// The frame by which a querier asks for the members of all groups: IGMPv2 (RFC 2236) or MLDv1 (RFC 2710),
/// untagged. Answers may take a second.
pub fn query(querier: Mac, source: IpAddr) -> Frame {
    match source {
        IpAddr::V4(source) => {
            let mut message = vec![0x11, 10, 0, 0, 0, 0, 0, 0];
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let to = Ipv4Addr::new(224, 0, 0, 1);
            let packet = ipv4(source, to, IGMP, 1, false, &message);
            Frame::new(querier, group_mac(to.into())).ethertype(ETHERTYPE_IPV4).payload(packet)
        }
        IpAddr::V6(source) => {
            let mut message = vec![130, 0, 0, 0];
            message.extend(1000_u16.to_be_bytes());
            message.extend([0; 18]);
            let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            seal(source, to, ICMPV6, &mut message, 2);
            let packet = ipv6(source, to, HOP_BY_HOP, 1, &[&ROUTER_ALERT[..], &message].concat());
            Frame::new(querier, group_mac(to.into())).ethertype(ETHERTYPE_IPV6).payload(packet)
        }
    }
}

/// The version of IGMP or MLD in which a packet asks for the members of groups; `None` for one that does not.
pub fn query_version(ethertype: u16, packet: &[u8]) -> Option<u8> {
    match ethertype {
        ETHERTYPE_IPV4 if packet.get(9) == Some(&IGMP) => {
            let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
            let length = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            // RFC 3376, section 7.1: by the length of the message.
            (packet.get(header) == Some(&0x11)).then_some(if length >= header + 12 { 3 } else { 2 })
        }
        ETHERTYPE_IPV6 if packet.get(6) == Some(&HOP_BY_HOP) => {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            let asks = packet.get(IPV6_HEADER) == Some(&ICMPV6)
                && packet.get(IPV6_HEADER + ROUTER_ALERT.len()) == Some(&130);
            // RFC 3810, section 8.1.
            asks.then_some(if length >= ROUTER_ALERT.len() + 28 { 2 } else { 1 })
        }
        _ => None,
    }
}

/// The frame by which a host tells all others that it has an IPv6 address (RFC 4861, 4.4), untagged.
pub fn advertisement(host: Mac, address: Ipv6Addr) -> Frame {
    let everybody = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Unasked, and it overrides what others know; then where it is.
    let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(host.0);
    seal(address, everybody, ICMPV6, &mut message, 2);
    let packet = ipv6(address, everybody, ICMPV6, 255, &message);
    Frame::new(host, group_mac(everybody.into())).ethertype(ETHERTYPE_IPV6).payload(packet)
}

/// Whether an IPv6 packet tells who has an address (RFC 4861, 4.4).
pub fn advertises(packet: &[u8], address: Ipv6Addr) -> bool {
    packet.get(6) == Some(&ICMPV6)
        && packet.get(IPV6_HEADER) == Some(&136)
        && packet.get(IPV6_HEADER + 8..IPV6_HEADER + 24) == Some(&address.octets()[..])
}

/// Whether an IPv6 packet asks who has an address (RFC 4861, 4.3).
pub fn asks_for(packet: &[u8], address: Ipv6Addr) -> bool {
    packet.get(6) == Some(&ICMPV6)
        && packet.get(IPV6_HEADER) == Some(&135)
        && packet.get(IPV6_HEADER + 8..IPV6_HEADER + 24) == Some(&address.octets()[..])
}

/// The hardware address of a group (RFC 1112, RFC 2464).
pub fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            Mac([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            Mac([0x33, 0x33, a, b, c, d])
        }
    }
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, ttl: u8, dont_fragment: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(((IPV4_HEADER + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 0, if dont_fragment { 0x40 } else { 0 }, 0, ttl, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// Puts the checksum over message and pseudo-header (RFC 8200, section 8.1) at its place in the message.
fn seal(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, message: &mut [u8], place: usize) {
    let mut covered = [from.octets(), to.octets()].concat();
    covered.extend((message.len() as u32).to_be_bytes());
    covered.extend([0, 0, 0, protocol]);
    covered.extend(&*message);
    let sum = checksum(&covered);
    message[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// What an ICMP or ICMPv6 error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The MTU, of a "fragmentation needed" or "packet too big"; else unused bytes of the header.
    pub mtu: u32,
}

/// Reads the ICMP or ICMPv6 error in an IP packet; `None` where there is none, or a reply to a ping.
pub fn icmp_error(ethertype: u16, packet: &[u8]) -> Option<IcmpError> {
    let (message, is_error) = match ethertype {
        ETHERTYPE_IPV4 if packet.get(9) == Some(&1) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let message = packet.get(header..)?;
            (message, matches!(message.first()?, 3 | 5 | 11 | 12))
        }
        ETHERTYPE_IPV6 if packet.get(6) == Some(&ICMPV6) => {
            let message = packet.get(IPV6_HEADER..)?;
            (message, *message.first()? < 128)
        }
        _ => return None,
    };
    let mtu = u32::from_be_bytes(message.get(4..8)?.try_into().ok()?);
    is_error.then_some(IcmpError { kind: message[0], code: message[1], mtu })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::View;

    #[test]
    fn a_datagram_has_the_size_it_is_padded_to_and_right_checksums() {
        for (from, to, bytes) in [("192.0.2.1", "192.0.2.2", 1000), ("2001:db8::1", "2001:db8::2", 1300)] {
            let packet = Packet::udp(from.parse().unwrap(), to.parse().unwrap());
            let frame = packet.payload("x").padded_to(bytes).frame(Mac::of_host(1), Mac::of_host(2)).unwrap();
            let frame = frame.build();
            let view = View::parse(&frame).unwrap();
            assert_eq!(view.payload.len(), bytes);
            match view.ethertype {
                ETHERTYPE_IPV4 => {
                    smoltcp::wire::Ipv4Packet::new_checked(view.payload).unwrap();
                    assert!(smoltcp::wire::Ipv4Packet::new_unchecked(view.payload).verify_checksum());
                }
                _ => {
                    let packet = smoltcp::wire::Ipv6Packet::new_checked(view.payload).unwrap();
                    let datagram = smoltcp::wire::UdpPacket::new_checked(packet.payload()).unwrap();
                    assert!(datagram.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()));
                }
            }
        }
    }

    #[test]
    fn groups_have_the_hardware_addresses_of_the_standards() {
        assert_eq!(group_mac("239.129.2.3".parse().unwrap()), Mac([0x01, 0x00, 0x5e, 0x01, 2, 3]));
        assert_eq!(group_mac("ff05::1:2:3".parse().unwrap()), Mac([0x33, 0x33, 0, 2, 0, 3]));
    }

    #[test]
    fn a_question_for_members_is_told_from_an_answer() {
        for source in ["192.0.2.1", "fe80::1"] {
            let source: IpAddr = source.parse().unwrap();
            let group = if source.is_ipv4() { "239.1.1.1" } else { "ff05::1:1" };
            let question = query(Mac::of_host(1), source).build();
            let answer = membership(Mac::of_host(1), source, group.parse().unwrap(), Membership::Join);
            let answer = answer.unwrap().build();
            let asks = |frame: &[u8]| {
                let view = View::parse(frame).unwrap();
                query_version(view.ethertype, view.payload)
                    == Some(if view.ethertype == ETHERTYPE_IPV4 { 2 } else { 1 })
            };
            assert!(asks(&question) && !asks(&answer));
        }
    }

    #[test]
    fn an_error_is_told_from_a_reply() {
        let mut packet =
            ipv4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 1, 64, false, &[3, 4, 0, 0, 0, 0, 5, 120]);
        let error = icmp_error(ETHERTYPE_IPV4, &packet).unwrap();
        assert_eq!(error, IcmpError { kind: 3, code: 4, mtu: 1400 });
        packet[IPV4_HEADER] = 0;
        assert_eq!(icmp_error(ETHERTYPE_IPV4, &packet), None);
    }
}
