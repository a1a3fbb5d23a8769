//! Keeping the kernel as wanted: what events ask for, and what is done about it.

use std::collections::BTreeSet;

use netd_api::alarm::AlarmKind;
use netd_api::config::is_port_name;
use netd_api::config::model::Inventory;
use netd_api::diagnostic::Diagnostic;
use netd_api::events::{EventKind, EventSource};

use crate::engine::Engine;
use crate::engine::drift::Judge;
use crate::engine::problems::{Drift, Problem};
use crate::engine::step_words::Words;
use crate::events::groups::Groups;
use crate::kernel::monitor::Event;
use crate::kernel::{KernelError, link, next_hop};
use crate::plan::{Action, LinkKind};
use crate::platform::MANAGEMENT;
use crate::policy;
use crate::transaction::{self, Reconciled};

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
    pub fn note(&mut self, events: &[Event]) -> bool {
        let mut look = false;
        for event in events {
            match event {
                Event::Link(link) => {
                    if self.has_port(&link.name) {
                        self.hub.link_seen(&link.name, link.has_carrier());
                    }
                    self.flapped.links.insert(link.name.clone());
                    // A name no rule gave, or any link that is wanted.
                    look |= link.is_hardware() || self.desired.links.contains_key(&link.name);
                }
                Event::LinkGone { name, .. } => {
                    self.forget_port(name);
                    look |= self.desired.links.contains_key(name);
                }
                Event::RouteHardware(route) => self.note_route(route),
                Event::Growth => self.limits.hear(),
                Event::BridgePort { name, .. } => {
                    look |= name.is_empty() || self.desired.links.contains_key(name)
                }
                Event::AddressLost(_)
                | Event::PortSet
                | Event::RouteLost(_)
                | Event::RouteReplaced(_)
                | Event::NextHop(_)
                | Event::Neighbour(_)
                | Event::Fdb(_)
                | Event::Mdb(_)
                | Event::Filter
                | Event::Rule => look = true,
                // Perhaps one that another host had.
                Event::AddressReady(_) => look |= !self.problems.is_empty(),
                Event::Overrun => {
                    tracing::warn!("events of the kernel were lost: looking at everything");
                    self.unheard = true;
                    look = true;
                }
            }
        }
        look
    }

    /// Whether operators know the link as a port: front panel, workload or LAG.
    fn has_port(&self, name: &str) -> bool {
        let lag =
            || self.desired.links.get(name).is_some_and(|link| matches!(link.kind, LinkKind::Lag { .. }));
        self.ports.contains(name) || self.attachments.values().any(|record| record.port == name) || lag()
    }

    /// Tells the hub which links there are, and which of them matter at once: those whose next hops share
    /// routes with others, and members of LAGs.
    pub(super) fn tell_links(&mut self) -> Result<(), KernelError> {
        let mut groups = Groups::of(&self.desired);
        let mut needed = groups.links();
        if !needed.is_empty() {
            let objects = next_hop::dump(&mut self.connection)?.into_iter();
            let in_groups = objects.map(|object| (object.id, object.members));
            groups.found(in_groups.filter(|(_, members)| !members.is_empty()).collect());
        }
        for (name, link) in &self.desired.links {
            let lag = link.master.as_ref().and_then(|master| self.desired.links.get(master));
            if lag.is_some_and(|lag| matches!(lag.kind, LinkKind::Lag { .. })) {
                needed.insert(name.clone());
            }
        }
        let links = link::dump(&mut self.connection, false)?;
        let indexes = links.iter().map(|link| (link.name.clone(), link.index)).collect();
        self.hub.set_links(indexes, needed, groups);
        self.judge_bridge(&links);
        for link in links.iter().filter(|link| self.has_port(&link.name)) {
            self.hub.link_seen(&link.name, link.has_carrier());
        }
        Ok(())
    }

    /// Compares the kernel with what is wanted and puts right what differs. Where the kernel does not answer, that is a
    /// problem like others, and tried again: it ends nothing.
    pub fn look(&mut self) -> Look {
        self.try_look().unwrap_or_else(|error| {
            let mut problems = self.problems.clone();
            problems.retain(|problem| problem.condition.kind != AlarmKind::KernelUnreadable);
            problems.insert(0, Problem::unreadable(&error.to_string()));
            self.take_note(problems);
            Look::Wrong
        })
    }

    fn try_look(&mut self) -> Result<Look, KernelError> {
        if self.name_devices()? {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        if self.drop_lost_attachments()? {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        // Also while nothing is managed: what the switch itself is reached by must not depend on it.
        if let Err(failure) = self.load_rules(&policy::ruleset(&self.config)) {
            // What guards the switch itself is not known: no port may come up before the rules are in force.
            self.take_note(vec![Problem::no_rules(&failure.words())]);
            return Ok(Look::Wrong);
        }
        let breakout = self.bring_back_ports();
        if self.managing && self.remember_link_modes(&self.config.clone())? {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        let mut result = self.bring_back()?;
        if self.give_up_objects(&result.refused) {
            result = self.bring_back()?;
        }
        self.tell_drift(&result);
        let wrong = !result.failed.is_empty();
        if !wrong {
            self.all_undone();
        }
        self.tell_links()?;
        if self.has_failed_routes() || self.unheard && self.has_asic() {
            self.unheard = false;
            self.check_routes();
        }
        // A port that is missing comes with an event of its own, so it is no reason to look again.
        let duplicates = self.tell_hosts()?;
        let missing = self.missing_ports();
        let missing = missing.iter().map(Problem::missing);
        let failed = result.failed.iter().map(|(action, why)| Problem::failed(action, why, &self.config));
        let problems = missing.chain(breakout.map(Problem::breakout)).chain(failed).chain(duplicates);
        let problems = problems.collect();
        self.take_note(problems);
        self.check_storage();
        self.check_event_states();
        Ok(match (wrong, result.count == 0) {
            (true, _) => Look::Wrong,
            (false, false) => Look::Repaired,
            (false, true) => Look::Same,
        })
    }

    /// Splits ports, and makes them whole, as the running configuration says. Answers what is wrong with that.
    fn bring_back_ports(&mut self) -> Option<String> {
        if !self.managing {
            return None;
        }
        let outcome = self.break_out(&self.config.clone());
        if matches!(outcome, Ok(true)) {
            self.desired = self.wanted(&self.config, &self.attachments);
        }
        outcome.err().map(|failure| failure.words())
    }

    /// Makes the kernel as wanted again, but for what the configuration says is only to be reported.
    fn bring_back(&mut self) -> Result<Reconciled, KernelError> {
        let (goal, managed) = match (self.managing, &self.to_restore) {
            (true, _) => (self.desired.clone(), true),
            (false, Some(before)) => (before.clone(), false),
            (false, None) => return Ok(Reconciled::default()),
        };
        let (scope, dark) = (self.scope(&goal), self.hub.dark());
        // After that: what goes with a link that is dark is no drift.
        let mut flapped = std::mem::take(&mut self.flapped);
        flapped.links.extend(self.hub.take_moved());
        let judge = Judge::new(&self.config, &goal, &flapped);
        let known = self.unreported.clone();
        let unreported = &mut self.unreported;
        let mut kernel =
            super::backend(&mut self.stand_in, &mut self.connection, &scope, dark, unreported, None);
        // A switch that comes up has no drift yet: nobody had anything to change.
        let settled = self.settled;
        let allows = |action: &Action| !managed || !settled || judge.allows(action);
        let outcome = transaction::reconcile(&mut kernel, &goal, allows);
        drop(kernel);
        self.save_link_modes_unless(&known);
        outcome
    }

    /// Logs and tells what was put right, and keeps what is only reported.
    fn tell_drift(&mut self, result: &Reconciled) {
        for action in &result.repaired {
            tracing::info!("{action}");
            if self.settled && !action.is_about_held_route() {
                let (object, detail) = (action.object(), action.to_string());
                self.hub.tell(EventKind::Repaired, &object, EventSource::Netlink, detail);
            }
        }
        if result.count > result.repaired.len() {
            tracing::info!("and {} steps more", result.count - result.repaired.len());
        }
        let (config, found) = (self.config.as_ref(), &result.found);
        let words = Words { config, running: config, desired: &self.desired, actual: found };
        let drift = result.let_be.iter().filter(|action| !action.is_about_held_route());
        self.drift = drift.map(|action| Drift::of(action, &words)).collect();
        self.settled = true;
    }

    /// What the running configuration says of ports this switch does not have, or not yet.
    fn missing_ports(&self) -> Vec<Diagnostic> {
        let known = self.ports.union(&self.naming.remembered_ports()).cloned().collect();
        let inventory = Inventory { ports: known, attachments: Vec::new() };
        let missing = self.config.ports.iter().filter(|(name, _)| !self.ports.contains(*name));
        let missing = missing.filter_map(|(name, port)| {
            let message = format!("the port is missing: no device at {}", self.naming.location(name)?);
            let (line, column) = (port.place.line, port.place.column);
            Some(Diagnostic { line, column, path: format!("ports.{name}"), message })
        });
        missing.chain(self.config.admit(&inventory)).collect()
    }

    /// Gives new devices their names. Answers whether the set of ports changed.
    pub(super) fn name_devices(&mut self) -> Result<bool, KernelError> {
        let devices = self.naming.rename_all(&mut self.connection)?;
        let ports: BTreeSet<String> =
            devices.iter().map(|device| device.name.clone()).filter(|name| is_port_name(name)).collect();
        let changed = ports != self.ports;
        if changed {
            let management = devices.iter().any(|device| device.name == MANAGEMENT);
            let management = if management { "and a" } else { "and no" };
            tracing::info!("{} front-panel ports {management} management port", ports.len());
        }
        self.remember_macs(devices.iter().filter(|device| ports.contains(&device.name)));
        self.take_ports(ports);
        self.devices = devices;
        Ok(changed)
    }

    /// Takes in which ports there are, and tells which came and went.
    fn take_ports(&mut self, ports: BTreeSet<String>) {
        let before = std::mem::replace(&mut self.ports, ports);
        // At netd's start none is news.
        if !self.settled {
            return;
        }
        let gone = before.difference(&self.ports).map(|port| (EventKind::PortRemoved, port));
        let new = self.ports.difference(&before).map(|port| (EventKind::PortAdded, port));
        for (kind, port) in gone.chain(new) {
            self.hub.tell(kind, port, EventSource::Netlink, "");
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Paths;
    use crate::events::Hub;
    use crate::store::disk::Files;

    #[test]
    fn ports_that_come_and_go_are_events_once_netd_has_started() {
        let hub = Hub::open().expect("a thread");
        let mut engine = Engine::open(Paths::default(), hub.clone(), Box::new(Files)).expect("netlink");
        let ports = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        engine.take_ports(ports(&["swp1", "swp2"]));
        assert_eq!(hub.events_after(0), []);
        engine.settled = true;
        engine.take_ports(ports(&["swp2", "swp3", "swp4"]));
        engine.take_ports(ports(&["swp2", "swp3", "swp4"]));
        let told: Vec<_> = hub.events_after(0).into_iter().map(|event| (event.kind, event.object)).collect();
        let event = |kind, port: &str| (kind, port.to_owned());
        use EventKind::{PortAdded, PortRemoved};
        assert_eq!(told, [event(PortRemoved, "swp1"), event(PortAdded, "swp3"), event(PortAdded, "swp4")]);
    }
}
