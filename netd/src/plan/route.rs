//! Differences of netd's own routes.

use std::collections::BTreeMap;

use super::network::{Network, RouteKey, RouteTarget};
use super::step::{Action, Step};

pub(super) fn diff(desired: &Network, actual: &Network, steps: &mut Vec<Step>) {
    let by_key = |network: &Network| -> BTreeMap<RouteKey, RouteTarget> {
        network.routes.iter().map(|route| (route.key.clone(), route.target.clone())).collect()
    };
    let (want, found) = (by_key(desired), by_key(actual));
    for (key, target) in &found {
        match want.get(key) {
            Some(wanted) if same_shape(wanted, target) => {}
            _ => steps.push(Step {
                action: Action::DeleteRoute { key: key.clone(), target: target.clone() },
                inverse: vec![Action::AddRoute { key: key.clone(), target: target.clone() }],
            }),
        }
    }
    for (key, target) in want {
        let (key_again, old) = (key.clone(), found.get(&key));
        match old {
            Some(old) if old.matches(&target) => {}
            Some(old) if same_shape(old, &target) => steps.push(Step {
                action: Action::ReplaceRoute { key, target },
                inverse: vec![Action::ReplaceRoute { key: key_again, target: old.clone() }],
            }),
            _ => steps.push(Step {
                action: Action::AddRoute { key, target: target.clone() },
                inverse: vec![Action::DeleteRoute { key: key_again, target }],
            }),
        }
    }
}

/// Whether the kernel can replace one by the other in place: not across kinds (IPv6 keeps both then).
fn same_shape(a: &RouteTarget, b: &RouteTarget) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}
