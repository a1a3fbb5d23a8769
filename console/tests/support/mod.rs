//! A private bus with a stand-in for netd on it, so that the console's own tests need no switch.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use netd_api::alarm::{Alarm, AlarmKind, Severity};
use netd_api::bus::{NAME, PATH};
use netd_api::comparison::{Comparison, Progress};
use netd_api::descriptor;
use netd_api::diagnostic::Diagnostic;
use netd_api::events::{Event, EventKind, EventSource};
use netd_api::generation::{ChangeOptions, Generation, Health, State as GenerationState, Status};
use netd_api::state::{
    Counters, Discard, FdbEntry, Interface, Lag, LagMember, Neighbour, NextHop, Pending, Port, Route, Vlan,
    VlanRange,
};
use netd_api::table::{End, Filter};
use serde::Serialize;
use tempfile::TempDir;

/// The program under test.
pub const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// A private bus, gone when dropped.
pub struct Bus {
    daemon: Child,
    folder: TempDir,
    /// Its address.
    pub address: String,
}

impl Bus {
    /// Starts a bus that allows everything but `refused`, rules of the policy in its configuration.
    pub fn start(refused: &str) -> Bus {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("bus.conf");
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow receive_type="method_call"/>
            <allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
            {refused}</policy></busconfig>"#,
            folder.path().join("socket").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"])
            .arg(format!("--config-file={}", config.display()))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("bus.log")).unwrap())
            .spawn()
            .expect("dbus-daemon (package dbus-daemon) starts");
        // It prints its address once it listens.
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let log = std::fs::read_to_string(folder.path().join("bus.log")).unwrap();
        assert!(address.starts_with("unix:"), "dbus-daemon printed {address:?} and said: {log}");
        Bus { daemon, folder, address: address.trim().to_owned() }
    }

    /// A folder that lives as long as the bus.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// What the stand-in shows.
#[derive(Default)]
pub struct Switch {
    pub ports: Vec<Port>,
    pub vlans: Vec<Vlan>,
    pub lags: Vec<Lag>,
    pub interfaces: Vec<Interface>,
    pub routes: Vec<Route>,
    pub neighbours: Vec<Neighbour>,
    pub fdb: Vec<FdbEntry>,
    /// What ports discarded; empty of a netd that tells of none.
    pub discards: Vec<Discard>,
    pub alarms: Vec<Alarm>,
    pub document: String,
    pub generation: u64,
    /// Documents that contain this text are refused with a diagnostic at 1:1.
    pub refuses: Option<String>,
    /// What `Apply` answers instead of applying: the error's name and text.
    pub apply_fails: Option<Failure>,
    /// When netd goes away at the next change.
    pub vanishes: Option<Vanishes>,
    /// Until when the running generation must be confirmed; 0 for not at all.
    pub confirm_by_s: u64,
    /// The generation that was taken back last; 0 for none.
    pub taken_back: u64,
    /// How long `Apply` takes. Whoever asks for a document meanwhile waits, as with netd.
    pub apply_takes: std::time::Duration,
    /// Whether the caller is no user of the switch any more.
    pub denies: bool,
    /// What the caller may do; empty for an administrator.
    pub role: String,
    /// What came with the last change.
    pub options: ChangeOptions,
    /// What a change did to the network; generation and option are filled in.
    pub comparison: Comparison,
    /// What is not in operation yet.
    pub pending: Vec<Pending>,
    /// Documents that ran confirmed before, by generation.
    pub past: std::collections::BTreeMap<u64, String>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What changed, the oldest first.
    pub changes: Vec<Event>,
    /// Streams of events that stay open.
    streams: Vec<std::os::unix::net::UnixStream>,
    /// Tables that were asked for.
    pub queries: Vec<(String, Filter)>,
}

impl Switch {
    /// Makes a document the running one.
    fn run(&mut self, document: &str, confirm_timeout_s: u32, options: ChangeOptions) -> u64 {
        let before = std::mem::replace(&mut self.document, document.to_owned());
        if self.confirm_by_s == 0 {
            self.past.insert(self.generation, before);
        }
        self.generation = self.generation.max(self.taken_back) + 1;
        self.confirm_by_s = match confirm_timeout_s {
            0 => 0,
            seconds => now_s() + u64::from(seconds),
        };
        self.options = options;
        self.generation
    }

