//! Saved machines and their clones, with QEMU but without the image.

#![allow(clippy::unwrap_used)] // helpers of tests panic as tests do

use std::path::Path;
use std::time::Duration;

use qemu_tests::machine::{Machine, Template};

/// A boot sector that says `a`, and from then on answers each byte of the serial line with the one behind it.
const SECTOR: &[u8] = &[
    0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xb3, b'a', // mov bl, 'a'
    0x88, 0xd8, 0xee, // say: mov al, bl; out dx, al
    0xfe, 0xc3, // inc bl
    0xba, 0xfd, 0x03, // wait: mov dx, 0x3fd
    0xec, 0xa8, 0x01, // in al, dx; test al, 1
    0x74, 0xf8, // jz wait
    0xba, 0xf8, 0x03, 0xec, // mov dx, 0x3f8; in al, dx
    0xeb, 0xed, // jmp say
];
const SOON: Duration = Duration::from_secs(30);

/// A machine that counts on its serial line, saved once it has said `ab`.
fn counting(folder: &Path) -> Template {
    let image = folder.join("disk.img");
    let mut disk = vec![0; 1024 * 1024];
    disk[..SECTOR.len()].copy_from_slice(SECTOR);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&image, &disk).unwrap();
    let machine = Machine::from_image(&image).ports(1).memory_mib(64).log_folder(folder).name("counting");
    let vm = machine.saveable().start().unwrap();
    let serial = vm.serial().unwrap();
    serial.wait_for("a", SOON).unwrap();
    serial.send("x").unwrap();
    serial.wait_for("b", SOON).unwrap();
    vm.save().unwrap()
}

#[test]
fn clones_go_on_where_their_template_was_saved_and_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let template = counting(folder.path());
    let first = template.clone_machine("first").unwrap();
    let second = template.clone_machine("second").unwrap();
    for letter in ["c", "d", "e"] {
        first.serial().unwrap().send("x").unwrap();
        first.serial().unwrap().wait_for(letter, SOON).unwrap();
    }
    second.serial().unwrap().send("x").unwrap();
    second.serial().unwrap().wait_for("c", SOON).unwrap();
    assert!(!second.serial().unwrap().has_said("d"), "a clone counted on where another stood");
    assert_ne!(first.ssh_port(), second.ssh_port());
}

#[test]
fn clone_becomes_a_template_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let template = counting(folder.path());
    let clone = template.clone_saveable("further").unwrap();
    clone.serial().unwrap().send("x").unwrap();
    clone.serial().unwrap().wait_for("c", SOON).unwrap();
    let further = clone.save().unwrap();
    // The first template is gone, and what the second lies on is kept.
    drop(template);
    let clone = further.clone_machine("furthest").unwrap();
    clone.serial().unwrap().send("x").unwrap();
    clone.serial().unwrap().wait_for("d", SOON).unwrap();
}

#[test]
fn machine_that_was_not_started_for_it_is_not_saved() {
    let error = Machine::stopped().ports(1).start().unwrap().save().map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("not started for that"), "{error:#}");
}

#[test]
fn broken_state_is_an_error_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let template = counting(folder.path());
    std::fs::write(template.state(), b"no state of a machine").unwrap();
    let error = format!("{:#}", template.clone_machine("broken").map(drop).unwrap_err());
    assert!(error.contains("broken, a clone of counting") && error.contains("saved state"), "{error}");
}
