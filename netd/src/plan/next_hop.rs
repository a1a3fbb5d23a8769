//! Differences of next hop objects.

use super::network::{Network, NextHopObject};
use super::step::{Action, Step};
use super::usable::Usable;

pub(super) fn diff(desired: &Network, actual: &Network, usable: &Usable<'_>, steps: &mut Vec<Step>) {
    let wanted = |id| desired.next_hops.get(id).and_then(|object| usable.next_hop(*id, object));
    let mut step = |id, from, to| steps.push(Step::reversible(Action::NextHop { id, from, to }));
    for (id, found) in &actual.next_hops {
        match wanted(id) {
            // The kernel turns no single next hop into a group, nor one family into the other: the old one
            // goes first, and a later round makes the new one.
            Some(want) if is_like(found, &want) => {}
            _ => step(*id, Some(found.clone()), None),
        }
    }
    for id in desired.next_hops.keys() {
        let Some(want) = wanted(id) else { continue };
        match actual.next_hops.get(id) {
            None => step(*id, None, Some(want)),
            Some(found) if *found == want || !is_like(found, &want) => {}
            Some(found) => {
                let kept = kept_members(found, &want).filter(|kept| kept != found && *kept != want);
                let from = match kept {
                    Some(kept) => {
                        step(*id, Some(found.clone()), Some(kept.clone()));
                        kept
                    }
                    None => found.clone(),
                };
                step(*id, Some(from), Some(want));
            }
        }
    }
}

fn is_like(a: &NextHopObject, b: &NextHopObject) -> bool {
    match (a, b) {
        (NextHopObject::Group(_), NextHopObject::Group(_)) => true,
        (NextHopObject::Single { v6: a, .. }, NextHopObject::Single { v6: b, .. }) => a == b,
        _ => false,
    }
}

/// What a group has before and after, so that members that go are out before they are removed.
fn kept_members(found: &NextHopObject, want: &NextHopObject) -> Option<NextHopObject> {
    let (NextHopObject::Group(found), NextHopObject::Group(want)) = (found, want) else {
        return None;
    };
    let kept: Vec<_> = found.iter().filter(|member| want.contains(member)).copied().collect();
    (!kept.is_empty()).then_some(NextHopObject::Group(kept))
}
