//! What is measured, inside a network namespace of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netd::desired::{self, Inputs};
use netd::kernel::snapshot::Scope;
use netd::kernel::{Connection, KernelError};
use netd::plan::{Action, Network};
use netd::transaction::{Backend, Kernel, commit};
use nix::net::if_::if_nametoindex;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::floor;

/// The port routes leave by: one end of a veth pair, taken for hardware by its name.
const PORT: &str = "swp1";
/// How long BIRD may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a subject needed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub wall_s: f64,
    /// User and system time.
    pub cpu_s: f64,
    pub peak_bytes: u64,
    pub parse_s: f64,
    pub plan_s: f64,
    pub send_s: f64,
    pub verify_s: f64,
    /// The same document once more.
    pub again_s: f64,
    pub again_writes: u32,
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("ip of iproute2");
    assert!(status.success(), "ip {words}: {status}");
}

/// Addresses of the routes: /32 from 10.0.0.0 on.
fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string()
}

fn write_lines(path: &Path, head: &str, routes: u32, line: impl Fn(&str) -> String, tail: &str) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    file.write_all(head.as_bytes()).expect("written");
    for number in 0..routes {
        file.write_all(line(&address(number)).as_bytes()).expect("written");
    }
    file.write_all(tail.as_bytes()).expect("written");
    file.flush().expect("written");
}

/// Runs the subject the words name and prints its outcome.
pub fn run_inside(words: &[String]) {
    let [subject, routes, folder] = words else { panic!("inside SUBJECT ROUTES FOLDER") };
    let (routes, folder) = (routes.parse().expect("a number"), PathBuf::from(folder));
    ip("link set lo up");
    ip(&format!("link add {PORT} type veth peer name host1"));
    ip("link set host1 up");
    let outcome = match subject.as_str() {
        "netd" => netd(routes, &folder),
        other => {
            ip(&format!("link set {PORT} up"));
            ip(&format!("address add 192.0.2.1/24 dev {PORT}"));
            match other {
                "ip" => ip_batch(routes, &folder),
                "bird" => bird(routes, &folder),
                "floor" => kernel_alone(routes, true),
                "floor-inline" => kernel_alone(routes, false),
                other => panic!("no subject {other}"),
            }
        }
    };
    println!("{}", serde_json::to_string(&outcome).expect("an outcome"));
}

fn kernel_alone(routes: u32, object: bool) -> Outcome {
    let device = if_nametoindex(PORT).expect("the port");
    Outcome { wall_s: floor::run(routes, device, object), ..Outcome::default() }
}

fn ip_batch(routes: u32, folder: &Path) -> Outcome {
    let file = folder.join("ip.batch");
    write_lines(&file, "", routes, |address| format!("route add {address}/32 via 192.0.2.2\n"), "");
    let began = Instant::now();
    let status = Command::new("ip").arg("-batch").arg(&file).status().expect("ip of iproute2");
    assert!(status.success());
    let wall_s = began.elapsed().as_secs_f64();
    Outcome { wall_s, cpu_s: cpu(UsageWho::RUSAGE_CHILDREN), ..Outcome::default() }
}

