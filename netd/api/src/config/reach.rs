//! Which interface leads to an address: the subnets of the switch as one sorted table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Subnets of each VRF, cut into pieces that do not overlap, each with the interface of the longest prefix.
#[derive(Default)]
pub(super) struct Reach<'c> {
    tables: HashMap<Scope<'c>, Vec<Piece>>,
}

/// A VRF (`None` for the default one) and whether the addresses are of IPv6.
type Scope<'c> = (Option<&'c str>, bool);

/// From this address on, up to the next piece, this interface leads there, or none.
struct Piece {
    start: u128,
    device: Option<Arc<str>>,
}

impl<'c> Reach<'c> {
    /// Of equal subnets the last is taken.
    pub(super) fn new(subnets: impl Iterator<Item = (Option<&'c str>, IpNet, Arc<str>)>) -> Self {
        let mut scopes: HashMap<Scope<'c>, Vec<(u128, u128, Arc<str>)>> = HashMap::new();
        for (vrf, net, device) in subnets {
            let scope = scopes.entry((vrf, net.addr().is_ipv6())).or_default();
            scope.push((number(net.network()), number(net.broadcast()), device));
        }
        Reach { tables: scopes.into_iter().map(|(scope, subnets)| (scope, pieces(subnets))).collect() }
    }

    /// The interface whose subnet holds the address; the longest prefix wins.
    pub(super) fn device(&self, vrf: Option<&str>, address: IpAddr) -> Option<Arc<str>> {
        let pieces = self.tables.get(&(vrf, address.is_ipv6()))?;
        let after = pieces.partition_point(|piece| piece.start <= number(address));
        pieces.get(after.checked_sub(1)?)?.device.clone()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Subnets either lie within one another or apart, so those that are open at an address form a stack.
fn pieces(mut subnets: Vec<(u128, u128, Arc<str>)>) -> Vec<Piece> {
    subnets.sort_by_key(|(first, last, _)| (*first, u128::MAX - last));
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Vec<(u128, Arc<str>)> = Vec::new();
    for (first, last, device) in subnets {
        close(&mut open, &mut pieces, Some(first));
        begin(&mut pieces, first, Some(Arc::clone(&device)));
        open.push((last, device));
    }
    close(&mut open, &mut pieces, None);
    pieces
}

/// Closes what ends before an address, or everything.
fn close(open: &mut Vec<(u128, Arc<str>)>, pieces: &mut Vec<Piece>, before: Option<u128>) {
    while let Some((last, _)) = open.pop_if(|(last, _)| before.is_none_or(|before| *last < before)) {
        if let Some(next) = last.checked_add(1) {
            begin(pieces, next, open.last().map(|(_, device)| Arc::clone(device)));
        }
    }
}

fn begin(pieces: &mut Vec<Piece>, start: u128, device: Option<Arc<str>>) {
    match pieces.last_mut() {
        Some(piece) if piece.start == start => piece.device = device,
        _ => pieces.push(Piece { start, device }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_what_is_in_no_subnet_has_no_interface() {
        let subnet = |net: &str, device: &str| (None, net.parse::<IpNet>().unwrap(), Arc::from(device));
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
            assert_eq!(reach.device(None, address.parse().unwrap()).as_deref(), device, "{address}");
            assert_eq!(reach.device(Some("blue"), address.parse().unwrap()), None);
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
            let nets: Vec<(IpNet, Arc<str>)> = nets
                .into_iter()
                .enumerate()
                .map(|(n, (bits, length))| (IpNet::new(address(bits), length).unwrap().trunc(), n.to_string().into()))
                .collect();
            let reach = Reach::new(nets.iter().map(|(net, device)| (None, *net, Arc::clone(device))));
            for address in addresses.into_iter().map(address) {
                let within = nets.iter().filter(|(net, _)| net.contains(&address));
                let best = within.max_by_key(|(net, _)| net.prefix_len()).map(|(_, device)| Arc::clone(device));
                prop_assert_eq!(reach.device(None, address), best);
            }
        }
    }
}
