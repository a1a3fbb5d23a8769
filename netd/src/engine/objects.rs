//! Next hop objects, and what is done where a driver takes none, or no more of them.

use std::sync::Arc;

use netd_api::config::Config;
use netd_api::events::{EventKind, EventSource};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::kernel::KernelError;
use crate::plan::{Action, Network, RouteTarget};
use crate::transaction::{Reason, Report};

impl Engine {
    /// Makes the network as a configuration wants it, or leaves it as it was. Where a driver refuses next hop
    /// objects, routes spell out their next hops from then on. Answers also what is wanted now.
    pub(super) fn commit_wanted(&mut self, config: &Config) -> Result<(Report, Arc<Network>), Failure> {
        self.remember_link_modes(config)?;
        let desired = self.wanted(config, &self.attachments);
        let error = match self.attempt(&desired) {
            Ok(report) => return Ok((report, desired)),
            Err(error) => error,
        };
        let words = match &error.reason {
            Reason::Refused { action, error: refusal }
                if error.left.is_empty() && self.refuses_objects(action, refusal) =>
            {
                format!("{action}: {refusal}")
            }
            _ => return Err(self.note_failed(error, config)),
        };
        self.next_hop_objects = false;
        let desired = self.wanted(config, &self.attachments);
        match self.commit(&desired, config) {
            Ok(report) => {
                self.tell_inline(&words);
                Ok((report, desired))
            }
            Err(failure) => {
                // Nothing was changed, so what is there still stands on objects.
                self.next_hop_objects = true;
                Err(failure)
            }
        }
    }

    /// Takes note that a driver refused next hop objects while the kernel was made as wanted. Answers whether
    /// something else is wanted now.
    pub(super) fn give_up_objects(&mut self, refused: &[(Action, KernelError)]) -> bool {
        let Some((action, error)) =
            refused.iter().find(|(action, error)| self.refuses_objects(action, error))
        else {
            return false;
        };
        self.next_hop_objects = false;
        self.desired = self.wanted(&self.config, &self.attachments);
        self.tell_inline(&format!("{action}: {error}"));
        true
    }

    /// Whether a refusal is that of a driver that takes no next hop objects, or no more of them. What the kernel
    /// itself refuses is wrong in any form.
    fn refuses_objects(&self, action: &Action, error: &KernelError) -> bool {
        let by_object = match action {
            Action::NextHop { to, .. } => to.is_some(),
            Action::Route { to, .. } => matches!(to, Some(RouteTarget::Object(_))),
            _ => false,
        };
        by_object && self.next_hop_objects && error.is_from_driver()
    }

    fn tell_inline(&self, words: &str) {
        let words = format!("{words}: routes spell out their next hops instead");
        tracing::warn!("{words}");
        self.hub.tell(EventKind::Fallback, "next-hops", EventSource::Netd, words);
    }

    /// Goes on as an earlier run of netd ended: on a switch whose routes spell out their next hops, since its
    /// driver refused objects, a restart changes nothing.
    pub(super) fn adopt_inline_routes(&mut self) -> Result<(), KernelError> {
        // Only drivers refuse objects.
        if self.has_asic() || self.stand_in.is_some() {
            let actual = self.with_kernel(&Network::default(), |kernel| kernel.snapshot())?;
            let inline = |route: &crate::plan::Route| matches!(route.target, RouteTarget::NextHops(_));
            self.next_hop_objects = !actual.routes.iter().any(inline);
        }
        Ok(())
    }
}
