//! Package lists (`packages.toml` of the image, `peers.toml` of peers) and the versions they were last resolved to
//! (`packages.lock`, `peers.lock`).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What a list says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Name of the Debian release.
    pub release: String,
    /// Paths, relative to the root, that no package may bring; `*` stands for any text without `/`.
    pub drop: Vec<String>,
    /// Packages of the root.
    pub package: Vec<Package>,
    /// Dependencies of theirs that the root goes without, and why it can.
    pub omitted: BTreeMap<String, String>,
    /// Packages that are only linked against or built from, never shipped.
    #[serde(default)]
    pub build: Vec<Package>,
}

/// A package and why it is here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Debian's name for it.
    pub name: String,
    /// The reason it is in the root.
    pub why: String,
    /// Paths of this package that the root leaves out.
    #[serde(default)]
    pub drop: Vec<String>,
}

impl List {
    /// Reads a list.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Every name the build fetches, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.package.iter().chain(&self.build).map(|package| package.name.as_str())
    }
}

/// A package version, pinned by content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Debian version.
    pub version: String,
    /// SHA-256 of the .deb, hexadecimal.
    pub sha256: String,
}

/// Pins by package name.
pub type Lock = BTreeMap<String, Pin>;

/// Reads a lock: a line a package, `name version sha256`. A missing file is an empty lock.
pub fn read_lock(path: &Path) -> Result<Lock> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
        .map(|(index, line)| {
            parse_lock_line(line).with_context(|| format!("{}:{}", path.display(), index + 1))
        })
        .collect()
}

fn parse_lock_line(line: &str) -> Result<(String, Pin)> {
    let mut words = line.split_whitespace();
    let mut word = |what: &str| words.next().map(str::to_owned).with_context(|| format!("no {what}"));
    Ok((word("name")?, Pin { version: word("version")?, sha256: word("sha256")? }))
}

/// The text of a lock.
pub fn lock_text(lock: &Lock) -> String {
    let mut text = String::from("# Written by `cargo os lock`: name, version and SHA-256 of each package.\n");
    for (name, pin) in lock {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} {} {}", pin.version, pin.sha256);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_survives_writing_and_reading() {
        let pin = Pin { version: "1:2.3-4".into(), sha256: "ab".into() };
        let lock = Lock::from([("udev".to_owned(), pin.clone())]);
        let parsed =
            lock_text(&lock).lines().skip(1).map(|line| parse_lock_line(line).unwrap()).collect::<Lock>();
        assert_eq!(parsed.get("udev"), Some(&pin));
    }

    #[test]
    fn a_lock_line_without_a_hash_is_an_error() {
        assert!(parse_lock_line("udev 257").is_err());
    }

    #[test]
    fn every_package_has_a_reason() {
        for name in ["packages.toml", "peers.toml"] {
            let list = List::read(&crate::paths::os_image().join(name)).unwrap();
            for package in list.package.iter().chain(&list.build) {
                assert!(package.why.len() > 8, "{} has no reason", package.name);
            }
            for (name, why) in &list.omitted {
                assert!(why.len() > 8, "{name} has no reason");
            }
        }
    }

    #[test]
    fn every_package_is_pinned() {
        for name in ["packages", "peers"] {
            let file = |ending: &str| crate::paths::os_image().join(format!("{name}.{ending}"));
            let (list, lock) = (List::read(&file("toml")).unwrap(), read_lock(&file("lock")).unwrap());
            let listed: std::collections::BTreeSet<&str> = list.names().collect();
            assert_eq!(lock.keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), listed);
        }
    }
}
