//! A viewer who takes whatever netd gives: documents of 100 MB and of the size that viewers may send, all readers of
//! events and all of tables that one user may have, and all of it without end. Runs as a user of the switch, beside an
//! administrator whose changes are measured.

use std::os::fd::OwnedFd;
use std::time::Duration;

use netd_api::bus::{Config1Proxy, State1Proxy};
use netd_api::descriptor::{self, VIEWER_DOCUMENT_BYTES};
use netd_api::events::Events1Proxy;
use netd_api::table::Filter;
use zbus::Connection;

/// Far more than a viewer may send.
const LARGE_BYTES: usize = 100_000_000;
/// Calls with a document at a time: one more than netd lets a user have.
const CALLS: usize = 5;
/// How long readers are held that read nothing.
const HELD: Duration = Duration::from_secs(5);

/// Begins, says `ready` once each kind was tried, and goes on until it is ended.
pub fn look() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let bus = Connection::system().await.expect("the system bus");
        // Both are valid as far as they are read.
        let document = |bytes: usize| {
            descriptor::of_text(&format!("version = 1\n{}\n", "#".repeat(bytes - 13))).expect("a document")
        };
        let documents = [document(LARGE_BYTES), document(VIEWER_DOCUMENT_BYTES)];
        for number in 0..CALLS {
            let document = documents[number % 2].try_clone().expect("a descriptor");
            let bus = bus.clone();
            tokio::spawn(async move {
                loop {
                    compare(&bus, &document).await;
                }
            });
        }
        loop {
            let readers = (event_readers(&bus).await, table_readers(&bus).await);
            assert!(readers.0.len() > 1 && readers.1.len() > 1, "{readers:?}");
            println!("ready");
            tokio::time::sleep(HELD).await;
        }
    });
}

/// Has a document compared, which netd may refuse.
async fn compare(bus: &Connection, document: &OwnedFd) {
    let config = Config1Proxy::new(bus).await.expect("netd");
    let document = document.try_clone().expect("a descriptor");
    // Too long, or one call too many: as it should be.
    let _ = config.diff(document.into()).await;
}

/// Opens readers of events until netd refuses one more.
async fn event_readers(bus: &Connection) -> Vec<OwnedFd> {
    let events = Events1Proxy::new(bus).await.expect("netd");
    let mut readers = Vec::new();
    while let Ok(reader) = events.watch("", 0, &[]).await {
        readers.push(reader.into());
    }
    readers
}

/// Opens readers of the longest table until netd refuses one more, and leaves one to the user's screen.
async fn table_readers(bus: &Connection) -> Vec<OwnedFd> {
    let state = State1Proxy::new(bus).await.expect("netd");
    let mut readers = Vec::new();
    while let Ok(reader) = state.table("fdb", &Filter::default()).await {
        readers.push(reader.into());
    }
    readers.pop();
    readers
}
