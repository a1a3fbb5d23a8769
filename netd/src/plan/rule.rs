//! Differences of routing rules.

use super::network::Network;
use super::step::{Action, Step};

/// A network that says nothing of rules leaves them as they are: without any, nothing would be routed.
pub(super) fn diff(desired: &Network, actual: &Network, steps: &mut Vec<Step>) {
    if desired.rules.is_empty() {
        return;
    }
    let step = |rule: &_, add| Step::reversible(Action::Rule { rule: *rule, add });
    steps.extend(desired.rules.difference(&actual.rules).map(|rule| step(rule, true)));
    steps.extend(actual.rules.difference(&desired.rules).map(|rule| step(rule, false)));
}
