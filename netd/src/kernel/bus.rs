//! Where devices sit on the machine's buses, as sysfs shows it.

use std::fs;
use std::path::{Path, PathBuf};

/// Class of Ethernet controllers: the upper two bytes of the class code (PCI Code and ID Assignment, 1.3).
const ETHERNET_CONTROLLER: &str = "0x0200";

/// A tree of sysfs.
#[derive(Clone, Debug)]
pub struct Sysfs {
    root: PathBuf,
}

/// Where a device sits on the PCI bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusLocation {
    /// PCI address of the function, `0000:00:08.1`.
    pub pci: String,
    /// The way from the root of the bus, see [`bus_path`].
    pub path: String,
    /// Whether it is no function of the PCI bus itself, but hangs on one (USB).
    pub behind: bool,
}

impl Sysfs {
    /// The tree that is mounted there.
    pub fn at(root: impl Into<PathBuf>) -> Sysfs {
        Sysfs { root: root.into() }
    }

    /// Where a network device sits; `None` for one that is on no PCI bus.
    pub fn location(&self, device: &str) -> Option<BusLocation> {
        self.read_location(&self.root.join("class/net").join(device).join("device"))
    }

    /// Which of the ports of its function a network device is, from 0.
    pub fn port_number(&self, device: &str) -> u32 {
        let file = self.root.join("class/net").join(device).join("dev_port");
        read(&file).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The Ethernet controllers of the PCI bus, whether or not a driver has found them. Virtual functions are not
    /// among them: they are made by software.
    pub fn ethernet_controllers(&self) -> Vec<BusLocation> {
        let folder = self.root.join("bus/pci/devices");
        let functions = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_controller = |path: &PathBuf| {
            let class = read(&path.join("class")).unwrap_or_default();
            class.starts_with(ETHERNET_CONTROLLER) && !path.join("physfn").exists()
        };
        functions.filter(is_controller).filter_map(|path| self.read_location(&path)).collect()
    }

    /// What the firmware says of the machine: a file of DMI; `None` where it says nothing.
    pub fn firmware(&self, file: &str) -> Option<String> {
        read(&self.root.join("class/dmi/id").join(file))
    }

    /// What the device tree says of the machine, on boards without DMI.
    pub fn device_tree(&self, file: &str) -> Option<String> {
        let text = read(&self.root.join("firmware/devicetree/base").join(file))?;
        Some(text.trim_end_matches('\0').to_owned())
    }

    fn read_location(&self, link: &Path) -> Option<BusLocation> {
        let path = fs::canonicalize(link).ok()?;
        let devices = fs::canonicalize(self.root.join("devices")).ok()?;
        let parts: Vec<&str> =
            path.strip_prefix(devices).ok()?.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
        let last = parts.iter().rposition(|part| is_pci_address(part))?;
        let behind = parts[last + 1..].iter().any(|part| !part.starts_with("virtio"));
        Some(BusLocation { pci: parts[last].to_owned(), path: bus_path(&parts), behind })
    }
}

/// The way to a device in words that neither the order of probing nor other devices change: of a PCI function only
/// the root it is below, and slot and function of each bridge on the way, since firmware numbers buses anew when a
/// card is added; of a USB device its ports, since hosts are numbered as they are found.
fn bus_path(parts: &[&str]) -> String {
    let word = |part: &&str| {
        if is_pci_address(part) {
            return Some(part.rsplit(':').next().unwrap_or(part).to_owned());
        }
        if part.starts_with("virtio") {
            return None;
        }
        if part.starts_with("usb") {
            return Some("usb".to_owned());
        }
        // `BUS-PORT.PORT…`, and the same with `:CONFIGURATION.INTERFACE`.
        match part.split_once('-') {
            Some((bus, port)) if bus.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.to_owned()),
            _ => Some((*part).to_owned()),
        }
    };
    parts.iter().filter_map(word).collect::<Vec<_>>().join("/")
}

