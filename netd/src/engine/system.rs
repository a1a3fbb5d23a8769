//! What of a change is no step in the kernel's network: the rest of the system renders it from the running
//! document.

use std::collections::BTreeSet;

use netd_api::config::Config;
use netd_api::config::model::{Management, User};

use crate::policy;

/// What differs, a line each.
pub(super) fn differences(from: &Config, to: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if from.system.hostname != to.system.hostname {
        let name = to.system.hostname.as_deref().unwrap_or("the image's own");
        lines.push(format!("system: set host name {name}"));
    }
    if !same_management(&from.management, &to.management) {
        lines.push("management: change; sessions over it may end".to_owned());
    }
    let names: BTreeSet<&String> = from.users.keys().chain(to.users.keys()).collect();
    for name in names {
        match (from.users.get(name), to.users.get(name)) {
            (None, Some(_)) => lines.push(format!("user {name}: add")),
            (Some(_), None) => lines.push(format!("user {name}: delete")),
            (Some(old), Some(new)) => lines.extend(user_differences(name, old, new)),
            (None, None) => {}
        }
    }
    if from.routing.ecmp_hash != to.routing.ecmp_hash {
        lines.push("routing: change what spreads packets over next hops".to_owned());
    }
    if from.routing.most_neighbours != to.routing.most_neighbours {
        lines.push(format!("routing: make room for {} neighbours", to.routing.most_neighbours));
    }
    if from.system.most_event_states != to.system.most_event_states {
        lines.push(format!("system: keep states of {} objects for events", to.system.most_event_states));
    }
    if policy::ruleset(from) != policy::ruleset(to) {
        lines.push("control plane: replace the rules".to_owned());
    }
    lines
}

fn same_management(one: &Management, other: &Management) -> bool {
    (&one.address, &one.vrf, &one.dns, &one.ntp) == (&other.address, &other.vrf, &other.dns, &other.ntp)
}

fn user_differences(name: &str, old: &User, new: &User) -> Vec<String> {
    let mut lines = Vec::new();
    if old.role != new.role {
        lines.push(format!("user {name}: change role {} to {}", old.role, new.role));
    }
    if old.keys != new.keys {
        lines.push(format!("user {name}: change keys"));
    }
    if old.console_password != new.console_password {
        lines.push(format!("user {name}: change console password"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\"]";

    fn config(text: &str) -> Config {
        let text = text.replace("KEY", KEY);
        netd_api::config::parse(&format!("version = 1\n{text}")).expect("a valid document")
    }

    #[test]
    fn what_the_rest_of_the_system_takes_from_a_document_is_told() {
        let from = config(
            "[system]\nhostname = \"a\"\n[users.ana]\nrole = \"admin\"\nKEY\n[users.bo]\nrole = \"view\"\nKEY\n",
        );
        let to = config(
            "[users.ana]\nrole = \"view\"\nKEY\n[users.cy]\nrole = \"admin\"\nKEY\n[management]\naddress = \"dhcp\"\n\
             dns = [\"192.0.2.53\"]\n[routing]\necmp-hash = \"layer3\"\nmost-neighbours = 2048\n[system]\nmost-event-states = 64\n",
        );
        let expected = [
            "system: set host name the image's own",
            "management: change; sessions over it may end",
            "user ana: change role admin to view",
            "user bo: delete",
            "user cy: add",
            "routing: change what spreads packets over next hops",
            "routing: make room for 2048 neighbours",
            "system: keep states of 64 objects for events",
        ];
        let found = differences(&from, &to);
        assert_eq!(
            found.iter().filter(|line| !line.starts_with("control plane")).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn where_something_stands_in_the_document_is_no_difference() {
        let text = "[users.ana]\nrole = \"admin\"\nKEY\n";
        assert_eq!(differences(&config(text), &config(&format!("\n\n{text}"))), [""; 0]);
    }
}
