//! Layer 3: between VLANs, over routed ports, over a gateway.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::host::Host;

use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 4] = [
    Scenario::new(
        "hosts in two VLANs reach each other through the switch by IPv4 and IPv6",
        Topology::Switch,
        between_vlans,
    ),
    Scenario::new(
        "routed ports reach each other and the VLANs by IPv4 and IPv6",
        Topology::Switch,
        routed_ports,
    ),
    Scenario::new("a route over a gateway host works by IPv4 and IPv6", Topology::Switch, over_a_gateway),
    Scenario::new(
        "routes and neighbours are shown as the kernel holds them",
        Topology::Switch,
        routes_are_shown,
    ),
];

const PINGS: u16 = 5;
const TRANSFER_BYTES: u64 = 10_000_000;
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(120);

/// Ping, then 10 MB by TCP, compared byte by byte.
fn reaches(from: &Host, to: &Host, address: IpAddr, seed: u64) -> Result<String> {
    from.ping_all_answered(address, PINGS)?;
    let moved = from
        .transfer(to, address, 5001, TRANSFER_BYTES, seed, TRANSFER_TIMEOUT)
        .with_context(|| format!("10 MB by TCP from {} to {address}", from.name()))?;
    let rate = moved.bytes as f64 * 8.0 / 1e6 / moved.duration.as_secs_f64();
    Ok(format!("10 MB to {address} at {rate:.0} Mbit/s\n"))
}

fn reaches_both_ways(from: &Host, to: &Host, seed: u64) -> Result<String> {
    Ok(reaches(from, to, to.ip(false)?, seed)? + &reaches(from, to, to.ip(true)?, seed)?)
}

/// A host on a routed port: address 2 of its network, the gateway is the switch.
pub(super) fn on_routed_port(lab: &Lab, port: u16, behind: Option<[&str; 2]>) -> Result<Host> {
    let gateways: [IpAddr; 2] = [format!("10.0.{port}.1").parse()?, format!("2001:db8:{port}::1").parse()?];
    lab.host(port, |config| {
        let mut config =
            config.address(&format!("10.0.{port}.2/24")).address(&format!("2001:db8:{port}::2/64"));
        for address in behind.into_iter().flatten() {
            config = config.address(address);
        }
        config.gateway(gateways[0]).gateway(gateways[1])
    })
}

fn between_vlans(lab: &Lab, run: &Run) -> Result<String> {
    let (a, b) = (lab.member(1, 10)?, lab.member(3, 20)?);
    reaches_both_ways(&a, &b, run.seed)
}

fn routed_ports(lab: &Lab, run: &Run) -> Result<String> {
    let (seven, eight) = (on_routed_port(lab, 7, None)?, on_routed_port(lab, 8, None)?);
    let mut detail = reaches_both_ways(&seven, &eight, run.seed)?;
    let member = lab.member(1, 10)?;
    detail += &reaches_both_ways(&member, &seven, run.seed)?;
    Ok(detail)
}

fn over_a_gateway(lab: &Lab, run: &Run) -> Result<String> {
    let gateway = on_routed_port(lab, 8, Some(["10.99.0.1/24", "2001:db8:99::1/64"]))?;
    let member = lab.member(1, 10)?;
    let behind: [IpAddr; 2] = ["10.99.0.1".parse()?, "2001:db8:99::1".parse()?];
    Ok(reaches(&member, &gateway, behind[0], run.seed)? + &reaches(&member, &gateway, behind[1], run.seed)?)
}

fn routes_are_shown(lab: &Lab, _: &Run) -> Result<String> {
    let seven = on_routed_port(lab, 7, None)?;
    seven.ping_until_answered("10.0.7.1".parse()?, Duration::from_secs(10))?;
    let routes = lab.show("routes")?;
    let route = |prefix: &str| {
        let found = routes.iter().find(|route| route["prefix"] == prefix && route["vrf"] == "");
        found.with_context(|| format!("`corten show routes` has no {prefix}"))
    };
    for (prefix, via, device) in
        [("10.99.0.0/24", "10.0.8.2", "swp8"), ("2001:db8:99::/64", "2001:db8:8::2", "swp8")]
    {
        let route = route(prefix)?;
        ensure!(
            route["protocol"] == "static" && route["wanted"] == true && route["kernel"] == true,
            "{prefix} is not a route of the document that the kernel holds: {route}"
        );
        let hop = &route["next_hops"][0];
        ensure!(hop["via"] == via && hop["device"] == device, "{prefix} goes elsewhere: {route}");
    }
    let shared = route("10.98.0.0/24")?;
    let hops = shared["next_hops"].as_array().map_or(0, Vec::len);
    ensure!(hops == 2, "10.98.0.0/24 has {hops} next hops instead of two: {shared}");
    let connected = route("10.0.7.0/24")?;
    ensure!(connected["protocol"] == "kernel", "10.0.7.0/24 is not the kernel's own: {connected}");

    let neighbours = lab.show("neighbours")?;
    let mac = seven.mac().to_string();
    let known = neighbours
        .iter()
        .any(|row| row["address"] == "10.0.7.2" && row["mac"] == mac.as_str() && row["device"] == "swp7");
    ensure!(known, "`corten show neighbours` does not have 10.0.7.2 at {mac} on swp7");
    Ok(String::new())
}
