//! A model of the kernel with the rules a plan must respect: what must exist first, what goes along with what,
//! and faults on demand.

#![allow(dead_code, clippy::unwrap_used)] // each test program uses a part; helpers of tests fail the test

pub mod disk;
#[path = "../common/random.rs"]
pub mod numbers;
pub mod oracle;
pub mod random;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ipnet::IpNet;
use netd::kernel::KernelError;
use netd::plan::{
    Action, Link, LinkKind, Network, NextHopId, NextHopObject, Offer, Route, RouteTarget, Setting, Settings,
    Value, VlanMembership, VlanTable, plan,
};
use netd::transaction::Backend;
use nix::errno::Errno;

/// Settings a port hears together.
const NEGOTIATED: [Setting; 3] = [Setting::Autoneg, Setting::Speed, Setting::FullDuplex];

/// The address of a LAG that lost its last member.
const RANDOM_MAC: &str = "02:00:00:00:00:98";

/// Picks the actions that fail, by their number from 1 and what they are.
pub type Faults = Box<dyn FnMut(usize, &Action) -> bool>;

/// Carries out actions on a [`Network`] in memory. Fails the actions `faults` picks, by their number from 1.
pub struct Model {
    pub network: Network,
    pub executed: usize,
    pub faults: Faults,
    /// What it says of an action that fails.
    pub words: &'static str,
    /// What ports that negotiate can, by their names, whether they do or not.
    can: BTreeMap<String, Offer>,
}

/// A model that outlives the engine, and that others change, too, as the kernel does.
#[derive(Clone)]
pub struct Kernel(pub Rc<RefCell<Model>>);

impl Kernel {
    /// A model that carries out everything.
    pub fn with(network: Network) -> Kernel {
        Kernel(Rc::new(RefCell::new(Model::new(network))))
    }
}

impl Backend for Kernel {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        self.0.borrow_mut().snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        self.0.borrow_mut().execute(actions)
    }
}

fn failed(errno: Errno, words: &str) -> KernelError {
    KernelError::with_words(errno, words)
}

impl Model {
    /// A model that carries out everything.
    pub fn new(network: Network) -> Model {
        let offers = network.links.iter().filter(|(_, link)| !link.offer.is_empty());
        let can = offers.map(|(name, link)| (name.clone(), link.offer.clone())).collect();
        Model { network, executed: 0, faults: Box::new(|_, _| false), words: "no room in hardware", can }
    }

    /// A model that refuses one action for good: the second time too, when what it needs is there.
    pub fn failing_at(network: Network, number: usize) -> Model {
        let mut refused: Option<(Action, u32)> = None;
        let faults = move |executed: usize, action: &Action| {
            if executed == number {
                refused = Some((action.clone(), 0));
            }
            match &mut refused {
                Some((same, times)) if same == action && *times < 2 => {
                    *times += 1;
                    true
                }
                _ => false,
            }
        };
        Model { faults: Box::new(faults), ..Model::new(network) }
    }

    fn link(&mut self, name: &str) -> Result<&mut Link, KernelError> {
        self.network.links.get_mut(name).ok_or_else(|| failed(Errno::ENODEV, &format!("no link {name}")))
    }

    /// What comes of it when a port is told these settings together: one that negotiates offers what they come to.
    fn negotiate(&mut self, name: &str, wish: &Settings) {
        let (Some(can), Some(link)) = (self.can.get(name), self.network.links.get_mut(name)) else { return };
        if !link.settings.get(&Setting::Autoneg).is_some_and(Value::is_on) {
            link.offer = Offer::default();
            return;
        }
        link.offer = can.chosen(wish.get(&Setting::Speed), wish.get(&Setting::FullDuplex));
        link.settings.insert(Setting::Speed, link.offer.as_wish());
        link.settings.remove(&Setting::FullDuplex);
    }

    fn is_bridge_port(&self, name: &str) -> bool {
        let master = self.network.links.get(name).and_then(|link| link.master.as_ref());
        master
            .and_then(|master| self.network.links.get(master))
            .is_some_and(|link| link.kind == LinkKind::Bridge)
    }

    fn create(
        &mut self,
        name: &str,
        kind: &LinkKind,
        settings: &BTreeMap<Setting, Value>,
    ) -> Result<(), KernelError> {
        if self.network.links.contains_key(name) {
            return Err(failed(Errno::EEXIST, name));
        }
        if let LinkKind::Vlan { parent, .. } = kind {
            self.link(parent)?;
        }
        let mut link = fresh(kind.clone());
        link.settings.extend(settings.clone());
        self.network.links.insert(name.to_owned(), link);
        Ok(())
    }

