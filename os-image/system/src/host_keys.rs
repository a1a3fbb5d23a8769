//! SSH host keys, made once on the switch and kept for its life.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::files;

/// Where the host keys persist; `HostKey` in sshd_config names the file.
const FOLDER: &str = "/var/lib/corten/ssh";
const KEY: &str = "ssh_host_ed25519_key";

/// Makes the host keys, unless they are there.
pub fn run(root: &Path) -> Result<()> {
    let folder = files::below(root, FOLDER);
    let (private, public) = (folder.join(KEY), folder.join(format!("{KEY}.pub")));
    // A power cut during an earlier first boot can leave an empty file: that is no key.
    let whole = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if whole(&private) && whole(&public) {
        return Ok(());
    }
    files::make_folder(&folder, 0o700)?;
    // ssh-keygen neither flushes nor renames: it writes beside, and the key takes its name when it is whole.
    let beside = folder.join(".ssh-keygen");
    let beside_public = folder.join(".ssh-keygen.pub");
    for path in [&beside, &beside_public] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    generate(&beside)?;
    for (from, to, mode) in [(&beside_public, &public, 0o644), (&beside, &private, 0o600)] {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        files::write(to, &content, mode)?;
        fs::remove_file(from).with_context(|| format!("cannot remove {}", from.display()))?;
    }
    eprintln!("made the SSH host key {}", private.display());
    Ok(())
}

fn generate(path: &Path) -> Result<()> {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .context("cannot run ssh-keygen")?;
    if !output.status.success() {
        bail!("ssh-keygen failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once() {
        let root = tempfile::tempdir().unwrap();
        run(root.path()).unwrap();
        let private = files::below(root.path(), FOLDER).join(KEY);
        let first = fs::read_to_string(&private).unwrap();
        assert!(first.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        run(root.path()).unwrap();
        assert_eq!(fs::read_to_string(&private).unwrap(), first);
        assert_eq!(
            fs::read_dir(private.parent().unwrap()).unwrap().count(),
            2,
            "nothing is left beside them"
        );
    }

    #[test]
    fn a_key_cut_short_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let folder = files::below(root.path(), FOLDER);
        files::make_folder(&folder, 0o700).unwrap();
        fs::write(folder.join(KEY), "").unwrap();
        run(root.path()).unwrap();
        assert!(fs::metadata(folder.join(KEY)).unwrap().len() > 100);
    }
}
