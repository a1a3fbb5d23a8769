//! The private root of peers: programs that tests and measurements hold Corten against, unpacked as the image's base
//! is. The crate `corten-test-peer` runs them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::{self, Key};
use crate::inputs::{self, Inputs};
use crate::progress::Step;
use crate::unpack::{self, Tree};
use crate::{elf, overlay, paths};

/// Mount points.
const FOLDERS: [&str; 8] = ["dev", "etc", "mnt", "proc", "run", "sys", "tmp", "var"];

/// Unpacks the packages of peers, or takes an earlier, equal root; answers its folder. `target/os/peers/root` leads to
/// it, too, for tests that are run by hand.
pub fn assemble(locked: bool) -> Result<PathBuf> {
    let inputs = Inputs::read(inputs::PEERS, locked)?;
    unpack::controls(&inputs)?;
    let ours = paths::os_image().join("peers");
    let mut key = Key::new("peers 1");
    key.tree(&ours)?;
    let tree = Tree { what: "peers", parent: paths::output().join("peers") };
    let (dir, _) = tree.unpack(&inputs, key, |root| finish(&ours, root))?;
    lead(&tree.parent.join("root"), &dir)?;
    Ok(dir)
}

fn finish(ours: &Path, root: &Path) -> Result<()> {
    let step = Step::begin("Composing the root of peers", 0);
    for name in FOLDERS {
        fs::create_dir_all(root.join(name))?;
    }
    overlay::lay_over(ours, root)?;
    elf::check_libraries(root)?;
    step.done(&overlay::size_text(root)?);
    Ok(())
}

/// Makes a link, or has it lead elsewhere, at once.
fn lead(link: &Path, to: &Path) -> Result<()> {
    let name = to.file_name().context("a root without a name")?;
    if fs::read_link(link).is_ok_and(|old| old.as_os_str() == name) {
        return Ok(());
    }
    let beside = link.with_extension("new");
    cache::clear_file(&beside)?;
    symlink(name, &beside)?;
    fs::rename(&beside, link).with_context(|| format!("making the link {}", link.display()))
}
