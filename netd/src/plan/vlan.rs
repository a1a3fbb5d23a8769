//! Differences of the VLANs of bridge ports and of the bridge itself, and of the VLANs it is the querier of.

use std::collections::BTreeSet;

use super::network::{LinkKind, Network};
use super::step::{Action, Step};
use super::usable::Usable;
use super::vlan_table::{VlanRun, VlanTable};

pub(super) fn diff(
    desired: &Network,
    actual: &Network,
    usable: &Usable<'_>,
    recreated: &BTreeSet<String>,
    steps: &mut Vec<Step>,
) {
    let empty = VlanTable::default();
    for (name, want) in desired.links.iter().filter(|(name, _)| usable.has_link(name)) {
        let found = actual.links.get(name).filter(|_| !recreated.contains(name));
        // A port that changes its master loses its VLANs with the old one.
        let moved = found.is_some_and(|found| {
            found.master != want.master
                || found.master.as_ref().is_some_and(|master| recreated.contains(master))
        });
        let table = found.filter(|_| !moved).map_or(&empty, |found| &found.vlans);
        let port = Port { name, on_bridge: want.kind == LinkKind::Bridge };
        if moved && let Some(found) = found {
            // So that undoing gives them back.
            port.delete_all(&found.vlans, steps);
        }
        port.change(&want.vlans, table, steps);
        // A VLAN that nothing is in is forgotten, with its querier, and ports may leave theirs: what is new to the
        // bridge itself is told anew.
        let asked = found.map_or(&empty, |found| &found.queriers);
        let lasting = asked.missing_in(&want.vlans.missing_in(table));
        port.ask(&want.queriers, asked, &lasting, steps);
    }
}

struct Port<'a> {
    name: &'a str,
    on_bridge: bool,
}

impl Port<'_> {
    fn add(&self, run: &VlanRun) -> Action {
        let VlanRun { first, last, membership } = *run;
        Action::AddVlans { port: self.name.to_owned(), first, last, membership, on_bridge: self.on_bridge }
    }

    fn delete(&self, run: &VlanRun) -> Action {
        let VlanRun { first, last, .. } = *run;
        Action::DeleteVlans { port: self.name.to_owned(), first, last, on_bridge: self.on_bridge }
    }

    fn delete_all(&self, table: &VlanTable, steps: &mut Vec<Step>) {
        steps.extend(table.runs().iter().map(|run| Step::new(self.delete(run), vec![self.add(run)])));
    }

    /// From the VLANs the bridge is the querier of, not all of which may last, to those wanted.
    fn ask(&self, want: &VlanTable, found: &VlanTable, lasting: &VlanTable, steps: &mut Vec<Step>) {
        let querier = |run: &VlanRun, on: bool| {
            let bridge = self.name.to_owned();
            Step::reversible(Action::Querier { bridge, first: run.first, last: run.last, on })
        };
        steps.extend(found.missing_in(want).runs().iter().map(|run| querier(run, false)));
        steps.extend(want.missing_in(lasting).runs().iter().map(|run| querier(run, true)));
    }

    fn change(&self, want: &VlanTable, found: &VlanTable, steps: &mut Vec<Step>) {
        self.delete_all(&found.missing_in(want), steps);
        let altered = want.differing_from(found).shared_with(found);
        for run in altered.runs() {
            let mut piece = VlanTable::default();
            piece.insert(run.first, run.last, run.membership);
            let old = found.shared_with(&piece);
            steps.push(Step::new(self.add(run), old.runs().iter().map(|run| self.add(run)).collect()));
        }
        let new = want.missing_in(found);
        steps.extend(new.runs().iter().map(|run| Step::new(self.add(run), vec![self.delete(run)])));
    }
}
