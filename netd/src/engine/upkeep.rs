//! Keeping the kernel as wanted: what events ask for, and what is done about it.

use std::collections::BTreeSet;

use netd_api::config::is_port_name;

use crate::desired::BRIDGE;
use crate::engine::Engine;
use crate::kernel::monitor::Event;
use crate::kernel::{KernelError, link};
use crate::platform::{self, MANAGEMENT};
use crate::transaction::{self, Kernel};

/// What a look at the kernel found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Everything is as wanted.
    Same,
    /// Something was put right.
    Repaired,
    /// Something is wrong and could not be put right; look again later.
    Wrong,
}

impl Engine {
    /// Tells whether events ask for a look. Those an operator should know of are logged.
    pub fn note(&self, events: &[Event]) -> bool {
        let mut look = false;
        for event in events {
            match event {
                Event::Link(link) => {
                    // A name no rule gave, or any link that is wanted.
                    look |= link.is_hardware() || self.desired.links.contains_key(&link.name);
                }
                Event::LinkGone { name, .. } => look |= self.desired.links.contains_key(name),
                Event::AddressLost(address) if address.is_duplicate() => {
                    tracing::error!("{}: another host on the link uses this address", address.address);
                }
                Event::AddressLost(_) | Event::RouteLost(_) => look = true,
                Event::Overrun => {
                    tracing::warn!("events of the kernel were lost: looking at everything");
                    look = true;
                }
            }
        }
        look
    }

    /// Compares the kernel with what is wanted and puts right what differs.
    pub fn look(&mut self) -> Result<Look, KernelError> {
        if self.name_devices()? {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        if self.drop_lost_attachments()? {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        if !self.managing {
            return Ok(Look::Same);
        }
        let mut problems = Vec::new();
        if let Err(failure) = self.load_rules(&Self::ruleset_for(&self.config)) {
            let words = failure.words();
            if self.ruleset.is_empty() {
                // Nothing guards the switch itself: no port may come up before the rules are in force.
                tracing::error!("{words}: ports stay as they are until the rules can be loaded");
                self.problems = vec![words];
                return Ok(Look::Wrong);
            }
            problems.push(words);
        }
        let (scope, desired) = (self.scope(&self.desired), &self.desired);
        let mut kernel = Kernel { connection: &mut self.connection, scope: &scope, bridge: BRIDGE };
        let (repaired, failed) = transaction::reconcile(&mut kernel, desired)?;
        for step in &repaired {
            tracing::info!("{step}");
        }
        problems.extend(failed);
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        let wrong = !problems.is_empty();
        self.problems = problems;
        Ok(match (wrong, repaired.is_empty()) {
            (true, _) => Look::Wrong,
            (false, false) => Look::Repaired,
            (false, true) => Look::Same,
        })
    }

    /// Gives new devices their names. Answers whether the set of ports changed.
    pub(super) fn name_devices(&mut self) -> Result<bool, KernelError> {
        let devices = platform::rename_all(&mut self.connection, self.platform.as_ref())?;
        let ports: BTreeSet<String> =
            devices.iter().map(|device| device.name.clone()).filter(|name| is_port_name(name)).collect();
        let changed = ports != self.ports;
        if changed {
            let management = devices.iter().any(|device| device.name == MANAGEMENT);
            let management = if management { "and a" } else { "and no" };
            tracing::info!("{} front-panel ports {management} management port", ports.len());
        }
        self.ports = ports;
        self.devices = devices;
        Ok(changed)
    }

    /// Forgets attachments whose link is gone: their workload's namespace went, and took it along.
    /// Answers whether there were any.
    pub(super) fn drop_lost_attachments(&mut self) -> Result<bool, KernelError> {
        if self.attachments.is_empty() {
            return Ok(false);
        }
        let links = link::dump(&mut self.connection, false)?;
        let alive = |port: &str| links.iter().any(|link| link.name == port && link.kind == "veth");
        let lost: Vec<String> = self
            .attachments
            .values()
            .filter(|record| !alive(&record.port))
            .map(|record| record.key.clone())
            .collect();
        for key in &lost {
            tracing::info!("{key}: its workload is gone");
            self.forget(key);
        }
        Ok(!lost.is_empty())
    }
}
