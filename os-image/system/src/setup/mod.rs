//! The set-up dialog of a switch without configuration, on the serial console.
//!
//! [`dialog`] asks, over any reader and writer; [`document`] turns the answers into a switch.toml;
//! [`terminal`] is the console itself. This file puts them together and has netd apply the result.
//! [`unmounted`] speaks instead when the switch may have a configuration that it cannot see.

mod answers;
mod dialog;
mod document;
mod terminal;
mod unmounted;

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use netd_api::bus::Config1Proxy;
use netd_api::descriptor;
use netd_api::generation::ChangeOptions;
use netd_api::paths::STARTUP_CONFIG;

use crate::files;
use dialog::{Dialog, Outcome};
use terminal::Terminal;

/// Asks until a configuration is applied.
pub fn run(root: &Path) -> Result<()> {
    let startup = files::below(root, STARTUP_CONFIG);
    if startup.symlink_metadata().is_ok() {
        eprintln!("the switch has a configuration already: {}", startup.display());
        return Ok(());
    }
    if !files::is_mount_point(&files::below(root, unmounted::MOUNT_POINT)) {
        return unmounted::run(root);
    }
    let terminal = Terminal::open()?;
    let echo = |on: bool| terminal.echo(on);
    let mut dialog = Dialog::new(io::BufReader::new(io::stdin()), io::stdout(), echo, apply);
    loop {
        // End of input and Ctrl-C begin the dialog anew: an unprovisioned switch has nothing else to offer.
        match dialog.run().context("cannot talk to the terminal")? {
            Outcome::Applied => return Ok(()),
            Outcome::Restart => {}
            Outcome::HungUp => anyhow::bail!("the terminal hung up"),
        }
    }
}

/// Has netd check and apply the document.
fn apply(document: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the D-Bus client: {error}"))?;
    let options = ChangeOptions { comment: Some("first set-up".to_owned()), ..ChangeOptions::default() };
    let sent = descriptor::of_text(document).map_err(|error| format!("cannot send the document: {error}"))?;
    let outcome: zbus::Result<u64> = runtime.block_on(async {
        let connection = zbus::Connection::system().await?;
        Config1Proxy::new(&connection).await?.apply(sent.into(), 0, 0, options).await
    });
    match outcome {
        Ok(_) => Ok(()),
        Err(zbus::Error::MethodError(_, Some(message), _)) => Err(message),
        Err(error) => Err(format!("the network daemon does not answer: {error}")),
    }
}
