//! The workspace's test programs, compiled by one call of cargo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process;

/// A test program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What cargo calls it: the crate, or the name of the file under `tests`.
    pub name: String,
    /// Its package.
    pub package: String,
    /// The program.
    pub path: PathBuf,
    /// The package's folder, in which cargo runs it.
    pub folder: PathBuf,
}

/// What one call of cargo compiles.
pub struct Compiled {
    /// The test programs.
    pub tests: Vec<Program>,
    /// The program of the behaviours, which comes along since a test of its own runs it.
    pub behaviours: PathBuf,
}

/// Compiles all of them.
pub fn compile() -> Result<Compiled> {
    let mut command = process::cargo();
    command.args([
        "test",
        "--workspace",
        "--locked",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    let messages = process::messages(&command).context("the workspace's tests do not build")?;
    let mut tests: Vec<Program> = messages.iter().filter_map(program).collect();
    ensure!(!tests.is_empty(), "cargo names no test program");
    tests.sort_by(|a, b| (&a.package, &a.name, &a.path).cmp(&(&b.package, &b.name, &b.path)));
    let ours = |message: &&Value| {
        let target = &message["target"];
        target["name"] == BEHAVIOURS && target["kind"][0] == "bin" && message["profile"]["test"] == false
    };
    let behaviours = messages.iter().find(ours).and_then(|message| message["executable"].as_str());
    let behaviours = behaviours.with_context(|| format!("cargo built no {BEHAVIOURS}"))?.into();
    Ok(Compiled { tests, behaviours })
}

/// The program of the behaviours.
const BEHAVIOURS: &str = "qemu-tests";

/// The test program that a message of cargo is about.
fn program(message: &Value) -> Option<Program> {
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let folder = manifest.parent()?.to_owned();
    // `path+file:///…/netd#0.1.0` or `path+file:///…/api#netd-api@0.1.0`
    let id = message["package_id"].as_str()?;
    let (path, version) = id.rsplit_once('#')?;
    let package = version.split_once('@').map_or_else(|| path.rsplit('/').next(), |(name, _)| Some(name))?;
    Some(Program {
        name: message["target"]["name"].as_str()?.replace('-', "_"),
        package: package.to_owned(),
        path: message["executable"].as_str()?.into(),
        folder,
    })
}

/// The program of this name of a package.
pub fn find<'a>(programs: &'a [Program], package: &str, name: &str) -> Result<&'a Program> {
    let fits = |program: &&Program| program.package == package && program.name == name;
    programs.iter().find(fits).with_context(|| format!("{package} has no test program {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_read_from_the_messages_of_cargo() {
        let message = |package_id: &str, test: bool| {
            serde_json::json!({
                "reason": "compiler-artifact", "package_id": package_id, "manifest_path": "/c/netd/api/Cargo.toml",
                "target": { "name": "config-hostile" }, "profile": { "test": test }, "executable": "/c/target/x-1",
            })
        };
        let found = program(&message("path+file:///c/netd/api#netd-api@0.1.0", true)).unwrap();
        assert_eq!((&*found.package, &*found.name), ("netd-api", "config_hostile"));
        assert_eq!(found.folder, Path::new("/c/netd/api"));
        assert_eq!(program(&message("path+file:///c/netd#0.1.0", true)).unwrap().package, "netd");
        assert!(program(&message("path+file:///c/netd#0.1.0", false)).is_none());
        assert!(program(&serde_json::json!({ "reason": "build-finished" })).is_none());
    }
}
