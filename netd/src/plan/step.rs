//! Steps: one change of one object, what undoes it, and the order among steps.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use super::filter::{Filter, FilterKey};
use super::held_route::HeldRoute;
use super::network::{
    FdbKey, Link, LinkKind, MdbKey, NeighbourKey, NextHopId, NextHopObject, RouteKey, RouteTarget, Rule,
};
use super::setting::{Setting, Value};
use super::vlan_table::{VlanMembership, show_vlans};

/// An action and what undoes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// What undoes it, in order; empty for actions that tell themselves how they are undone.
    inverse: Vec<Action>,
}

impl Step {
    /// A step that is undone by other actions than its own reverse.
    pub fn new(action: Action, inverse: Vec<Action>) -> Step {
        Step { action, inverse }
    }

    /// A step whose action knows its reverse.
    pub fn reversible(action: Action) -> Step {
        Step { action, inverse: Vec::new() }
    }

    /// What undoes the step, in order.
    pub fn inverse(&self) -> Vec<Action> {
        match self.action.reversed() {
            Some(action) => vec![action],
            None => self.inverse.clone(),
        }
    }
}

/// One change of one object, by names: indexes are looked up when it is sent.
///
/// To withdraw an address is to delete it so that it is set again at once, as the last (IPv4) or the first (IPv6).
///
/// A route that is released was `left` where the kernel had it before the plan: by a netd that was killed, or since an
/// action was refused.
///
/// Objects of which there may be a million change `from` something `to` something, either of which may be
/// absence: the reverse is the same the other way round, and needs no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the objects in `network`
pub enum Action {
    CreateLink { name: String, kind: LinkKind, settings: BTreeMap<Setting, Value> },
    DeleteLink { name: String, kind: LinkKind },
    Set { link: String, kind: LinkKind, setting: Setting, value: Value, raise: bool },
    SetMaster { name: String, master: String },
    ClearMaster { name: String },
    SetUp { name: String, kind: LinkKind },
    SetDown { name: String },
    AddVlans { port: String, first: u16, last: u16, membership: VlanMembership, on_bridge: bool },
    DeleteVlans { port: String, first: u16, last: u16, on_bridge: bool },
    Querier { bridge: String, first: u16, last: u16, on: bool },
    AddAddress { link: String, address: IpNet, detect_duplicates: bool },
    DeleteAddress { link: String, address: IpNet },
    WithdrawAddress { link: String, address: IpNet },
    HoldRoute { link: String, route: HeldRoute },
    ReleaseRoute { link: String, route: HeldRoute, left: bool },
    NextHop { id: NextHopId, from: Option<NextHopObject>, to: Option<NextHopObject> },
    Route { key: RouteKey, from: Option<RouteTarget>, to: Option<RouteTarget> },
    Fdb { key: FdbKey, from: Option<String>, to: Option<String> },
    Mdb { key: MdbKey, add: bool },
    LinkGroups { port: String, first: u16, last: u16, add: bool },
    Neighbour { key: NeighbourKey, from: Option<String>, to: Option<String> },
    Rule { rule: Rule, add: bool },
    Clsact { link: String, add: bool },
    Filter { key: FilterKey, filter: Filter, add: bool },
}

