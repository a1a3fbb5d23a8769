//! Others change more at once than netd's event socket holds: events are lost, and netd ends with the truth all
//! the same.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use netd::daemon;
use netd::dbus;
use netd::events::Hub;
use netd::kernel::monitor::Monitor;
use netd::kernel::wire::Message;
use netd::kernel::{link, vlan};
use netd::plan::VlanMembership;
use netd_api::bus::{Config1Proxy, State1Proxy};
use netd_api::descriptor;
use netd_api::events::{Event, EventKind, Events1Proxy};
use netd_api::state::Route;
use netd_api::table::{Filter, Rows};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use tokio::sync::oneshot;
use zbus::Connection;

use crate::common::{Folder, isolated};
use crate::room::BRIDGE;
use crate::service;

/// Changes of a storm, unless `NETD_STORM_CHANGES` says otherwise: `cargo os soak netd-storm` makes more.
const CHANGES: u32 = 20_000;
/// Storms until one must have been too fast for netd.
const STORMS: u32 = 20;
/// Set where the kernel knows VLANs of bridges: the storm is about these, too.
const WITH_VLANS: &str = "NETD_TEST_VLANS";
/// VLANs of netd's bridge, the first of which the storm takes away again and again.
const OWN_VLANS: [u16; 2] = [10, 20];
/// A VLAN that others give it.
const FOREIGN_VLAN: u16 = 30;
/// Routes of netd's, some of which the storm takes away again and again.
const OWN_ROUTES: u32 = 120;
/// Room for events: about ten.
const EVENT_BUFFER_BYTES: usize = 4096;
/// A batch of the storm, as bulk programs send them.
const BATCH_BYTES: usize = 32 * 1024;
/// How soon netd has the truth again. While something cannot be put right it looks every 10 s.
const SOON: Duration = Duration::from_secs(60);

/// A document of blackhole routes, which need nothing else, and a LAG: a link of that name that is not netd's
/// stands for a port here, since this kernel may have none.
fn document(drift: &str) -> String {
    let mut document = format!(
        "version = 1\n[drift]\nroutes = \"{drift}\"\n[lags.uplink]\nmembers = [\"swp1\"]\nmode = \"static\"\n"
    );
    if has_vlans() {
        for id in OWN_VLANS {
            document.push_str(&format!("[vlans.{id}]\naddresses = [\"192.0.{id}.1/24\"]\n"));
        }
    }
    for number in 0..OWN_ROUTES {
        document.push_str(&format!("[[routes]]\nprefix = \"{}/32\"\nblackhole = true\n", own(number)));
    }
    document
}

fn changes() -> u32 {
    std::env::var("NETD_STORM_CHANGES").map_or(CHANGES, |text| text.parse().expect("a number of changes"))
}

fn has_vlans() -> bool {
    std::env::var_os(WITH_VLANS).is_some()
}

