//! A host with a TCP/IP stack on a wire.
//!
//! Each host is one thread that runs smoltcp: it answers ARP, neighbour discovery and ping by itself.
//! Methods of [`Host`] run in the caller: they lock the stack, look, and wait for the next change. An
//! idle host sleeps until a frame that concerns it arrives.

mod device;
mod http;
pub mod linux;
mod ping;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::wire::{EthernetAddress, IpCidr};

pub use ping::PingReport;
pub use tcp::{Connection, Transfer};

use crate::frame::Mac;
use crate::random;
use crate::sync::{lock, wait_until};
use crate::wire::{Capture, Queue, Wire};
use device::WireDevice;

/// What a host is.
#[derive(Clone, Debug)]
pub struct HostConfig {
    name: String,
    mac: Mac,
    vlan_id: Option<u16>,
    addresses: Vec<String>,
    gateways: Vec<IpAddr>,
    http_page: Option<String>,
}

impl HostConfig {
    /// A host without addresses.
    pub fn new(name: &str, mac: Mac) -> Self {
        HostConfig {
            name: name.to_owned(),
            mac,
            vlan_id: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            http_page: None,
        }
    }

    /// Sends and expects frames with this 802.1Q tag.
    pub fn vlan(mut self, vlan_id: u16) -> Self {
        self.vlan_id = Some(vlan_id);
        self
    }

    /// Adds an address with prefix length (`10.0.10.2/24`), up to seven. An address of a network that
    /// others reach only through this host makes it a gateway to that network.
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// Sets the default gateway of the address's family.
    pub fn gateway(mut self, gateway: impl Into<IpAddr>) -> Self {
        self.gateways.push(gateway.into());
        self
    }

    /// Answers HTTP on port 80 with this text.
    pub fn http(mut self, page: &str) -> Self {
        self.http_page = Some(page.to_owned());
        self
    }
}

/// Counters of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Frames received that concern the host's VLAN.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
}

/// A running host; it stops when dropped.
pub struct Host {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    config: HostConfig,
    // Keeps the queue registered with the wire.
    _capture: Capture,
}

struct Shared {
    stack: Mutex<Stack>,
    progress: Condvar,
    queue: Arc<Queue>,
    stop: AtomicBool,
}

pub(crate) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    device: WireDevice,
    started: Instant,
    http: Option<http::Server>,
    next_port: u16,
}

/// What a look at the stack found.
enum Step<T> {
    /// Nothing to do until something changes.
    Wait,
    /// Something was handed to the stack, which must run.
    Worked,
    /// The answer.
    Done(T),
}

impl Host {
    /// Plugs a host into a wire.
    pub fn start(wire: &Wire, config: HostConfig) -> Result<Host> {
        let vlan_id = config.vlan_id;
        let capture = wire.capture_if(move |bytes| device::concerns(vlan_id, bytes));
        let device = WireDevice { wire: wire.clone(), queue: capture.queue(), vlan_id, received: 0, sent: 0 };
        let stack = Stack::new(&config, device)?;
        let shared = Arc::new(Shared {
            stack: Mutex::new(stack),
            progress: Condvar::new(),
            queue: capture.queue(),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("host-{}", config.name))
            .stack_size(256 * 1024)
            .spawn(move || for_thread.run())
            .context("cannot start the thread of a host")?;
        Ok(Host { shared, thread: Some(thread), config, _capture: capture })
    }

    /// Name, as error messages give it.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Hardware address.
    pub fn mac(&self) -> Mac {
        self.config.mac
    }

    /// First address of the family, without prefix length.
    pub fn ip(&self, v6: bool) -> Result<IpAddr> {
        let mut addresses = self
            .config
            .addresses
            .iter()
            .filter_map(|text| text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok()));
        addresses
            .find(|address| address.is_ipv6() == v6)
            .ok_or_else(|| anyhow!("host {} has no IPv{} address", self.name(), if v6 { 6 } else { 4 }))
    }

