//! Hardware no platform file is about: ports keep their names when others are missing or added.

use std::time::Duration;

use anyhow::{Result, ensure};
use qemu_tests::frame::Mac;

use super::frames::{At, cross};
use crate::lab::{Lab, Topology, eventually};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 1] = [Scenario::new(
    "a port that is missing or added renumbers no other, and none becomes the management port",
    Topology::Unknown,
    ports_keep_their_names,
)
.takes(90)];

const BOOT: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(60);

/// Which device has a port's name: its slot and function; empty for none.
fn slot(lab: &Lab, name: &str) -> Result<String> {
    let path = lab.vm.run(&format!("readlink -f /sys/class/net/{name}/device || true"))?;
    let address = path.split('/').find_map(|part| part.strip_prefix("0000:00:"));
    Ok(address.unwrap_or_default().to_owned())
}

/// Checks which device each port is.
fn are(lab: &Lab, expected: &[(&str, &str)]) -> Result<()> {
    for (name, device) in expected {
        let found = slot(lab, name)?;
        ensure!(found == *device, "{name} is {found:?} instead of {device:?}");
    }
    Ok(())
}

fn ports_keep_their_names(lab: &Lab, _: &Run) -> Result<String> {
    // In the end it is another machine than it was, which netd complains of.
    lab.exempt();
    are(lab, &[("mgmt0", "02.0"), ("swp1", "08.1"), ("swp2", "08.2"), ("swp3", "08.3"), ("swp4", "")])?;
    eventually("frames cross", SOON, || cross(lab, At(3, None), At(4, None), Mac::BROADCAST))?;
    // The management port and swp1 die; a port is added before all others.
    lab.vm.run("echo 02.0 08.1 >/var/lib/corten/unplug; sync")?;
    lab.vm.reboot(BOOT)?;
    lab.wait_for_netd(BOOT)?;
    are(lab, &[("mgmt0", ""), ("swp1", ""), ("swp2", "08.2"), ("swp3", "08.3"), ("swp4", "08.0")])?;
    eventually("frames cross as before", SOON, || cross(lab, At(3, None), At(4, None), Mac::BROADCAST))?;
    let system = lab.vm.run("corten show system --json")?;
    ensure!(system.contains("ports.swp1: the port is missing"), "nothing is told of swp1: {system}");
    // What names it can be applied all the same; what names a port that was never there cannot.
    lab.apply_ok(&lab.document.replace("vlan.access = 20", "vlan.access = 30"))?;
    eventually("the rest is carried out", SOON, || cross(lab, At(3, None), At(4, None), Mac::BROADCAST))?;
    let refused = lab.apply(&format!("{}\n[ports.swp5]\nvlan.access = 10\n", lab.document))?;
    ensure!(refused.status != 0 && refused.text.contains("swp5"), "swp5 is taken: {}", refused.text);
    // Back in its slot, it is set as the document says.
    lab.vm.run("echo 1 >/sys/bus/pci/rescan")?;
    eventually("swp1 is back", SOON, || {
        are(lab, &[("mgmt0", "02.0"), ("swp1", "08.1")])?;
        let port = lab.port("swp1")?;
        ensure!(port["admin_up"] == true, "{port}");
        Ok(())
    })?;
    Ok(String::new())
}
