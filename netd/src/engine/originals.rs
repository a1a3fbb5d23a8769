//! How ports were set before netd first set their speed, duplex, negotiation or FEC. Drivers do not tell
//! what they would do by themselves, so what was found is noted, for this boot, and comes back when the
//! configuration says nothing of it any more. What netd set and drivers do not tell is noted beside it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use netd_api::config::Config;
use netd_api::config::model::LinkMode;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::kernel::KernelError;
use crate::kernel::unreported::Unreported;
use crate::plan::{LINK_MODES, Settings};
use crate::platform::Device;
use crate::store::write_atomically;

/// What is kept of this boot.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LinkModes {
    /// How ports were set before netd set them.
    pub(super) original: BTreeMap<String, Settings>,
    /// What netd set and drivers do not tell.
    pub(super) unreported: Unreported,
    /// Hardware addresses of ports when they were first seen, where drivers do not tell which they were born with.
    pub(super) macs: BTreeMap<String, String>,
}

/// What an earlier start of netd noted in this boot.
pub(super) fn load(file: &Path) -> LinkModes {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return LinkModes::default(),
        Err(error) => {
            tracing::warn!("{}: {error}", file.display());
            return LinkModes::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!("{}: {error}", file.display());
        LinkModes::default()
    })
}

impl Engine {
    /// Notes how the ports are set that a configuration sets for the first time. Comes before what is wanted is
    /// worked out, which is about that. Answers whether there were any.
    pub(super) fn remember_link_modes(&mut self, config: &Config) -> Result<bool, KernelError> {
        let first = self.read_link_modes(config)?;
        if first {
            self.save_link_modes();
        }
        Ok(first)
    }

    /// The same for who only wants to know: nothing is written, and what was there before is to be put back.
    pub(super) fn read_link_modes(&mut self, config: &Config) -> Result<bool, KernelError> {
        let sets = config.ports.iter().filter(|(_, port)| port.link_mode != LinkMode::default());
        // A port that is not there yet is noted when it is.
        let unknown = |name: &&String| self.ports.contains(*name) && !self.original_modes.contains_key(*name);
        let first: Vec<String> = sets.map(|(name, _)| name).filter(unknown).cloned().collect();
        if first.is_empty() {
            return Ok(false);
        }
        let desired = self.wanted(config, &self.attachments);
        let mut found = self.with_kernel(&desired, |kernel| kernel.snapshot())?;
        for name in first {
            let Some(link) = found.links.remove(&name) else { continue };
            let mut settings = link.settings;
            settings.retain(|setting, _| LINK_MODES.contains(setting));
            self.original_modes.insert(name, settings);
        }
        Ok(true)
    }

    /// Notes which hardware addresses ports go back to.
    pub(super) fn remember_macs<'a>(&mut self, ports: impl Iterator<Item = &'a Device>) {
        let known = self.first_macs.len();
        self.permanent_macs.clear();
        for Device { name, permanent_mac, mac, .. } in ports {
            let born = match permanent_mac.as_str() {
                "" => self.first_macs.entry(name.clone()).or_insert_with(|| mac.clone()),
                mac => mac,
            };
            self.permanent_macs.insert(name.clone(), born.to_owned());
        }
        if self.first_macs.len() != known {
            self.save_link_modes();
        }
    }

    /// Forgets a port that is gone: one of its name that comes is another.
    pub(super) fn forget_port(&mut self, name: &str) {
        let modes = self.original_modes.remove(name).is_some();
        let unreported = self.unreported.forget(name);
        if self.first_macs.remove(name).is_some() || modes || unreported {
            self.save_link_modes();
        }
    }

    /// Keeps what drivers do not tell, if it is not what was known.
    pub(super) fn save_link_modes_unless(&self, known: &Unreported) {
        if self.unreported != *known {
            self.save_link_modes();
        }
    }

    fn save_link_modes(&self) {
        let file = &self.paths.link_modes;
        let modes = LinkModes {
            original: self.original_modes.clone(),
            unreported: self.unreported.clone(),
            macs: self.first_macs.clone(),
        };
        let text = serde_json::to_vec_pretty(&modes).unwrap_or_default();
        if let Err(error) = write_atomically(file, &text, 0o600) {
            tracing::warn!("{}: {error}", file.display());
        }
    }
}
