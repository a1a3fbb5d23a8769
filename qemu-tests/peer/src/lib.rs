//! Peers: programs of Debian that tests and measurements hold Corten against.
//!
//! They are unpacked into a private root, which `cargo os` makes of `os-image/peers.toml`, and run there by chroot, in
//! namespaces of their own: nothing is installed on this host or started in its network. A [`PeerRoot`] is such a
//! root, a [`Peer`] a host made of it. Needs util-linux and coreutils, and root or user namespaces. The crate depends
//! on no other crate of this workspace.
//!
//! ```no_run
//! use corten_test_peer::{Network, Peer, PeerRoot};
//! # fn main() -> anyhow::Result<()> {
//! let peer = Peer::start(&PeerRoot::find()?, &Network::New)?;
//! std::fs::write(peer.path("/etc/bird.conf"), "router id 192.0.2.1;\n")?;
//! let mut bird = peer.command("bird").args(["-f", "-c", "/etc/bird.conf"]).spawn()?;
//! let status = peer.command("birdc").args(["show", "status"]).output()?;
//! # drop((bird.wait(), status));
//! # Ok(())
//! # }
//! ```

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Mounts what a peer needs, says its process number, and holds the namespaces until its input ends.
const HOLDER: &str = include_str!("holder.sh");
const UNSHARE: &str = "/usr/bin/unshare";
const NSENTER: &str = "/usr/bin/nsenter";
const CHROOT: &str = "/usr/sbin/chroot";
/// Largest frame a device carries, as socat(1) takes it: a jumbo frame of 9216 bytes with tags fits.
const FRAME_LIMIT_BYTES: &str = "16384";
/// Where programs of the root look for others.
const PROGRAMS: &str = "/usr/sbin:/usr/bin";

/// A root of peers' programs. Peers share it and cannot write to it.
#[derive(Clone, Debug)]
pub struct PeerRoot(PathBuf);

impl PeerRoot {
    /// The root `$CORTEN_PEERS`, else the one that `cargo os` last made in this workspace.
    pub fn find() -> Result<PeerRoot> {
        match env::var_os("CORTEN_PEERS") {
            Some(path) => PeerRoot::at(Path::new(&path)),
            None => PeerRoot::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/os/peers/root")),
        }
    }

    /// The root in a folder.
    pub fn at(folder: &Path) -> Result<PeerRoot> {
        let missing =
            || format!("there is no root of peers at {}: `cargo os test` makes it", folder.display());
        let folder = folder.canonicalize().with_context(missing)?;
        ensure!(folder.join("usr").is_dir(), missing());
        Ok(PeerRoot(folder))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

/// The network of a peer.
#[derive(Clone, Debug)]
pub enum Network {
    /// A new one, with nothing but a loopback device that is down.
    New,
    /// The one of the calling thread, which must not be this host's.
    Callers,
    /// The one that a file stands for: /run/netns/NAME, or [`Peer::network`] of another peer.
    Of(PathBuf),
}

/// A host made of a root of peers: namespaces of mounts, processes, names, messages and, mostly, a network.
///
/// Its /etc, /run, /tmp and /var are its own. It ends with all its programs when it is dropped, and when the process
/// that started it is gone, however that ended.
pub struct Peer {
    root: PeerRoot,
    holder: Child,
    /// The first process of the namespaces, by its number outside of them.
    first: u32,
    /// Whether they have users of their own, too.
    users: bool,
}

impl Peer {
    /// Makes the namespaces and mounts what is private.
    pub fn start(root: &PeerRoot, network: &Network) -> Result<Peer> {
        let users = !nix::unistd::geteuid().is_root();
        let mut command = Command::new(if matches!(network, Network::Of(_)) { NSENTER } else { UNSHARE });
        if let Network::Of(file) = network {
            command.arg(prefixed("--net=", file)).args(["--", UNSHARE]);
        }
        if users {
            command.args(["--user", "--map-root-user"]);
        }
        if matches!(network, Network::New) {
            command.arg("--net");
        }
        command.args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--", "/bin/sh"]);
        command.args(["-euc", HOLDER, "peer"]).arg(&root.0).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().context("cannot start unshare(1)")?;
        let first = first_process(&mut holder);
        let mut peer = Peer { root: root.clone(), holder, first: 0, users };
        peer.first = first?;
        Ok(peer)
    }

    /// A program of the root, by its name or path, in the namespaces. Its environment has nothing of this process's.
    ///
    /// The child is nsenter(1), which ends as the program does; to kill it leaves the program to the peer's end.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(NSENTER);
        if self.users {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--target", &self.first.to_string(), "--mount", "--uts", "--ipc", "--pid", "--net"]);
        command.args(["--", CHROOT]).arg(&self.root.0).arg(program);
        command.env_clear().env("PATH", PROGRAMS).env("HOME", "/").env("LC_ALL", "C");
        command
    }

    /// A program of this host in the peer's network, to set that up and to look at it.
    pub fn command_of_host(&self, program: &str) -> Command {
        let mut command = Command::new(NSENTER);
        if self.users {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--target", &self.first.to_string(), "--net", "--", program]);
        command.env_clear().env("PATH", PROGRAMS).env("LC_ALL", "C");
        command
    }

    /// Makes an Ethernet device in the peer's network: its frames go to the Unix datagram socket `to` and come from
    /// `from`, one frame a datagram. Both are absolute paths of the peer; whoever is to have the frames has bound `to`
    /// already. The device is gone when the program that carries the frames ends, which the child is.
    pub fn ethernet(&self, device: &str, to: &str, from: &str) -> Result<Child> {
        ensure!(
            self.path("/dev/net/tun").exists(),
            "this host has no /dev/net/tun, which devices of peers are made with"
        );
        let mut socat = self.command("socat1");
        socat.args(["-b", FRAME_LIMIT_BYTES]);
        socat.arg(format!("TUN,tun-type=tap,tun-name={device},iff-no-pi,iff-up"));
        // From whoever sends: the sender's path is another on the outside than the one that is sent to.
        socat.arg(format!("UNIX-RECV:{from}!!UNIX-SENDTO:{to}"));
        socat.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        socat.spawn().context("cannot start socat(1) of the root of peers")
    }

    /// Where a file of the peer, by its absolute path there, is for this process.
    pub fn path(&self, inside: &str) -> PathBuf {
        let mut path = PathBuf::from(format!("/proc/{}/root", self.first)).into_os_string();
        path.push(&self.root.0);
        path.push(inside);
        path.into()
    }

    /// The file that stands for its network.
    pub fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.first).into()
    }

    /// Its first process, by its number outside.
    pub fn first_process(&self) -> u32 {
        self.first
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The first process ends with its input, and the kernel kills all others with it.
        drop(self.holder.stdin.take());
        // An error means that it is gone already.
        let _ = self.holder.wait();
    }
}

/// The number that the holder says once all is mounted.
fn first_process(holder: &mut Child) -> Result<u32> {
    let output = holder.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("cannot read what the peer's holder says")?;
    if let Ok(first) = line.trim().parse() {
        return Ok(first);
    }
    let mut said = String::new();
    let errors = holder.stderr.take().context("no standard error")?;
    BufReader::new(errors).read_to_string(&mut said).context("cannot read what the peer's holder says")?;
    anyhow::bail!("a peer does not start: {}", said.trim())
}

fn prefixed(prefix: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(prefix);
    word.push(path);
    word
}
