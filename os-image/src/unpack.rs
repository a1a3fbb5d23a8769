//! Roots of packages: a list's packages unpacked into a folder that is named by its content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache::{self, Key};
use crate::deb::{self, Control};
use crate::inputs::Inputs;
use crate::progress::Step;

/// Folders that are links into /usr (the merged-/usr layout of the release).
const MERGED: &[&str] = &["bin", "lib", "lib64", "sbin"];

/// A kind of root.
pub struct Tree {
    /// What it is, for the person who waits.
    pub what: &'static str,
    /// Where roots of its kind are.
    pub parent: PathBuf,
}

impl Tree {
    /// Unpacks the packages and lets `finish` add to them, or takes an earlier, equal root; answers its folder and key.
    /// `key` has what `finish` depends on.
    pub fn unpack(
        &self,
        inputs: &Inputs,
        mut key: Key,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<(PathBuf, String)> {
        key.file(&inputs.file())?;
        for package in &inputs.list.package {
            key.text(&inputs.fetched.lock[&package.name].sha256);
        }
        let key = key.finish();
        let dir = self.parent.join(&key);
        if !dir.exists() {
            let partial = self.parent.join("partial");
            cache::clear_folder(&partial)?;
            self.unpack_all(inputs, &partial)?;
            finish(&partial)?;
            fs::rename(&partial, &dir)?;
        }
        Ok((dir, key))
    }

    fn unpack_all(&self, inputs: &Inputs, root: &Path) -> Result<()> {
        fs::create_dir_all(root.join("usr"))?;
        for name in MERGED {
            fs::create_dir_all(root.join("usr").join(name))?;
            symlink(format!("usr/{name}"), root.join(name))?;
        }
        let list = &inputs.list;
        let mut step = Step::begin(&format!("Unpacking {}", self.what), list.package.len() as u64);
        for (count, package) in list.package.iter().enumerate() {
            step.at(count as u64, &package.name);
            let keep = |path: &str| {
                let dropped = list.drop.iter().chain(&package.drop).any(|pattern| covers(pattern, path));
                // Licences travel with the programs they cover.
                !dropped || (path.starts_with("usr/share/doc/") && path.ends_with("/copyright"))
            };
            deb::unpack(&inputs.fetched.file(&package.name)?, root, &keep)
                .with_context(|| package.name.clone())?;
        }
        step.done(&format!("{} packages", list.package.len()));
        Ok(())
    }
}

/// The control files of a list's packages, by name. Every dependency of a listed package is listed too, or is left out
/// for a stated reason.
pub fn controls(inputs: &Inputs) -> Result<BTreeMap<String, Control>> {
    let mut controls = BTreeMap::new();
    for package in &inputs.list.package {
        controls.insert(package.name.clone(), deb::control(&inputs.fetched.file(&package.name)?)?);
    }
    let missing = missing(&controls, &inputs.list.omitted);
    if missing.is_empty() {
        return Ok(controls);
    }
    bail!("{}.toml: list these or say under [omitted] why not:\n  {}", inputs.name, missing.join("\n  "))
}

fn missing(controls: &BTreeMap<String, Control>, omitted: &BTreeMap<String, String>) -> Vec<String> {
    let provided: BTreeSet<String> = controls.values().flat_map(Control::provides).collect();
    let mut missing = Vec::new();
    for (name, control) in controls {
        for group in control.depends() {
            if group.iter().any(|n| provided.contains(n) || omitted.contains_key(n)) {
                continue;
            }
            missing.push(format!("{name} depends on {}", group.join(" | ")));
        }
    }
    missing
}

/// Whether a pattern names the path or a folder above it.
fn covers(pattern: &str, path: &str) -> bool {
    let mut names = path.split('/');
    pattern.split('/').all(|part| names.next().is_some_and(|name| matches(part, name)))
}

/// Whether a name fits a pattern part with `*` for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|i| rest.get(i..).is_some_and(|r| matches(tail, r)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_a_folder_and_all_below_it() {
        assert!(covers("usr/share/doc", "usr/share/doc/udev/copyright"));
        assert!(covers("etc/rc*.d", "etc/rc0.d/K01"));
        assert!(!covers("usr/share/doc", "usr/share/doc-base/x"));
        assert!(!covers("usr/share/doc/x", "usr/share/doc"));
    }

    #[test]
    fn a_star_stands_for_any_text_within_a_name() {
        assert!(matches("*.link", "99-default.link"));
        assert!(matches("a*c*e", "abcde"));
        assert!(!matches("a*c", "abd"));
    }

    #[test]
    fn dependency_that_is_neither_listed_nor_omitted_is_missing() {
        let fields = [("Package", "bird2"), ("Depends", "libc6 (>= 2.38), ucf, libssh-4 | libssh")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let controls = BTreeMap::from([("bird2".to_owned(), Control { fields: fields.into() })]);
        let omitted = ["libc6", "ucf"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(missing(&controls, &omitted.into()), ["bird2 depends on libssh-4 | libssh"]);
    }
}
