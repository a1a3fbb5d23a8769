//! Differences of static forwarding entries.

use super::network::Network;
use super::step::{Action, Step};

pub(super) fn diff(desired: &Network, actual: &Network, steps: &mut Vec<Step>) {
    for (key, port) in &actual.fdb {
        if !desired.fdb.contains_key(key) {
            steps.push(Step {
                action: Action::DeleteFdb { key: key.clone(), port: port.clone() },
                inverse: vec![Action::AddFdb { key: key.clone(), port: port.clone() }],
            });
        }
    }
    for (key, port) in &desired.fdb {
        let found = actual.fdb.get(key);
        if found == Some(port) {
            continue;
        }
        let inverse = match found {
            Some(old) => Action::AddFdb { key: key.clone(), port: old.clone() },
            None => Action::DeleteFdb { key: key.clone(), port: port.clone() },
        };
        steps.push(Step {
            action: Action::AddFdb { key: key.clone(), port: port.clone() },
            inverse: vec![inverse],
        });
    }
}
