//! Carrying out the actions of a plan.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nix::errno::Errno;

use super::connection::Connection;
use super::extack::KernelError;
use super::names::Names;
use super::port_changes::PortChanges;
use super::route_watch::TakenRoutes;
use super::sender::{Outcomes, Sender};
use super::setting::{self, Change};
use super::wire::Message;
use super::{
    address, fdb, filter, held_route, link, link_local, mdb, neighbour, next_hop, qdisc, querier, route,
    rule, vlan,
};
use crate::plan::{
    Action, FdbKey, LINK_GROUPS, LinkKind, MdbKey, NextHopId, NextHopObject, RouteKey, RouteTarget, Setting,
};

/// Carries out actions of one dependency class and answers how each fared. Actions do not depend on each
/// other within a call; removing what is gone already is success.
pub fn execute(connection: &mut Connection, actions: &[&Action]) -> Outcomes {
    execute_beside(connection, actions, &TakenRoutes::default())
}

/// The same beside others who may have put routes in the place of netd's: those stay, and the action fails.
pub fn execute_beside(connection: &mut Connection, actions: &[&Action], taken: &TakenRoutes) -> Outcomes {
    let mut outcomes: Outcomes = vec![Ok(()); actions.len()];
    let (mut names, mut sender, mut ports) = (Names::default(), Sender::default(), PortChanges::default());
    held_route::wait(connection, &mut names, actions);
    for (place, action) in actions.iter().enumerate() {
        if let Action::LinkGroups { port, first, last, add } = action {
            match mdb_message(connection, &mut names, port, *add) {
                Ok(message) => {
                    let vlans =
                        (*first..=*last).flat_map(|id| LINK_GROUPS.map(|group| message(group.into(), id)));
                    vlans.for_each(|message| sender.push(connection, place, &message, &mut outcomes));
                }
                Err(error) => outcomes[place] = Err(error),
            }
            continue;
        }
        // It takes a moment without any route, but only netd's own is removed, and none replaced.
        if let Action::Route { key, from: Some(from), to: Some(to) } = action
            && taken.may_hold(key)
        {
            match names.next_hops(to) {
                Ok(hops) => {
                    let again = [route::delete(key, from), route::set(key, to, hops, false)];
                    again.iter().for_each(|message| sender.push(connection, place, message, &mut outcomes));
                }
                Err(error) => outcomes[place] = Err(error),
            }
            continue;
        }
        match change(connection, &mut names, action) {
            Ok(Change::Nothing) => {}
            Ok(Change::Message(message)) => sender.push(connection, place, &message, &mut outcomes),
            Ok(Change::LinkModes { link, modes }) => ports.add_modes(place, link, modes),
            Ok(Change::Fec { link, fec }) => ports.add_fec(place, link, fec),
            Err(error) => outcomes[place] = Err(error),
        }
    }
    sender.flush(connection, &mut outcomes);
    refresh_bridges(connection, &mut names, actions);
    renew_link_local(connection, actions, &mut outcomes);
    ports.carry_out(&mut names, &mut outcomes);
    for (outcome, action) in outcomes.iter_mut().zip(actions) {
        let done_already = match (&outcome, action) {
            (Err(error), Action::HoldRoute { .. }) => error.errno == Errno::EEXIST,
            (Err(error), action) => action.is_removal() && says_absent(action, error),
            (Ok(()), _) => false,
        };
        if done_already {
            *outcome = Ok(());
        }
    }
    outcomes
}

/// Has bridges look again which of their VLAN interfaces have a carrier: they do so when a port comes or goes, but not
/// when its VLANs change (`br_vlan_bridge_event`, Linux 6.12).
fn refresh_bridges(connection: &mut Connection, names: &mut Names, actions: &[&Action]) {
    let mut bridges = BTreeSet::new();
    for action in actions {
        bridges.extend(match action {
            Action::AddVlans { port, on_bridge: false, .. }
            | Action::DeleteVlans { port, on_bridge: false, .. } => names.bridge_of(connection, port).ok(),
            _ => None,
        });
    }
    for bridge in bridges {
        // Of a bridge that is gone meanwhile nothing is lost.
        if let Err(error) = connection.request(link::refresh(bridge)) {
            tracing::debug!("having bridge {bridge} look at its VLANs: {error}");
        }
    }
}

/// Has links whose hardware address was set speak IPv6 by an address of that one.
fn renew_link_local(connection: &mut Connection, actions: &[&Action], outcomes: &mut Outcomes) {
    let link_of = |action: &Action| match action {
        Action::Set { link, setting: Setting::Mac, .. } => Some(link.clone()),
        _ => None,
    };
    let set: Vec<(usize, String)> = actions
        .iter()
        .enumerate()
        .filter(|(place, _)| outcomes[*place].is_ok())
        .filter_map(|(place, action)| Some((place, link_of(action)?)))
        .collect();
    if set.is_empty() {
        return;
    }
    let names = set.iter().map(|(_, name)| name.as_str()).collect();
    if let Err(error) = link_local::renew(connection, &names) {
        set.iter().for_each(|(place, _)| outcomes[*place] = Err(error.clone()));
    }
}

/// Whether an error says that what was to be removed is not there.
fn says_absent(action: &Action, error: &KernelError) -> bool {
    // Of groups, the bridge says nothing more than this (`__br_mdb_del`).
    let of_group = matches!(action, Action::Mdb { .. } | Action::LinkGroups { .. });
    let bare = of_group && error.errno == Errno::EINVAL && error.words().is_none();
    // A filter goes with its link's `clsact`, without which there is nothing to ask about it (`__tcf_qdisc_find`).
    let of_filter = matches!(action, Action::Filter { .. }) && error.errno == Errno::EINVAL;
    bare || of_filter || error.is_absent()
}

