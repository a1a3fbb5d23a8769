//! Threads for what callers ask: they give way to the engine, to its watchers of links, and to what else the switch
//! does.

use std::io;

use rustix::process::setpriority_process;
use rustix::thread::gettid;

/// How far they give way (nice(2)). Never less than the process itself.
const NICENESS: i32 = 10;

/// Starts a thread of this name.
///
/// # Errors
/// When there is no more room for one.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        // On Linux a thread has a priority of its own. Where it cannot be had, the work is done all the same.
        if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
            tracing::debug!("giving way: {error}");
        }
        work();
    })?;
    Ok(())
}
