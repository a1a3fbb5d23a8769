//! Unsolicited neighbour advertisements (RFC 4861, 7.2.6): they tell all hosts of a link who uses an IPv6 address.

use std::net::Ipv6Addr;

use super::arp::Mac;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ETHER_TYPE: u16 = 0x86dd;
const NEXT_HEADER: u8 = 58;
const TYPE: u8 = 136;
/// Flags of the advertisement: from a router; in place of what is cached.
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
/// Option: target link-layer address, of one unit of eight bytes.
const TARGET_MAC: [u8; 2] = [2, 1];
const ICMP_BYTES: u16 = 32;

/// The frame that tells it. `router` is whether hosts may route by the sender: saying otherwise would make them
/// forget it as their default router.
pub fn advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let mut icmp = vec![TYPE, 0, 0, 0, flags, 0, 0, 0];
    icmp.extend_from_slice(&address.octets());
    icmp.extend_from_slice(&TARGET_MAC);
    icmp.extend_from_slice(&mac);
    let checksum = checksum(address, &icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = Vec::with_capacity(14 + 40 + icmp.len());
    for part in [
        &ALL_NODES_MAC[..],
        &mac,
        &ETHER_TYPE.to_be_bytes(),
        &[0x60, 0, 0, 0],
        &ICMP_BYTES.to_be_bytes(),
        // The hop limit shows receivers that no router passed it on.
        &[NEXT_HEADER, 255],
        &address.octets(),
        &ALL_NODES.octets(),
        &icmp,
    ] {
        frame.extend_from_slice(part);
    }
    frame
}

/// The sum over the pseudo-header and the message (RFC 8200, 8.1).
fn checksum(source: Ipv6Addr, icmp: &[u8]) -> u16 {
    let pseudo = [
        &source.octets()[..],
        &ALL_NODES.octets(),
        &[0, 0],
        &ICMP_BYTES.to_be_bytes(),
        &[0, 0, 0, NEXT_HEADER],
    ];
    let bytes: Vec<u8> = pseudo.into_iter().flatten().chain(icmp).copied().collect();
    let sum: u32 = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_has_the_fields_of_the_rfc() {
        let address = "2001:db8::7".parse().unwrap();
        let frame = advertisement([2, 0, 0, 0, 0, 7], address, true);
        assert_eq!(&frame[..14], [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 0x86, 0xdd]);
        assert_eq!(&frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
        assert_eq!(&frame[22..38], address.octets());
        assert_eq!((frame[54], frame[58]), (136, 0xa0));
        assert_eq!(&frame[78..], [2, 1, 2, 0, 0, 0, 0, 7]);
        // A message with its checksum sums up to nothing.
        assert_eq!(checksum(address, &frame[54..]), 0);
        assert_eq!(advertisement([2, 0, 0, 0, 0, 7], address, false)[58], 0x20);
    }
}
