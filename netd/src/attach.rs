//! Attachments: ports of containers, virtual machines and functions.
//!
//! A [`Record`] is one attachment, kept as a file under /run for this boot. [`check_request`] turns a hostile
//! request into a record or says what is wrong with it; [`workload`] makes the veth pair and sets up the
//! workload's side. The switch's side is then part of what is wanted (see [`crate::desired`]).

pub mod records;
pub mod workload;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::attach::AttachRequest;
use netd_api::config::IPV6_MTU_BYTES;
use netd_api::config::model::{AttachmentUse, PortVlans};
use netd_api::state::VlanRange;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::desired::DEFAULT_MTU_BYTES;
use crate::kernel::wire::parse_mac;

/// Most attachments at once.
pub const MAX_ATTACHMENTS: usize = 1024;
/// Longest key.
const MAX_KEY_BYTES: usize = 200;
/// Most addresses of one attachment.
const MAX_ADDRESSES: usize = 64;
/// Longest interface name (`IFNAMSIZ` less the terminating zero).
const MAX_INTERFACE_BYTES: usize = 15;
/// Smallest and largest MTU in bytes: IPv4's minimum, and the most a veth takes.
const MTU_BYTES: std::ops::RangeInclusive<u32> = 68..=65_535;

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `namespace/service/interface`.
    pub key: String,
    /// Name of the switch port.
    pub port: String,
    /// Interface name inside the workload.
    pub interface: String,
    /// Hardware address of the workload's interface.
    pub mac: String,
    /// Access or native VLAN; 0 drops untagged frames.
    pub untagged_vlan: u16,
    /// VLANs carried with a tag.
    pub tagged_vlans: Vec<VlanRange>,
    /// Addresses inside the workload.
    pub addresses: Vec<IpNet>,
    /// Default gateways inside the workload.
    pub gateways: Vec<IpAddr>,
    /// MTU in bytes.
    pub mtu_bytes: u32,
}

impl Record {
    /// The VLANs of the port.
    pub fn vlans(&self) -> PortVlans {
        let untagged = Some(self.untagged_vlan).filter(|vlan_id| *vlan_id != 0);
        PortVlans { untagged, tagged: self.tagged_vlans.clone() }
    }

    /// What a commit must not take away.
    pub fn usage(&self) -> AttachmentUse {
        let untagged = self.vlans().untagged.map(|id| VlanRange { first: id, last: id });
        AttachmentUse {
            key: self.key.clone(),
            vlans: untagged.into_iter().chain(self.tagged_vlans.clone()).collect(),
        }
    }
}

/// Turns a request into a record, or says what is wrong with it.
pub fn check_request(request: &AttachRequest) -> Result<Record, String> {
    let service = check_key(&request.key)?;
    check_interface(&request.interface)?;
    let tagged_vlans = check_vlans(request)?;
    let mac = match request.mac.as_str() {
        "" => mac_text(derive_mac(&request.key, "workload")),
        given => check_mac(given)?,
    };
    if request.addresses.len() > MAX_ADDRESSES {
        return Err(format!("{} addresses are too many: at most {MAX_ADDRESSES}", request.addresses.len()));
    }
    let addresses: Vec<IpNet> =
        request.addresses.iter().map(|text| check_address(text)).collect::<Result<_, _>>()?;
    let gateways = check_gateways(&request.gateways, &addresses)?;
    let mtu_bytes = if request.mtu_bytes == 0 { DEFAULT_MTU_BYTES } else { request.mtu_bytes };
    if !MTU_BYTES.contains(&mtu_bytes) {
        return Err(format!("an MTU of {mtu_bytes} bytes is out of range: 68 to 65535"));
    }
    if mtu_bytes < IPV6_MTU_BYTES && addresses.iter().any(|net| net.addr().is_ipv6()) {
        return Err(format!("IPv6 needs an MTU of {IPV6_MTU_BYTES} bytes or more, this is {mtu_bytes}"));
    }
    Ok(Record {
        key: request.key.clone(),
        port: port_name(service, &request.key),
        interface: request.interface.clone(),
        mac,
        untagged_vlan: request.untagged_vlan,
        tagged_vlans,
        addresses,
        gateways,
        mtu_bytes,
    })
}

