//! Routes of netd's own that stand behind those the kernel sets for addresses, so that packets find their way while
//! addresses go and come again.
//!
//! Where the first address of an IPv4 subnet goes, the kernel takes the routes of all others of the subnet, and that of
//! the subnet, and sets them anew (`__inet_del_ifa`). Where any address is set again to stand in another place, it is
//! without routes meanwhile, and with the last one of a link all its routes go. A held route has a worse metric than the
//! kernel's: it carries packets only while that is away. To an IPv4 address, the route is held by the address itself with
//! another prefix length, since the kernel answers for addresses, not for routes. It is held before the first address
//! goes, and released after the last one came.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::network::{Link, LinkKind, Network};
use super::step::{Action, Step};

/// `RT_TABLE_MAIN` and `RT_TABLE_LOCAL` (linux/rtnetlink.h).
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

/// A route that is held, out of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRoute {
    /// Whether packets are for the switch itself, not for hosts on the link.
    pub local: bool,
    /// The subnet; of an address, the address alone, of IPv4 with a prefix length that the link has not with it.
    pub prefix: IpNet,
    /// Routing table.
    pub table: u32,
}

impl fmt::Display for HeldRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.local { "local " } else { "" };
        write!(f, "{kind}{} table {}", self.prefix, self.table)
    }
}

/// Holds routes around the steps that take addresses from links, and releases those that were left. Called when these
/// steps are known.
pub(super) fn diff(desired: &Network, actual: &Network, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    let going = going(steps);
    for (name, found) in &actual.links {
        let want = desired.links.get(name);
        // What goes with its link needs no step.
        if recreated.contains(name) || want.is_none() && found.kind.is_made() && found.owned {
            continue;
        }
        let going = going.get(name).map_or(&[][..], Vec::as_slice);
        let tables = want.and_then(|want| Tables::of_lasting(name, (desired, want), (actual, found)));
        let held = match (want, tables) {
            (Some(want), Some(tables)) => around(going, found, want, tables),
            _ => BTreeSet::new(),
        };
        // The route of an address comes before that of its subnet, and goes after it: where it is gone, there is none of
        // the subnet either, and snapshots need not look.
        for route in held.iter().rev().filter(|route| !found.held_routes.contains(route)) {
            steps.push(Step::reversible(Action::HoldRoute { link: name.clone(), route: *route }));
        }
        for route in held.union(&found.held_routes) {
            let left = found.held_routes.contains(route);
            steps.push(Step::reversible(Action::ReleaseRoute { link: name.clone(), route: *route, left }));
        }
    }
}

/// Addresses that steps take from links.
fn going(steps: &[Step]) -> BTreeMap<String, Vec<IpNet>> {
    let mut going = BTreeMap::<String, Vec<IpNet>>::new();
    for step in steps {
        if let Action::DeleteAddress { link, address } | Action::WithdrawAddress { link, address } =
            &step.action
        {
            going.entry(link.clone()).or_default().push(*address);
        }
    }
    going
}

/// Routing tables of a link's addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tables {
    local: u32,
    connected: u32,
}

impl Tables {
    fn of(network: &Network, name: &str) -> Tables {
        let vrf = |name: &str| match network.links.get(name).map(|link| &link.kind) {
            Some(LinkKind::Vrf { table }) => Some(*table),
            _ => None,
        };
        let master = network.links.get(name).and_then(|link| link.master.as_ref());
        match vrf(name).or_else(|| vrf(master?)) {
            Some(table) => Tables { local: table, connected: table },
            None => Tables { local: LOCAL, connected: MAIN },
        }
    }

    /// Those of a link that stays up where it is. Through any other no packets pass meanwhile.
    fn of_lasting(
        name: &str,
        (desired, want): (&Network, &Link),
        (actual, found): (&Network, &Link),
    ) -> Option<Tables> {
        let tables = Tables::of(actual, name);
        let lasts = found.up && want.up && found.master == want.master;
        (lasts && tables == Tables::of(desired, name)).then_some(tables)
    }
}

