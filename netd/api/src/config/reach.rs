//! What leads to an address: subnets of the switch, or prefixes of routes, as one sorted table.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Subnets of each VRF, cut into pieces that do not overlap, each with the one of the longest prefix and what leads there.
pub(super) struct Reach<'c, T> {
    tables: HashMap<Scope<'c>, Vec<Piece<T>>>,
}

/// A VRF (`None` for the default one) and whether the addresses are of IPv6.
type Scope<'c> = (Option<&'c str>, bool);

/// From this address on, up to the next piece, this subnet holds the address, or none.
struct Piece<T> {
    start: u128,
    lead: Option<Lead<T>>,
}

/// A subnet, and what leads there.
#[derive(Clone, Debug)]
pub(super) struct Lead<T> {
    /// Its prefix length.
    pub(super) length: u8,
    pub(super) by: T,
}

impl<'c, T: Clone> Reach<'c, T> {
    /// Of equal subnets the last is taken.
    pub(super) fn new(subnets: impl Iterator<Item = (Option<&'c str>, IpNet, T)>) -> Self {
        let mut scopes: HashMap<Scope<'c>, Vec<(u128, u128, Lead<T>)>> = HashMap::new();
        for (vrf, net, by) in subnets {
            let scope = scopes.entry((vrf, net.addr().is_ipv6())).or_default();
            let lead = Lead { length: net.prefix_len(), by };
            scope.push((number(net.network()), number(net.broadcast()), lead));
        }
        Reach { tables: scopes.into_iter().map(|(scope, subnets)| (scope, pieces(subnets))).collect() }
    }

    /// The subnet that holds the address; the longest prefix wins.
    pub(super) fn find(&self, vrf: Option<&str>, address: IpAddr) -> Option<Lead<T>> {
        let pieces = self.tables.get(&(vrf, address.is_ipv6()))?;
        let after = pieces.partition_point(|piece| piece.start <= number(address));
        pieces.get(after.checked_sub(1)?)?.lead.clone()
    }
}

pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Subnets either lie within one another or apart, so those that are open at an address form a stack.
fn pieces<T: Clone>(mut subnets: Vec<(u128, u128, Lead<T>)>) -> Vec<Piece<T>> {
    subnets.sort_by_key(|(first, last, _)| (*first, u128::MAX - last));
    let mut pieces: Vec<Piece<T>> = Vec::new();
    let mut open: Vec<(u128, Lead<T>)> = Vec::new();
    for (first, last, lead) in subnets {
        close(&mut open, &mut pieces, Some(first));
        begin(&mut pieces, first, Some(lead.clone()));
        open.push((last, lead));
    }
    close(&mut open, &mut pieces, None);
    pieces
}

/// Closes what ends before an address, or everything.
fn close<T: Clone>(open: &mut Vec<(u128, Lead<T>)>, pieces: &mut Vec<Piece<T>>, before: Option<u128>) {
    while let Some((last, _)) = open.pop_if(|(last, _)| before.is_none_or(|before| *last < before)) {
        if let Some(next) = last.checked_add(1) {
            begin(pieces, next, open.last().map(|(_, lead)| lead.clone()));
        }
    }
}

fn begin<T>(pieces: &mut Vec<Piece<T>>, start: u128, lead: Option<Lead<T>>) {
    match pieces.last_mut() {
        Some(piece) if piece.start == start => piece.lead = lead,
        _ => pieces.push(Piece { start, lead }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_what_is_in_no_subnet_has_no_interface() {
        let subnet = |net: &str, device: &'static str| (None, net.parse::<IpNet>().unwrap(), device);
        let reach = Reach::new(
            [
                subnet("10.0.0.0/8", "a"),
                subnet("10.0.0.0/24", "b"),
                subnet("10.255.255.0/24", "c"),
                subnet("255.255.255.255/32", "d"),
                subnet("::/1", "e"),
                subnet("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00/120", "f"),
            ]
            .into_iter(),
        );
        for (address, device) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some("b")),
            ("10.0.0.255", Some("b")),
            ("10.0.1.0", Some("a")),
            ("10.255.255.255", Some("c")),
            ("11.0.0.0", None),
            ("255.255.255.255", Some("d")),
            ("2001:db8::1", Some("e")),
            ("8000::", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("f")),
        ] {
            let found = reach.find(None, address.parse().unwrap()).map(|lead| lead.by);
            assert_eq!(found, device, "{address}");
            assert!(reach.find(Some("blue"), address.parse().unwrap()).is_none());
        }
    }

    proptest! {
        #[test]
        fn the_table_answers_as_a_search_through_all_subnets_does(
            nets in prop::collection::vec((any::<u32>(), 1_u8..=32), 0..24),
            addresses in prop::collection::vec(any::<u32>(), 1..16),
        ) {
            // Few different bits, so that subnets and addresses meet.
            let address = |bits: u32| IpAddr::from((bits & 0x8100_0103).to_be_bytes());
            let nets: Vec<(IpNet, usize)> = nets
                .into_iter()
                .enumerate()
                .map(|(n, (bits, length))| (IpNet::new(address(bits), length).unwrap().trunc(), n))
                .collect();
            let reach = Reach::new(nets.iter().map(|(net, n)| (None, *net, *n)));
            for address in addresses.into_iter().map(address) {
                let within = nets.iter().filter(|(net, _)| net.contains(&address));
                let best = within.max_by_key(|(net, _)| net.prefix_len());
                let found = reach.find(None, address).map(|lead| (lead.length, lead.by));
                prop_assert_eq!(found, best.map(|(net, n)| (net.prefix_len(), *n)));
            }
        }
    }
}
