//! The guest's system bus: units of systemd, names, signals.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::StreamExt;
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout_at};
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Proxy, Structure};

/// Pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
const BUS: &str = "org.freedesktop.DBus";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Waits until a unit's ActiveState is one of these; answers which.
pub fn wait_for_unit(unit: &str, states: &[String], deadline: Instant) -> Result<String> {
    within(async {
        let bus = connect(deadline).await?;
        let manager = Proxy::new(&bus, SYSTEMD, MANAGER_PATH, MANAGER).await?;
        // Without a subscriber systemd emits nothing.
        manager.call_method("Subscribe", &()).await.context("cannot subscribe to systemd")?;
        let path: OwnedObjectPath =
            manager.call("LoadUnit", &(unit,)).await.with_context(|| format!("systemd has no {unit}"))?;
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(SYSTEMD).path(path.as_ref());
        let mut changes = messages(&bus, rule.interface(PROPERTIES).build()?).await?;
        let properties = Proxy::new(&bus, SYSTEMD, path.as_ref(), PROPERTIES).await?;
        loop {
            let state: OwnedVariant = properties.call("Get", &(UNIT, "ActiveState")).await?;
            let state = String::try_from(state).context("ActiveState is no text")?;
            if states.contains(&state) {
                return Ok(state);
            }
            let change = next_before(&mut changes, deadline).await?;
            ensure!(change.is_some(), "{unit} is {state}, not {}", states.join(" or "));
        }
    })
}

/// Waits until a name has an owner.
pub fn wait_for_name(name: &str, deadline: Instant) -> Result<()> {
    within(async {
        let bus = connect(deadline).await?;
        let rule = MatchRule::builder().msg_type(Type::Signal).sender(BUS).member("NameOwnerChanged");
        let mut changes = messages(&bus, rule.arg(0, name).build()?).await?;
        let daemon = Proxy::new(&bus, BUS, "/org/freedesktop/DBus", BUS).await?;
        while !daemon.call::<_, _, bool>("NameHasOwner", &(name,)).await? {
            ensure!(next_before(&mut changes, deadline).await?.is_some(), "nobody has the name {name}");
        }
        Ok(())
    })
}

/// Waits for a message that a rule fits; answers its body. `armed` is called once none is missed any more.
pub fn wait_for_signal(rule: &str, deadline: Instant, armed: impl FnOnce()) -> Result<String> {
    within(async {
        let bus = connect(deadline).await?;
        let parsed = MatchRule::try_from(rule).with_context(|| format!("no match rule: {rule}"))?;
        let mut messages = messages(&bus, parsed).await?;
        armed();
        let message = next_before(&mut messages, deadline).await?;
        let message = message.with_context(|| format!("no message fits {rule}"))?;
        let body = message.body();
        Ok(body.deserialize::<Structure<'_>>().map(|fields| format!("{fields:?}")).unwrap_or_default())
    })
}

/// Does something in a loop of events of its own: the agent has a thread a call.
fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    Builder::new_current_thread().enable_all().build().context("no loop of events")?.block_on(work)
}

/// Connects to the bus, which a guest that boots does not have yet.
async fn connect(deadline: Instant) -> Result<Connection> {
    loop {
        match Connection::system().await {
            Ok(bus) => return Ok(bus),
            Err(_) if Instant::now() < deadline => sleep(CONNECT_PAUSE).await,
            Err(error) => return Err(error).context("cannot connect to the system bus"),
        }
    }
}

/// Messages that a rule fits, from now on.
async fn messages(bus: &Connection, rule: MatchRule<'_>) -> Result<MessageStream> {
    MessageStream::for_match_rule(rule, bus, None).await.context("cannot add a match")
}

/// The next message, or nothing when none came before the deadline.
async fn next_before(messages: &mut MessageStream, deadline: Instant) -> Result<Option<zbus::Message>> {
    match timeout_at(deadline.into(), messages.next()).await {
        Err(_) => Ok(None),
        Ok(Some(message)) => Ok(Some(message.context("the bus sent something broken")?)),
        Ok(None) => Err(anyhow!("the bus closed the connection")),
    }
}
