//! Differences of static entries: forwarding, multicast groups, neighbours.

use std::collections::BTreeMap;

use super::network::Network;
use super::step::{Action, Step};
use super::usable::Usable;

pub(super) fn diff(desired: &Network, actual: &Network, usable: &Usable<'_>, steps: &mut Vec<Step>) {
    let fdb = desired.fdb.iter().filter(|(_, port)| usable.has_link(port));
    entries(fdb, &actual.fdb, steps, |key, from, to| Action::Fdb { key, from, to });
    let neighbours = desired.neighbours.iter().filter(|(key, _)| usable.sends(&key.device));
    entries(neighbours, &actual.neighbours, steps, |key, from, to| Action::Neighbour { key, from, to });
    let wanted = |port: &str| usable.has_link(port);
    for key in actual.mdb.iter().filter(|key| !(desired.mdb.contains(key) && wanted(&key.port))) {
        steps.push(Step::reversible(Action::Mdb { key: key.clone(), add: false }));
    }
    for key in desired.mdb.iter().filter(|key| wanted(&key.port) && !actual.mdb.contains(key)) {
        steps.push(Step::reversible(Action::Mdb { key: key.clone(), add: true }));
    }
}

fn entries<'a, K: Ord + Clone + 'a>(
    want: impl Iterator<Item = (&'a K, &'a String)>,
    found: &BTreeMap<K, String>,
    steps: &mut Vec<Step>,
    action: impl Fn(K, Option<String>, Option<String>) -> Action,
) {
    let want: BTreeMap<&K, &String> = want.collect();
    for (key, old) in found.iter().filter(|(key, _)| !want.contains_key(key)) {
        steps.push(Step::reversible(action(key.clone(), Some(old.clone()), None)));
    }
    for (key, value) in want {
        let old = found.get(key);
        if old != Some(value) {
            steps.push(Step::reversible(action(key.clone(), old.cloned(), Some(value.clone()))));
        }
    }
}
