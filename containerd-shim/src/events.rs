//! Publishes task events to containerd, in the order they happened.
//!
//! One queue, one sender: an event that cannot be delivered is tried again before the next one, so order
//! survives a restart of containerd. The queue is bounded; what does not fit is dropped and logged.

use std::time::{Duration, SystemTime};

use containerd_shim_protos::api::ForwardRequest;
use containerd_shim_protos::events::task as event;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::protobuf::{MessageField, MessageFull};
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use containerd_shim_protos::ttrpc::context;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::error::{Error, Result};

const QUEUE_EVENTS: usize = 1024;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The topic containerd files an event under.
pub trait Topic: MessageFull {
    /// For example `/tasks/start`.
    const TOPIC: &'static str;
}

macro_rules! topics {
    ($($message:ident => $topic:literal),* $(,)?) => {
        $(impl Topic for event::$message { const TOPIC: &'static str = $topic; })*
    };
}

topics! {
    TaskCreate => "/tasks/create",
    TaskStart => "/tasks/start",
    TaskOOM => "/tasks/oom",
    TaskExit => "/tasks/exit",
    TaskDelete => "/tasks/delete",
    TaskExecAdded => "/tasks/exec-added",
    TaskExecStarted => "/tasks/exec-started",
    TaskPaused => "/tasks/paused",
    TaskResumed => "/tasks/resumed",
}

/// The sending end of the queue.
#[derive(Clone, Debug)]
pub struct Publisher {
    namespace: String,
    queue: mpsc::Sender<Envelope>,
}

/// Ends when every publisher is dropped and the queue is empty.
pub type Sender = tokio::task::JoinHandle<()>;

impl Publisher {
    /// Starts sending to containerd's ttrpc socket.
    pub fn start(namespace: &str, address: &str) -> (Self, Sender) {
        let (queue, receiver) = mpsc::channel(QUEUE_EVENTS);
        let address = format!("unix://{}", address.trim_start_matches("unix://"));
        let sender = tokio::spawn(send_all(receiver, address));
        (Publisher { namespace: namespace.to_owned(), queue }, sender)
    }

    /// Queues an event. Never waits.
    pub fn publish<E: Topic>(&self, event: &E) {
        let envelope = match envelope(&self.namespace, event) {
            Ok(envelope) => envelope,
            Err(error) => return warn!("event {} is lost: {error}", E::TOPIC),
        };
        if self.queue.try_send(envelope).is_err() {
            warn!("event {} is lost: {QUEUE_EVENTS} events wait for containerd", E::TOPIC);
        }
    }
}

fn envelope<E: Topic>(namespace: &str, event: &E) -> Result<Envelope> {
    Ok(Envelope {
        timestamp: MessageField::some(timestamp(SystemTime::now())),
        namespace: namespace.to_owned(),
        topic: E::TOPIC.to_owned(),
        event: MessageField::some(pack(event)?),
        ..Default::default()
    })
}

/// Wraps a message as containerd's `typeurl` does: under its bare name.
///
/// # Errors
/// The message cannot be encoded.
pub fn pack<M: MessageFull>(message: &M) -> Result<Any> {
    let value = message
        .write_to_bytes()
        .map_err(|error| Error::failed(format!("encode {}", M::descriptor().full_name()), error))?;
    Ok(Any { type_url: M::descriptor().full_name().to_owned(), value, ..Default::default() })
}

/// A point in time in protobuf's form; before 1970 is 1970.
pub fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
        ..Default::default()
    }
}

async fn send_all(mut queue: mpsc::Receiver<Envelope>, address: String) {
    let mut client: Option<EventsClient> = None;
    while let Some(envelope) = queue.recv().await {
        let mut pause = Duration::from_millis(50);
        while let Err(error) = send(&mut client, &address, &envelope).await {
            debug!("event {} is not delivered yet: {error}", envelope.topic);
            client = None;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn send(client: &mut Option<EventsClient>, address: &str, envelope: &Envelope) -> Result<()> {
    let what = || format!("send an event to {address}");
    if client.is_none() {
        let connection = Client::connect(address).await.map_err(|error| Error::failed(what(), error))?;
        *client = Some(EventsClient::new(connection));
    }
    let Some(events) = client else { return Ok(()) };
    let request = ForwardRequest { envelope: MessageField::some(envelope.clone()), ..Default::default() };
    events
        .forward(context::with_duration(CALL_TIMEOUT), &request)
        .await
        .map(drop)
        .map_err(|error| Error::failed(what(), error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use containerd_shim_protos::api::Empty;
    use containerd_shim_protos::shim_async::{Events, create_events};
    use containerd_shim_protos::ttrpc;
    use containerd_shim_protos::ttrpc::asynchronous::{Server, TtrpcContext};

    use super::*;

    struct Recorder(mpsc::UnboundedSender<(String, String)>);

    #[async_trait::async_trait]
    impl Events for Recorder {
        async fn forward(&self, _: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
            let envelope = request.envelope.unwrap_or_default();
            let _ = self.0.send((envelope.namespace, envelope.topic));
            Ok(Empty::default())
        }
    }

    #[tokio::test]
    async fn order_survives_a_containerd_that_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("events.sock").display().to_string();
        let (publisher, sender) = Publisher::start("default", &address);
        publisher.publish(&event::TaskCreate::default());
        publisher.publish(&event::TaskStart::default());
        publisher.publish(&event::TaskExit::default());
        publisher.publish(&event::TaskDelete::default());
        drop(publisher);
        tokio::task::yield_now().await;

        let (seen, mut events) = mpsc::unbounded_channel();
        let mut server = Server::new()
            .bind(&format!("unix://{address}"))
            .unwrap()
            .register_service(create_events(Arc::new(Recorder(seen))));
        server.start().await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), sender)
            .await
            .expect("events sent within 10 s")
            .unwrap();
        for topic in ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"] {
            assert_eq!(events.try_recv().unwrap(), ("default".into(), topic.into()));
        }
    }

    #[test]
    fn messages_are_packed_under_their_bare_name() {
        assert_eq!(pack(&event::TaskOOM::default()).unwrap().type_url, "containerd.events.TaskOOM");
    }

    #[tokio::test]
    async fn a_full_queue_drops_instead_of_growing() {
        let (publisher, sender) = Publisher::start("default", "/nonexistent/socket");
        for _ in 0..3 * QUEUE_EVENTS {
            publisher.publish(&event::TaskStart::default());
        }
        assert_eq!(publisher.queue.capacity(), 0);
        sender.abort();
    }
}
