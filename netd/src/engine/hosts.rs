//! What hosts are told of addresses, and what they say to them.

use std::collections::{BTreeMap, BTreeSet};

use crate::announce::schedule::{Conflict, Interface};
use crate::desired::BRIDGE;
use crate::engine::Engine;
use crate::engine::problems::Problem;
use crate::kernel::address::{self, AddressRecord};
use crate::kernel::link::LinkRecord;
use crate::kernel::wire::parse_mac;
use crate::kernel::{KernelError, link};
use crate::plan::{LinkKind, Network};

impl Engine {
    /// Tells hosts of addresses that are new to them. Answers which addresses of the switch other hosts use.
    pub(super) fn tell_hosts(&mut self) -> Result<Vec<Problem>, KernelError> {
        let links = link::dump(&mut self.connection, false)?;
        let addresses = address::dump(&mut self.connection)?;
        let forwarding = forwarding_ports(&links);
        let new = |link: &&LinkRecord| self.forwarding.get(&link.index) != Some(&link.carriers);
        let joined: Vec<&LinkRecord> =
            links.iter().filter(|link| forwarding.contains_key(&link.index)).filter(new).collect();
        let again = interfaces_of_vlans(&self.desired, &joined, &links);
        let own = links.iter().filter_map(|link| parse_mac(&link.mac)).collect();
        self.announcer.update(audible(&self.desired, &links, &addresses), &again, own);
        self.forwarding = forwarding;
        let name = |index: u32| links.iter().find(|link| link.index == index).map_or("", |link| &link.name);
        let unusable = addresses.iter().filter(|record| record.is_own() && record.is_duplicate());
        let unusable = unusable.map(|AddressRecord { index, address, .. }| {
            Problem::duplicate(name(*index), &address.to_string(), "", "")
        });
        let conflicts = self.announcer.conflicts();
        Ok(unusable.chain(conflicts.iter().map(describe)).collect())
    }
}

fn describe(conflict: &Conflict) -> Problem {
    let Conflict { interface, address, mac, defended } = conflict;
    let outcome =
        if *defended { ": the switch defends it" } else { ": hosts are not told that it is the switch's" };
    Problem::duplicate(interface, &address.to_string(), &format!(" ({mac})"), outcome)
}

/// Ports of the bridge that forward, by index, each with how often it got its carrier.
fn forwarding_ports(links: &[LinkRecord]) -> BTreeMap<u32, u32> {
    let forwards = |link: &&LinkRecord| link.part_of == "bridge" && link.forwards && link.has_carrier();
    links.iter().filter(forwards).map(|link| (link.index, link.carriers)).collect()
}

/// Indexes of the interfaces of VLANs these ports are in: hosts behind them did not hear what was told before.
fn interfaces_of_vlans(desired: &Network, ports: &[&LinkRecord], links: &[LinkRecord]) -> BTreeSet<u32> {
    let vlans = |port: &&LinkRecord| desired.links.get(&port.name).map(|link| &link.vlans);
    let runs = ports.iter().filter_map(vlans).flat_map(|vlans| vlans.runs());
    // Most ports are in the same ones.
    let runs: BTreeSet<(u16, u16)> = runs.map(|run| (run.first, run.last)).collect();
    let reached: BTreeSet<u16> = runs.into_iter().flat_map(|(first, last)| first..=last).collect();
    let is_reached = |link: &&LinkRecord| match desired.links.get(&link.name).map(|link| &link.kind) {
        Some(LinkKind::Vlan { parent, id }) if parent == BRIDGE => reached.contains(id),
        _ => false,
    };
    links.iter().filter(is_reached).map(|link| link.index).collect()
}

