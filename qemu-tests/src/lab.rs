//! Booted machines that behaviours share.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use qemu_tests::demo;
use qemu_tests::frame::Mac;
use qemu_tests::host::{Host, HostConfig};
use qemu_tests::machine::{self, Asic, Channel, Firmware, Machine, Output, Vm};
use qemu_tests::random::run_token;
use qemu_tests::tools::Tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::scenarios::numbered::FirstFrame;

/// How long a boot may take, translated processors and a busy host considered.
const BOOT_TIMEOUT: Duration = Duration::from_secs(240);

/// The administrator of the labs, his password on the serial console, and its SHA-512 crypt hash.
pub const USER: &str = "ana";
pub const PASSWORD: &str = "Weathering-1";
const PASSWORD_HASH: &str =
    "$6$cortentest$VGOpCTwAJUBq9xAHGWogVWtBPBDXVedCsjQi0aaZPXmzFmx0zF7XtEkve44LZXRosHCrcMBMVKdV4nOFyNgAP0";

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Twelve software-forwarded ports, all that a document can say.
    Switch,
    /// The demo, booted by UEFI.
    Demo,
    /// Ports of an emulated ASIC.
    Rocker,
    /// Ports of a simulated ASIC, on the kernel that only tests boot.
    Netdevsim,
    /// Not provisioned.
    Fresh,
    /// 64 quiet ports, with programs of the host.
    Measured,
}

impl Topology {
    /// The order in which they are booted.
    pub const ALL: [Topology; 6] = [
        Topology::Switch,
        Topology::Demo,
        Topology::Rocker,
        Topology::Netdevsim,
        Topology::Fresh,
        Topology::Measured,
    ];

    /// Name, also that of the log file.
    pub fn name(self) -> &'static str {
        match self {
            Topology::Switch => "switch",
            Topology::Demo => "demo",
            Topology::Rocker => "rocker",
            Topology::Netdevsim => "netdevsim",
            Topology::Fresh => "fresh",
            Topology::Measured => "measured",
        }
    }

    /// What it is.
    pub fn description(self) -> &'static str {
        match self {
            Topology::Switch => "switch: 12 virtio ports, BIOS, provisioned over fw_cfg",
            Topology::Demo => "demo: 6 virtio ports, UEFI, provisioned over SMBIOS",
            Topology::Rocker => "rocker: 4 ports of an emulated ASIC, BIOS",
            Topology::Netdevsim => {
                "netdevsim: 4 ports of a simulated ASIC and one that negotiates, the test kernel"
            }
            Topology::Fresh => "fresh: 2 virtio ports, BIOS, not provisioned",
            Topology::Measured => "measured: 64 virtio ports, BIOS, provisioned over fw_cfg",
        }
    }

    fn ports(self) -> u16 {
        match self {
            Topology::Switch => 12,
            Topology::Demo => 6,
            Topology::Rocker => 4,
            // The kernel makes its ports.
            Topology::Netdevsim => 0,
            Topology::Fresh => 2,
            Topology::Measured => machine::MAX_PORTS,
        }
    }

    /// The document a lab is provisioned with; none for a fresh switch.
    fn document(self, public_key: &str) -> Option<String> {
        match self {
            Topology::Switch => Some(switch_document(public_key)),
            Topology::Demo => Some(demo::config(self.ports())),
            Topology::Rocker => Some(rocker_document(public_key)),
            Topology::Netdevsim => Some(netdevsim_document(public_key)),
            Topology::Fresh => None,
            Topology::Measured => Some(measured_document(public_key)),
        }
    }
}

/// All ports in one VLAN.
fn measured_document(public_key: &str) -> String {
    format!(
        "version = 1\n\n{}\n[ports.\"swp[1-{}]\"]\nvlan.access = 10\n",
        users(public_key),
        machine::MAX_PORTS
    )
}

fn users(public_key: &str) -> String {
    format!(
        "[users.{USER}]\nrole = \"admin\"\nkeys = [\"{public_key}\"]\nconsole_password = \"{PASSWORD_HASH}\"\n\n\
         [users.vic]\nrole = \"view\"\nkeys = [\"{public_key}\"]\n"
    )
}

