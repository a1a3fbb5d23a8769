//! Annotations that give a workload its interfaces:
//!
//! ```text
//! org.corten.interface.eth0.vlan    = 10
//! org.corten.interface.eth0.address = 192.0.2.5/24,2001:db8::5/64
//! org.corten.interface.eth0.gateway = 192.0.2.1
//! org.corten.interface.eth1.trunk   = 10-20,30
//! org.corten.interface.eth1.native  = 1
//! ```
//!
//! Pure: annotations in, requests for netd out. Annotations are hostile input; every message names the
//! annotation and what was expected.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::attach::AttachRequest;
use netd_api::state::VlanRange;

use crate::error::{Error, Result, shown};

const PREFIX: &str = "org.corten.interface.";
const ATTRIBUTES: [&str; 7] = ["vlan", "trunk", "native", "address", "gateway", "mac", "mtu"];
const MAX_INTERFACES: usize = 16;
const MAX_LIST: usize = 64;
const MAX_VALUE_BYTES: usize = 4096;

/// The interfaces a workload asks for, in the order of their names.
///
/// # Errors
/// The first annotation that is wrong, with what was expected.
pub fn parse(
    annotations: &BTreeMap<String, String>,
    namespace: &str,
    id: &str,
) -> Result<Vec<AttachRequest>> {
    let mut by_name: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (key, value) in annotations {
        let Some(rest) = key.strip_prefix(PREFIX) else { continue };
        let (name, attribute) = rest.split_once('.').ok_or_else(|| {
            Error::Invalid(format!("annotation {}: expected {PREFIX}NAME.ATTRIBUTE", shown(key)))
        })?;
        check_name(key, name)?;
        if !ATTRIBUTES.contains(&attribute) {
            return Err(unknown_attribute(key, attribute));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(Error::Invalid(format!("annotation {key}: longer than {MAX_VALUE_BYTES} bytes")));
        }
        by_name.entry(name).or_default().insert(attribute, value.trim());
    }
    if by_name.len() > MAX_INTERFACES {
        return Err(Error::Invalid(format!(
            "{} interfaces asked for by annotations, at most {MAX_INTERFACES} are possible",
            by_name.len()
        )));
    }
    by_name
        .into_iter()
        .map(|(name, attributes)| Interface { name, attributes }.request(namespace, id))
        .collect()
}

/// Linux interface names have 15 bytes at most; a dot would make the annotation ambiguous.
fn check_name(key: &str, name: &str) -> Result<()> {
    let valid = (1..=15).contains(&name.len())
        && name != "lo"
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if valid {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "annotation {}: interface name {} is not valid: expected 1 to 15 letters, digits, '_' or '-', and not lo",
        shown(key),
        shown(name)
    )))
}

fn unknown_attribute(key: &str, attribute: &str) -> Error {
    let short: String = attribute.chars().take(40).collect();
    let nearest = ATTRIBUTES
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, &short), known))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let hint = match nearest {
        Some((_, known)) => format!("did you mean {known}?"),
        None => format!("expected one of {}", ATTRIBUTES.join(", ")),
    };
    Error::Invalid(format!("annotation {}: unknown attribute {}: {hint}", shown(key), shown(attribute)))
}

struct Interface<'a> {
    name: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
}

