//! Steps: one change of one object, what undoes it, and the order among steps.

use std::fmt;

use ipnet::IpNet;

use super::network::{FdbKey, Link, LinkKind, RouteKey, RouteTarget, VlanMembership, show_vlans};

/// An action and what undoes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// What undoes it, in order.
    pub inverse: Vec<Action>,
}

/// One change of one object, by names: indexes are looked up when it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the objects in `network`
pub enum Action {
    CreateLink { name: String, kind: LinkKind, mac: Option<String> },
    DeleteLink { name: String, kind: LinkKind },
    SetBridge { name: String, vlan_filtering: bool, default_pvid: u16 },
    SetMtu { name: String, kind: LinkKind, mtu_bytes: u32, raise: bool },
    SetMac { name: String, mac: String },
    SetAlias { name: String, alias: String },
    SetLinkLocal { name: String, on: bool },
    SetMaster { name: String, master: String },
    ClearMaster { name: String },
    SetUp { name: String, kind: LinkKind },
    SetDown { name: String },
    AddVlans { port: String, first: u16, last: u16, membership: VlanMembership, on_bridge: bool },
    DeleteVlans { port: String, first: u16, last: u16, on_bridge: bool },
    AddAddress { link: String, address: IpNet, detect_duplicates: bool },
    DeleteAddress { link: String, address: IpNet },
    AddRoute { key: RouteKey, target: RouteTarget },
    ReplaceRoute { key: RouteKey, target: RouteTarget },
    DeleteRoute { key: RouteKey, target: RouteTarget },
    AddFdb { key: FdbKey, port: String },
    DeleteFdb { key: FdbKey, port: String },
}

impl Action {
    /// Place in the order: what others stand on is made first and removed last.
    pub fn rank(&self) -> u8 {
        match self {
            Action::DeleteRoute { .. } => 0,
            Action::DeleteFdb { .. } => 1,
            Action::DeleteAddress { .. } => 2,
            Action::SetDown { .. } => 3,
            Action::DeleteVlans { .. } => 4,
            Action::ClearMaster { .. } => 5,
            Action::DeleteLink { kind: LinkKind::Vlan { .. }, .. } => 6,
            Action::DeleteLink { .. } => 7,
            // VRFs before anything comes up: adding one later makes some drivers give up their routes.
            Action::CreateLink { kind: LinkKind::Vrf { .. }, .. } => 10,
            Action::CreateLink { kind: LinkKind::Vlan { .. }, .. } => 12,
            Action::CreateLink { .. } => 11,
            Action::SetBridge { .. } => 13,
            Action::SetMac { .. } | Action::SetAlias { .. } | Action::SetLinkLocal { .. } => 14,
            // A VLAN interface may not exceed its bridge: the bridge is raised first and lowered last.
            Action::SetMtu { kind: LinkKind::Vlan { .. }, raise: false, .. } => 14,
            Action::SetMtu { kind: LinkKind::Bridge { .. }, raise: true, .. } => 15,
            Action::SetMtu { kind: LinkKind::Vlan { .. }, raise: true, .. } => 16,
            Action::SetMtu { .. } => 15,
            Action::SetMaster { .. } => 17,
            Action::AddVlans { .. } => 18,
            Action::SetUp { kind: LinkKind::Vrf { .. } | LinkKind::Bridge { .. }, .. } => 19,
            Action::SetUp { kind: LinkKind::Vlan { .. }, .. } => 21,
            Action::SetUp { .. } => 20,
            Action::AddAddress { .. } => 22,
            Action::AddRoute { .. } | Action::ReplaceRoute { .. } => 23,
            Action::AddFdb { .. } => 24,
        }
    }

