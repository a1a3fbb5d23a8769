//! Interfaces by annotation. A fake netd on a private bus looks at what it is given; netd itself makes ports of it
//! on the image.
//!
//! Tests with the fake are for the host alone: on the image the shim's system bus is the one that systemd and netd are
//! on, and a bus without systemd starts no task there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use netd_api::attach::{AttachRequest, Attached};

use crate::harness::stack::SERVICE;
use crate::harness::{Containerd, kill, program, wait_for};

/// What the service was asked for.
#[derive(Debug, PartialEq)]
enum Asked {
    /// The request, and the inodes of the network namespaces of the descriptors.
    Attach(AttachRequest, u64, u64),
    Detach(String),
}

#[derive(Clone, Default)]
struct Netd {
    asked: Arc<Mutex<Vec<Asked>>>,
    refuse: bool,
    /// Takes requests for detachment and answers none.
    silent: bool,
}

#[zbus::interface(name = "org.corten.Netd1.Attach1")]
impl Netd {
    fn attach(
        &self,
        request: AttachRequest,
        netns: zbus::OwnedFd,
        netlink: zbus::OwnedFd,
    ) -> zbus::fdo::Result<Attached> {
        let netns = fs::File::from(OwnedFd::from(netns)).metadata().unwrap().ino();
        let netlink = namespace_of_socket(&OwnedFd::from(netlink));
        self.asked.lock().unwrap().push(Asked::Attach(request, netns, netlink));
        if self.refuse {
            return Err(zbus::fdo::Error::Failed("VLAN 77 does not exist".into()));
        }
        Ok(Attached { port: "wl1".into(), mac: "02:00:5e:00:53:01".into() })
    }

    async fn detach(&self, key: String) {
        self.asked.lock().unwrap().push(Asked::Detach(key));
        if self.silent {
            std::future::pending::<()>().await;
        }
    }
}

/// Inode of the network namespace of a routing socket.
fn namespace_of_socket(socket: &OwnedFd) -> u64 {
    const SIOCGSKNS: libc::c_ulong = 0x894c;
    assert_eq!(rustix::net::sockopt::socket_domain(socket).unwrap(), rustix::net::AddressFamily::NETLINK);
    assert_eq!(rustix::net::sockopt::socket_protocol(socket).unwrap(), None, "NETLINK_ROUTE");
    // SAFETY: this ioctl takes no argument and answers a new descriptor.
    let namespace = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
    assert!(namespace >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel just made this descriptor for us; nobody else has it.
    let namespace = unsafe { OwnedFd::from_raw_fd(namespace) };
    fs::File::from(namespace).metadata().unwrap().ino()
}

/// A bus of its own.
struct Bus {
    _folder: tempfile::TempDir,
    daemon: Child,
    address: String,
}

impl Bus {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let config = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
            \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type>\
            <listen>unix:path=SOCKET</listen><policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
            <allow own=\"*\"/><allow user=\"*\"/></policy></busconfig>";
        let file = folder.path().join("bus.conf");
        fs::write(&file, config.replace("SOCKET", &socket.display().to_string())).unwrap();
        let mut daemon = Command::new(program("dbus-daemon"))
            .arg("--config-file")
            .arg(&file)
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        Bus { _folder: folder, daemon, address: address.trim().to_owned() }
    }

    /// Serves until the answer is dropped.
    fn serve(&self, netd: Netd) -> Service {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let address = self.address.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let builder = zbus::connection::Builder::address(address.as_str());
                let builder = builder.serve_at(netd_api::bus::PATH, netd).name(netd_api::bus::NAME);
                let _connection = builder.build().await.unwrap();
                ready.send(()).unwrap();
                // Dropped by the test: that is the sign to stop.
                let _ = stopped.await;
            });
        });
        is_ready.recv_timeout(SERVICE.get()).expect("the service on the bus");
        Service { stop: Some(stop), thread: Some(thread) }
    }
}

/// A service in a thread, so that the test may block on ctr.
struct Service {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the service ends well");
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

const ANNOTATIONS: [&str; 6] = [
    "--annotation",
    "org.corten.interface.eth0.vlan=10",
    "--annotation",
    "org.corten.interface.eth0.address=192.0.2.5/24",
    "--annotation",
    "org.corten.interface.eth0.gateway=192.0.2.1",
];

#[test]
fn an_interface_is_attached_before_the_start_and_detached_at_the_end() {
    let bus = Bus::start();
    let netd = Netd::default();
    let _connection = bus.serve(netd.clone());
    let containerd = Containerd::start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
    containerd.run_detached(&ANNOTATIONS, "web", &["sleep", "1000"]);
    let (pid, _) = containerd.task("web").unwrap();
    let inside = fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    let expected = AttachRequest {
        key: "default/web/eth0".into(),
        interface: "eth0".into(),
        untagged_vlan: 10,
        addresses: vec!["192.0.2.5/24".into()],
        gateways: vec!["192.0.2.1".into()],
        ..Default::default()
    };
    assert_eq!(*netd.asked.lock().unwrap(), [Asked::Attach(expected, inside, inside)]);
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "web"]).ok();
    containerd.wait_status("web", "STOPPED");
    containerd.ctr(&["task", "rm", "web"]);
    assert_eq!(netd.asked.lock().unwrap()[1..], [Asked::Detach("default/web/eth0".into())]);
    containerd.ctr(&["container", "rm", "web"]).ok();
    containerd.assert_clean();
}

