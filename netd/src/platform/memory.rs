//! What is remembered of the machine's hardware: where the ports were, so that one that is missing or added
//! renumbers no other. It is kept with the configuration, and a factory reset clears it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Device, MANAGEMENT};
use crate::kernel::bus::Sysfs;

/// What boards say that were not told their own number, in lower case.
const NO_NUMBER: [&str; 9] = [
    "to be filled by o.e.m.",
    "default string",
    "not specified",
    "not applicable",
    "not settable",
    "system serial number",
    "none",
    "unknown",
    "n/a",
];
/// The UUID of boards whose maker gave all the same one.
const COMMON_UUIDS: [&str; 1] = ["03000200-0400-0500-0006-000700080009"];

/// Which machine it is, by what its firmware says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Identity {
    vendor: String,
    product: String,
    /// Serial numbers of the machine and its board, and its UUID: those that are meant for it alone.
    numbers: Vec<String>,
}

impl Identity {
    pub(super) fn read(sysfs: &Sysfs) -> Identity {
        let first = |dmi: &str, tree: &str| {
            sysfs.firmware(dmi).or_else(|| sysfs.device_tree(tree)).unwrap_or_default()
        };
        let numbers = ["product_serial", "board_serial", "product_uuid"].map(|file| sysfs.firmware(file));
        let numbers = numbers.into_iter().chain([sysfs.device_tree("serial-number")]);
        Identity {
            vendor: first("sys_vendor", "compatible"),
            product: first("product_name", "model"),
            numbers: numbers.flatten().filter(|number| is_number(number)).collect(),
        }
    }
}

/// Whether a text of the firmware can tell one machine from others of its kind.
fn is_number(text: &str) -> bool {
    let lower = text.to_lowercase();
    let one_digit = |c: char| lower.chars().all(|other| other == c || other == '-');
    !NO_NUMBER.contains(&lower.as_str())
        && !COMMON_UUIDS.contains(&lower.as_str())
        && !['0', 'f', 'x'].into_iter().any(one_digit)
        && !["0123456789", "123456789"].contains(&lower.as_str())
}

/// A port that was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The way to its function, see [`crate::kernel::bus`].
    pub(super) path: String,
    /// Its number or name there; empty for a function no driver has found yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) port: String,
    /// The hardware address it was born with; empty where the driver does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) mac: String,
}

/// What is remembered of one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) machine: Identity,
    /// What the switch's own hardware addresses are derived from.
    pub(super) base_mac: String,
    /// Whether it has an ASIC: its ports are the front panel, whatever other devices there are.
    pub(super) asic: bool,
    /// By name.
    pub(super) ports: BTreeMap<String, Remembered>,
}

impl Memory {
    /// What was remembered of this machine; nothing if it was another one.
    pub(super) fn load(file: &Path, machine: Identity) -> Memory {
        let nothing = Memory { machine: machine.clone(), ..Memory::default() };
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::error!("{}: {error}: ports may get other names", file.display());
                }
                return nothing;
            }
        };
        match serde_json::from_slice::<Memory>(&text) {
            Ok(memory) if memory.machine == machine => memory,
            Ok(memory) => {
                tracing::warn!(
                    "{}: the ports of another machine ({} {}): ports are numbered anew",
                    file.display(),
                    memory.machine.vendor,
                    memory.machine.product
                );
                nothing
            }
            Err(error) => {
                tracing::error!("{}: {error}: ports may get other names", file.display());
                nothing
            }
        }
    }

    /// Forgets all where devices show that this is another machine. Firmware that knows no serial number says the
    /// same on all of them; then their ports' own addresses tell them apart, if only one is the same.
    pub(super) fn check(&mut self, devices: &[Device]) {
        let known: BTreeSet<&str> = self.ports.values().map(|port| port.mac.as_str()).collect();
        let here = devices.iter().filter(|device| device.bus.is_some()).map(Device::born_mac);
        let mut here = here.filter(|mac| !mac.is_empty()).peekable();
        let has_evidence = here.peek().is_some() && known.iter().any(|mac| !mac.is_empty());
        if self.machine.numbers.is_empty() && has_evidence && !here.any(|mac| known.contains(mac)) {
            tracing::warn!("none of the remembered ports is here, so this is another machine");
            *self = Memory { machine: std::mem::take(&mut self.machine), ..Memory::default() };
        }
    }

    /// Front-panel ports that were seen, with the way to each.
    pub(super) fn front_panel(&self) -> impl Iterator<Item = (&str, &Remembered)> {
        let ports = self.ports.iter().filter(|(name, _)| *name != MANAGEMENT);
        ports.map(|(name, port)| (name.as_str(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::bus::BusLocation;
    use crate::kernel::bus::tests::FakeSysfs;

    fn memory(machine: Identity) -> Memory {
        let port = Remembered { mac: "02:00:00:00:00:01".to_owned(), ..Remembered::default() };
        Memory { machine, ports: [("swp1".to_owned(), port)].into(), ..Memory::default() }
    }

    fn device(mac: &str) -> Device {
        let bus = Some(BusLocation::default());
        Device { bus, permanent_mac: mac.to_owned(), ..Device::default() }
    }

    #[test]
    fn memory_of_a_machine_with_another_serial_number_does_not_count() {
        let fake = FakeSysfs::new("identity");
        fake.set_firmware("sys_vendor", "Acme");
        fake.set_firmware("product_serial", "A1");
        let first = Identity::read(&fake.sysfs());
        let file = std::env::temp_dir().join(format!("netd-memory-{}.json", std::process::id()));
        std::fs::write(&file, serde_json::to_vec(&memory(first.clone())).unwrap()).unwrap();
        assert_eq!(Memory::load(&file, first.clone()), memory(first));
        fake.set_firmware("product_serial", "A2");
        let second = Identity::read(&fake.sysfs());
        assert_eq!(Memory::load(&file, second.clone()).ports, BTreeMap::new());
        // What is no memory is none, and no reason to fail.
        std::fs::write(&file, "{\"ports\": 7}").unwrap();
        assert_eq!(Memory::load(&file, second.clone()), Memory { machine: second, ..Memory::default() });
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn machines_without_a_serial_number_are_told_apart_by_their_ports() {
        let fake = FakeSysfs::new("no-number");
        fake.set_firmware("product_serial", "To be filled by O.E.M.");
        fake.set_firmware("board_serial", "Default string");
        fake.set_firmware("product_uuid", "00000000-0000-0000-0000-000000000000");
        let identity = Identity::read(&fake.sysfs());
        assert_eq!(identity.numbers, Vec::<String>::new());
        let kept = |identity: &Identity, devices: &[Device]| {
            let mut memory = memory(identity.clone());
            memory.check(devices);
            !memory.ports.is_empty()
        };
        let (same, other) = (device("02:00:00:00:00:01"), device("02:00:00:00:00:99"));
        assert!(kept(&identity, &[other.clone(), same]), "one port was replaced");
        assert!(!kept(&identity, std::slice::from_ref(&other)), "a clone");
        assert!(kept(&identity, &[]), "no driver is there yet");
        assert!(kept(&identity, &[device("")]), "the driver tells no address");
        fake.set_firmware("product_serial", "A1");
        assert!(kept(&Identity::read(&fake.sysfs()), &[other]), "all ports were replaced");
    }
}
