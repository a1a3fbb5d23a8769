//! A running machine.

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use super::child::Qemu;
use super::command::{self, MONITOR_SOCKET, SERIAL_SOCKET, SHELL_SOCKET};
use super::shell::{Output, Shell};
use super::{Accelerator, Asic, Boot, Console, Machine, accelerator};
use crate::frame::Mac;
use crate::qmp::Qmp;
use crate::serial::Serial;
use crate::wire::Wire;

/// How long QEMU may take to open its sockets.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command of [`Vm::sh`] may run, translated processors considered.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest path of a Unix socket (`sun_path`), its end included.
const SOCKET_PATH_BYTES: usize = 108;

/// A running machine; it ends when dropped.
pub struct Vm {
    // The order matters: QEMU ends before what it is connected to, the folder goes last.
    qemu: Qemu,
    qmp: Qmp,
    serial: Option<Serial>,
    shell: Option<Shell>,
    wires: Vec<Wire>,
    accelerator: Accelerator,
    asic: Asic,
    ssh_port: u16,
    name: String,
    started: Instant,
    _folder: TempDir,
}

impl Vm {
    pub(super) fn start(machine: Machine) -> Result<Vm> {
        let image = match &machine.boot {
            Boot::Image(image) => Some(image.as_path()),
            Boot::Kernel { .. } | Boot::Nothing => None,
        };
        let accelerator = accelerator::probe(image);
        Vm::start_with(machine, accelerator)
    }

    pub(super) fn start_with(machine: Machine, accelerator: Accelerator) -> Result<Vm> {
        let folder = tempfile::Builder::new().prefix("corten-").tempdir().context("no temporary folder")?;
        let path = folder.path();
        // The longest name, and a byte for its end.
        ensure!(
            path.as_os_str().len() + "/serial".len() < SOCKET_PATH_BYTES,
            "{} is too long for sockets: set TMPDIR to a shorter path",
            path.display()
        );
        let logs = Logs::new(&machine, path)?;
        let monitor = listen(path, MONITOR_SOCKET)?;
        let serial =
            (machine.console == Console::Terminal).then(|| listen(path, SERIAL_SOCKET)).transpose()?;
        let shell = machine.test_shell.then(|| listen(path, SHELL_SOCKET)).transpose()?;
        let wires = open_wires(machine.ports, path)?;

        let line = command::build(&machine, accelerator, path)?;
        let started = Instant::now();
        let messages = (machine.console == Console::Terminal).then_some(logs.qemu.as_path());
        let mut qemu = Qemu::spawn(line, messages)?;
        let serial = match serial {
            Some(listener) => Some(Serial::new(accept(&listener, &mut qemu, "serial line")?, &logs.serial)?),
            None => None,
        };
        let qmp = Qmp::new(accept(&monitor, &mut qemu, "monitor")?)?;
        let shell = match shell {
            Some(listener) => Some(Shell::new(accept(&listener, &mut qemu, "root shell")?)?),
            None => None,
        };
        let ssh_port = forwarded_port(&qmp.human("info usernet")?)?;
        Ok(Vm {
            qemu,
            qmp,
            serial,
            shell,
            wires,
            accelerator,
            asic: machine.asic,
            ssh_port,
            name: machine.name,
            started,
            _folder: folder,
        })
    }

    /// Name, as the log files have it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What runs the guest's instructions.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.qemu.id()
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The far end of front-panel port `number`, from 1.
    pub fn wire(&self, number: u16) -> Result<&Wire> {
        let index = usize::from(number).checked_sub(1);
        index
            .and_then(|index| self.wires.get(index))
            .with_context(|| format!("machine {} has no port {number}", self.name))
    }

    /// All wires, in the order of the ports.
    pub fn wires(&self) -> &[Wire] {
        &self.wires
    }

    /// Hardware address of front-panel port `number`.
    pub fn port_mac(&self, number: u16) -> Mac {
        command::port_mac(number)
    }

    /// Pulls or plugs the cable of front-panel port `number`.
    pub fn set_link(&self, number: u16, up: bool) -> Result<()> {
        let name = match self.asic {
            Asic::Virtio => format!("nic{number}"),
            Asic::Rocker => format!("p{number}"),
        };
        self.qmp.set_link(&name, up)
    }

    /// The monitor.
    pub fn qmp(&self) -> &Qmp {
        &self.qmp
    }

    /// The terminal on the serial line; an error when the console is inherited.
    pub fn serial(&self) -> Result<&Serial> {
        self.serial.as_ref().with_context(|| format!("the console of machine {} is inherited", self.name))
    }

    /// The port of 127.0.0.1 that leads to the guest's SSH server.
    pub fn ssh_port(&self) -> u16 {
        self.ssh_port
    }

    /// Waits until the guest runs the root shell.
    pub fn wait_for_shell(&self, timeout: Duration) -> Result<()> {
        let outcome = self.shell()?.wait(timeout);
        outcome.with_context(|| self.where_it_stands())
    }