    /// Counters since the start.
    pub fn counters(&self) -> HostCounters {
        let stack = lock(&self.shared.stack);
        HostCounters { received: stack.device.received, sent: stack.device.sent }
    }

    /// Looks at the stack again and again, each time something changed, until the answer is there.
    fn wait<T>(
        &self,
        what: &str,
        deadline: Instant,
        mut look: impl FnMut(&mut Stack) -> Result<Step<T>>,
    ) -> Result<T> {
        let mut stack = lock(&self.shared.stack);
        loop {
            match look(&mut stack)? {
                Step::Done(answer) => {
                    self.shared.queue.nudge();
                    return Ok(answer);
                }
                Step::Worked => self.shared.queue.nudge(),
                Step::Wait => {}
            }
            if Instant::now() >= deadline {
                bail!("host {}: {what}: the deadline passed", self.name());
            }
            stack = wait_until(&self.shared.progress, stack, Some(deadline));
        }
    }

    /// Does something with the stack and lets it run.
    fn with<T>(&self, act: impl FnOnce(&mut Stack) -> T) -> T {
        let answer = act(&mut lock(&self.shared.stack));
        self.shared.queue.nudge();
        answer
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.queue.nudge();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut stack = lock(&self.stack);
            let delay = stack.poll();
            drop(stack);
            self.progress.notify_all();
            self.queue.wait(delay.map(|delay| Instant::now() + delay));
        }
    }
}

impl Stack {
    fn new(config: &HostConfig, mut device: WireDevice) -> Result<Stack> {
        let mut settings = Config::new(EthernetAddress(config.mac.0).into());
        settings.random_seed = random::from_system();
        let started = Instant::now();
        let mut interface = Interface::new(settings, &mut device, smoltcp::time::Instant::ZERO);
        for address in config.addresses.iter().cloned().chain([link_local(config.mac)]) {
            let parsed: IpCidr =
                address.parse().map_err(|()| anyhow!("{address:?} is not an address with prefix length"))?;
            let mut full = false;
            interface.update_ip_addrs(|addresses| full = addresses.push(parsed).is_err());
            if full {
                bail!("host {} has more addresses than the stack was built for", config.name);
            }
        }
        for gateway in &config.gateways {
            let routes = interface.routes_mut();
            let full = match gateway {
                IpAddr::V4(gateway) => routes.add_default_ipv4_route(*gateway).is_err(),
                IpAddr::V6(gateway) => routes.add_default_ipv6_route(*gateway).is_err(),
            };
            if full {
                bail!("host {} has more routes than the stack was built for", config.name);
            }
        }
        let mut sockets = SocketSet::new(Vec::new());
        let http = config.http_page.as_deref().map(|page| http::Server::new(&mut sockets, page));
        Ok(Stack { interface, sockets, device, started, http, next_port: 49_152 })
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(
            i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX),
        )
    }

    /// Runs the stack; answers when it wants to run again without a frame.
    fn poll(&mut self) -> Option<Duration> {
        let now = self.now();
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        if let Some(http) = &mut self.http
            && http.serve(&mut self.sockets)
        {
            self.interface.poll(now, &mut self.device, &mut self.sockets);
        }
        let now = self.now();
        self.interface.poll_delay(now, &self.sockets).map(Duration::from)
    }

    /// A local port that no socket of this host used lately.
    fn take_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == u16::MAX { 49_152 } else { port + 1 };
        port
    }
}

/// The modified EUI-64 link-local address (RFC 4291, appendix A) with prefix length.
fn link_local(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f);
    format!("{address}/64")
}

/// The smoltcp form of an address.
fn endpoint_address(address: IpAddr) -> smoltcp::wire::IpAddress {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::into(v4),
        IpAddr::V6(v6) => Ipv6Addr::into(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_follows_from_the_hardware_address() {
        assert_eq!(link_local(Mac([0x02, 0, 0x5e, 0x10, 0, 1])), "fe80::5eff:fe10:1/64");
    }
}
