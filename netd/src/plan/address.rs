//! Differences of addresses, their order included: the first of a subnet (IPv4), or of those that fit a
//! destination alike (IPv6), is what the switch speaks as.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::IpNet;

use super::network::{Link, LinkKind, Network};
use super::step::{Action, Step};
use super::usable::Usable;

pub(super) fn diff(
    desired: &Network,
    actual: &Network,
    usable: &Usable<'_>,
    recreated: &BTreeSet<String>,
    steps: &mut Vec<Step>,
) {
    let wanted = |name: &String| desired.links.get(name).filter(|_| usable.has_link(name));
    for (name, found) in &actual.links {
        let want = wanted(name);
        if want.is_none() && !(found.kind.is_made() && found.owned) {
            continue;
        }
        let kept = want.filter(|_| !recreated.contains(name)).map_or(&[][..], |want| &want.addresses);
        for address in found.addresses.iter().filter(|address| !kept.contains(address)) {
            let delete = Action::DeleteAddress { link: name.clone(), address: *address };
            steps.push(Step::new(delete, vec![add(name, found, *address)]));
        }
    }
    for name in desired.links.keys() {
        let Some(want) = wanted(name) else { continue };
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        set(name, want, found, steps);
    }
}

/// Sets what is missing, and sets again what stands before something that it is to follow.
fn set(name: &str, want: &Link, found: Option<&Link>, steps: &mut Vec<Step>) {
    let foreign = found.map_or(&[][..], |found| &found.foreign_addresses);
    let own = found.map_or(&[][..], |found| &found.addresses);
    let wanted: Vec<IpNet> =
        want.addresses.iter().filter(|address| !foreign.contains(address)).copied().collect();
    let there: Vec<IpNet> = own.iter().filter(|address| wanted.contains(address)).copied().collect();
    let (link, delete) =
        (name.to_owned(), |address| Action::DeleteAddress { link: name.to_owned(), address });
    // The switch's own already: other hosts are not asked again.
    let again = |address| Action::AddAddress { link: link.clone(), address, detect_duplicates: false };
    for group in Group::ALL {
        let Rest { addresses, after_none } = group.rest(&wanted, &there);
        let moved: Vec<IpNet> = addresses.iter().filter(|address| there.contains(address)).copied().collect();
        // A link whose last address goes loses its routes, so one that is new comes before that.
        let ahead = addresses.first().filter(|_| after_none && !moved.is_empty());
        steps.extend(ahead.map(|address| Step::new(add(name, want, *address), vec![delete(*address)])));
        for address in &moved {
            let withdraw = Action::WithdrawAddress { link: link.clone(), address: *address };
            steps.push(Step::new(withdraw, vec![again(*address)]));
        }
        // A kernel that does not promote it (`promote_secondaries`) takes it along with the first one of its subnet.
        let taken_along =
            |first: &&IpNet| first.addr().is_ipv4() && moved.iter().any(|net| net.trunc() == first.trunc());
        let once_more = ahead.filter(taken_along);
        steps.extend(once_more.map(|address| Step::new(add(name, want, *address), Vec::new())));
        for address in addresses.iter().skip(usize::from(ahead.is_some())) {
            let anew = add(name, want, *address);
            if !moved.contains(address) {
                steps.push(Step::new(anew, vec![delete(*address)]));
                continue;
            }
            steps.push(Step::new(again(*address), vec![delete(*address)]));
            // Others are asked for it whenever the link comes up later, as for every other address: set over itself,
            // it loses the mark that it is never asked for.
            if address.addr().is_ipv6() && anew != again(*address) {
                steps.push(Step::new(anew, Vec::new()));
            }
        }
    }
}

fn add(name: &str, link: &Link, address: IpNet) -> Action {
    // A loopback has no neighbours to ask, and must serve as a source at once.
    let detect_duplicates = link.kind != LinkKind::Dummy;
    Action::AddAddress { link: name.to_owned(), address, detect_duplicates }
}

/// What is to be set, in order, so that all stand as they should.
struct Rest {
    addresses: Vec<IpNet>,
    /// Whether nothing stays that is there.
    after_none: bool,
}