fn change<'a>(
    connection: &mut Connection,
    names: &mut Names,
    action: &'a Action,
) -> Result<Change<'a>, KernelError> {
    let message = match action {
        Action::Set { link, setting, value, .. } => {
            return setting::change(link, |name| names.index(name), *setting, value);
        }
        Action::CreateLink { name, kind, settings } => {
            let lower = match kind {
                LinkKind::Vlan { parent, .. } => Some(names.index(parent)?),
                _ => None,
            };
            Some(link::create(name, kind, lower, settings)?)
        }
        Action::DeleteLink { name, .. } => Some(link::delete(name)),
        Action::SetMaster { name, master } => Some(link::set_master(name, names.index(master)?)),
        Action::ClearMaster { name } => Some(link::set_master(name, 0)),
        Action::SetUp { name, .. } => Some(link::set_admin(name, true)),
        Action::SetDown { name } => Some(link::set_admin(name, false)),
        Action::AddVlans { port, first, last, membership, on_bridge } => {
            Some(vlan::add(names.index(port)?, *first, *last, *membership, *on_bridge))
        }
        Action::DeleteVlans { port, first, last, on_bridge } => {
            Some(vlan::delete(names.index(port)?, *first, *last, *on_bridge))
        }
        Action::Querier { bridge, first, last, on } => {
            Some(querier::set(names.index(bridge)?, *first, *last, *on))
        }
        Action::AddAddress { link, address, detect_duplicates } => {
            Some(address::add(names.index(link)?, address, *detect_duplicates))
        }
        Action::DeleteAddress { link, address } | Action::WithdrawAddress { link, address } => {
            Some(address::delete(names.index(link)?, address))
        }
        Action::HoldRoute { link, route } => Some(held_route::hold(names.index(link)?, route)),
        Action::ReleaseRoute { link, route, .. } => Some(held_route::release(names.index(link)?, route)),
        Action::LinkGroups { .. } => None,
        Action::Rule { rule, add } => Some(if *add { rule::add(rule) } else { rule::delete(rule) }),
        Action::Clsact { link, add } => Some(qdisc::clsact(names.index(link)?, *add)),
        Action::Filter { key, filter, add: true } => filter::add(names.index(&key.link)?, key, filter),
        Action::Filter { key, add: false, .. } => Some(filter::delete(names.index(&key.link)?, key)),
        Action::NextHop { id, from, to } => next_hop(names, *id, from.is_some(), to.as_ref())?,
        Action::Route { key, from, to } => route(names, key, from.as_ref(), to.as_ref())?,
        Action::Fdb { key, from, to } => fdb(names, key, from.as_deref(), to.as_deref())?,
        Action::Mdb { key, add } => Some(mdb(connection, names, key, *add)?),
        Action::Neighbour { key, to: Some(mac), .. } => {
            Some(neighbour::set(key, names.index(&key.device)?, mac)?)
        }
        Action::Neighbour { key, from, to: None } => match from {
            Some(_) => Some(neighbour::delete(key, names.index(&key.device)?)),
            None => None,
        },
    };
    Ok(message.map_or(Change::Nothing, Change::Message))
}

fn next_hop(
    names: &mut Names,
    id: NextHopId,
    replace: bool,
    to: Option<&NextHopObject>,
) -> Result<Option<Message>, KernelError> {
    let Some(object) = to else {
        return Ok(replace.then(|| next_hop::delete(id)));
    };
    let index = match object.device() {
        Some(device) => names.index(device)?,
        None => 0,
    };
    Ok(Some(next_hop::set(id, object, index, replace)))
}

fn route(
    names: &mut Names,
    key: &RouteKey,
    from: Option<&RouteTarget>,
    to: Option<&RouteTarget>,
) -> Result<Option<Message>, KernelError> {
    Ok(match (from, to) {
        (from, Some(to)) => Some(route::set(key, to, names.next_hops(to)?, from.is_some())),
        (Some(from), None) => Some(route::delete(key, from)),
        (None, None) => None,
    })
}

fn fdb(
    names: &mut Names,
    key: &FdbKey,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<Option<Message>, KernelError> {
    // An entry of a tunnel names it itself.
    let tunnel = key.tunnel.as_ref().map(|(tunnel, _)| tunnel.as_str());
    let index = |names: &mut Names, port| names.index(tunnel.unwrap_or(port));
    Ok(match (from, to) {
        (_, Some(port)) => Some(fdb::add(key, index(names, port)?)?),
        (Some(port), None) => Some(fdb::delete(key, index(names, port)?)?),
        (None, None) => None,
    })
}

fn mdb(
    connection: &mut Connection,
    names: &mut Names,
    key: &MdbKey,
    add: bool,
) -> Result<Message, KernelError> {
    Ok(mdb_message(connection, names, &key.port, add)?(key.group, key.vlan_id))
}

/// What makes a message about a group in a VLAN of a port.
fn mdb_message(
    connection: &mut Connection,
    names: &mut Names,
    port: &str,
    add: bool,
) -> Result<impl Fn(IpAddr, u16) -> Message + use<>, KernelError> {
    let (bridge, port) = (names.bridge_of(connection, port)?, names.index(port)?);
    let message = if add { mdb::add } else { mdb::delete };
    Ok(move |group, vlan_id| message(bridge, port, group, vlan_id))
}