/// Checks a key and answers its service part.
fn check_key(key: &str) -> Result<&str, String> {
    let parts: Vec<&str> = key.split('/').collect();
    let allowed = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    match parts.as_slice() {
        [_, service, _] if key.len() <= MAX_KEY_BYTES && parts.iter().all(allowed) => Ok(service),
        _ => Err(format!(
            "the key must be namespace/service/interface, each a letter or digit and then these and -_.: with at most {MAX_KEY_BYTES} bytes"
        )),
    }
}

fn check_interface(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let dots = name.chars().all(|c| c == '.');
    if dots || name.len() > MAX_INTERFACE_BYTES || !name.chars().all(allowed) || name == "lo" {
        return Err(format!("{name:?} is no interface name: 1 to 15 letters, digits and -_. and not `lo`"));
    }
    Ok(())
}

fn check_vlans(request: &AttachRequest) -> Result<Vec<VlanRange>, String> {
    let valid = |id: u16| (1..=4094).contains(&id);
    if request.untagged_vlan != 0 && !valid(request.untagged_vlan) {
        return Err(format!("VLAN {} is out of range: 1 to 4094", request.untagged_vlan));
    }
    if request.untagged_vlan == 0 && request.tagged_vlans.is_empty() {
        return Err("the attachment is in no VLAN".to_owned());
    }
    if request.tagged_vlans.len() > 4094 {
        return Err("too many VLAN ranges".to_owned());
    }
    let mut ids = BTreeSet::new();
    for range in &request.tagged_vlans {
        if !valid(range.first) || !valid(range.last) || range.first > range.last {
            return Err(format!("VLANs {}-{} are out of range: 1 to 4094", range.first, range.last));
        }
        ids.extend(range.first..=range.last);
    }
    ids.remove(&request.untagged_vlan);
    let mut ranges: Vec<VlanRange> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some(range) if range.last + 1 == id => range.last = id,
            _ => ranges.push(VlanRange { first: id, last: id }),
        }
    }
    Ok(ranges)
}

fn check_mac(text: &str) -> Result<String, String> {
    match parse_mac(text) {
        Some(mac) if mac[0] & 1 == 0 && mac != [0; 6] => Ok(mac_text(mac)),
        _ => Err(format!("{text:?} is no unicast hardware address like 02:00:5e:10:00:01")),
    }
}

fn check_address(text: &str) -> Result<IpNet, String> {
    let address: IpNet =
        text.parse().map_err(|_| format!("{text:?} is no address with prefix length like 10.0.10.80/24"))?;
    let ip = address.addr();
    if !text.contains('/') || ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(format!("{text:?} is no address an interface can have"));
    }
    Ok(address)
}

