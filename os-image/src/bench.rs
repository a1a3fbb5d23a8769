//! `cargo os bench`: measurements of the image and of the booted switch, as files and as lines.

mod netd;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use qemu_tests::measure::{self, Measurement};
use serde_json::Value;

use crate::{build, guard, host, paths, peers, test};

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Only the measurements of this name: `image` (sizes), `boot` (times) or `netd` (routes and VLANs beside
    /// `ip -batch`, `bridge -batch`, BIRD and the kernel alone; tables that are shown beside `ip` and `bridge`; a change
    /// beside a viewer; links that go down; the switch at rest, its memory).
    /// Default: all.
    #[arg(value_parser = ["image", "boot", "netd"])]
    name: Option<String>,
}

/// Builds what is to be measured, measures it and prints the rows.
pub fn run(consent: &host::Consent, locked: bool, options: &Options) -> Result<ExitCode> {
    let wants = |name: &str| options.name.as_deref().is_none_or(|wanted| wanted == name);
    let mut good = true;
    if wants("netd") {
        host::ensure_bench_tools(consent)?;
    }
    build::build(consent, locked)?;
    if wants("netd") {
        peers::assemble(locked)?;
        good &= netd::measure()?;
    }
    if wants("image") {
        write_image_sizes()?;
    }
    if wants("boot") {
        let mut command = test::behaviour_command()?;
        command.arg("--bench-dir").arg(paths::output().join("bench")).args(["--jobs", "1"]);
        command.arg("the image boots by");
        good &= guard::status(&command)?.success();
    }
    print_measurements()?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the sizes of the image, its root, kernel and programs to target/os/bench/image.json.
pub fn write_image_sizes() -> Result<()> {
    let path = paths::output().join("manifest.json");
    let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: Value = serde_json::from_slice(&text)?;
    let row = |name: &str, pointer: &str| -> Result<Measurement> {
        let bytes = manifest
            .pointer(pointer)
            .and_then(Value::as_u64)
            .with_context(|| format!("no {pointer} in the manifest"))?;
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 bytes")]
        Ok(Measurement::new(name, bytes as f64 / 1e6, "MB"))
    };
    let mut rows = vec![
        row("disk image, full size", "/image/bytes")?,
        row("disk image, allocated", "/allocated_bytes")?,
        row("root file system (erofs)", "/root/erofs_bytes")?,
        row("kernel", "/kernel/vmlinuz/bytes")?,
    ];
    if let Some(programs) = manifest["programs"].as_object() {
        for name in programs.keys() {
            rows.push(row(&format!("program {name}"), &format!("/programs/{name}/bytes"))?);
        }
    }
    measure::write(&paths::output().join("bench"), "image", &rows)
}

/// Prints every row under target/os/bench.
pub fn print_measurements() -> Result<()> {
    let folder = paths::output().join("bench");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    let mut files: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    for file in files {
        let rows: Vec<Measurement> =
            serde_json::from_slice(&fs::read(&file)?).with_context(|| format!("in {}", file.display()))?;
        println!("Measured: {}", file.display());
        for row in rows {
            println!("  {:<60} {:>10.2} {}{}", row.name, row.value, row.unit, row.remarks());
        }
    }
    Ok(())
}
