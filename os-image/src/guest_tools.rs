//! Programs that tests and measurements run in the guest, whose image has none of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{paths, process};

/// The agent's package and program.
const AGENT: &str = "corten-test-agent";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What our own programs call. `ctr` is for the shim's tests alone, which do without the image's.
const OTHERS: [&str; 5] =
    ["/usr/sbin/ip", "/usr/sbin/bridge", "/usr/sbin/ethtool", "/usr/bin/unshare", "/usr/bin/ctr"];

/// Hands programs of ours, and what they call, to the behaviours' program.
pub fn pass(command: &mut Command, programs: &[PathBuf]) {
    let others = OTHERS.iter().map(Path::new).filter(|tool| tool.exists());
    for tool in programs.iter().map(PathBuf::as_path).chain(others) {
        command.arg("--tool").arg(tool);
    }
}

/// Builds a test or a benchmark of the workspace and puts it where it is under a name without hashes.
/// `arguments` are cargo's, `target` is its name of the program.
pub fn build(arguments: &[&str], target: &str, name: &str) -> Result<PathBuf> {
    keep(&built(arguments, target)?, name)
}

/// Puts a program where it is under a name without hashes.
pub fn keep(built: &Path, name: &str) -> Result<PathBuf> {
    let program = paths::output().join(name);
    fs::create_dir_all(paths::output())?;
    fs::copy(built, &program).with_context(|| format!("copying {}", built.display()))?;
    Ok(program)
}

/// Builds the agent that runs in the guests of tests: linked with nothing, so that it runs in any.
pub fn agent() -> Result<PathBuf> {
    let mut command = process::cargo();
    command.args(["build", "--quiet", "--release", "--locked", "--target", TARGET, "--package", AGENT]);
    // A folder of its own, since its flags are others than those of the image's programs.
    let folder = paths::output().join("agent");
    command.env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    process::compile(command.env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    let program = paths::output().join("test").join(AGENT);
    fs::create_dir_all(program.parent().unwrap_or(&program))?;
    let built = folder.join(TARGET).join("release").join(AGENT);
    fs::copy(&built, &program).with_context(|| format!("copying {}", built.display()))?;
    Ok(program)
}

/// Builds such a program and answers where cargo put it.
pub fn built(arguments: &[&str], target: &str) -> Result<PathBuf> {
    let mut command = process::cargo();
    command.args(arguments).args(["--locked", "--no-run", "--message-format", "json-render-diagnostics"]);
    let messages = process::messages(&command).with_context(|| format!("{target} does not build"))?;
    // The daemon itself may have the same name.
    let ours =
        |message: &&Value| message["target"]["name"] == target && message["target"]["kind"][0] != "bin";
    let program =
        messages.iter().filter(ours).find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.with_context(|| format!("cargo names no program {target}"))
}
