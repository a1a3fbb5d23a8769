//! The platform: which network device is which port.
//!
//! A platform file (TOML) says it for a switch model, chosen by what the firmware calls the machine
//! (DMI). Ports are known by their name on the ASIC (`phys_port_name`) or their place on the PCI bus,
//! never by the kernel's name or index, which depend on the order of probing. Naming is pure
//! ([`assign`]); [`rename_all`] carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use netd_api::config::is_port_name;
use serde::Deserialize;

use crate::kernel::{Connection, KernelError, device, link};

/// Name of the management port.
pub const MANAGEMENT: &str = "mgmt0";
/// Where the firmware's words about the machine are.
const DMI: &str = "/sys/class/dmi/id";
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
    /// PCI address of the function it sits on.
    pub pci: Option<String>,
    /// Driver.
    pub driver: String,
    /// Hardware address it was born with; empty where the driver does not tell.
    pub permanent_mac: String,
    /// Its hardware address.
    pub mac: String,
}

/// What the machine's firmware says.
fn machine() -> Machine {
    let read = |file: &str| Some(fs::read_to_string(Path::new(DMI).join(file)).ok()?.trim().to_owned());
    Machine {
        sys_vendor: read("sys_vendor"),
        product_name: read("product_name"),
        board_name: read("board_name"),
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
/// the generic rules of [`assign`] hold.
pub fn load(folder: &Path) -> Option<Platform> {
    let found = machine();
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
        "no platform file for {} {}: the first PCI device is {MANAGEMENT}, the others are swp1, swp2, … in PCI order",
        unknown(&found.sys_vendor),
        unknown(&found.product_name)
    );
    None
}

/// Names for devices, by interface index. Devices no rule names are absent: they are not touched.
pub fn assign(platform: Option<&Platform>, devices: &[Device]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for device in devices {
        let wanted = match platform {
            Some(platform) => named_by(platform, device),
            None => generic_asic_name(device),
        };
        if let Some(name) = wanted.filter(|name| taken.insert(name.clone())) {
            names.insert(device.index, name);
        }
    }
    if platform.is_none() {
        add_generic_pci_names(devices, &mut names, &mut taken);
    }
    names
}

fn named_by(platform: &Platform, device: &Device) -> Option<String> {
    let pci = device.pci.as_deref();
    if device.port_name.is_empty()
        && pci.is_some()
        && platform.management.as_ref().map(|management| management.pci.as_str()) == pci
    {
        return Some(MANAGEMENT.to_owned());
    }
    let number = platform.ports.iter().find_map(|rule| match rule {
        PortRule::Asic { phys_port_name } if !device.switch_id.is_empty() => {
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

/// Unknown hardware with an ASIC: `p3`, `swp3`, `sw1p3` is port swp3.
fn generic_asic_name(device: &Device) -> Option<String> {
    if device.switch_id.is_empty() || device.port_name.is_empty() {
        return None;
    }
    if is_port_name(&device.port_name) {
        return Some(device.port_name.clone());
    }
    let number = device.port_name.rsplit('p').next().filter(|_| device.port_name.contains('p'))?;
    Some(format!("swp{}", port_number(number)?))
}

/// Unknown hardware: the first PCI device without an ASIC is for management, the others are ports.
fn add_generic_pci_names(
    devices: &[Device],
    names: &mut BTreeMap<u32, String>,
    taken: &mut BTreeSet<String>,
) {
    let has_asic = !names.is_empty();
    let mut others: Vec<(u32, u32)> = devices
        .iter()
        .filter(|device| device.switch_id.is_empty())
        .filter_map(|device| Some((linear(device.pci.as_deref()?)?, device.index)))
        .collect();
    others.sort_unstable();
    for (place, (_, index)) in others.into_iter().enumerate() {
        let name = if place == 0 { MANAGEMENT.to_owned() } else { format!("swp{place}") };
        // With an ASIC, further devices of other kinds are left alone.
        if (place == 0 || !has_asic) && taken.insert(name.clone()) {
            names.insert(index, name);
        }
    }
}

/// The hardware's network devices.
pub fn devices(connection: &mut Connection) -> Result<Vec<Device>, KernelError> {
    let links = link::dump(connection, false)?;
    Ok(links
        .into_iter()
        .filter(link::LinkRecord::is_hardware)
        .map(|link| Device {
            pci: device::pci_address(&link.name),
            driver: device::driver(&link.name).unwrap_or_default(),
            index: link.index,
            port_name: link.port_name,
            switch_id: link.switch_id,
            permanent_mac: link.permanent_mac,
            mac: link.mac,
            name: link.name,
        })
        .collect())
}

/// Gives devices their names. Answers the devices under their new names; one that cannot be renamed
/// keeps its old name and is named in the log.
pub fn rename_all(
    connection: &mut Connection,
    platform: Option<&Platform>,
) -> Result<Vec<Device>, KernelError> {
    let devices = devices(connection)?;
    let names = assign(platform, &devices);
    let wrong: Vec<&Device> = devices
        .iter()
        .filter(|device| names.get(&device.index).is_some_and(|name| *name != device.name))
        .collect();
    if wrong.is_empty() {
        return Ok(devices);
    }
    // Names may have to be swapped: what stands in the way steps aside first.
    for device in &devices {
        let in_the_way = wrong.iter().any(|other| names.get(&other.index) == Some(&device.name));
        if in_the_way && names.get(&device.index) != Some(&device.name) {
            rename(connection, device, &format!("aside{}", device.index));
        }
    }
    for device in wrong {
        if let Some(name) = names.get(&device.index) {
            rename(connection, device, name);
        }
    }
    self::devices(connection)
}

fn rename(connection: &mut Connection, device: &Device, name: &str) {
    let mut renamed = connection.request(link::rename(device.index, name));
    if renamed.is_err() {
        // Older kernels rename only what is down.
        let down = connection.request(link::set_down_by_index(device.index));
        renamed = down.and_then(|()| connection.request(link::rename(device.index, name)));
    }
    let place = device.pci.as_deref().unwrap_or(&device.port_name);
    match renamed {
        Ok(()) => tracing::info!("{name}: {} at {place} (was {})", device.driver, device.name),
        Err(error) => tracing::error!("{name}: naming {} at {place}: {error}", device.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = include_str!("../../os-image/platforms/qemu-q35.toml");

    fn qemu() -> Platform {
        toml::from_str(QEMU).unwrap()
    }

    fn pci(index: u32, address: &str) -> Device {
        Device { index, name: format!("eth{index}"), pci: Some(address.to_owned()), ..Device::default() }
    }

    fn asic(index: u32, port_name: &str) -> Device {
        let pci = Some("0000:00:04.0".to_owned());
        Device {
            index,
            name: format!("eth{index}"),
            port_name: port_name.to_owned(),
            switch_id: "5254".into(),
            pci,
            ..Device::default()
        }
    }

    fn names(platform: Option<&Platform>, devices: &[Device]) -> Vec<String> {
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
        assert_eq!(names(Some(&qemu()), &devices), ["swp9", "mgmt0", "swp1", "swp8", "swp64", ""]);
    }

    #[test]
    fn rocker_ports_are_named_by_the_asic() {
        let devices = [asic(2, "sw1p10"), pci(3, "0000:00:02.0"), asic(4, "sw1p1"), asic(5, "sw1p")];
        assert_eq!(names(Some(&qemu()), &devices), ["swp10", "mgmt0", "swp1", ""]);
    }

    #[test]
    fn unknown_hardware_gets_names_in_pci_order() {
        let devices = [pci(2, "0000:02:00.0"), pci(3, "0000:01:00.1"), pci(4, "0000:01:00.0")];
        assert_eq!(names(None, &devices), ["swp2", "swp1", "mgmt0"]);
    }

    #[test]
    fn unknown_hardware_with_an_asic_is_named_by_the_asic() {
        let devices = [asic(2, "p7"), asic(3, "swp8"), pci(4, "0000:01:00.0"), pci(5, "0000:01:00.1")];
        assert_eq!(names(None, &devices), ["swp7", "swp8", "mgmt0", ""]);
    }

    #[test]
    fn a_file_that_matches_nothing_in_particular_does_not_fit() {
        let found = Machine { sys_vendor: Some("QEMU".into()), ..Machine::default() };
        assert!(!Machine::default().fits(&found));
        assert!(qemu().machine.fits(&found));
        assert!(!qemu().machine.fits(&Machine::default()));
    }
}
