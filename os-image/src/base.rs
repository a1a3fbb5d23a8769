//! The base system: the listed packages unpacked into a folder, without what the image does not need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::Fetched;
use crate::cache::{self, Key};
use crate::deb::{self, Control};
use crate::packages::{List, Package};
use crate::progress::Step;

/// A package of the image, for the manifest and the bill of materials.
pub struct Component {
    /// Debian's name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// SHA-256 of the .deb.
    pub sha256: String,
    /// The reason it is in the image.
    pub why: String,
    /// Home page of the upstream project, empty when not told.
    pub homepage: String,
}

/// The unpacked base system and what is in it.
pub struct Base {
    /// The folder. Shared between builds: copy, never change it.
    pub dir: PathBuf,
    /// The key of its content.
    pub key: String,
    /// Its packages.
    pub components: Vec<Component>,
}

/// Folders that are links into /usr (the merged-/usr layout of the release).
const MERGED: &[&str] = &["bin", "lib", "lib64", "sbin"];

/// Unpacks the packages of the image, or takes an earlier, equal unpacking.
pub fn assemble(list: &List, fetched: &Fetched) -> Result<Base> {
    let mut controls = BTreeMap::new();
    for package in &list.package {
        controls.insert(package.name.clone(), deb::control(&fetched.file(&package.name)?)?);
    }
    check_closure(list, &controls)?;
    let mut key = Key::new("base 2");
    key.file(&crate::paths::os_image().join("packages.toml"))?;
    for package in &list.package {
        key.text(&fetched.lock[&package.name].sha256);
    }
    let key = key.finish();
    let parent = crate::paths::output().join("base");
    let dir = parent.join(&key);
    if !dir.exists() {
        let partial = parent.join("partial");
        cache::clear_folder(&partial)?;
        unpack_all(list, fetched, &partial)?;
        fs::rename(&partial, &dir)?;
    }
    let components = list.package.iter().map(|package| component(package, &controls, fetched)).collect();
    Ok(Base { dir, key, components })
}

fn component(package: &Package, controls: &BTreeMap<String, Control>, fetched: &Fetched) -> Component {
    let pin = &fetched.lock[&package.name];
    Component {
        name: package.name.clone(),
        version: pin.version.clone(),
        sha256: pin.sha256.clone(),
        why: package.why.clone(),
        homepage: controls.get(&package.name).map_or("", |control| control.get("Homepage")).to_owned(),
    }
}

/// Every dependency of a listed package is listed too, or is left out for a stated reason.
fn check_closure(list: &List, controls: &BTreeMap<String, Control>) -> Result<()> {
    let provided: BTreeSet<String> = controls.values().flat_map(Control::provides).collect();
    let mut missing = Vec::new();
    for (name, control) in controls {
        for group in control.depends() {
            if group.iter().any(|n| provided.contains(n) || list.omitted.contains_key(n)) {
                continue;
            }
            missing.push(format!("{name} depends on {}", group.join(" | ")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("packages.toml: list these or say under [omitted] why not:\n  {}", missing.join("\n  "))
}

fn unpack_all(list: &List, fetched: &Fetched, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("usr"))?;
    for name in MERGED {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let mut step = Step::begin("Unpacking the base system", list.package.len() as u64);
    for (count, package) in list.package.iter().enumerate() {
        step.at(count as u64, &package.name);
        let keep = |path: &str| {
            let dropped = list.drop.iter().chain(&package.drop).any(|pattern| covers(pattern, path));
            // Licences travel with the programs they cover.
            !dropped || (path.starts_with("usr/share/doc/") && path.ends_with("/copyright"))
        };
        deb::unpack(&fetched.file(&package.name)?, root, &keep).with_context(|| package.name.clone())?;
    }
    step.done(&format!("{} packages", list.package.len()));
    Ok(())
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
}