    /// Waits until the guest runs the root shell anew, after a reboot.
    pub fn wait_for_new_shell(&self, timeout: Duration) -> Result<()> {
        let outcome = self.shell()?.wait_anew(timeout);
        outcome.with_context(|| self.where_it_stands())
    }

    /// Runs a command in the guest as root, for a minute at most.
    pub fn sh(&self, command: &str) -> Result<Output> {
        self.sh_within(command, COMMAND_TIMEOUT)
    }

    /// Runs a command in the guest as root; past the time-out the guest kills it (status 137).
    pub fn sh_within(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.shell()?.run(command, timeout)
    }

    /// Runs a command in the guest that must succeed, and answers what it printed.
    pub fn run(&self, command: &str) -> Result<String> {
        self.run_within(command, COMMAND_TIMEOUT)
    }

    /// Like [`Vm::run`] with a time-out of its own.
    pub fn run_within(&self, command: &str, timeout: Duration) -> Result<String> {
        self.sh_within(command, timeout)?.success().with_context(|| format!("in the guest: {command}"))
    }

    /// Waits until QEMU ends, because the guest powered off or the user left.
    pub fn wait(&mut self) -> Result<()> {
        let status = self.qemu.wait()?;
        ensure!(status.success(), "QEMU ended with {status}: {}", self.qemu.said());
        Ok(())
    }

    /// Waits until the guest powered off.
    pub fn wait_for_power_off(&mut self, timeout: Duration) -> Result<()> {
        match self.qemu.wait_until(Instant::now() + timeout) {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("QEMU ended with {status}: {}", self.qemu.said()),
            None => bail!("machine {} did not power off within {} s", self.name, timeout.as_secs()),
        }
    }

    /// The end of the serial log, for error messages.
    pub fn where_it_stands(&self) -> String {
        match &self.serial {
            Some(serial) => format!("serial log: {}\nlast lines:\n{}", serial.log().display(), serial.tail()),
            None => format!("machine {} has its console elsewhere", self.name),
        }
    }

    fn shell(&self) -> Result<&Shell> {
        self.shell.as_ref().with_context(|| format!("machine {} was started without a root shell", self.name))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if self.qemu.ended().is_none() {
            // Fails when QEMU ends faster than it answers; if it does neither, it is killed.
            let _ = self.qmp.quit();
        }
    }
}

struct Logs {
    serial: PathBuf,
    qemu: PathBuf,
}

impl Logs {
    fn new(machine: &Machine, fallback: &Path) -> Result<Logs> {
        let folder = machine.log_folder.as_deref().unwrap_or(fallback);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Logs {
            serial: folder.join(format!("{}.serial.log", machine.name)),
            qemu: folder.join(format!("{}.qemu.log", machine.name)),
        })
    }
}

fn open_wires(ports: u16, folder: &Path) -> Result<Vec<Wire>> {
    (1..=ports)
        .map(|port| {
            let (theirs, ours) = command::wire_sockets(port);
            Wire::open(&format!("swp{port}"), &folder.join(ours), &folder.join(theirs))
        })
        .collect()
}

fn listen(folder: &Path, name: &str) -> Result<UnixListener> {
    let path = folder.join(name);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    listener.set_nonblocking(true).context("cannot make a socket non-blocking")?;
    Ok(listener)
}

/// Waits for QEMU to connect.
fn accept(listener: &UnixListener, qemu: &mut Qemu, what: &str) -> Result<UnixStream> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).context("cannot make a socket blocking")?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(anyhow!(error).context(format!("cannot accept the {what}"))),
        }
        if let Some(status) = qemu.ended() {
            bail!("QEMU ended with {status}: {}", qemu.said());
        }
        if Instant::now() >= deadline {
            bail!("QEMU did not connect its {what} within {} s", START_TIMEOUT.as_secs());
        }
        // Short, so that an end of QEMU shows soon.
        let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::from(50_u8));
    }
}

/// Finds the host's port in the output of `info usernet`, whose lines read
/// `TCP[HOST_FORWARD] 12 127.0.0.1 40001 10.0.2.15 22 0 0`.
fn forwarded_port(table: &str) -> Result<u16> {
    let port = table
        .lines()
        .filter(|line| line.contains("HOST_FORWARD"))
        .find_map(|line| line.split_whitespace().nth(3)?.parse().ok());
    port.with_context(|| format!("QEMU names no forwarded port:\n{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarded_port_is_read_from_the_monitor() {
        let table = "VLAN -1 (mgmt):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n  \
                     TCP[HOST_FORWARD]  13       127.0.0.1 40123       10.0.2.15    22     0     0\n";
        assert_eq!(forwarded_port(table).unwrap(), 40_123);
        assert!(forwarded_port("").is_err());
    }
}
