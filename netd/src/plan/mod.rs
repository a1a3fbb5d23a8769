//! Planning: from what is wanted and what is there to ordered steps, each with its inverse.
//!
//! Pure: no I/O, no clock, no netlink. Start at [`plan`]; the objects are in [`network`], the order in
//! [`step`], and each kind of difference in a file of its own: [`link`], [`vlan`], [`address`],
//! [`route`], [`fdb`]. The golden cases are the folders under `plan/golden/`.

mod address;
mod fdb;
mod link;
pub mod network;
mod route;
pub mod step;
mod vlan;

#[cfg(test)]
mod golden;

pub use network::{
    FdbKey, Link, LinkKind, Network, NextHop, Route, RouteKey, RouteTarget, VlanMembership, VlanTable,
};
pub use step::{Action, Step};

/// The steps that lead from `actual` to `desired`, in the order they must be sent. Empty when nothing
/// differs in what netd owns.
///
/// Links of hardware and of attachments are never made nor removed here: one that is wanted but not
/// there is left out, with what depends on it (see [`Network::prune`]).
pub fn plan(desired: &Network, actual: &Network) -> Vec<Step> {
    let mut desired = desired.clone();
    desired.prune(actual);
    let recreated = link::recreated(&desired, actual);
    let mut steps = Vec::new();
    route::diff(&desired, actual, &mut steps);
    fdb::diff(&desired, actual, &mut steps);
    link::diff(&desired, actual, &recreated, &mut steps);
    vlan::diff(&desired, actual, &recreated, &mut steps);
    address::diff(&desired, actual, &recreated, &mut steps);
    // Stable: within a rank the order above holds.
    steps.sort_by_key(|step| step.action.rank());
    steps
}
