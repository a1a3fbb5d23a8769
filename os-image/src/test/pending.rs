//! The file that says that the kernel that only tests boot is still being built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use qemu_tests::machine;

/// The file; dropping it removes it. Whoever waits for the kernel then goes on, with it or without.
pub struct Pending(PathBuf);

impl Pending {
    /// Says that this process builds a kernel.
    pub fn new(kernel: &Path) -> Result<Pending> {
        let path = machine::pending(kernel);
        // Whoever finds it looks whether this process is still there.
        fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Pending(path))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("error: removing {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_whose_build_panics_is_awaited_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("vmlinuz");
        let pending = Pending::new(&kernel).unwrap();
        let path = machine::pending(&kernel);
        assert!(path.exists());
        let built = std::thread::spawn(move || {
            let _until_built = pending;
            panic!("the build panics");
        });
        assert!(built.join().is_err());
        assert!(!path.exists(), "it is awaited for ever");
    }
}
