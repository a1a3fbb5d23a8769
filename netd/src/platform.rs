//! The platform: which network device is which port.
//!
//! A platform file (TOML) says it for a switch model, chosen by what the firmware calls the machine
//! (DMI). Without one, [`generic`] names ports by their order on the bus, once: what was seen is remembered
//! ([`memory`]). Ports are known by their name on the ASIC (`phys_port_name`) or by the way to them on the PCI bus,
//! never by the kernel's name or index, which depend on the order of probing. Naming is pure; [`Naming`] carries it
//! out.

mod generic;
mod memory;
mod naming;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

pub use naming::Naming;
use serde::Deserialize;

use crate::kernel::bus::{BusLocation, Sysfs};

/// Name of the management port.
pub const MANAGEMENT: &str = "mgmt0";
/// Most ports one rule may name.
const MAX_COUNT: u32 = 1024;

/// A platform file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Platform {
    /// What an operator calls it.
    pub name: String,
    /// When the file applies.
    #[serde(rename = "match")]
    pub machine: Machine,
    /// The management port.
    pub management: Option<Management>,
    /// Front-panel ports: the first rule that fits a device names it.
    #[serde(default)]
    pub ports: Vec<PortRule>,
}

/// When a platform file applies: every value given must equal the firmware's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// `/sys/class/dmi/id/sys_vendor`.
    pub sys_vendor: Option<String>,
    /// `/sys/class/dmi/id/product_name`.
    pub product_name: Option<String>,
    /// `/sys/class/dmi/id/board_name`.
    pub board_name: Option<String>,
}

/// Where the management port is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Management {
    /// PCI address, `0000:00:02.0`.
    pub pci: String,
}

/// A rule that names front-panel ports.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", untagged)]
pub enum PortRule {
    /// By the ASIC's name of the port.
    Asic {
        /// Pattern with one `{n}` for the number: `sw1p{n}` makes `sw1p3` port swp3.
        #[serde(rename = "phys-port-name")]
        phys_port_name: String,
    },
    /// By the place on the PCI bus.
    Pci {
        /// PCI address of port 1; each slot's functions 0 to 7 follow, then the next slot.
        #[serde(rename = "pci-first")]
        pci_first: String,
        /// Number of ports.
        count: u32,
    },
}

/// A network device, as naming sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Interface index.
    pub index: u32,
    /// Present name.
    pub name: String,
    /// Name of the port on the ASIC; empty for none.
    pub port_name: String,
    /// Identifier of the ASIC; empty for none.
    pub switch_id: String,
    /// Where it sits on the PCI bus.
    pub bus: Option<BusLocation>,
    /// Which of the ports of its function it is, from 0.
    pub port_number: u32,
    /// Driver.
    pub driver: String,
    /// Hardware address it was born with; empty where the driver does not tell.
    pub permanent_mac: String,
    /// Its hardware address.
    pub mac: String,
}

impl Device {
    /// Whether it is a port of a switch ASIC.
    fn is_of_asic(&self) -> bool {
        !self.switch_id.is_empty()
    }

    /// The way to its function on the PCI bus.
    fn bus_path(&self) -> Option<&str> {
        self.bus.as_ref().map(|bus| bus.path.as_str())
    }

    /// PCI address of its function.
    fn pci(&self) -> Option<&str> {
        self.bus.as_ref().map(|bus| bus.pci.as_str())
    }

    /// Hardware address it was born with; empty where the driver does not tell.
    fn born_mac(&self) -> &str {
        &self.permanent_mac
    }
}

/// What the machine's firmware says.
fn machine(sysfs: &Sysfs) -> Machine {
    Machine {
        sys_vendor: sysfs.firmware("sys_vendor"),
        product_name: sysfs.firmware("product_name"),
        board_name: sysfs.firmware("board_name"),
    }
}

impl Machine {
    fn fits(&self, found: &Machine) -> bool {
        let pairs = [
            (&self.sys_vendor, &found.sys_vendor),
            (&self.product_name, &found.product_name),
            (&self.board_name, &found.board_name),
        ];
        // A file that matches nothing in particular must not match everything.
        pairs.iter().any(|(want, _)| want.is_some())
            && pairs.iter().all(|(want, is)| want.is_none() || want == is)
    }
}

/// The platform of this machine. Files that do not read are named in the log; without one that fits,
/// the rules of [`generic`] hold.
fn load(folder: &Path, sysfs: &Sysfs) -> Option<Platform> {
    let found = machine(sysfs);
    let mut files: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    for path in files {
        let parsed = fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| toml::from_str::<Platform>(&text).map_err(|error| error.to_string()));
        match parsed {
            Ok(platform) if platform.machine.fits(&found) => {
                tracing::info!("platform {} ({})", platform.name, path.display());
                return Some(platform);
            }
            Ok(_) => {}
            Err(error) => tracing::error!("{}: {error}", path.display()),
        }
    }
    let unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    tracing::warn!(
        "no platform file for {} {}: the first Ethernet controller is {MANAGEMENT}, the others are swp1, swp2, … in PCI order, and keep these names",
        unknown(&found.sys_vendor),
        unknown(&found.product_name)
    );
    None
}

