//! What netd says, once a second: a task that asks for what is on the screen and nothing else.
//!
//! It keeps asking: when netd or the bus goes away it says so and tries again.

use std::time::{Duration, Instant};

use netd_api::alarm::Alarm;
use netd_api::comparison::Comparison;
use netd_api::generation::{Generation, Status};
use netd_api::state::{Discard, FdbEntry, Port, Vlan};
use tokio::sync::{mpsc, watch};
use tokio::time;

use super::app::Screen;
use crate::client::{Error, Netd};
use crate::text;

/// How long netd may take to answer before it counts as away.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt to reach netd.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the status is asked for: each session is to see soon what another has applied.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// How often it is asked for while a change waits for its confirmation.
const PENDING_PERIOD: Duration = Duration::from_secs(1);

/// What is on the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The screen shown.
    pub screen: Screen,
    /// The port that is shown in full.
    pub port: Option<String>,
    /// Counts up when the status is to be read anew, after a command.
    pub refresh: u64,
}

/// News from netd.
#[derive(Clone, Debug)]
pub enum Update {
    /// netd does not answer; why.
    Away(String),
    /// netd answers no more to this user; why.
    Denied(String),
    /// What runs, and how that is doing.
    Status(Status),
    /// What the change that waits did to the network.
    Comparison(Comparison),
    /// Generations that are kept, the newest first.
    Generations(Vec<Generation>),
    /// Kinds and names of the interfaces that are no ports, and of LAGs.
    Interfaces(Vec<(String, String)>),
    /// What is wrong.
    Alarms(Vec<Alarm>),
    /// Ports, and when they were read.
    Ports(Instant, Vec<Port>),
    /// What the port of this name discarded.
    Discards(String, Vec<Discard>),
    /// VLANs and the forwarding database.
    Vlans(Vec<Vlan>, Vec<FdbEntry>),
}

/// The other side hung up: the screens are closing.
struct Closed;

/// Why asking ended.
enum End {
    Away(Error),
    Closed,
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Away(error)
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> End {
        End::Closed
    }
}

/// Feeds the screens until they close.
pub async fn run(mut want: watch::Receiver<Want>, updates: mpsc::Sender<Update>) {
    loop {
        let error = match follow(&mut want, &updates).await {
            End::Away(error) => error,
            End::Closed => return,
        };
        let update = match error {
            Error::Denied(why) => Update::Denied(why),
            error => Update::Away(error.to_string()),
        };
        if send(&updates, update).await.is_err() {
            return;
        }
        time::sleep(RETRY_AFTER).await;
    }
}

/// Connects and asks until something fails.
async fn follow(want: &mut watch::Receiver<Want>, updates: &mpsc::Sender<Update>) -> End {
    match ask(want, updates).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn ask(
    want: &mut watch::Receiver<Want>,
    updates: &mpsc::Sender<Update>,
) -> Result<std::convert::Infallible, End> {
    let netd = Netd::connect(CALL_TIMEOUT).await?;
    let mut status_due = Instant::now();
    let mut table_due = status_due;
    let mut refresh = None;
    let mut shown = None;
    let mut known = None;
    loop {
        let started = Instant::now();
        let wanted = want.borrow_and_update().clone();
        if refresh != Some(wanted.refresh) || started >= status_due {
            let status = netd.status().await?;
            // What waited may be confirmed or taken back, which is another history as well.
            let waits = status.confirm_by_s != 0;
            let now = (status.generation, waits);
            let other = known.replace(now) != Some(now);
            send(updates, Update::Status(status)).await?;
            if waits {
                send(updates, Update::Comparison(netd.comparison().await?)).await?;
            }
            // Their number is on every screen.
            send(updates, Update::Alarms(netd.alarms().await?)).await?;
            if other {
                send(updates, Update::Generations(netd.history().await?)).await?;
                send(updates, Update::Interfaces(interfaces(&netd).await?)).await?;
            }
            refresh = Some(wanted.refresh);
            status_due = started + if waits { PENDING_PERIOD } else { STATUS_PERIOD };
        }
        // A long table is read more rarely than the status: a countdown does not wait for it.
        if shown.as_ref() != Some(&wanted) || started >= table_due {
            let reading = Instant::now();
            match wanted.screen {
                Screen::Ports => {
                    let ports = netd.ports().await?;
                    send(updates, Update::Ports(Instant::now(), ports)).await?;
                    if let Some(port) = &wanted.port {
                        let discards = netd.discards(vec![port.clone()]).await?;
                        send(updates, Update::Discards(port.clone(), discards)).await?;
                    }
                }
                Screen::Vlans => {
                    let vlans = netd.vlans().await?;
                    send(updates, Update::Vlans(vlans, netd.fdb().await?)).await?;
                }
                Screen::Now | Screen::Log => {}
            }
            let took = reading.elapsed();
            table_due = Instant::now() + pause(period(wanted.screen), took);
            shown = Some(wanted);
        }
        tokio::select! {
            () = time::sleep_until(status_due.min(table_due).into()) => {}
            changed = want.changed() => changed.map_err(|_| Closed)?,
        }
    }
}

/// What completion knows of interfaces; another generation brings others.
async fn interfaces(netd: &Netd) -> Result<Vec<(String, String)>, Error> {
    let lags = netd.lags().await?.into_iter().map(|lag| ("lag".to_owned(), lag.name));
    let others = netd.interfaces().await?.into_iter().map(|row| (row.kind, row.name));
    let clean = |(kind, name): (String, String)| (kind, text::clean(&name));
    Ok(lags.chain(others).map(clean).collect())
}

/// How often a screen's tables are read. A forwarding database may be long.
fn period(screen: Screen) -> Duration {
    match screen {
        Screen::Ports => Duration::from_secs(1),
        Screen::Vlans => Duration::from_secs(2),
        Screen::Now | Screen::Log => STATUS_PERIOD,
    }
}

/// How long to wait after a round that took so long. A long table costs the switch and this session no more than a
/// fifth of their time.
fn pause(period: Duration, took: Duration) -> Duration {
    period.saturating_sub(took).max(4 * took)
}

async fn send(updates: &mpsc::Sender<Update>, update: Update) -> Result<(), Closed> {
    updates.send(update).await.map_err(|_| Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feed_reads_long_tables_more_rarely() {
        let two = Duration::from_secs(2);
        assert_eq!(pause(two, Duration::from_millis(100)), Duration::from_millis(1900));
        assert_eq!(pause(two, Duration::from_secs(3)), Duration::from_secs(12));
    }
}
