//! ARP packets (RFC 826) as they travel in Ethernet frames, and those that RFC 5227 makes of them.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
const NO_MAC: Mac = [0; 6];
/// EtherType of ARP.
pub(super) const ETHER_TYPE: u16 = 0x0806;
/// Hardware type, protocol type, and the lengths of their addresses: Ethernet and IPv4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: u16 = 1;
/// Ethernet header and packet.
const FRAME_BYTES: usize = 14 + 28;

/// What a packet says of addresses, whether it asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Who sent it.
    pub sender_mac: Mac,
    /// The address the sender uses; 0.0.0.0 in a probe.
    pub sender: Ipv4Addr,
    /// The address it is about.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads a frame; `None` for what is no ARP packet of IPv4 on Ethernet.
    pub fn read(frame: &[u8]) -> Option<Arp> {
        let packet = frame.get(14..FRAME_BYTES)?;
        let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).ok().map(Ipv4Addr::from);
        (frame[12..14] == ETHER_TYPE.to_be_bytes() && packet[..6] == ETHERNET_IPV4).then_some(())?;
        let sender_mac = packet[8..14].try_into().ok()?;
        Some(Arp { sender_mac, sender: address(14)?, target: address(24)? })
    }

    /// Whether the packet shows that another host uses the address, or is about to (RFC 5227, 2.1.1).
    pub fn claims(&self, address: Ipv4Addr) -> bool {
        self.sender == address || (self.sender.is_unspecified() && self.target == address)
    }
}

/// Asks whether anybody uses an address, without telling anybody of it (RFC 5227, 2.1.1).
pub fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    request(mac, Ipv4Addr::UNSPECIFIED, address)
}

/// Tells all hosts who uses an address (RFC 5227, 2.3), also known as gratuitous ARP.
pub fn announcement(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    request(mac, address, address)
}

fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    for part in [
        &BROADCAST[..],
        &mac,
        &ETHER_TYPE.to_be_bytes(),
        &ETHERNET_IPV4,
        &REQUEST.to_be_bytes(),
        &mac,
        &sender.octets(),
        &NO_MAC,
        &target.octets(),
    ] {
        frame.extend_from_slice(part);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn probes_and_announcements_are_requests_to_all() {
        let address: Ipv4Addr = "192.0.2.7".parse().unwrap();
        let ethernet = "ffffffffffff0200000000070806";
        let packet = "000108000604000102000000000700000000000000000000c0000207";
        let text: String = probe(MAC, address).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, format!("{ethernet}{packet}"));
        let told = Arp::read(&announcement(MAC, address)).unwrap();
        assert_eq!(told, Arp { sender_mac: MAC, sender: address, target: address });
    }

    #[test]
    fn whoever_uses_or_probes_an_address_claims_it_and_whoever_asks_for_it_does_not() {
        let (mine, other) = ("192.0.2.7".parse().unwrap(), "192.0.2.8".parse().unwrap());
        let claims = |frame: &[u8]| Arp::read(frame).unwrap().claims(mine);
        assert!(claims(&announcement(MAC, mine)));
        assert!(claims(&probe(MAC, mine)));
        assert!(claims(&request(MAC, mine, other)));
        assert!(!claims(&request(MAC, other, mine)));
        assert!(!claims(&probe(MAC, other)));
    }

    #[test]
    fn what_is_no_arp_packet_is_none() {
        let frame = announcement(MAC, Ipv4Addr::LOCALHOST);
        assert_eq!(Arp::read(&frame[..FRAME_BYTES - 1]), None);
        for (at, byte) in [(13, 0x00), (15, 6), (18, 8)] {
            let mut other = frame.clone();
            other[at] = byte;
            assert_eq!(Arp::read(&other), None, "byte {at}");
        }
    }
}
