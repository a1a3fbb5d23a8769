//! The host name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use netd_api::config::Config;

use crate::files;

/// The kernel's own file: writing it is sethostname(2).
const KERNEL: &str = "/proc/sys/kernel/hostname";
/// The image's default.
const DEFAULT: &str = "/etc/hostname";

/// Sets the configured host name, or the image's default.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let name = match &config.system.hostname {
        Some(name) => name.clone(),
        None => default_name(root),
    };
    let path = files::below(root, KERNEL);
    let current = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if current.trim_end() != name {
        fs::write(&path, &name).with_context(|| format!("cannot set the host name {name}"))?;
    }
    Ok(())
}

fn default_name(root: &Path) -> String {
    let text = fs::read_to_string(files::below(root, DEFAULT)).unwrap_or_default();
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.unwrap_or("corten").to_owned()
}
