//! Where log lines go: a FIFO in the bundle that containerd copies to its own log, or standard error.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};
use tracing::Level;

/// Logs to containerd. Without its FIFO (a server started by hand) nothing is logged.
pub fn to_containerd(bundle: &Path, debug: bool) {
    // Opened for reading too, it neither waits for containerd nor breaks when containerd restarts.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if let Ok(fifo) = open(bundle.join("log"), flags, Mode::empty()) {
        let fifo = Arc::new(File::from(fifo));
        install(debug, move || Lossy(fifo.clone()));
    }
}

/// Logs to standard error.
pub fn to_stderr(debug: bool) {
    install(debug, std::io::stderr);
}

fn install<W>(debug: bool, writer: W)
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let level = if debug { Level::DEBUG } else { Level::INFO };
    let targets = tracing_subscriber::filter::Targets::new()
        .with_default(Level::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).without_time();
    // Installed once, at the start of the program.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

/// Drops what does not fit: a shim must not stand still because nobody reads its log.
struct Lossy(Arc<File>);

impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        match (&*self.0).write(line) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(line.len()),
            other => other,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