fn own(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

fn foreign(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0000 + number % 4000)
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip of iproute2");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A blackhole route, of BIRD as far as its protocol says, or one to be removed whoever set it.
fn route(kind: u16, flags: i32, prefix: Ipv4Addr) -> Message {
    let protocol = if kind == libc::RTM_NEWROUTE { 12 } else { 0 };
    // `struct rtmsg`: family, prefix length, …, table, protocol, scope, type.
    let header = [libc::AF_INET as u8, 32, 0, 0, 254, protocol, 0, libc::RTN_BLACKHOLE, 0, 0, 0, 0];
    Message::new(kind, flags as u16, &header).ip(libc::RTA_DST, prefix.into())
}

/// Another name an operator gives a link.
fn alias(link: &str, number: u32) -> Message {
    let message = Message::new(libc::RTM_NEWLINK, 0, &[0; 16]).text(libc::IFLA_IFNAME, link);
    message.attribute(libc::IFLA_IFALIAS, number.to_string().as_bytes())
}

/// What others do: a change of routes, of links or, with a bridge that knows them, of VLANs; the same for the same
/// number.
fn change(number: u32, bridge: Option<u32>) -> Message {
    let create = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    match (number % 8, bridge) {
        (0, _) => route(libc::RTM_DELROUTE, 0, own(number / 8 % (OWN_ROUTES / 2))),
        (1, _) => alias("uplink", number),
        (2, _) => alias("stranger", number),
        (3, _) => route(libc::RTM_DELROUTE, 0, foreign(number / 2)),
        (4, Some(bridge)) if number % 16 == 4 => vlan::delete(bridge, OWN_VLANS[0], OWN_VLANS[0], true),
        (4, Some(bridge)) => vlan::add(bridge, FOREIGN_VLAN, FOREIGN_VLAN, VlanMembership::default(), true),
        _ => route(libc::RTM_NEWROUTE, create, foreign(number)),
    }
}

/// Storms until netd's socket has lost events: on an idle machine netd may read as fast as others change.
fn storm_until_events_are_lost() {
    let before = lost_events();
    for _ in 0..STORMS {
        let took = storm();
        let lost = lost_events() - before;
        println!("{} changes in {} ms, {lost} events lost", changes(), took.as_millis());
        if lost > 0 {
            return;
        }
    }
    panic!("no event was lost in {STORMS} storms, so this shows nothing");
}

/// Sends all changes in batches; refusals of what is already gone are let be.
fn storm() -> Duration {
    let changes = changes();
    let mut socket = Socket::new(NETLINK_ROUTE).expect("a socket");
    socket.bind_auto().expect("bound");
    socket.connect(&SocketAddr::new(0, 0)).expect("connected");
    let bridge = has_vlans().then(bridge_index);
    let began = Instant::now();
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    for number in 0..changes {
        change(number, bridge).append_to(&mut batch, number + 1);
        if batch.len() > BATCH_BYTES - 256 || number + 1 == changes {
            socket.send(&batch, 0).expect("sent");
            batch.clear();
            let mut answers = Vec::with_capacity(BATCH_BYTES);
            while socket.recv(&mut answers, libc::MSG_DONTWAIT).is_ok() {
                answers.clear();
            }
        }
    }
    began.elapsed()
}

fn bridge_index() -> u32 {
    let mut connection = netd::kernel::Connection::open().expect("netlink");
    link::find_by_name(&mut connection, BRIDGE).expect("a query").expect("netd made its bridge").index
}

/// VLANs of the bridge itself, by bridge(8).
fn bridge_vlans() -> BTreeSet<u16> {
    let output = Command::new("bridge").args(["-j", "vlan", "show", "dev", BRIDGE]).output();
    let output = output.expect("bridge(8) of iproute2");
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let vlans = rows[0]["vlans"].as_array().into_iter().flatten();
    vlans.map(|row| row["vlan"].as_u64().expect("a VLAN") as u16).collect()
}

/// Whether the bridge, where it knows VLANs, is in netd's alone.
fn check_vlans() -> Result<(), String> {
    let wanted = BTreeSet::from(OWN_VLANS);
    match has_vlans().then(bridge_vlans) {
        Some(found) if found != wanted => Err(format!("the bridge is in VLANs {found:?}")),
        _ => Ok(()),
    }
}

/// Events the kernel could not hand to the event sockets of this namespace (`/proc/net/netlink`).
fn lost_events() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netlink").expect("/proc/net/netlink");
    let rows = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let with_groups = rows.filter(|row| u32::from_str_radix(row[3], 16).is_ok_and(|groups| groups != 0));
    with_groups.filter_map(|row| row[8].parse::<u64>().ok()).sum()
}

/// Runs netd's own loop, its event socket with next to no room, and `body` as a client.
fn with_netd(drift: &str, body: impl AsyncFnOnce(Connection)) {
    let folder = Folder::new(&format!("storm-{drift}"));
    let paths = service::paths(&folder);
    std::fs::write(&paths.startup, document(drift)).unwrap();
    let hub = Hub::open().expect("a thread");
    let (handle, jobs) = dbus::handle(hub.clone());
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = std::thread::spawn(move || {
        runtime().block_on(async {
            let monitor = Monitor::with_receive_buffer(EVENT_BUFFER_BYTES).expect("the monitor");
            daemon::serve(monitor, paths, hub, jobs, ready, stopped).await
        })
    });
    runtime().block_on(async {
        started.await.expect("netd starts");
        let (server, client) = service::connected(&handle).await;
        body(client).await;
        drop(server);
    });
    stop.send(()).expect("netd runs on");
    engine.join().expect("no panic").expect("no failure");
}

