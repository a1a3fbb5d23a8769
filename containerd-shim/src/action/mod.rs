//! What the program does, one file an action.

pub mod delete;
pub mod info;
pub mod serve;
pub mod start;

use crate::error::{Context, Result};

/// The event loop of every action: one thread.
fn event_loop() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "make the event loop".to_owned())
}
