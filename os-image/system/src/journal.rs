//! One folder of journals, whatever the machine id.
//!
//! journald keeps its files in a folder named by the machine id and looks at no other: neither when it shows
//! them nor when it keeps within its limits. Where the firmware has no UUID, the id changes with each start,
//! and folders would pile up. So the journals of the last id become those of this one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::files;

const FOLDER: &str = "/data/journal";
const MACHINE_ID: &str = "/etc/machine-id";

/// Gives the journals of an earlier machine id to this one, before journald opens them. Where both have
/// some, or there are several earlier ones, the newest stay.
pub fn run(root: &Path) -> Result<()> {
    let id = machine_id(root)?;
    let folder = files::below(root, FOLDER);
    let own = folder.join(&id);
    let mut others = others(&folder, &id).with_context(|| format!("cannot list {}", folder.display()))?;
    if !own.exists()
        && let Some((_, newest)) = others.pop()
    {
        let renamed = fs::rename(&newest, &own);
        renamed.with_context(|| format!("cannot rename {} to {}", newest.display(), own.display()))?;
    }
    for (_, path) in others {
        fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn machine_id(root: &Path) -> Result<String> {
    let path = files::below(root, MACHINE_ID);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let id = text.trim_end();
    if !is_machine_id(id) {
        bail!("{} holds no machine id", path.display());
    }
    Ok(id.to_owned())
}

/// The folders of other machine ids, the one changed last at the end.
fn others(folder: &Path, id: &str) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name().to_str().is_some_and(|name| name != id && is_machine_id(name));
        if other && entry.file_type()?.is_dir() {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort();
    Ok(others)
}

/// As machine-id(5) says.
fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    /// A data partition with these folders, the last one changed last, each with a file of its own name.
    fn data(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), format!("{ID}\n")).unwrap();
        for (age, name) in folders.iter().rev().enumerate() {
            let folder = root.path().join("data/journal").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), "").unwrap();
            let changed = SystemTime::now() - Duration::from_secs(60 * age as u64);
            fs::File::open(&folder).unwrap().set_modified(changed).unwrap();
        }
        root
    }

    fn found(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root.join("data/journal")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_journals_of_the_last_id_become_those_of_this_one_and_older_ones_go() {
        let (old, last) = ("a".repeat(32), "b".repeat(32));
        let root = data(&[&old, &last]);
        run(root.path()).unwrap();
        assert_eq!(found(root.path()), [ID]);
        assert!(root.path().join("data/journal").join(ID).join(last).exists());
    }

    #[test]
    fn the_journals_of_this_id_stay_its_own() {
        let root = data(&[ID, &"a".repeat(32)]);
        run(root.path()).unwrap();
        assert_eq!(found(root.path()), [ID]);
        assert!(root.path().join("data/journal").join(ID).join(ID).exists());
    }

    #[test]
    fn what_is_no_folder_of_an_id_is_left_alone() {
        let root = data(&["remote", &"A".repeat(32)]);
        fs::write(root.path().join("data/journal").join("c".repeat(32)), "").unwrap();
        run(root.path()).unwrap();
        assert_eq!(found(root.path()), ["A".repeat(32), "c".repeat(32), "remote".to_owned()]);
    }

    #[test]
    fn without_an_id_nothing_is_moved() {
        let root = data(&[&"a".repeat(32)]);
        fs::write(root.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert!(run(root.path()).is_err());
        assert_eq!(found(root.path()), ["a".repeat(32)]);
    }
}
