//! What sysfs tells of a network device and netlink does not: driver, place on the PCI bus, speed.

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

/// PCI address (`0000:00:08.1`) of the function the device sits on.
pub fn pci_address(name: &str) -> Option<String> {
    let path = fs::canonicalize(class(name).join("device")).ok()?;
    path.components()
        .rev()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .find(|part| is_pci_address(part))
}

/// Whether the text is a PCI address: `domain:bus:slot.function`.
fn is_pci_address(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    shape == "xxxx:xx:xx.x"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_told_from_other_path_parts() {
        assert!(is_pci_address("0000:00:08.1"));
        assert!(!is_pci_address("virtio3"));
        assert!(!is_pci_address("pci0000:00"));
    }
}
