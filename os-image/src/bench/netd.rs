//! netd's own benchmark: on the host's kernel, then in the booted image.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{paths, process, test};

/// What the benchmark calls, and the image does not have. BIRD is in it where this host has it.
const GUEST_TOOLS: [&str; 5] =
    ["/usr/sbin/ip", "/usr/sbin/bridge", "/usr/bin/unshare", "/usr/sbin/bird", "/usr/bin/bird"];

/// Measures; answers whether all could be measured. Rows go to netd.json and netd-guest.json.
pub fn measure() -> Result<bool> {
    let program = program()?;
    let folder = paths::output().join("bench");
    fs::create_dir_all(&folder)?;
    println!("netd on this host's kernel");
    let mut on_host = Command::new(&program);
    on_host.arg("--json").arg(folder.join("netd.json"));
    let mut good = on_host.status().context("starting netd's benchmark")?.success();
    println!("netd in the booted image");
    let mut in_guest = Command::new(test::behaviour_program()?);
    in_guest.arg("--bench").arg("--bench-dir").arg(&folder).arg("--tool").arg(&program);
    for tool in GUEST_TOOLS.iter().map(Path::new).filter(|tool| tool.exists()) {
        in_guest.arg("--tool").arg(tool);
    }
    in_guest.env("CORTEN_IMAGE", paths::image());
    good &= in_guest.status().context("starting the measurements in the guest")?.success();
    Ok(good)
}

/// Builds the benchmark and answers where it is, under a name without hashes.
fn program() -> Result<PathBuf> {
    let mut command = process::cargo();
    command.args(["bench", "--locked", "--package", "netd", "--bench", "netd", "--no-run"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut built = None;
    for line in BufReader::new(output).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["target"]["kind"][0] == "bench" {
            built = message["executable"].as_str().map(PathBuf::from).or(built);
        }
    }
    ensure!(child.wait()?.success(), "netd's benchmark does not build");
    let built = built.context("cargo names no benchmark")?;
    let program = paths::output().join("netd-bench");
    fs::copy(&built, &program).with_context(|| format!("copying {}", built.display()))?;
    Ok(program)
}
