//! What is booted ([`Machine`]) and what runs ([`Vm`]).

mod accelerator;
mod agent;
mod boot_slot;
mod child;
mod command;
mod credentials;
mod door;
mod memory;
mod template;
mod vm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use accelerator::{Accelerator, probe};
pub use agent::{Agent, Armed, Output};
pub use credentials::Channel;
pub use template::Template;
pub use vm::Vm;

/// Front-panel ports a machine may have: eight slots of eight functions; the emulated ASIC has at most 62.
pub const MAX_PORTS: u16 = 64;

/// The port of a machine that negotiates its speed: the first one of the last slot, since a slot without its first
/// function is taken for empty.
pub const NEGOTIATING: u16 = MAX_PORTS - 7;

/// What the front-panel ports are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asic {
    /// One virtio-net device a port: the switch forwards in software.
    #[default]
    Virtio,
    /// QEMU's `rocker` switch: the device forwards.
    Rocker,
}

impl Asic {
    fn max_ports(self) -> u16 {
        match self {
            Asic::Virtio => MAX_PORTS,
            Asic::Rocker => 62,
        }
    }
}

/// What starts the boot loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF.
    Uefi,
}

/// Where the serial console goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Console {
    /// To a [`crate::serial::Serial`].
    #[default]
    Terminal,
    /// To this program's own terminal, QEMU's monitor included; Ctrl-A X ends the machine.
    Inherited,
}

/// A machine to be booted. Its image is never written: each run has a private overlay.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    boot: Boot,
    kernel: Option<PathBuf>,
    ports: u16,
    asic: Asic,
    negotiates: bool,
    maker: Option<(String, String)>,
    firmware: Firmware,
    memory_mib: u32,
    console: Console,
    credentials: Vec<(String, Vec<u8>)>,
    config: Option<(String, Channel)>,
    reboots: bool,
    log_folder: Option<PathBuf>,
    agent_disk: Option<PathBuf>,
    cpus: u8,
    number: u8,
    saveable: bool,
    cables: BTreeMap<u16, Cable>,
}

/// Where a port leads that no test holds the other end of: sockets, which the other end has the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The port's own socket.
    pub local: PathBuf,
    /// The other end's.
    pub remote: PathBuf,
}

#[derive(Clone, Debug)]
enum Boot {
    /// A raw GPT disk image.
    Image(PathBuf),
    /// A kernel with an initramfs, no disk.
    Kernel { kernel: PathBuf, initramfs: PathBuf, command_line: String },
    /// Nothing: the processors stay stopped. For tests of the harness.
    Nothing,
}

impl Machine {
    /// A machine that boots from a disk image.
    pub fn from_image(image: &Path) -> Self {
        Machine::new(Boot::Image(image.to_owned()))
    }

    /// A machine that boots a kernel directly, without disk or boot loader.
    pub fn from_kernel(kernel: &Path, initramfs: &Path, command_line: &str) -> Self {
        Machine::new(Boot::Kernel {
            kernel: kernel.to_owned(),
            initramfs: initramfs.to_owned(),
            command_line: command_line.to_owned(),
        })
    }

    /// A machine whose processors never start.
    pub fn stopped() -> Self {
        Machine::new(Boot::Nothing)
    }

    fn new(boot: Boot) -> Self {
        Machine {
            name: "vm".to_owned(),
            boot,
            kernel: None,
            ports: 4,
            asic: Asic::default(),
            negotiates: false,
            maker: None,
            firmware: Firmware::default(),
            memory_mib: 1024,
            console: Console::default(),
            credentials: Vec::new(),
            config: None,
            reboots: true,
            log_folder: None,
            agent_disk: None,
            cpus: 2,
            number: 0,
            saveable: false,
            cables: BTreeMap::new(),
        }
    }

    /// Name of the machine in log files and messages.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Boots this kernel on the image's root instead of the image's own, with the command line that the
    /// image's boot menu has.
    pub fn kernel(mut self, kernel: &Path) -> Self {
        self.kernel = Some(kernel.to_owned());
        self
    }

    /// Number of front-panel ports, up to [`MAX_PORTS`].
    pub fn ports(mut self, ports: u16) -> Self {
        self.ports = ports;
        self
    }

    /// What the front-panel ports are.
    pub fn asic(mut self, asic: Asic) -> Self {
        self.asic = asic;
        self
    }

    /// Adds a port that negotiates its speed, an Intel 82574L that nobody is behind: [`NEGOTIATING`].
    pub fn negotiates(mut self) -> Self {
        self.negotiates = true;
        self
    }

