//! The disk that only tests attach: the agent, and programs of this host or of the root of peers for a guest whose
//! image has none of them, with the libraries and the loader they are used to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use corten_test_peer::PeerRoot;
use tempfile::TempDir;

/// Serial number of the disk, by which the guest finds it.
pub const SERIAL: &str = "corten-tools";
/// Where the guest mounts it.
pub const MOUNT: &str = "/run/tools";

/// For scripts in the guest: puts the disk's programs first in the path.
pub const USE: &str = "export PATH=/run/tools/bin:$PATH\n";

/// Folders of the disk.
const FOLDERS: [&str; 4] = ["bin", "lib", "peers", "program"];
/// The loader of a root of peers, and the folder of its libraries.
const PEERS_LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const PEERS_LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A program for guests.
#[derive(Clone, Debug)]
pub struct Tool {
    program: PathBuf,
    /// The root of peers it is of; `None` if it is of this host.
    peers: Option<PeerRoot>,
}

impl Tool {
    /// A program of this host.
    pub fn of_host(program: &Path) -> Tool {
        Tool { program: program.to_owned(), peers: None }
    }

    /// A program of a root of peers, by its path in there.
    pub fn of_peers(root: &PeerRoot, path: &Path) -> Tool {
        let program = root.folder().join(path.strip_prefix("/").unwrap_or(path));
        Tool { program, peers: Some(root.clone()) }
    }

    /// What it is called in the guest.
    pub fn name(&self) -> Option<&str> {
        self.program.file_name()?.to_str()
    }

    /// The folder of the disk with its libraries: those of peers are others than this host's.
    fn folder(&self) -> &'static str {
        if self.peers.is_some() { "peers" } else { "lib" }
    }

    /// The libraries it is linked with, the loader among them, as ldd(1) or the root's own loader finds them.
    fn libraries(&self) -> Result<BTreeSet<PathBuf>> {
        let mut command;
        let root = match &self.peers {
            None => {
                command = Command::new("ldd");
                Path::new("/")
            }
            Some(root) => {
                let root = root.folder();
                command = Command::new(root.join(PEERS_LOADER));
                command.arg("--library-path").arg(root.join(PEERS_LIBRARIES)).arg("--list");
                root
            }
        };
        let output = command.arg(&self.program).output().context("cannot list its libraries")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(text.split_whitespace().map(PathBuf::from).filter(|word| word.starts_with(root)).collect())
    }
}

/// A disk of programs; the file goes with it.
pub struct Tools {
    folder: TempDir,
}

impl Tools {
    /// Packs the agent, which is linked with nothing, and programs, each under its file's name.
    pub fn pack(agent: &Path, programs: &[Tool]) -> Result<Tools> {
        let folder = TempDir::new().context("cannot make a temporary folder")?;
        let tree = folder.path().join("tree");
        for name in FOLDERS {
            fs::create_dir_all(tree.join(name)).context("cannot make a folder")?;
        }
        fs::copy(agent, tree.join("agent")).with_context(|| format!("cannot pack {}", agent.display()))?;
        for tool in programs {
            add(tool, &tree).with_context(|| format!("cannot pack {}", tool.program.display()))?;
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
fn add(tool: &Tool, tree: &Path) -> Result<()> {
    let name = tool.program.file_name().and_then(|name| name.to_str()).context("it has no name")?;
    fs::copy(&tool.program, tree.join("program").join(name))?;
    let libraries = tool.libraries()?;
    let folder = tool.folder();
    for library in &libraries {
        let name = library.file_name().context("a library has no name")?;
        fs::copy(library, tree.join(folder).join(name))?;
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
            "#!/bin/sh\nexec {MOUNT}/{folder}/{loader} --argv0 \"$0\" --library-path {MOUNT}/{folder} \
             {MOUNT}/program/{name} \"$@\"\n"
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folders of a disk, with a program in them.
    fn with(tool: &Tool) -> TempDir {
        let folder = TempDir::new().unwrap();
        FOLDERS.iter().for_each(|name| fs::create_dir_all(folder.path().join(name)).unwrap());
        add(tool, folder.path()).unwrap();
        folder
    }

    #[test]
    fn a_program_is_packed_with_its_libraries_and_loader() {
        let folder = with(&Tool::of_host(Path::new("/bin/sh")));
        assert!(folder.path().join("program/sh").exists());
        let script = fs::read_to_string(folder.path().join("bin/sh")).unwrap();
        assert!(script.contains("/run/tools/lib/ld-linux"), "{script}");
        assert!(folder.path().join("lib/libc.so.6").exists(), "its C library is missing");
    }

    #[test]
    fn program_of_peers_is_packed_with_libraries_of_its_root() {
        let root = PeerRoot::find().unwrap();
        let folder = with(&Tool::of_peers(&root, Path::new("/usr/sbin/bird")));
        let script = fs::read_to_string(folder.path().join("bin/bird")).unwrap();
        assert!(script.contains("/run/tools/peers/ld-linux"), "{script}");
        assert_eq!(fs::read_dir(folder.path().join("lib")).unwrap().count(), 0);
        let packed = fs::read(folder.path().join("peers/libc.so.6")).unwrap();
        assert_eq!(packed, fs::read(root.folder().join(PEERS_LIBRARIES).join("libc.so.6")).unwrap());
    }

    #[test]
    fn a_file_that_is_no_program_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tool = Tool::of_host(file.path());
        let error = Tools::pack(Path::new("/bin/sh"), &[tool]).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("cannot pack"), "{error:#}");
    }
}