impl Action {
    /// Place in the order: what others stand on is made first and removed last.
    pub fn rank(&self) -> u8 {
        match self {
            // Groups without the members that go, before these go.
            Action::NextHop { from: Some(from), to: Some(to), .. } if to.is_part_of(from) => 0,
            Action::Route { to: None, .. } => 1,
            // There is no moment without a rule that leads to the switch's own addresses.
            Action::Rule { add: true, .. } => 2,
            Action::Rule { add: false, .. } => 3,
            // The bridge forgets no group while it does not listen, as when hosts filled its table.
            Action::Set { setting: Setting::MulticastSnooping, value, .. } if value.is_on() => 3,
            Action::Fdb { to: None, .. }
            | Action::Mdb { add: false, .. }
            | Action::LinkGroups { add: false, .. }
            | Action::Neighbour { to: None, .. }
            | Action::Filter { add: false, .. }
            | Action::Querier { on: false, .. } => 4,
            Action::HoldRoute { .. } => 5,
            Action::DeleteAddress { .. } | Action::Clsact { add: false, .. } => 6,
            Action::SetDown { .. } => 7,
            Action::DeleteVlans { .. } => 8,
            Action::ClearMaster { .. } => 9,
            Action::DeleteLink { kind: LinkKind::Vlan { .. }, .. } => 10,
            Action::DeleteLink { .. } => 11,
            // VRFs before anything comes up: adding one later makes some drivers give up their routes.
            Action::CreateLink { kind: LinkKind::Vrf { .. }, .. } => 20,
            Action::CreateLink { kind: LinkKind::Vlan { .. }, .. } => 22,
            Action::CreateLink { .. } => 21,
            Action::Set { setting: Setting::Mtu, kind, raise, .. } => match (kind, raise) {
                // A VLAN interface may not exceed its bridge: the bridge is raised first and lowered last.
                (LinkKind::Vlan { .. }, false) => 23,
                (LinkKind::Vlan { .. }, true) => 25,
                _ => 24,
            },
            // A link has IPv6, and settings of it, only with an MTU of IPv6.
            Action::Set { setting: Setting::LinkLocal, .. } => 26,
            // A port has these only under its bridge.
            Action::Set { setting, .. } if setting.is_of_bridge_port() => 28,
            Action::Set { .. } => 23,
            Action::SetMaster { .. } => 27,
            // Before the port is up: some drivers take it only then.
            Action::AddVlans { .. } | Action::Clsact { add: true, .. } => 29,
            Action::SetUp { kind: LinkKind::Vrf { .. } | LinkKind::Bridge, .. } => 30,
            Action::SetUp { kind: LinkKind::Lag { .. }, .. } => 31,
            Action::SetUp { kind: LinkKind::Vlan { .. }, .. } => 33,
            Action::SetUp { .. } => 32,
            Action::AddAddress { .. } | Action::WithdrawAddress { .. } => 34,
            // Before routes of the configuration, of which one may have the same destination and metric.
            Action::ReleaseRoute { .. } => 35,
            Action::NextHop { to: Some(NextHopObject::Single { .. }), .. } => 36,
            Action::NextHop { to: Some(NextHopObject::Group(_)), .. } => 37,
            // Last, when no route uses them any more: the kernel takes routes along with their next hop.
            Action::NextHop { to: None, from: Some(NextHopObject::Group(_)), .. } => 40,
            Action::NextHop { to: None, .. } => 41,
            Action::Route { .. } => 38,
            Action::Fdb { .. }
            | Action::Mdb { .. }
            | Action::LinkGroups { .. }
            | Action::Neighbour { .. }
            | Action::Filter { .. }
            | Action::Querier { .. } => 39,
        }
    }

    /// The same change the other way round, where the action knows it.
    fn reversed(&self) -> Option<Action> {
        Some(match self {
            Action::NextHop { id, from, to } => {
                Action::NextHop { id: *id, from: to.clone(), to: from.clone() }
            }
            Action::Route { key, from, to } => {
                Action::Route { key: *key, from: to.clone(), to: from.clone() }
            }
            Action::Fdb { key, from, to } => {
                Action::Fdb { key: key.clone(), from: to.clone(), to: from.clone() }
            }
            Action::HoldRoute { link, route } => {
                Action::ReleaseRoute { link: link.clone(), route: *route, left: false }
            }
            Action::ReleaseRoute { link, route, .. } => {
                Action::HoldRoute { link: link.clone(), route: *route }
            }
            Action::Mdb { key, add } => Action::Mdb { key: key.clone(), add: !add },
            Action::LinkGroups { port, first, last, add } => {
                Action::LinkGroups { port: port.clone(), first: *first, last: *last, add: !add }
            }
            Action::Rule { rule, add } => Action::Rule { rule: *rule, add: !add },
            Action::Clsact { link, add } => Action::Clsact { link: link.clone(), add: !add },
            // What others put in the place of a filter cannot be made again, and need not be.
            Action::Filter { filter: Filter::Other, .. } => return None,
            Action::Filter { key, filter, add } => {
                Action::Filter { key: key.clone(), filter: filter.clone(), add: !add }
            }
            Action::Querier { bridge, first, last, on } => {
                Action::Querier { bridge: bridge.clone(), first: *first, last: *last, on: !on }
            }
            Action::Neighbour { key, from, to } => {
                Action::Neighbour { key: key.clone(), from: to.clone(), to: from.clone() }
            }
            _ => return None,
        })
    }

    /// Whether the action makes, changes or removes a link: some of these take the kernel long.
    pub fn is_about_link(&self) -> bool {
        matches!(
            self,
            Action::CreateLink { .. }
                | Action::DeleteLink { .. }
                | Action::Set { .. }
                | Action::SetMaster { .. }
                | Action::ClearMaster { .. }
                | Action::SetUp { .. }
                | Action::SetDown { .. }
        )
    }

    /// Whether the action is about a route that is held only while a change is made: no difference of its own.
    pub fn is_about_held_route(&self) -> bool {
        matches!(self, Action::HoldRoute { .. } | Action::ReleaseRoute { .. })
    }

