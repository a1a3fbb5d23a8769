//! The store on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::record::{Author, Journal, Meta, Outcome};
use super::{REFUSED, Store};

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

fn journal(to: u64) -> Journal {
    let meta = Meta {
        time_s: 1,
        author: Author::default(),
        comment: String::new(),
        outcome: Outcome::Confirmed,
        reason: String::new(),
        restores: None,
    };
    Journal { to, from: to - 1, replaces: None, boot_id: "boot".to_owned(), meta }
}

fn apply(store: &Store, number: u64, document: &str) {
    let begun = store.begin(journal(number), document, &[]).unwrap();
    store.commit(&begun, None).unwrap();
}

#[test]
fn a_change_that_is_given_up_leaves_nothing() {
    let folder = Folder::new("given-up");
    let store = folder.store();
    apply(&store, 1, "one");
    let begun = store.begin(journal(2), "two", &[1]).unwrap();
    assert_eq!((begun.generation(), store.past(2).unwrap().as_str()), (2, "two"));
    store.give_up(&begun);
    assert_eq!(store.startup().unwrap().as_deref(), Some("one"));
    assert_eq!(store.numbers(), [1]);
    let names = |folder: &Path| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder.0), ["generations", "startup.toml"]);
    assert_eq!(names(&folder.0.join("generations")), ["1.json", "1.toml"]);
}

#[test]
fn what_the_store_writes_is_for_root_alone() {
    let folder = Folder::new("modes");
    let store = folder.store();
    apply(&store, 1, "secret");
    store.publish("secret").unwrap();
    for file in ["startup.toml", "generations/1.toml", "generations/1.json", "run/running.toml"] {
        let mode = fs::metadata(folder.0.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_refused_startup_document_outlives_the_one_that_takes_its_place() {
    let folder = Folder::new("refused");
    let store = folder.store();
    for (number, text) in [(1, "broken"), (2, "broken again")] {
        fs::write(folder.0.join("startup.toml"), text).unwrap();
        store.keep_refused();
        apply(&store, number, "mended");
        assert_eq!(fs::read_to_string(folder.0.join(REFUSED)).unwrap(), text);
        assert_eq!(store.startup().unwrap().as_deref(), Some("mended"));
    }
}

#[test]
fn old_generations_go_but_for_those_that_are_needed() {
    let folder = Folder::new("tidy");
    let store = folder.store();
    for number in 1..=60 {
        apply(&store, number, "x");
    }
    store.tidy(&[60, 3]);
    let kept: Vec<u64> = std::iter::once(3).chain(12..=60).collect();
    assert_eq!(store.numbers(), kept);
    assert!(!folder.0.join("generations/4.json").exists());
}

#[test]
fn a_generation_of_an_earlier_release_counts_as_confirmed() {
    let folder = Folder::new("earlier");
    fs::create_dir_all(folder.0.join("generations")).unwrap();
    fs::write(folder.0.join("generations/7.toml"), "seven").unwrap();
    let store = folder.store();
    assert_eq!(store.generation_of("seven"), Some(7));
    let meta = store.meta(7);
    assert!(meta.outcome == Outcome::Confirmed && meta.time_s > 1_600_000_000, "{meta:?}");
}

#[test]
fn generation_whose_record_cannot_be_read_is_not_confirmed() {
    let folder = Folder::new("unreadable");
    fs::create_dir_all(folder.0.join("generations")).unwrap();
    let store = folder.store();
    for broken in [b"{".as_slice(), b"", &[b' '; 70_000], b"\xff"] {
        fs::write(folder.0.join("generations/7.toml"), "seven").unwrap();
        fs::write(folder.0.join("generations/7.json"), broken).unwrap();
        let meta = store.meta(7);
        assert_eq!(
            (meta.outcome, meta.reason.as_str()),
            (Outcome::RolledBack, "what became of it cannot be read")
        );
        assert_eq!(store.generation_of("seven"), None);
        assert_eq!(store.before(8, "eight"), None);
    }
}

#[test]
fn reason_that_is_long_is_cut_and_its_record_is_read_again() {
    let folder = Folder::new("reason");
    let store = folder.store();
    store.write_generation(3, &journal(3).meta, "three").unwrap();
    store.set_outcome(3, Outcome::RolledBack, &"ü".repeat(100_000));
    let meta = store.meta(3);
    assert_eq!(meta.outcome, Outcome::RolledBack);
    assert!(meta.reason.ends_with("bytes more)") && meta.reason.len() < 4200, "{}", meta.reason.len());
}

#[test]
fn start_that_ended_by_no_fault_of_its_generation_does_not_count() {
    let folder = Folder::new("starts");
    let store = folder.store();
    for before in 0..2 {
        assert_eq!(store.count_start(5, "boot"), before);
    }
    store.uncount_start();
    assert_eq!(store.starts(5, "boot"), 1, "the crash before it does");
    store.uncount_start();
    store.uncount_start();
    assert_eq!(store.starts(5, "boot"), 0);
}

#[test]
fn a_store_that_cannot_be_written_says_where_and_why() {
    let store = Store::new(Path::new("/proc/startup.toml"), Path::new("/proc/running.toml"));
    let error = store.begin(journal(1), "x", &[]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("/proc/generations"), "{error}");
}

#[test]
fn starts_that_do_not_end_well_are_counted_for_one_generation_and_one_boot() {
    let folder = Folder::new("starts");
    let store = folder.store();
    assert_eq!([1, 2, 3].map(|_| store.count_start(1, "boot")), [0, 1, 2]);
    assert_eq!((store.starts(1, "boot"), store.starts(2, "boot"), store.starts(1, "next")), (3, 0, 0));
    store.clear_starts();
    assert_eq!(store.starts(1, "boot"), 0);
}
