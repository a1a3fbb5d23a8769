//! The build, from the package list to the disk image.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache::{self, Key};
use crate::inputs::{self, Inputs};
use crate::{base, binaries, disk, erofs, host, kernel, manifest, overlay, paths, sbom, sysroot};

/// Builds the image and answers its path. Equal inputs are not built twice.
pub fn build(consent: &host::Consent, locked: bool) -> Result<PathBuf> {
    host::ensure_build_tools(consent)?;
    fs::create_dir_all(paths::output())?;
    let inputs = Inputs::read(inputs::IMAGE, locked)?;
    let fetched = &inputs.fetched;
    let kernel = kernel::build(fetched)?;
    let base = base::assemble(&inputs)?;
    let binaries = binaries::build(&sysroot::unpack(fetched)?)?;
    let key = image_key(&base.key, &kernel.key, &binaries)?;
    let image = paths::image();
    let manifest_file = paths::output().join("manifest.json");
    if image.exists() && built_key(&manifest_file).as_deref() == Some(key.as_str()) {
        eprintln!("{:<28} {} (unchanged)", "Disk image", image.display());
        return Ok(image);
    }
    if manifest_file.exists() {
        // From here on the old manifest describes no image.
        fs::remove_file(&manifest_file)?;
    }
    let root = overlay::compose(&base, &kernel, &binaries)?;
    let sealed = erofs::seal(&root)?;
    let image = disk::write(&kernel, &sealed)?;
    let bom = sbom::document(&base, &fetched.lock, &inputs.list.release)?;
    write_json("sbom.cdx.json", &bom)?;
    let manifest = manifest::document(&manifest::Parts {
        image: &image,
        base: &base,
        kernel: &kernel,
        binaries: &binaries,
        root: &sealed,
        fetched,
        unlocked: &inputs.unlocked,
        key: &key,
    })?;
    // The manifest comes last: its key says that everything before it is whole.
    write_json("manifest.json", &manifest)?;
    Ok(image)
}

/// Builds the kernel that only tests boot, and answers where it is. The image is built before, so that the
/// shipped kernel's objects are there to be used.
pub fn test_kernel(locked: bool) -> Result<PathBuf> {
    let inputs = Inputs::read(inputs::IMAGE, locked)?;
    let built = kernel::build_for_tests(&inputs.fetched)?.dir.join("vmlinuz");
    // Beside the image, where the behaviours look for it by themselves.
    let path = paths::test_kernel();
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::copy(&built, &path).with_context(|| format!("copying {}", built.display()))?;
    Ok(path)
}

/// Resolves every package of the image and of peers anew and writes both locks.
pub fn lock(consent: &host::Consent) -> Result<()> {
    host::ensure_build_tools(consent)?;
    [inputs::IMAGE, inputs::PEERS].into_iter().try_for_each(inputs::lock)
}

fn image_key(base: &str, kernel: &str, binaries: &binaries::Binaries) -> Result<String> {
    let mut key = Key::new("image 1");
    key.text(base);
    key.text(kernel);
    for folder in ["rootfs", "platforms", "grub"] {
        key.tree(&paths::os_image().join(folder))?;
    }
    for file in binaries.files.values() {
        key.file(file)?;
    }
    key.file(&std::env::current_exe().context("finding this program")?)?;
    Ok(key.finish())
}

fn built_key(manifest: &std::path::Path) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(manifest).ok()?).ok()?;
    Some(value.get("key")?.as_str()?.to_owned())
}

fn write_json(name: &str, value: &serde_json::Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    cache::write_atomic(&paths::output().join(name), text.as_bytes())
}