    /// The same, unless netd goes away before it is done.
    fn make(&mut self, document: &str, confirm_timeout_s: u32, options: ChangeOptions) -> Result<u64, Reply> {
        let vanishes = self.vanishes.take();
        if vanishes == Some(Vanishes::Before) {
            return Err(Reply::NoReply);
        }
        let generation = self.run(document, confirm_timeout_s, options);
        if vanishes.is_some() { Err(Reply::NoReply) } else { Ok(generation) }
    }

    /// Takes back what waits, as when its time is up.
    pub fn take_back(&mut self) -> u64 {
        self.confirm_by_s = 0;
        self.taken_back = self.generation;
        if let Some((generation, document)) = self.past.pop_last() {
            (self.generation, self.document) = (generation, document);
        }
        self.generation
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The stand-in's side of the connection; netd is away once it is dropped.
pub struct Netd {
    pub switch: Shared,
    _connection: zbus::Connection,
}

/// What the stand-in shows, to be changed under a running console.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Switch>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Switch> {
        self.0.lock().unwrap()
    }
}

impl Netd {
    /// Puts a stand-in on the bus.
    pub async fn start(bus: &Bus, switch: Switch) -> Netd {
        Netd::serve(bus, Shared(Arc::new(Mutex::new(switch)))).await
    }

    /// Puts a stand-in on the bus that shows what another one showed.
    pub async fn serve(bus: &Bus, switch: Shared) -> Netd {
        let connecting = zbus::connection::Builder::address(bus.address.as_str())
            .serve_at(PATH, Config(switch.clone(), Arc::default()))
            .serve_at(PATH, State(switch.clone()))
            .serve_at(PATH, Events(switch.clone()))
            .name(NAME)
            .build();
        let connection = tokio::time::timeout(std::time::Duration::from_secs(30), connecting).await;
        let connection = connection.expect("the bus lets the stand-in in within 30 s").unwrap();
        Netd { switch, _connection: connection }
    }
}

/// The document of generation 3.
pub const OLD: &str = "version = 1 # of old\n";

/// Errors by netd's names.
#[derive(Clone, Debug, zbus::DBusError)]
#[zbus(prefix = "org.corten.Netd1.Error")]
pub enum Failure {
    #[zbus(error)]
    ZBus(zbus::Error),
    Invalid(String),
    Conflict(String),
    Refused(String),
    Denied(String),
    NotFound(String),
    Locked(String),
    Lockout(String),
}

/// When netd goes away while it makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanishes {
    /// Before the change is made.
    Before,
    /// Before it answers.
    After,
}

/// What a change is answered with.
#[derive(Debug)]
enum Reply {
    Failure(Failure),
    /// The bus's own answer for a service that is gone.
    NoReply,
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Reply {
        Reply::Failure(failure)
    }
}

impl zbus::DBusError for Reply {
    fn create_reply(&self, call: &zbus::message::Header<'_>) -> zbus::Result<zbus::Message> {
        match self {
            Reply::Failure(failure) => failure.create_reply(call),
            Reply::NoReply => zbus::fdo::Error::NoReply("it is gone".to_owned()).create_reply(call),
        }
    }

    fn name(&self) -> zbus::names::ErrorName<'_> {
        match self {
            Reply::Failure(failure) => failure.name(),
            Reply::NoReply => "org.freedesktop.DBus.Error.NoReply".try_into().unwrap(),
        }
    }

    fn description(&self) -> Option<&str> {
        match self {
            Reply::Failure(failure) => failure.description(),
            Reply::NoReply => None,
        }
    }
}

/// The second is held while a change is made.
struct Config(Shared, Arc<tokio::sync::Mutex<()>>);

/// The document behind a descriptor.
fn received(document: zbus::OwnedFd) -> String {
    descriptor::read_text(document.into(), descriptor::ADMIN_DOCUMENT_BYTES).unwrap()
}

#[zbus::interface(name = "org.corten.Netd1.Config1")]
impl Config {
    fn validate(&self, document: zbus::OwnedFd) -> Vec<Diagnostic> {
        let document = received(document);
        let switch = self.0.lock();
        let refused = switch.refuses.as_ref().is_some_and(|text| document.contains(text.as_str()));
        let mistake = Diagnostic {
            line: 1,
            column: 1,
            path: "ports.swp99".into(),
            message: "no such port on this switch".into(),
        };
        if refused { vec![mistake] } else { vec![] }
    }

    fn diff(&self, document: zbus::OwnedFd) -> Vec<String> {
        let document = received(document);
        let switch = self.0.lock();
        if switch.document == document { vec![] } else { vec!["swp1: set mtu 9216".to_owned()] }
    }

