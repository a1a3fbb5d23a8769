//! What netd makes of the files it finds at start, and of rules that nft refuses.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use common::{Folder, isolated, workload_namespace};
use model::Model;
use netd::daemon;
use netd::engine::Engine;
use netd::engine::changes::Request;
use netd::events::{self, Hub};
use netd::failure::Failure;
use netd::kernel::{Connection, KernelError, link};
use netd::plan::{Action, Link, LinkKind, Network, VlanMembership};
use netd::transaction::Backend;
use netd_api::alarm::AlarmKind;
use netd_api::attach::AttachRequest;
use netd_api::events::{Event, EventKind};

/// Two mistakes, the first in line 2.
const BROKEN: &str = "version = 1\n[ports.swp1]\nmtu = 3\nsped = 1\n";

impl Folder {
    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }
}

#[test]
fn a_refused_startup_document_gives_way_to_the_newest_generation_that_fits() {
    isolated("a_refused_startup_document_gives_way_to_the_newest_generation_that_fits", || {
        for broken in [BROKEN.as_bytes(), b"version = 1\n# \xff\n".as_slice()] {
            let folder = Folder::new("fallback");
            folder.write("startup.toml", broken);
            let generation = |number| format!("version = 1\n[system]\nhostname = \"leaf{number}\"\n");
            folder.write("generations/2.toml", generation(2));
            folder.write("generations/10.toml", generation(10));
            folder.write("generations/11.toml", "version = 2\n");
            let mut engine =
                Engine::start(folder.paths(), Hub::open().expect("a thread")).expect("the engine");
            assert_eq!(engine.get(0, true).unwrap(), (generation(10), 10));
            assert_eq!(folder.read("run/running.toml"), generation(10));
            let status = engine.status();
            assert!(status.contains("startup.toml is refused"), "{status}");
            assert!(status.contains("generation 10 runs instead"), "{status}");
            if broken == BROKEN.as_bytes() {
                assert!(status.contains("2 mistakes, first 3:7: ports.swp1.mtu"), "{status}");
            } else {
                assert!(status.contains("UTF-8"), "{status}");
            }
            // The document stays, also when a look follows and when an operator's change is refused.
            engine.look();
            assert!(engine.apply(BROKEN.to_owned(), 0, 0, &Request::default()).is_err());
            assert_eq!(engine.status(), status);
            assert_eq!(fs::read(folder.0.join("startup.toml")).unwrap(), broken);
            assert!(!folder.has("startup.refused.toml") && !folder.has("generations/12.toml"));
        }
    });
}

#[test]
fn with_no_generation_that_fits_ports_are_left_as_they_are() {
    isolated("with_no_generation_that_fits_ports_are_left_as_they_are", || {
        let folder = Folder::new("no-fallback");
        folder.write("startup.toml", BROKEN);
        folder.write("generations/1.toml", "version = 2\n");
        let mut engine = Engine::start(folder.paths(), Hub::open().expect("a thread")).expect("the engine");
        assert_eq!(engine.get(0, true).unwrap().1, 0);
        engine.look();
        assert!(engine.status().starts_with("degraded: "), "{}", engine.status());
        assert!(engine.status().contains("no generation fits: ports are left"), "{}", engine.status());
        assert_eq!(folder.read("startup.toml"), BROKEN);
        let links = link::dump(&mut Connection::open().unwrap(), false).unwrap();
        assert!(links.iter().all(|link| link.name != "bridge"), "{links:?}");
        let (loaded, rules) = (loaded_rules(), folder.read("control-plane.nft"));
        assert!(loaded.contains("chain input"), "the switch itself is not guarded: {loaded:?}");
        assert!(rules.contains("table inet corten"), "what is loaded is not noted: {rules:?}");
    });
}

#[test]
fn ports_that_are_missing_are_told_and_the_rest_of_the_document_runs() {
    isolated("ports_that_are_missing_are_told_and_the_rest_of_the_document_runs", || {
        let folder = Folder::new("missing-ports");
        let document = "version = 1\n[ports.swp7]\nvlan.access = 10\n";
        folder.write("startup.toml", document);
        folder.write("generations/1.toml", "version = 1\n");
        let engine = Engine::start(folder.paths(), Hub::open().expect("a thread")).expect("the engine");
        assert_eq!(engine.get(0, true).unwrap(), (document.to_owned(), 2));
        assert!(engine.status().contains("no port swp7 on this switch"), "{}", engine.status());
    });
}

