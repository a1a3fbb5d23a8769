//! Files that netd, the console and the system daemon agree on.

/// The document netd applies at start. Written atomically by netd after each commit, and by first-boot
/// provisioning while it does not exist yet.
pub const STARTUP_CONFIG: &str = "/var/lib/corten/netd/startup.toml";

/// The document that is running now, published by netd after each commit for readers that render the
/// rest of the system (host name, users, management network) from it.
pub const RUNNING_CONFIG: &str = "/run/corten/running.toml";

/// Attachments of this boot, one JSON file each.
pub const ATTACHMENTS_DIR: &str = "/run/corten/attachments";

/// Platform files, one a switch model.
pub const PLATFORMS_DIR: &str = "/usr/lib/corten/platforms";
