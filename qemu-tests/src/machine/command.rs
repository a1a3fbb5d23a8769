//! The QEMU command line.
//!
//! Each device has a fixed place on the bus, for the platform files name ports by their place: the
//! management port is 00:02.0, front-panel port N is function (N-1) mod 8 of slot 8 + (N-1)/8.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use corten_test_agent::protocol::PORT_NAME;

use super::memory::MemoryFile;
use super::template::{self, Saved};
use super::{
    Accelerator, Asic, Boot, Channel, Console, Firmware, Machine, NEGOTIATING, boot_slot, credentials, door,
};
use crate::frame::Mac;
use crate::tools;

pub(super) const PROGRAM: &str = "qemu-system-x86_64";
const OVMF_CODE: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"];
const OVMF_VARS: [&str; 2] = ["/usr/share/OVMF/OVMF_VARS.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];

/// First slot of the front-panel ports.
const FIRST_PORT_SLOT: u16 = 0x08;
/// Functions of a PCI slot.
const FUNCTIONS: u16 = 8;

/// Names of the sockets in a machine's folder. Ours are bound before QEMU starts; QEMU connects.
pub(super) const SERIAL_SOCKET: &str = "serial";
pub(super) const MONITOR_SOCKET: &str = "qmp";
pub(super) const AGENT_SOCKET: &str = "agent";

/// QEMU's end and ours of a port's wire.
pub(super) fn wire_sockets(port: u16) -> (String, String) {
    (format!("p{port}.q"), format!("p{port}.h"))
}

/// How a machine starts.
pub(super) enum Start<'a> {
    /// Its processors start anew.
    Boot,
    /// It goes on where another was saved.
    Clone(&'a Saved),
}

/// Builds the command line; files that QEMU needs are made in `folder`. `memory` is what can be saved.
pub(super) fn build(
    machine: &Machine,
    accelerator: Accelerator,
    folder: &Path,
    start: &Start<'_>,
    memory: Option<&MemoryFile>,
) -> Result<Command> {
    let mut qemu = Line(Command::new(PROGRAM));
    qemu.add(&["-name", &machine.name, "-nodefaults", "-no-user-config"]);
    qemu.add(&accelerator.arguments());
    main_memory(&mut qemu, machine, start, memory);
    qemu.add(&["-smp", &machine.cpus.to_string(), "-m", &format!("{}M", machine.memory_mib)]);
    qemu.add(&["-display", "none", "-vga", "none"]);
    if !machine.reboots {
        qemu.add(&["-no-reboot"]);
    }
    if let Some((vendor, product)) = &machine.maker {
        qemu.add(&["-smbios", &format!("type=1,manufacturer={vendor},product={product}")]);
    }
    boot(&mut qemu, machine, folder, start)?;
    if let Some(disk) = &machine.agent_disk {
        qemu.path("-drive", "if=none,id=tools,format=raw,readonly=on,file=", disk);
        qemu.device(&format!("virtio-blk-pci,bus=pcie.0,addr=07.0,drive=tools,serial={}", tools::SERIAL));
    }
    consoles(&mut qemu, machine, folder)?;
    qemu.device("virtio-rng-pci,bus=pcie.0,addr=04.0");
    // A clone has another generation, whereupon the guest's kernel reseeds its random generator.
    qemu.device("vmgenid,guid=auto");
    management(&mut qemu, machine.number);
    match machine.asic {
        Asic::Virtio => virtio_ports(&mut qemu, machine, folder),
        Asic::Rocker => rocker_ports(&mut qemu, machine, folder),
    }
    if machine.negotiates {
        let (slot, function) = place(NEGOTIATING);
        qemu.device(&format!(
            "e1000e,bus=pcie.0,addr={slot:02x}.{function},multifunction=on,mac={},romfile=",
            port_mac(machine.number, NEGOTIATING)
        ));
    }
    let mut all = machine.credentials.clone();
    if machine.agent_disk.is_some() {
        all.extend(door::credentials());
    }
    for (name, value) in &all {
        qemu.0.args(credentials::arguments(name, value, Channel::Smbios, folder)?);
    }
    if let Some((document, channel)) = &machine.config {
        qemu.0.args(credentials::arguments("corten.config", document.as_bytes(), *channel, folder)?);
    }
    Ok(qemu.0)
}

/// Main memory: QEMU's own, a file that can be saved, or another's copied on write.
fn main_memory(qemu: &mut Line, machine: &Machine, start: &Start<'_>, memory: Option<&MemoryFile>) {
    let (file, share) = match (memory, start) {
        (Some(memory), _) => (memory.path(), "on"),
        (None, Start::Clone(saved)) => (saved.memory.path(), "off"),
        (None, Start::Boot) => return qemu.add(&["-machine", "q35"]),
    };
    qemu.add(&["-machine", "q35,memory-backend=ram"]);
    let size = machine.memory_mib;
    qemu.path("-object", &format!("memory-backend-file,id=ram,size={size}M,share={share},mem-path="), &file);
}

struct Line(Command);

impl Line {
    fn add(&mut self, arguments: &[&str]) {
        self.0.args(arguments);
    }

    fn device(&mut self, device: &str) {
        self.add(&["-device", device]);
    }

    /// Adds an option whose value ends with a path.
    fn path(&mut self, option: &str, value: &str, path: &Path) {
        let mut argument = OsString::from(value);
        argument.push(path);
        self.0.arg(option).arg(argument);
    }
}

fn boot(qemu: &mut Line, machine: &Machine, folder: &Path, start: &Start<'_>) -> Result<()> {
    if machine.firmware == Firmware::Uefi {
        firmware(qemu, folder)?;
    }
    if let Start::Clone(_) = start {
        qemu.add(&["-incoming", "defer"]);
    }
    match &machine.boot {
        Boot::Image(image) => {
            match start {
                Start::Boot => disk(qemu, image, "raw", folder)?,
                Start::Clone(saved) => disk(qemu, &saved.disk, "qcow2", folder)?,
            }
            if let Some(kernel) = &machine.kernel {
                qemu.0.arg("-kernel").arg(kernel);
                qemu.add(&["-append", &boot_slot::command_line(image)?]);
            }
        }
        Boot::Kernel { kernel, initramfs, command_line } => {
            qemu.0.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
            qemu.add(&["-append", command_line]);
        }
        Boot::Nothing => qemu.add(&["-S"]),
    }
    Ok(())
}

/// OVMF with a private copy of its variables.
fn firmware(qemu: &mut Line, folder: &Path) -> Result<()> {
    let found = OVMF_CODE.iter().zip(OVMF_VARS).find(|(code, _)| Path::new(code).exists());
    let (code, variables) = found.with_context(|| format!("no UEFI firmware: looked for {OVMF_CODE:?}"))?;
    let copy = folder.join("ovmf-vars");
    std::fs::copy(variables, &copy).with_context(|| format!("cannot copy {variables}"))?;
    qemu.add(&["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={code}")]);
    qemu.path("-drive", "if=pflash,unit=1,format=raw,file=", &copy);
    Ok(())
}