/// Addresses that the kernel keeps in one order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    V4,
    /// The wider scopes come first (`ipv6_link_dev_addr`).
    V6Global,
    V6LinkLocal,
}

impl Group {
    const ALL: [Group; 3] = [Group::V4, Group::V6Global, Group::V6LinkLocal];

    /// Of the wanted addresses those that cannot stay as they are `there`, in the order in which they are to be set.
    ///
    /// The kernel puts a new IPv4 address behind the others, a new IPv6 address before them. So those of IPv4 stay that
    /// begin the wanted order, those of IPv6 that end it.
    fn rest(self, wanted: &[IpNet], there: &[IpNet]) -> Rest {
        let (mut wanted, mut there) = (self.of(wanted), self.of(there));
        if self != Group::V4 {
            wanted.reverse();
            there.reverse();
        }
        let mut others = there.iter();
        let kept = wanted.iter().take_while(|address| others.any(|other| other == *address)).count();
        Rest { addresses: wanted.split_off(kept), after_none: kept == 0 }
    }

    /// Those of the group as the kernel has them when they are set in order. Of IPv4, the first address of each
    /// subnet comes before those that share a subnet with one before them (`__inet_insert_ifa`).
    fn of(self, addresses: &[IpNet]) -> Vec<IpNet> {
        let in_group = |address: &&IpNet| match address {
            IpNet::V4(_) => self == Group::V4,
            IpNet::V6(net) => self == Group::of_v6(net.addr()),
        };
        let members: Vec<IpNet> = addresses.iter().filter(in_group).copied().collect();
        if self != Group::V4 {
            return members;
        }
        let (mut first, mut others): (Vec<IpNet>, Vec<IpNet>) = (Vec::new(), Vec::new());
        for address in members {
            let known = first.iter().any(|other| other.trunc() == address.trunc());
            if known { others.push(address) } else { first.push(address) }
        }
        first.extend(others);
        first
    }

    fn of_v6(address: Ipv6Addr) -> Group {
        if address.is_unicast_link_local() { Group::V6LinkLocal } else { Group::V6Global }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(wanted: &str, there: &str) -> Vec<IpNet> {
        let of = |group: Group| group.rest(&nets(wanted), &nets(there)).addresses;
        Group::ALL.into_iter().flat_map(of).collect()
    }

    fn nets(text: &str) -> Vec<IpNet> {
        text.split_whitespace().map(|net| net.parse().expect("an address")).collect()
    }

    #[test]
    fn what_begins_the_order_stays_and_the_rest_is_set_again_behind_it() {
        let (a, b, c) = ("10.0.0.1/24", "10.0.0.2/24", "10.0.1.1/24");
        for (wanted, there, expected) in [
            (format!("{a} {b}"), format!("{a} {b}"), String::new()),
            (format!("{b} {a}"), format!("{a} {b}"), a.to_owned()),
            (format!("{a} {c} {b}"), format!("{a} {b}"), format!("{c} {b}")),
            // The kernel keeps the second of a subnet behind all firsts.
            (format!("{a} {b} {c}"), format!("{a} {c} {b}"), String::new()),
            (format!("{c} {a} {b}"), format!("{a} {c} {b}"), format!("{a} {b}")),
            (format!("{a} {b}"), String::new(), format!("{a} {b}")),
        ] {
            assert_eq!(rest(&wanted, &there), nets(&expected), "{wanted}; {there}");
        }
    }

    #[test]
    fn what_ends_the_order_of_ipv6_stays_and_the_rest_is_set_before_it() {
        let (a, b, l) = ("2001:db8::1/64", "2001:db8::2/64", "fe80::1/64");
        for (wanted, there, expected) in [
            (format!("{a} {b}"), format!("{a} {b}"), String::new()),
            (format!("{b} {a}"), format!("{a} {b}"), b.to_owned()),
            (format!("{a} {b}"), String::new(), format!("{b} {a}")),
            (format!("{l} {a}"), format!("{a} {l}"), String::new()),
        ] {
            assert_eq!(rest(&wanted, &there), nets(&expected), "{wanted}; {there}");
        }
    }
}