    fn delete(&mut self, name: &str) {
        self.network.links.remove(name);
        let orphans: Vec<String> = self
            .network
            .links
            .iter()
            .filter(|(_, link)| matches!(&link.kind, LinkKind::Vlan { parent, .. } if parent == name))
            .map(|(name, _)| name.clone())
            .collect();
        orphans.iter().for_each(|orphan| self.delete(orphan));
        let members: Vec<String> = self.members(name);
        members.iter().for_each(|member| self.release(member));
        self.forget_queriers();
        self.flush(name);
        self.network.fdb.retain(|_, port| port != name);
        self.network.mdb.retain(|key| key.port != name);
        self.network.neighbours.retain(|key, _| key.device != name);
        self.network.filters.retain(|key, _| key.link != name);
    }

    fn members(&self, master: &str) -> Vec<String> {
        let of = |link: &&Link| link.master.as_deref() == Some(master);
        self.network.links.iter().filter(|(_, link)| of(link)).map(|(name, _)| name.clone()).collect()
    }

    /// Takes a link from its master, with what it had there.
    fn release(&mut self, name: &str) {
        let Some(link) = self.network.links.get_mut(name) else { return };
        let master = link.master.take();
        link.vlans = Default::default();
        link.link_groups = Default::default();
        link.settings.retain(|setting, _| !setting.is_of_bridge_port());
        link.addresses.retain(|address| address.addr().is_ipv4());
        self.flush(name);
        self.network.fdb.retain(|_, port| port != name);
        self.network.mdb.retain(|key| key.port != name);
        self.forget_queriers();
        // A LAG gets another address with its last member.
        if let Some(master) = master.filter(|master| self.members(master).is_empty())
            && let Some(lag) = self.network.links.get_mut(&master)
            && matches!(lag.kind, LinkKind::Lag { .. })
        {
            lag.set(Setting::Mac, RANDOM_MAC);
        }
    }

    /// VLANs the kernel's bridge knows: its own and those of its ports.
    fn bridge_vlans(&self) -> VlanTable {
        let mut vlans = VlanTable::default();
        for link in self.network.links.values() {
            vlans.insert_all(&link.vlans);
        }
        vlans
    }

    /// A VLAN that nothing is in is gone, with its options.
    fn forget_queriers(&mut self) {
        let vlans = self.bridge_vlans();
        for link in self.network.links.values_mut().filter(|link| !link.queriers.is_empty()) {
            link.queriers = link.queriers.shared_with(&vlans);
        }
    }

    /// Takes next hops and routes that leave by a link, as the kernel does when the link goes down.
    fn flush(&mut self, device: &str) {
        let gone: Vec<NextHopId> = self
            .network
            .next_hops
            .iter()
            .filter(|(_, object)| object.device() == Some(device))
            .map(|(id, _)| *id)
            .collect();
        gone.into_iter().for_each(|id| self.remove_next_hop(id));
        let uses = |target: &RouteTarget| match target {
            RouteTarget::NextHops(hops) => hops.iter().any(|hop| hop.device == device),
            _ => false,
        };
        self.network.routes.retain(|route| !uses(&route.target));
        self.network.neighbours.retain(|key, _| key.device != device);
        if let Some(link) = self.network.links.get_mut(device) {
            link.held_routes.clear();
        }
    }

    fn remove_next_hop(&mut self, id: NextHopId) {
        self.network.next_hops.remove(&id);
        self.network.routes.retain(|route| route.target != RouteTarget::Object(id));
        let mut empty = Vec::new();
        for (group, object) in &mut self.network.next_hops {
            if let NextHopObject::Group(members) = object {
                members.retain(|(member, _)| *member != id);
                if members.is_empty() {
                    empty.push(*group);
                }
            }
        }
        empty.into_iter().for_each(|group| self.remove_next_hop(group));
    }

