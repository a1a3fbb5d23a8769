//! A disk in memory that loses power, or whose user is killed, after any number of operations: whoever then asks it for
//! one more is unwound, as one that is killed goes no further.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use netd::store::disk::Disk;

/// Folder of past generations.
const GENERATIONS: &str = "generations";

/// What a run is unwound with that its disk ends.
struct Ended;

/// Does something until it is done, or the disk ends: then `None`.
///
/// # Panics
/// As `work` does otherwise.
pub fn until_the_end<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Ended>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process is killed: what it did is done.
    Killed,
    /// The power is cut: of the names changed since the last sync of their folder, the first so many are on
    /// the disk, here those beside the startup document and those of generations.
    PowerCut(usize, usize),
}

/// Files by their paths.
pub type Names = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Debug, Default)]
struct State {
    /// As programs see it.
    names: Names,
    /// As a power cut leaves it, and what would have changed next.
    synced: Names,
    unsynced: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Operations left until the end.
    left: Option<usize>,
    /// Operations done.
    done: usize,
    /// Bytes that fit, if they are bounded.
    room: Option<usize>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct ModelDisk(Rc<RefCell<State>>);

impl ModelDisk {
    /// Ends whoever does more operations than this many.
    pub fn end_after(&self, operations: usize) {
        self.0.borrow_mut().left = Some(operations);
    }

    /// Bounds the bytes of all files.
    pub fn has_room_for(&self, bytes: usize) {
        self.0.borrow_mut().room = Some(bytes);
    }

    /// Operations done so far.
    pub fn operations(&self) -> usize {
        self.0.borrow().done
    }

    /// Every way the run can end here.
    pub fn ends(&self) -> Vec<End> {
        let state = self.0.borrow();
        let inside = state.unsynced.iter().filter(|(path, _)| is_generation(path)).count();
        let beside = state.unsynced.len() - inside;
        let cuts =
            (0..=beside).flat_map(|beside| (0..=inside).map(move |inside| End::PowerCut(beside, inside)));
        std::iter::once(End::Killed).chain(cuts).collect()
    }

    /// The disk as the next run finds it.
    pub fn after(&self, end: End) -> ModelDisk {
        let state = self.0.borrow();
        let names = match end {
            End::Killed => state.names.clone(),
            End::PowerCut(beside, inside) => {
                let (inner, outer): (Vec<_>, Vec<_>) =
                    state.unsynced.iter().partition(|(path, _)| is_generation(path));
                let mut names = state.synced.clone();
                outer.into_iter().take(beside).for_each(|change| apply(&mut names, change));
                inner.into_iter().take(inside).for_each(|change| apply(&mut names, change));
                names
            }
        };
        ModelDisk(Rc::new(RefCell::new(State { synced: names.clone(), names, ..State::default() })))
    }

    /// What files hold, by their paths.
    pub fn files(&self) -> Names {
        self.0.borrow().names.clone()
    }

    /// Removes a file from outside.
    pub fn forget(&self, path: &Path) {
        let mut state = self.0.borrow_mut();
        state.names.remove(path);
        state.synced.remove(path);
    }

    /// Puts a file there from outside.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.names.insert(path.to_owned(), content.to_owned());
        state.synced.insert(path.to_owned(), content.to_owned());
    }

    fn begin(&self) -> std::cell::RefMut<'_, State> {
        let mut state = self.0.borrow_mut();
        if state.left == Some(0) {
            drop(state);
            resume_unwind(Box::new(Ended));
        }
        state.left = state.left.map(|left| left - 1);
        state.done += 1;
        state
    }
}

fn apply(names: &mut Names, (path, content): &(PathBuf, Option<Vec<u8>>)) {
    match content {
        Some(content) => names.insert(path.clone(), content.clone()),
        None => names.remove(path),
    };
}

impl State {
    fn change(&mut self, path: &Path, content: Option<Vec<u8>>) {
        let change = (path.to_owned(), content);
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }
}

fn is_generation(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with(GENERATIONS))
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Disk for ModelDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.borrow().names.get(path).cloned().ok_or_else(missing)
    }

    fn length(&self, path: &Path) -> Option<u64> {
        self.0.borrow().names.get(path).map(|content| content.len() as u64)
    }

    fn written_s(&self, _: &Path) -> u64 {
        0
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let state = self.0.borrow();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    fn make_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        // What is cut off leaves a torn file.
        let torn = self.0.borrow().left == Some(0);
        if torn {
            self.0.borrow_mut().change(path, Some(content[..content.len() / 2].to_owned()));
        }
        let mut state = self.begin();
        let used: usize =
            state.names.iter().filter(|(name, _)| *name != path).map(|(_, file)| file.len()).sum();
        if state.room.is_some_and(|room| used + content.len() > room) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.change(path, Some(content.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin();
        let content = state.names.get(from).cloned().ok_or_else(missing)?;
        state.change(to, Some(content));
        state.change(from, None);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin();
        let content = state.names.get(from).cloned().ok_or_else(missing)?;
        state.change(to, Some(content));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin();
        if state.names.contains_key(path) {
            state.change(path, None);
        }
        Ok(())
    }

    fn sync(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.begin();
        // Names of other folders keep waiting.
        let unsynced = std::mem::take(&mut state.unsynced);
        let (synced, waiting): (Vec<_>, Vec<_>) =
            unsynced.into_iter().partition(|(path, _)| path.parent() == Some(folder));
        synced.iter().for_each(|change| apply(&mut state.synced, change));
        state.unsynced = waiting;
        Ok(())
    }
}