/// Ports of the switch lab:
///
/// | port | what |
/// | --- | --- |
/// | swp1, swp2 | access VLAN 10 |
/// | swp3, swp4 | access VLAN 20 |
/// | swp5 | trunk of 10 and 20, no native VLAN |
/// | swp6 | trunk of 20, native VLAN 10 |
/// | swp7, swp8 | routed; behind the host on swp8 lie 10.99.0.0/24 and 2001:db8:99::/64 |
/// | swp9, swp10 | access VLAN 50, kept quiet for numbered frames |
/// | swp11 | access VLAN 60, its link is pulled |
/// | swp12 | not mentioned |
fn switch_document(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "leaf1"

[management]
address = "dhcp"
vrf = "mgmt"

{users}
[ports."swp[1-2]"]
vlan.access = 10

[ports."swp[3-4]"]
description = "clients"
vlan.access = 20

[ports.swp5]
description = "trunk"
vlan.trunk = ["10", "20"]

[ports.swp6]
description = "native"
vlan.trunk = ["20"]
vlan.native = 10

[ports.swp7]
description = "routed"
addresses = ["10.0.7.1/24", "2001:db8:7::1/64"]

[ports.swp8]
addresses = ["10.0.8.1/24", "2001:db8:8::1/64"]

[ports."swp[9-10]"]
vlan.access = 50

[ports.swp11]
description = "pulled"
vlan.access = 60

[vlans.10]
name = "servers"
addresses = ["10.0.10.1/24", "2001:db8:10::1/64"]

[vlans.20]
name = "clients"
addresses = ["10.0.20.1/24", "2001:db8:20::1/64"]

[loopbacks.lo0]
addresses = ["198.51.100.1/32"]

[[routes]]
prefix = "10.99.0.0/24"
via = ["10.0.8.2"]

[[routes]]
prefix = "2001:db8:99::/64"
via = ["2001:db8:8::2"]

[[routes]]
prefix = "10.98.0.0/24"
via = ["10.0.7.2", "10.0.8.2"]
"#,
        users = users(public_key)
    )
}

/// Ports of the rocker lab: swp1 and swp2 carry VLAN 10 with its tag, swp3 and swp4 are routed.
fn rocker_document(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "asic1"

{users}
[ports."swp[1-2]"]
vlan.trunk = ["10"]

[ports.swp3]
addresses = ["10.0.3.1/24"]

[ports.swp4]
addresses = ["10.0.4.1/24"]

[[fdb]]
mac = "{first}"
vlan = 10
port = "swp1"

[[fdb]]
mac = "{second}"
vlan = 10
port = "swp2"
"#,
        users = users(public_key),
        first = Mac::of_host(1),
        second = Mac::of_host(2),
    )
}

/// Ports of the netdevsim lab: swp1 and swp2 are routed, swp3 and swp4 are not mentioned. Nothing is plugged
/// into them.
fn netdevsim_document(public_key: &str) -> String {
    format!(
        r#"version = 1

[system]
hostname = "sim1"

{users}
[ports.swp1]
addresses = ["10.0.1.1/24", "2001:db8:1::1/64"]

[ports.swp2]
addresses = ["10.0.2.1/24", "2001:db8:2::1/64"]
"#,
        users = users(public_key)
    )
}

/// Makes the ASIC of the netdevsim lab before netd looks for ports.
const NETDEVSIM_UNIT: &str = "\
[Unit]
Description=A simulated switch ASIC
DefaultDependencies=no
Before=netd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/busybox sh -c 'echo 1 4 >/sys/bus/netdevsim/new_device'
";
const NETDEVSIM_DROP_IN: &str = "[Unit]\nRequires=corten-netdevsim.service\nAfter=corten-netdevsim.service\n";

/// A booted machine.
pub struct Lab {
    /// What kind of machine it is.
    pub topology: Topology,
    /// The machine.
    pub vm: Vm,
    /// The document it was provisioned with; empty for a fresh switch.
    pub document: String,
    /// When netd was ready.
    pub ready: Instant,
    /// The first frame that crossed from swp9 to swp10 (switch lab only).
    pub first_frame: Option<FirstFrame>,
    key: Key,
    /// The disk of host programs, for as long as the machine runs.
    tools: Option<Tools>,
}