    async fn apply(
        &self,
        document: zbus::OwnedFd,
        base_generation: u64,
        confirm_timeout_s: u32,
        options: ChangeOptions,
    ) -> Result<u64, Reply> {
        let document = received(document);
        let _busy = self.1.lock().await;
        let takes = self.0.lock().apply_takes;
        tokio::time::sleep(takes).await;
        let mut switch = self.0.lock();
        if let Some(failure) = &switch.apply_fails {
            return Err(failure.clone().into());
        }
        if base_generation != 0 && base_generation != switch.generation {
            return Err(Failure::Conflict(format!("generation {} is running", switch.generation)).into());
        }
        switch.make(&document, confirm_timeout_s, options)
    }

    fn confirm(&self, options: ChangeOptions) -> Result<u64, Failure> {
        let mut switch = self.0.lock();
        if switch.confirm_by_s == 0 {
            return Err(Failure::NotFound("nothing waits for a confirmation".to_owned()));
        }
        switch.confirm_by_s = 0;
        switch.options = options;
        Ok(switch.generation)
    }

    fn roll_back(&self, generation: u64, options: ChangeOptions) -> Result<u64, Reply> {
        let mut switch = self.0.lock();
        if let Some(failure) = &switch.apply_fails {
            return Err(failure.clone().into());
        }
        let document = switch.past.get(&generation).cloned().unwrap_or_else(|| OLD.to_owned());
        switch.make(&document, options.confirm_timeout_s.unwrap_or(0), options)
    }

    fn take_back(&self, options: ChangeOptions) -> Result<u64, Failure> {
        let mut switch = self.0.lock();
        if switch.confirm_by_s == 0 {
            return Err(Failure::NotFound("nothing waits for a confirmation".to_owned()));
        }
        switch.options = options;
        Ok(switch.take_back())
    }

    async fn get(&self, generation: u64) -> Result<(zbus::OwnedFd, u64), Failure> {
        let sent = |text: &str| zbus::OwnedFd::from(descriptor::of_text(text).unwrap());
        let _busy = self.1.lock().await;
        let switch = self.0.lock();
        if generation == 0 || generation == switch.generation {
            return Ok((sent(&switch.document), switch.generation));
        }
        match (switch.past.get(&generation), generation) {
            (Some(document), _) => Ok((sent(document), generation)),
            (None, 3) => Ok((sent(OLD), 3)),
            (None, number) => Err(Failure::NotFound(format!("there is no generation {number}"))),
        }
    }

    fn history(&self) -> Vec<Generation> {
        let switch = self.0.lock();
        let state =
            if switch.confirm_by_s == 0 { GenerationState::Running } else { GenerationState::Unconfirmed };
        let row = Generation {
            generation: switch.generation,
            time_s: 1_700_000_000,
            user: "ana".to_owned(),
            comment: switch.options.comment.clone().unwrap_or_default(),
            key_fingerprint: switch.options.key_fingerprint.clone().unwrap_or_default(),
            state,
            confirm_by_s: switch.confirm_by_s,
            ..Generation::default()
        };
        let past = Generation {
            generation: 3,
            state: GenerationState::RolledBack,
            reason: "not confirmed in time".to_owned(),
            ..row.clone()
        };
        let taken_back = Generation { generation: switch.taken_back, time_s: now_s(), ..past.clone() };
        let newest = Some(taken_back).filter(|row| row.generation > switch.generation);
        let kept = switch.past.keys().rev().enumerate().map(|(index, generation)| {
            let state = match (index, switch.confirm_by_s) {
                (0, 1..) => GenerationState::Startup,
                _ => GenerationState::Confirmed,
            };
            Generation { generation: *generation, state, confirm_by_s: 0, ..row.clone() }
        });
        let kept: Vec<Generation> = kept.collect();
        newest.into_iter().chain([row]).chain(kept).chain([past]).collect()
    }

    fn status(&self) -> Result<Status, Failure> {
        let switch = self.0.lock();
        if switch.denies {
            return Err(Failure::Denied("only users of the switch may look".to_owned()));
        }
        let problems = switch.problems.clone();
        let state = match (problems.is_empty(), switch.confirm_by_s) {
            (false, _) => Health::Degraded,
            (true, 0) => Health::Ok,
            (true, _) => Health::Unconfirmed,
        };
        let user = if switch.confirm_by_s == 0 { "" } else { "ana" };
        Ok(Status {
            state,
            problems,
            generation: switch.generation,
            confirm_by_s: switch.confirm_by_s,
            user: user.to_owned(),
            role: if switch.role.is_empty() { "admin".to_owned() } else { switch.role.clone() },
        })
    }
}

