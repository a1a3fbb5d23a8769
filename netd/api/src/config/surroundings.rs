//! What next hops and devices are looked up in, and what is said of those that are not found.
//!
//! Looking up costs little and is done for everything; what is wrong is put into words only where it is told.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::document::shortened;
use super::interfaces::{Interface, Subnet};
use super::layer3::is_link_local;
use super::model::Config;
use super::reach::{Lead, Reach};
use super::reader::{list, nearest};

/// VRFs, interfaces, subnets and own addresses of a configuration.
pub(super) struct Surroundings<'c> {
    config: &'c Config,
    by_name: BTreeMap<&'c str, &'c Interface<'c>>,
    reach: Reach<'c, Arc<str>>,
    /// The switch's own addresses by VRF, with their interfaces.
    own: HashMap<(Option<&'c str>, IpAddr), &'c Arc<str>>,
}

impl<'c> Surroundings<'c> {
    pub(super) fn new(
        config: &'c Config,
        interfaces: &'c [Interface<'c>],
        subnets: &'c [Subnet<'c>],
    ) -> Self {
        let leading = subnets.iter().filter(|subnet| subnet.leads_on);
        Surroundings {
            config,
            by_name: interfaces.iter().map(|interface| (&*interface.name, interface)).collect(),
            reach: Reach::new(leading.map(|subnet| (subnet.vrf, subnet.net, Arc::clone(&subnet.device)))),
            own: subnets.iter().map(|subnet| ((subnet.vrf, subnet.net.addr()), &subnet.device)).collect(),
        }
    }

    /// Whether a VRF is defined.
    pub(super) fn has_vrf(&self, name: &str) -> bool {
        self.config.vrfs.contains_key(name)
    }

    /// The interface of the switch that has an address.
    pub(super) fn owner(&self, vrf: Option<&str>, address: IpAddr) -> Option<Arc<str>> {
        self.own.get(&(vrf, address)).map(|owner| Arc::clone(owner))
    }

    /// The interface of a name, if other hosts are reached through it.
    pub(super) fn device(&self, name: &str) -> Option<&Interface<'c>> {
        self.by_name.get(name).copied().filter(|interface| interface.leads_on)
    }

    /// The same, if it is in a VRF.
    pub(super) fn device_in(&self, name: &str, vrf: Option<&str>) -> Option<Arc<str>> {
        let interface = self.device(name).filter(|interface| interface.layer3.vrf.as_deref() == vrf)?;
        Some(Arc::clone(&interface.name))
    }

    /// The interface whose subnet holds the address. A link-local one says nothing of its link.
    pub(super) fn device_to(&self, address: IpAddr, vrf: Option<&str>) -> Option<Arc<str>> {
        self.subnet_of(address, vrf).map(|subnet| subnet.by)
    }

    /// The subnet that holds the address, with its interface.
    pub(super) fn subnet_of(&self, address: IpAddr, vrf: Option<&str>) -> Option<Lead<Arc<str>>> {
        if address.is_ipv6() && is_link_local(address) { None } else { self.reach.find(vrf, address) }
    }

    /// Whether an address is in a subnet of another interface than a device. Such a next hop of IPv6 the kernel does not
    /// take (`ip6_route_check_nh_onlink`); of IPv4 it does.
    pub(super) fn is_elsewhere(&self, address: IpAddr, vrf: Option<&str>, device: &str) -> bool {
        address.is_ipv6() && self.device_to(address, vrf).is_some_and(|other| *other != *device)
    }

    /// What is to be said of a VRF that is not defined.
    pub(super) fn explain_vrf(&self, name: &str) -> String {
        let shown = shortened(name);
        let near = nearest(name, self.config.vrfs.keys().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("VRF `{shown}` is not defined: add [vrfs.{shown}] with its table{near}")
    }

    /// What is to be said of a device that is none.
    pub(super) fn explain_device(&self, name: &str) -> String {
        let names =
            || self.by_name.values().filter(|interface| interface.leads_on).map(|interface| &*interface.name);
        let help = match (nearest(name, names()), names().next()) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, Some(_)) => format!("interfaces with addresses or a VRF: {}", list(names().take(12))),
            (None, None) => "no interface has addresses or a VRF".to_owned(),
        };
        format!("`{}` is no routed port, LAG, subinterface or VLAN interface; {help}", shortened(name))
    }

    /// What is to be said of a route's device that is none, or in another VRF.
    pub(super) fn explain_device_in(&self, name: &str, vrf: Option<&str>) -> String {
        match self.device(name) {
            None => self.explain_device(name),
            Some(interface) => {
                let own = interface.layer3.vrf.as_deref();
                format!("{} is in {}, the route in {}", shortened(name), show(own), show(vrf))
            }
        }
    }

    /// What is to be said of a next hop without an interface, or with another than its own.
    pub(super) fn explain_next_hop(&self, address: IpAddr, vrf: Option<&str>, dev: Option<&str>) -> String {
        if let Some(owner) = self.owner(vrf, address) {
            return format!("next hop {address} is the switch's own address, on {owner}");
        }
        if let (Some(dev), Some(other)) = (dev, self.device_to(address, vrf)) {
            return format!(
                "next hop {address} is in a subnet of {other}, so it is not reached by {}",
                shortened(dev)
            );
        }
        if address.is_ipv6() && is_link_local(address) {
            return format!("next hop {address} is link-local: say on which interface, with `dev`");
        }
        let vrf = show(vrf);
        format!(
            "next hop {address} is in no subnet of an interface of {vrf}: add the address, or say which interface leads there with `dev`"
        )
    }
}

fn show(vrf: Option<&str>) -> String {
    vrf.map_or("the default VRF".to_owned(), |vrf| format!("VRF `{vrf}`"))
}
