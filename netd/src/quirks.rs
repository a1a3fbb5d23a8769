//! What a driver of this switch cannot do though the kernel would accept it: refused before it harms.
//!
//! `rocker` of Linux 6.12 (drivers/net/ethernet/rocker): a VRF adds routing rules, on which the driver
//! gives up its IPv4 routes while it holds a spin lock that removing them takes again
//! (`ofdpa_fib4_abort`): the kernel hangs. A route without a device makes it follow a null pointer
//! (`ofdpa_fib4_add`).

use netd_api::config::Config;
use netd_api::config::model::{Place, RouteTarget};
use netd_api::diagnostic::Diagnostic;

use crate::platform::Device;

/// Diagnostics for settings that the drivers at hand cannot bear.
pub fn check(config: &Config, devices: &[Device]) -> Vec<Diagnostic> {
    if !devices.iter().any(|device| device.driver == "rocker") {
        return Vec::new();
    }
    let mut mistakes = Vec::new();
    let mut refuse = |place: Place, path: String, what: &str| {
        let message = format!("not supported by the rocker driver of this switch: {what}");
        mistakes.push(Diagnostic { line: place.line, column: place.column, path, message });
    };
    for (name, vrf) in &config.vrfs {
        refuse(vrf.place, format!("vrfs.{name}"), "VRFs (its driver hangs the kernel when one is made)");
    }
    if config.management.vrf.as_ref().is_some_and(|vrf| !vrf.defined) {
        let place = config.locate("management.vrf").unwrap_or_default();
        refuse(place, "management.vrf".to_owned(), "VRFs (its driver hangs the kernel when one is made)");
    }
    for (index, route) in config.routes.iter().enumerate() {
        let without_device = matches!(route.target, RouteTarget::Blackhole | RouteTarget::Unreachable);
        if without_device && route.prefix.addr().is_ipv4() {
            refuse(
                route.place,
                format!("routes[{index}]"),
                "IPv4 routes that lead nowhere (its driver crashes the kernel)",
            );
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_the_rocker_driver_is_refused_there_and_nowhere_else() {
        let document = "version = 1\n[management]\nvrf = \"mgmt\"\n[vrfs.blue]\ntable = 1001\n\
                        [[routes]]\nprefix = \"10.0.0.0/8\"\nblackhole = true\n\
                        [[routes]]\nprefix = \"10.0.0.0/16\"\nunreachable = true\n";
        let config = netd_api::config::parse(document).expect("a valid document");
        let device = |driver: &str| vec![Device { driver: driver.to_owned(), ..Device::default() }];
        assert_eq!(check(&config, &device("rocker")).len(), 4);
        assert_eq!(check(&config, &device("virtio_net")), Vec::new());
    }
}
