//! From a step that failed back to the line of the document it serves. Pure.

use netd_api::config::Config;
use netd_api::config::model::{Place, vlan_interface};

use crate::desired::BRIDGE;
use crate::plan::{Action, NextHopObject, RouteKey, Setting};
use crate::platform::Device;
use crate::transaction::{CommitError, Reason};

/// What to tell of a change that failed: first the line, where the document has one for it; at last the driver, where
/// it is the one that cannot do it.
pub(super) fn words(config: &Config, error: &CommitError, devices: &[Device]) -> String {
    let words = with_line(config, error);
    match driver_limit(&error.reason, devices) {
        Some(limit) => format!("{words}: {limit}"),
        None => words,
    }
}

/// Which driver cannot do what: an errno names neither.
fn driver_limit(reason: &Reason, devices: &[Device]) -> Option<String> {
    let Reason::Refused { action, error } = reason else { return None };
    let (link, cannot) = match &**action {
        Action::Set { link, setting: Setting::Mtu, .. } => (link, "set the MTU".to_owned()),
        Action::Set { link, setting: Setting::Mac, .. } => (link, "set the MAC address".to_owned()),
        Action::Set { link, setting: Setting::Fec, .. } => (link, "set FEC".to_owned()),
        Action::Set { link, setting, .. } => (link, format!("set {setting}")),
        Action::Clsact { link, .. } => (link, "filter frames".to_owned()),
        _ => return None,
    };
    if !error.is_unsupported() {
        return None;
    }
    let device = devices.iter().find(|device| device.name == *link && !device.driver.is_empty())?;
    Some(format!("driver {} cannot {cannot}", device.driver))
}

fn with_line(config: &Config, error: &CommitError) -> String {
    let line = match &error.reason {
        Reason::Refused { action, .. } | Reason::Duplicate(action) => line_of(config, action),
        Reason::Unstable(_) | Reason::Snapshot(_) => None,
    };
    match line {
        Some(line) => format!("line {line}: {error}"),
        None => error.to_string(),
    }
}

/// The line at which the document asks for what an action does; `None` where it does not mention it.
pub(super) fn line_of(config: &Config, action: &Action) -> Option<u32> {
    place(config, action).map(|place| place.line).filter(|line| *line > 0)
}

/// Where the document asks for what an action does; `None` for what it does not mention, such as a link that
/// goes.
fn place(config: &Config, action: &Action) -> Option<Place> {
    match action {
        Action::Route { key, .. } => route(config, key),
        Action::NextHop { from, to, .. } => {
            [to, from].into_iter().flatten().find_map(|object| next_hop(config, object))
        }
        Action::Fdb { key, .. } => match &key.tunnel {
            Some((tunnel, _)) => link(config, tunnel, "remotes"),
            None => {
                let same = |entry: &&_| entry_is(entry, &key.mac, key.vlan_id);
                config.fdb.iter().find(same).map(|entry| entry.place)
            }
        },
        Action::Mdb { key, .. } => {
            let entries = config.mdb.iter();
            let mut same = entries.filter(|entry| entry.group == key.group && entry.vlan_id == key.vlan_id);
            same.next().map(|entry| entry.place)
        }
        Action::Neighbour { key, .. } => {
            let entries = config.neighbours.iter();
            let mut same = entries.filter(|entry| entry.address == key.address && entry.device == key.device);
            same.next().map(|entry| entry.place)
        }
        Action::Set { link: name, setting, .. } => link(config, name, key_of(*setting)),
        Action::AddAddress { link: name, .. }
        | Action::WithdrawAddress { link: name, .. }
        | Action::HoldRoute { link: name, .. }
        | Action::ReleaseRoute { link: name, .. }
        | Action::DeleteAddress { link: name, .. } => link(config, name, "addresses"),
        Action::AddVlans { port, .. } | Action::DeleteVlans { port, .. } => link(config, port, "vlan"),
        Action::Querier { first, .. } | Action::LinkGroups { first, .. } => querier(config, *first),
        Action::Rule { .. } => None,
        Action::Clsact { link: name, .. } => link(config, name, "forward-reserved"),
        Action::Filter { key, .. } => link(config, &key.link, "forward-reserved"),
        Action::SetMaster { name, master } if master == BRIDGE => link(config, name, "vlan"),
        Action::SetMaster { name, master } if config.lags.contains_key(master) => {
            link(config, master, "members").or_else(|| link(config, name, ""))
        }
        Action::SetMaster { name, .. } | Action::ClearMaster { name } => link(config, name, "vrf"),
        Action::SetUp { name, .. } | Action::SetDown { name } => link(config, name, "enabled"),
        Action::CreateLink { name, .. } | Action::DeleteLink { name, .. } => link(config, name, ""),
    }
}

