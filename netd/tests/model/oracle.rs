//! Whether a network is as it should be, judged without the plan: what somebody who reads `ip`, `bridge` and `tc` would
//! say of it. A field that a plan forgets to compare shows here.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use netd::plan::{
    FdbKey, Filter, Link, LinkKind, Network, NextHopId, NextHopObject, RouteTarget, Setting, Value, VlanTable,
};

/// What is not as it should be, a line each.
pub fn wrong(want: &Network, found: &Network) -> Vec<String> {
    let (want, found) = (wanted_facts(want, found), found_facts(want, found));
    let missing = want.difference(&found).map(|fact| format!("missing: {fact}"));
    missing.chain(found.difference(&want).map(|fact| format!("too much: {fact}"))).collect()
}

fn wanted_facts(want: &Network, found: &Network) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    let there = |name: &str| is_there(want, found, name);
    for (name, link) in want.links.iter().filter(|(name, _)| there(name)) {
        let theirs = found.links.get(name);
        link_facts(name, link, theirs.map_or(&[], |found| &found.foreign_addresses), &mut facts);
        for (setting, value) in compared_settings(link, theirs) {
            facts.insert(format!("{name}: {setting} {value}"));
        }
    }
    let sends = |device: &str| there(device) && want.links[device].up;
    let carries = |device: &str| sends(device) && found.links.get(device).is_some_and(|link| link.carrier);
    // An object is there while a way out is; a group has those that are.
    let mut objects = BTreeMap::<NextHopId, NextHopObject>::new();
    for (id, object) in &want.next_hops {
        if matches!(object, NextHopObject::Single { device, .. } if carries(device)) {
            objects.insert(*id, object.clone());
        }
    }
    for (id, object) in &want.next_hops {
        if let NextHopObject::Group(members) = object {
            let left: Vec<_> = members.iter().filter(|(id, _)| objects.contains_key(id)).copied().collect();
            if !left.is_empty() {
                objects.insert(*id, NextHopObject::Group(left));
            }
        }
    }
    for route in &want.routes {
        let target = match &route.target {
            RouteTarget::Object(id) => objects.contains_key(id).then(|| route.target.clone()),
            RouteTarget::NextHops(hops) => {
                let of = |fits: &dyn Fn(&str) -> bool| -> Vec<_> {
                    hops.iter().filter(|hop| fits(&hop.device)).cloned().collect()
                };
                // Without a carrier anywhere, whatever is up.
                let lit = of(&carries);
                let left = if lit.is_empty() { of(&sends) } else { lit };
                (!left.is_empty()).then(|| RouteTarget::inline(left))
            }
            target => Some(target.clone()),
        };
        facts.extend(target.map(|target| format!("route {}: {target}", route.key)));
    }
    facts.extend(objects.iter().map(|(id, object)| object_fact(*id, object)));
    facts.extend(want.fdb.iter().filter(|(_, port)| there(port)).map(|(key, port)| fdb_fact(key, port)));
    facts.extend(want.mdb.iter().filter(|key| there(&key.port)).map(|key| format!("mdb {key}")));
    let neighbours = want.neighbours.iter().filter(|(key, _)| sends(&key.device));
    facts.extend(neighbours.map(|(key, mac)| format!("neighbour {key}: {mac}")));
    facts.extend(want.rules.iter().map(|rule| format!("rule {rule}")));
    let filters = want.filters.iter().filter(|(key, filter)| there(&key.link) && **filter != Filter::Other);
    facts.extend(filters.map(|(key, filter)| format!("filter {key}: {filter}")));
    facts
}

