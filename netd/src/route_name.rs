//! What an operator calls a route: the same in a comparison, in drift, in alarms and after a change. Pure.

use std::fmt::Display;

use netd_api::config::Config;
use nix::libc;

use crate::plan::RouteKey;

/// What the kernel takes for an IPv6 route without a metric (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

/// `10.0.0.0/8 of VRF blue`; `None` is the default VRF.
pub fn in_vrf(prefix: impl Display, vrf: Option<&str>) -> String {
    match vrf {
        Some(vrf) => format!("{prefix} of VRF {vrf}"),
        None => prefix.to_string(),
    }
}

/// The same of a routing table, which the first of the configurations that knows it names. There is one such route in
/// hardware, whatever the metrics.
pub fn in_table(key: &RouteKey, configs: &[&Config]) -> String {
    let named = |config: &&Config| {
        let mut vrfs = config.vrfs.iter();
        vrfs.find(|(_, vrf)| vrf.table == key.table).map(|(name, _)| name.clone())
    };
    match configs.iter().find_map(named) {
        Some(vrf) => in_vrf(key.prefix, Some(&vrf)),
        None if key.table == u32::from(libc::RT_TABLE_MAIN) => in_vrf(key.prefix, None),
        None => format!("{} of table {}", key.prefix, key.table),
    }
}

/// The same with a metric that is not the default one.
pub fn of(key: &RouteKey, configs: &[&Config]) -> String {
    let name = in_table(key, configs);
    match (key.metric, key.prefix.addr().is_ipv6()) {
        (0, false) | (IPV6_METRIC, true) => name,
        (metric, _) => format!("{name} with metric {metric}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_is_named_by_its_vrf_and_a_metric_that_somebody_chose() {
        let config = netd_api::config::parse("version = 1\n[vrfs.blue]\ntable = 1001\n").expect("valid");
        let before = netd_api::config::parse("version = 1\n[vrfs.red]\ntable = 1002\n").expect("valid");
        for (table, prefix, metric, name, in_hardware) in [
            (254, "10.0.0.0/8", 0, "10.0.0.0/8", "10.0.0.0/8"),
            (254, "2001:db8::/32", 1024, "2001:db8::/32", "2001:db8::/32"),
            (254, "10.0.0.0/8", 5, "10.0.0.0/8 with metric 5", "10.0.0.0/8"),
            (1001, "10.0.0.0/8", 5, "10.0.0.0/8 of VRF blue with metric 5", "10.0.0.0/8 of VRF blue"),
            (1002, "10.0.0.0/8", 0, "10.0.0.0/8 of VRF red", "10.0.0.0/8 of VRF red"),
            (7, "10.0.0.0/8", 0, "10.0.0.0/8 of table 7", "10.0.0.0/8 of table 7"),
        ] {
            let key = RouteKey { table, prefix: prefix.parse().expect("a prefix"), metric };
            assert_eq!(of(&key, &[&config, &before]), name);
            assert_eq!(in_table(&key, &[&config, &before]), in_hardware);
        }
    }
}
