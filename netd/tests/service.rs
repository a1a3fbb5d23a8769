//! The D-Bus service and the proxies of `netd-api`, end to end over a private connection.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail the test

mod common;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use common::{Folder, isolated};
use netd::dbus;
use netd::events::Hub;
use netd::engine::Engine;
use netd_api::attach::AttachRequest;
use netd_api::bus::{Attach1Proxy, Config1Proxy, State1Proxy, error};
use zbus::Connection;
use zbus::connection::Builder;

/// Runs the engine and the service, and `body` as their client.
fn with_service(body: impl AsyncFnOnce(Connection)) {
    let folder = Folder::new("service");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hub = Hub::open().expect("a thread");
        let mut engine = Engine::start(folder.paths(), hub.clone()).expect("the engine");
        let (handle, mut jobs) = dbus::handle(hub);
        let (server, client) = UnixStream::pair().unwrap();
        let guid = zbus::Guid::generate();
        let server = dbus::serve(Builder::unix_stream(server).server(guid).p2p(), &handle).build();
        let client = Builder::unix_stream(client).p2p().build();
        let (server, client) = tokio::try_join!(server, client).expect("both ends");
        let serve = async {
            while let Some(job) = jobs.recv().await {
                job(&mut engine);
            }
        };
        tokio::select! {
            () = serve => panic!("the queue of jobs ended"),
            () = body(client) => {}
        }
        drop(server);
    });
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
            assert_eq!(config.get().await.unwrap(), ("version = 1\n".to_owned(), 0));
            let three = "version = 1\n[ports.swp1]\nmtu = 3\nvlan.access = 4095\nsped = 1\n";
            let mistakes = config.validate(three).await.unwrap();
            assert_eq!(
                mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(),
                [3, 4, 5],
                "{mistakes:?}"
            );
            let (name, words) = refusal(config.apply(three, 0, 0).await);
            assert_eq!((name.as_str(), words.lines().count()), (error::INVALID, 3), "{words}");
            let missing = config.validate("version = 1\n[ports.swp1]\nvlan.access = 10\n").await.unwrap();
            assert!(missing[0].message.contains("no port swp1 on this switch"), "{missing:?}");
            assert_eq!(refusal(config.apply("version = 1\n", 7, 0).await).0, error::CONFLICT);
            assert_eq!(refusal(config.apply("version = 1\n", 0, 60).await).0, error::FAILED);
            assert_eq!(refusal(config.apply(&"x = [".repeat(2_000_000), 0, 0).await).0, error::INVALID);
            assert_eq!(config.get().await.unwrap().1, 0);
        });
    });
}

#[test]
fn tables_travel_over_the_bus_in_pages() {
    isolated("tables_travel_over_the_bus_in_pages", || {
        with_service(async |client| {
            let state = State1Proxy::new(&client).await.unwrap();
            assert_eq!(state.ports().await.unwrap(), Vec::new());
            assert_eq!(state.vlans().await.unwrap(), Vec::new());
            for limit in [0, 1, u32::MAX] {
                assert_eq!(state.routes("", limit).await.unwrap().1, "");
                assert_eq!(state.neighbours("zz", limit).await.unwrap(), (Vec::new(), String::new()));
                let (entries, next) = state.fdb("", limit).await.unwrap();
                assert!(entries.iter().all(|entry| entry.port == "bridge"), "{entries:?}");
                assert!(next.len() < 100);
            }
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