/// The rules of this namespace, as the kernel has them.
fn loaded_rules() -> String {
    let output = Command::new(netd::policy::NFT).args(["list", "ruleset"]).output().expect("nft");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An nft that refuses its first `refusals` calls, a line each in `calls`, and puts what it takes into `loaded`.
fn stubborn_nft(folder: &Folder, refusals: usize) {
    let script = format!(
        "#!/bin/sh\ncd {}\necho x >>calls\n\
         [ $(wc -l <calls) -gt {refusals} ] && exec cat >>loaded\n\
         cat >/dev/null\necho 'Error: not today' >&2\nexit 1\n",
        folder.0.display()
    );
    folder.write("nft", script);
    fs::set_permissions(folder.0.join("nft"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_remembered_port_that_is_missing_is_reported_and_the_rest_is_carried_out() {
    isolated("a_remembered_port_that_is_missing_is_reported_and_the_rest_is_carried_out", || {
        let folder = Folder::new("missing-port");
        stubborn_nft(&folder, 0);
        folder.write("ports.json", r#"{"ports": {"swp1": {"path": "pci0000:00/08.0", "port": "0"}}}"#);
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let stand_in = Box::new(Model::new(Network::default()));
        let hub = Hub::open().expect("a thread");
        let mut engine = Engine::start_on(paths, hub, Some(stand_in)).expect("the engine");
        let document =
            "version = 1\n[ports.swp1]\nmtu = 9000\n[loopbacks.lo1]\naddresses = [\"192.0.2.1/32\"]\n";
        engine.apply(document.to_owned(), 0, 0, &Request::default()).expect("the rest can be carried out");
        let _ = engine.look();
        let problems = engine.problems().concat();
        let expected = "2:8: ports.swp1: the port is missing: no device at pci0000:00/08.0";
        assert!(problems.contains(expected), "{problems}");
        let unknown = document.replace("swp1", "swp2");
        let refused = engine.apply(unknown, 0, 0, &Request::default()).expect_err("it was never there");
        assert!(refused.words().contains("no port swp2 on this switch"), "{}", refused.words());
    });
}

#[test]
fn rules_that_are_refused_at_start_are_shown_and_no_port_is_touched() {
    isolated("rules_that_are_refused_at_start_are_shown_and_no_port_is_touched", || {
        for startup in ["version = 1\n", BROKEN] {
            let folder = Folder::new("refused-rules");
            stubborn_nft(&folder, 2);
            folder.write("startup.toml", startup);
            let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
            let mut engine = Engine::start(paths, Hub::open().expect("a thread")).expect("the engine");
            let refused =
                |engine: &Engine| engine.problems().concat().contains("refused the control-plane rules");
            assert!(refused(&engine), "{:?}", engine.problems());
            assert_eq!(engine.look(), netd::engine::upkeep::Look::Wrong);
            let links = link::dump(&mut Connection::open().unwrap(), false).unwrap();
            assert!(links.iter().all(|link| link.name != "bridge"), "{links:?}");
            engine.look();
            assert!(!refused(&engine), "{:?}", engine.problems());
        }
    });
}

#[test]
fn what_rules_may_leave_is_noted_before_they_are_loaded() {
    isolated("what_rules_may_leave_is_noted_before_they_are_loaded", || {
        let folder = Folder::new("noted-rules");
        let script =
            format!("#!/bin/sh\ncat >/dev/null\ncat {0}/control-plane.nft >>{0}/noted\n", folder.0.display());
        folder.write("nft", script);
        fs::set_permissions(folder.0.join("nft"), fs::Permissions::from_mode(0o755)).unwrap();
        // An earlier run had other rules.
        folder.write("control-plane.nft", "\tset asked4_1002 {\n");
        folder.write("startup.toml", "version = 1\n[vrfs.blue]\ntable = 1001\n[vlans.10]\nvrf = \"blue\"\n");
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        Engine::start(paths, Hub::open().expect("a thread")).expect("the engine");
        let noted = folder.read("noted");
        for set in ["asked4_main", "asked4_1001", "asked4_1002"] {
            assert!(noted.contains(set), "{set} is not in {noted:?}");
        }
        assert!(!folder.read("control-plane.nft").contains("asked4_1002"), "it is gone");
    });
}

#[test]
fn the_daemon_rolls_back_by_itself_when_the_time_is_up() {
    isolated("the_daemon_rolls_back_by_itself_when_the_time_is_up", || {
        let folder = Folder::new("expiry");
        stubborn_nft(&folder, 0);
        let document = |name: &str| format!("version = 1\n[system]\nhostname = \"{name}\"\n");
        folder.write("startup.toml", document("old"));
        folder.write("generations/1.toml", document("old"));
        folder.write("generations/2.toml", document("new"));
        let record = r#"{"time_s": 1, "user": "ana", "user_id": 2001, "outcome": "unconfirmed"}"#;
        folder.write("generations/2.json", record);
        let now = netd::clock::Moment::now();
        let pending = format!(
            r#"{{"generation": 2, "previous": 1, "user": "ana", "user_id": 2001, "since_s": 1,
                "boot_id": "{}", "deadline_ns": {}}}"#,
            now.boot_id,
            now.boottime_ns + 2_000_000_000
        );
        folder.write("pending.json", pending);
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runs = async |name: &str| {
            while fs::read_to_string(folder.0.join("run/running.toml")).ok() != Some(document(name)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let rolled_back = async {
            runs("new").await;
            runs("old").await;
        };
        runtime.block_on(async {
            tokio::select! {
                ended = daemon::run(paths) => panic!("the daemon ended: {ended:?}"),
                in_time = tokio::time::timeout(Duration::from_secs(30), rolled_back) => in_time.expect("rolled back"),
            }
        });
        assert!(!folder.has("pending.json"));
        assert!(folder.read("generations/2.json").contains("not confirmed in time"));
        assert_eq!(folder.read("startup.toml"), document("old"));
    });
}

#[test]
fn the_daemon_tries_refused_rules_again_though_nothing_happens() {
    isolated("the_daemon_tries_refused_rules_again_though_nothing_happens", || {
        for startup in ["version = 1\n", BROKEN] {
            let folder = Folder::new("retried-rules");
            stubborn_nft(&folder, 3);
            folder.write("startup.toml", startup);
            let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // What the daemon notes before nft has taken the rules does not count.
            let taken = || fs::read_to_string(folder.0.join("loaded")).unwrap_or_default();
            let loaded = async {
                while !taken().contains("chain input") {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    ended = daemon::run(paths) => panic!("the daemon ended: {ended:?}"),
                    outcome = tokio::time::timeout(Duration::from_secs(20), loaded) => {
                        outcome.expect("nft takes the rules within 20 s");
                    }
                }
            });
        }
    });
}

/// A workload of VLAN 10.
fn request(key: &str) -> AttachRequest {
    AttachRequest {
        key: key.to_owned(),
        interface: "eth0".to_owned(),
        untagged_vlan: 10,
        ..AttachRequest::default()
    }
}

#[test]
fn no_workload_is_attached_while_the_rules_are_refused() {
    isolated("no_workload_is_attached_while_the_rules_are_refused", || {
        let folder = Folder::new("attach-unguarded");
        stubborn_nft(&folder, usize::MAX / 2);
        folder.write("startup.toml", "version = 1\n[vlans.10]\nname = \"servers\"\n");
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let mut engine = Engine::start(paths, Hub::open().expect("a thread")).expect("the engine");
        let (namespace, socket) = workload_namespace();
        let attached = engine.attach(&request("default/web/eth0"), &namespace, socket);
        let Err(Failure::Refused(words)) = attached else { panic!("{attached:?}") };
        assert!(words.contains("control-plane rules"), "{words}");
    });
}

/// A kernel that can do everything a switch needs: a model, with the workloads' links of this namespace in it.
#[derive(Clone)]
struct Kernel(Rc<RefCell<Model>>);

impl Backend for Kernel {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        let mut links = link::dump(&mut Connection::open()?, false)?;
        links.retain(|link| link.kind == "veth");
        let mut model = self.0.borrow_mut();
        let is_gone = |link: &Link, name: &str| {
            link.kind == LinkKind::Veth && links.iter().all(|there| there.name != name)
        };
        model.network.links.retain(|name, link| !is_gone(link, name));
        for link in links {
            model.network.links.entry(link.name).or_insert_with(|| model::fresh(LinkKind::Veth));
        }
        model.snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        self.0.borrow_mut().execute(actions)
    }
}

#[test]
fn attach_is_judged_by_its_own_port_alone() {
    isolated("attach_is_judged_by_its_own_port_alone", || {
        let folder = Folder::new("attach");
        folder.write(
            "startup.toml",
            "version = 1\n[vlans.10]\nname = \"servers\"\n[loopbacks.lo0]\naddresses = [\"192.0.2.1/32\"]\n",
        );
        let kernel = Kernel(Rc::new(RefCell::new(Model::new(Network::default()))));
        let refuse = |what: &'static str| {
            kernel.0.borrow_mut().faults = Box::new(move |_, action| action.object().starts_with(what));
        };
        let there = || link::dump(&mut Connection::open().unwrap(), false).unwrap();
        refuse("lo0");
        let hub = Hub::open().expect("a thread");
        let mut engine =
            Engine::start_on(folder.paths(), hub, Some(Box::new(kernel.clone()))).expect("the engine");
        assert!(engine.problems().concat().contains("lo0: create"), "{:?}", engine.problems());

        let (namespace, socket) = workload_namespace();
        let attached = engine.attach(&request("default/web/eth0"), &namespace, socket);
        let port = attached.expect("its own port is not refused").port;
        let vlan_10 = VlanMembership { pvid: true, untagged: true };
        {
            let network = &kernel.0.borrow().network;
            let found = &network.links[&port];
            assert_eq!((found.master.as_deref(), found.up), (Some("bridge"), true));
            assert_eq!(found.vlans.get(10), Some(vlan_10));
            assert!(!network.links.contains_key("lo0"));
        }
        assert!(there().iter().any(|link| link.name == port));
        engine.detach("default/web/eth0").expect("detaching");
        assert!(there().iter().all(|link| link.name != port), "{:?}", there());

        refuse("db-");
        let (namespace, socket) = workload_namespace();
        let refused = engine.attach(&request("default/db/eth0"), &namespace, socket);
        let Err(Failure::Refused(words)) = refused else { panic!("{refused:?}") };
        assert!(words.starts_with("db-"), "{words}");
        assert!(there().iter().all(|link| link.kind != "veth"), "{:?}", there());
    });
}

/// Two keys whose ports have the same name.
fn keys_of_one_port() -> [String; 2] {
    let mut known = std::collections::HashMap::new();
    // A name has 24 bits of its key.
    for number in 0..1 << 20 {
        let key = format!("default/web/eth{number}");
        let port = netd::attach::check_request(&request(&key)).expect("a valid request").port;
        if let Some(first) = known.insert(port, key.clone()) {
            return [first, key];
        }
    }
    panic!("no two keys have a port of the same name");
}

#[test]
fn port_whose_name_is_taken_is_refused_and_nothing_else_goes() {
    isolated("port_whose_name_is_taken_is_refused_and_nothing_else_goes", || {
        let folder = Folder::new("attach-taken");
        stubborn_nft(&folder, 0);
        folder.write("startup.toml", "version = 1\n[vlans.10]\nname = \"servers\"\n");
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let kernel = Box::new(Model::new(Network::default()));
        let mut engine =
            Engine::start_on(paths, Hub::open().expect("a thread"), Some(kernel)).expect("the engine");
        let index = |port: &str| {
            let links = link::dump(&mut Connection::open().unwrap(), false).unwrap();
            links.into_iter().find(|link| link.name == port).map(|link| link.index)
        };
        let [first, second] = keys_of_one_port();
        let attach = |engine: &mut Engine, key: &str| {
            let (namespace, socket) = workload_namespace();
            // Its link is gone with the namespace.
            engine.attach(&request(key), &namespace, socket).map(|attached| (attached.port, namespace))
        };
        let (port, _namespace) = attach(&mut engine, &first).expect("the first");
        let old = index(&port).expect("its link");
        let refused = attach(&mut engine, &second);
        let Err(Failure::Refused(words)) = refused else { panic!("{refused:?}") };
        assert_eq!(words, format!("the port name {port} is taken by {first}"));
        // Nor does a request cost the port that cannot succeed.
        let file = || std::os::fd::OwnedFd::from(fs::File::open("/proc/self/status").unwrap());
        let refused = engine.attach(&request(&first), &file(), file());
        assert!(matches!(refused, Err(Failure::Invalid(_))), "{refused:?}");
        assert_eq!(index(&port), Some(old));

        engine.detach(&first).expect("detaching");
        common::batch("ip", std::iter::once(format!("link add name {port} type bridge")));
        let others = index(&port).expect("somebody else's link");
        let refused = attach(&mut engine, &second);
        let Err(Failure::Refused(words)) = refused else { panic!("{refused:?}") };
        assert_eq!(words, format!("there is a link named {port} already"));
        engine.detach(&second).expect("detaching what never was");
        assert_eq!(index(&port), Some(others));
    });
}

/// Events as a reader gets them.
struct Events {
    runtime: tokio::runtime::Runtime,
    stream: std::os::unix::net::UnixStream,
    unread: Vec<u8>,
}

impl Events {
    fn of(hub: &Hub) -> Events {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let open = async { events::watch::open(hub, events::watch::Request::default(), (), || true) };
        let stream = std::os::unix::net::UnixStream::from(runtime.block_on(open).expect("a stream"));
        stream.set_nonblocking(true).unwrap();
        Events { runtime, stream, unread: Vec::new() }
    }

    /// The next one of attachments: kind, key and more.
    fn next_of_attachments(&mut self) -> (EventKind, String, String) {
        let began = std::time::Instant::now();
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let event: Event = serde_json::from_slice(&line).expect("an event");
                if [EventKind::Attached, EventKind::Detached].contains(&event.kind) {
                    return (event.kind, event.object, event.detail);
                }
            }
            assert!(began.elapsed() < Duration::from_secs(10), "no event of an attachment");
            // What writes the stream runs meanwhile.
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(5)).await });
            let mut portion = [0; 4096];
            if let Ok(count) = std::io::Read::read(&mut self.stream, &mut portion) {
                self.unread.extend(&portion[..count]);
            }
        }
    }
}