fn found_facts(want: &Network, found: &Network) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for (name, link) in &found.links {
        match want.links.get(name) {
            Some(wanted) => {
                link_facts(name, link, &[], &mut facts);
                for (setting, _) in compared_settings(wanted, Some(link)) {
                    let value = link.settings.get(&setting).map_or("unset".to_owned(), Value::to_string);
                    facts.insert(format!("{name}: {setting} {value}"));
                }
            }
            // Hardware and what others made is nobody's mistake.
            None if link.owned && link.kind.is_made() => link_facts(name, link, &[], &mut facts),
            None => {}
        }
    }
    facts.extend(found.routes.iter().map(|route| format!("route {}: {}", route.key, route.target)));
    facts.extend(found.next_hops.iter().map(|(id, object)| object_fact(*id, object)));
    facts.extend(found.fdb.iter().map(|(key, port)| fdb_fact(key, port)));
    facts.extend(found.mdb.iter().map(|key| format!("mdb {key}")));
    facts.extend(found.neighbours.iter().map(|(key, mac)| format!("neighbour {key}: {mac}")));
    // A network that says nothing of rules has no say in them.
    if !want.rules.is_empty() {
        facts.extend(found.rules.iter().map(|rule| format!("rule {rule}")));
    }
    let made = found.filters.iter().filter(|(key, filter)| {
        **filter != Filter::Other || want.filters.get(key).is_none_or(|wanted| *wanted != Filter::Other)
    });
    facts.extend(made.map(|(key, filter)| format!("filter {key}: {filter}")));
    facts
}

/// What only hardware, or an attachment, can bring is there or not; so is what stands on it.
fn is_there(want: &Network, found: &Network, name: &str) -> bool {
    match want.links.get(name).map(|link| &link.kind) {
        None => false,
        Some(LinkKind::Vlan { parent, .. }) => is_there(want, found, parent),
        Some(kind) => kind.is_made() || found.links.contains_key(name),
    }
}

fn link_facts(name: &str, link: &Link, foreign: &[IpNet], facts: &mut BTreeSet<String>) {
    facts.insert(format!("{name}: {}", link.kind));
    facts.insert(format!("{name}: {}", if link.up { "up" } else { "down" }));
    facts.insert(format!("{name}: master {:?}", link.master));
    let addresses: Vec<IpNet> =
        link.addresses.iter().filter(|address| !foreign.contains(address)).copied().collect();
    facts.extend(address_orders(&addresses).into_iter().map(|order| format!("{name}: {order}")));
    let ids = |table: &VlanTable| -> Vec<u16> {
        table.runs().iter().flat_map(|run| run.first..=run.last).collect()
    };
    for id in ids(&link.vlans) {
        facts.insert(format!("{name}: vlan {id} {:?}", link.vlans.get(id)));
    }
    facts.insert(format!("{name}: querier in {:?}", ids(&link.queriers)));
    // None is ever wanted.
    facts.extend(link.held_routes.iter().map(|route| format!("{name}: held route {route}")));
    facts.insert(format!("{name}: groups of the link in {:?}", ids(&link.link_groups)));
}

/// The orders that a host can tell: the switch speaks from the first IPv4 address of a subnet, and by the first IPv6
/// address of a scope. Which subnet is first shows in those that begin one.
fn address_orders(addresses: &[IpNet]) -> Vec<String> {
    let mut orders = BTreeMap::<String, Vec<IpNet>>::new();
    for address in addresses {
        let of = match address {
            IpNet::V6(net) if net.addr().is_unicast_link_local() => "link-local".to_owned(),
            IpNet::V6(_) => "ipv6".to_owned(),
            IpNet::V4(net) => {
                let subnet = format!("subnet {}", net.trunc());
                if !orders.contains_key(&subnet) {
                    orders.entry("ipv4 subnets".to_owned()).or_default().push(*address);
                }
                subnet
            }
        };
        orders.entry(of).or_default().push(*address);
    }
    orders.iter().map(|(of, addresses)| format!("{of}: {addresses:?}")).collect()
}

/// Settings that are wanted, where there is one right value: of a port that negotiates, speed and duplex are what both
/// sides come to; the kernel may keep what it was told of a setting that is not to be known any more.
fn compared_settings<'a>(want: &'a Link, found: Option<&Link>) -> impl Iterator<Item = (Setting, &'a Value)> {
    let negotiates = found.is_some_and(|found| !found.offer.is_empty())
        || want.settings.get(&Setting::Autoneg).is_some_and(Value::is_on);
    let is_fixed = move |setting: Setting, value: &Value| {
        !setting.is_speed_or_duplex() || (!negotiates && !value.is_unknown())
    };
    want.settings
        .iter()
        .map(|(setting, value)| (*setting, value))
        .filter(move |(setting, value)| is_fixed(*setting, value))
}

fn object_fact(id: NextHopId, object: &NextHopObject) -> String {
    format!("{id}: {object}")
}

fn fdb_fact(key: &FdbKey, port: &str) -> String {
    format!("fdb {key}: {port}")
}