    /// What its firmware says it is, instead of QEMU's own words: a vendor and a product.
    pub fn made_by(mut self, vendor: &str, product: &str) -> Self {
        self.maker = Some((vendor.to_owned(), product.to_owned()));
        self
    }

    /// What starts the boot loader.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// Main memory.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Where the serial console goes.
    pub fn console(mut self, console: Console) -> Self {
        self.console = console;
        self
    }

    /// Passes a systemd credential over SMBIOS.
    pub fn credential(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.credentials.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Provisions the switch with this configuration document.
    pub fn config(mut self, document: &str, channel: Channel) -> Self {
        self.config = Some((document.to_owned(), channel));
        self
    }

    /// Ends the machine when the guest reboots, instead of rebooting it.
    pub fn no_reboot(mut self) -> Self {
        self.reboots = false;
        self
    }

    /// Where log files go; by default a temporary folder that goes away with the machine.
    pub fn log_folder(mut self, folder: &Path) -> Self {
        self.log_folder = Some(folder.to_owned());
        self
    }

    /// Attaches the disk of [`crate::tools`] and has the guest run the agent on it, for [`Vm::sh`]: the image stays
    /// as it is.
    pub fn agent(mut self, disk: &Path) -> Self {
        self.agent_disk = Some(disk.to_owned());
        self
    }

    /// Number of processors.
    pub fn cpus(mut self, cpus: u8) -> Self {
        self.cpus = cpus;
        self
    }

    /// Which of several machines that meet each other it is: hardware addresses have the number.
    pub fn number(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// Allows [`Vm::save`]: main memory is a file.
    pub fn saveable(mut self) -> Self {
        self.saveable = true;
        self
    }

    /// Where a front-panel port leads, instead of to a [`crate::wire::Wire`].
    pub fn cable(mut self, port: u16, cable: Cable) -> Self {
        self.cables.insert(port, cable);
        self
    }

    /// Boots it.
    pub fn start(self) -> Result<Vm> {
        let most = self.asic.max_ports();
        ensure!(
            self.ports <= most,
            "this machine has at most {most} front-panel ports, {} were asked for",
            self.ports
        );
        let name = self.name.clone();
        Vm::start(self).with_context(|| format!("cannot start machine {name}"))
    }
}

/// The image under test: `$CORTEN_IMAGE`, else `target/os/corten-x86_64.img` of the workspace.
pub fn image() -> Result<PathBuf> {
    let path = match std::env::var_os("CORTEN_IMAGE") {
        Some(path) => PathBuf::from(path),
        None => output_folder().join("corten-x86_64.img"),
    };
    ensure!(path.is_file(), "there is no image at {}: build it with `cargo os build`", path.display());
    Ok(path)
}

/// The kernel that only tests boot: `$CORTEN_TEST_KERNEL`, else `target/os/test/vmlinuz` of the workspace.
pub fn test_kernel() -> Result<PathBuf> {
    let path = test_kernel_path();
    ensure!(path.is_file(), "there is no test kernel at {}: `cargo os test` builds it", path.display());
    Ok(path)
}

/// Whether the kernel that only tests boot is there, or will not come: whoever builds it keeps a file beside it that
/// ends with `.pending` until then, with the number of its process.
pub fn test_kernel_is_decided() -> bool {
    match std::fs::read_to_string(pending(&test_kernel_path())) {
        Ok(pid) => !Path::new("/proc").join(pid.trim()).exists(),
        Err(_) => true,
    }
}

/// The file that says that a kernel is being built.
pub fn pending(kernel: &Path) -> PathBuf {
    kernel.with_extension("pending")
}

fn test_kernel_path() -> PathBuf {
    match std::env::var_os("CORTEN_TEST_KERNEL") {
        Some(path) => PathBuf::from(path),
        None => output_folder().join("test/vmlinuz"),
    }
}

/// The agent for the guest: `$CORTEN_TEST_AGENT`, else `target/os/test/corten-test-agent` of the workspace.
pub fn agent_program() -> Result<PathBuf> {
    let path = match std::env::var_os("CORTEN_TEST_AGENT") {
        Some(path) => PathBuf::from(path),
        None => output_folder().join("test/corten-test-agent"),
    };
    ensure!(path.is_file(), "there is no agent at {}: `cargo os test` builds it", path.display());
    Ok(path)
}

/// `target/os` of the workspace.
pub fn output_folder() -> PathBuf {
    // The crate lies directly in the workspace.
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).join("target/os")
}
