//! Differences of addresses.

use std::collections::BTreeSet;

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
        let present = |address: &IpNet| {
            found.is_some_and(|found| {
                found.addresses.contains(address) || found.foreign_addresses.contains(address)
            })
        };
        for address in want.addresses.iter().filter(|address| !present(address)) {
            let delete = Action::DeleteAddress { link: name.clone(), address: *address };
            steps.push(Step::new(add(name, want, *address), vec![delete]));
        }
    }
}

fn add(name: &str, link: &Link, address: IpNet) -> Action {
    // A loopback has no neighbours to ask, and must serve as a source at once.
    let detect_duplicates = link.kind != LinkKind::Dummy;
    Action::AddAddress { link: name.to_owned(), address, detect_duplicates }
}