#[test]
fn attachments_that_come_and_go_are_events() {
    isolated("attachments_that_come_and_go_are_events", || {
        let folder = Folder::new("attach-events");
        stubborn_nft(&folder, 0);
        folder.write("startup.toml", "version = 1\n[vlans.10]\nname = \"servers\"\n");
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let hub = Hub::open().expect("a thread");
        let kernel = Box::new(Model::new(Network::default()));
        let mut engine = Engine::start_on(paths, hub.clone(), Some(kernel)).expect("the engine");
        let mut events = Events::of(&hub);
        let key = "default/web/eth0".to_owned();
        let attach = |engine: &mut Engine| {
            let (namespace, socket) = workload_namespace();
            let attached = engine.attach(&request(&key), &namespace, socket).expect("attached");
            (attached.port, namespace)
        };
        let (port, namespace) = attach(&mut engine);
        let told = |kind| (kind, key.clone(), port.clone());
        assert_eq!(events.next_of_attachments(), told(EventKind::Attached));
        engine.detach(&key).expect("detached");
        assert_eq!(events.next_of_attachments(), told(EventKind::Detached));
        drop(namespace);
        // A workload whose namespace goes takes its port along, and nobody detaches it.
        attach(&mut engine);
        assert_eq!(events.next_of_attachments(), told(EventKind::Attached));
        common::batch("ip", std::iter::once(format!("link delete {port}")));
        engine.look();
        assert_eq!(events.next_of_attachments(), told(EventKind::Detached));
    });
}

