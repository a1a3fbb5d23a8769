//! The manual page switch.toml(5) says what the reader does.
#![allow(clippy::unwrap_used)] // the helpers of tests may fail loudly, too

use std::collections::BTreeSet;

use serde_json::Value;

const PAGE: &str = include_str!("../../rootfs/usr/share/man/man5/switch.toml.5");

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        found.extend(properties.keys().cloned());
    }
    match value {
        Value::Object(object) => object.values().for_each(|value| keys(value, found)),
        Value::Array(array) => array.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn every_key_has_its_entry() {
    let mut known = BTreeSet::new();
    keys(&netd_api::config::schema(), &mut known);
    assert!(known.len() > 30);
    for key in known {
        let entries = [".It Ic ", ".It Ic vlan.", ".It Ic pcp.", ".Ss [", ".Ss [[", ".Ic "]
            .map(|prefix| format!("{prefix}{key}"));
        let documented = PAGE.lines().any(|line| {
            entries.iter().any(|entry| {
                line.strip_prefix(entry.as_str()).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            })
        });
        assert!(documented, "switch.toml(5) has no entry for `{key}`");
    }
}

#[test]
fn every_named_service_has_its_entry() {
    for (name, _) in netd_api::config::CONTROL_PLANE_SERVICES {
        assert!(PAGE.contains(&format!("\n.It Li {name}\n")), "{name}");
    }
}

#[test]
fn the_example_is_valid() {
    let example = PAGE.split(".Bd -literal\n").nth(1).unwrap().split(".Ed").next().unwrap();
    if let Err(diagnostics) = netd_api::config::parse(example) {
        panic!("{diagnostics:?}");
    }
}