/// The image, behind an overlay that takes the writes.
fn disk(qemu: &mut Line, image: &Path, format: &str, folder: &Path) -> Result<()> {
    let image = image.canonicalize().with_context(|| format!("cannot find image {}", image.display()))?;
    let overlay = template::disk(folder);
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .arg(&image)
        .arg(&overlay)
        .output()
        .context("cannot run qemu-img")?;
    ensure!(made.status.success(), "qemu-img: {}", String::from_utf8_lossy(&made.stderr).trim());
    // Nothing here outlives the machine, so its flushes need not reach the host's disk.
    qemu.path("-drive", "if=none,id=disk0,format=qcow2,cache=unsafe,discard=unmap,file=", &overlay);
    qemu.device("virtio-blk-pci,bus=pcie.0,addr=03.0,drive=disk0,bootindex=1");
    Ok(())
}

fn consoles(qemu: &mut Line, machine: &Machine, folder: &Path) -> Result<()> {
    match machine.console {
        Console::Terminal => {
            qemu.path("-chardev", "socket,id=serial0,path=", &folder.join(SERIAL_SOCKET));
            qemu.add(&["-serial", "chardev:serial0"]);
        }
        Console::Inherited => qemu.add(&["-serial", "mon:stdio"]),
    }
    qemu.path("-chardev", "socket,id=qmp0,path=", &folder.join(MONITOR_SOCKET));
    qemu.add(&["-mon", "chardev=qmp0,mode=control"]);
    if machine.agent_disk.is_some() {
        qemu.path("-chardev", "socket,id=agent0,path=", &folder.join(AGENT_SOCKET));
        qemu.device("virtio-serial-pci,id=serial,bus=pcie.0,addr=05.0,max_ports=2");
        qemu.device(&format!("virtserialport,bus=serial.0,nr=1,chardev=agent0,name={PORT_NAME}"));
    }
    Ok(())
}

