//! A small network for a first look: one host on every port, half of them in VLAN 10, half in VLAN 20.
//!
//! The hosts answer ARP, ping and HTTP and ping each other now and then, so that the switch has learned
//! addresses and moving counters to show.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::frame::Mac;
use crate::host::{Host, HostConfig};
use crate::machine::{Asic, Vm};
use crate::random::Random;

/// Name of the demo's user, who is an administrator.
pub const USER: &str = "demo";
/// Password of that user on the serial console.
pub const PASSWORD: &str = "demo";
/// SHA-512 crypt hash of [`PASSWORD`].
const PASSWORD_HASH: &str =
    "$6$cortendemo$QjE0HKV6Uh8F4VRras4Ku/Q/nlPNbU00WhGMo2bZDMN1f/xIoZbQMcTxbAmsWWDa2dR0q.jkzfeHZdVObrKxC/";

/// The VLANs of the demo.
const VLANS: [u8; 2] = [10, 20];
/// Hosts have the addresses from this one on.
const FIRST_HOST: u8 = 100;
/// Pause between two pings of the demo.
const PING_INTERVAL: Duration = Duration::from_millis(400);

/// The configuration of a switch with so many front-panel ports. mgmt0 is in a VRF of its own, but where the driver of
/// the ports cannot bear one.
pub fn config(ports: u16, asic: Asic) -> String {
    let vrf = match asic {
        Asic::Rocker => "",
        _ => "vrf = \"mgmt\"\n",
    };
    let mut text = format!(
        "version = 1\n\n[system]\nhostname = \"demo\"\n\n[management]\naddress = \"dhcp\"\n{vrf}\n\
         [users.{USER}]\nrole = \"admin\"\nconsole_password = \"{PASSWORD_HASH}\"\n"
    );
    for (vlan, name) in VLANS.iter().zip(["servers", "clients"]) {
        text.push_str(&format!(
            "\n[vlans.{vlan}]\nname = \"{name}\"\naddresses = [\"10.0.{vlan}.1/24\", \"2001:db8:{vlan}::1/64\"]\n"
        ));
    }
    for port in 1..=ports {
        text.push_str(&format!(
            "\n[ports.swp{port}]\ndescription = \"demo host {port}\"\nvlan.access = {}\n",
            vlan_of(port, ports)
        ));
    }
    text
}

/// A running demo; it stops when dropped.
pub struct Demo {
    hosts: Arc<[Host]>,
    stop: Option<Sender<()>>,
    traffic: Option<JoinHandle<()>>,
}

/// Plugs a host into every port of a machine that runs [`config`].
pub fn plug(vm: &Vm) -> Result<Demo> {
    let ports = vm.ports();
    let hosts = (1..=ports)
        .map(|port| Host::start(vm.wire(port)?, host_config(port, ports)?))
        .collect::<Result<Arc<[_]>>>()?;
    let (stop, stopped) = channel();
    let pinging = Arc::clone(&hosts);
    let traffic = std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || make_traffic(&pinging, &stopped))
        .context("cannot start the demo's traffic")?;
    Ok(Demo { hosts, stop: Some(stop), traffic: Some(traffic) })
}

impl Demo {
    /// The hosts, in the order of their ports.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // The thread ends when the sender is gone.
        self.stop = None;
        if let Some(traffic) = self.traffic.take() {
            let _ = traffic.join();
        }
    }
}

fn vlan_of(port: u16, ports: u16) -> u8 {
    VLANS[usize::from(port > ports.div_ceil(2))]
}

/// Address of the host on a port: port numbers are small enough for one byte.
fn address_of(port: u16, ports: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, vlan_of(port, ports), FIRST_HOST + port as u8)
}

/// What the host on a port answers to HTTP.
pub fn page(port: u16, ports: u16) -> String {
    let (address, vlan) = (address_of(port, ports), vlan_of(port, ports));
    format!("Host {port} of the demo, {address}, behind swp{port} in VLAN {vlan}.\n")
}

fn host_config(port: u16, ports: u16) -> Result<HostConfig> {
    let (address, vlan) = (address_of(port, ports), vlan_of(port, ports));
    let gateway: Ipv6Addr = format!("2001:db8:{vlan}::1").parse().context("no address of a gateway")?;
    Ok(HostConfig::new(&format!("demo{port}"), Mac::of_host(port))
        .address(&format!("{address}/24"))
        .address(&format!("2001:db8:{vlan}::{port:x}00/64"))
        .gateway(Ipv4Addr::new(10, 0, vlan, 1))
        .gateway(gateway)
        .http(&page(port, ports)))
}

/// Lets the hosts ping each other, in their VLAN and across, until told to stop.
fn make_traffic(hosts: &[Host], stopped: &Receiver<()>) {
    let ports = hosts.len() as u16;
    let mut random = Random::new(u64::from(ports));
    let mut pick = || (random.next_u64() % u64::from(ports.max(1))) as u16;
    while stopped.recv_timeout(PING_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if ports < 2 {
            continue;
        }
        let (from, to) = (pick(), pick());
        let address = IpAddr::V4(address_of(to + 1, ports));
        // The switch may be starting, or its user may have taken the path away: nothing to report.
        let _ = hosts[usize::from(from)].ping(address, 1, Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_ports_are_in_each_vlan() {
        let vlans: Vec<u8> = (1..=5).map(|port| vlan_of(port, 5)).collect();
        assert_eq!(vlans, [10, 10, 10, 20, 20]);
        let text = config(5, Asic::Virtio);
        assert_eq!(text.matches("vlan.access = 20").count(), 2);
        assert!(text.contains("vrf = \"mgmt\"\n"), "{text}");
        assert!(text.contains("[ports.swp5]") && !text.contains("[ports.swp6]"));
    }
}
