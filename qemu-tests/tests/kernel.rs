//! The harness with a kernel and a shell but without the image: a guest that bridges its ports.
//!
//! Ignored by default, for it needs more than host tools. Run it with
//! `CORTEN_TEST_KERNEL=…/bzImage CORTEN_TEST_BUSYBOX=…/busybox cargo test -p qemu-tests --test kernel -- --ignored`;
//! the kernel needs the image's configuration, busybox must be linked statically.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use qemu_tests::frame::{Frame, Mac};
use qemu_tests::host::{Host, HostConfig};
use qemu_tests::machine::{Asic, Machine, Vm};
use qemu_tests::random::run_token;

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);

/// Bridges every port but the management port, says so, and runs the test shell from its credential.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /run /usr/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
ln -s /bin/busybox /usr/bin/busybox
exec </dev/ttyS0 >/dev/ttyS0 2>&1
ip link add br0 type bridge
ip link set br0 up
for i in /sys/class/net/eth*; do
    i=${i##*/}
    ip link set $i up
    case $(readlink /sys/class/net/$i/device) in
        *:00:02.0) ip link set $i name mgmt0 2>/dev/null;;
        *) ip link set $i master br0;;
    esac
done
echo corten-guest bridges
tr '\0' '\n' </sys/firmware/dmi/entries/11-0/raw |
    sed -n 's/^io.systemd.credential.binary:corten-test.script=//p' | base64 -d >/run/script
exec sh /run/script
"#;

fn environment(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("${name} is not set")))
}

fn initramfs(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("dev")).unwrap();
    std::fs::copy(environment("CORTEN_TEST_BUSYBOX"), root.join("bin/busybox")).unwrap();
    std::fs::write(root.join("init"), INIT).unwrap();
    let packed = folder.join("initramfs");
    let script = format!("chmod 755 init && find . | cpio -o -H newc -R 0:0 >{}", packed.display());
    let made =
        Command::new("sh").args(["-c", &script]).current_dir(&root).stderr(Stdio::null()).status().unwrap();
    assert!(made.success());
    packed
}

fn boot(asic: Asic, folder: &Path) -> Vm {
    let vm = Machine::from_kernel(
        &environment("CORTEN_TEST_KERNEL"),
        &initramfs(folder),
        "console=ttyS0 panic=-1",
    )
    .ports(3)
    .asic(asic)
    .memory_mib(256)
    .test_shell()
    .start()
    .unwrap();
    vm.serial().unwrap().wait_for("corten-guest bridges", BOOT).unwrap();
    vm.wait_for_shell(SOON).unwrap();
    vm
}

#[test]
#[ignore = "needs a kernel and a static busybox"]
fn frames_hosts_links_and_the_shell_work_through_a_guest() {
    let folder = tempfile::tempdir().unwrap();
    let vm = boot(Asic::Virtio, folder.path());
    frames_cross(&vm);
    hosts_reach_each_other(&vm);
    the_shell_answers(&vm);

    // The fourth device is the management port's; eth numbers follow the bus, so swp2 is eth2.
    let carrier = "cat /sys/class/net/eth2/carrier";
    assert_eq!(vm.run(carrier).unwrap().trim(), "1");
    vm.set_link(2, false).unwrap();
    vm.run(&format!("until [ $({carrier}) = 0 ]; do sleep 0.1; done")).unwrap();
    vm.set_link(2, true).unwrap();
    vm.run(&format!("until [ $({carrier}) = 1 ]; do sleep 0.1; done")).unwrap();
}

fn frames_cross(vm: &Vm) {
    let capture = vm.wire(2).unwrap().capture_text(run_token());
    let frame = Frame::new(Mac::of_host(1), Mac::BROADCAST).payload(run_token()).build();
    // The bridge's ports listen before they forward only if it spans a tree; a retry costs nothing here.
    for _ in 0..20 {
        assert!(vm.wire(1).unwrap().send(&frame));
        if capture.wait_for("frame", Duration::from_secs(1), |view| view.carries(run_token())).is_ok() {
            return;
        }
    }
    panic!("no frame crossed: {}", vm.where_it_stands());
}

fn hosts_reach_each_other(vm: &Vm) {
    let host = |port: u16| {
        let config = HostConfig::new(&format!("h{port}"), Mac::of_host(port));
        Host::start(vm.wire(port).unwrap(), config.address(&format!("192.0.2.{port}/24"))).unwrap()
    };
    let (a, b) = (host(1), host(3));
    a.ping_all_answered("192.0.2.3".parse().unwrap(), 10).unwrap();
    let moved =
        a.transfer(&b, "192.0.2.3".parse().unwrap(), 5001, 10_000_000, 1, Duration::from_secs(120)).unwrap();
    println!("10 MB through the guest in {:.1} s", moved.duration.as_secs_f64());
}

fn the_shell_answers(vm: &Vm) {
    assert_eq!(vm.run("echo hello; echo world >&2").unwrap(), "hello\nworld\n");
    let failed = vm.sh("exit 7").unwrap();
    assert_eq!((failed.status, failed.text.as_str()), (7, ""));
    assert!(vm.run("false").is_err());
    let killed = vm.sh_within("sleep 60", Duration::from_secs(1)).unwrap();
    assert_eq!(killed.status, 137, "a command past its deadline must be killed");
    let long = vm.run("head -c 300000 /dev/zero | tr '\\0' x").unwrap();
    assert_eq!(long.len(), 300_000);
}

#[test]
#[ignore = "needs a kernel and a static busybox"]
fn rocker_ports_forward_between_wires() {
    let folder = tempfile::tempdir().unwrap();
    let vm = boot(Asic::Rocker, folder.path());
    frames_cross(&vm);
}