/// The routes to hold where these addresses go from a link.
fn around(going: &[IpNet], found: &Link, want: &Link, tables: Tables) -> BTreeSet<HeldRoute> {
    let wanted = want.addresses.iter().chain(&found.foreign_addresses);
    let lasting: Vec<IpNet> = wanted.filter(|address| found.has_address(address)).copied().collect();
    let mut held = BTreeSet::new();
    let mut hold = |address: &IpNet, with_subnet: bool| {
        held.insert(HeldRoute {
            prefix: beside(address.addr(), found, want),
            local: true,
            table: tables.local,
        });
        // Nobody else is on the link of a loopback, nor in the subnet of one address.
        let is_alone = want.kind == LinkKind::Dummy || address.prefix_len() == address.max_prefix_len();
        if with_subnet && !is_alone {
            held.insert(HeldRoute { prefix: address.trunc(), local: false, table: tables.connected });
        }
    };
    // With the last IPv4 address of a link all its IPv4 routes go (`fib_inetaddr_event`): one that comes is there before.
    let is_ipv4 = |address: &&IpNet| address.addr().is_ipv4();
    if going.iter().any(|address| is_ipv4(&address)) && !lasting.iter().any(|address| is_ipv4(&address)) {
        want.addresses.iter().find(is_ipv4).into_iter().for_each(|address| hold(address, false));
    }
    for address in going {
        let subnet = address.trunc();
        let of_subnet = |other: &&IpNet| other.trunc() == subnet;
        if address.addr().is_ipv4() && found.addresses.iter().find(of_subnet) == Some(address) {
            lasting.iter().filter(of_subnet).for_each(|address| hold(address, true));
        } else if lasting.contains(address) {
            hold(address, address.addr().is_ipv6());
        }
        // It comes again with another prefix length.
        let again = want.addresses.iter().find(|wanted| wanted.addr() == address.addr());
        again.filter(|wanted| *wanted != address).into_iter().for_each(|wanted| hold(wanted, false));
    }
    held
}