struct Events(Shared);

#[zbus::interface(name = "org.corten.Netd1.Events1")]
impl Events {
    /// One event for each port that is watched, then the end. Without ports, how things stand or what changed after a
    /// number, and no end.
    fn watch(&self, boot_id: &str, after_seq: u64, ports: Vec<String>) -> zbus::OwnedFd {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        if ports.is_empty() {
            let mut switch = self.0.lock();
            let stands = switch.changes.last().map(|event| Event { snapshot: true, ..event.clone() });
            let after = switch.changes.iter().filter(|event| event.seq > after_seq).cloned();
            let events: Vec<Event> =
                if boot_id.is_empty() { stands.into_iter().collect() } else { after.collect() };
            // In one go: a socket holds few small messages, and nobody reads yet.
            let lines = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n");
            ours.write_all(lines.collect::<String>().as_bytes()).unwrap();
            switch.streams.push(ours);
            return zbus::OwnedFd::from(std::os::fd::OwnedFd::from(theirs));
        }
        for (seq, object) in (1..).zip(ports) {
            let event = Event {
                boot_id: "boot".into(),
                seq,
                monotonic_ns: 1,
                kind: EventKind::LinkDown,
                object,
                alarm: None,
                source: EventSource::Poll,
                detail: String::new(),
                snapshot: false,
            };
            writeln!(ours, "{}", serde_json::to_string(&event).unwrap()).unwrap();
        }
        zbus::OwnedFd::from(std::os::fd::OwnedFd::from(theirs))
    }
}

struct State(Shared);

/// A stream of the rows that a filter takes.
fn stream<T: Serialize + Clone + Send + 'static>(
    rows: &[T],
    local: u64,
    takes: impl Fn(&T) -> bool,
) -> zbus::OwnedFd {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let rows: Vec<T> = rows.iter().filter(|row| takes(row)).cloned().collect();
    std::thread::spawn(move || {
        let mut out = std::io::BufWriter::new(ours);
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        let end = End::Complete { rows: rows.len() as u64, local };
        writeln!(out, "{}", serde_json::to_string(&end)?)?;
        out.flush()
    });
    zbus::OwnedFd::from(std::os::fd::OwnedFd::from(theirs))
}

/// Whether a filter takes a value of a key.
fn takes(wanted: &Option<Vec<String>>, value: &str) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == value))
}

#[zbus::interface(name = "org.corten.Netd1.State1")]
impl State {
    fn ports(&self) -> Vec<Port> {
        self.0.lock().ports.clone()
    }

    fn lags(&self) -> Vec<Lag> {
        self.0.lock().lags.clone()
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.0.lock().interfaces.clone()
    }

    fn vlans(&self) -> Vec<Vlan> {
        self.0.lock().vlans.clone()
    }

    fn pending(&self) -> Vec<Pending> {
        self.0.lock().pending.clone()
    }

    fn comparison(&self) -> Comparison {
        let switch = self.0.lock();
        if switch.confirm_by_s == 0 {
            return Comparison::default();
        }
        let if_same = switch.options.if_same == Some(true);
        Comparison { generation: switch.generation, if_same, ..switch.comparison.clone() }
    }

    /// As netd does it, but for the lookup of addresses, which finds every route.
    fn table(&self, table: &str, filter: Filter) -> zbus::fdo::Result<zbus::OwnedFd> {
        let mut switch = self.0.lock();
        switch.queries.push((table.to_owned(), filter.clone()));
        Ok(match table {
            "routes" => stream(&switch.routes, 0, |row| {
                takes(&filter.prefixes, &row.prefix)
                    && filter.vrf.as_ref().is_none_or(|vrf| *vrf == row.vrf)
                    && filter.protocol.as_ref().is_none_or(|protocol| *protocol == row.protocol)
            }),
            "neighbours" => stream(&switch.neighbours, 0, |row| {
                takes(&filter.addresses, &row.address)
                    && takes(&filter.interfaces, &row.device)
                    && filter.vrf.as_ref().is_none_or(|vrf| *vrf == row.vrf)
            }),
            "fdb" => {
                let fits = |row: &FdbEntry| {
                    takes(&filter.macs, &row.mac)
                        && takes(&filter.interfaces, &row.port)
                        && filter.vlan_id.is_none_or(|id| id == row.vlan_id)
                };
                let is_hidden = |row: &FdbEntry| filter.without_local == Some(true) && row.kind == "local";
                let local = switch.fdb.iter().filter(|row| fits(row) && is_hidden(row)).count() as u64;
                stream(&switch.fdb, local, |row| fits(row) && !is_hidden(row))
            }
            "alarms" => stream(&switch.alarms, 0, |_| true),
            "mdb" => stream::<FdbEntry>(&[], 0, |_| false),
            "discards" if !switch.discards.is_empty() => {
                stream(&switch.discards, 0, |row| takes(&filter.interfaces, &row.port))
            }
            other => return Err(zbus::fdo::Error::Failed(format!("no table {other}"))),
        })
    }
}

