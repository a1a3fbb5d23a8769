//! Next hops of IPv6 against routes of the document that lead to them.
//!
//! The kernel looks a next hop up among all routes when it takes one (`ip6_route_check_nh`, `ip6_route_check_nh_onlink`,
//! Linux 6.12), and refuses it where another interface or another gateway leads there: so it would depend on which route
//! came first. Of IPv4 it asks for the subnets of interfaces alone. It looks among the routes there are: one that a change
//! takes away only after a next hop is set counts too, and this does not see it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::layer3::is_link_local;
use super::model::{NextHop, RouteTarget};
use super::next_hops::Resolved;
use super::reach::{Reach, number};
use super::routes::{Ways, WaysKind, Written, WrittenHop, WrittenRoute};
use super::surroundings::Surroundings;

/// A next hop that a route of the document leads to, in a way that the kernel does not take.
pub(super) struct Covered {
    /// Number of the ways it is one of.
    pub(super) ways: usize,
    /// Its position among them.
    pub(super) position: u16,
    /// Number of the route that leads there.
    pub(super) route: usize,
}

/// A next hop that is looked up.
struct Gateway<'w> {
    address: IpAddr,
    vrf: Option<&'w str>,
    device: &'w str,
    on_link: bool,
    ways: usize,
    position: u16,
}

/// All of them.
pub(super) fn covered(
    written: &Written<'_>,
    resolved: &[Resolved],
    surroundings: &Surroundings<'_>,
) -> Vec<Covered> {
    let ways = written.ways.iter().zip(resolved).enumerate();
    let gateways: Vec<Gateway<'_>> =
        ways.flat_map(|(number, (ways, resolved))| gateways(number, ways, resolved)).collect();
    let mut addresses: Vec<u128> = gateways.iter().map(|gateway| number(gateway.address)).collect();
    addresses.sort_unstable();
    let holds_any = |route: &WrittenRoute| {
        let (first, last) = (number(route.prefix.network()), number(route.prefix.broadcast()));
        addresses.get(addresses.partition_point(|address| *address < first)).is_some_and(|next| *next <= last)
    };
    // The default route is none that leads to a next hop.
    let counts = |route: &WrittenRoute| {
        route.installed && route.prefix.addr().is_ipv6() && route.prefix.prefix_len() > 0 && holds_any(route)
    };
    let mut leading: Vec<(usize, &WrittenRoute)> =
        written.routes.iter().enumerate().filter(|(_, route)| counts(route)).collect();
    // Of equal prefixes the last is taken: that of the best metric.
    leading.sort_by_key(|(_, route)| std::cmp::Reverse(route.metric));
    let vrf_of = |route: &WrittenRoute| resolved[route.ways as usize].vrf.as_deref();
    let by_vrf = Reach::new(leading.iter().map(|(number, route)| (vrf_of(route), route.prefix, *number)));
    // An interface is in one VRF, and stands for it.
    let by_interface = Reach::new(leading.iter().flat_map(|(number, route)| {
        let devices: BTreeSet<&str> = hops(&resolved[route.ways as usize]).map(|hop| &*hop.device).collect();
        devices.into_iter().map(|device| (Some(device), route.prefix, *number))
    }));
    let covered = gateways.iter().filter_map(|gateway| {
        let lead = match gateway.on_link {
            true => by_vrf.find(gateway.vrf, gateway.address),
            false => by_interface.find(Some(gateway.device), gateway.address),
        }?;
        let subnet = surroundings.subnet_of(gateway.address, gateway.vrf);
        // The subnet of an interface has the better metric.
        if subnet.is_some_and(|subnet| subnet.length >= lead.length) {
            return None;
        }
        let ways = written.routes[lead.by].ways as usize;
        // A route is not there yet when its own next hops are looked up.
        let refused = ways != gateway.ways && is_refused(gateway, &resolved[ways]);
        refused.then_some(Covered { ways: gateway.ways, position: gateway.position, route: lead.by })
    });
    covered.collect()
}

/// The next hops of ways with their interfaces.
fn hops(resolved: &Resolved) -> impl Iterator<Item = &NextHop> {
    match &resolved.target {
        RouteTarget::NextHops(hops) => hops.iter(),
        RouteTarget::Blackhole | RouteTarget::Unreachable => [].iter(),
    }
}

fn gateways<'w>(
    number: usize,
    ways: &'w Ways,
    resolved: &'w Resolved,
) -> impl Iterator<Item = Gateway<'w>> + 'w {
    let written = match &ways.kind {
        WaysKind::NextHops(written) => &written[..],
        WaysKind::Blackhole | WaysKind::Unreachable => &[],
    };
    let written = written.iter().filter(|hop| hop.address.is_ipv6() && !is_link_local(hop.address));
    written.filter_map(move |WrittenHop { address, position, .. }| {
        let hop = hops(resolved).find(|hop| hop.via == Some(*address))?;
        Some(Gateway {
            address: *address,
            vrf: resolved.vrf.as_deref(),
            device: &hop.device,
            on_link: hop.on_link,
            ways: number,
            position: *position,
        })
    })
}

