//! The D-Bus service and the proxies of `netd-api`, end to end over a private connection.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;
mod model;
#[path = "common/service.rs"]
mod service_of_netd;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;

use common::{batch, isolated};
use model::Model;
use netd::kernel::KernelError;
use netd::plan::{Action, Network};
use netd::transaction::Backend;
use netd_api::attach::AttachRequest;
use netd_api::bus::{Attach1Proxy, Config1Proxy, PATH, State1Proxy, error};
use netd_api::comparison::Comparison;
use netd_api::descriptor;
use netd_api::events::Events1Proxy;
use netd_api::generation::{ChangeOptions, Health, State, Status};
use netd_api::state::FdbEntry;
use netd_api::table::{Filter, Rows};
use serde::de::DeserializeOwned;
use service_of_netd::{with_service, with_service_on};
use tokio::sync::oneshot;

fn options() -> ChangeOptions {
    ChangeOptions::default()
}

/// A document as it travels.
fn sent(text: &str) -> zbus::OwnedFd {
    descriptor::of_text(text).unwrap().into()
}

/// The document a method answered, and its generation.
fn got(answer: zbus::Result<(zbus::OwnedFd, u64)>) -> (String, u64) {
    let (document, generation) = answer.unwrap();
    (descriptor::read_text(document.into(), 1 << 20).unwrap(), generation)
}