impl Interface<'_> {
    fn request(&self, namespace: &str, id: &str) -> Result<AttachRequest> {
        let (untagged_vlan, tagged_vlans) = self.vlans()?;
        let addresses = self.addresses()?;
        let gateways = self.gateways(&addresses)?;
        Ok(AttachRequest {
            key: format!("{namespace}/{id}/{}", self.name),
            interface: self.name.to_owned(),
            untagged_vlan,
            tagged_vlans,
            mac: self.mac()?,
            addresses: addresses.iter().map(IpNet::to_string).collect(),
            gateways: gateways.iter().map(IpAddr::to_string).collect(),
            mtu_bytes: self.mtu()?,
        })
    }

    fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).copied()
    }

    fn wrong(&self, attribute: &str, expected: &str) -> Error {
        let value = self.get(attribute).unwrap_or_default();
        Error::Invalid(format!(
            "annotation {PREFIX}{}.{attribute}={}: expected {expected}",
            self.name,
            shown(value)
        ))
    }

    fn list(&self, attribute: &str) -> Result<Vec<&str>> {
        let Some(value) = self.get(attribute) else { return Ok(Vec::new()) };
        let items: Vec<&str> = value.split(',').map(str::trim).collect();
        if items.len() > MAX_LIST {
            return Err(self.wrong(attribute, &format!("at most {MAX_LIST} entries")));
        }
        Ok(items)
    }

    fn vlan(&self, attribute: &str) -> Result<Option<u16>> {
        match self.get(attribute) {
            None => Ok(None),
            Some(text) => match vlan_id(text) {
                Some(id) => Ok(Some(id)),
                None => Err(self.wrong(attribute, "a VLAN id, 1 to 4094")),
            },
        }
    }

    fn vlans(&self) -> Result<(u16, Vec<VlanRange>)> {
        let access = self.vlan("vlan")?;
        let native = self.vlan("native")?;
        let trunk = self.trunk()?;
        match (access, trunk.is_empty()) {
            (Some(_), false) => Err(self.wrong("trunk", "either vlan or trunk, not both")),
            (Some(_), true) if native.is_some() => Err(self.wrong("native", "native only beside trunk")),
            (Some(id), true) => Ok((id, Vec::new())),
            (None, false) => Ok((native.unwrap_or(0), trunk)),
            (None, true) => Err(Error::Invalid(format!(
                "interface {}: annotation {PREFIX}{}.vlan or {PREFIX}{}.trunk is missing",
                self.name, self.name, self.name
            ))),
        }
    }

    fn trunk(&self) -> Result<Vec<VlanRange>> {
        let expected = "VLAN ids and ranges such as 10-20,30, each between 1 and 4094, without overlap";
        let mut ranges = Vec::new();
        for item in self.list("trunk")? {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            match (vlan_id(first), vlan_id(last)) {
                (Some(first), Some(last)) if first <= last => ranges.push(VlanRange { first, last }),
                _ => return Err(self.wrong("trunk", expected)),
            }
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].last >= pair[1].first) {
            return Err(self.wrong("trunk", expected));
        }
        Ok(ranges)
    }

    fn addresses(&self) -> Result<Vec<IpNet>> {
        let expected = "addresses with prefix length such as 192.0.2.5/24,2001:db8::5/64";
        let mut addresses: Vec<IpNet> = Vec::new();
        for item in self.list("address")? {
            let net: IpNet = item.parse().map_err(|_| self.wrong("address", expected))?;
            let address = net.addr();
            if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
                return Err(self.wrong("address", "addresses a host can have"));
            }
            if addresses.iter().any(|other| other.addr() == address) {
                return Err(self.wrong("address", "each address once"));
            }
            addresses.push(net);
        }
        Ok(addresses)
    }

    fn gateways(&self, addresses: &[IpNet]) -> Result<Vec<IpAddr>> {
        let mut gateways: Vec<IpAddr> = Vec::new();
        for item in self.list("gateway")? {
            let gateway: IpAddr =
                item.parse().map_err(|_| self.wrong("gateway", "addresses such as 192.0.2.1,2001:db8::1"))?;
            if gateways.iter().any(|other| other.is_ipv4() == gateway.is_ipv4()) {
                return Err(self.wrong("gateway", "at most one of each address family"));
            }
            let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if !link_local && !addresses.iter().any(|net| net.contains(&gateway)) {
                return Err(self.wrong("gateway", "gateways within a prefix of the interface's address"));
            }
            gateways.push(gateway);
        }
        Ok(gateways)
    }

    fn mac(&self) -> Result<String> {
        let Some(text) = self.get("mac") else { return Ok(String::new()) };
        let bytes: Vec<u8> = text
            .split(':')
            .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
            .filter_map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        let whole = text.len() == 17 && bytes.len() == 6;
        if !whole || bytes[0] & 1 == 1 || bytes.iter().all(|byte| *byte == 0) {
            return Err(self.wrong("mac", "a unicast hardware address such as 02:00:5e:00:53:01"));
        }
        Ok(text.to_ascii_lowercase())
    }

    /// 68 bytes is IPv4's smallest MTU (RFC 791), 65535 the largest a veth takes.
    fn mtu(&self) -> Result<u32> {
        let Some(text) = self.get("mtu") else { return Ok(0) };
        match text.parse::<u32>() {
            Ok(mtu) if (68..=65535).contains(&mtu) => Ok(mtu),
            _ => Err(self.wrong("mtu", "bytes, 68 to 65535")),
        }
    }
}

