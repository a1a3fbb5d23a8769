//! The disk that only tests attach: the agent, and programs of this host for a guest whose image has none of them,
//! with the libraries and the loader they are used to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Serial number of the disk, by which the guest finds it.
pub const SERIAL: &str = "corten-tools";
/// Where the guest mounts it.
pub const MOUNT: &str = "/run/tools";

/// For scripts in the guest: puts the disk's programs first in the path.
pub const USE: &str = "export PATH=/run/tools/bin:$PATH\n";

/// A disk of programs; the file goes with it.
pub struct Tools {
    folder: TempDir,
}

impl Tools {
    /// Packs the agent, which is linked with nothing, and programs, each under its file's name.
    pub fn pack(agent: &Path, programs: &[PathBuf]) -> Result<Tools> {
        let folder = TempDir::new().context("cannot make a temporary folder")?;
        let tree = folder.path().join("tree");
        for name in ["bin", "lib", "program"] {
            fs::create_dir_all(tree.join(name)).context("cannot make a folder")?;
        }
        fs::copy(agent, tree.join("agent")).with_context(|| format!("cannot pack {}", agent.display()))?;
        for program in programs {
            add(program, &tree).with_context(|| format!("cannot pack {}", program.display()))?;
        }
        let made = Command::new("mkfs.erofs")
            .args(["--quiet", "--all-root", "-T0"])
            .arg(folder.path().join("disk"))
            .arg(&tree)
            .output()
            .context("cannot run mkfs.erofs")?;
        ensure!(made.status.success(), "mkfs.erofs: {}", String::from_utf8_lossy(&made.stderr).trim());
        fs::remove_dir_all(&tree).context("cannot remove a temporary folder")?;
        Ok(Tools { folder })
    }

    /// The disk's file.
    pub fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }
}

/// Copies a program with its libraries, and writes the script that starts it by its own loader.
fn add(program: &Path, tree: &Path) -> Result<()> {
    let name = program.file_name().and_then(|name| name.to_str()).context("it has no name")?;
    fs::copy(program, tree.join("program").join(name))?;
    let libraries = libraries(program)?;
    for library in &libraries {
        let name = library.file_name().context("a library has no name")?;
        fs::copy(library, tree.join("lib").join(name))?;
    }
    let loader = libraries
        .iter()
        .filter_map(|library| library.file_name()?.to_str())
        .find(|name| name.starts_with("ld-"))
        .context("it is not linked with a loader")?;
    let script = tree.join("bin").join(name);
    fs::write(
        &script,
        format!(
            "#!/bin/sh\nexec /run/tools/lib/{loader} --argv0 \"$0\" --library-path /run/tools/lib /run/tools/program/{name} \"$@\"\n"
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The libraries a program is linked with, the loader among them, as ldd(1) finds them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "ldd: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_packed_with_its_libraries_and_loader() {
        let folder = TempDir::new().unwrap();
        add(Path::new("/bin/sh"), {
            for name in ["bin", "lib", "program"] {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            folder.path()
        })
        .unwrap();
        assert!(folder.path().join("program/sh").exists());
        let script = fs::read_to_string(folder.path().join("bin/sh")).unwrap();
        assert!(script.contains("/run/tools/lib/ld-linux"), "{script}");
        let libc = fs::read_dir(folder.path().join("lib"))
            .unwrap()
            .any(|file| file.unwrap().file_name() == "libc.so.6");
        assert!(libc, "its C library is missing");
    }

    #[test]
    fn a_file_that_is_no_program_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Tools::pack(Path::new("/bin/sh"), &[file.path().to_owned()]).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("cannot pack"), "{error:#}");
    }
}
