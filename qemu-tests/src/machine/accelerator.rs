//! Whether KVM really works here.
//!
//! `/dev/kvm` may open and yet run no kernel (nested or emulated virtualisation). So it is tried: first
//! a boot sector that must answer fast, then, when that works, the image itself up to its set-up dialog.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Machine;
use super::child::Qemu;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

/// A working KVM answers within a fraction of a second; one that emulates real mode takes many.
const SECTOR_TIMEOUT: Duration = Duration::from_secs(3);
/// A working KVM boots the image to its dialog in a few seconds.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(40);
/// `isa-debug-exit` ends QEMU with twice the byte written, plus one.
const EXIT_STATUS: i32 = 0x2a << 1 | 1;
/// `mov dx, 0xf4; mov al, 0x2a; out dx, al; hlt; jmp $-1`
const SECTOR: &[u8] = &[0xba, 0xf4, 0x00, 0xb0, 0x2a, 0xee, 0xf4, 0xeb, 0xfd];
/// SeaBIOS boots no disk smaller than a cylinder.
const DISK_BYTES: u64 = 1024 * 1024;

impl Accelerator {
    /// What a person is told.
    pub fn name(self) -> &'static str {
        match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "QEMU's translator, for KVM does not work here or is not to",
        }
    }

    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "max"],
            // A guest that is told of fast string instructions clears and copies memory by them, byte for byte once
            // they are translated: twice as slow as its own loops.
            Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off,fsrm=off"],
        }
    }
}

/// The accelerator to use; found out once in a process. `$CORTEN_ACCEL` (`kvm` or `tcg`) decides it instead.
pub fn probe(image: Option<&Path>) -> Accelerator {
    static FOUND: OnceLock<Accelerator> = OnceLock::new();
    *FOUND.get_or_init(|| match std::env::var("CORTEN_ACCEL").as_deref() {
        Ok("kvm") => Accelerator::Kvm,
        Ok("tcg") => Accelerator::Tcg,
        // Any error means that KVM cannot be relied on.
        _ if boots_a_sector().unwrap_or(false) && image.is_none_or(boots_an_image) => Accelerator::Kvm,
        _ => Accelerator::Tcg,
    })
}

fn boots_a_sector() -> Result<bool> {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(false);
    }
    let folder = tempfile::Builder::new().prefix("corten-kvm-").tempdir()?;
    let path = folder.path().join("disk");
    let mut disk = File::create(&path)?;
    disk.write_all(SECTOR)?;
    disk.seek(SeekFrom::Start(510))?;
    disk.write_all(&[0x55, 0xaa])?;
    disk.set_len(DISK_BYTES)?;
    let mut command = Command::new(super::command::PROGRAM);
    command
        .args(["-machine", "q35", "-m", "64", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(Accelerator::Kvm.arguments())
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-device", "ide-hd,drive=disk", "-drive"])
        .arg(format!("if=none,id=disk,format=raw,file={}", path.display()));
    let mut qemu = Qemu::spawn(command, Some(&folder.path().join("messages")))?;
    let status = qemu.wait_until(Instant::now() + SECTOR_TIMEOUT);
    Ok(status.and_then(|status| status.code()) == Some(EXIT_STATUS))
}

/// What an image says on the serial line once it is up, before anybody configured it.
const WELCOME: &str = "Welcome to Corten.";

fn boots_an_image(image: &Path) -> bool {
    let machine = Machine::from_image(image).name("kvm-probe").ports(0);
    let welcomed = |vm: super::Vm| vm.serial()?.wait_for(WELCOME, IMAGE_TIMEOUT).map(drop);
    super::Vm::start_with(machine, Accelerator::Kvm).and_then(welcomed).is_ok()
}
