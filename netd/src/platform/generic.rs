//! Names of ports on hardware no platform file is about. Pure.
//!
//! Ports of an ASIC are numbered as the ASIC numbers them. Where there is none, the first Ethernet controller of the
//! PCI bus is for management and the others are the front panel, whether or not drivers have found them: one that is
//! late or broken must not make a front-panel port the management port. What was seen once keeps its name.

use std::collections::{BTreeMap, BTreeSet};

use netd_api::config::is_port_name;

use super::memory::{Memory, Remembered};
use super::{Device, MANAGEMENT, linear, port_number};
use crate::kernel::bus::BusLocation;

/// Highest number of a port.
const LAST_NUMBER: u32 = 9999;

/// A port that is there, or a controller that may come to have one.
struct Found<'a> {
    /// The order of names for those seen first: functions of the bus by their address, then what hangs on others.
    order: (bool, u32, u32, String),
    port: Remembered,
    device: Option<&'a Device>,
}

/// Names for devices, by interface index; those it names none for are left alone. Remembers what it had not seen.
pub(super) fn assign(
    devices: &[Device],
    controllers: &[BusLocation],
    memory: &mut Memory,
) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for device in devices {
        if let Some(name) = asic_name(device).filter(|name| taken.insert(name.clone())) {
            names.insert(device.index, name);
        }
    }
    memory.asic |= !names.is_empty();
    // What was taken for a port before the driver of the ASIC was there.
    let of_asic: BTreeSet<&str> =
        devices.iter().filter(|device| device.is_of_asic()).filter_map(Device::bus_path).collect();
    let asic = memory.asic;
    memory.ports.retain(|name, port| !of_asic.contains(port.path.as_str()) && (name == MANAGEMENT || !asic));
    for found in find(devices, controllers, &of_asic) {
        if found.device.is_none() && memory.ports.values().any(|port| port.path == found.port.path) {
            continue;
        }
        let Some(name) = recall(&found, memory, &taken).or_else(|| next_name(memory, &taken)) else {
            continue;
        };
        memory.ports.insert(name.clone(), found.port);
        taken.insert(name.clone());
        if let Some(device) = found.device {
            names.insert(device.index, name);
        }
    }
    names
}

/// Ports and controllers, remembered ones and new ones alike, in order.
fn find<'a>(devices: &'a [Device], controllers: &[BusLocation], of_asic: &BTreeSet<&str>) -> Vec<Found<'a>> {
    let found = |location: &BusLocation, device: Option<&'a Device>| {
        let (number, name) = device.map_or((0, ""), |device| (device.port_number, device.port_name.as_str()));
        let port = match (device, name) {
            (None, _) => String::new(),
            (Some(_), "") => number.to_string(),
            (Some(_), name) => name.to_owned(),
        };
        let mac = device.map_or("", Device::born_mac).to_owned();
        Some(Found {
            order: (location.behind, linear(&location.pci)?, number, port.clone()),
            port: Remembered { path: location.path.clone(), port, mac },
            device,
        })
    };
    let present = devices.iter().filter(|device| !device.is_of_asic());
    let mut all: Vec<Found<'_>> =
        present.filter_map(|device| found(device.bus.as_ref()?, Some(device))).collect();
    let used: BTreeSet<&str> = devices.iter().filter_map(Device::bus_path).collect();
    let idle = controllers.iter().filter(|controller| {
        let path = controller.path.as_str();
        !used.contains(path) && !of_asic.contains(path)
    });
    all.extend(idle.filter_map(|controller| found(controller, None)));
    all.sort_by(|one, other| one.order.cmp(&other.order));
    all
}

/// The name under which a port was seen before. A function that had no driver then has its name for its first port.
fn recall(found: &Found<'_>, memory: &Memory, taken: &BTreeSet<String>) -> Option<String> {
    let seen = |port: &str| {
        let same = |(_, seen): &(&String, &Remembered)| seen.path == found.port.path && seen.port == port;
        memory.ports.iter().find(same).map(|(name, _)| name.clone())
    };
    seen(&found.port.port).or_else(|| seen("")).filter(|name| !taken.contains(name))
}

/// The name of a port that was not seen before: behind all others, so that one that is missing keeps its own.
fn next_name(memory: &Memory, taken: &BTreeSet<String>) -> Option<String> {
    if !memory.ports.contains_key(MANAGEMENT) && !taken.contains(MANAGEMENT) {
        return Some(MANAGEMENT.to_owned());
    }
    if memory.asic {
        return None;
    }
    let numbers = memory.ports.keys().filter_map(|name| name.strip_prefix("swp")?.parse::<u32>().ok());
    let next = numbers.max().unwrap_or_default() + 1;
    (next <= LAST_NUMBER).then(|| format!("swp{next}"))
}