/// Where the document makes the bridge the querier of a VLAN.
fn querier(config: &Config, vlan_id: u16) -> Option<Place> {
    let of_vlan = config.vlans.get(&vlan_id).is_some_and(|vlan| vlan.querier.is_some());
    let path = if of_vlan { format!("vlans.{vlan_id}.querier") } else { "bridge.querier".to_owned() };
    config.locate(&path)
}

fn entry_is(entry: &netd_api::config::model::StaticFdbEntry, mac: &str, vlan_id: u16) -> bool {
    entry.vlan_id == vlan_id && entry.mac.to_string() == mac
}

/// The place of a key of a link's section, or of the nearest thing around it.
fn link(config: &Config, name: &str, key: &str) -> Option<Place> {
    let section = section(config, name)?;
    let path = if key.is_empty() { section } else { format!("{section}.{key}") };
    config.locate(&path)
}

/// The dotted path of the section a link comes from.
fn section(config: &Config, name: &str) -> Option<String> {
    let within = |kind: &str| Some(format!("{kind}.{name}"));
    if name == BRIDGE {
        return Some("bridge".to_owned());
    }
    if config.ports.contains_key(name) {
        return within("ports");
    }
    if config.lags.contains_key(name) {
        return within("lags");
    }
    if config.subinterfaces.contains_key(name) {
        return within("subinterfaces");
    }
    if config.vxlans.contains_key(name) {
        return within("vxlans");
    }
    if config.vrfs.contains_key(name) {
        return within("vrfs");
    }
    if config.loopbacks.contains_key(name) {
        return within("loopbacks");
    }
    config.vlans.keys().find(|id| vlan_interface(**id) == name).map(|id| format!("vlans.{id}"))
}

/// The document's key for a setting; empty for what it has no key for.
fn key_of(setting: Setting) -> &'static str {
    match setting {
        Setting::Mtu => "mtu",
        Setting::Mac => "mac",
        Setting::Alias => "description",
        Setting::AgeingTime => "ageing-time",
        Setting::MostLearned => "most-learned",
        Setting::Stp => "stp",
        Setting::Priority => "priority",
        Setting::MulticastSnooping => "igmp-snooping",
        Setting::Isolated => "isolated",
        Setting::Learning => "learning",
        Setting::ForwardReserved => "forward-reserved",
        Setting::PcpIngress => "pcp.ingress",
        Setting::PcpEgress => "pcp.egress",
        Setting::HashPolicy => "hash",
        Setting::MinLinks => "min-links",
        Setting::LacpFast => "lacp-rate",
        Setting::LacpSelect => "lacp-select",
        Setting::LacpSystem => "mac",
        Setting::Autoneg => "autoneg",
        Setting::Speed => "speed",
        Setting::FullDuplex => "duplex",
        Setting::Fec => "fec",
        Setting::LinkLocal
        | Setting::TunnelAgeing
        | Setting::TunnelLearning
        | Setting::TunnelTtl
        | Setting::DontFragment
        | Setting::UdpChecksum
        | Setting::BridgeBinding
        | Setting::VlanFiltering
        | Setting::DefaultPvid
        | Setting::ForwardDelay
        | Setting::MulticastPerVlan
        | Setting::MulticastGroups
        | Setting::UnicastFlood
        | Setting::MostGroups
        | Setting::PathCost => "",
    }
}

fn route(config: &Config, key: &RouteKey) -> Option<Place> {
    let vrf = config.vrfs.iter().find(|(_, vrf)| vrf.table == key.table).map(|(name, _)| name.as_str());
    let same = |route: &&netd_api::config::model::Route| {
        route.prefix == key.prefix && route.metric == key.metric && route.vrf.as_deref() == vrf
    };
    let route = config.routes.iter().find(same).map(|route| route.place);
    // The routes that end a VRF are part of it.
    route.or_else(|| link(config, vrf?, ""))
}

