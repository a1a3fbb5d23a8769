//! `cargo os soak`: the full counts of the tests that `cargo os test` only samples.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::{build, host, paths, test};

/// What to soak.
#[derive(Args)]
pub struct Options {
    /// Name of the long test; without it, all of them one after the other.
    name: Option<String>,
}

/// Runs long tests. Progress is kept in target/os/soak/NAME.json, so that an interrupted run goes on.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    host::ensure_test_tools(consent)?;
    build::build(consent, locked)?;
    let mut command = Command::new(test::behaviour_program()?);
    command.env("CORTEN_TEST_KERNEL", build::test_kernel(locked)?);
    command.arg("--soak").arg("--soak-dir").arg(paths::output().join("soak"));
    if let Some(name) = &options.name {
        command.arg(name);
    }
    let status = command.env("CORTEN_IMAGE", paths::image()).status().context("starting the long tests")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
