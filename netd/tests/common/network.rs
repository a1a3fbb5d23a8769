//! What a configuration asks for on a switch of which nothing else is known.

use std::collections::{BTreeMap, BTreeSet};

use netd::desired::{self, Inputs};
use netd::plan::Network;
use netd_api::config::Config;

/// The desired network of a switch with these ports.
pub fn desired(config: &Config, ports: &BTreeSet<String>) -> Network {
    desired::network(&Inputs {
        config,
        ports,
        permanent_macs: &BTreeMap::new(),
        original_modes: &BTreeMap::new(),
        set_modes: &BTreeMap::new(),
        attachments: &BTreeMap::new(),
        bridge_mac: "02:00:00:00:00:01",
        objects: true,
    })
}
