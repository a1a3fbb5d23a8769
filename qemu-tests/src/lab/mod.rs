//! Machines that scenarios run on: booted, or cloned of one that was.

mod documents;
pub mod fabric;
mod ssh;
mod topology;

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use qemu_tests::frame::Mac;
use qemu_tests::host::{Host, HostConfig};
use qemu_tests::machine::{self, Armed, Asic, Channel, Firmware, Machine, Output, Template, Vm};
use qemu_tests::random::run_token;
use qemu_tests::tools::{Tool, Tools};
pub use qemu_tests::waiting::eventually;
use serde_json::Value;

use crate::scenarios::numbered::{AwaitedFrame, FirstFrame};
use ssh::Key;
pub use ssh::ssh_command;
pub use topology::{Origin, Topology};

/// How long a boot may take, translated processors and a busy host considered.
const BOOT_TIMEOUT: Duration = Duration::from_secs(240);
/// How long netd may take to answer once it is said to be ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The administrator of the labs, his password on the serial console, and its SHA-512 crypt hash.
pub const USER: &str = "ana";
pub const PASSWORD: &str = "Weathering-1";
const PASSWORD_HASH: &str =
    "$6$cortentest$VGOpCTwAJUBq9xAHGWogVWtBPBDXVedCsjQi0aaZPXmzFmx0zF7XtEkve44LZXRosHCrcMBMVKdV4nOFyNgAP0";

/// What every lab of a run has in common.
pub struct Bench {
    log_folder: PathBuf,
    /// The disk with the agent and programs for the guests.
    tools: Tools,
    /// Names of those programs.
    programs: Vec<String>,
}

impl Bench {
    /// Packs the programs that the guests are to have.
    pub fn new(log_folder: &Path, programs: &[Tool]) -> Result<Bench> {
        let tools = Tools::pack(&machine::agent_program()?, programs)?;
        let names = programs.iter().filter_map(|tool| tool.name().map(str::to_owned));
        Ok(Bench { log_folder: log_folder.to_owned(), tools, programs: names.collect() })
    }
}

/// How long the boot of a lab took, in seconds from the start of the guest's kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootTimes {
    /// Until netd was ready.
    pub ready_s: f64,
    /// Until the first frame crossed from swp9 to swp10; only where these are plugged in.
    pub first_frame_s: Option<f64>,
}

/// A running machine.
pub struct Lab {
    /// What kind of machine it is.
    pub topology: Topology,
    /// The machine.
    pub vm: Vm,
    /// The document it was provisioned with; empty for a fresh switch.
    pub document: String,
    /// How long it took to boot, or the machine that it is a clone of.
    pub boot: BootTimes,
    /// When netd was ready, or the clone was there.
    pub ready: Instant,
    key: Arc<Key>,
    bench: Arc<Bench>,
    /// What it is a clone of, if it is one.
    template: Option<Arc<LabTemplate>>,
    /// Whether a scenario makes it unfit for others on purpose.
    exempt: AtomicBool,
}

/// A lab that was saved.
pub struct LabTemplate {
    topology: Topology,
    template: Template,
    document: String,
    boot: BootTimes,
    key: Arc<Key>,
    bench: Arc<Bench>,
}

impl LabTemplate {
    /// A clone, named for its logs.
    pub fn clone_lab(this: &Arc<LabTemplate>, name: &str) -> Result<Lab> {
        let mut lab = this.around(this.topology, this.template.clone_machine(name)?)?;
        lab.template = Some(Arc::clone(this));
        Ok(lab)
    }

    /// A clone that becomes a template of another kind.
    pub fn clone_saveable(&self, topology: Topology) -> Result<Lab> {
        self.around(topology, self.template.clone_saveable(topology.name())?)
    }

    /// A clone some of whose ports are cabled otherwise.
    fn clone_with(&self, name: &str, change: impl FnOnce(Machine) -> Machine) -> Result<Lab> {
        self.around(self.topology, self.template.clone_with(name, change)?)
    }

    fn around(&self, topology: Topology, vm: Vm) -> Result<Lab> {
        Ok(Lab {
            topology,
            vm,
            document: self.document.clone(),
            boot: self.boot,
            ready: Instant::now(),
            key: Arc::clone(&self.key),
            bench: Arc::clone(&self.bench),
            template: None,
            exempt: AtomicBool::new(false),
        })
    }
}

/// A machine that boots and becomes a lab.
pub(crate) struct Booting {
    lab: Lab,
    awaited: Option<AwaitedFrame>,
}