/// IPv4 routes as netd shows them: prefix and kind.
async fn shown(client: &Connection) -> BTreeSet<(String, String)> {
    let state = State1Proxy::new(client).await.unwrap();
    let stream = state.table("routes", &Filter::default()).await.expect("a stream of routes");
    let stream = UnixStream::from(OwnedFd::from(stream));
    let rows = tokio::task::spawn_blocking(move || {
        Rows::<_, Route>::new(BufReader::new(stream)).collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.await.expect("the reader").expect("all routes");
    let of_kernel = rows.into_iter().filter(|row| row.kernel && row.prefix.contains('.'));
    of_kernel.map(|row| (row.prefix, row.kind)).collect()
}

/// The same of a fresh dump by iproute2.
fn dumped() -> BTreeSet<(String, String)> {
    let text = ip("-4 -d route show table main");
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.map(|words| {
        let prefix = if words[1].contains('/') { words[1].to_owned() } else { format!("{}/32", words[1]) };
        (prefix, words[0].to_owned())
    })
    .collect()
}

fn missing_of_own(routes: &BTreeSet<(String, String)>) -> Vec<u32> {
    let has = |number: &u32| routes.contains(&(format!("{}/32", own(*number)), "blackhole".to_owned()));
    (0..OWN_ROUTES).filter(|number| !has(number)).collect()
}

/// Waits until a check holds; its last complaint is the failure.
async fn eventually(mut check: impl AsyncFnMut() -> Result<(), String>) {
    let deadline = Instant::now() + SOON;
    while let Err(complaint) = check().await {
        assert!(Instant::now() < deadline, "{complaint}, {SOON:?} after the storm");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a new reader of events is told of a link.
async fn link_state(client: &Connection, link: &str) -> Option<EventKind> {
    let events = Events1Proxy::new(client).await.unwrap();
    let stream = UnixStream::from(OwnedFd::from(events.watch("", 0, &[]).await.expect("a stream")));
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // Blocking: the stream's other end is written by this very thread.
    let lines = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str::<Event>(&line).expect("an event")).collect::<Vec<_>>()
    });
    let told = lines.await.expect("the reader");
    told.into_iter()
        .rev()
        .find(|event| event.object == link && event.kind.state_of() == Some("link"))
        .map(|e| e.kind)
}

/// Makes the links the storm is about; answers nothing.
fn make_links() {
    ip("link add uplink type veth peer name partner");
    ip("link add stranger type veth peer name strangers-peer");
    ip("link set lo up");
    ip("link set partner up");
    ip("link set uplink up");
}

#[test]
fn a_storm_of_changes_by_others_leaves_netd_with_the_truth_and_its_routes() {
    isolated("storm::a_storm_of_changes_by_others_leaves_netd_with_the_truth_and_its_routes", || {
        make_links();
        with_netd("repair", async |client| {
            assert_eq!(missing_of_own(&dumped()), Vec::<u32>::new(), "netd's routes are there before");
            assert_eq!(link_state(&client, "uplink").await, Some(EventKind::LinkUp));
            assert_eq!(check_vlans(), Ok(()), "before");
            storm_until_events_are_lost();
            ip("link set partner down");
            eventually(async || {
                let (shown, dumped) = (shown(&client).await, dumped());
                let missing = missing_of_own(&dumped);
                match () {
                    () if !missing.is_empty() => Err(format!("netd's routes {missing:?} are not back")),
                    () if shown != dumped => {
                        let differs = shown.symmetric_difference(&dumped).take(9).collect::<Vec<_>>();
                        Err(format!("netd shows other routes than the kernel has: {differs:?}"))
                    }
                    () => check_vlans(),
                }
            })
            .await;
            assert!(dumped().len() > 1000, "the routes of others stay");
            eventually(async || match link_state(&client, "uplink").await {
                Some(EventKind::LinkDown) => Ok(()),
                other => Err(format!("netd takes the link for {other:?}")),
            })
            .await;
        });
    });
}

#[test]
fn after_a_storm_the_drift_that_is_only_reported_is_what_a_fresh_dump_shows() {
    isolated("storm::after_a_storm_the_drift_that_is_only_reported_is_what_a_fresh_dump_shows", || {
        make_links();
        with_netd("report", async |client| {
            assert_eq!(missing_of_own(&dumped()), Vec::<u32>::new(), "netd's routes are there before");
            storm_until_events_are_lost();
            let (missing, running) = (missing_of_own(&dumped()), document("report"));
            assert_eq!(missing, (0..OWN_ROUTES / 2).collect::<Vec<_>>(), "the storm took these");
            let (state, config) =
                (State1Proxy::new(&client).await.unwrap(), Config1Proxy::new(&client).await.unwrap());
            eventually(async || {
                // In the same words.
                let of_routes = |steps: Vec<String>| -> Vec<String> {
                    steps.into_iter().filter(|step| step.starts_with("route ")).collect()
                };
                let drift = of_routes(state.drift().await.expect("the drift"));
                // Without the LAG, whose member this switch lacks: over the bus that would be a mistake.
                let (head, routes) = running.split_once("[[routes]]").expect("routes");
                let head = head.split("[lags").next().expect("a head");
                let document = descriptor::of_text(&format!("{head}[[routes]]{routes}")).unwrap().into();
                let fresh = config.diff(document).await.expect("a diff");
                let fresh = of_routes(fresh);
                match drift == fresh && drift.len() == missing.len() {
                    true => Ok(()),
                    false => Err(format!("drift: {drift:?}\na fresh diff: {fresh:?}")),
                }
            })
            .await;
        });
    });
}