/// An address alone. Of IPv4 it is set itself, so with a prefix length that the link has not with it, before and after.
fn beside(address: IpAddr, found: &Link, want: &Link) -> IpNet {
    let lengths = if address.is_ipv4() { 30..=32 } else { 128..=128 };
    let nets = lengths.rev().filter_map(|length| IpNet::new(address, length).ok());
    let is_taken = |net: &IpNet| found.has_address(net) || want.addresses.contains(net);
    nets.into_iter().find(|net| address.is_ipv6() || !is_taken(net)).unwrap_or(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;

    fn port(addresses: &str) -> Link {
        let addresses = addresses.split_whitespace().map(|net| net.parse().expect("an address")).collect();
        Link { up: true, addresses, ..Link::new(LinkKind::Hardware) }
    }

    /// A network with one port, and a VRF.
    fn network(port: Link) -> Network {
        let vrf = Link { up: true, ..Link::new(LinkKind::Vrf { table: 1001 }) };
        let links = [("swp1".to_owned(), port), ("blue".to_owned(), vrf)].into();
        Network { links, ..Network::default() }
    }

    /// What is held on the way, in words; whatever is held is released.
    fn held(want: Link, found: Link) -> Vec<String> {
        let (mut held, mut released) = (Vec::new(), Vec::new());
        for step in plan(&network(want), &network(found)) {
            match step.action {
                Action::HoldRoute { route, .. } => held.push(route),
                Action::ReleaseRoute { route, .. } => released.insert(0, route),
                _ => {}
            }
        }
        assert_eq!(held, released);
        held.iter().map(HeldRoute::to_string).collect()
    }

    fn words(routes: &[&str]) -> Vec<String> {
        routes.iter().map(|route| (*route).to_owned()).collect()
    }

    #[test]
    fn routes_are_held_where_addresses_move_or_the_first_of_a_subnet_goes() {
        let (a, b, c) = ("10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/24");
        let (d, e) = ("2001:db8::1/64", "2001:db8::2/64");
        let subnet = ["local 10.0.0.2/32 table 255", "local 10.0.0.1/32 table 255", "10.0.0.0/24 table 254"];
        for (want, found, expected) in [
            (format!("{b} {a}"), format!("{a} {b}"), &subnet[..]),
            (b.to_owned(), format!("{a} {b}"), &["local 10.0.0.2/32 table 255", "10.0.0.0/24 table 254"]),
            (format!("{b} {a}"), a.to_owned(), &["local 10.0.0.1/32 table 255", "10.0.0.0/24 table 254"]),
            (a.to_owned(), format!("{a} {b}"), &[]),
            (c.to_owned(), format!("{a} {b} {d}"), &["local 10.0.1.1/32 table 255"]),
            (d.to_owned(), a.to_owned(), &[]),
            ("10.0.0.1/25".to_owned(), a.to_owned(), &["local 10.0.0.1/32 table 255"]),
            ("10.0.0.1/32".to_owned(), a.to_owned(), &["local 10.0.0.1/31 table 255"]),
            ("2001:db8::1/72".to_owned(), d.to_owned(), &["local 2001:db8::1/128 table 255"]),
            (a.to_owned(), format!("{c} {a}"), &[]),
            (format!("{a} {b}"), format!("{a} {b}"), &[]),
            (format!("{a} {c} {b}"), a.to_owned(), &[]),
            (
                "10.0.0.1/31 10.0.0.0/31".to_owned(),
                "10.0.0.0/31 10.0.0.1/31".to_owned(),
                &["local 10.0.0.1/32 table 255", "local 10.0.0.0/32 table 255", "10.0.0.0/31 table 254"],
            ),
            (
                "10.0.0.1/32 10.0.0.2/32".to_owned(),
                "10.0.0.2/32 10.0.0.1/32".to_owned(),
                &["local 10.0.0.2/31 table 255"],
            ),
            (
                format!("{e} {d}"),
                format!("{d} {e}"),
                &["local 2001:db8::2/128 table 255", "2001:db8::/64 table 254"],
            ),
            (d.to_owned(), format!("{e} {d}"), &[]),
        ] {
            assert_eq!(held(port(&want), port(&found)), words(expected), "{found} to {want}");
        }
    }

    #[test]
    fn foreign_addresses_of_a_subnet_are_held_with_the_others() {
        let foreign_addresses = vec!["10.0.0.3/24".parse().expect("an address")];
        let found = Link { foreign_addresses, ..port("10.0.0.1/24 10.0.0.2/24") };
        let expected =
            ["local 10.0.0.3/32 table 255", "local 10.0.0.2/32 table 255", "10.0.0.0/24 table 254"];
        assert_eq!(held(port("10.0.0.2/24"), found), words(&expected));
    }

    #[test]
    fn routes_are_held_in_the_table_of_the_vrf_of_a_link_that_stays_there() {
        let (old, new) = (port("10.0.0.1/24 10.0.0.2/24"), port("10.0.0.2/24 10.0.0.1/24"));
        let in_vrf = |link: &Link| Link { master: Some("blue".to_owned()), ..link.clone() };
        let expected =
            ["local 10.0.0.2/32 table 1001", "local 10.0.0.1/32 table 1001", "10.0.0.0/24 table 1001"];
        assert_eq!(held(in_vrf(&new), in_vrf(&old)), words(&expected));
        assert_eq!(held(in_vrf(&new), old.clone()), words(&[]), "it joins the VRF");
        assert_eq!(held(Link { up: false, ..new.clone() }, old.clone()), words(&[]), "it goes down");
        assert_eq!(held(new, Link { up: false, ..old }), words(&[]), "it was down");
    }

    #[test]
    fn loopback_subnets_are_not_held() {
        let loopback = |addresses| Link { kind: LinkKind::Dummy, ..port(addresses) };
        let (old, new) = (loopback("10.0.0.1/24 10.0.0.2/24"), loopback("10.0.0.2/24 10.0.0.1/24"));
        let expected = ["local 10.0.0.2/32 table 255", "local 10.0.0.1/32 table 255"];
        assert_eq!(held(new, old), words(&expected));
    }

    #[test]
    fn routes_that_were_left_are_released_whatever_else_changes() {
        let route = |local, prefix: &str| {
            let (prefix, table) = (prefix.parse().expect("a prefix"), if local { LOCAL } else { MAIN });
            HeldRoute { local, prefix, table }
        };
        let (of_address, of_subnet) = (route(true, "10.0.0.1/32"), route(false, "10.0.0.0/24"));
        let left = || Link { held_routes: [of_subnet, of_address].into(), ..port("10.0.0.1/24 10.0.0.2/24") };
        let steps = |want| -> Vec<Action> {
            let steps = plan(&network(want), &network(left()));
            steps.into_iter().map(|step| step.action).filter(Action::is_about_held_route).collect()
        };
        let release = |route, left| Action::ReleaseRoute { link: "swp1".to_owned(), route, left };
        let only_released = [release(of_subnet, true), release(of_address, true)];
        assert_eq!(steps(port("10.0.0.1/24 10.0.0.2/24")), only_released);
        assert_eq!(steps(left()), only_released, "none is ever wanted");
        let new = route(true, "10.0.0.2/32");
        assert_eq!(
            steps(port("10.0.0.2/24 10.0.0.1/24")),
            [
                Action::HoldRoute { link: "swp1".to_owned(), route: new },
                release(of_subnet, true),
                release(of_address, true),
                release(new, false),
            ]
        );
    }
}