    fn set_next_hop(
        &mut self,
        id: NextHopId,
        from: Option<&NextHopObject>,
        to: Option<&NextHopObject>,
    ) -> Result<(), KernelError> {
        let Some(object) = to else {
            self.remove_next_hop(id);
            return Ok(());
        };
        if from.is_none() && self.network.next_hops.contains_key(&id) {
            return Err(failed(Errno::EEXIST, "next hop exists"));
        }
        match object {
            NextHopObject::Single { device, .. } => {
                if !self.link(device)?.carrier {
                    return Err(failed(Errno::ENETDOWN, "Carrier for nexthop device is down"));
                }
            }
            NextHopObject::Group(members) => {
                if members.is_empty()
                    || members.iter().any(|(id, _)| !self.network.next_hops.contains_key(id))
                {
                    return Err(failed(Errno::EINVAL, "Invalid nexthop id"));
                }
            }
        }
        self.network.next_hops.insert(id, object.clone());
        Ok(())
    }

    fn set_route(
        &mut self,
        key: netd::plan::RouteKey,
        from: Option<&RouteTarget>,
        to: Option<&RouteTarget>,
    ) -> Result<(), KernelError> {
        let there = self.network.routes.binary_search_by(|route| route.key.cmp(&key));
        match (there, to) {
            (Ok(place), None) => {
                self.network.routes.remove(place);
            }
            (Err(_), None) => return Err(failed(Errno::ESRCH, "no such route")),
            (Ok(_), Some(_)) if from.is_none() => return Err(failed(Errno::EEXIST, "route exists")),
            (place, Some(target)) => {
                match target {
                    RouteTarget::Object(id) if !self.network.next_hops.contains_key(id) => {
                        return Err(failed(Errno::EINVAL, "Nexthop id does not exist"));
                    }
                    RouteTarget::NextHops(hops) => {
                        for hop in hops.iter() {
                            if !self.link(&hop.device)?.up {
                                return Err(failed(Errno::ENETDOWN, "Device for nexthop is not up"));
                            }
                        }
                    }
                    _ => {}
                }
                let route = Route { key, target: target.clone() };
                match place {
                    Ok(place) => self.network.routes[place] = route,
                    Err(place) => self.network.routes.insert(place, route),
                }
            }
        }
        Ok(())
    }

