//! The IPv6 link-local address that the kernel derives from a hardware address (RFC 4291, appendix A).
//!
//! The kernel sets it when a link comes up, and keeps it when the hardware address changes under a link that is up
//! (`addrconf_notify`, Linux 6.12): such a link would speak as another after its next start. Setting the link down for it
//! would cost its carrier, so the address is replaced as the kernel would have set it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use super::address::{self, AddressRecord, KERNEL_LINK_LOCAL};
use super::connection::Connection;
use super::extack::KernelError;
use super::link;
use super::wire::parse_mac;

/// Gives links, and those above them that have their hardware address, the link-local address of the hardware address
/// they have now, where they have one that the kernel derived from another.
pub(super) fn renew(connection: &mut Connection, names: &BTreeSet<&str>) -> Result<(), KernelError> {
    let mut derived = address::dump_link_local(connection)?;
    derived.retain(is_derived);
    if derived.is_empty() {
        return Ok(());
    }
    let links = link::dump(connection, false)?;
    let set: BTreeSet<u32> =
        links.iter().filter(|link| names.contains(link.name.as_str())).map(|link| link.index).collect();
    let concerned = links.iter().filter(|link| set.contains(&link.index) || set.contains(&link.lower));
    let macs: BTreeMap<u32, &str> = concerned.map(|link| (link.index, link.mac.as_str())).collect();
    for record in derived {
        let Some(right) = macs.get(&record.index).and_then(|mac| parse_mac(mac)).map(of_mac) else {
            continue;
        };
        let Ok(net) = Ipv6Net::new(right, record.address.prefix_len()) else { continue };
        if record.address == IpNet::V6(net) {
            continue;
        }
        // First the new one: the route of the prefix, and those over it, stay.
        connection.request(address::add_link_local(record.index, net))?;
        connection.request(address::delete(record.index, &record.address))?;
    }
    Ok(())
}

/// The address that the kernel derives from a hardware address.
fn of_mac([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Whether the kernel derived it from a hardware address: not from a secret, and nobody else set it.
fn is_derived(record: &AddressRecord) -> bool {
    let IpNet::V6(net) = record.address else { return false };
    let octets = net.addr().octets();
    record.protocol == KERNEL_LINK_LOCAL && record.is_link_local() && octets[11..13] == [0xff, 0xfe]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_address_follows_from_the_hardware_address() {
        // The example of RFC 4291, appendix A, as an address.
        let mac = [0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde];
        assert_eq!(of_mac(mac).to_string(), "fe80::3656:78ff:fe9a:bcde");
        let record = |address: &str, protocol| AddressRecord {
            index: 3,
            address: address.parse().expect("a prefix"),
            protocol,
            scope: 253,
            flags: 0,
        };
        assert!(is_derived(&record("fe80::3656:78ff:fe9a:bcde/64", KERNEL_LINK_LOCAL)));
        // From a secret (RFC 7217), of the document, of another scope.
        assert!(!is_derived(&record("fe80::1234:5678:9abc:def0/64", KERNEL_LINK_LOCAL)));
        assert!(!is_derived(&record("fe80::3656:78ff:fe9a:bcde/64", 0)));
        assert!(!is_derived(&record("2001:db8::3656:78ff:fe9a:bcde/64", KERNEL_LINK_LOCAL)));
        assert!(!is_derived(&record("192.0.2.1/24", KERNEL_LINK_LOCAL)));
    }
}