/// The first route that leaves by a next hop. Groups are made of several; their members tell.
fn next_hop(config: &Config, object: &NextHopObject) -> Option<Place> {
    let NextHopObject::Single { via, device, .. } = object else {
        return None;
    };
    let leaves = |route: &&netd_api::config::model::Route| match &route.target {
        netd_api::config::model::RouteTarget::NextHops(hops) => {
            hops.iter().any(|hop| hop.via == *via && *hop.device == **device)
        }
        _ => false,
    };
    config.routes.iter().find(leaves).map(|route| route.place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    use crate::plan::{FdbKey, LinkKind, NeighbourKey, NextHopId, RouteTarget};

    const DOCUMENT: &str = "\
version = 1
[ports.\"swp[1-2]\"]
mtu = 9216
vlan.access = 10
[ports.swp3]
addresses = [\"192.0.2.1/24\"]
vrf = \"blue\"
[vlans.10]
addresses = [\"10.0.10.1/24\"]
[vrfs.blue]
table = 1001
[[routes]]
prefix = \"0.0.0.0/0\"
via = \"10.0.10.254\"
[[routes]]
prefix = \"0.0.0.0/0\"
via = \"192.0.2.254\"
vrf = \"blue\"
[[fdb]]
mac = \"02:00:00:00:00:01\"
vlan = 10
port = \"swp1\"
[[neighbours]]
address = \"10.0.10.7\"
mac = \"02:00:00:00:00:07\"
dev = \"vlan10\"
";

    fn set(name: &str, setting: Setting) -> Action {
        let value = crate::plan::Value::from(1_u32);
        Action::Set { link: name.to_owned(), kind: LinkKind::Hardware, setting, value, raise: true }
    }

    #[test]
    fn driver_that_cannot_set_something_is_named() {
        let config = netd_api::config::parse(DOCUMENT).expect("a valid document");
        let refused = |setting, errno: Errno| CommitError {
            reason: Reason::Refused { action: Box::new(set("swp2", setting)), error: errno.into() },
            left: Vec::new(),
            before: Box::default(),
        };
        let device = Device { name: "swp2".to_owned(), driver: "virtio_net".to_owned(), ..Device::default() };
        let said = words(&config, &refused(Setting::Fec, Errno::EOPNOTSUPP), std::slice::from_ref(&device));
        assert!(said.starts_with("line 2: swp2: set fec") && said.contains("EOPNOTSUPP"), "{said}");
        assert!(said.ends_with(": driver virtio_net cannot set FEC"), "{said}");
        for said in [
            words(&config, &refused(Setting::Fec, Errno::EBUSY), &[device]),
            words(&config, &refused(Setting::Fec, Errno::EOPNOTSUPP), &[]),
        ] {
            assert!(!said.contains("driver"), "{said}");
        }
    }

    #[test]
    fn a_step_leads_back_to_the_line_that_asks_for_it() {
        let config = netd_api::config::parse(DOCUMENT).expect("a valid document");
        let name = |name: &str| name.to_owned();
        let prefix = "0.0.0.0/0".parse().expect("a prefix");
        let route = |table| Action::Route {
            key: RouteKey { table, prefix, metric: 0 },
            from: None,
            to: Some(RouteTarget::Blackhole),
        };
        let hop = NextHopObject::Single {
            via: "192.0.2.254".parse().ok(),
            device: name("swp3"),
            on_link: false,
            v6: false,
        };
        let hop = Action::NextHop { id: NextHopId(NextHopId::FIRST), from: None, to: Some(hop) };
        let fdb = FdbKey { mac: name("02:00:00:00:00:01"), vlan_id: 10, tunnel: None };
        let neighbour = NeighbourKey { device: name("vlan10"), address: "10.0.10.7".parse().expect("one") };
        let address = "192.0.2.1/24".parse().expect("an address");
        for (action, line) in [
            (set("swp2", Setting::Mtu), Some(3)),
            (set("swp2", Setting::Alias), Some(2)),
            (Action::SetMaster { name: name("swp1"), master: name(BRIDGE) }, Some(4)),
            (Action::AddAddress { link: name("swp3"), address, detect_duplicates: false }, Some(6)),
            (Action::SetMaster { name: name("swp3"), master: name("blue") }, Some(7)),
            (set("vlan10", Setting::Mtu), Some(8)),
            (
                Action::CreateLink {
                    name: name("blue"),
                    kind: LinkKind::Vrf { table: 1001 },
                    settings: [].into(),
                },
                Some(10),
            ),
            (route(254), Some(12)),
            (route(1001), Some(15)),
            (hop, Some(15)),
            (Action::Fdb { key: fdb, from: None, to: None }, Some(19)),
            (Action::Neighbour { key: neighbour, from: None, to: None }, Some(23)),
            (set("swp9", Setting::Mtu), None),
            (Action::DeleteLink { name: name("lo9"), kind: LinkKind::Dummy }, None),
        ] {
            assert_eq!(place(&config, &action).map(|place| place.line), line, "{action}");
        }
    }
}
