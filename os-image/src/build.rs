//! The build, from the package list to the disk image.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::apt::{self, Fetched};
use crate::cache::{self, Key};
use crate::packages::{self, List};
use crate::{base, binaries, disk, erofs, host, kernel, manifest, overlay, paths, sbom, sysroot};

/// Builds the image and answers its path. Equal inputs are not built twice.
pub fn build(consent: &host::Consent, locked: bool) -> Result<PathBuf> {
    host::ensure_build_tools(consent)?;
    fs::create_dir_all(paths::output())?;
    let (list, fetched, unlocked) = inputs(locked)?;
    let kernel = kernel::build(&fetched)?;
    let base = base::assemble(&list, &fetched)?;
    let binaries = binaries::build(&sysroot::unpack(&fetched)?)?;
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
    let bom = sbom::document(&base, &fetched.lock, &list.release)?;
    write_json("sbom.cdx.json", &bom)?;
    let manifest = manifest::document(&manifest::Parts {
        image: &image,
        base: &base,
        kernel: &kernel,
        binaries: &binaries,
        root: &sealed,
        fetched: &fetched,
        unlocked: &unlocked,
        key: &key,
    })?;
    // The manifest comes last: its key says that everything before it is whole.
    write_json("manifest.json", &manifest)?;
    Ok(image)
}

/// Builds the kernel that only tests boot, and answers where it is. The image is built before, so that the
/// shipped kernel's objects are there to be used.
pub fn test_kernel(locked: bool) -> Result<PathBuf> {
    let (_, fetched, _) = inputs(locked)?;
    let built = kernel::build_for_tests(&fetched)?.dir.join("vmlinuz");
    // Beside the image, where the behaviours look for it by themselves.
    let path = paths::test_kernel();
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::copy(&built, &path).with_context(|| format!("copying {}", built.display()))?;
    Ok(path)
}

/// Resolves every package anew and writes the lock.
pub fn lock(consent: &host::Consent) -> Result<()> {
    host::ensure_build_tools(consent)?;
    let list = List::read(&paths::os_image().join("packages.toml"))?;
    let names: Vec<&str> = list.names().collect();
    let fetched = apt::fetch(&list.release, &names, &packages::Lock::new(), false)?;
    let path = paths::os_image().join("packages.lock");
    cache::write_atomic(&path, packages::lock_text(&fetched.lock).as_bytes())?;
    eprintln!("{:<28} {}", "Locked", path.display());
    Ok(())
}

/// The package list, its packages, and those that are not what the lock file pins.
fn inputs(locked: bool) -> Result<(List, Fetched, Vec<String>)> {
    let list = List::read(&paths::os_image().join("packages.toml"))?;
    let pinned = packages::read_lock(&paths::os_image().join("packages.lock"))?;
    let names: Vec<&str> = list.names().collect();
    if locked {
        let fetched = apt::fetch(&list.release, &names, &pinned, true)?;
        return Ok((list, fetched, Vec::new()));
    }
    // What vanished pins were resolved to is kept beside the cache, so that the next build needs no network.
    let mut key = Key::new("resolved 1");
    key.text(&packages::lock_text(&pinned));
    let resolved_file = paths::cache()?.join("resolved").join(key.finish());
    let mut wanted = pinned.clone();
    wanted.extend(packages::read_lock(&resolved_file)?);
    let fetched = apt::fetch(&list.release, &names, &wanted, false)?;
    let unlocked = fetched.unlocked(&pinned);
    if !unlocked.is_empty() {
        cache::write_atomic(&resolved_file, packages::lock_text(&fetched.lock).as_bytes())?;
    }
    Ok((list, fetched, unlocked))
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