    fn set_master(&mut self, name: &str, master: &str) -> Result<(), KernelError> {
        let kind = self.link(master)?.kind.clone();
        let link = self.link(name)?;
        if matches!(kind, LinkKind::Lag { .. }) && link.up {
            return Err(failed(Errno::EPERM, "Device can not be enslaved while up"));
        }
        let mac = link.settings.get(&Setting::Mac).cloned();
        link.master = Some(master.to_owned());
        // Its routes go to another table.
        link.held_routes.clear();
        link.addresses.retain(|address| address.addr().is_ipv4());
        if kind == LinkKind::Bridge {
            link.set(Setting::Isolated, false);
            link.set(Setting::Learning, true);
        }
        // A LAG brings its members up, and takes the address of the first one if nobody gave it one.
        if matches!(kind, LinkKind::Lag { .. }) {
            (link.up, link.carrier) = (true, true);
            let lag = self.link(master)?;
            let random = lag.settings.get(&Setting::Mac).is_some_and(|mac| mac.text() == RANDOM_MAC);
            if let Some(mac) = mac.filter(|_| random) {
                lag.settings.insert(Setting::Mac, mac);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: &Action) -> Result<(), KernelError> {
        match action {
            Action::CreateLink { name, kind, settings } => return self.create(name, kind, settings),
            Action::DeleteLink { name, .. } => {
                self.link(name)?;
                self.delete(name);
            }
            Action::Set { link, setting, value, .. } => {
                if setting.is_of_bridge_port() && !self.is_bridge_port(link) {
                    return Err(failed(Errno::EINVAL, "not a bridge port"));
                }
                let link = self.link(link)?;
                if matches!(setting, Setting::LacpFast | Setting::LacpSelect) && link.up {
                    return Err(failed(Errno::EPERM, "the LAG is up"));
                }
                if *setting == Setting::LinkLocal && is_without_ipv6(link) {
                    return Err(KernelError::from(Errno::EAFNOSUPPORT));
                }
                let had_ipv6 = !is_without_ipv6(link);
                link.settings.insert(*setting, value.clone());
                // The kernel's IPv6 device of a link comes and goes with an MTU that is large enough.
                match (had_ipv6, is_without_ipv6(link)) {
                    (true, true) => {
                        link.settings.remove(&Setting::LinkLocal);
                        link.addresses.retain(|address| address.addr().is_ipv4());
                    }
                    (false, false) => link.set(Setting::LinkLocal, true),
                    _ => {}
                }
            }
            Action::SetMaster { name, master } => return self.set_master(name, master),
            Action::ClearMaster { name } => {
                self.link(name)?;
                self.release(name);
            }
            Action::SetUp { name, .. } => {
                let link = self.link(name)?;
                (link.up, link.carrier) = (true, true);
            }
            Action::SetDown { name } => {
                let link = self.link(name)?;
                (link.up, link.carrier) = (false, false);
                link.addresses.retain(|address| address.addr().is_ipv4());
                self.flush(name);
            }
            Action::AddVlans { port, first, last, membership, on_bridge } => {
                if !on_bridge && !self.is_bridge_port(port) {
                    return Err(failed(Errno::EOPNOTSUPP, "not a bridge port"));
                }
                let vlans = &mut self.link(port)?.vlans;
                let old = vlans.runs().iter().find(|run| membership.pvid && run.membership.pvid).copied();
                if let Some(old) = old {
                    vlans.insert(old.first, old.last, VlanMembership { pvid: false, ..old.membership });
                }
                vlans.insert(*first, *last, *membership);
            }
            Action::DeleteVlans { port, first, last, .. } => {
                self.link(port)?.vlans.remove(*first, *last);
                self.forget_queriers();
            }
            Action::Querier { bridge, first, last, on } => {
                let vlans = self.bridge_vlans();
                if (*first..=*last).any(|id| vlans.get(id).is_none()) {
                    let words = "Vlan in range doesn't exist, can't process global options";
                    return Err(failed(Errno::ENOENT, words));
                }
                let queriers = &mut self.link(bridge)?.queriers;
                match on {
                    true => queriers.insert(*first, *last, VlanMembership::default()),
                    false => queriers.remove(*first, *last),
                }
            }
            Action::AddAddress { link, address, detect_duplicates } => {
                let link = self.link(link)?;
                if address.addr().is_ipv6() && is_without_ipv6(link) {
                    return Err(KernelError::from(Errno::EINVAL));
                }
                let addresses = &mut link.addresses;
                if addresses.contains(address) {
                    // It may be set over itself: one of IPv6 without the mark that others are not asked for it, one of
                    // IPv4 that a kernel might have taken along with the first of its subnet.
                    return match *detect_duplicates || address.addr().is_ipv4() {
                        true => Ok(()),
                        false => Err(failed(Errno::EEXIST, "address exists")),
                    };
                }
                insert(addresses, *address);
            }
            Action::DeleteAddress { link, address } | Action::WithdrawAddress { link, address } => {
                self.link(link)?.addresses.retain(|own| own != address);
            }
            Action::HoldRoute { link, route } => {
                let link = self.link(link)?;
                if !link.up {
                    return Err(failed(Errno::ENETDOWN, "Device for nexthop is not up"));
                }
                link.held_routes.insert(*route);
            }
            Action::ReleaseRoute { link, route, .. } => {
                if !self.link(link)?.held_routes.remove(route) {
                    return Err(failed(Errno::ESRCH, "no such route"));
                }
            }
            Action::NextHop { id, from, to } => return self.set_next_hop(*id, from.as_ref(), to.as_ref()),
            Action::Route { key, from, to } => return self.set_route(*key, from.as_ref(), to.as_ref()),
            Action::Fdb { key, to, .. } => {
                if let Some(port) = to {
                    self.link(port)?;
                }
                place(&mut self.network.fdb, key.clone(), to.as_ref());
            }
            Action::Neighbour { key, to, .. } => {
                if to.is_some() && !self.link(&key.device)?.up {
                    return Err(failed(Errno::ENETDOWN, "the device is down"));
                }
                place(&mut self.network.neighbours, key.clone(), to.as_ref());
            }
            Action::Mdb { key, add: true } => {
                if !self.is_bridge_port(&key.port) {
                    return Err(failed(Errno::EINVAL, "not a bridge port"));
                }
                self.network.mdb.insert(key.clone());
            }
            Action::LinkGroups { port, first, last, add } => {
                if *add && !self.is_bridge_port(port) {
                    return Err(failed(Errno::EINVAL, "not a bridge port"));
                }
                let groups = &mut self.link(port)?.link_groups;
                match add {
                    true => groups.insert(*first, *last, VlanMembership::default()),
                    false => groups.remove(*first, *last),
                }
            }
            Action::Rule { rule, add: true } => {
                self.network.rules.insert(*rule);
            }
            Action::Rule { rule, add: false } => {
                self.network.rules.remove(rule);
            }
            Action::Mdb { key, add: false } => {
                self.network.mdb.remove(key);
            }
            Action::Clsact { link: name, add } => {
                let link = self.link(name)?;
                if *add && link.clsact {
                    return Err(failed(Errno::EEXIST, "Exclusivity flag on, cannot modify"));
                }
                link.clsact = *add;
                self.network.filters.retain(|key, _| *add || key.link != *name);
            }
            Action::Filter { key, filter, add: true } => {
                if !self.link(&key.link)?.clsact {
                    return Err(failed(Errno::EINVAL, "Parent Qdisc doesn't exists"));
                }
                if self.network.filters.insert(key.clone(), filter.clone()).is_some() {
                    return Err(failed(Errno::EEXIST, "Filter already exists"));
                }
            }
            Action::Filter { key, add: false, .. } => {
                self.network.filters.remove(key).ok_or_else(|| failed(Errno::ENOENT, "no such filter"))?;
            }
        }
        Ok(())
    }
}

/// Adds an address where the kernel does: of IPv4 behind the others, of IPv6 before them.
fn insert(addresses: &mut Vec<IpNet>, address: IpNet) {
    let first = addresses.iter().position(|other| other.addr().is_ipv6());
    addresses.insert(first.unwrap_or(addresses.len()), address);
}

/// Whether the MTU is smaller than any of IPv6 (`IPV6_MIN_MTU`).
fn is_without_ipv6(link: &Link) -> bool {
    link.number(Setting::Mtu).is_some_and(|mtu| mtu < 1280)
}

/// A link as the kernel makes it.
pub fn fresh(kind: LinkKind) -> Link {
    let mut link = Link::new(kind);
    link.carrier = false;
    link.owned = link.kind.is_made();
    for (setting, value) in [
        (Setting::Mtu, Value::Number(1500)),
        (Setting::Mac, "02:00:00:00:00:99".into()),
        (Setting::Alias, "".into()),
        (Setting::LinkLocal, true.into()),
    ] {
        link.settings.insert(setting, value);
    }
    link
}

fn place<K: Ord, V: Clone>(table: &mut BTreeMap<K, V>, key: K, value: Option<&V>) {
    match value {
        Some(value) => table.insert(key, value.clone()),
        None => table.remove(&key),
    };
}

impl Backend for Model {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        Ok(self.network.clone())
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        let mut outcomes = Vec::new();
        let mut told = BTreeMap::<&String, Settings>::new();
        for action in actions {
            self.executed += 1;
            let outcome = if (self.faults)(self.executed, action) {
                Err(failed(Errno::ENOSPC, self.words))
            } else {
                self.carry_out(action)
            };
            if let (Ok(()), Action::Set { link, setting, value, .. }) = (&outcome, action)
                && NEGOTIATED.contains(setting)
            {
                told.entry(link).or_default().insert(*setting, value.clone());
            }
            // As in the kernel room: what is gone already needs no removal.
            let gone = |error: &KernelError| error.is_absent();
            outcomes.push(match outcome {
                Err(error) if action.is_removal() && gone(&error) => Ok(()),
                outcome => outcome,
            });
        }
        for (link, wish) in told {
            self.negotiate(link, &wish);
        }
        outcomes
    }
}

/// A network of a golden case.
pub fn read_network(path: &Path) -> Network {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut network: Network =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for route in &mut network.routes {
        if let RouteTarget::NextHops(hops) = &route.target {
            route.target = RouteTarget::inline(hops.to_vec());
        }
    }
    network.sort();
    network
}

/// The golden cases of the plan: what is there and what is wanted, by folder.
pub fn golden_cases() -> BTreeMap<PathBuf, (Network, Network)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden");
    let mut cases = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let network = |file: &str| read_network(&folder.join(file));
        cases.insert(folder.clone(), (network("current.toml"), network("desired.toml")));
    }
    cases
}

/// What of a network is not as wanted, in words: by the oracle, and by the plan that may have made it.
pub fn differences(want: &Network, found: &Network) -> Vec<String> {
    let mut wrong = oracle::wrong(want, found);
    wrong.extend(plan(want, found).iter().map(|step| format!("to do: {}", step.action)));
    wrong
}
