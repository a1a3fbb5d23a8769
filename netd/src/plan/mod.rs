//! Planning: from what is wanted and what is there to ordered steps, each with its inverse.
//!
//! Pure: no I/O, no clock, no netlink. Start at [`plan`]; the objects are in [`network`], what of them can be
//! there now in [`usable`], the order in [`step`], and each kind of difference in a file of its own. The
//! golden cases are the folders under `plan/golden/`.

mod address;
pub mod filter;
mod held_route;
mod link;
mod link_groups;
pub mod network;
mod next_hop;
pub mod offer;
mod route;
mod rule;
pub mod setting;
mod static_entry;
pub mod step;
pub mod usable;
mod vlan;
pub mod vlan_table;

pub use filter::{Direction, Filter, FilterKey, MaskedMac, Tag, TagAction};
pub use held_route::HeldRoute;
pub use link_groups::LINK_GROUPS;
pub use network::{
    FdbKey, Link, LinkKind, Lookup, MdbKey, NeighbourKey, Network, NextHop, NextHopId, NextHopObject, Route,
    RouteKey, RouteTarget, Rule,
};
pub use offer::{Mode, Offer};
pub use setting::{LINK_MODES, Setting, Settings, Value};
pub use step::{Action, Step};
pub use vlan_table::{VlanMembership, VlanRun, VlanTable};

use usable::Usable;

/// The steps that lead from `actual` to `desired`, in the order they must be sent. Empty when nothing
/// differs in what netd owns.
///
/// Links of hardware and of attachments are never made nor removed here: one that is wanted but not
/// there is left out, with what depends on it (see [`Usable`]).
pub fn plan(desired: &Network, actual: &Network) -> Vec<Step> {
    let usable = Usable::new(desired, actual);
    let recreated = link::recreated(desired, actual);
    let mut steps = Vec::new();
    rule::diff(desired, actual, &mut steps);
    route::diff(desired, actual, &usable, &mut steps);
    next_hop::diff(desired, actual, &usable, &mut steps);
    static_entry::diff(desired, actual, &usable, &mut steps);
    link_groups::diff(desired, actual, &usable, &mut steps);
    link::diff(desired, actual, &usable, &recreated, &mut steps);
    vlan::diff(desired, actual, &usable, &recreated, &mut steps);
    address::diff(desired, actual, &usable, &recreated, &mut steps);
    held_route::diff(desired, actual, &recreated, &mut steps);
    filter::diff(desired, actual, &usable, &recreated, &mut steps);
    // Stable: within a rank the order above holds.
    steps.sort_by_key(|step| step.action.rank());
    steps
}
