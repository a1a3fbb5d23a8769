//! The configuration on disk: the document netd applies at start, and past generations.
//!
//! Files are replaced atomically and synced, so that a power cut leaves the old or the new one whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Generations kept.
const KEPT_GENERATIONS: usize = 50;
/// Folder of generations, beside the startup document.
const GENERATIONS: &str = "generations";
/// Where a startup document that was refused is kept when another one takes its place.
const REFUSED: &str = "startup.refused.toml";

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {action}: {source}", path.display())]
pub struct StoreError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError { path, action, source }
}

/// Replaces a file so that readers, and a power cut, meet the old or the new one whole.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let prepared = prepare(path, content, mode)?;
    fs::rename(&prepared, path)?;
    sync_folder(path)
}

/// Writes and syncs the new content beside the file.
fn prepare(path: &Path, content: &[u8], mode: u32) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let prepared = path.with_file_name(name);
    // A left-over of a crash may have another mode.
    match fs::remove_file(&prepared) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&prepared)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&prepared);
        return Err(error);
    }
    Ok(prepared)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    startup: PathBuf,
    running: PathBuf,
}

/// A document that is written and synced but not yet the startup document. Dropping it discards it.
pub struct Prepared {
    new: Option<PathBuf>,
    startup: PathBuf,
    generation: PathBuf,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(new) = &self.new {
            let _ = fs::remove_file(new);
            let _ = fs::remove_file(&self.generation);
        }
    }
}

impl Store {
    /// A store with its startup document and the published running document at these paths.
    pub fn new(startup: &Path, running: &Path) -> Store {
        Store { startup: startup.to_owned(), running: running.to_owned() }
    }

    fn generations(&self) -> PathBuf {
        self.startup.with_file_name(GENERATIONS)
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(format!("{number}.toml"))
    }

    /// The startup document; `None` on a switch that has none yet.
    pub fn startup(&self) -> Result<Option<String>, StoreError> {
        match fs::read_to_string(&self.startup) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&self.startup, "reading")(error)),
        }
    }

    /// Numbers of the generations on disk, in order.
    pub fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.generations()).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok();
        let mut numbers: Vec<u64> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The document of a generation.
    pub fn past(&self, number: u64) -> Result<String, StoreError> {
        let path = self.generation(number);
        fs::read_to_string(&path).map_err(failed(&path, "reading"))
    }

    /// Keeps a startup document that was refused beside the one that is to take its place: it is no
    /// generation, and somebody's work. Linked, not copied: it may be one that cannot be read.
    pub fn keep_refused(&self) {
        let kept = self.startup.with_file_name(REFUSED);
        let removed = match fs::remove_file(&kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        if let Err(error) = removed.and_then(|()| fs::hard_link(&self.startup, &kept)) {
            tracing::warn!("{}: keeping the refused startup configuration: {error}", kept.display());
        }
    }

    /// Number of the last generation; 0 when there is none.
    pub fn last_generation(&self) -> u64 {
        self.numbers().last().copied().unwrap_or(0)
    }

    /// Whether the last generation is this document.
    pub fn is_last(&self, document: &str) -> bool {
        let last = self.last_generation();
        last != 0 && fs::read_to_string(self.generation(last)).is_ok_and(|text| text == document)
    }

    /// Writes a document as a new generation, ready to become the startup document. Fails while nothing
    /// has been changed yet, for example on a full partition.
    pub fn prepare(&self, number: u64, document: &str) -> Result<Prepared, StoreError> {
        let (folder, generation) = (self.generations(), self.generation(number));
        fs::create_dir_all(&folder).map_err(failed(&folder, "making the folder"))?;
        let bytes = document.as_bytes();
        write_atomically(&generation, bytes, 0o600).map_err(failed(&generation, "writing"))?;
        let prepared = prepare(&self.startup, bytes, 0o600).map_err(failed(&self.startup, "writing"));
        if prepared.is_err() {
            let _ = fs::remove_file(&generation);
        }
        Ok(Prepared { new: Some(prepared?), startup: self.startup.clone(), generation })
    }

    /// Removes generations beyond those kept.
    pub fn tidy(&self) {
        let numbers = self.numbers();
        for number in &numbers[..numbers.len().saturating_sub(KEPT_GENERATIONS)] {
            let path = self.generation(*number);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("{}: removing: {error}", path.display());
            }
        }
    }

    /// Publishes the running document for readers of this boot.
    pub fn publish(&self, document: &str) -> Result<(), StoreError> {
        if let Some(folder) = self.running.parent() {
            fs::create_dir_all(folder).map_err(failed(folder, "making the folder"))?;
        }
        // Password hashes are in it, so only root may read it.
        write_atomically(&self.running, document.as_bytes(), 0o600).map_err(failed(&self.running, "writing"))
    }
}

impl Prepared {
    /// Makes the document the startup document.
    pub fn commit(mut self) -> Result<(), StoreError> {
        if let Some(new) = &self.new {
            fs::rename(new, &self.startup).map_err(failed(&self.startup, "replacing"))?;
            self.new = None;
            // The rename is done; a folder that cannot be synced is no reason to undo the network.
            if let Err(error) = sync_folder(&self.startup) {
                tracing::warn!("{}: syncing its folder: {error}", self.startup.display());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("netd-store-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn store(&self) -> Store {
            Store::new(&self.0.join("startup.toml"), &self.0.join("run/running.toml"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_prepared_document_that_is_dropped_leaves_nothing() {
        let folder = Folder::new("drop");
        let store = folder.store();
        store.prepare(1, "one").unwrap().commit().unwrap();
        drop(store.prepare(2, "two").unwrap());
        assert_eq!(store.startup().unwrap().as_deref(), Some("one"));
        assert_eq!(store.last_generation(), 1);
        assert!(store.is_last("one"));
        let names: Vec<_> =
            fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{names:?}");
    }

    #[test]
    fn a_refused_startup_document_outlives_the_one_that_takes_its_place() {
        let folder = Folder::new("refused");
        let store = folder.store();
        for text in ["broken", "broken again"] {
            fs::write(folder.0.join("startup.toml"), text).unwrap();
            store.keep_refused();
            store.prepare(store.last_generation() + 1, "mended").unwrap().commit().unwrap();
            assert_eq!(fs::read_to_string(folder.0.join(REFUSED)).unwrap(), text);
            assert_eq!(store.startup().unwrap().as_deref(), Some("mended"));
        }
        assert_eq!(store.numbers(), [1, 2]);
    }

    #[test]
    fn old_generations_go() {
        let folder = Folder::new("tidy");
        let store = folder.store();
        for number in 1..=60 {
            store.prepare(number, "x").unwrap().commit().unwrap();
        }
        store.tidy();
        assert_eq!(store.numbers(), (11..=60).collect::<Vec<_>>());
    }

    #[test]
    fn the_published_document_is_for_root_alone() {
        let folder = Folder::new("publish");
        folder.store().publish("secret").unwrap();
        let mode = fs::metadata(folder.0.join("run/running.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_store_that_cannot_be_written_says_where_and_why() {
        let store = Store::new(Path::new("/proc/startup.toml"), Path::new("/proc/running.toml"));
        let error = store.prepare(1, "x").err().unwrap().to_string();
        assert!(error.contains("/proc/generations"), "{error}");
    }
}
