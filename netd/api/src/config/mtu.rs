//! MTUs that follow from those of others: of VLAN interfaces, subinterfaces and tunnels.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Config, PortRole, Route, Subinterface, Vxlan, vlan_interface};
use super::underlay::Underlay;

/// MTU in bytes of a port whose configuration says nothing.
pub const DEFAULT_MTU_BYTES: u32 = 1500;
/// Least MTU of a link with IPv6 (RFC 8200, section 5). Below it the kernel keeps no IPv6 device on the link.
pub const IPV6_MTU_BYTES: u32 = 1280;
/// Least MTU of a link with IPv4 (RFC 791, section 3.2).
pub(super) const IPV4_MTU_BYTES: u32 = 68;
/// Bytes that VXLAN adds to the payload of an Ethernet frame, its header included (RFC 7348, section 5).
const VXLAN_OVERHEAD: u32 = 14 + 8 + 8;

/// An MTU, and the port or LAG that makes it so; `None` where nothing but the default does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu<'c> {
    /// In bytes.
    pub bytes: u32,
    /// Name of the port or LAG.
    pub of: Option<&'c str>,
}

impl<'c> Mtu<'c> {
    const DEFAULT: Mtu<'static> = Mtu { bytes: DEFAULT_MTU_BYTES, of: None };

    /// The narrower of two.
    pub(super) fn min(self, other: Mtu<'c>) -> Mtu<'c> {
        if other.bytes < self.bytes { other } else { self }
    }
}

/// The MTUs of a configuration.
pub struct Mtus<'c> {
    config: &'c Config,
    /// The narrowest port or LAG in each VLAN, by VLAN id.
    ports: Vec<Option<Mtu<'c>>>,
    /// Of tunnels, by name.
    tunnels: BTreeMap<&'c str, Mtu<'c>>,
    tunnel_of_vlan: BTreeMap<u16, &'c str>,
}

impl<'c> Mtus<'c> {
    /// Works out the MTUs. `routes` are those of the configuration; only ports that are `present` count.
    pub fn new(config: &'c Config, routes: &[Route], present: impl Fn(&str) -> bool) -> Mtus<'c> {
        let mut ports = vec![None; 4095];
        for (name, ethernet) in config.ethernets() {
            let PortRole::Bridged(port) = &ethernet.role else { continue };
            if config.ports.contains_key(name) && !present(name) {
                continue;
            }
            let own = Mtu { bytes: ethernet.mtu_bytes.unwrap_or(DEFAULT_MTU_BYTES), of: Some(name) };
            let tagged = port.vlans.tagged.iter().flat_map(|range| range.first..=range.last);
            for id in tagged.chain(port.vlans.untagged) {
                if let Some(narrowest) = ports.get_mut(usize::from(id)) {
                    *narrowest = Some(narrowest.map_or(own, |known: Mtu<'c>| known.min(own)));
                }
            }
        }
        let mut mtus = Mtus { config, ports, tunnels: BTreeMap::new(), tunnel_of_vlan: BTreeMap::new() };
        if !config.vxlans.is_empty() {
            mtus.add_tunnels(routes);
        }
        mtus
    }

    /// A tunnel may lead out by the VLAN of another tunnel, which is worked out before, by its ports alone.
    fn add_tunnels(&mut self, routes: &[Route]) {
        let config = self.config;
        let underlay = Underlay::new(config, routes);
        let egress: Vec<_> = config.vxlans.values().map(|vxlan| underlay.devices(vxlan)).collect();
        let inside = |mtus: &Mtus<'c>| -> BTreeMap<&'c str, Mtu<'c>> {
            let tunnels = config.vxlans.iter().zip(&egress);
            tunnels.map(|((name, vxlan), devices)| (name.as_str(), mtus.inside(vxlan, devices))).collect()
        };
        self.tunnels = inside(self);
        self.tunnel_of_vlan =
            config.vxlans.iter().map(|(name, vxlan)| (vxlan.vlan_id, name.as_str())).collect();
        self.tunnels = inside(self);
    }

    /// What fits into a tunnel that leads out by these devices.
    fn inside(&self, vxlan: &Vxlan, devices: &[Arc<str>]) -> Mtu<'c> {
        // A tunnel that leads through its own VLAN leads nowhere.
        let own = vlan_interface(vxlan.vlan_id);
        let others = devices.iter().filter(|device| ***device != *own);
        let outside = others.filter_map(|device| self.interface(device)).reduce(Mtu::min);
        let Mtu { bytes, of } = outside.unwrap_or(Mtu::DEFAULT);
        let header = if vxlan.local.is_ipv4() { 20 } else { 40 };
        Mtu { bytes: bytes.saturating_sub(header + VXLAN_OVERHEAD), of }
    }

    /// Of a tunnel.
    pub fn tunnel(&self, name: &str) -> Mtu<'c> {
        self.tunnels.get(name).copied().unwrap_or(Mtu::DEFAULT)
    }

    /// Of the interface of a VLAN: what fits through each port and tunnel in it, for a bridge does not fragment.
    pub fn vlan(&self, id: u16) -> Mtu<'c> {
        let ports = self.ports.get(usize::from(id)).copied().flatten();
        let tunnel = self.tunnel_of_vlan.get(&id).and_then(|name| self.tunnels.get(name)).copied();
        match (ports, tunnel) {
            (Some(ports), Some(tunnel)) => ports.min(tunnel),
            (one, other) => one.or(other).unwrap_or(Mtu::DEFAULT),
        }
    }

    /// Of a subinterface: its own, or that of its parent.
    pub fn subinterface(&self, subinterface: &Subinterface) -> Mtu<'c> {
        match subinterface.mtu_bytes {
            Some(bytes) => Mtu { bytes, of: None },
            None => self.ethernet(&subinterface.parent).unwrap_or(Mtu::DEFAULT),
        }
    }

    fn ethernet(&self, name: &str) -> Option<Mtu<'c>> {
        let port = self.config.ports.get_key_value(name).map(|(name, port)| (name, &port.ethernet));
        let lag = || self.config.lags.get_key_value(name).map(|(name, lag)| (name, &lag.ethernet));
        let (name, ethernet) = port.or_else(lag)?;
        Some(Mtu { bytes: ethernet.mtu_bytes.unwrap_or(DEFAULT_MTU_BYTES), of: Some(name) })
    }

    /// Of an interface by which other hosts are reached, by its name; `None` where there is none.
    pub fn interface(&self, name: &str) -> Option<Mtu<'c>> {
        if let Some(subinterface) = self.config.subinterfaces.get(name) {
            return Some(self.subinterface(subinterface));
        }
        let vlan = name.strip_prefix("vlan").and_then(|id| id.parse().ok());
        match vlan.filter(|id| self.config.vlans.contains_key(id)) {
            Some(id) => Some(self.vlan(id)),
            None => self.ethernet(name),
        }
    }
}
