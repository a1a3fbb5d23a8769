//! Hosts with this kernel's own network speak over wires as others do.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::net::IpAddr;

use qemu_tests::frame::Mac;
use qemu_tests::host::linux::LinuxHost;
use qemu_tests::host::{Host, HostConfig};
use qemu_tests::wire::Wire;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn host_of_this_kernel_answers_another_and_says_which_group_it_joins() {
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = Wire::pair(folder.path()).unwrap();
    let linux = LinuxHost::plug(&near, Mac::of_host(1)).unwrap();
    linux.address("10.0.0.1/24").unwrap();
    linux.address("2001:db8::1/64").unwrap();
    let config = HostConfig::new("other", Mac::of_host(2)).address("10.0.0.2/24").address("2001:db8::2/64");
    let other = Host::start(&far, config).unwrap();
    for destination in ["10.0.0.1", "2001:db8::1"] {
        other.ping_all_answered(address(destination), 3).unwrap();
    }

    // The report that this kernel sends is of IGMPv3, to the routers' group.
    let reports = far.capture_if(|bytes| bytes[..6] == [0x01, 0x00, 0x5e, 0x00, 0x00, 0x16]);
    linux.joins(address("239.1.1.1")).unwrap();
    let report = reports.wait_for("report of a group", std::time::Duration::from_secs(10), |_| true).unwrap();
    assert!(report.bytes.windows(4).any(|four| four == [239, 1, 1, 1]), "{:?}", report.bytes);
    drop(other);

    // Gone with all of it.
    let first = linux.peer().first_process();
    drop(linux);
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
}