/// Whether the text is a PCI address: `domain:bus:slot.function`.
fn is_pci_address(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    shape == "xxxx:xx:xx.x"
}

fn read(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree of sysfs that a test fills, removed at the end.
    pub(crate) struct FakeSysfs(PathBuf);

    impl FakeSysfs {
        pub(crate) fn new(name: &str) -> FakeSysfs {
            let root = std::env::temp_dir().join(format!("netd-sysfs-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("devices")).unwrap();
            FakeSysfs(root)
        }

        pub(crate) fn sysfs(&self) -> Sysfs {
            Sysfs::at(&self.0)
        }

        /// Adds an Ethernet controller that no driver has found, by the path of its function.
        pub(crate) fn add_controller(&self, path: &str) {
            let folder = self.0.join("devices").join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("class"), "0x020000\n").unwrap();
            let bus = self.0.join("bus/pci/devices");
            fs::create_dir_all(&bus).unwrap();
            symlink(&folder, bus.join(path.rsplit('/').next().unwrap())).unwrap();
        }

        /// Adds a network device, by the path of what it hangs on.
        pub(crate) fn add_device(&self, name: &str, path: &str, port_number: u32) {
            let folder = self.0.join("devices").join(path);
            fs::create_dir_all(&folder).unwrap();
            let class = self.0.join("class/net").join(name);
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join("dev_port"), format!("{port_number}\n")).unwrap();
            symlink(&folder, class.join("device")).unwrap();
        }

        /// Has the firmware say something.
        pub(crate) fn set_firmware(&self, file: &str, text: &str) {
            let folder = self.0.join("class/dmi/id");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    }

    impl Drop for FakeSysfs {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn pci_addresses_are_told_from_other_path_parts() {
        assert!(is_pci_address("0000:00:08.1"));
        assert!(!is_pci_address("virtio3"));
        assert!(!is_pci_address("pci0000:00"));
    }

    #[test]
    fn a_bus_path_has_nothing_that_other_devices_change() {
        let fake = FakeSysfs::new("bus-path");
        fake.add_device("eth0", "pci0000:00/0000:00:08.1/virtio3", 0);
        fake.add_device("eth1", "pci0000:00/0000:00:1c.4/0000:03:00.0", 1);
        fake.add_device("eth2", "pci0000:00/0000:00:14.0/usb2/2-1/2-1.4/2-1.4:1.0", 0);
        fake.add_device("eth3", "platform/soc/1c50000.ethernet", 0);
        let of = |name: &str| fake.sysfs().location(name);
        let location = |pci: &str, path: &str, behind| {
            Some(BusLocation { pci: pci.to_owned(), path: path.to_owned(), behind })
        };
        assert_eq!(of("eth0"), location("0000:00:08.1", "pci0000:00/08.1", false));
        assert_eq!(of("eth1"), location("0000:03:00.0", "pci0000:00/1c.4/00.0", false));
        assert_eq!(of("eth2"), location("0000:00:14.0", "pci0000:00/14.0/usb/1/1.4/1.4:1.0", true));
        assert_eq!((of("eth3"), of("eth4")), (None, None));
        assert_eq!((fake.sysfs().port_number("eth1"), fake.sysfs().port_number("eth4")), (1, 0));
    }

    #[test]
    fn ethernet_controllers_are_found_without_a_driver() {
        let fake = FakeSysfs::new("controllers");
        fake.add_controller("pci0000:00/0000:00:02.0");
        fake.add_device("eth0", "pci0000:00/0000:00:08.0", 0);
        fake.add_controller("pci0000:00/0000:00:09.0");
        fs::write(fake.0.join("devices/pci0000:00/0000:00:09.0/physfn"), "").unwrap();
        let found: Vec<String> =
            fake.sysfs().ethernet_controllers().into_iter().map(|controller| controller.pci).collect();
        assert_eq!(found, ["0000:00:02.0"]);
    }
}
