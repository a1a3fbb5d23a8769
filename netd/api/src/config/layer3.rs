//! Addresses and VRF references, which interfaces have in common.

use std::net::IpAddr;

use ipnet::IpNet;

use super::document::shortened;
use super::model::{Layer3, MacAddress, Place};
use super::names;
use super::reader::{Node, Reader, Section};

/// Most addresses of one interface.
const MAX_ADDRESSES: usize = 256;

/// A mention of a VRF, checked when all VRFs are known.
pub(super) struct VrfReference {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) path: String,
}

/// Reads `addresses`, `vrf` and `forwarding`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Layer3 {
    let layer3 = read_place(reader, section);
    Layer3 { forwarding: reader.flag(section, "forwarding").unwrap_or(true), ..layer3 }
}

/// Reads `addresses` and `vrf`, which are all that an interface has where no packets come in.
pub(super) fn read_place<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Layer3 {
    let addresses = read_addresses(reader, section).unwrap_or_default();
    Layer3 { addresses, vrf: read_vrf(reader, section), ..Layer3::default() }
}

/// Reads `vrf`, and notes the mention.
pub(super) fn read_vrf<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<String> {
    let node = reader.take(section, "vrf")?;
    let name =
        reader.parsed(&node, 64, |text| names::check_interface_name(text).map(|()| text.to_owned()))?;
    reader.vrf_references.push(VrfReference { name: name.clone(), place: node.place, path: node.path });
    Some(name)
}

/// Reads `addresses`; `None` when the key is absent.
pub(super) fn read_addresses<'d>(reader: &mut Reader<'d>, section: &Section<'d>) -> Option<Vec<IpNet>> {
    let node = reader.take(section, "addresses")?;
    let items = reader.array(&node, MAX_ADDRESSES);
    reader.addresses_incomplete |=
        items.is_empty() && node.value.as_array().is_none_or(|array| !array.is_empty());
    Some(unique(reader, &items))
}

/// Reads addresses, refusing a second mention of one.
pub(super) fn unique<'d>(reader: &mut Reader<'d>, items: &[Node<'d>]) -> Vec<IpNet> {
    let mut addresses: Vec<IpNet> = Vec::new();
    for item in items {
        match reader.parsed(item, 64, parse_interface_address) {
            Some(net) if addresses.iter().any(|known| known.addr() == net.addr()) => {
                reader.wrong_value(item, format!("{} is listed twice", net.addr()));
            }
            Some(net) => addresses.push(net),
            None => reader.addresses_incomplete = true,
        }
    }
    addresses
}

/// An address with its prefix length, one that an interface can have.
pub(super) fn parse_interface_address(text: &str) -> Result<IpNet, String> {
    let net = parse_prefixed(text)?;
    let address = net.addr();
    if let Some(kind) = unusable(address) {
        return Err(format!("{address} is {kind} and cannot be an interface's own"));
    }
    if net.prefix_len() == 0 {
        return Err(format!("{text}: prefix length 0 would take every address; use that of the subnet"));
    }
    if let IpNet::V4(v4) = net
        && v4.prefix_len() < 31
        && (v4.addr() == v4.network() || v4.addr() == v4.broadcast())
    {
        let what = if v4.addr() == v4.network() { "network" } else { "broadcast" };
        return Err(format!("{address} is the {what} address of {}: use a host's address", v4.trunc()));
    }
    Ok(net)
}

/// An address with its prefix length.
pub(super) fn parse_prefixed(text: &str) -> Result<IpNet, String> {
    if let Some(net) = parse_plainly(text) {
        return Ok(net);
    }
    if let Ok(net) = text.parse() {
        return Ok(net);
    }
    match text.parse() {
        Ok(IpAddr::V4(address)) => Err(format!("{address} has no prefix length: write {address}/24, say")),
        Ok(IpAddr::V6(address)) => Err(format!("{address} has no prefix length: write {address}/64, say")),
        Err(_) => Err(format!(
            "`{}` is no address with prefix length, such as 10.0.10.1/24 or 2001:db8:10::1/64",
            shortened(text)
        )),
    }
}

/// The usual form of an address with prefix length, in a third of the time that ipnet's parser takes.
fn parse_plainly(text: &str) -> Option<IpNet> {
    let (address, length) = text.rsplit_once('/')?;
    let digits = length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits && !(length.len() > 1 && length.starts_with('0')))?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// An address without prefix length that can be another host's.
pub(super) fn parse_host_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        let slash = if text.contains('/') { " (leave out the prefix length)" } else { "" };
        format!("`{}` is no address such as 10.0.10.254 or 2001:db8:10::fe{slash}", shortened(text))
    })?;
    match unusable(address) {
        Some(kind) => Err(format!("{address} is {kind} and cannot be another host's")),
        None => Ok(address),
    }
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    [
        (address.is_unspecified(), "the unspecified address"),
        (address.is_loopback(), "a loopback address"),
        (address.is_multicast(), "a multicast address"),
        (broadcast, "the broadcast address"),
        (mapped, "an IPv4 address in IPv6 notation"),
    ]
    .into_iter()
    .find_map(|(is, kind)| is.then_some(kind))
}

/// A hardware address of one host.
pub(super) fn parse_mac(text: &str) -> Result<MacAddress, String> {
    let wrong = || format!("`{}` is no hardware address such as 02:00:00:00:00:01", shortened(text));
    let octet = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(part, 16).ok().filter(|_| plain)
    };
    let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
    let octets: [u8; 6] = octets.ok_or_else(wrong)?.try_into().map_err(|_| wrong())?;
    if octets == [0; 6] || octets[0] & 1 != 0 {
        return Err(format!("{text} is no address of one host (all zero, or multicast)"));
    }
    Ok(MacAddress(octets))
}

/// Whether an address is link-local: valid on its own link only, so that links may share it.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_an_interface_cannot_have_are_explained() {
        for (text, part) in [
            ("10.0.0.1", "no prefix length"),
            ("2001:db8::1", "no prefix length"),
            ("10.0.0.0/24", "network address"),
            ("10.0.0.255/24", "broadcast address"),
            ("224.0.0.1/24", "multicast"),
            ("127.0.0.1/8", "loopback"),
            ("0.0.0.0/0", "unspecified"),
            ("10.0.0.1/0", "prefix length 0"),
            ("::ffff:10.0.0.1/120", "IPv4 address"),
            ("10.0.0.1/33", "is no address"),
            ("10.0.0.256/24", "is no address"),
        ] {
            let error = parse_interface_address(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in ["192.0.2.0/31", "192.0.2.1/32", "10.0.0.1/24", "2001:db8::/64", "fe80::1/64"] {
            assert!(parse_interface_address(text).is_ok(), "{text}");
        }
    }
}
