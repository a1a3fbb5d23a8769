//! Routing rules, the same whatever the configuration says: an address that is local to one VRF must not capture
//! packets of another (RFC 4364, section 5), so the table of the VRF comes before that of local addresses.

use crate::plan::{Lookup, Network, Rule};

/// In both families, by preference. The kernel's own order has the local table first, at 0.
const RULES: [(u32, Lookup); 3] = [(1000, Lookup::L3mdev), (32_765, Lookup::Local), (32_766, Lookup::Main)];

pub(super) fn add(network: &mut Network) {
    for ipv6 in [false, true] {
        network.rules.extend(RULES.map(|(preference, lookup)| Rule { ipv6, preference, lookup }));
    }
}