/// A kernel that does not answer for a while.
struct Mute {
    model: Model,
    is_mute: Rc<std::cell::Cell<bool>>,
}

impl Backend for Mute {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        match self.is_mute.get() {
            true => Err(KernelError::from(nix::errno::Errno::ENODEV)),
            false => self.model.snapshot(),
        }
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        self.model.execute(actions)
    }
}

#[test]
fn kernel_that_does_not_answer_ends_nothing_and_counts_against_nobody() {
    isolated("kernel_that_does_not_answer_ends_nothing_and_counts_against_nobody", || {
        let folder = Folder::new("mute");
        folder.write("startup.toml", "version = 1\n[loopbacks.lo1]\naddresses = [\"192.0.2.1/32\"]\n");
        folder.write("nft", "#!/bin/sh\ncat >/dev/null\n");
        fs::set_permissions(folder.0.join("nft"), fs::Permissions::from_mode(0o755)).unwrap();
        let is_mute = Rc::new(std::cell::Cell::new(true));
        let start = || {
            let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
            let mute = Mute { model: Model::new(Network::default()), is_mute: is_mute.clone() };
            Engine::start_on(paths, Hub::open().expect("a thread"), Some(Box::new(mute)))
        };
        for _ in 0..5 {
            assert!(start().is_err());
            assert!(!folder.has("starts.json"), "a start that did not read the kernel counts");
        }
        is_mute.set(false);
        let mut engine = start().expect("the engine");
        assert!(folder.has("starts.json"));
        is_mute.set(true);
        for _ in 0..2 {
            assert_eq!(engine.look(), netd::engine::upkeep::Look::Wrong);
            let status = engine.status();
            assert!(status.starts_with("degraded: the kernel's state cannot be read: "), "{status}");
        }
        is_mute.set(false);
        assert_eq!(engine.look(), netd::engine::upkeep::Look::Same);
        assert!(engine.status().starts_with("generation 1, "), "{}", engine.status());
    });
}