/// Names a platform file has for devices, by interface index. Devices no rule names are absent: they are not touched.
fn assign(platform: &Platform, devices: &[Device]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for device in devices {
        if let Some(name) = named_by(platform, device).filter(|name| taken.insert(name.clone())) {
            names.insert(device.index, name);
        }
    }
    names
}

fn named_by(platform: &Platform, device: &Device) -> Option<String> {
    let pci = device.pci();
    if device.port_name.is_empty()
        && pci.is_some()
        && platform.management.as_ref().map(|management| management.pci.as_str()) == pci
    {
        return Some(MANAGEMENT.to_owned());
    }
    let number = platform.ports.iter().find_map(|rule| match rule {
        PortRule::Asic { phys_port_name } if device.is_of_asic() => {
            let (before, after) = phys_port_name.split_once("{n}")?;
            port_number(device.port_name.strip_prefix(before)?.strip_suffix(after)?)
        }
        PortRule::Pci { pci_first, count } if device.port_name.is_empty() => {
            let offset = linear(pci?)?.checked_sub(linear(pci_first)?)?;
            (offset < (*count).min(MAX_COUNT)).then_some(offset + 1)
        }
        _ => None,
    })?;
    Some(format!("swp{number}"))
}

fn port_number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && (1..=9999).contains(number))
}

/// A PCI address as a number: neighbouring functions and slots differ by one.
fn linear(address: &str) -> Option<u32> {
    let (rest, function) = address.split_once('.')?;
    let mut parts = rest.split(':').map(|part| u32::from_str_radix(part, 16).ok());
    let (domain, bus, slot) = (parts.next()??, parts.next()??, parts.next()??);
    let function = u32::from_str_radix(function, 16).ok()?;
    let in_range = parts.next().is_none() && domain <= 0xffff && bus <= 0xff && slot <= 0x1f && function <= 7;
    in_range.then_some(domain << 16 | bus << 8 | slot << 3 | function)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const QEMU: &str = include_str!("../../os-image/platforms/qemu-q35.toml");

    fn qemu() -> Platform {
        toml::from_str(QEMU).unwrap()
    }

    /// A function of the root bus, or of the bus below a bridge that is not told.
    pub(super) fn location(address: &str) -> BusLocation {
        BusLocation { pci: address.to_owned(), path: format!("pci/{address}"), behind: false }
    }

    pub(super) fn pci(index: u32, address: &str) -> Device {
        Device {
            index,
            name: format!("eth{index}"),
            bus: Some(location(address)),
            permanent_mac: format!("02:00:00:00:00:{index:02x}"),
            ..Device::default()
        }
    }

    pub(super) fn asic(index: u32, port_name: &str) -> Device {
        Device { port_name: port_name.to_owned(), switch_id: "5254".into(), ..pci(index, "0000:00:04.0") }
    }

    fn names(platform: &Platform, devices: &[Device]) -> Vec<String> {
        let names = assign(platform, devices);
        devices.iter().map(|device| names.get(&device.index).cloned().unwrap_or_default()).collect()
    }

    #[test]
    fn virtio_ports_are_named_by_slot_and_function() {
        let devices = [
            pci(2, "0000:00:09.0"),
            pci(3, "0000:00:02.0"),
            pci(4, "0000:00:08.0"),
            pci(5, "0000:00:08.7"),
            pci(6, "0000:00:0f.7"),
            pci(7, "0000:00:10.0"),
        ];
        assert_eq!(names(&qemu(), &devices), ["swp9", "mgmt0", "swp1", "swp8", "swp64", ""]);
    }

    #[test]
    fn rocker_ports_are_named_by_the_asic() {
        let devices = [asic(2, "sw1p10"), pci(3, "0000:00:02.0"), asic(4, "sw1p1"), asic(5, "sw1p")];
        assert_eq!(names(&qemu(), &devices), ["swp10", "mgmt0", "swp1", ""]);
    }

    #[test]
    fn a_file_that_matches_nothing_in_particular_does_not_fit() {
        let found = Machine { sys_vendor: Some("QEMU".into()), ..Machine::default() };
        assert!(!Machine::default().fits(&found));
        assert!(qemu().machine.fits(&found));
        assert!(!qemu().machine.fits(&Machine::default()));
    }
}