impl Lab {
    /// Boots a machine and, unless it is a fresh one, waits until netd is ready.
    pub fn boot(topology: Topology, log_folder: &Path, programs: &[PathBuf]) -> Result<Lab> {
        let key = Key::generate()?;
        let document = topology.document(&key.public);
        let mut machine = Machine::from_image(&machine::image()?)
            .name(topology.name())
            .ports(topology.ports())
            .log_folder(log_folder)
            .test_shell();
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
                .credential("systemd.extra-unit.corten-netdevsim.service", NETDEVSIM_UNIT)
                .credential("systemd.unit-dropin.netd.service", NETDEVSIM_DROP_IN);
        }
        if let Some(document) = &document {
            let channel = if topology == Topology::Demo { Channel::Smbios } else { Channel::FwCfg };
            machine = machine.config(document, channel);
        }
        let tools = (!programs.is_empty()).then(|| Tools::pack(programs)).transpose()?;
        if let Some(tools) = &tools {
            machine = machine.tools(&tools.disk());
        }
        let vm = machine.start()?;
        let awaited = if topology == Topology::Switch {
            Some(FirstFrame::await_on(vm.wire(9)?, vm.wire(10)?, BOOT_TIMEOUT)?)
        } else {
            None
        };
        vm.wait_for_shell(BOOT_TIMEOUT)?;
        let mut lab = Lab {
            topology,
            vm,
            document: document.unwrap_or_default(),
            ready: Instant::now(),
            first_frame: None,
            key,
            tools,
        };
        if topology != Topology::Fresh {
            lab.wait_for_netd(BOOT_TIMEOUT)?;
            lab.ready = Instant::now();
        }
        lab.first_frame =
            awaited.map(|awaited| awaited.finish()).transpose().with_context(|| lab.vm.where_it_stands())?;
        Ok(lab)
    }

    /// Whether programs of the host are there.
    pub fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// Path of the serial log, for messages.
    pub fn serial_log(&self) -> String {
        let log = self.vm.serial().map(|serial| serial.log().display().to_string());
        log.unwrap_or_else(|error| error.to_string())
    }

    /// Waits until systemd holds netd ready and netd answers on the bus.
    pub fn wait_for_netd(&self, timeout: Duration) -> Result<()> {
        // Gives up early on a daemon that fails again and again.
        let script = "restarts() { systemctl show -p NRestarts --value netd.service; }; first=$(restarts); \
             until systemctl is-active --quiet netd.service && corten show system >/dev/null 2>&1; do \
             [ $(($(restarts) - first)) -lt 5 ] || exit 1; sleep 0.2; done";
        let outcome = self.vm.sh_within(script, timeout)?;
        if outcome.status != 0 {
            let status = self.vm.sh(
                "systemctl status --no-pager netd.service; journalctl -b -u netd --no-pager | tail -n 30",
            )?;
            bail!(
                "netd is not ready after {} s or failed repeatedly:\n{}\n{}",
                timeout.as_secs(),
                status.text,
                self.vm.where_it_stands()
            );
        }
        Ok(())
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

    /// Writes a document to a file of the guest.
    pub fn write_file(&self, path: &str, content: &str) -> Result<()> {
        let marker = "CORTEN-TEST-END-OF-FILE";
        ensure!(!content.contains(marker), "the document contains the marker of its end");
        let newline = if content.ends_with('\n') { "" } else { "\n" };
        self.vm.run(&format!("cat >{path} <<'{marker}'\n{content}{newline}{marker}"))?;
        Ok(())
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
                port.remove("counters");
            }
        }
        let mut fdb = self.show("fdb")?;
        fdb.retain(|entry| entry["kind"] == "static");
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
        let mut ssh = ssh_command(self.vm.ssh_port());
        ssh.arg("-i").arg(self.key.path()).arg(format!("{user}@127.0.0.1")).arg(command);
        ssh.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child =
            ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run ssh")?;
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), input) {
            // A server that refuses closes the pipe; its exit status says so.
            let _ = pipe.write_all(text.as_bytes());
        }
        child.wait_with_output().context("cannot wait for ssh")
    }

    /// The public half of the lab's key.
    pub fn public_key(&self) -> &str {
        &self.key.public
    }
}

/// An SSH client that knows no hosts and asks nothing.
pub fn ssh_command(port: u16) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "ConnectTimeout=20",
    ])
    .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"])
    .args(["-p", &port.to_string()]);
    ssh
}

/// An SSH key for one lab.
struct Key {
    folder: TempDir,
    public: String,
}

impl Key {
    fn generate() -> Result<Key> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "corten-test", "-f"])
            .arg(folder.path().join("key"))
            .output()
            .context("cannot run ssh-keygen")?;
        ensure!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        let public = std::fs::read_to_string(folder.path().join("key.pub")).context("no public key")?;
        Ok(Key { folder, public: public.trim().to_owned() })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("key")
    }
}

/// A payload that no other frame of this or another run carries.
pub fn fresh_payload(label: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    format!("<{}/{label}/{}>", run_token(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Calls `check` until it succeeds; past the time-out, its last error is the answer.
pub fn eventually<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match check() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: not within {:.0} s", timeout.as_secs_f64())));
            }
            // State can only be asked for; a pause keeps the asking from slowing down what is awaited.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