#[test]
fn switch_without_a_confirmed_configuration_says_so_until_it_has_one() {
    isolated("switch_without_a_confirmed_configuration_says_so_until_it_has_one", || {
        let folder = Folder::new("no-startup");
        stubborn_nft(&folder, 0);
        let start = || {
            let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
            let stand_in = Box::new(Model::new(Network::default()));
            Engine::start_on(paths, Hub::open().expect("a thread"), Some(stand_in)).expect("the engine")
        };
        let told = |engine: &mut Engine| -> Vec<(AlarmKind, u64)> {
            engine.alarm_table().into_iter().map(|row| (row.kind, row.since_s)).collect()
        };
        let mut engine = start();
        let before = told(&mut engine);
        assert_eq!(before.iter().map(|row| row.0).collect::<Vec<_>>(), [AlarmKind::NoStartup]);
        assert!(engine.status().starts_with("generation 0, "), "it is as it should be: {}", engine.status());
        drop(engine);
        std::thread::sleep(Duration::from_millis(1100));
        // A restart of netd does not make it younger.
        let mut engine = start();
        let since = told(&mut engine);
        assert!(since.len() == 1 && since[0].1.abs_diff(before[0].1) <= 1, "{before:?}, then {since:?}");
        engine
            .apply("version = 1\n[system]\nhostname = \"a\"\n", 0, 600, &Request::default())
            .expect("applied");
        engine.look();
        assert_eq!(told(&mut engine).len(), 1, "it is not confirmed yet");
        engine.confirm(&Request::default()).expect("confirmed");
        engine.look();
        assert_eq!(told(&mut engine), []);
    });
}

