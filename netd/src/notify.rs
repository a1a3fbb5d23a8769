//! Messages to the service manager (sd_notify(3)): ready, status, watchdog.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sends a message such as `READY=1`. Without a service manager nothing happens.
pub fn notify(message: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!("telling the service manager {message:?}: {error}");
    }
}

/// Shows the watchdog that the engine gets on with its work, which tells long work from a hang. It is told no
/// more often than it asks for.
pub fn alive() {
    static INTERVAL: LazyLock<Option<Duration>> = LazyLock::new(watchdog_interval);
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let Some(interval) = *INTERVAL else { return };
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|told| told.elapsed() >= interval / 2) {
        notify("WATCHDOG=1");
        *told = Some(Instant::now());
    }
}

/// How often to send `WATCHDOG=1`: half of what the service manager waits. `None` when it does not watch.
pub fn watchdog_interval() -> Option<Duration> {
    let own = env::var("WATCHDOG_PID").map_or(Ok(std::process::id()), |text| text.parse()).ok()?;
    let limit_us: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (own == std::process::id() && limit_us > 0).then(|| Duration::from_micros(limit_us) / 2)
}
