//! What changed on the switch, as netd tells it: the last events, then those that come.

use std::time::Duration;

use netd_api::events::Event;
use tokio::sync::mpsc;
use tokio::time::{self, timeout};

use crate::client::{Error, Netd};
use crate::events::Events;

/// How long netd may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// When nothing comes for so long, how things stand has been told.
const QUIET: Duration = Duration::from_millis(300);
/// Events that are asked for of those before.
const BEFORE: u64 = 200;

/// News.
#[derive(Clone, Debug)]
pub enum News {
    /// Events are told from here on: what was shown is outdated.
    Begin,
    /// One.
    Event(Box<Event>),
    /// They cannot be read; why.
    Unreadable(String),
}

/// Feeds the first screen until the screens close.
pub async fn run(news: mpsc::Sender<News>) {
    loop {
        let error = tokio::select! {
            error = follow(&news) => error,
            () = news.closed() => return,
        };
        if news.send(News::Unreadable(error.to_string())).await.is_err() {
            return;
        }
        time::sleep(RETRY_AFTER).await;
    }
}

/// Follows until something fails.
async fn follow(news: &mpsc::Sender<News>) -> Error {
    match try_follow(news).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn try_follow(news: &mpsc::Sender<News>) -> Result<std::convert::Infallible, Error> {
    let netd = Netd::connect(CALL_TIMEOUT).await?;
    let mut events = Events::open(&netd, ("", 0), &[]).await?;
    let mut last: Option<(String, u64)> = None;
    // What is numbered, and how far, is known from how things stand.
    while let Ok(event) = timeout(QUIET, events.next()).await {
        let event = event?;
        last = Some((event.boot_id, event.seq));
    }
    if let Some((boot_id, seq)) = last {
        events = Events::open(&netd, (&boot_id, seq.saturating_sub(BEFORE)), &[]).await?;
    }
    let closed = |_| Error::ReaderGone;
    news.send(News::Begin).await.map_err(closed)?;
    loop {
        let event = events.next().await?;
        news.send(News::Event(Box::new(event))).await.map_err(closed)?;
    }
}
