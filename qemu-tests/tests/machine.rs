//! The harness with QEMU but without the image: monitor, disks, command line.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::time::Duration;

use qemu_tests::machine::{Asic, Firmware, MAX_PORTS, Machine};

#[test]
fn a_machine_of_each_kind_starts_answers_and_ends() {
    for (asic, firmware, ports) in
        [(Asic::Virtio, Firmware::Uefi, MAX_PORTS), (Asic::Rocker, Firmware::Bios, 4)]
    {
        let vm = Machine::stopped().ports(ports).asic(asic).firmware(firmware).start().unwrap();
        let status = vm.qmp().execute("query-status").unwrap();
        assert_eq!(status["running"], false, "{status}");
        assert_ne!(vm.ssh_port(), 0);
        assert!(vm.wire(ports).is_ok() && vm.wire(ports + 1).is_err());
        vm.set_link(ports, false).unwrap();
        vm.set_link(ports, true).unwrap();
        let pid = vm.pid();
        drop(vm);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "QEMU {pid} outlived its machine");
    }
}

#[test]
fn the_monitor_tells_what_it_refuses() {
    let vm = Machine::stopped().ports(1).start().unwrap();
    let error = vm.set_link(9, true).unwrap_err().to_string();
    assert!(error.contains("set_link") && error.contains("nic9"), "{error}");
    assert!(vm.qmp().execute("no-such-command").is_err());
}

#[test]
fn too_many_ports_are_refused() {
    let error = Machine::stopped().ports(MAX_PORTS + 1).start().map(drop).unwrap_err();
    assert!(error.to_string().contains(&MAX_PORTS.to_string()), "{error}");
}

#[test]
fn a_machine_boots_an_overlay_and_leaves_its_image_alone() {
    // A boot sector that greets on the first serial port, writes itself back changed, and halts.
    let sector: &[u8] = &[
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'h', 0xee, // mov al, 'h'; out dx, al
        0xb0, b'i', 0xee, // mov al, 'i'; out dx, al
        0x31, 0xc0, 0x8e, 0xc0, // xor ax, ax; mov es, ax
        0xbb, 0x00, 0x7c, // mov bx, 0x7c00
        0xc6, 0x07, 0x55, // mov byte [bx], 0x55
        0xb8, 0x01, 0x03, // mov ax, 0x0301: write one sector
        0xb9, 0x01, 0x00, // mov cx, 1
        0xb6, 0x00, // mov dh, 0 (dl is lost: set it to the first disk)
        0xb2, 0x80, // mov dl, 0x80
        0xcd, 0x13, // int 0x13
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xb0, b'!', 0x73, 0x02, // mov al, '!'; jnc +2
        0xb0, b'?', // mov al, '?'
        0xee, 0xf4, 0xeb, 0xfd, // out dx, al; hlt; jmp $-1
    ];
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    let mut disk = vec![0; 1024 * 1024];
    disk[..sector.len()].copy_from_slice(sector);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&image, &disk).unwrap();

    let vm = Machine::from_image(&image).ports(1).log_folder(folder.path()).name("sector").start().unwrap();
    vm.serial().unwrap().wait_for("hi!", Duration::from_secs(30)).unwrap();
    drop(vm);
    assert_eq!(std::fs::read(&image).unwrap(), disk, "the image was written");
    assert_eq!(std::fs::read(folder.path().join("sector.serial.log")).unwrap(), b"hi!");
}
