//! Differences of netd's own routes: one walk through two sorted tables.

use std::cmp::Ordering;
use std::mem::discriminant;

use super::network::{Network, Route};
use super::step::{Action, Step};
use super::usable::Usable;

pub(super) fn diff(desired: &Network, actual: &Network, usable: &Usable<'_>, steps: &mut Vec<Step>) {
    debug_assert!(desired.routes.is_sorted_by(|a, b| a.key < b.key), "routes are not sorted");
    debug_assert!(actual.routes.is_sorted_by(|a, b| a.key < b.key), "routes are not sorted");
    let (mut want, mut found) = (desired.routes.iter().peekable(), actual.routes.iter().peekable());
    loop {
        let order = match (want.peek(), found.peek()) {
            (Some(a), Some(b)) => a.key.cmp(&b.key),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let want = if order == Ordering::Greater { None } else { want.next() };
        let found = if order == Ordering::Less { None } else { found.next() };
        change(want, found, usable, steps);
    }
}

fn change(want: Option<&Route>, found: Option<&Route>, usable: &Usable<'_>, steps: &mut Vec<Step>) {
    let Some(key) = want.or(found).map(|route| route.key) else { return };
    let target = want.and_then(|want| usable.target(want));
    let old = found.map(|found| found.target.clone());
    if target == old {
        return;
    }
    let mut step = |from, to| steps.push(Step::reversible(Action::Route { key, from, to }));
    match (old, target) {
        // Not in place across kinds: IPv6 would keep both.
        (Some(old), Some(target)) if discriminant(&old) != discriminant(&target) => {
            step(Some(old), None);
            step(None, Some(target));
        }
        (old, target) => step(old, target),
    }
}
