//! What sysfs tells of a network device and netlink does not: driver, speed.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows network devices.
const CLASS: &str = "/sys/class/net";

/// The device's folder.
pub(super) fn class(name: &str) -> PathBuf {
    Path::new(CLASS).join(name)
}

/// Name of the driver (`rocker`, `virtio_net`); `None` for devices made by software.
pub fn driver(name: &str) -> Option<String> {
    let link = fs::read_link(class(name).join("device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Speed in Mbit/s; 0 when the driver does not say.
pub fn speed_mbps(name: &str) -> u32 {
    read(name, "speed")
        .and_then(|text| text.parse::<i64>().ok())
        .and_then(|v| i32::try_from(v).ok())
        .and_then(|v| u32::try_from(v).ok())
        .unwrap_or(0)
}

/// `full` or `half`; empty when the driver does not say.
pub fn duplex(name: &str) -> String {
    read(name, "duplex").filter(|text| text == "full" || text == "half").unwrap_or_default()
}

fn read(name: &str, file: &str) -> Option<String> {
    Some(fs::read_to_string(class(name).join(file)).ok()?.trim().to_owned())
}
