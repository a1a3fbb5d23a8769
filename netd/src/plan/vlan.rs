//! Differences of the VLANs of bridge ports and of the bridge itself.

use std::collections::BTreeSet;

use super::network::{LinkKind, Network, VlanTable};
use super::step::{Action, Step};

pub(super) fn diff(desired: &Network, actual: &Network, recreated: &BTreeSet<String>, steps: &mut Vec<Step>) {
    let empty = VlanTable::default();
    for (name, want) in &desired.links {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        // A port that changes its master loses its VLANs with the old one.
        let moved = found.is_some_and(|found| {
            found.master != want.master
                || found.master.as_ref().is_some_and(|master| recreated.contains(master))
        });
        let table = found.filter(|_| !moved).map_or(&empty, |found| &found.vlans);
        let on_bridge = matches!(want.kind, LinkKind::Bridge { .. });
        if moved && let Some(found) = found {
            delete_all(name, &found.vlans, on_bridge, steps);
        }
        change(name, &want.vlans, table, on_bridge, steps);
    }
}

/// Takes all VLANs from a port that leaves its bridge, so that undoing gives them back.
fn delete_all(name: &str, found: &VlanTable, on_bridge: bool, steps: &mut Vec<Step>) {
    for (first, last, membership) in found.ranges() {
        let port = name.to_owned();
        steps.push(Step {
            action: Action::DeleteVlans { port: port.clone(), first, last, on_bridge },
            inverse: vec![Action::AddVlans { port, first, last, membership, on_bridge }],
        });
    }
}

fn change(name: &str, want: &VlanTable, found: &VlanTable, on_bridge: bool, steps: &mut Vec<Step>) {
    let port = || name.to_owned();
    let (mut gone, mut new, mut altered) = (VlanTable::default(), VlanTable::default(), VlanTable::default());
    for (id, membership) in &found.0 {
        if !want.0.contains_key(id) {
            gone.0.insert(*id, *membership);
        }
    }
    for (id, membership) in &want.0 {
        match found.0.get(id) {
            None => new.0.insert(*id, *membership),
            Some(same) if same == membership => continue,
            Some(_) => altered.0.insert(*id, *membership),
        };
    }
    delete_all(name, &gone, on_bridge, steps);
    for (first, last, membership) in altered.ranges() {
        let mut old = VlanTable::default();
        old.0.extend(found.0.range(first..=last).map(|(id, membership)| (*id, *membership)));
        let restore =
            |(first, last, membership)| Action::AddVlans { port: port(), first, last, membership, on_bridge };
        steps.push(Step {
            action: Action::AddVlans { port: port(), first, last, membership, on_bridge },
            inverse: old.ranges().into_iter().map(restore).collect(),
        });
    }
    for (first, last, membership) in new.ranges() {
        steps.push(Step {
            action: Action::AddVlans { port: port(), first, last, membership, on_bridge },
            inverse: vec![Action::DeleteVlans { port: port(), first, last, on_bridge }],
        });
    }
}
