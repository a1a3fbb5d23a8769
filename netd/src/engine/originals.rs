//! How ports were set before netd first set their speed, duplex, negotiation or FEC. Drivers do not tell
//! what they would do by themselves, so what was found is noted, for this boot, and comes back when the
//! configuration says nothing of it any more.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use crate::engine::Engine;
use crate::kernel::KernelError;
use crate::plan::{LINK_MODES, Network, Settings};
use crate::store::write_atomically;

/// What an earlier start of netd noted in this boot.
pub(super) fn load(file: &Path) -> BTreeMap<String, Settings> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::warn!("{}: {error}", file.display());
            return BTreeMap::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!("{}: {error}", file.display());
        BTreeMap::new()
    })
}

impl Engine {
    /// Notes how the ports are set that `desired` sets for the first time.
    pub(super) fn remember_link_modes(&mut self, desired: &Network) -> Result<(), KernelError> {
        let names = |name: &&String| self.ports.contains(*name) && !self.original_modes.contains_key(*name);
        let scope = self.scope(desired);
        let first: Vec<String> = scope.ethtool.iter().filter(names).cloned().collect();
        if first.is_empty() {
            return Ok(());
        }
        let mut found = self.with_kernel(desired, |kernel| kernel.snapshot())?;
        for name in first {
            // A port that is not there yet is noted when it is.
            let Some(link) = found.links.remove(&name) else { continue };
            let mut settings = link.settings;
            settings.retain(|setting, _| LINK_MODES.contains(setting));
            self.original_modes.insert(name, settings);
        }
        let file = &self.paths.link_modes;
        let text = serde_json::to_vec_pretty(&self.original_modes).unwrap_or_default();
        if let Err(error) = write_atomically(file, &text, 0o600) {
            tracing::warn!("{}: {error}", file.display());
        }
        Ok(())
    }
}
