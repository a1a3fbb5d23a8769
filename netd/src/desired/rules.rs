//! Routing rules: an address that is local to one VRF must not capture packets of another (RFC 4364, section 5), so the
//! table of the VRF comes before that of local addresses.

use netd_api::config::Config;

use crate::plan::{Lookup, Network, Rule};

/// In both families, by preference. The kernel's own order has the local table first, at 0.
const RULES: [(u32, Lookup); 3] = [(1000, Lookup::L3mdev), (32_765, Lookup::Local), (32_766, Lookup::Main)];

pub(super) fn add(config: &Config, network: &mut Network) {
    // Without VRFs there is none by VRF: some drivers of ASICs forward nothing any more once there is one (rocker).
    let has_vrfs = !config.vrfs.is_empty() || config.management.vrf.is_some();
    let rules = RULES.into_iter().filter(|(_, lookup)| has_vrfs || *lookup != Lookup::L3mdev);
    for (preference, lookup) in rules {
        network.rules.extend([false, true].map(|ipv6| Rule { ipv6, preference, lookup }));
    }
}