/// The management port, behind QEMU's own network: DHCP, and the guest's SSH on a port of 127.0.0.1. It
/// reaches nothing else.
fn management(qemu: &mut Line, number: u8) {
    qemu.add(&["-netdev", "user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"]);
    let mac = Mac([0x02, 0xc0, 0x27, 0xe2, 0xff, number]);
    qemu.device(&format!("virtio-net-pci,bus=pcie.0,addr=02.0,netdev=mgmt,id=mgmt-nic,mac={mac},romfile="));
}

fn virtio_ports(qemu: &mut Line, machine: &Machine, folder: &Path) {
    // A processor has some 200 interrupts, too few for three of each of so many ports: both queues share one.
    let vectors = if machine.ports > 48 { ",vectors=2" } else { "" };
    for port in 1..=machine.ports {
        wire(qemu, machine, port, folder);
        let (slot, function) = place(port);
        qemu.device(&format!(
            "virtio-net-pci,bus=pcie.0,addr={slot:02x}.{function},multifunction=on,netdev=p{port},id=nic{port},\
             mac={}{vectors},romfile=",
            port_mac(machine.number, port)
        ));
    }
}

/// Slot and function of a port.
fn place(port: u16) -> (u16, u16) {
    (FIRST_PORT_SLOT + (port - 1) / FUNCTIONS, (port - 1) % FUNCTIONS)
}

fn rocker_ports(qemu: &mut Line, machine: &Machine, folder: &Path) {
    // An array property of a device cannot be given its length in `-device` (QEMU 7.2).
    qemu.add(&["-global", &format!("rocker.len-ports={}", machine.ports)]);
    let first = port_mac(machine.number, 1);
    let mut device = format!("rocker,bus=pcie.0,addr=06.0,name=sw1,fp_start_macaddr={first}");
    for port in 1..=machine.ports {
        wire(qemu, machine, port, folder);
        device.push_str(&format!(",ports[{}]=p{port}", port - 1));
    }
    qemu.device(&device);
}

fn wire(qemu: &mut Line, machine: &Machine, port: u16, folder: &Path) {
    let (local, remote) = match machine.cables.get(&port) {
        Some(cable) => (cable.local.clone(), cable.remote.clone()),
        None => {
            let (theirs, ours) = wire_sockets(port);
            (folder.join(theirs), folder.join(ours))
        }
    };
    let mut argument = OsString::from(format!("dgram,id=p{port},local.type=unix,local.path="));
    argument.push(local);
    argument.push(",remote.type=unix,remote.path=");
    argument.push(remote);
    qemu.0.arg("-netdev").arg(argument);
}

/// Hardware address of a front-panel port of the machine with this number.
pub(super) fn port_mac(machine: u8, port: u16) -> Mac {
    // No machine has more than 64 ports.
    let [_, port] = port.to_be_bytes();
    Mac([0x02, 0xc0, 0x27, 0xe1, machine, port])
}
