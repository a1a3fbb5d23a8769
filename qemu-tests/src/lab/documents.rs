//! What the labs are provisioned with.

use qemu_tests::frame::Mac;
use qemu_tests::machine;

use super::{PASSWORD_HASH, USER};

/// All ports in one VLAN.
pub(super) fn measured(public_key: &str) -> String {
    format!(
        "version = 1\n\n{}\n[ports.\"swp[1-{}]\"]\nvlan.access = 10\n",
        users(public_key),
        machine::MAX_PORTS
    )
}

pub(super) fn users(public_key: &str) -> String {
    format!(
        "[users.{USER}]\nrole = \"admin\"\nkeys = [\"{public_key}\"]\nconsole_password = \"{PASSWORD_HASH}\"\n\n\
         [users.vic]\nrole = \"view\"\nkeys = [\"{public_key}\"]\n"
    )
}

/// Ports of the switch lab:
///
/// | port | what |
/// | --- | --- |
/// | swp1, swp2 | access VLAN 10 |
/// | swp3, swp4 | access VLAN 20 |
/// | swp5 | trunk of 10 and 20, no native VLAN |
/// | swp6 | trunk of 20, native VLAN 10 |
/// | swp7, swp8 | routed; behind the host on swp8 lie 10.99.0.0/24 and 2001:db8:99::/64 |
/// | swp9, swp10 | access VLAN 50, kept quiet for numbered frames |
/// | swp11 | access VLAN 60, its link is pulled |
/// | swp12 | not mentioned |
pub(super) fn switch(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "leaf1"

[management]
address = "dhcp"
vrf = "mgmt"

{users}
[ports."swp[1-2]"]
vlan.access = 10

[ports."swp[3-4]"]
description = "clients"
vlan.access = 20

[ports.swp5]
description = "trunk"
vlan.trunk = ["10", "20"]

[ports.swp6]
description = "native"
vlan.trunk = ["20"]
vlan.native = 10

[ports.swp7]
description = "routed"
addresses = ["10.0.7.1/24", "2001:db8:7::1/64"]

[ports.swp8]
addresses = ["10.0.8.1/24", "2001:db8:8::1/64"]

[ports."swp[9-10]"]
vlan.access = 50

[ports.swp11]
description = "pulled"
vlan.access = 60

[vlans.10]
name = "servers"
addresses = ["10.0.10.1/24", "2001:db8:10::1/64"]

[vlans.20]
name = "clients"
addresses = ["10.0.20.1/24", "2001:db8:20::1/64"]

[loopbacks.lo0]
addresses = ["198.51.100.1/32"]

[[routes]]
prefix = "10.99.0.0/24"
via = ["10.0.8.2"]

[[routes]]
prefix = "2001:db8:99::/64"
via = ["2001:db8:8::2"]

[[routes]]
prefix = "10.98.0.0/24"
via = ["10.0.7.2", "10.0.8.2"]
"#,
        users = users(public_key)
    )
}

/// Ports of the rocker lab: swp1 and swp2 carry VLAN 10 with its tag, swp3 and swp4 are routed.
pub(super) fn rocker(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "asic1"

{users}
[ports."swp[1-2]"]
vlan.trunk = ["10"]

[ports.swp3]
addresses = ["10.0.3.1/24"]

[ports.swp4]
addresses = ["10.0.4.1/24"]

[[fdb]]
mac = "{first}"
vlan = 10
port = "swp1"

[[fdb]]
mac = "{second}"
vlan = 10
port = "swp2"
"#,
        users = users(public_key),
        first = Mac::of_host(1),
        second = Mac::of_host(2),
    )
}

/// Ports of the netdevsim lab: swp1 and swp2 are routed, swp3 and swp4 are not mentioned. Nothing is plugged
/// into them.
pub(super) fn netdevsim(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "sim1"

{users}
[ports.swp1]
addresses = ["10.0.1.1/24", "2001:db8:1::1/64"]

[ports.swp2]
addresses = ["10.0.2.1/24", "2001:db8:2::1/64"]
"#,
        users = users(public_key)
    )
}

/// Ports of the lab of an unknown machine: its second slot is swp1, since its first one is empty at first.
pub(super) fn unknown(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "unknown1"

{users}
[ports.swp1]
vlan.access = 10

[ports."swp[2-3]"]
vlan.access = 20
"#,
        users = users(public_key)
    )
}

/// Takes devices out of the unknown machine before netd looks for ports: those a file names, at first the one in the
/// first slot of the front panel.
pub(super) const UNPLUG_UNIT: &str = "\
[Unit]
Description=Devices that are taken out
DefaultDependencies=no
RequiresMountsFor=/var/lib/corten
Before=netd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/busybox sh -c 'cd /sys/bus/pci/devices; \
for slot in $(cat /var/lib/corten/unplug || echo 08.0); do echo 1 >0000:00:$slot/remove; done'
";
pub(super) const UNPLUG_DROP_IN: &str =
    "[Unit]\nRequires=corten-unplug.service\nAfter=corten-unplug.service\n";

/// Makes the ASIC of the netdevsim lab before netd looks for ports.
pub(super) const NETDEVSIM_UNIT: &str = "\
[Unit]
Description=A simulated switch ASIC
DefaultDependencies=no
Before=netd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/busybox sh -c 'echo 1 4 >/sys/bus/netdevsim/new_device'
";
pub(super) const NETDEVSIM_DROP_IN: &str =
    "[Unit]\nRequires=corten-netdevsim.service\nAfter=corten-netdevsim.service\n";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// As whoever tests what documents mean has it: netd, in `tests/documents.rs`.
    #[test]
    fn every_document_is_among_those_that_are_kept() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../netd/tests/documents");
        let files =
            std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
        let kept: Vec<String> = files.map(|path| std::fs::read_to_string(path).expect("a text")).collect();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ana";
        let demo = qemu_tests::demo::config(4, qemu_tests::machine::Asic::Virtio);
        for document in [measured(key), switch(key), rocker(key), netdevsim(key), unknown(key), demo] {
            assert!(kept.contains(&document), "put this beside the others:\n{document}");
        }
    }
}
