//! ARP packets (RFC 826) of hosts that have, ask for or announce IPv4 addresses.
//!
//! A [`crate::host::Host`] answers ordinary questions; these are for what it does not.

use std::net::Ipv4Addr;

use crate::frame::{Frame, Mac, View};

const ETHERTYPE: u16 = 0x0806;
/// Hardware and protocol type, and the lengths of their addresses: Ethernet and IPv4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// By which a host answers who asked for its address.
pub fn reply(host: Mac, address: Ipv4Addr, to: Mac) -> Frame {
    packet(REPLY, (host, address), (to, Ipv4Addr::UNSPECIFIED), to)
}

/// By which a host tells all others that it has an address.
pub fn announcement(host: Mac, address: Ipv4Addr) -> Frame {
    packet(REQUEST, (host, address), (Mac([0; 6]), address), Mac::BROADCAST)
}

fn packet(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), to: Mac) -> Frame {
    let mut packet = ETHERNET_IPV4.to_vec();
    packet.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        packet.extend(mac.0);
        packet.extend(address.octets());
    }
    Frame::new(sender.0, to).ethertype(ETHERTYPE).payload(packet)
}

/// Sender and target address of a packet.
pub fn addresses(view: &View<'_>) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(view.payload.get(at..at + 4)?).ok()?));
    (view.ethertype == ETHERTYPE && view.payload.get(..6)? == ETHERNET_IPV4).then_some(())?;
    Some((address(14)?, address(24)?))
}

/// Whether a frame asks who has an address, or probes for it.
pub fn asks_for(view: &View<'_>, address: Ipv4Addr) -> bool {
    addresses(view).is_some_and(|(sender, target)| target == address && sender != address)
}

/// Whether a frame tells all hosts who has an address (RFC 5227, 2.3).
pub fn announces(view: &View<'_>, address: Ipv4Addr) -> bool {
    addresses(view) == Some((address, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        let (one, two) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let bytes = announcement(Mac::of_host(1), one).build();
        let view = View::parse(&bytes).unwrap();
        assert!(announces(&view, one) && !announces(&view, two) && !asks_for(&view, one));
        let bytes = reply(Mac::of_host(1), one, Mac::of_host(2)).build();
        assert_eq!(addresses(&View::parse(&bytes).unwrap()), Some((one, Ipv4Addr::UNSPECIFIED)));
        let probe =
            packet(REQUEST, (Mac::of_host(2), Ipv4Addr::UNSPECIFIED), (Mac([0; 6]), one), Mac::BROADCAST);
        let bytes = probe.build();
        assert!(asks_for(&View::parse(&bytes).unwrap(), one));
    }
}
