//! Why a port forwards nothing, from its document down to its cable.

use netd_api::config::Config;
use netd_api::state::DISCARDING;

use crate::kernel::link::LinkRecord;

/// The first thing that keeps a port from forwarding; empty when nothing does. `kind` is that of the port's row.
pub(super) fn of(config: &Config, link: &LinkRecord, kind: &str) -> String {
    if !link.is_up() {
        return match kind {
            "front-panel" | "lag" => admin_down(config, &link.name),
            _ => "set down".to_owned(),
        };
    }
    if !link.has_carrier() {
        return "no carrier".to_owned();
    }
    if link.part_of == "bridge" && !link.forwards {
        return DISCARDING.to_owned();
    }
    String::new()
}

fn admin_down(config: &Config, name: &str) -> String {
    let Some(ethernet) = config.ethernet(name) else {
        return format!("the configuration has no [ports.{name}]");
    };
    if ethernet.enabled {
        return "down, though the configuration has it up".to_owned();
    }
    let kind = if config.lags.contains_key(name) { "lags" } else { "ports" };
    match config.locate(&format!("{kind}.{name}.enabled")).filter(|place| place.line > 0) {
        Some(place) => format!("enabled = false at line {}", place.line),
        None => "enabled = false".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::link;

    const UP: u32 = 1;
    const UP_WITH_CARRIER: u32 = 0x1_0001;

    #[test]
    fn port_says_why_it_forwards_nothing() {
        let config =
            netd_api::config::parse("version = 1\n[ports.swp1]\nenabled = false\n[ports.swp2]\nmtu = 9000\n")
                .expect("a valid document");
        for (name, flags, kind, said) in [
            ("swp1", 0, "front-panel", "enabled = false at line 3"),
            ("swp2", 0, "front-panel", "down, though the configuration has it up"),
            ("swp3", 0, "front-panel", "the configuration has no [ports.swp3]"),
            ("swp2", UP, "front-panel", "no carrier"),
            ("swp2", UP_WITH_CARRIER, "front-panel", ""),
            ("mgmt0", 0, "management", "set down"),
        ] {
            let link = LinkRecord { flags, ..link(1, name, "") };
            assert_eq!(of(&config, &link, kind), said, "{name} {flags:x}");
        }
    }

    #[test]
    fn bridge_port_that_the_spanning_tree_holds_back_says_so() {
        let config = Config::default();
        for (forwards, said) in [(false, DISCARDING), (true, "")] {
            let port = LinkRecord { flags: UP_WITH_CARRIER, forwards, ..link(1, "swp1", "") };
            let bridged = LinkRecord { part_of: "bridge".to_owned(), ..port.clone() };
            assert_eq!(of(&config, &bridged, "front-panel"), said);
            assert_eq!(of(&config, &port, "front-panel"), "");
        }
    }
}
