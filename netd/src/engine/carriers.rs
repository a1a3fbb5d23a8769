//! What a change has set up works when the change is done, not up to a second later.
//!
//! A port that comes up tells the kernel of its carrier, and the kernel acts on it when it gets round to it
//! (`net/core/link_watch.c`). Asking for a link makes it do so at once: bridge ports forward, VLAN interfaces have the
//! carrier of their ports, groups have their next hops.

use crate::engine::Engine;
use crate::kernel::link;
use crate::kernel::link_state::LinkStates;
use crate::kernel::{Connection, KernelError};

impl Engine {
    /// Has the kernel act on the carriers of all ports that are up.
    pub(super) fn settle_carriers(&mut self) {
        // What takes the kernel's place has no carriers.
        if self.stand_in.is_some() {
            return;
        }
        let is_ours = |name: &str| self.ports.contains(name) || self.config.lags.contains_key(name);
        if let Err(error) = settle(&mut self.connection, is_ours) {
            // It is only late then.
            tracing::debug!("asking for the links of ports: {error}");
        }
    }
}

fn settle(connection: &mut Connection, is_ours: impl Fn(&str) -> bool) -> Result<(), KernelError> {
    let links = link::dump(connection, false)?;
    let ours = links.iter().filter(|link| link.is_up() && is_ours(&link.name));
    let mut indexes: Vec<u32> = ours.map(|link| link.index).collect();
    // Members before their LAGs, which follow them.
    indexes.sort_unstable();
    LinkStates::open()?.ask(&indexes).map(drop)
}