impl Booting {
    /// Waits until the machine is ready: unless it is a fresh one, until netd is.
    fn finish(self) -> Result<Lab> {
        let Booting { mut lab, awaited } = self;
        lab.vm.wait_for_agent(BOOT_TIMEOUT)?;
        if lab.topology != Topology::Fresh {
            lab.wait_for_netd(BOOT_TIMEOUT)?;
        }
        lab.ready = Instant::now();
        let first =
            awaited.map(AwaitedFrame::finish).transpose().with_context(|| lab.vm.where_it_stands())?;
        let start = lab.kernel_start()?;
        let since = |at: Instant| at.saturating_duration_since(start).as_secs_f64();
        lab.boot = BootTimes { ready_s: since(lab.ready), first_frame_s: first.map(|first| since(first.at)) };
        Ok(lab)
    }
}

impl Lab {
    /// Boots a machine and, unless it is a fresh one, waits until netd is ready.
    pub fn boot(topology: Topology, name: &str, cpus: u8, bench: &Arc<Bench>) -> Result<Lab> {
        let key = Key::generate()?;
        let document = topology.document(&key.public);
        Lab::start(topology, document, key, bench, |machine| machine.name(name).cpus(cpus))?.finish()
    }

    /// The same for a machine that is to be saved.
    pub fn boot_saveable(topology: Topology, name: &str, cpus: u8, bench: &Arc<Bench>) -> Result<Lab> {
        let key = Key::generate()?;
        let document = topology.document(&key.public);
        let change = |machine: Machine| machine.name(name).cpus(cpus).saveable();
        let lab = Lab::start(topology, document, key, bench, change)?.finish()?;
        lab.settle()?;
        Ok(lab)
    }

