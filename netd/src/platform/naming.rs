//! Gives devices their names, and keeps what is remembered of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use netd_api::config::is_port_name;

use super::memory::{Identity, Memory};
use super::{Device, MANAGEMENT, Platform, assign, generic, load};
use crate::kernel::bus::Sysfs;
use crate::kernel::{Connection, KernelError, device, link};
use crate::store::write_atomically;

/// Which device is which port on this machine.
pub struct Naming {
    platform: Option<Platform>,
    sysfs: Sysfs,
    memory: Memory,
    file: PathBuf,
}

impl Naming {
    /// The platform of this machine, by the files of a folder, and what an earlier start of netd remembered of it.
    pub fn load(sysfs: Sysfs, platforms: &Path, memory: &Path) -> Naming {
        Naming {
            platform: load(platforms, &sysfs),
            memory: Memory::load(memory, Identity::read(&sysfs)),
            sysfs,
            file: memory.to_owned(),
        }
    }

    /// Gives devices their names. Answers the devices under their new names; one that cannot be renamed
    /// keeps its old name and is named in the log.
    pub fn rename_all(&mut self, connection: &mut Connection) -> Result<Vec<Device>, KernelError> {
        let devices = self.devices(connection)?;
        let names = self.names(&devices);
        let wrong: Vec<&Device> = devices
            .iter()
            .filter(|device| names.get(&device.index).is_some_and(|name| *name != device.name))
            .collect();
        let extra: Vec<&Device> = devices.iter().filter(|device| self.is_no_port(device, &names)).collect();
        if wrong.is_empty() && extra.is_empty() {
            return Ok(devices);
        }
        // Names may have to be swapped: what stands in the way steps aside first.
        for device in &devices {
            let in_the_way = wrong.iter().any(|other| names.get(&other.index) == Some(&device.name));
            let other = in_the_way && names.get(&device.index) != Some(&device.name);
            if other || extra.iter().any(|extra| extra.index == device.index) {
                rename(connection, device, &format!("aside{}", device.index));
            }
        }
        for device in wrong {
            if let Some(name) = names.get(&device.index) {
                rename(connection, device, name);
            }
        }
        self.devices(connection)
    }

    /// Whether a device has the name of a port that it was taken for and is not.
    fn is_no_port(&self, device: &Device, names: &BTreeMap<u32, String>) -> bool {
        self.platform.is_none()
            && device.bus.is_some()
            && !names.contains_key(&device.index)
            && (device.name == MANAGEMENT || is_port_name(&device.name))
    }

    /// Names for devices, by interface index. What is new is remembered.
    fn names(&mut self, devices: &[Device]) -> BTreeMap<u32, String> {
        let known = self.memory.clone();
        self.memory.check(devices);
        let names = match &self.platform {
            Some(platform) => assign(platform, devices),
            None => generic::assign(devices, &self.sysfs.ethernet_controllers(), &mut self.memory),
        };
        self.save_unless(&known);
        names
    }