/// Of a port of an ASIC: `p3`, `swp3`, `sw1p3` is port swp3.
fn asic_name(device: &Device) -> Option<String> {
    if !device.is_of_asic() || device.port_name.is_empty() {
        return None;
    }
    if is_port_name(&device.port_name) {
        return Some(device.port_name.clone());
    }
    let number = device.port_name.rsplit('p').next().filter(|_| device.port_name.contains('p'))?;
    Some(format!("swp{}", port_number(number)?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asic, location, pci};
    use super::*;

    /// Names of the devices, in order; empty for none.
    fn names(devices: &[Device], controllers: &[&str], memory: &mut Memory) -> Vec<String> {
        let controllers: Vec<BusLocation> = controllers.iter().map(|address| location(address)).collect();
        let names = assign(devices, &controllers, memory);
        devices.iter().map(|device| names.get(&device.index).cloned().unwrap_or_default()).collect()
    }

    /// A machine with its management port in slot 2 and front-panel ports in slots 8 to 10.
    fn machine() -> [Device; 4] {
        [pci(2, "0000:00:02.0"), pci(3, "0000:00:08.0"), pci(4, "0000:00:09.0"), pci(5, "0000:00:0a.0")]
    }

    fn seen() -> Memory {
        let mut memory = Memory::default();
        assert_eq!(names(&machine(), &[], &mut memory), ["mgmt0", "swp1", "swp2", "swp3"]);
        memory
    }

    #[test]
    fn unknown_hardware_gets_names_in_pci_order() {
        let devices = [pci(2, "0000:02:00.0"), pci(3, "0000:01:00.1"), pci(4, "0000:01:00.0")];
        assert_eq!(names(&devices, &[], &mut Memory::default()), ["swp2", "swp1", "mgmt0"]);
    }

    #[test]
    fn a_port_that_is_missing_or_added_renumbers_no_other() {
        let [management, one, two, three] = machine();
        let mut memory = seen();
        let without = [management.clone(), two.clone(), three.clone()];
        assert_eq!(names(&without, &[], &mut memory), ["mgmt0", "swp2", "swp3"]);
        assert!(memory.front_panel().any(|(name, _)| name == "swp1"), "it is missing, not forgotten");
        let more = [pci(9, "0000:00:06.0"), management, two, three, one, pci(6, "0000:00:07.0")];
        let expected = ["swp4", "mgmt0", "swp2", "swp3", "swp1", "swp5"];
        assert_eq!(names(&more, &[], &mut memory), expected);
        // Whatever the order in which drivers find them.
        let mut reversed = more;
        reversed.reverse();
        assert_eq!(names(&reversed, &[], &mut memory), expected.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_front_panel_port_never_becomes_the_management_port() {
        let [management, one, two, three] = machine();
        // A management port that is dead.
        let without = [one.clone(), two.clone(), three.clone()];
        assert_eq!(names(&without, &[], &mut seen()), ["swp1", "swp2", "swp3"]);
        // One whose driver is late, or missing for good, when the machine is seen first.
        let mut memory = Memory::default();
        assert_eq!(names(&without, &["0000:00:02.0"], &mut memory), ["swp1", "swp2", "swp3"]);
        let all = [one, two, three, management];
        assert_eq!(names(&all, &["0000:00:02.0"], &mut memory), ["swp1", "swp2", "swp3", "mgmt0"]);
    }

    #[test]
    fn a_port_whose_driver_is_late_keeps_its_number() {
        let [management, one, two, three] = machine();
        let mut memory = Memory::default();
        let late = [management.clone(), two.clone(), three.clone()];
        assert_eq!(names(&late, &["0000:00:08.0"], &mut memory), ["mgmt0", "swp2", "swp3"]);
        // Once it is there, it may have a name of its own.
        let named = Device { port_name: "p0".to_owned(), ..one };
        let all = [named, three, two, management];
        assert_eq!(names(&all, &["0000:00:08.0"], &mut memory), ["swp1", "swp3", "swp2", "mgmt0"]);
        assert_eq!(names(&all, &[], &mut memory), ["swp1", "swp3", "swp2", "mgmt0"]);
    }

    #[test]
    fn ports_of_one_function_are_told_apart_by_their_numbers() {
        let second = |index| Device { port_number: 1, ..pci(index, "0000:00:08.0") };
        let mut memory = Memory::default();
        let devices = [second(3), pci(4, "0000:00:08.0"), pci(5, "0000:00:02.0")];
        assert_eq!(names(&devices, &[], &mut memory), ["swp2", "swp1", "mgmt0"]);
        assert_eq!(names(&devices[..1], &[], &mut memory), ["swp2"]);
    }

    #[test]
    fn unknown_hardware_with_an_asic_is_named_by_the_asic() {
        let devices = [asic(2, "p7"), asic(3, "swp8"), pci(4, "0000:01:00.0"), pci(5, "0000:01:00.1")];
        assert_eq!(names(&devices, &[], &mut Memory::default()), ["swp7", "swp8", "mgmt0", ""]);
    }

    #[test]
    fn an_asic_whose_driver_is_late_leaves_no_other_device_on_the_front_panel() {
        // The ASIC is 00:04.0.
        let others = [pci(4, "0000:01:00.0"), pci(5, "0000:01:00.1")];
        let mut memory = Memory::default();
        assert_eq!(names(&others, &["0000:00:04.0"], &mut memory), ["swp1", "swp2"]);
        let all = [others[0].clone(), others[1].clone(), asic(6, "p1")];
        assert_eq!(names(&all, &["0000:00:04.0"], &mut memory), ["mgmt0", "", "swp1"]);
        // At the next boot it is known.
        assert_eq!(names(&others, &["0000:00:04.0"], &mut memory), ["mgmt0", ""]);
        assert_eq!(memory.front_panel().count(), 0);
    }
}
