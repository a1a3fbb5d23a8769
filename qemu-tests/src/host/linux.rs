//! A host with the network of this machine's own kernel, and programs of the root of peers, on a wire.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use corten_test_peer::{Network, Peer, PeerRoot};
use tempfile::TempDir;

use crate::frame::Mac;
use crate::waiting::eventually;
use crate::wire::{Capture, Queue, Wire};

/// How long the device of a host may take to be there.
const SOON: Duration = Duration::from_secs(10);
/// The device on the wire.
pub const DEVICE: &str = "eth0";

/// A host whose network is Linux' own: what it says of ARP, groups and neighbours is what real hosts say. Programs
/// of the root of peers run on it by [`Peer::command`]. It ends with everything in it when it is dropped.
pub struct LinuxHost {
    peer: Peer,
    socat: Child,
    _carriers: [Carrier; 2],
    /// A short way to the peer's /run: paths of sockets are short.
    _folder: TempDir,
}

impl LinuxHost {
    /// Plugs a host into the far end of a port. Its one device is `eth0`, which is up.
    pub fn plug(wire: &Wire, mac: Mac) -> Result<LinuxHost> {
        let peer = Peer::start(&PeerRoot::find()?, &Network::New)?;
        let folder = tempfile::tempdir().context("cannot make a folder for sockets")?;
        let run = folder.path().join("run");
        symlink(peer.path("/run"), &run).context("cannot link to a peer's folder")?;
        let inner = Wire::open(wire.name(), &run.join("to"), &run.join("from"))?;
        let carriers = [Carrier::start(wire, &inner)?, Carrier::start(&inner, wire)?];
        let socat = peer.ethernet(DEVICE, "/run/to", "/run/from")?;
        let mut host = LinuxHost { peer, socat, _carriers: carriers, _folder: folder };
        eventually("the device of a host is there", SOON, || {
            if let Some(status) = host.socat.try_wait()? {
                bail!("socat(1) ended: {status}");
            }
            host.ip(&["link", "show", DEVICE]).map(drop)
        })?;
        host.ip(&["link", "set", DEVICE, "address", &mac.to_string()])?;
        host.ip(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Gives it an address with the length of its prefix.
    pub fn address(&self, address: &str) -> Result<()> {
        // Not to be looked for on the link first: nobody else has it.
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        self.ip(&[&["address", "add", address, "dev", DEVICE], nodad].concat()).map(drop)
    }

    /// Asks for a group as a host's program does that listens to it.
    pub fn joins(&self, group: IpAddr) -> Result<()> {
        self.ip(&["address", "add", &group.to_string(), "dev", DEVICE, "autojoin"]).map(drop)
    }

    /// What ip(8) answers in its network.
    pub fn ip(&self, words: &[&str]) -> Result<String> {
        let output = self.peer.command_of_host("ip").args(words).output().context("cannot run ip(8)")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {}: {}", words.join(" "), errors.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where its programs run.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for LinuxHost {
    fn drop(&mut self) {
        // An error means that it has ended already; what it runs ends with the peer.
        let _ = self.socat.kill();
        let _ = self.socat.wait();
    }
}

/// Hands the frames that come to one wire to another.
struct Carrier {
    queue: Arc<Queue>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Keeps frames coming.
    _capture: Capture,
}

impl Carrier {
    fn start(from: &Wire, to: &Wire) -> Result<Carrier> {
        let capture = from.capture();
        let (queue, ends) = (capture.queue(), Arc::new(AtomicBool::new(false)));
        let (frames, ended, to) = (Arc::clone(&queue), Arc::clone(&ends), to.clone());
        let carry = move || {
            while !ended.load(Ordering::Acquire) {
                frames.wait(Some(Instant::now() + SOON));
                while let Some(captured) = frames.pop() {
                    to.send(&captured.bytes);
                }
            }
        };
        let thread = std::thread::Builder::new().name("carrier".to_owned()).spawn(carry);
        let thread = thread.context("cannot start a thread that carries frames")?;
        Ok(Carrier { queue, ends, thread: Some(thread), _capture: capture })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.queue.nudge();
        if let Some(thread) = self.thread.take() {
            // A panic in there was told already.
            let _ = thread.join();
        }
    }
}