/// Whether the kernel refuses a next hop to which these ways lead. One that is said to be on the link must be reached by
/// its interface, of several ways whichever the kernel takes; any other by its interface without a next hop.
fn is_refused(gateway: &Gateway<'_>, ways: &Resolved) -> bool {
    hops(ways).any(|hop| {
        let by_interface = *hop.device == *gateway.device;
        if gateway.on_link { !by_interface } else { by_interface && hop.via.is_some() }
    })
}

#[cfg(test)]
mod tests {
    /// What is wrong with routes of a switch that has two interfaces.
    fn problems(routes: &[&str]) -> Vec<String> {
        let mut document = "version = 1\n[ports.swp1]\naddresses = [\"2001:db8:1::1/64\", \"10.0.1.1/24\"]\n\
                            [ports.swp2]\naddresses = [\"2001:db8:2::1/64\", \"10.0.2.1/24\"]\n"
            .to_owned();
        for route in routes {
            let keys = route.split(", ").map(|key| format!("{key}\n"));
            document.extend(["[[routes]]\n".to_owned()].into_iter().chain(keys));
        }
        let problems = crate::config::parse(&document).err().unwrap_or_default();
        problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
    }

    /// A host of a subnet, and one on the link of an interface without one.
    const BY_HOST: &str = "prefix = \"2001:db8:a::/48\", via = \"2001:db8:1::5\"";
    const BY_LINK: &str = "prefix = \"2001:db8:b::/48\", via = \"2001:db8:9::5\", dev = \"swp2\"";

    #[test]
    fn next_hops_to_which_another_route_leads_are_refused() {
        for (other, path, prefix) in [
            ("prefix = \"2001:db8:9::/48\", via = \"2001:db8:1::9\"", "routes[1].via", "2001:db8:9::/48"),
            ("prefix = \"2001:db8:9::/64\", dev = \"swp1\"", "routes[1].via", "2001:db8:9::/64"),
            ("prefix = \"2001:db8:1::/80\", via = \"2001:db8:1::9\"", "routes[0].via", "2001:db8:1::/80"),
        ] {
            let found = problems(&[BY_HOST, BY_LINK, other]);
            assert_eq!(found.len(), 1, "{other}: {found:?}");
            let words = format!("is not on the link: the route to {prefix} in line 13 leads there");
            assert!(found[0].starts_with(path) && found[0].contains(&words), "{other}: {found:?}");
        }
        // A longer prefix by another interface hides none by this one, nor does a better metric.
        let near = "prefix = \"2001:db8:1::/72\", via = \"2001:db8:1::9\"";
        for other in [
            "prefix = \"2001:db8:1::/80\", via = \"2001:db8:2::9\"",
            "prefix = \"2001:db8:1::/72\", via = \"2001:db8:2::9\", distance = 2",
        ] {
            let found = problems(&[BY_HOST, near, other]);
            assert!(found.len() == 1 && found[0].starts_with("routes[0].via"), "{other}: {found:?}");
        }
    }

    #[test]
    fn next_hops_are_not_judged_where_addresses_are_missing() {
        let document = "version = 1\n[ports.swp1]\naddresses = [\"2001:db8:1::1/64\"]\n\
                        [ports.swp2]\naddresses = [\"2001:db8:9::1/\"]\n\
                        [[routes]]\nprefix = \"2001:db8::/32\"\nvia = \"2001:db8:1::9\"\n\
                        [[routes]]\nprefix = \"2001:db8:b::/48\"\nvia = \"2001:db8:9::5\"\ndev = \"swp2\"\n";
        let problems = crate::config::parse(document).expect_err("a mistake");
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, ["ports.swp2.addresses[0]"]);
    }

    #[test]
    fn next_hops_that_the_kernel_takes_are_not_refused() {
        for other in [
            "prefix = \"::/0\", via = \"2001:db8:1::9\"",
            "prefix = \"2001:db8:1::/64\", via = \"2001:db8:1::9\"",
            "prefix = \"2001:db8::/32\", via = \"2001:db8:2::9\"",
            "prefix = \"2001:db8:1::/80\", dev = \"swp1\"",
            "prefix = \"2001:db8:1::/80\", via = \"2001:db8:2::9\"",
            "prefix = \"2001:db8:9::/64\", dev = \"swp2\"",
            "prefix = \"2001:db8:9::/64\", unreachable = true",
            "prefix = \"2001:db8:1::5/128\", blackhole = true",
            "prefix = \"2001:db8:9::/48\", via = \"2001:db8:1::9\", distance = 255",
            "prefix = \"10.0.1.5/32\", via = \"10.0.2.9\"",
        ] {
            let hosts = [BY_HOST, BY_LINK, "prefix = \"10.9.0.0/16\", via = \"10.0.1.5\"", other];
            assert_eq!(problems(&hosts), [""; 0], "{other}");
        }
        let itself = "prefix = \"2001:db8:1::/80\", via = \"2001:db8:1::5\"";
        assert_eq!(problems(&[itself]), [""; 0]);
    }
}
