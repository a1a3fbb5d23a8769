//! Static routes: /32s from 10.0.0.0 on, all by one gateway.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use corten_test_peer::{Network, Peer, PeerRoot};
use netd::kernel::Connection;
use nix::net::if_::if_nametoindex;
use nix::sys::resource::UsageWho;

use crate::applying::{apply, measure};
use crate::floor;
use crate::subject::{Outcome, cpu, ip};

/// The port routes leave by: one end of a veth pair, taken for hardware by its name.
pub const PORT: &str = "swp1";
/// How long BIRD may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn run(subject: &str, routes: u32, folder: &Path) -> Outcome {
    ip("link set lo up");
    ip(&format!("link add {PORT} type veth peer name host1"));
    ip("link set host1 up");
    if subject == "netd" {
        return netd(routes, folder);
    }
    ip(&format!("link set {PORT} up"));
    ip(&format!("address add 192.0.2.1/24 dev {PORT}"));
    match subject {
        "ip" => ip_batch(routes, folder),
        "bird" => bird(routes, folder),
        "floor" => kernel_alone(routes, true),
        "floor-inline" => kernel_alone(routes, false),
        other => panic!("no subject {other}"),
    }
}

fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string()
}

fn write_lines(mut out: impl Write, head: &str, routes: u32, line: impl Fn(&str) -> String, tail: &str) {
    out.write_all(head.as_bytes()).expect("written");
    for number in 0..routes {
        out.write_all(line(&address(number)).as_bytes()).expect("written");
    }
    out.write_all(tail.as_bytes()).expect("written");
    out.flush().expect("written");
}

fn create(path: &Path) -> impl Write {
    std::io::BufWriter::new(std::fs::File::create(path).expect("a file"))
}

/// netd's document of so many routes.
pub fn write_document(out: impl Write, routes: u32) {
    let head = format!("version = 1\n\n[ports.{PORT}]\naddresses = [\"192.0.2.1/24\"]\n");
    let line = |address: &str| format!("\n[[routes]]\nprefix = \"{address}/32\"\nvia = [\"192.0.2.2\"]\n");
    write_lines(out, &head, routes, line, "");
}

fn kernel_alone(routes: u32, object: bool) -> Outcome {
    let device = if_nametoindex(PORT).expect("the port");
    Outcome { wall_s: floor::run(routes, device, object), ..Outcome::default() }
}

fn ip_batch(routes: u32, folder: &Path) -> Outcome {
    let file = folder.join("ip.batch");
    write_lines(create(&file), "", routes, |address| format!("route add {address}/32 via 192.0.2.2\n"), "");
    let began = Instant::now();
    let status = Command::new("ip").arg("-batch").arg(&file).status().expect("ip of iproute2");
    assert!(status.success());
    let wall_s = began.elapsed().as_secs_f64();
    Outcome { wall_s, cpu_s: cpu(UsageWho::RUSAGE_CHILDREN), ..Outcome::default() }
}

/// Where BIRD 2 is.
pub enum Bird {
    /// In the root of peers.
    Peers(PeerRoot),
    /// On the path, as in a guest that was given it.
    Path,
}

impl Bird {
    /// Looks for it.
    pub fn find() -> Option<Bird> {
        let on_path = || {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).find(|folder| folder.join("bird").is_file()).map(|_| Bird::Path)
        };
        PeerRoot::find().ok().map(Bird::Peers).or_else(on_path)
    }
}

fn bird(routes: u32, folder: &Path) -> Outcome {
    // In a root of its own, but in the network of this subject.
    let peer = match Bird::find().expect("BIRD") {
        Bird::Peers(root) => Some(Peer::start(&root, &Network::Callers).expect("a peer")),
        Bird::Path => None,
    };
    let inside = if peer.is_some() { Path::new("/tmp") } else { folder };
    let outside = peer.as_ref().map_or_else(|| folder.to_owned(), |peer| peer.path("/tmp"));
    let head = "router id 192.0.2.1;\nprotocol device {}\nprotocol kernel { ipv4 { export all; import none; }; }\n\
                protocol static {\n  ipv4;\n";
    let line = |address: &str| format!("  route {address}/32 via 192.0.2.2;\n");
    write_lines(create(&outside.join("bird.conf")), head, routes, line, "}\n");
    let mut command = peer.as_ref().map_or_else(|| Command::new("bird"), |peer| peer.command("bird"));
    command.args(["-f", "-c"]).arg(inside.join("bird.conf")).arg("-s").arg(inside.join("bird.sock"));
    // To enter the root takes some milliseconds, which are BIRD's here.
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("BIRD");
    while kernel_routes() < routes {
        assert!(began.elapsed() < PATIENCE, "BIRD is not done after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let wall_s = began.elapsed().as_secs_f64();
    end(&mut child);
    Outcome { wall_s, ..Outcome::default() }
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

fn netd(routes: u32, folder: &Path) -> Outcome {
    let file = folder.join("switch.toml");
    let ports = [PORT.to_owned()].into();
    // The port first, as on a switch that runs: its carrier is there when routes come.
    write_document(create(&file), 0);
    let mut connection = Connection::open().expect("netlink");
    apply(&file, &ports, &mut connection);
    write_document(create(&file), routes);
    let outcome = measure(&file, &ports, &mut connection);
    assert!(kernel_routes() >= routes, "the routes are not there");
    outcome
}
