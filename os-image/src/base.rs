//! The base system: the listed packages unpacked into a folder, without what the image does not need.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::apt::Fetched;
use crate::cache::Key;
use crate::deb::Control;
use crate::inputs::Inputs;
use crate::packages::Package;
use crate::unpack::{self, Tree};

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

/// Unpacks the packages of the image, or takes an earlier, equal unpacking.
pub fn assemble(inputs: &Inputs) -> Result<Base> {
    let controls = unpack::controls(inputs)?;
    let tree = Tree { what: "the base system", parent: crate::paths::output().join("base") };
    let (dir, key) = tree.unpack(inputs, Key::new("base 2"), |_| Ok(()))?;
    let component = |package| component(package, &controls, &inputs.fetched);
    let components = inputs.list.package.iter().map(component).collect();
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
