//! Front-panel ports, LAGs, subinterfaces, and the ports of workloads.

use netd_api::config::model::{
    self, BridgePort, Ethernet, HashPolicy, LacpSelect, LagMode, LinkMode, PortRole,
};

use super::{BRIDGE, DEFAULT_MTU_BYTES, Inputs, add_layer3, vlan_table};
use crate::attach::{Record, derive_mac};
use crate::kernel::wire::read_mac;
use crate::plan::{LINK_MODES, Link, LinkKind, Network, Setting, Value};

pub(super) fn add(inputs: &Inputs, network: &mut Network) {
    for name in inputs.ports {
        network.links.insert(name.clone(), front_panel_port(inputs, name));
    }
    for (name, lag) in &inputs.config.lags {
        network.links.insert(name.clone(), lag_link(inputs, name, lag));
    }
    for (name, subinterface) in &inputs.config.subinterfaces {
        let link = subinterface_link(subinterface, network);
        network.links.insert(name.clone(), link);
    }
    for record in inputs.attachments.values() {
        network.links.insert(record.port.clone(), attachment_port(record));
    }
}

/// A port the configuration does not mention is down and outside the bridge.
fn front_panel_port(inputs: &Inputs, name: &str) -> Link {
    let mut link = Link::new(LinkKind::Hardware);
    let Some(port) = inputs.config.ports.get(name) else {
        add_ethernet(&mut link, &Ethernet { enabled: false, ..Ethernet::default() });
        set_mac(inputs, &mut link, name, None);
        set_link_mode(inputs, &mut link, name, LinkMode::default());
        return link;
    };
    add_ethernet(&mut link, &port.ethernet);
    if let PortRole::Member(lag) = &port.ethernet.role {
        // A member has the MTU and the hardware address of its LAG.
        let lag = inputs.config.lags.get(lag);
        link.set(Setting::Mtu, lag.and_then(|lag| lag.ethernet.mtu_bytes).unwrap_or(DEFAULT_MTU_BYTES));
    } else {
        set_mac(inputs, &mut link, name, port.ethernet.mac);
    }
    set_link_mode(inputs, &mut link, name, port.link_mode);
    link
}

/// What the configuration says of speed, duplex, negotiation and FEC; of the rest, what the port had before
/// netd first set any of it.
fn set_link_mode(inputs: &Inputs, link: &mut Link, name: &str, mode: LinkMode) {
    let named = [
        (Setting::Autoneg, mode.autoneg.map(Value::Flag)),
        (Setting::Speed, mode.speed_mbps.map(Value::Number)),
        (Setting::FullDuplex, mode.duplex.map(|duplex| Value::Flag(duplex == model::Duplex::Full))),
        (Setting::Fec, mode.fec.map(|fec| Value::from(fec.name()))),
    ];
    for (setting, value) in named {
        if let Some(value) = value {
            link.settings.insert(setting, value);
        }
    }
    let Some(original) = inputs.original_modes.get(name) else { return };
    let negotiated = original.get(&Setting::Autoneg).map(Value::is_on);
    let autoneg = mode.autoneg.or(negotiated);
    for setting in LINK_MODES {
        let before = original.get(&setting).cloned();
        let value = match setting {
            Setting::Speed | Setting::FullDuplex => {
                // Who negotiates offers what was offered, whatever came of that; who does not runs as it ran.
                let before = before.filter(|before| match autoneg {
                    Some(true) => negotiated == autoneg && before.number().is_none(),
                    _ => negotiated != Some(true),
                });
                // One that is only not to negotiate goes on at what it was set to: it never had another.
                let set = inputs.set_modes.get(name).filter(|_| autoneg == negotiated);
                let set = set.and_then(|set| set.get(&setting)).filter(|set| !set.is_unknown());
                before.or_else(|| set.map(|_| Value::unknown()))
            }
            _ => before,
        };
        if let Some(value) = value {
            link.settings.entry(setting).or_insert(value);
        }
    }
}

/// The address of the configuration, or the one the port was born with.
fn set_mac(inputs: &Inputs, link: &mut Link, name: &str, custom: Option<model::MacAddress>) {
    let permanent = || inputs.permanent_macs.get(name).cloned();
    if let Some(mac) = custom.map(|mac| mac.to_string()).or_else(permanent) {
        link.set(Setting::Mac, mac);
    }
}

