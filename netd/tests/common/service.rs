//! netd's service on a private connection, with the engine behind it.

#![allow(dead_code)] // each test program uses a part

use std::os::unix::net::UnixStream;

use netd::dbus;
use netd::engine::{Engine, Paths};
use netd::events::Hub;
use netd::transaction::Backend;
use zbus::Connection;
use zbus::connection::Builder;

use crate::common::Folder;

/// netd's files in a folder, with an nft that takes every rule.
pub fn paths(folder: &Folder) -> Paths {
    folder.write_nft();
    Paths { nft: folder.0.join("nft"), ..folder.paths() }
}

/// Both ends of a connection to the service: netd's and its client's.
pub async fn connected(handle: &dbus::Handle) -> (Connection, Connection) {
    let (server, client) = UnixStream::pair().unwrap();
    let guid = zbus::Guid::generate();
    let server = dbus::serve(Builder::unix_stream(server).server(guid).p2p(), handle).build();
    let client = Builder::unix_stream(client).p2p().build();
    tokio::try_join!(server, client).expect("both ends")
}

/// Runs the engine, on the kernel or a stand-in for its network, and the service, and `body` as their client.
pub fn with_service_on(
    stand_in: impl FnOnce() -> Option<Box<dyn Backend>> + Send + 'static,
    body: impl AsyncFnOnce(Connection),
) {
    let folder = Folder::new("service");
    let paths = paths(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let hub = Hub::open().expect("a thread");
        let (handle, mut jobs) = dbus::handle(hub.clone());
        // As in the daemon, the engine has a thread of its own.
        let engine = std::thread::spawn(move || {
            let mut engine = Engine::start_on(paths, hub, stand_in()).expect("the engine");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while let Some(job) = runtime.block_on(jobs.next()) {
                job.run(&mut engine);
            }
        });
        let (server, client) = connected(&handle).await;
        body(client).await;
        assert!(!engine.is_finished(), "the engine ended");
        drop((server, handle));
    });
}

/// Runs the engine on the kernel.
pub fn with_service(body: impl AsyncFnOnce(Connection)) {
    with_service_on(|| None, body);
}