    /// Waits until the boot is over and the management network has its address, so that no clone has to do the rest of
    /// the boot again.
    fn settle(&self) -> Result<()> {
        let state = self.vm.sh_within("systemctl is-system-running --wait", BOOT_TIMEOUT)?;
        ensure!(["running", "degraded"].contains(&state.text.trim()), "the boot ends as {}", state.text);
        if self.document.contains("[management]") {
            eventually("the management network has an address", BOOT_TIMEOUT, || {
                let shown = self.vm.run("ip -o addr show mgmt0")?;
                ensure!(shown.contains(" inet "), "it has {shown}");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn start(
        topology: Topology,
        document: Option<String>,
        key: Key,
        bench: &Arc<Bench>,
        change: impl FnOnce(Machine) -> Machine,
    ) -> Result<Booting> {
        let mut machine = Machine::from_image(&machine::image()?)
            .name(topology.name())
            .ports(topology.ports())
            .log_folder(&bench.log_folder)
            .agent(&bench.tools.disk());
        if topology == Topology::Demo {
            machine = machine.firmware(Firmware::Uefi);
        }
        if topology == Topology::Rocker {
            machine = machine.asic(Asic::Rocker);
        }
        if topology == Topology::Netdevsim {
            machine = machine
                .negotiates()
                .kernel(&machine::test_kernel()?)
                .credential("systemd.extra-unit.corten-netdevsim.service", documents::NETDEVSIM_UNIT)
                .credential("systemd.unit-dropin.netd.service", documents::NETDEVSIM_DROP_IN);
        }
        if topology == Topology::Unknown {
            machine = machine
                .made_by("Acme", "X1")
                .credential("systemd.extra-unit.corten-unplug.service", documents::UNPLUG_UNIT)
                .credential("systemd.unit-dropin.netd.service", documents::UNPLUG_DROP_IN);
        }
        if let Some(document) = &document {
            let channel = if topology == Topology::Demo { Channel::Smbios } else { Channel::FwCfg };
            machine = machine.config(document, channel);
        }
        let vm = change(machine).start()?;
        let awaited = if topology == Topology::Switch {
            Some(FirstFrame::await_on(vm.wire(9)?, vm.wire(10)?, BOOT_TIMEOUT)?)
        } else {
            None
        };
        let lab = Lab {
            topology,
            vm,
            document: document.unwrap_or_default(),
            boot: BootTimes::default(),
            ready: Instant::now(),
            key: Arc::new(key),
            bench: Arc::clone(bench),
            template: None,
            exempt: AtomicBool::new(false),
        };
        Ok(Booting { lab, awaited })
    }

    /// When the guest's kernel started, by the guest's own clock.
    fn kernel_start(&self) -> Result<Instant> {
        let before = Instant::now();
        let uptime = self.vm.run("cat /proc/uptime")?;
        let asked_for = before.elapsed() / 2;
        let word = uptime.split_whitespace().next().and_then(|word| word.parse().ok());
        let seconds: f64 = word.with_context(|| format!("/proc/uptime reads {uptime:?}"))?;
        (before + asked_for)
            .checked_sub(Duration::from_secs_f64(seconds))
            .context("the guest is older than this host")
    }

    /// Saves it as it stands.
    pub fn save(self) -> Result<LabTemplate> {
        Ok(LabTemplate {
            topology: self.topology,
            document: self.document,
            boot: self.boot,
            key: self.key,
            bench: self.bench,
            template: self.vm.save()?,
        })
    }

    /// Another clone of the same template.
    pub fn sibling(&self, name: &str) -> Result<Lab> {
        let template = self.template.as_ref().context("it was booted, so that there is nothing to clone")?;
        LabTemplate::clone_lab(template, name)
    }

    /// Says that the scenario that runs, the last of its chain, makes the machine unfit for others on purpose.
    pub fn exempt(&self) {
        self.exempt.store(true, Ordering::Relaxed);
    }

    /// Whether a machine is fit for whoever uses it next.
    pub fn is_well(&self) -> Result<()> {
        if self.topology == Topology::Fresh || self.exempt.load(Ordering::Relaxed) {
            return Ok(());
        }
        let text = self.vm.run("corten show system --json")?;
        let system: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        ensure!(system["state"] == "ok", "netd is {}: {}", system["state"], system["problems"]);
        Ok(())
    }

    /// Makes sure that a program of the host is there.
    pub fn needs_tool(&self, name: &str) -> Result<()> {
        ensure!(
            self.bench.programs.iter().any(|program| program == name),
            "it needs {name} in the guest, which `cargo os test` hands over; by hand: --tool FILE, named so"
        );
        Ok(())
    }

    /// Path of the serial log, for messages.
    pub fn serial_log(&self) -> String {
        let log = self.vm.serial().map(|serial| serial.log().display().to_string());
        log.unwrap_or_else(|error| error.to_string())
    }

    /// Waits until systemd holds netd ready and netd answers on the bus.
    pub fn wait_for_netd(&self, timeout: Duration) -> Result<()> {
        let agent = self.vm.agent()?;
        let ready = eventually("netd is ready", timeout, || {
            // A daemon that fails again and again is given up by systemd.
            agent.wait_for_unit("netd.service", &["active", "failed"], timeout)?;
            agent.wait_for_name("org.corten.Netd1", ANSWER_TIMEOUT)?;
            self.vm.run("corten show system")
        });
        if let Err(error) = ready {
            let status = self.vm.sh(
                "systemctl status --no-pager netd.service; journalctl -b -u netd --no-pager | tail -n 30",
            )?;
            bail!("{error:#}:\n{}\n{}", status.text, self.vm.where_it_stands());
        }
        Ok(())
    }

    /// Waits from now on for the end of the netd that runs: the bus takes its name away.
    pub fn arm_end_of_netd(&self, timeout: Duration) -> Result<Armed> {
        let rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',\
                    arg0='org.corten.Netd1',arg2=''";
        self.vm.agent()?.arm_signal(rule, timeout)
    }

    /// The rows of `corten show … --json`.
    pub fn show(&self, what: &str) -> Result<Vec<Value>> {
        let text = self.vm.run(&format!("corten show {what} --json"))?;
        let value: Value = serde_json::from_str(&text)
            .with_context(|| format!("`corten show {what} --json` printed no JSON: {text}"))?;
        match value {
            Value::Array(rows) => Ok(rows),
            other => bail!("`corten show {what} --json` printed no array: {other}"),
        }
    }

    /// The row of a port.
    pub fn port(&self, name: &str) -> Result<Value> {
        let rows = self.show("ports")?;
        let row = rows.into_iter().find(|row| row["name"] == name);
        row.with_context(|| format!("`corten show ports` has no {name}"))
    }

    /// Waits until a port says why it forwards nothing.
    pub fn port_says(&self, name: &str, reason: &str) -> Result<()> {
        eventually(&format!("{name} says: {reason}"), ANSWER_TIMEOUT, || {
            let found = self.port(name)?["reason"].clone();
            ensure!(found == reason, "its reason is {found}");
            Ok(())
        })
    }

    /// Pulls the cable of a port until the switch says so, and plugs it in again: a link that is back at once was never
    /// gone for the kernel.
    pub fn replug(&self, port: u16) -> Result<()> {
        self.vm.set_link(port, false)?;
        let pulled = self.port_says(&format!("swp{port}"), "no carrier");
        self.vm.set_link(port, true)?;
        pulled
    }

    /// Writes a document to a file of the guest.
    pub fn write_file(&self, path: &str, content: &str) -> Result<()> {
        let newline = if content.ends_with('\n') { "" } else { "\n" };
        self.vm.agent()?.put(path, 0o644, format!("{content}{newline}").as_bytes())
    }

    /// `corten apply` of a document.
    pub fn apply(&self, document: &str) -> Result<Output> {
        self.write_file("/run/corten-test.toml", document)?;
        self.vm.sh("corten apply /run/corten-test.toml")
    }

    /// `corten apply` of a document that must be taken.
    pub fn apply_ok(&self, document: &str) -> Result<()> {
        self.apply(document)?.success().context("corten apply").map(drop)
    }

    /// Does `work`, then brings the lab's own document back, whatever came of it. The first error is told first.
    pub fn restoring<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let outcome = work();
        match (outcome, self.apply_ok(&self.document)) {
            (Ok(value), Ok(())) => Ok(value),
            (Ok(_), Err(error)) => Err(error.context("bringing the lab's own document back")),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(also)) => {
                Err(anyhow!("{error:#}; and the lab's own document did not come back: {also:#}"))
            }
        }
    }

    /// The same for work under another document.
    pub fn with_document<T>(&self, document: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.restoring(|| {
            self.apply_ok(document)?;
            work()
        })
    }

    /// What an operator could tell apart of the switch: the document, its generation, ports without
    /// their counters, VLANs, routes and static forwarding entries. Nothing of the management network, which is
    /// not netd's: its lease and its router come when they come.
    pub fn visible_state(&self) -> Result<Value> {
        let config: Value = serde_json::from_str(&self.vm.run("corten config --json")?)?;
        let mut ports = self.show("ports")?;
        ports.retain(|port| port["kind"] != "management");
        for port in &mut ports {
            if let Some(port) = port.as_object_mut() {
                // What netd counts or remembers since its start is no state of the switch.
                for passing in ["counters", "carrier_changed_s", "carrier_losses", "reason"] {
                    port.remove(passing);
                }
            }
        }
        let mut fdb = self.show("fdb")?;
        fdb.retain(|entry| entry["kind"] == "static");
        for entry in &mut fdb {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("age_s");
            }
        }
        let mut routes = self.show("routes")?;
        routes.retain(|route| route["vrf"] != "mgmt");
        Ok(serde_json::json!({
            "config": config,
            "ports": ports,
            "vlans": self.show("vlans")?,
            "routes": routes,
            "fdb": fdb,
        }))
    }

    /// A host on a port, with the hardware address of that number.
    pub fn host(&self, port: u16, config: impl FnOnce(HostConfig) -> HostConfig) -> Result<Host> {
        let name = format!("host on swp{port}");
        Host::start(self.vm.wire(port)?, config(HostConfig::new(&name, Mac::of_host(port))))
    }

    /// A host in an access VLAN of the labs: 10.0.VLAN.PORT and 2001:db8:VLAN::PORT, gateways the switch.
    pub fn member(&self, port: u16, vlan: u16) -> Result<Host> {
        let gateways: [IpAddr; 2] =
            [format!("10.0.{vlan}.1").parse()?, format!("2001:db8:{vlan}::1").parse()?];
        self.host(port, |config| {
            let config = config.address(&format!("10.0.{vlan}.{}/24", 100 + port));
            let config = config.address(&format!("2001:db8:{vlan}::{}/64", 100 + port));
            gateways.into_iter().fold(config, HostConfig::gateway)
        })
    }

    /// An SSH client to log in as a user, authenticated by the lab's key; a session whose way was cut ends.
    pub fn ssh_to(&self, user: &str) -> std::process::Command {
        let mut ssh = ssh_command(self.vm.ssh_port());
        ssh.args(["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]);
        ssh.arg("-i").arg(self.key.path()).arg(format!("{user}@127.0.0.1"));
        ssh
    }

    /// Runs a command over SSH as a user, authenticated by the lab's key.
    pub fn ssh(&self, user: &str, command: &str) -> Result<std::process::Output> {
        self.ssh_with_input(user, command, None)
    }

    /// The same with something on the command's standard input.
    pub fn ssh_with_input(
        &self,
        user: &str,
        command: &str,
        input: Option<&str>,
    ) -> Result<std::process::Output> {
        let mut child = self.ssh_started(user, command, input.is_some())?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
            // A server that refuses closes the pipe; its exit status says so.
            let _ = pipe.write_all(text.as_bytes());
        }
        child.wait_with_output().context("cannot wait for ssh")
    }

    /// A command over SSH that goes on; its standard input is a pipe or nothing.
    pub fn ssh_started(&self, user: &str, command: &str, has_input: bool) -> Result<std::process::Child> {
        let mut ssh = self.ssh_to(user);
        ssh.arg(command);
        ssh.stdin(if has_input { Stdio::piped() } else { Stdio::null() });
        ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run ssh")
    }

    /// The public half of the lab's key.
    pub fn public_key(&self) -> &str {
        &self.key.public
    }
}

/// A payload that no other frame of this or another run carries.
pub fn fresh_payload(label: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    format!("<{}/{label}/{}>", run_token(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