/// Name and words of the error a method answered.
fn refusal<T: std::fmt::Debug>(answer: zbus::Result<T>) -> (String, String) {
    match answer {
        Err(zbus::Error::MethodError(name, words, _)) => (name.to_string(), words.unwrap_or_default()),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn documents_are_checked_and_refused_over_the_bus_and_nothing_changes() {
    isolated("documents_are_checked_and_refused_over_the_bus_and_nothing_changes", || {
        with_service(async |client| {
            let config = Config1Proxy::new(&client).await.unwrap();
            assert_eq!(got(config.get(0).await), ("version = 1\n".to_owned(), 0));
            let three = "version = 1\n[ports.swp1]\nmtu = 3\nvlan.access = 4095\nsped = 1\n";
            let mistakes = config.validate(sent(three)).await.unwrap();
            assert_eq!(
                mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(),
                [3, 4, 5],
                "{mistakes:?}"
            );
            let (name, words) = refusal(config.apply(sent(three), 0, 0, options()).await);
            assert_eq!((name.as_str(), words.lines().count()), (error::INVALID, 3), "{words}");
            let missing =
                config.validate(sent("version = 1\n[ports.swp1]\nvlan.access = 10\n")).await.unwrap();
            assert!(missing[0].message.contains("no port swp1 on this switch"), "{missing:?}");
            assert_eq!(
                refusal(config.apply(sent("version = 1\n"), 7, 0, options()).await).0,
                error::CONFLICT
            );
            assert_eq!(
                refusal(config.apply(sent(&"x = [".repeat(2_000_000)), 0, 0, options()).await).0,
                error::INVALID
            );
            assert_eq!(config.get(0).await.unwrap().1, 0);
        });
    });
}

const LOOPBACK: &str = "version = 1\n[loopbacks.lo1]\naddresses = [\"192.0.2.1/32\"]\n";

#[test]
fn a_change_is_looked_at_applied_confirmed_and_rolled_back_over_the_bus() {
    isolated("a_change_is_looked_at_applied_confirmed_and_rolled_back_over_the_bus", || {
        let model = || Some(Box::new(Model::new(Network::default())) as Box<dyn Backend>);
        with_service_on(model, async |client| {
            let config = Config1Proxy::new(&client).await.unwrap();
            let steps = config.diff(sent(LOOPBACK)).await.unwrap();
            assert!(steps.contains(&"lo1: create dummy".to_owned()), "{steps:?}");
            let options = || ChangeOptions { comment: Some("why".to_owned()), ..ChangeOptions::default() };
            assert_eq!(config.apply(sent(LOOPBACK), 0, 600, options()).await.unwrap(), 1);
            let status = config.status().await.unwrap();
            assert_eq!((status.state, status.generation), (Health::Unconfirmed, 1));
            assert!(status.confirm_by_s > 1_600_000_000);
            let state = State1Proxy::new(&client).await.unwrap();
            let comparison = state.comparison().await.unwrap();
            assert_eq!((comparison.generation, comparison.if_same), (1, false));
            assert_eq!(config.confirm(ChangeOptions::default()).await.unwrap(), 1);
            assert_eq!(state.comparison().await.unwrap(), Comparison::default());
            let no_time = ChangeOptions { if_same: Some(true), ..options() };
            assert_eq!(refusal(config.apply(sent("version = 1\n"), 1, 0, no_time).await).0, error::INVALID);
            assert_eq!(config.apply(sent("version = 1\n"), 1, 600, options()).await.unwrap(), 2);
            let history = config.history().await.unwrap();
            assert_eq!(
                history.iter().map(|row| row.state).collect::<Vec<_>>(),
                [State::Unconfirmed, State::Startup]
            );
            // The namespace maps whoever runs the test to root.
            assert_eq!((history[0].user.as_str(), history[0].user_id), ("root", 0));
            assert_eq!(history[0].comment, "why");
            assert_eq!(got(config.get(1).await), (LOOPBACK.to_owned(), 1));
            assert_eq!(config.roll_back(0, ChangeOptions::default()).await.unwrap(), 1);
            assert_eq!(
                config.status().await.unwrap(),
                Status { generation: 1, role: "admin".to_owned(), ..Status::default() }
            );
            let claim =
                ChangeOptions { key_fingerprint: Some("SHA256:none".to_owned()), ..ChangeOptions::default() };
            assert_eq!(refusal(config.apply(sent(LOOPBACK), 0, 0, claim).await).0, error::DENIED);
            assert_eq!(refusal(config.get(7).await).0, error::NOT_FOUND);
            assert_eq!(refusal(config.confirm(options()).await).0, error::NOT_FOUND);
            assert_eq!(refusal(config.diff(sent("version = 2\n")).await).0, error::INVALID);
        });
    });
}

#[test]
fn options_nobody_knows_are_refused() {
    isolated("options_nobody_knows_are_refused", || {
        with_service(async |client| {
            let unknown = HashMap::from([("unknown", zbus::Variant::from(true))]);
            let wrong = HashMap::from([("comment", zbus::Variant::from(7_u32))]);
            for (options, said) in [
                (
                    unknown,
                    "unknown field `unknown`, expected one of `comment`, `key_fingerprint`, `force`, `confirm_timeout_s`, `if_same`",
                ),
                (wrong, "invalid value: string \"u\", expected a value of signature `s`"),
            ] {
                let body = (sent("version = 1\n"), 0_u64, 0_u32, options);
                let answer = client
                    .call_method(None::<&str>, PATH, Some("org.corten.Netd1.Config1"), "Apply", &body)
                    .await;
                let error = answer.expect_err("refused").to_string();
                assert_eq!(error, format!("org.freedesktop.DBus.Error.InvalidArgs: {said}"));
            }
        });
    });
}

/// The rules of a group in the bus policy of the image.
fn policy_of(group: &str) -> String {
    let path = "../os-image/rootfs/usr/share/dbus-1/system.d/org.corten.Netd1.conf";
    let policy = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (_, rules) = policy.split_once(&format!("<policy group=\"{group}\">")).expect("the group's rules");
    rules.split_once("</policy>").unwrap().0.to_owned()
}

#[test]
fn the_bus_admits_viewers_to_looking_and_administrators_to_every_change() {
    isolated("the_bus_admits_viewers_to_looking_and_administrators_to_every_change", || {
        with_service(async |client| {
            let interface = Some("org.freedesktop.DBus.Introspectable");
            let answer = client.call_method(None::<&str>, PATH, interface, "Introspect", &()).await.unwrap();
            let description: String = answer.body().deserialize().unwrap();
            let (viewers, administrators) = (policy_of("corten-view"), policy_of("corten-admin"));
            let mut members = 0;
            for part in description.split("<interface name=\"org.corten.Netd1.").skip(1) {
                let (interface, rest) = part.split_once('"').unwrap();
                let methods = rest.split("</interface>").next().unwrap().split("<method name=\"").skip(1);
                for method in methods.map(|method| method.split('"').next().unwrap()) {
                    let all = format!("send_interface=\"org.corten.Netd1.{interface}\"/>");
                    let one =
                        format!("send_interface=\"org.corten.Netd1.{interface}\" send_member=\"{method}\"/>");
                    let admits = |rules: &str| rules.contains(&all) || rules.contains(&one);
                    // Who was an administrator before the change that waits may take it back: netd looks.
                    let changes = ["Apply", "Confirm", "RollBack"].contains(&method);
                    let for_root = interface == "Attach1";
                    assert_eq!(admits(&viewers), !changes && !for_root, "viewers: {interface}.{method}");
                    assert_eq!(admits(&administrators), !for_root, "administrators: {interface}.{method}");
                    members += 1;
                }
            }
            assert!(members > 12, "{description}");
        });
    });
}

/// A kernel that takes its time.
struct Slow {
    model: Model,
    begun: Option<oneshot::Sender<()>>,
    go_on: mpsc::Receiver<()>,
}

impl Backend for Slow {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        self.model.snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        if actions.iter().any(|action| action.object() == "lo1")
            && let Some(begun) = self.begun.take()
        {
            begun.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.model.execute(actions)
    }
}

#[test]
fn while_a_change_is_made_a_second_one_is_refused_at_once() {
    isolated("while_a_change_is_made_a_second_one_is_refused_at_once", || {
        let (begun, has_begun) = oneshot::channel();
        let (go_on, waits) = mpsc::channel();
        let slow = move || {
            let slow = Slow { model: Model::new(Network::default()), begun: Some(begun), go_on: waits };
            Some(Box::new(slow) as Box<dyn Backend>)
        };
        with_service_on(slow, async |client| {
            let config = Config1Proxy::new(&client).await.unwrap();
            let first = tokio::spawn({
                let config = config.clone();
                async move { config.apply(sent(LOOPBACK), 0, 0, ChangeOptions::default()).await }
            });
            has_begun.await.unwrap();
            let seconds = [
                config.apply(sent("version = 1\n"), 0, 0, options()).await,
                config.roll_back(0, options()).await,
            ];
            for second in seconds {
                let (name, words) = refusal(second);
                assert_eq!(name, error::LOCKED);
                assert!(words.starts_with("locked by root since 2"), "{words}");
            }
            // A confirmation waits for its turn instead.
            let confirm = tokio::spawn({
                let config = config.clone();
                async move { config.confirm(ChangeOptions::default()).await }
            });
            go_on.send(()).unwrap();
            assert_eq!(first.await.unwrap().unwrap(), 1);
            assert_eq!(refusal(confirm.await.unwrap()).0, error::NOT_FOUND);
            assert_eq!(config.apply(sent("version = 1\n"), 0, 0, options()).await.unwrap(), 2);
        });
    });
}

#[test]
fn tables_are_streamed_and_filtered_over_the_bus() {
    isolated("tables_are_streamed_and_filtered_over_the_bus", || {
        let links = [
            "link add name bridge type bridge",
            "link add name swp1 master bridge type veth peer name host1",
        ];
        batch("ip", links.into_iter().map(str::to_owned));
        batch("bridge", std::iter::once("fdb add 02:00:5e:00:53:01 dev swp1 master static".to_owned()));
        with_service(async |client| {
            let state = State1Proxy::new(&client).await.unwrap();
            let everything = Filter::default();
            let rows: Vec<FdbEntry> = read(&state, "fdb", &everything).await;
            assert!(rows.iter().any(|row| row.mac == "02:00:5e:00:53:01"), "{rows:?}");
            let macs = Some(vec!["02:00:5e:00:53:01".to_owned()]);
            let found: Vec<FdbEntry> =
                read(&state, "fdb", &Filter { macs: macs.clone(), ..everything.clone() }).await;
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(refusal(state.table("ports", &everything).await).0, error::INVALID);
            let misfit = Filter { macs, ..everything.clone() };
            let (name, words) = refusal(state.table("routes", &misfit).await);
            assert_eq!((name.as_str(), words.as_str()), (error::INVALID, "filter: routes has no macs"));
        });
    });
}

/// All rows of a table.
async fn read<T: DeserializeOwned + Send + 'static>(
    state: &State1Proxy<'_>,
    table: &str,
    filter: &Filter,
) -> Vec<T> {
    let stream = UnixStream::from(OwnedFd::from(state.table(table, filter).await.expect("a stream")));
    let rows = move || Rows::new(BufReader::new(stream)).collect::<Result<Vec<T>, _>>();
    tokio::task::spawn_blocking(rows).await.unwrap().expect("rows, and their end")
}

#[test]
fn table_readers_of_one_user_are_bounded_and_hold_up_nobody() {
    isolated("table_readers_of_one_user_are_bounded_and_hold_up_nobody", || {
        let route = |n: u32| format!("route add blackhole {}/32", std::net::Ipv4Addr::from(0x0a00_0000 + n));
        // More than a socket and a pipe of rows hold: readers that do not read keep their streams open.
        batch("ip", (0..20_000).map(route));
        with_service(async |client| {
            let state = State1Proxy::new(&client).await.unwrap();
            let mut held = Vec::new();
            let refused = loop {
                match state.table("routes", &Filter::default()).await {
                    Ok(stream) => held.push(stream),
                    Err(error) => break error.to_string(),
                }
                assert!(held.len() < 100, "no bound");
            };
            assert!(refused.contains("the most a user may have"), "{refused}");
            assert!(state.ports().await.is_ok(), "questions are answered meanwhile");
            held.clear();
            let begun = std::time::Instant::now();
            // netd forgets readers of tables once it sees that they are gone.
            while state.table("routes", &Filter::default()).await.is_err() {
                assert!(begun.elapsed() < std::time::Duration::from_secs(30), "streams are not given back");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    });
}

#[test]
fn documents_are_refused_by_their_size_and_kind_before_they_are_read() {
    isolated("documents_are_refused_by_their_size_and_kind_before_they_are_read", || {
        with_service(async |client| {
            let config = Config1Proxy::new(&client).await.unwrap();
            // A file of memory that claims to be longer than any machine has.
            let huge = File::from(OwnedFd::from(sent_unsealed()));
            huge.set_len(1 << 42).unwrap();
            let huge = || zbus::OwnedFd::from(OwnedFd::from(huge.try_clone().unwrap()));
            for answer in [
                config.validate(huge()).await.map(|_| ()),
                config.diff(huge()).await.map(|_| ()),
                config.apply(huge(), 0, 0, options()).await.map(|_| ()),
            ] {
                let (name, words) = refusal(answer);
                assert_eq!(name, error::INVALID);
                assert!(words.contains("longer than 134217728 bytes"), "{words}");
            }
            let file = File::open("/proc/self/status").unwrap();
            let (name, words) = refusal(config.validate(OwnedFd::from(file).into()).await);
            assert_eq!(name, error::INVALID, "{words}");
            // Refused documents leave no lock behind.
            assert_eq!(config.validate(sent("version = 1\n")).await.unwrap(), []);
        });
    });
}

/// A file of memory without seals.
fn sent_unsealed() -> zbus::OwnedFd {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    memfd_create(c"huge", MFdFlags::MFD_ALLOW_SEALING).unwrap().into()
}

/// A kernel whose next look takes until the gate it finds is opened.
struct Gated {
    model: Model,
    gates: mpsc::Receiver<(oneshot::Sender<()>, mpsc::Receiver<()>)>,
}

impl Backend for Gated {
    fn snapshot(&mut self) -> Result<Network, KernelError> {
        if let Ok((begun, gate)) = self.gates.try_recv() {
            begun.send(()).unwrap();
            gate.recv().unwrap();
        }
        self.model.snapshot()
    }

    fn execute(&mut self, actions: &[&Action]) -> Vec<Result<(), KernelError>> {
        self.model.execute(actions)
    }
}

#[test]
fn confirmation_counts_from_its_arrival_behind_a_long_question() {
    isolated("confirmation_counts_from_its_arrival_behind_a_long_question", || {
        let (close, gates) = mpsc::channel();
        let gated = move || {
            Some(Box::new(Gated { model: Model::new(Network::default()), gates }) as Box<dyn Backend>)
        };
        with_service_on(gated, async |client| {
            let config = Config1Proxy::new(&client).await.unwrap();
            assert_eq!(config.apply(sent("version = 1\n"), 0, 0, options()).await.unwrap(), 0);
            assert_eq!(config.apply(sent(LOOPBACK), 0, 1, options()).await.unwrap(), 1);
            let (begun, has_begun) = oneshot::channel();
            let (open, gate) = mpsc::channel();
            close.send((begun, gate)).unwrap();
            let call = config.clone();
            let question = tokio::spawn(async move { call.diff(sent("version = 1\n")).await });
            has_begun.await.unwrap();
            // The engine is busy until after the deadline; the confirmation arrives before it.
            let call = config.clone();
            let confirm = tokio::spawn(async move { call.confirm(ChangeOptions::default()).await });
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            open.send(()).unwrap();
            assert_eq!(confirm.await.unwrap().unwrap(), 1);
            question.await.unwrap().unwrap();
        });
    });
}

#[test]
fn event_readers_are_bounded_and_watch_only_ports_there_are() {
    isolated("event_readers_are_bounded_and_watch_only_ports_there_are", || {
        with_service(async |client| {
            let events = Events1Proxy::new(&client).await.unwrap();
            let (long, id) = ("x".repeat(16), "y".repeat(101));
            assert_eq!(refusal(events.watch("", 0, &[&long]).await).0, error::INVALID);
            assert_eq!(refusal(events.watch(&id, 0, &[]).await).0, error::INVALID);
            assert_eq!(refusal(events.watch("", 0, &["swp99"]).await).0, error::NOT_FOUND);
            // netd has looked at its links once it answers.
            State1Proxy::new(&client).await.unwrap().ports().await.unwrap();
            // A number no ring has counted to.
            drop(events.watch("", u64::MAX, &["lo"]).await.expect("a stream"));
            let mut held = Vec::new();
            let refused = loop {
                match events.watch("", 0, &[]).await {
                    Ok(stream) => held.push(stream),
                    Err(error) => break error.to_string(),
                }
                assert!(held.len() < 100, "no bound");
            };
            assert!(refused.contains("streams of events open, the most a user may have"), "{refused}");
        });
    });
}

#[test]
fn hostile_attachments_are_refused_over_the_bus() {
    isolated("hostile_attachments_are_refused_over_the_bus", || {
        with_service(async |client| {
            let attach = Attach1Proxy::new(&client).await.unwrap();
            let file = || zbus::OwnedFd::from(OwnedFd::from(File::open("/proc/self/status").unwrap()));
            let request = AttachRequest {
                key: "default/web/eth0".to_owned(),
                interface: "eth0".to_owned(),
                untagged_vlan: 10,
                ..AttachRequest::default()
            };
            let (name, words) = refusal(attach.attach(&request, file(), file()).await);
            assert_eq!(name, error::NOT_FOUND, "{words}");
            let broken = AttachRequest { key: "../../etc".to_owned(), ..request };
            assert_eq!(refusal(attach.attach(&broken, file(), file()).await).0, error::INVALID);
            attach.detach("never/was/there").await.expect("detaching what is gone succeeds");
        });
    });
}
