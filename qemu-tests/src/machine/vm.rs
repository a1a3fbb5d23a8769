//! A running machine.

use std::io::ErrorKind;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tempfile::TempDir;

use super::agent::{Agent, Output};
use super::child::Qemu;
use super::command::{self, AGENT_SOCKET, MONITOR_SOCKET, SERIAL_SOCKET, Start};
use super::memory::MemoryFile;
use super::template::{self, Parts, Saved, Template};
use super::{Accelerator, Asic, Boot, Console, Machine, accelerator};
use crate::frame::Mac;
use crate::qmp::Qmp;
use crate::serial::Serial;
use crate::wire::Wire;

/// How long QEMU may take to open its sockets.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long QEMU may take from the end of its monitor to its own.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long QEMU may take to end once it was told to.
const END_TIMEOUT: Duration = Duration::from_secs(20);
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
    agent: Option<Agent>,
    wires: Vec<Option<Wire>>,
    accelerator: Accelerator,
    machine: Machine,
    ssh_port: u16,
    started: Instant,
    /// Main memory, if it can be saved.
    memory: Option<MemoryFile>,
    /// What the disk and the memory lie on, if it is a clone.
    base: Option<Arc<Saved>>,
    /// There until the machine is saved.
    folder: Option<TempDir>,
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
        let bytes = u64::from(machine.memory_mib) * 1024 * 1024;
        let memory = machine.saveable.then(|| MemoryFile::new(bytes)).transpose()?;
        Vm::spawn(machine, accelerator, memory, None)
    }

    /// Starts a machine where another was saved.
    pub(super) fn start_clone(machine: Machine, accelerator: Accelerator, saved: &Arc<Saved>) -> Result<Vm> {
        let memory = machine.saveable.then(|| saved.memory.copy()).transpose()?;
        let vm = Vm::spawn(machine, accelerator, memory, Some(Arc::clone(saved)))?;
        if let Some(agent) = &vm.agent {
            // It stood still meanwhile.
            agent.set_clock()?;
        }
        Ok(vm)
    }

    fn spawn(
        machine: Machine,
        accelerator: Accelerator,
        memory: Option<MemoryFile>,
        base: Option<Arc<Saved>>,
    ) -> Result<Vm> {
        let folder = tempfile::Builder::new().prefix("vm-").tempdir().context("no temporary folder")?;
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
        let agent = machine.agent_disk.is_some().then(|| listen(path, AGENT_SOCKET)).transpose()?;
        let wires = open_wires(&machine, path)?;

        let start = base.as_deref().map_or(Start::Boot, Start::Clone);
        let line = command::build(&machine, accelerator, path, &start, memory.as_ref())?;
        let started = Instant::now();
        let messages = (machine.console == Console::Terminal).then_some(logs.qemu.as_path());
        let mut qemu = Qemu::spawn(line, messages)?;
        let serial = match serial {
            Some(listener) => Some(Serial::new(accept(&listener, &mut qemu, "serial line")?, &logs.serial)?),
            None => None,
        };
        let qmp = Qmp::new(accept(&monitor, &mut qemu, "monitor")?)?;
        let agent = match agent {
            None => None,
            Some(listener) => {
                let stream = accept(&listener, &mut qemu, "agent's line")?;
                Some(if base.is_some() { Agent::of_a_clone(stream)? } else { Agent::of_a_boot(stream)? })
            }
        };
        if let Some(base) = &base {
            let ended = || {
                let status = qemu.wait_until(Instant::now() + LAST_WORDS_TIMEOUT);
                status.map(|status| format!("{status}: {}", qemu.said()))
            };
            template::restore(&qmp, &base.state, ended)?;
        }
        let ssh_port = forwarded_port(&qmp.human("info usernet")?)?;
        let folder = Some(folder);
        Ok(Vm {
            qemu,
            qmp,
            serial,
            agent,
            wires,
            accelerator,
            machine,
            ssh_port,
            started,
            memory,
            base,
            folder,
        })
    }

    /// Stops the processors, before several machines are saved as they stand at the same time.
    pub fn pause(&self) -> Result<()> {
        self.qmp.execute("stop").map(drop)
    }

    /// Saves the machine as it stands, and ends it. Nothing may be asked of its agent meanwhile.
    pub fn save(mut self) -> Result<Template> {
        let name = self.machine.name.clone();
        let template = self.save_parts().with_context(|| format!("cannot save machine {name}"))?;
        Ok(Template::new(template))
    }

    fn save_parts(&mut self) -> Result<Parts> {
        ensure!(self.memory.is_some(), "it was not started for that");
        let folder = self.folder.take().context("it was saved before")?;
        template::save(&self.qmp, &template::state(folder.path()))?;
        self.qmp.quit()?;
        ensure!(self.qemu.wait_until(Instant::now() + END_TIMEOUT).is_some(), "QEMU does not end");
        Ok(Parts {
            machine: self.machine.clone(),
            accelerator: self.accelerator,
            memory: self.memory.take().context("it has no memory of its own")?,
            base: self.base.take(),
            folder,
        })
    }

    /// Name, as the log files have it.
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// What runs the guest's instructions.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.qemu.id()
    }

    /// What QEMU has taken of this host's processors.
    pub fn cpu_time(&self) -> Duration {
        self.qemu.cpu_time()
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The far end of front-panel port `number`, from 1.
    pub fn wire(&self, number: u16) -> Result<&Wire> {
        let index = usize::from(number).checked_sub(1);
        let wire = index.and_then(|index| self.wires.get(index));
        let wire = wire.with_context(|| format!("machine {} has no port {number}", self.name()))?;
        wire.as_ref().with_context(|| format!("a cable leads from port {number} of machine {}", self.name()))
    }

    /// Number of front-panel ports.
    pub fn ports(&self) -> u16 {
        self.machine.ports
    }

    /// Hardware address of front-panel port `number`.
    pub fn port_mac(&self, number: u16) -> Mac {
        command::port_mac(self.machine.number, number)
    }

    /// Pulls or plugs the cable of front-panel port `number`.
    pub fn set_link(&self, number: u16, up: bool) -> Result<()> {
        let name = match self.machine.asic {
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
        self.serial.as_ref().with_context(|| format!("the console of machine {} is inherited", self.name()))
    }

    /// The port of 127.0.0.1 that leads to the guest's SSH server.
    pub fn ssh_port(&self) -> u16 {
        self.ssh_port
    }

    /// Waits until the guest runs the agent.
    pub fn wait_for_agent(&self, timeout: Duration) -> Result<()> {
        let outcome = self.agent()?.wait(timeout);
        outcome.with_context(|| self.where_it_stands())
    }

    /// Reboots the guest, and waits until it runs the agent anew.
    pub fn reboot(&self, timeout: Duration) -> Result<()> {
        let hellos = self.agent()?.hellos();
        self.run("systemctl --no-block reboot")?;
        let outcome = self.agent()?.wait_anew(hellos, timeout);
        outcome.with_context(|| self.where_it_stands())
    }

    /// Runs a command in the guest as root, for a minute at most.
    pub fn sh(&self, command: &str) -> Result<Output> {
        self.sh_within(command, COMMAND_TIMEOUT)
    }

    /// Runs a command in the guest as root; past the time-out the guest kills it, and that is an error.
    pub fn sh_within(&self, command: &str, timeout: Duration) -> Result<Output> {
        self.agent()?.exec(command, timeout).with_context(|| format!("in the guest: {command}"))
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
            None => bail!("machine {} did not power off within {} s", self.name(), timeout.as_secs()),
        }
    }

    /// The end of the serial log, for error messages.
    pub fn where_it_stands(&self) -> String {
        match &self.serial {
            Some(serial) => format!("serial log: {}\nlast lines:\n{}", serial.log().display(), serial.tail()),
            None => format!("machine {} has its console elsewhere", self.name()),
        }
    }

    /// The agent in the guest.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().with_context(|| format!("machine {} was started without an agent", self.name()))
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

/// The wires of all ports that no cable leads from.
fn open_wires(machine: &Machine, folder: &Path) -> Result<Vec<Option<Wire>>> {
    let open = |port| {
        let (theirs, ours) = command::wire_sockets(port);
        Wire::open(&format!("swp{port}"), &folder.join(ours), &folder.join(theirs))
    };
    (1..=machine.ports)
        .map(|port| (!machine.cables.contains_key(&port)).then(|| open(port)).transpose())
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