fn vlan_id(text: &str) -> Option<u16> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| (1..=4094).contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(pairs: &[(&str, &str)]) -> Result<Vec<AttachRequest>> {
        let annotations =
            pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
        parse(&annotations, "default", "web")
    }

    fn message(pairs: &[(&str, &str)]) -> String {
        parse_all(pairs).unwrap_err().to_string()
    }

    #[test]
    fn access_port_with_addresses() {
        let requests = parse_all(&[
            ("eth0.vlan", "10"),
            ("eth0.address", "192.0.2.5/24, 2001:db8::5/64"),
            ("eth0.gateway", "192.0.2.1,fe80::1"),
            ("eth0.mac", "02:00:5E:00:53:01"),
            ("eth0.mtu", "9000"),
        ])
        .unwrap();
        assert_eq!(
            requests,
            [AttachRequest {
                key: "default/web/eth0".into(),
                interface: "eth0".into(),
                untagged_vlan: 10,
                tagged_vlans: Vec::new(),
                mac: "02:00:5e:00:53:01".into(),
                addresses: vec!["192.0.2.5/24".into(), "2001:db8::5/64".into()],
                gateways: vec!["192.0.2.1".into(), "fe80::1".into()],
                mtu_bytes: 9000,
            }]
        );
    }

    #[test]
    fn trunk_ports_are_sorted_and_may_have_a_native_vlan() {
        let requests = parse_all(&[("e1.trunk", "30,10-20"), ("e1.native", "1"), ("e0.trunk", "5")]).unwrap();
        assert_eq!(requests[0].interface, "e0");
        assert_eq!(requests[0].untagged_vlan, 0);
        assert_eq!(requests[1].untagged_vlan, 1);
        assert_eq!(
            requests[1].tagged_vlans,
            [VlanRange { first: 10, last: 20 }, VlanRange { first: 30, last: 30 }]
        );
    }

    #[test]
    fn other_annotations_are_none_of_its_business() {
        let annotations = [("io.kubernetes.cri.sandbox-id".to_owned(), "x".to_owned())].into();
        assert!(parse(&annotations, "n", "i").unwrap().is_empty());
    }

    #[test]
    fn vlans_out_of_range_are_refused_by_name() {
        for bad in ["0", "4095", "-1", "+5", "ten", "", "1e3", "70000"] {
            let text = message(&[("eth0.vlan", bad)]);
            assert!(text.contains("eth0.vlan") && text.contains("1 to 4094"), "{text}");
        }
        for bad in ["20-10", "10-", "1,1", "1-5,5-9", "0-4", "a", ","] {
            assert!(message(&[("eth0.trunk", bad)]).contains("eth0.trunk"), "{bad}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(message(&[("eth0.vlan", "1"), ("eth0.trunk", "2")]).contains("not both"));
        assert!(message(&[("eth0.vlan", "1"), ("eth0.native", "2")]).contains("beside trunk"));
        assert!(message(&[("eth0.address", "192.0.2.5/24")]).contains("missing"));
        assert!(message(&[("eth0.vlan", "1"), ("eth0.gateway", "192.0.2.1")]).contains("within a prefix"));
        let two =
            [("eth0.vlan", "1"), ("eth0.address", "192.0.2.5/24"), ("eth0.gateway", "192.0.2.1,192.0.2.2")];
        assert!(message(&two).contains("one of each"));
    }

    #[test]
    fn typing_mistakes_get_a_suggestion() {
        assert!(message(&[("eth0.vlna", "1")]).contains("did you mean vlan?"));
        assert!(message(&[("eth0.colour", "1")]).contains("expected one of"));
        assert!(message(&[("eth0", "1")]).contains("NAME.ATTRIBUTE"));
    }

    #[test]
    fn hostile_names_and_values_are_refused() {
        for name in ["lo", "a/b", "", "sixteen-letters-x", "a b", "é"] {
            assert!(parse_all(&[(&format!("{name}.vlan"), "1")]).is_err(), "{name:?}");
        }
        for (attribute, value) in [
            ("mac", "01:00:5e:00:00:01"),
            ("mac", "00:00:00:00:00:00"),
            ("mac", "02:00:5e:00:53"),
            ("mac", "02-00-5e-00-53-01"),
            ("mtu", "67"),
            ("mtu", "65536"),
            ("address", "192.0.2.5"),
            ("address", "127.0.0.1/8"),
            ("address", "192.0.2.5/24,192.0.2.5/25"),
        ] {
            let key = format!("eth0.{attribute}");
            assert!(parse_all(&[("eth0.vlan", "1"), (&key, value)]).is_err(), "{attribute}={value}");
        }
        assert!(parse_all(&[("eth0.vlan", "1"), ("eth0.address", &"1".repeat(5000))]).is_err());
        assert!(parse_all(&[("eth0.vlan", "1"), ("eth0.é", "1")]).is_err());
        let many: Vec<(String, String)> =
            (0..17).map(|n| (format!("{PREFIX}e{n}.vlan"), "1".to_owned())).collect();
        assert!(parse(&many.into_iter().collect(), "n", "i").is_err());
    }
}