fn check_gateways(texts: &[String], addresses: &[IpNet]) -> Result<Vec<IpAddr>, String> {
    let mut gateways: Vec<IpAddr> = Vec::new();
    for text in texts.iter().take(3) {
        let gateway: IpAddr = text.parse().map_err(|_| format!("{text:?} is no gateway address"))?;
        let link_local = matches!(gateway, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if !link_local && !addresses.iter().any(|net| net.contains(&gateway)) {
            return Err(format!("gateway {gateway} is in no subnet of the attachment's addresses"));
        }
        if gateways.iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
            return Err(format!("gateway {gateway} is the second of its family: at most one of each"));
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

/// A name a person can read, at most 15 bytes, the same for the same key: the service's name cut short,
/// and six digits of the key's hash.
fn port_name(service: &str, key: &str) -> String {
    let readable: String =
        service.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(8).collect();
    let hash = Sha256::digest(key.as_bytes());
    let readable = if readable.is_empty() { "port" } else { &readable };
    format!("{readable}-{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2])
}

/// A hardware address that follows from the key: locally administered, unicast.
pub(crate) fn derive_mac(key: &str, side: &str) -> [u8; 6] {
    let hash = Sha256::digest(format!("{side} {key}").as_bytes());
    [hash[0] & 0xfc | 0x02, hash[1], hash[2], hash[3], hash[4], hash[5]]
}

fn mac_text(mac: [u8; 6]) -> String {
    crate::kernel::wire::read_mac(&mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> AttachRequest {
        AttachRequest {
            key: "default/Web_Server.1/eth0".to_owned(),
            interface: "eth0".to_owned(),
            untagged_vlan: 10,
            addresses: vec!["10.0.10.80/24".to_owned()],
            gateways: vec!["10.0.10.1".to_owned()],
            ..AttachRequest::default()
        }
    }

    #[test]
    fn name_and_address_follow_from_the_key() {
        let (first, second) = (check_request(&request()).unwrap(), check_request(&request()).unwrap());
        assert_eq!(first, second);
        assert!(first.port.starts_with("webserve-") && first.port.len() == 15, "{}", first.port);
        let other = AttachRequest { key: "default/Web_Server.1/eth1".to_owned(), ..request() };
        let other = check_request(&other).unwrap();
        assert_ne!(first.port, other.port);
        assert_ne!(first.mac, other.mac);
        assert_eq!(parse_mac(&first.mac).unwrap()[0] & 3, 2);
    }

    #[test]
    fn hostile_requests_are_refused_with_the_reason() {
        let broken: Vec<(AttachRequest, &str)> = vec![
            (AttachRequest { key: "a/b".into(), ..request() }, "namespace/service/interface"),
            (AttachRequest { key: "a/../b".into(), ..request() }, "namespace/service/interface"),
            (AttachRequest { key: "x".repeat(300), ..request() }, "at most"),
            (AttachRequest { interface: "lo".into(), ..request() }, "interface name"),
            (AttachRequest { interface: "a/b".into(), ..request() }, "interface name"),
            (AttachRequest { interface: String::new(), ..request() }, "interface name"),
            (AttachRequest { untagged_vlan: 4095, ..request() }, "out of range"),
            (AttachRequest { untagged_vlan: 0, ..request() }, "no VLAN"),
            (
                AttachRequest { tagged_vlans: vec![VlanRange { first: 9, last: 3 }], ..request() },
                "out of range",
            ),
            (AttachRequest { mac: "01:00:5e:00:00:01".into(), ..request() }, "unicast"),
            (AttachRequest { addresses: vec!["10.0.10.80".into()], ..request() }, "prefix length"),
            (AttachRequest { addresses: vec!["ff02::1/64".into()], ..request() }, "can have"),
            (AttachRequest { gateways: vec!["10.0.99.1".into()], ..request() }, "in no subnet"),
            (AttachRequest { gateways: vec!["10.0.10.1".into(), "10.0.10.2".into()], ..request() }, "second"),
            (AttachRequest { mtu_bytes: 12, ..request() }, "out of range"),
            (
                AttachRequest {
                    mtu_bytes: 1279,
                    addresses: vec!["2001:db8::1/64".into()],
                    gateways: Vec::new(),
                    ..request()
                },
                "IPv6 needs an MTU",
            ),
        ];
        for (request, reason) in broken {
            let error = check_request(&request).unwrap_err();
            assert!(error.contains(reason), "{request:?}: {error}");
        }
    }

    #[test]
    fn the_untagged_vlan_is_not_carried_with_a_tag() {
        let tagged_vlans = vec![VlanRange { first: 9, last: 11 }, VlanRange { first: 10, last: 12 }];
        let record = check_request(&AttachRequest { tagged_vlans, ..request() }).unwrap();
        assert_eq!(
            record.tagged_vlans,
            vec![VlanRange { first: 9, last: 9 }, VlanRange { first: 11, last: 12 }]
        );
    }
}