    /// Front-panel ports that were seen on this machine, whether or not they are there now.
    pub fn remembered_ports(&self) -> BTreeSet<String> {
        match self.platform {
            Some(_) => BTreeSet::new(),
            None => self.memory.front_panel().map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// Where a port was that was seen; `None` for others.
    pub fn location(&self, port: &str) -> Option<&str> {
        let found = self.memory.front_panel().find(|(name, _)| *name == port);
        found.map(|(_, seen)| seen.path.as_str()).filter(|_| self.platform.is_none())
    }

    /// What the switch's own hardware addresses are derived from, chosen when the machine is seen first: the address
    /// of its management port, or of its first port. It stays when that port dies. `None` before a port was seen.
    pub fn base_mac(&mut self, devices: &[Device]) -> Option<String> {
        if self.memory.base_mac.is_empty() {
            let known = self.memory.clone();
            let ports =
                devices.iter().filter(|device| device.name == MANAGEMENT || is_port_name(&device.name));
            let first =
                ports.min_by_key(|device| (device.name != MANAGEMENT, device.name.len(), &device.name));
            let mac = first.map(|device| match device.born_mac() {
                "" => device.mac.as_str(),
                mac => mac,
            });
            self.memory.base_mac = mac.unwrap_or_default().to_owned();
            self.save_unless(&known);
        }
        Some(self.memory.base_mac.clone()).filter(|mac| !mac.is_empty())
    }

    fn save_unless(&self, known: &Memory) {
        if self.memory == *known {
            return;
        }
        let text = serde_json::to_vec_pretty(&self.memory).unwrap_or_default();
        if let Err(error) = write_atomically(&self.file, &text, 0o600) {
            tracing::error!("remembering which port is where: {}: {error}", self.file.display());
        }
    }

    /// The hardware's network devices.
    fn devices(&self, connection: &mut Connection) -> Result<Vec<Device>, KernelError> {
        let links = link::dump(connection, false)?;
        Ok(links
            .into_iter()
            .filter(link::LinkRecord::is_hardware)
            .map(|link| Device {
                bus: self.sysfs.location(&link.name),
                port_number: self.sysfs.port_number(&link.name),
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
}

fn rename(connection: &mut Connection, device: &Device, name: &str) {
    let mut renamed = connection.request(link::rename(device.index, name));
    if renamed.is_err() {
        // Older kernels rename only what is down.
        let down = connection.request(link::set_down_by_index(device.index));
        renamed = down.and_then(|()| connection.request(link::rename(device.index, name)));
    }
    let bus = device.pci().unwrap_or(&device.port_name);
    match renamed {
        Ok(()) => tracing::info!("{name}: {} at {bus} (was {})", device.driver, device.name),
        Err(error) => tracing::error!("{name}: naming {} at {bus}: {error}", device.name),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pci;
    use super::*;
    use crate::kernel::bus::tests::FakeSysfs;

    /// Four devices of a machine, by what sysfs tells of them.
    fn devices(fake: &FakeSysfs, which: &[u32]) -> Vec<Device> {
        let device =
            |index: &u32| Device { bus: fake.sysfs().location(&format!("eth{index}")), ..pci(*index, "") };
        which.iter().map(device).collect()
    }

    fn machine(name: &str, serial: &str) -> FakeSysfs {
        let fake = FakeSysfs::new(name);
        fake.set_firmware("sys_vendor", "Acme");
        fake.set_firmware("product_serial", serial);
        for (index, slot) in [(2, 2), (3, 8), (4, 9), (5, 10)] {
            fake.add_controller(&format!("pci0000:00/0000:00:{slot:02x}.0"));
            fake.add_device(
                &format!("eth{index}"),
                &format!("pci0000:00/0000:00:{slot:02x}.0/virtio{index}"),
                0,
            );
        }
        fake
    }

    #[test]
    fn ports_and_base_address_are_remembered_across_starts_and_only_of_this_machine() {
        let (first, other) = (machine("first", "A1"), machine("other", "A2"));
        let file = std::env::temp_dir().join(format!("netd-naming-{}.json", std::process::id()));
        let start = |fake: &FakeSysfs| Naming::load(fake.sysfs(), Path::new("/nonexistent"), &file);
        let all = devices(&first, &[2, 3, 4, 5]);
        let mut naming = start(&first);
        let names = naming.names(&all);
        assert_eq!(names.values().collect::<Vec<_>>(), ["mgmt0", "swp1", "swp2", "swp3"]);
        let named = |index: usize, name: &str| Device { name: name.to_owned(), ..all[index].clone() };
        let base = naming.base_mac(&[named(0, "mgmt0"), named(1, "swp1")]);
        assert_eq!(base.as_deref(), Some("02:00:00:00:00:02"));
        // Its management port and the first of the front panel have died.
        let mut naming = start(&first);
        let names = naming.names(&devices(&first, &[4, 5]));
        assert_eq!(names, [(4, "swp2".to_owned()), (5, "swp3".to_owned())].into());
        assert_eq!(naming.base_mac(&[named(2, "swp2")]), base);
        assert_eq!(naming.remembered_ports(), ["swp1", "swp2", "swp3"].map(str::to_owned).into());
        assert_eq!(naming.location("swp1"), Some("pci0000:00/08.0"));
        // The image is cloned to another machine.
        let mut naming = start(&other);
        assert_eq!(naming.remembered_ports(), BTreeSet::new());
        assert_eq!(naming.base_mac(&[]), None);
        let names = naming.names(&devices(&other, &[3, 4, 5]));
        assert_eq!(names.values().collect::<Vec<_>>(), ["swp1", "swp2", "swp3"]);
        std::fs::remove_file(&file).unwrap();
    }
}
