//! All interfaces that may have addresses, their subnets, and which of these are in one another's way.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use super::layer3::is_link_local;
use super::model::{Config, Layer3, ManagementAddress, Place, PortRole, vlan_interface};
use super::reader::Reader;

/// An interface with addresses, by what concerns routing.
pub(super) struct Interface<'c> {
    pub(super) name: Arc<str>,
    pub(super) path: String,
    pub(super) layer3: &'c Layer3,
    /// Whether other hosts are reached through it: not so a loopback.
    pub(super) leads_on: bool,
}

/// All of them; the management port belongs to another manager and is not among them.
pub(super) fn interfaces(config: &Config) -> Vec<Interface<'_>> {
    let interface = |section: &str, name: &str, key: &str, layer3| {
        let (name, path) = (name.into(), format!("{section}.{key}"));
        Interface { name, path, layer3, leads_on: section != "loopbacks" }
    };
    let ethernets = config.ethernets().filter_map(|(name, ethernet)| match &ethernet.role {
        PortRole::Routed(layer3) => {
            let section = if config.lags.contains_key(name) { "lags" } else { "ports" };
            Some(interface(section, name, name, layer3))
        }
        _ => None,
    });
    let subinterfaces =
        config.subinterfaces.iter().map(|(name, sub)| interface("subinterfaces", name, name, &sub.layer3));
    let vlans = config.vlans.iter().filter(|(_, vlan)| vlan.has_interface());
    let vlans =
        vlans.map(|(id, vlan)| interface("vlans", &vlan_interface(*id), &id.to_string(), &vlan.layer3));
    let loopbacks =
        config.loopbacks.iter().map(|(name, loopback)| interface("loopbacks", name, name, &loopback.layer3));
    ethernets.chain(subinterfaces).chain(vlans).chain(loopbacks).collect()
}

/// A subnet on an interface.
pub(super) struct Subnet<'c> {
    pub(super) net: IpNet,
    pub(super) vrf: Option<&'c str>,
    pub(super) device: Arc<str>,
    pub(super) leads_on: bool,
    place: Place,
    path: String,
}

/// The subnets of all interfaces and of the management port, sorted by VRF and address.
pub(super) fn subnets<'c>(
    reader: &Reader<'_>,
    config: &'c Config,
    interfaces: &[Interface<'c>],
) -> Vec<Subnet<'c>> {
    let mut subnets = Vec::new();
    for interface in interfaces {
        for (index, net) in interface.layer3.addresses.iter().enumerate() {
            let path = format!("{}.addresses[{index}]", interface.path);
            let place = super::locate_in(&reader.places, &path).unwrap_or_default();
            let (vrf, device) = (interface.layer3.vrf.as_deref(), Arc::clone(&interface.name));
            subnets.push(Subnet { net: *net, vrf, device, leads_on: interface.leads_on, place, path });
        }
    }
    if let ManagementAddress::Static { addresses, .. } = &config.management.address {
        let vrf = config.management.vrf.as_ref().map(|vrf| vrf.name.as_str());
        let device: Arc<str> = "mgmt0".into();
        subnets.extend(addresses.iter().map(|net| {
            let path = "management.address".to_owned();
            let place = reader.places.get(&path).copied().unwrap_or(config.management.place);
            Subnet { net: *net, vrf, device: Arc::clone(&device), leads_on: false, place, path }
        }));
    }
    subnets.sort_by_key(|subnet| (subnet.vrf, subnet.net.trunc(), subnet.place));
    subnets
}

/// Refuses subnets of one VRF that overlap on different interfaces. Sorted by address, a subnet follows
/// those it lies in, so the ones still open suffice to compare with.
pub(super) fn check_overlaps(reader: &mut Reader<'_>, subnets: &[Subnet<'_>]) {
    let mut open: Vec<&Subnet<'_>> = Vec::new();
    let mut told = BTreeSet::new();
    for subnet in subnets.iter().filter(|subnet| !is_link_local(subnet.net.addr())) {
        open.retain(|other| other.vrf == subnet.vrf && other.net.contains(&subnet.net.trunc()));
        if let Some(other) = open.iter().find(|other| other.device != subnet.device) {
            // The one that comes later in the document is taken for the mistake.
            let in_order = (subnet.place, &subnet.path) < (other.place, &other.path);
            let (first, second) = if in_order { (subnet, *other) } else { (*other, subnet) };
            if told.insert((second.place, Arc::clone(&first.device))) {
                report_overlap(reader, first, second);
            }
        }
        // Of equal subnets one stands for all, or many equal ones would be compared each with each.
        if !open.iter().any(|other| other.net.trunc() == subnet.net.trunc() && other.device == subnet.device)
        {
            open.push(subnet);
        }
        open.truncate(256);
    }
}

fn report_overlap(reader: &mut Reader<'_>, first: &Subnet<'_>, second: &Subnet<'_>) {
    let vrf = second.vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"));
    let message = if first.place == second.place {
        format!("every port of the range would have {}: give each interface its own subnet", second.net)
    } else {
        format!(
            "{} overlaps {} of {} (line {}) in {vrf}: use another subnet, or another VRF",
            second.net, first.net, first.device, first.place.line
        )
    };
    reader.wrong(second.place, &second.path, message);
}
