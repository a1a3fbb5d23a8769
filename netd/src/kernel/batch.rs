//! Carrying out the actions of a plan.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::connection::Connection;
use super::extack::KernelError;
use super::route::ResolvedNextHop;
use super::wire::Message;
use super::{address, fdb, link, route, vlan};
use crate::plan::{Action, LinkKind, NextHop, RouteTarget};

/// Sends actions of one dependency class in one go and answers how each fared. Actions do not depend on
/// each other within a call; removing what is gone already is success.
pub fn execute(connection: &mut Connection, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
    let mut names = Names::default();
    let mut outcomes: Vec<Result<(), KernelError>> = Vec::with_capacity(actions.len());
    let (mut messages, mut places) = (Vec::new(), Vec::new());
    for (place, action) in actions.iter().enumerate() {
        match message(action, &mut names) {
            Ok(message) => {
                messages.push(message);
                places.push(place);
                outcomes.push(Ok(()));
            }
            Err(error) => outcomes.push(Err(error)),
        }
    }
    for (place, outcome) in places.into_iter().zip(connection.batch(messages)) {
        outcomes[place] = outcome;
    }
    for (outcome, action) in outcomes.iter_mut().zip(actions) {
        if action.is_removal() && matches!(outcome, Err(error) if error.is_absent()) {
            *outcome = Ok(());
        }
    }
    outcomes
}

/// Interface indexes by name, looked up once a batch: they change when a link is made anew.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn index(&mut self, name: &str) -> Result<u32, KernelError> {
        if let Some(index) = self.0.get(name) {
            return Ok(*index);
        }
        let index = if_nametoindex(name).map_err(|_| KernelError {
            words: Some(format!("there is no interface {name}")),
            ..KernelError::from(Errno::ENODEV)
        })?;
        self.0.insert(name.to_owned(), index);
        Ok(index)
    }

    fn next_hop(&mut self, hop: &NextHop) -> Result<ResolvedNextHop, KernelError> {
        let index = self.index(&hop.device)?;
        Ok(ResolvedNextHop { via: hop.via, index, weight: hop.weight, on_link: hop.on_link })
    }

    fn next_hops(&mut self, target: &RouteTarget) -> Result<Vec<ResolvedNextHop>, KernelError> {
        target.next_hops().iter().map(|hop| self.next_hop(hop)).collect()
    }
}

fn message(action: &Action, names: &mut Names) -> Result<Message, KernelError> {
    Ok(match action {
        Action::CreateLink { name, kind, mac } => {
            let lower = match kind {
                LinkKind::Vlan { parent, .. } => Some(names.index(parent)?),
                _ => None,
            };
            link::create(name, kind, lower, mac.as_deref())
        }
        Action::DeleteLink { name, .. } => link::delete(name),
        Action::SetBridge { name, vlan_filtering, default_pvid } => {
            link::set_bridge(name, *vlan_filtering, *default_pvid)
        }
        Action::SetMtu { name, mtu_bytes, .. } => link::set_mtu(name, *mtu_bytes),
        Action::SetMac { name, mac } => link::set_mac(name, mac),
        Action::SetAlias { name, alias } => link::set_alias(name, alias),
        Action::SetLinkLocal { name, on } => link::set_link_local(name, *on),
        Action::SetMaster { name, master } => link::set_master(name, names.index(master)?),
        Action::ClearMaster { name } => link::set_master(name, 0),
        Action::SetUp { name, .. } => link::set_admin(name, true),
        Action::SetDown { name } => link::set_admin(name, false),
        Action::AddVlans { port, first, last, membership, on_bridge } => {
            vlan::add(names.index(port)?, *first, *last, *membership, *on_bridge)
        }
        Action::DeleteVlans { port, first, last, on_bridge } => {
            vlan::delete(names.index(port)?, *first, *last, *on_bridge)
        }
        Action::AddAddress { link, address, detect_duplicates } => {
            address::add(names.index(link)?, address, *detect_duplicates)
        }
        Action::DeleteAddress { link, address } => address::delete(names.index(link)?, address),
        Action::AddRoute { key, target } => route::add(key, target, &names.next_hops(target)?, false),
        Action::ReplaceRoute { key, target } => route::add(key, target, &names.next_hops(target)?, true),
        Action::DeleteRoute { key, target } => route::delete(key, target),
        Action::AddFdb { key, port } => fdb::add(key, names.index(port)?),
        Action::DeleteFdb { key, port } => fdb::delete(key, names.index(port)?),
    })
}