    /// Whether the action removes something, so that finding it gone already is success.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Action::DeleteRoute { .. }
                | Action::DeleteFdb { .. }
                | Action::DeleteAddress { .. }
                | Action::DeleteVlans { .. }
                | Action::DeleteLink { .. }
                | Action::ClearMaster { .. }
                | Action::SetDown { .. }
        )
    }

    /// The setting of the configuration the action serves, as far as its name tells: for error messages.
    pub fn object(&self) -> String {
        match self {
            Action::AddRoute { key, .. }
            | Action::ReplaceRoute { key, .. }
            | Action::DeleteRoute { key, .. } => {
                format!("route {}", key.prefix)
            }
            Action::AddFdb { key, .. } | Action::DeleteFdb { key, .. } => format!("fdb entry {key}"),
            Action::AddAddress { link, .. } | Action::DeleteAddress { link, .. } => link.clone(),
            Action::AddVlans { port, .. } | Action::DeleteVlans { port, .. } => port.clone(),
            Action::CreateLink { name, .. }
            | Action::DeleteLink { name, .. }
            | Action::SetBridge { name, .. }
            | Action::SetMtu { name, .. }
            | Action::SetMac { name, .. }
            | Action::SetAlias { name, .. }
            | Action::SetLinkLocal { name, .. }
            | Action::SetMaster { name, .. }
            | Action::ClearMaster { name }
            | Action::SetUp { name, .. }
            | Action::SetDown { name } => name.clone(),
        }
    }

    /// The action that brings a link up or down.
    pub(super) fn admin(name: &str, link: &Link, up: bool) -> Action {
        if up {
            Action::SetUp { name: name.to_owned(), kind: link.kind.clone() }
        } else {
            Action::SetDown { name: name.to_owned() }
        }
    }

    /// The action that sets or clears a master.
    pub(super) fn master(name: &str, master: Option<&String>) -> Action {
        match master {
            Some(master) => Action::SetMaster { name: name.to_owned(), master: master.clone() },
            None => Action::ClearMaster { name: name.to_owned() },
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::CreateLink { name, kind, .. } => write!(f, "{name}: create {kind}"),
            Action::DeleteLink { name, .. } => write!(f, "{name}: delete"),
            Action::SetBridge { name, vlan_filtering, default_pvid } => {
                write!(f, "{name}: set vlan filtering {vlan_filtering}, default pvid {default_pvid}")
            }
            Action::SetMtu { name, mtu_bytes, .. } => write!(f, "{name}: set mtu {mtu_bytes}"),
            Action::SetMac { name, mac } => write!(f, "{name}: set hardware address {mac}"),
            Action::SetAlias { name, alias } => write!(f, "{name}: set description {alias:?}"),
            Action::SetLinkLocal { name, on } => write!(f, "{name}: set ipv6 link-local {on}"),
            Action::SetMaster { name, master } => write!(f, "{name}: set master {master}"),
            Action::ClearMaster { name } => write!(f, "{name}: clear master"),
            Action::SetUp { name, .. } => write!(f, "{name}: set up"),
            Action::SetDown { name } => write!(f, "{name}: set down"),
            Action::AddVlans { port, first, last, membership, .. } => {
                write!(f, "{port}: add vlan {}", show_vlans(*first, *last, *membership))
            }
            Action::DeleteVlans { port, first, last, .. } => {
                write!(f, "{port}: delete vlan {}", show_vlans(*first, *last, VlanMembership::default()))
            }
            Action::AddAddress { link, address, .. } => write!(f, "{link}: add address {address}"),
            Action::DeleteAddress { link, address } => write!(f, "{link}: delete address {address}"),
            Action::AddRoute { key, target } => write!(f, "route {key}: add {target}"),
            Action::ReplaceRoute { key, target } => write!(f, "route {key}: replace by {target}"),
            Action::DeleteRoute { key, target } => write!(f, "route {key}: delete {target}"),
            Action::AddFdb { key, port } => write!(f, "fdb {key}: add {port}"),
            Action::DeleteFdb { key, port } => write!(f, "fdb {key}: delete {port}"),
        }
    }
}