    /// Whether the action removes something, so that finding it gone already is success.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Action::Route { to: None, .. }
                | Action::NextHop { to: None, .. }
                | Action::Fdb { to: None, .. }
                | Action::Mdb { add: false, .. }
                | Action::LinkGroups { add: false, .. }
                | Action::Rule { add: false, .. }
                | Action::Clsact { add: false, .. }
                | Action::Filter { add: false, .. }
                | Action::Neighbour { to: None, .. }
                | Action::Querier { on: false, .. }
                | Action::DeleteAddress { .. }
                | Action::WithdrawAddress { .. }
                | Action::ReleaseRoute { .. }
                | Action::DeleteVlans { .. }
                | Action::DeleteLink { .. }
                | Action::ClearMaster { .. }
                | Action::SetDown { .. }
        )
    }

    /// The object the action changes, as an operator names it: for error messages, and to find the
    /// setting of the configuration it serves.
    pub fn object(&self) -> String {
        match self {
            Action::Route { key, .. } => format!("route {}", key.prefix),
            Action::NextHop { id, .. } => id.to_string(),
            Action::Fdb { key, .. } => format!("fdb entry {key}"),
            Action::Mdb { key, .. } => format!("mdb entry {key}"),
            Action::Neighbour { key, .. } => format!("neighbour {key}"),
            Action::Rule { rule, .. } => format!("rule {rule}"),
            Action::AddAddress { link, .. }
            | Action::DeleteAddress { link, .. }
            | Action::WithdrawAddress { link, .. }
            | Action::HoldRoute { link, .. }
            | Action::ReleaseRoute { link, .. }
            | Action::Set { link, .. } => link.clone(),
            Action::AddVlans { port, .. }
            | Action::DeleteVlans { port, .. }
            | Action::LinkGroups { port, .. } => port.clone(),
            Action::Querier { bridge, .. } => bridge.clone(),
            Action::Clsact { link, .. } => link.clone(),
            Action::Filter { key, .. } => key.link.clone(),
            Action::CreateLink { name, .. }
            | Action::DeleteLink { name, .. }
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
            Action::Set { link, setting, value, .. } => write!(f, "{link}: set {setting} {value}"),
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
            Action::Querier { bridge, first, last, on } => {
                let vlans = show_vlans(*first, *last, VlanMembership::default());
                write!(f, "{bridge}: {} querier of vlan {vlans}", if *on { "add" } else { "delete" })
            }
            Action::LinkGroups { port, first, last, add } => {
                let vlans = show_vlans(*first, *last, VlanMembership::default());
                write!(
                    f,
                    "{port}: {} groups of the link in vlan {vlans}",
                    if *add { "add" } else { "delete" }
                )
            }
            Action::AddAddress { link, address, .. } => write!(f, "{link}: add address {address}"),
            Action::DeleteAddress { link, address } => write!(f, "{link}: delete address {address}"),
            Action::WithdrawAddress { link, address } => write!(f, "{link}: withdraw address {address}"),
            Action::HoldRoute { link, route } => write!(f, "{link}: hold route {route}"),
            Action::ReleaseRoute { link, route, .. } => write!(f, "{link}: release route {route}"),
            Action::NextHop { id, from, to } => change(f, id, from.as_ref(), to.as_ref()),
            Action::Route { key, from, to } => {
                f.write_str("route ")?;
                change(f, key, from.as_ref(), to.as_ref())
            }
            Action::Fdb { key, from, to } => {
                f.write_str("fdb ")?;
                change(f, key, from.as_ref(), to.as_ref())
            }
            Action::Mdb { key, add } => write!(f, "mdb {key}: {}", if *add { "add" } else { "delete" }),
            Action::Rule { rule, add } => write!(f, "rule {rule}: {}", if *add { "add" } else { "delete" }),
            Action::Clsact { link, add } => {
                write!(f, "{link}: {} clsact", if *add { "add" } else { "delete" })
            }
            Action::Filter { key, filter, add } => {
                write!(f, "filter {key}: {} {filter}", if *add { "add" } else { "delete" })
            }
            Action::Neighbour { key, from, to } => {
                f.write_str("neighbour ")?;
                change(f, key, from.as_ref(), to.as_ref())
            }
        }
    }
}

fn change<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    key: &dyn fmt::Display,
    from: Option<&T>,
    to: Option<&T>,
) -> fmt::Result {
    match (from, to) {
        (None, Some(to)) => write!(f, "{key}: add {to}"),
        (Some(_), Some(to)) => write!(f, "{key}: replace by {to}"),
        (Some(from), None) => write!(f, "{key}: delete {from}"),
        (None, None) => write!(f, "{key}: nothing"),
    }
}
