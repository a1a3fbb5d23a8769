//! Content keys: the same inputs give the same key, and a key names a result in the cache.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// A growing digest over named inputs.
pub struct Key(Sha256);

impl Key {
    /// Starts a key; `purpose` keeps keys of different steps apart, and a change of the step's code is
    /// told by a new number in it.
    pub fn new(purpose: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.text(purpose);
        key
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    /// Adds a file's content.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        self.text(&sha256_of(path)?);
        Ok(())
    }

    /// Adds a folder: names, kinds, permissions and contents of all it holds.
    pub fn tree(&mut self, root: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", root.display()))?;
            let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
            self.text(&name.to_string_lossy());
            let kind = entry.file_type();
            if kind.is_symlink() {
                self.text(&fs::read_link(entry.path())?.to_string_lossy());
            } else if kind.is_file() {
                let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
                self.text(if executable { "x" } else { "-" });
                self.file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The key as text, short enough for a file name.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())[..24].to_owned()
    }
}

/// The SHA-256 of a file, hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
        if count == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(&buffer[..count]);
    }
}

/// Removes the file or link at a path, if there is one; a folder in its place is an error.
pub fn clear_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path), path)
}

/// Removes a folder and all in it, if there is one.
pub fn clear_folder(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path), path)
}

fn gone(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("clearing {}", path.display())),
    }
}

/// Writes a file whole or not at all: beside it first, then renamed over it.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    let mut beside = PathBuf::from(path);
    beside.as_mut_os_string().push(".new");
    fs::write(&beside, content).with_context(|| format!("writing {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("renaming onto {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_a_file_takes_a_link_and_leaves_folders() {
        let dir = std::env::temp_dir().join(format!("corten-clear-{}", std::process::id()));
        fs::create_dir_all(dir.join("kept")).unwrap();
        std::os::unix::fs::symlink("kept", dir.join("link")).unwrap();
        clear_file(&dir.join("link")).unwrap();
        clear_file(&dir.join("never there")).unwrap();
        assert!(clear_file(&dir.join("kept")).is_err());
        assert!(dir.join("kept").exists() && dir.join("link").symlink_metadata().is_err());
        clear_folder(&dir).unwrap();
        clear_folder(&dir).unwrap();
        assert!(!dir.exists());
    }
}