/// The switch's interfaces that hosts can hear, with the addresses in use there: netd's own, and those the kernel
/// gave them.
fn audible(desired: &Network, links: &[LinkRecord], addresses: &[AddressRecord]) -> Vec<Interface> {
    let on_wire = |link: &LinkRecord| {
        let kind = desired.links.get(&link.name).map(|link| &link.kind);
        matches!(kind, Some(LinkKind::Hardware | LinkKind::Lag { .. } | LinkKind::Vlan { .. }))
    };
    let mut in_use: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for record in addresses.iter().filter(|record| !record.is_tentative() && !record.is_duplicate()) {
        if record.is_own() || record.is_link_local() {
            in_use.entry(record.index).or_default().push(record.address);
        }
    }
    let audible = links.iter().filter(|link| on_wire(link) && link.has_carrier());
    let interface = |link: &LinkRecord| {
        Some(Interface {
            index: link.index,
            name: link.name.clone(),
            mac: parse_mac(&link.mac)?,
            carriers: link.carriers,
            addresses: in_use.remove(&link.index)?,
        })
    };
    audible.filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::kernel::route::OWN_PROTOCOL;
    use crate::plan::{Link, VlanMembership};

    fn record(index: u32, name: &str) -> LinkRecord {
        LinkRecord {
            index,
            name: name.to_owned(),
            mac: format!("02:00:00:00:00:{index:02x}"),
            flags: (libc::IFF_UP | libc::IFF_LOWER_UP) as u32,
            ..LinkRecord::default()
        }
    }

    fn address(index: u32, address: &str, protocol: u8, flags: u32) -> AddressRecord {
        AddressRecord { index, address: address.parse().unwrap(), protocol, scope: 0, flags }
    }

    fn desired() -> Network {
        let vlan = |id| Link::new(LinkKind::Vlan { parent: BRIDGE.to_owned(), id });
        let mut port = Link::new(LinkKind::Hardware);
        port.vlans.insert(10, 10, VlanMembership::default());
        let links = [
            ("swp1", port),
            ("swp2", Link::new(LinkKind::Hardware)),
            ("vlan10", vlan(10)),
            ("vlan20", vlan(20)),
            ("lo0", Link::new(LinkKind::Dummy)),
        ];
        Network { links: links.map(|(name, link)| (name.to_owned(), link)).into(), ..Network::default() }
    }

    #[test]
    fn what_hosts_hear_are_addresses_in_use_on_interfaces_with_a_carrier() {
        let mut links = [record(1, "swp2"), record(2, "vlan10"), record(3, "lo0"), record(4, "mgmt0")];
        links[1].flags = libc::IFF_UP as u32;
        let own = OWN_PROTOCOL;
        let addresses = [
            address(1, "192.0.2.1/24", own, 0),
            address(1, "2001:db8::1/64", own, libc::IFA_F_TENTATIVE),
            address(1, "2001:db8::2/64", own, libc::IFA_F_DADFAILED),
            address(1, "fe80::1/64", 0, 0),
            address(1, "198.51.100.1/24", 0, 0),
            address(2, "10.0.10.1/24", own, 0),
            address(3, "10.255.0.1/32", own, 0),
            address(4, "203.0.113.1/24", own, 0),
        ];
        let heard = audible(&desired(), &links, &addresses);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let found: Vec<String> = heard[0].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            (heard[0].name.as_str(), found),
            ("swp2", vec!["192.0.2.1/24".into(), "fe80::1/64".into()])
        );
    }

    #[test]
    fn a_port_that_forwards_has_the_interfaces_of_its_vlans_announced() {
        let port =
            LinkRecord { part_of: "bridge".to_owned(), forwards: true, carriers: 3, ..record(1, "swp1") };
        let blocked = LinkRecord { forwards: false, ..port.clone() };
        assert_eq!(forwarding_ports(std::slice::from_ref(&port)), [(1, 3)].into());
        assert_eq!(forwarding_ports(&[blocked]), BTreeMap::new());
        let links = [port.clone(), record(2, "vlan10"), record(3, "vlan20")];
        assert_eq!(interfaces_of_vlans(&desired(), &[&port], &links), [2].into());
        assert_eq!(interfaces_of_vlans(&desired(), &[], &links), BTreeSet::new());
    }
}