#[test]
fn generation_whose_record_cannot_be_read_is_an_alarm() {
    isolated("generation_whose_record_cannot_be_read_is_an_alarm", || {
        let folder = Folder::new("broken-record");
        stubborn_nft(&folder, 0);
        let document = |name: &str| format!("version = 1\n[system]\nhostname = \"{name}\"\n");
        folder.write("startup.toml", document("b"));
        for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
            folder.write(&format!("generations/{number}.toml"), document(name));
        }
        folder.write("generations/3.json", "{");
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let stand_in = Box::new(Model::new(Network::default()));
        let mut engine = Engine::start_on(paths, Hub::open().expect("a thread"), Some(stand_in)).expect("it");
        let told = |engine: &mut Engine| -> Vec<String> {
            engine.alarm_table().into_iter().map(|row| format!("{}: {}", row.object, row.remedy)).collect()
        };
        assert_eq!(told(&mut engine), ["generation 3: config 3"]);
        fs::remove_file(folder.0.join("generations/3.toml")).unwrap();
        engine.apply(document("d"), 0, 0, &Request::default()).expect("applied");
        assert_eq!(told(&mut engine), [""; 0]);
    });
}

#[test]
fn drift_that_is_only_reported_is_an_alarm_that_an_apply_ends() {
    isolated("drift_that_is_only_reported_is_an_alarm_that_an_apply_ends", || {
        let folder = Folder::new("drift");
        stubborn_nft(&folder, 0);
        let document =
            "version = 1\n[drift]\nloopbacks = \"report\"\n[loopbacks.lo1]\naddresses = [\"192.0.2.1/32\"]\n";
        folder.write("startup.toml", document);
        let paths = netd::engine::Paths { nft: folder.0.join("nft"), ..folder.paths() };
        let kernel = model::Kernel::with(Network::default());
        let stand_in = Box::new(kernel.clone());
        let mut engine = Engine::start_on(paths, Hub::open().expect("a thread"), Some(stand_in)).expect("it");
        let told = |engine: &mut Engine| -> Vec<String> {
            let rows = engine.alarm_table();
            rows.into_iter()
                .map(|row| format!("{} {}: {}", row.kind.as_str(), row.object, row.text))
                .collect()
        };
        assert_eq!(told(&mut engine), [""; 0]);
        kernel.0.borrow_mut().network.links.get_mut("lo1").expect("the loopback").addresses.clear();
        engine.look();
        let words = "drift lo1: changed by others, only reported; right is: add address 192.0.2.1/32";
        assert_eq!(told(&mut engine), [words]);
        assert_eq!(engine.drift(), ["lo1: add address 192.0.2.1/32"]);
        engine.apply(document.to_owned(), 0, 0, &Request::default()).expect("made again");
        engine.look();
        assert_eq!(told(&mut engine), [""; 0]);
    });
}
