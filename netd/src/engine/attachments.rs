//! Attach and detach.

use std::os::fd::OwnedFd;

use netd_api::attach::{AttachRequest, Attached};
use netd_api::config::MAX_BRIDGE_PORTS;
use netd_api::events::{EventKind, EventSource};

use crate::attach::workload::{self, WorkloadError};
use crate::attach::{MAX_ATTACHMENTS, Record, check_request, records};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::kernel::link;
use crate::policy;

impl Engine {
    /// Makes a port for a workload. Asking again with the same key replaces the port. On failure nothing
    /// of the new port is left.
    pub fn attach(
        &mut self,
        request: &AttachRequest,
        netns: &OwnedFd,
        netlink: OwnedFd,
    ) -> Result<Attached, Failure> {
        let record =
            check_request(request).map_err(|reason| Failure::Invalid(format!("attachment: {reason}")))?;
        self.check_room(&record)?;
        // No port may come up before the rules are in force.
        self.load_rules(&policy::ruleset(&self.config))?;
        let refused = |error: WorkloadError| match error {
            WorkloadError::Descriptor(_) => Failure::Invalid(error.to_string()),
            WorkloadError::Kernel { .. } => Failure::Refused(error.to_string()),
        };
        // A request that cannot succeed must not cost the port that is there; but both cannot be there at once, so one
        // that the kernel has no room for does.
        workload::check(netns, &netlink).map_err(refused)?;
        self.check_name(&record)?;
        self.detach(&record.key)?;
        workload::create(&mut self.connection, &record, netns, netlink).map_err(refused)?;
        let (key, port, mac) = (record.key.clone(), record.port.clone(), record.mac.clone());
        if let Err(failure) = self.take_in(record) {
            if let Err(more) = self.detach(&key) {
                tracing::error!("{key}: undoing the attachment: {}", more.words());
            }
            return Err(failure);
        }
        tracing::info!("{key}: attached as {port}");
        self.hub.tell(EventKind::Attached, &key, EventSource::Netd, port.clone());
        Ok(Attached { port, mac })
    }

    /// A link of the port's name that is no attachment's stands in its way.
    fn check_name(&mut self, record: &Record) -> Result<(), Failure> {
        if self.attachments.get(&record.key).is_some_and(|known| known.port == record.port) {
            return Ok(());
        }
        let links = link::dump(&mut self.connection, false)?;
        match links.iter().any(|link| link.name == record.port) {
            true => Err(Failure::Refused(format!("there is a link named {} already", record.port))),
            false => Ok(()),
        }
    }

    fn check_room(&self, record: &Record) -> Result<(), Failure> {
        if self.attachments.len() >= MAX_ATTACHMENTS && !self.attachments.contains_key(&record.key) {
            return Err(Failure::Refused(format!(
                "there are {MAX_ATTACHMENTS} attachments, the most there may be"
            )));
        }
        let known = self.attachments.contains_key(&record.key);
        if !known && self.config.bridge_ports() + self.attachments.len() >= MAX_BRIDGE_PORTS {
            return Err(Failure::Refused(format!(
                "the bridge has {MAX_BRIDGE_PORTS} ports, the most there may be"
            )));
        }
        let clash =
            self.attachments.values().find(|other| other.port == record.port && other.key != record.key);
        if let Some(other) = clash {
            return Err(Failure::Refused(format!("the port name {} is taken by {}", record.port, other.key)));
        }
        let vlans = record.usage().vlans;
        let missing =
            vlans.iter().flat_map(|range| range.first..=range.last).find(|id| !self.config.has_vlan(*id));
        match missing {
            None => Ok(()),
            Some(id) => Err(Failure::NotFound(format!(
                "VLAN {id} does not exist: no port carries it and the configuration has no [vlans.{id}]"
            ))),
        }
    }

    /// Puts the switch's side into the bridge and its VLANs, and keeps the record. Only steps of its own
    /// port count: what else the kernel refuses is no fault of the workload, and is retried elsewhere.
    fn take_in(&mut self, record: Record) -> Result<(), Failure> {
        let saved = records::save(&self.paths.attachments, &record);
        let saved =
            saved.map_err(|error| Failure::Failed(format!("{}: keeping the record: {error}", record.key)));
        let port = record.port.clone();
        self.attachments.insert(record.key.clone(), record);
        saved?;
        let desired = self.wanted(&self.config, &self.attachments);
        self.commit_part(&desired, |action| action.object() == port)?;
        self.desired = desired;
        Ok(())
    }

    /// Removes a port. Removing one that is gone succeeds; one that the kernel does not let go is kept,
    /// with its record. Nothing else is changed.
    pub fn detach(&mut self, key: &str) -> Result<(), Failure> {
        let Some(port) = self.attachments.get(key).map(|record| record.port.clone()) else {
            return Ok(());
        };
        workload::delete(&mut self.connection, &port)
            .map_err(|error| Failure::Refused(format!("{key}: {error}")))?;
        self.forget(key);
        self.desired = self.wanted(&self.config, &self.attachments);
        tracing::info!("{key}: detached");
        Ok(())
    }

    /// Forgets an attachment whose link is gone.
    pub(super) fn forget(&mut self, key: &str) {
        let Some(record) = self.attachments.remove(key) else { return };
        if let Err(error) = records::remove(&self.paths.attachments, &record) {
            tracing::warn!("{key}: removing the record: {error}");
        }
        self.hub.tell(EventKind::Detached, key, EventSource::Netd, record.port);
    }
}
