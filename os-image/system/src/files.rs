//! Files that are whole or not there: written beside, flushed, renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use netd_api::config::{self, Config, MAX_DOCUMENT_BYTES};
use netd_api::diagnostic::Diagnostic;

/// An absolute path of the switch, below the folder that stands for its root.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Whether a file system is mounted at this folder. Told by the device, not by the table of mounts:
/// systemd binds folders onto themselves in a service's own view of the file system.
pub fn is_mount_point(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    let parent = folder.parent().unwrap_or(folder);
    matches!((device(folder), device(parent)), (Ok(own), Ok(parent)) if own != parent)
}

/// Makes a folder with its parents.
pub fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Writes a file so that a power cut leaves the old content or the new, never a part.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    write_inner(path, content, mode).with_context(|| format!("cannot write {}", path.display()))
}

fn write_inner(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let beside = folder.join(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    // The umask has no say in how secret a file is.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// Writes a file unless it has this content and mode already. Answers whether it had not.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    let same = |file: &mut File| -> io::Result<bool> {
        let metadata = file.metadata()?;
        if metadata.permissions().mode() & 0o7777 != mode || metadata.len() != content.len() as u64 {
            return Ok(false);
        }
        let mut current = Vec::new();
        file.take(content.len() as u64 + 1).read_to_end(&mut current)?;
        Ok(current == content)
    };
    if File::open(path).and_then(|mut file| same(&mut file)).unwrap_or(false) {
        return Ok(false);
    }
    write(path, content, mode)?;
    Ok(true)
}

/// Reads a configuration document; `None` when there is no such file.
///
/// # Errors
/// A file that cannot be read. One that is too large is cut off beyond the limit, for the parser to refuse.
pub fn read_document(path: &Path) -> Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot open {}", path.display()))?,
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_DOCUMENT_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
    Ok(Some(text))
}

/// Parses a document, or gives all its mistakes in one error, a line each.
pub fn parse(name: &str, text: &str) -> Result<Config> {
    config::parse(text).map_err(|diagnostics| anyhow::anyhow!("{}", explain(name, &diagnostics)))
}

/// Mistakes as a compiler would print them.
pub fn explain(name: &str, diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(|diagnostic| format!("{name}:{diagnostic}")).collect();
    let count = match diagnostics.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    };
    format!("{count} in the configuration\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_told_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_mount_point(folder.path()));
        assert!(!is_mount_point(&folder.path().join("nothing")));
        assert!(is_mount_point(Path::new("/proc")));
    }

    #[test]
    fn a_file_is_written_once_and_gets_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert!(write_if_changed(&path, b"one", 0o600).unwrap());
        assert!(!write_if_changed(&path, b"one", 0o600).unwrap());
        assert!(write_if_changed(&path, b"one", 0o644).unwrap());
        assert!(write_if_changed(&path, b"two", 0o644).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
