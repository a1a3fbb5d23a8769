//! Which rows of a table are asked for: the filter of a caller, read once and refused where it makes no sense.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use netd_api::table::{Filter, MAX_FILTER_BYTES, MAX_FILTER_VALUES, TableName};

use crate::failure::Failure;
use crate::kernel::route::protocol_name;
use crate::kernel::wire::parse_mac;

/// Which rows of which table.
#[derive(Clone, Debug)]
pub struct Query {
    table: TableName,
    /// Routes to just these.
    pub(super) prefixes: Option<BTreeSet<IpNet>>,
    /// Routes that lead to these; entries of these.
    pub(super) addresses: Option<BTreeSet<IpAddr>>,
    vrf: Option<String>,
    /// The protocols of a name, by number.
    protocols: Option<Vec<u8>>,
    /// Entries of these.
    pub(super) macs: Option<BTreeSet<[u8; 6]>>,
    vlan_id: Option<u16>,
    /// Entries at these.
    pub(super) interfaces: Option<BTreeSet<String>>,
    /// Without the switch's own entries.
    pub(super) without_local: bool,
}

impl Query {
    /// Reads what a caller asks for.
    ///
    /// # Errors
    /// For a table there is not, and values that are none, or too many.
    pub fn parse(table: &str, filter: Filter) -> Result<Query, Failure> {
        let table = TableName::parse(table).ok_or_else(|| {
            let names = TableName::ALL.map(TableName::as_str).join(", ");
            Failure::Invalid(format!("table: no such table; there are {names}"))
        })?;
        let Filter { prefixes, addresses, vrf, protocol, macs, vlan_id, interfaces, without_local } = filter;
        use TableName::{Discards, Fdb, Mdb, Neighbours, Routes};
        for (key, is_set, tables) in [
            ("prefixes", prefixes.is_some(), &[Routes][..]),
            ("addresses", addresses.is_some(), &[Routes, Neighbours, Mdb]),
            ("vrf", vrf.is_some(), &[Routes, Neighbours]),
            ("protocol", protocol.is_some(), &[Routes]),
            ("macs", macs.is_some(), &[Fdb]),
            ("vlan_id", vlan_id.is_some(), &[Fdb, Mdb]),
            ("interfaces", interfaces.is_some(), &[Neighbours, Fdb, Mdb, Discards]),
            ("without_local", without_local.is_some(), &[Fdb]),
        ] {
            if is_set && !tables.contains(&table) {
                return Err(Failure::Invalid(format!("filter: {} has no {key}", table.as_str())));
            }
        }
        for (key, text) in [("vrf", &vrf), ("protocol", &protocol)] {
            text.iter().try_for_each(|text| check(key, text))?;
        }
        Ok(Query {
            table,
            prefixes: values("prefixes", prefixes, |text| text.parse().ok())?,
            addresses: values("addresses", addresses, |text| text.parse().ok())?,
            vrf,
            protocols: protocol.map(|name| (0..=u8::MAX).filter(|one| protocol_name(*one) == name).collect()),
            macs: values("macs", macs, parse_mac)?,
            vlan_id,
            interfaces: values("interfaces", interfaces, |text| Some(text.to_owned()))?,
            without_local: without_local.unwrap_or(false),
        })
    }

    /// The table.
    pub fn table(&self) -> TableName {
        self.table
    }

    /// Whether rows of a VRF are asked for; the default VRF has the empty name.
    pub(super) fn takes_vrf(&self, name: &str) -> bool {
        self.vrf.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// Whether routes of a protocol are.
    pub(super) fn takes_protocol(&self, protocol: u8) -> bool {
        self.protocols.as_ref().is_none_or(|wanted| wanted.contains(&protocol))
    }

    /// The only protocol whose routes are asked for, where there is just one.
    pub(super) fn only_protocol(&self) -> Option<u8> {
        match self.protocols.as_deref() {
            Some([only]) => Some(*only),
            _ => None,
        }
    }

    /// Whether routes to a prefix are asked for.
    pub(super) fn takes_prefix(&self, prefix: &IpNet) -> bool {
        self.prefixes.as_ref().is_none_or(|wanted| wanted.contains(prefix))
    }

    /// Whether entries of an address are.
    pub(super) fn takes_address(&self, address: &IpAddr) -> bool {
        self.addresses.as_ref().is_none_or(|wanted| wanted.contains(address))
    }

    /// Whether entries of a VLAN are.
    pub(super) fn takes_vlan(&self, vlan_id: u16) -> bool {
        self.vlan_id.is_none_or(|wanted| wanted == vlan_id)
    }

    /// Whether entries at an interface are.
    pub(super) fn takes_interface(&self, name: &str) -> bool {
        self.interfaces.as_ref().is_none_or(|wanted| wanted.contains(name))
    }
}

fn check(key: &str, text: &str) -> Result<(), Failure> {
    match text.len() <= MAX_FILTER_BYTES {
        true => Ok(()),
        false => Err(Failure::Invalid(format!("filter: {key}: longer than {MAX_FILTER_BYTES} bytes"))),
    }
}

/// The values of a key.
fn values<T: Ord>(
    key: &str,
    texts: Option<Vec<String>>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<BTreeSet<T>>, Failure> {
    let Some(texts) = texts else { return Ok(None) };
    if texts.len() > MAX_FILTER_VALUES {
        return Err(Failure::Invalid(format!("filter: {key}: more than {MAX_FILTER_VALUES} values")));
    }
    let read = |text: &String| {
        check(key, text)?;
        read(text).ok_or_else(|| Failure::Invalid(format!("filter: {key}: {text:?} is none")))
    };
    texts.iter().map(read).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(table: &str, filter: Filter) -> String {
        Query::parse(table, filter).expect_err("refused").words()
    }

    #[test]
    fn table_filter_is_refused_where_it_makes_no_sense() {
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert!(refused("ports", Filter::default()).contains("routes, neighbours, fdb, mdb"));
        let macs = Filter { macs: texts(&["02:00:00:00:00:01"]), ..Filter::default() };
        assert_eq!(refused("routes", macs.clone()), "filter: routes has no macs");
        assert!(Query::parse("fdb", macs).is_ok());
        let prefixes = |text: &str| Filter { prefixes: texts(&[text]), ..Filter::default() };
        assert!(refused("routes", prefixes("10.0.0.0")).contains("\"10.0.0.0\" is none"));
        assert!(refused("routes", prefixes(&"1".repeat(65))).contains("longer than 64 bytes"));
        let many =
            Filter { addresses: Some(vec!["::1".to_owned(); MAX_FILTER_VALUES + 1]), ..Filter::default() };
        assert!(refused("routes", many).contains("more than"));
        let long = Filter { vrf: Some("x".repeat(1000)), ..Filter::default() };
        assert!(refused("neighbours", long).contains("vrf: longer"));
    }

    #[test]
    fn table_filter_of_a_protocol_goes_by_the_name_the_table_shows() {
        let of = |name: &str| {
            let filter = Filter { protocol: Some(name.to_owned()), ..Filter::default() };
            Query::parse("routes", filter).expect("a filter")
        };
        assert_eq!(of("bgp").only_protocol(), Some(186));
        assert_eq!(of("static").only_protocol(), None);
        assert!(of("static").takes_protocol(4) && of("static").takes_protocol(199));
        assert!(!of("nobody").takes_protocol(4));
        assert_eq!(of("42").only_protocol(), Some(42));
    }
}
