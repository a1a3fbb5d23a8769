//! The sysroot: the image's own C library and headers, which our programs link against.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::Result;

use crate::apt::Fetched;
use crate::cache::{self, Key};
use crate::deb;

/// Packages of the sysroot.
const PACKAGES: &[&str] = &["libc6", "libc6-dev", "linux-libc-dev", "libgcc-s1"];

/// Unpacks the sysroot, or takes an earlier one, and answers its folder.
pub fn unpack(fetched: &Fetched) -> Result<PathBuf> {
    let mut key = Key::new("sysroot 1");
    for name in PACKAGES {
        key.text(&fetched.lock[*name].sha256);
    }
    let parent = crate::paths::output().join("sysroot");
    let dir = parent.join(key.finish());
    if dir.exists() {
        return Ok(dir);
    }
    let partial = parent.join("partial");
    cache::clear_folder(&partial)?;
    for name in ["lib", "lib64"] {
        fs::create_dir_all(partial.join("usr").join(name))?;
        symlink(format!("usr/{name}"), partial.join(name))?;
    }
    for name in PACKAGES {
        deb::unpack(&fetched.file(name)?, &partial, &|path| !path.starts_with("usr/share"))?;
    }
    fs::rename(&partial, &dir)?;
    Ok(dir)
}
