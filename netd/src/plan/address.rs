//! Differences of addresses.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::network::{Link, LinkKind, Network};
use super::step::{Action, Step};

pub(super) fn diff(desired: &Network, actual: &Network, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    for (name, found) in &actual.links {
        let want = desired.links.get(name);
        if want.is_none() && !(found.kind.is_made() && found.owned) {
            continue;
        }
        let kept = want.filter(|_| !recreated.contains(name)).map_or(&[][..], |want| &want.addresses);
        for address in found.addresses.iter().filter(|address| !kept.contains(address)) {
            steps.push(Step {
                action: Action::DeleteAddress { link: name.clone(), address: *address },
                inverse: vec![add(name, found, *address)],
            });
        }
    }
    for (name, want) in &desired.links {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        let present = |address: &IpNet| {
            found.is_some_and(|found| {
                found.addresses.contains(address) || found.foreign_addresses.contains(address)
            })
        };
        for address in want.addresses.iter().filter(|address| !present(address)) {
            steps.push(Step {
                action: add(name, want, *address),
                inverse: vec![Action::DeleteAddress { link: name.clone(), address: *address }],
            });
        }
    }
}

fn add(name: &str, link: &Link, address: IpNet) -> Action {
    // A loopback has no neighbours to ask, and must serve as a source at once.
    let detect_duplicates = link.kind != LinkKind::Dummy;
    Action::AddAddress { link: name.to_owned(), address, detect_duplicates }
}