/// A link that goes down now.
pub fn link_down(seq: u64, object: &str) -> Event {
    Event {
        boot_id: "boot".into(),
        seq,
        monotonic_ns: u64::MAX,
        kind: EventKind::LinkDown,
        object: object.into(),
        alarm: None,
        source: EventSource::Netlink,
        detail: String::new(),
        snapshot: false,
    }
}

/// An alarm of an object that began so long ago.
pub fn alarm(object: &str, age_s: u64) -> Alarm {
    Alarm {
        kind: AlarmKind::GroupsFull,
        object: object.into(),
        severity: Severity::Warning,
        since_s: now_s() - age_s,
        text: "1024 groups joined of 1024: hosts get no further ones".into(),
        remedy: format!("show mdb {object}"),
    }
}

/// A switch with two ports, a VLAN, a route and ten learned addresses.
pub fn switch() -> Switch {
    let port = |index: u32| Port {
        name: format!("swp{index}"),
        kind: "front-panel".into(),
        description: format!("server {index}"),
        ifindex: index + 2,
        wanted_up: true,
        admin_up: true,
        oper_state: "up".into(),
        speed_mbps: 10_000,
        mtu_bytes: 1500,
        untagged_vlan: 10,
        tagged_vlans: vec![VlanRange { first: 20, last: 30 }],
        hardware: "software".into(),
        counters: Counters { rx_bytes: 1_000_000, tx_bytes: 2000, ..Counters::default() },
        ..Port::default()
    };
    let hop = NextHop { via: "10.0.10.254".into(), device: "vlan10".into(), weight: 1, dead: false };
    Switch {
        ports: vec![port(1), port(2)],
        vlans: vec![Vlan {
            id: 10,
            name: "servers".into(),
            untagged_ports: vec!["swp1".into(), "swp2".into()],
            ..Vlan::default()
        }],
        lags: vec![Lag {
            name: "uplink".into(),
            mode: "lacp".into(),
            lacp_rate: "slow".into(),
            hash: "layer3+4".into(),
            admin_up: true,
            oper_state: "up".into(),
            members: vec![LagMember {
                port: "swp2".into(),
                link_up: true,
                reason: "hears no LACP partner".into(),
                ..LagMember::default()
            }],
            wanted: true,
            ..Lag::default()
        }],
        interfaces: vec![
            interface("lo0", "loopback"),
            Interface { vlan_id: 10, vrf: "blue".into(), ..interface("vlan10", "vlan") },
            Interface {
                vni: 10_010,
                vlan_id: 10,
                local: "192.0.2.1".into(),
                remotes: vec!["192.0.2.2".into()],
                ..interface("vx10", "vxlan")
            },
            Interface { table: 1001, members: vec!["vlan10".into()], ..interface("blue", "vrf") },
        ],
        routes: vec![Route {
            prefix: "0.0.0.0/0".into(),
            protocol: "corten".into(),
            kind: "unicast".into(),
            next_hops: vec![hop],
            wanted: true,
            kernel: true,
            hardware: "offloaded".into(),
            ..Route::default()
        }],
        neighbours: vec![Neighbour {
            address: "10.0.10.254".into(),
            device: "vlan10".into(),
            state: "stale".into(),
            kernel: true,
            ..Neighbour::default()
        }],
        fdb: (1..=10)
            .map(|index| FdbEntry {
                mac: format!("02:00:5e:00:53:{index:02x}"),
                vlan_id: 10,
                port: "swp1".into(),
                kind: "learned".into(),
                kernel: true,
                hardware: "software".into(),
                ..FdbEntry::default()
            })
            .collect(),
        document: "version = 1\n".into(),
        generation: 7,
        comparison: Comparison { progress: Progress::NotRecorded, ..Comparison::default() },
        ..Switch::default()
    }
}

fn interface(name: &str, kind: &str) -> Interface {
    Interface {
        name: name.into(),
        kind: kind.into(),
        admin_up: true,
        oper_state: "unknown".into(),
        mtu_bytes: 1500,
        wanted: true,
        ..Interface::default()
    }
}