#[test]
fn what_netd_refuses_fails_the_task_in_its_words() {
    let bus = Bus::start();
    let netd = Netd { refuse: true, ..Default::default() };
    let _connection = bus.serve(netd.clone());
    let containerd = Containerd::start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
    let mut flags = vec!["--rm"];
    flags.extend(ANNOTATIONS);
    let ran = containerd.run(&flags, "web", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("attach interface eth0") && ran.stderr.contains("VLAN 77 does not exist"),
        "{}",
        ran.stderr
    );
    assert_eq!(netd.asked.lock().unwrap().last(), Some(&Asked::Detach("default/web/eth0".into())));
    containerd.assert_clean();
}

#[test]
fn a_killed_shims_ports_are_given_back() {
    let bus = Bus::start();
    let netd = Netd::default();
    let _connection = bus.serve(netd.clone());
    let containerd = Containerd::start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
    containerd.run_detached(&ANNOTATIONS, "web", &["sleep", "1000"]);
    kill(containerd.shims()[0], 9);
    wait_for("the port to be given back", || {
        netd.asked.lock().unwrap().iter().any(|asked| matches!(asked, Asked::Detach(_))).then_some(())
    });
    containerd.wait_gone("web");
    containerd.ctr(&["container", "rm", "web"]).ok();
    containerd.assert_clean();
}

#[test]
fn without_netd_a_port_cannot_be_had_but_a_task_can_be_deleted() {
    let bus = Bus::start();
    let containerd = Containerd::start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
    let mut flags = vec!["--rm"];
    flags.extend(ANNOTATIONS);
    let ran = containerd.run(&flags, "early", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("attach interface eth0: netd is not running"), "{}", ran.stderr);

    let connection = bus.serve(Netd::default());
    containerd.run_detached(&ANNOTATIONS, "late", &["sleep", "1000"]);
    drop(connection);
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "late"]).ok();
    containerd.wait_status("late", "STOPPED");
    containerd.ctr(&["task", "rm", "late"]);
    assert_eq!(containerd.task("late"), None);
    containerd.ctr(&["container", "rm", "late"]).ok();
    containerd.assert_clean();
}

#[test]
fn task_whose_deletion_was_cut_off_is_listed_removable_and_creatable() {
    let bus = Bus::start();
    let netd = Netd { silent: true, ..Default::default() };
    let _connection = bus.serve(netd.clone());
    let containerd = Containerd::start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)]);
    containerd.run_detached(&ANNOTATIONS, "web", &["sleep", "1000"]);
    containerd.ctr(&["task", "kill", "-s", "SIGKILL", "web"]).ok();
    containerd.wait_status("web", "STOPPED");
    let record = containerd.bundle("web").join("corten-shim.json");
    assert!(record.exists(), "no {}", record.display());
    let mut client = containerd.ctr_command(&["task", "rm", "web"]).stdin(Stdio::null()).spawn().unwrap();
    wait_for("netd to be asked for the detachment", || {
        netd.asked.lock().unwrap().iter().any(|asked| matches!(asked, Asked::Detach(_))).then_some(())
    });
    client.kill().unwrap();
    client.wait().unwrap();
    // The shim goes on, and nobody hears its answer.
    wait_for("the deletion", || (!record.exists()).then_some(()));
    let listed = containerd.task("web").map(|(_, status)| status);
    assert_eq!(listed.as_deref(), Some("STOPPED"), "of {}", containerd.ctr(&["task", "ls"]).stdout);
    let deleted = containerd.ctr(&["task", "rm", "web"]);
    assert!(deleted.stderr.contains("exit code 137"), "{deleted:?}");
    assert_eq!(containerd.task("web"), None);
    containerd.ctr(&["container", "rm", "web"]).ok();
    containerd.run(&["--rm"], "web", &["true"]).ok();
    containerd.assert_clean();
}

#[test]
fn wrong_annotations_and_the_hosts_network_are_refused() {
    let containerd = Containerd::start();
    let wrong = ["--rm", "--annotation", "org.corten.interface.eth0.vlan=4095"];
    let ran = containerd.run(&wrong, "wrong", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("org.corten.interface.eth0.vlan") && ran.stderr.contains("1 to 4094"),
        "{}",
        ran.stderr
    );

    let mut host = vec!["--rm", "--net-host"];
    host.extend(ANNOTATIONS);
    let ran = containerd.run(&host, "host", &["true"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("no network namespace of its own"), "{}", ran.stderr);
    containerd.assert_clean();
}