fn cpu(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("rusage");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Whether BIRD 2 is installed.
pub fn has_bird() -> bool {
    bird_program().is_some()
}

fn bird_program() -> Option<PathBuf> {
    ["/usr/sbin/bird", "/usr/bin/bird"].iter().map(PathBuf::from).find(|path| path.exists())
}

fn bird(routes: u32, folder: &Path) -> Outcome {
    let file = folder.join("bird.conf");
    let head = "router id 192.0.2.1;\nprotocol device {}\nprotocol kernel { ipv4 { export all; import none; }; }\n\
                protocol static {\n  ipv4;\n";
    let line = |address: &str| format!("  route {address}/32 via 192.0.2.2;\n");
    write_lines(&file, head, routes, line, "}\n");
    let began = Instant::now();
    let mut child = Command::new(bird_program().expect("bird2"))
        .args(["-f", "-c"])
        .arg(&file)
        .arg("-s")
        .arg(folder.join("bird.sock"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("bird2");
    while kernel_routes() < routes {
        assert!(began.elapsed() < PATIENCE, "BIRD is not done after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let wall_s = began.elapsed().as_secs_f64();
    end(&mut child);
    Outcome { wall_s, cpu_s: cpu(UsageWho::RUSAGE_CHILDREN), ..Outcome::default() }
}

fn end(child: &mut Child) {
    child.kill().expect("the child");
    child.wait().expect("the child");
}

/// Prefixes in the kernel's main table, as its trie counts them.
fn kernel_routes() -> u32 {
    let text = std::fs::read_to_string("/proc/net/fib_triestat").expect("/proc/net/fib_triestat");
    let main = text.split("Main:").nth(1).unwrap_or(&text);
    let line = main.lines().find(|line| line.trim_start().starts_with("Prefixes:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The kernel, with a clock on each side.
struct Timed<'a> {
    kernel: Kernel<'a>,
    reading: Duration,
    sending: Duration,
    sent: u32,
}

impl Backend for Timed<'_> {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        let began = Instant::now();
        let network = self.kernel.snapshot();
        self.reading += began.elapsed();
        network
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        let began = Instant::now();
        let outcomes = self.kernel.execute(actions);
        self.sending += began.elapsed();
        self.sent += actions.len() as u32;
        outcomes
    }
}

/// From the file to the verified kernel; answers times of parsing, reading, sending, and actions sent.
fn apply(file: &Path, connection: &mut Connection) -> (Duration, Duration, Duration, u32) {
    let began = Instant::now();
    let document = std::fs::read_to_string(file).expect("the document");
    let config = netd_api::config::parse(&document).expect("a valid document");
    let parsing = began.elapsed();
    let ports = [PORT.to_owned()].into();
    let mut desired = desired::network(&Inputs {
        config: &config,
        ports: &ports,
        permanent_macs: &BTreeMap::new(),
        attachments: &BTreeMap::new(),
        bridge_mac: "02:00:00:00:00:01",
        objects: true,
    });
    // The kernel here may know no VLANs; the bridge is no part of this.
    desired.links.remove(desired::BRIDGE);
    let names = desired.links.keys().cloned().collect();
    let scope = Scope { ports, names, ..Scope::default() };
    let kernel = Kernel { connection, scope: &scope, bridge: desired::BRIDGE, dark: Default::default() };
    let mut timed = Timed { kernel, reading: Duration::ZERO, sending: Duration::ZERO, sent: 0 };
    commit(&mut timed, &desired).expect("the kernel takes it");
    (parsing, timed.reading, timed.sending, timed.sent)
}

fn netd(routes: u32, folder: &Path) -> Outcome {
    let file = folder.join("switch.toml");
    let head = format!("version = 1\n\n[ports.{PORT}]\naddresses = [\"192.0.2.1/24\"]\n");
    let line = |address: &str| format!("\n[[routes]]\nprefix = \"{address}/32\"\nvia = [\"192.0.2.2\"]\n");
    // The port first, as on a switch that runs: its carrier is there when routes come.
    std::fs::write(&file, &head).expect("written");
    let mut connection = Connection::open().expect("netlink");
    apply(&file, &mut connection);
    write_lines(&file, &head, routes, line, "");
    let before = cpu(UsageWho::RUSAGE_SELF);
    let began = Instant::now();
    let (parsing, reading, sending, _) = apply(&file, &mut connection);
    let wall = began.elapsed();
    let cpu_s = cpu(UsageWho::RUSAGE_SELF) - before;
    let peak_bytes = peak();
    assert!(kernel_routes() >= routes, "the routes are not there");
    let began = Instant::now();
    let (.., again_writes) = apply(&file, &mut connection);
    let again_s = began.elapsed().as_secs_f64();
    Outcome {
        wall_s: wall.as_secs_f64(),
        cpu_s,
        peak_bytes,
        parse_s: parsing.as_secs_f64(),
        plan_s: (wall - parsing - reading - sending).as_secs_f64(),
        send_s: sending.as_secs_f64(),
        verify_s: reading.as_secs_f64(),
        again_s,
        again_writes,
    }
}

/// The most memory this process had.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
}
