//! What the tests of the kernel room share.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use netd::kernel::snapshot::{self, Scope};
use netd::kernel::veth::{self, VethRequest};
use netd::kernel::{Connection, KernelError, batch, link};
use netd::plan::{Action, LinkKind, Network, Setting, Value};

use crate::common::workload_namespace;

/// Name of netd's bridge.
pub const BRIDGE: &str = "bridge";

/// The kernel of a namespace, by a connection of netd's.
pub struct Room {
    pub connection: Connection,
    pub scope: Scope,
}

impl Room {
    /// Opens a connection.
    pub fn new() -> Room {
        Room { connection: Connection::open().expect("netlink"), scope: Scope::default() }
    }

    /// Carries out actions, all of which must succeed.
    pub fn carry_out(&mut self, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            let outcome = batch::execute(&mut self.connection, &[&action]).remove(0);
            assert_eq!(outcome, Ok(()), "{action}: {}", outcome.as_ref().unwrap_err());
        }
    }

    /// Makes a link of a kind that kernels of hosts may not know; answers whether this one does. The switch's own must.
    pub fn can_make(&mut self, action: &Action) -> bool {
        let outcome = batch::execute(&mut self.connection, &[action]).remove(0);
        match outcome {
            Err(error) if error.is_unsupported() => {
                assert!(std::env::var_os("NETD_TEST_VLANS").is_none(), "the switch's own kernel: {action}");
                false
            }
            outcome => {
                outcome.unwrap_or_else(|error| panic!("{action}: {error}"));
                true
            }
        }
    }

    /// The error of an action that must be refused.
    pub fn refusal(&mut self, action: &Action) -> KernelError {
        let outcome = batch::execute(&mut self.connection, &[action]).remove(0);
        outcome.expect_err(&format!("{action} should be refused"))
    }

    /// netd's objects as the kernel holds them.
    pub fn snapshot(&mut self) -> Network {
        snapshot::network(&mut self.connection, &self.scope, BRIDGE, true).expect("a snapshot")
    }

    /// Index of a link, where there is one.
    pub fn find(&mut self, name: &str) -> Option<u32> {
        link::find_by_name(&mut self.connection, name).expect("a query").map(|link| link.index)
    }

    /// Index of a link.
    pub fn index(&mut self, name: &str) -> u32 {
        self.find(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// Makes a tap, whose driver keeps what it is told of speeds. It is a port.
    pub fn add_tap(&mut self, name: &str) {
        let made = Command::new("ip").args(["tuntap", "add", name, "mode", "tap"]).status();
        assert!(made.expect("ip(8) of iproute2").success());
        self.scope.ports.insert(name.to_owned());
        self.scope.ethtool.insert(name.to_owned());
    }

    /// Makes a veth pair, both sides up: a link with a carrier. The first is netd's, and a port.
    pub fn add_pair(&mut self, name: &str, peer: &str) {
        let here = File::open("/proc/thread-self/ns/net").expect("this namespace");
        let mac = |last| [2, 0, 0, 0, 1, last];
        let request = VethRequest {
            name,
            mac: mac(name.bytes().last().unwrap_or(0)),
            peer_name: peer,
            peer_mac: mac(peer.bytes().last().unwrap_or(0) ^ 0x80),
            peer_namespace: here.as_fd(),
            mtu_bytes: 1500,
        };
        self.connection.request(veth::create(&request)).expect("a veth pair");
        for name in [name, peer] {
            self.connection.request(link::set_admin(name, true)).expect("up");
        }
        self.scope.ports.insert(name.to_owned());
    }

    /// Makes a port with a host behind it, in a namespace of its own. The port is netd's.
    pub fn add_host(&mut self, name: &str) -> Host {
        let (namespace, netlink) = workload_namespace();
        let request = VethRequest {
            name,
            mac: [2, 0, 0, 0, 1, name.bytes().last().unwrap_or(0)],
            peer_name: "eth0",
            peer_mac: Host::MAC,
            peer_namespace: namespace.as_fd(),
            mtu_bytes: 1500,
        };
        self.connection.request(veth::create(&request)).expect("a veth pair");
        self.connection.request(link::set_admin(name, true)).expect("up");
        self.scope.ports.insert(name.to_owned());
        let mut host = Host { namespace, connection: Connection::adopt(netlink).expect("its netlink") };
        host.set_up(true);
        wait_until_up(&mut self.connection, name);
        wait_until_up(&mut host.connection, "eth0");
        host
    }

    /// Makes a bridge that is up.
    pub fn add_bridge(&mut self) {
        self.carry_out([create(BRIDGE, LinkKind::Bridge, &[]), up(BRIDGE, LinkKind::Bridge)]);
    }
}

/// Waits until a link sends frames: for a moment after its carrier has come, the kernel drops them (`dev_activate`).
fn wait_until_up(connection: &mut Connection, name: &str) {
    let began = Instant::now();
    let mut is_up = || {
        let link = link::find_by_name(connection, name).expect("a query").expect("the link");
        // IF_OPER_UP of linux/if.h.
        link.oper_state == 6
    };
    while !is_up() {
        assert!(began.elapsed() < Duration::from_secs(10), "{name} does not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A host behind a port: its interface is `eth0`.
pub struct Host {
    namespace: OwnedFd,
    pub connection: Connection,
}

impl Host {
    /// Its hardware address.
    pub const MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];

    /// Index of its interface.
    pub fn index(&mut self) -> u32 {
        link::find_by_name(&mut self.connection, "eth0").expect("a query").expect("its interface").index
    }

    /// Plugs its cable in, or pulls it.
    pub fn set_up(&mut self, up: bool) {
        self.connection.request(link::set_admin("eth0", up)).expect("up or down");
    }

    /// Gives it an address.
    pub fn add_address(&mut self, address: &str) {
        let message = netd::kernel::address::add(self.index(), &address.parse().expect("a prefix"), false);
        self.connection.request(message).expect("its address");
    }

    /// Does something inside its namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                nix::sched::setns(&self.namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("inside");
                work()
            });
            inside.join().expect("the thread")
        })
    }
}

/// An action that makes a link.
pub fn create(name: &str, kind: LinkKind, settings: &[(Setting, Value)]) -> Action {
    Action::CreateLink { name: name.to_owned(), kind, settings: settings.iter().cloned().collect() }
}

/// An action that sets a setting.
pub fn set(link: &str, setting: Setting, value: impl Into<Value>) -> Action {
    let (link, value) = (link.to_owned(), value.into());
    Action::Set { link, kind: LinkKind::Bridge, setting, value, raise: false }
}

/// An action that brings a link up.
pub fn up(name: &str, kind: LinkKind) -> Action {
    Action::SetUp { name: name.to_owned(), kind }
}

/// An action that puts a link under another.
pub fn master(name: &str, master: &str) -> Action {
    Action::SetMaster { name: name.to_owned(), master: master.to_owned() }
}

/// An action that sets an address.
pub fn address(link: &str, address: &str) -> Action {
    let address = address.parse().expect("a prefix");
    Action::AddAddress { link: link.to_owned(), address, detect_duplicates: false }
}