/// What ports and LAGs have in common.
fn add_ethernet(link: &mut Link, ethernet: &Ethernet) {
    link.up = ethernet.enabled;
    link.set(Setting::Mtu, ethernet.mtu_bytes.unwrap_or(DEFAULT_MTU_BYTES));
    link.set(Setting::LinkLocal, false);
    link.set(Setting::Alias, ethernet.description.as_str());
    match &ethernet.role {
        PortRole::Unused => {}
        PortRole::Bridged(port) => add_to_bridge(link, port),
        PortRole::Routed(layer3) => add_layer3(link, layer3),
        PortRole::Member(lag) => link.master = Some(lag.clone()),
    }
}

fn add_to_bridge(link: &mut Link, port: &BridgePort) {
    link.master = Some(BRIDGE.to_owned());
    link.vlans = vlan_table(&port.vlans);
    link.set(Setting::Isolated, port.isolated);
    link.set(Setting::Learning, port.learning);
    link.set(Setting::ForwardReserved, port.forward_reserved.to_string());
}

/// The kernel's number of a policy that spreads frames (`BOND_XMIT_POLICY_…`, linux/if_bonding.h).
pub fn hash_number(policy: HashPolicy) -> u32 {
    match policy {
        HashPolicy::Layer2 => 0,
        HashPolicy::Layer3And4 => 1,
        HashPolicy::Layer2And3 => 2,
    }
}

/// The kernel's number of a way to choose among aggregators (`enum ad_link_speed_type` and `BOND_AD_…`,
/// net/bond_3ad.h and linux/if_bonding.h).
fn select_number(select: LacpSelect) -> u32 {
    match select {
        LacpSelect::Stable => 0,
        LacpSelect::Bandwidth => 1,
        LacpSelect::Count => 2,
    }
}

/// Hardware address of a LAG the configuration gives none: of the switch and the LAG's name. By itself the driver
/// takes the address of whichever member comes first, so that address and LACP system would change with the members
/// and with the order they came in, and a member that leaves would share its own address with the LAG.
fn lag_mac(inputs: &Inputs, name: &str) -> String {
    read_mac(&derive_mac(inputs.bridge_mac, &format!("lag {name}")))
}

fn lag_link(inputs: &Inputs, name: &str, lag: &model::Lag) -> Link {
    let lacp = matches!(lag.mode, LagMode::Lacp { .. });
    let mut link = Link::new(LinkKind::Lag { lacp });
    add_ethernet(&mut link, &lag.ethernet);
    let mac = lag.ethernet.mac.map_or_else(|| lag_mac(inputs, name), |mac| mac.to_string());
    link.set(Setting::Mac, mac.as_str());
    link.set(Setting::HashPolicy, hash_number(lag.hash));
    link.set(Setting::MinLinks, lag.min_links);
    if let LagMode::Lacp { fast, select } = lag.mode {
        link.set(Setting::LacpFast, fast);
        link.set(Setting::LacpSelect, select_number(select));
        link.set(Setting::LacpSystem, mac);
    }
    link
}

fn subinterface_link(subinterface: &model::Subinterface, network: &Network) -> Link {
    let kind = LinkKind::Vlan { parent: subinterface.parent.clone(), id: subinterface.vlan_id };
    let mut link = Link { up: subinterface.enabled, ..Link::new(kind) };
    let parent = network.links.get(&subinterface.parent).and_then(|parent| parent.number(Setting::Mtu));
    link.set(Setting::Mtu, subinterface.mtu_bytes.or(parent).unwrap_or(DEFAULT_MTU_BYTES));
    link.set(Setting::Alias, subinterface.description.as_str());
    super::add_pcp(&mut link, &subinterface.pcp);
    add_layer3(&mut link, &subinterface.layer3);
    link
}

fn attachment_port(record: &Record) -> Link {
    let mut link = Link { up: true, ..Link::new(LinkKind::Veth) };
    link.set(Setting::Mtu, record.mtu_bytes);
    link.set(Setting::LinkLocal, false);
    link.set(Setting::Alias, record.key.as_str());
    link.master = Some(BRIDGE.to_owned());
    link.vlans = vlan_table(&record.vlans());
    link
}
