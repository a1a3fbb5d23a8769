//! Kernel settings a switch needs, written once at start.

use std::fs;
use std::path::Path;

/// Setting (below /proc/sys/net), value, why.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("ipv4/ip_forward", "1", "a switch routes"),
    ("ipv6/conf/all/forwarding", "1", "a switch routes"),
    ("ipv4/fib_notify_on_flag_change", "1", "an acknowledgement is not hardware: tell when the ASIC has taken a route"),
    ("ipv6/fib_notify_on_flag_change", "1", "the same for IPv6"),
    ("ipv4/fib_multipath_hash_policy", "1", "ECMP by flow, ports included"),
    ("ipv6/fib_multipath_hash_policy", "1", "the same for IPv6"),
    ("ipv4/conf/all/ignore_routes_with_linkdown", "1", "a next hop without carrier is no way out"),
    ("ipv6/conf/all/ignore_routes_with_linkdown", "1", "the same for IPv6"),
    ("ipv6/conf/all/keep_addr_on_down", "1", "a port that goes down keeps its addresses"),
    ("ipv4/conf/all/arp_ignore", "1", "answer ARP only for addresses of the interface asked"),
    ("ipv4/conf/all/arp_announce", "2", "ask by ARP with an address of the subnet asked"),
    ("ipv4/conf/all/rp_filter", "0", "asymmetric paths are normal on a router"),
    ("ipv4/conf/default/rp_filter", "0", "asymmetric paths are normal on a router"),
    ("ipv4/conf/default/promote_secondaries", "1", "removing an address leaves the others of its subnet"),
    ("ipv4/conf/all/promote_secondaries", "1", "removing an address leaves the others of its subnet"),
];

/// Writes all settings. Answers those that could not be written, with the reason; a kernel without the
/// feature is no reason not to forward.
pub fn apply() -> Vec<String> {
    SETTINGS
        .iter()
        .filter_map(|(name, value, why)| {
            let path = Path::new("/proc/sys/net").join(name);
            let error = fs::write(&path, value).err()?;
            Some(format!("{} = {value} ({why}): {error}", path.display()))
        })
        .collect()
}
