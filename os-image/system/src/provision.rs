//! The first configuration without a person: the systemd credential `corten.config`.
//!
//! It is honoured only while the switch has no configuration, so that whoever later controls the
//! firmware's tables cannot put another one in its place.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use netd_api::paths::STARTUP_CONFIG;

use crate::files;

/// Name of the credential.
const CREDENTIAL: &str = "corten.config";

/// Takes the credential as startup configuration, unless there is one.
pub fn run(root: &Path) -> Result<()> {
    let credential =
        env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(CREDENTIAL));
    provision(root, credential.as_deref())
}

fn provision(root: &Path, credential: Option<&Path>) -> Result<()> {
    let startup = files::below(root, STARTUP_CONFIG);
    let text = match credential {
        Some(path) => files::read_document(path)?,
        None => None,
    };
    let Some(text) = text else {
        return Ok(());
    };
    // A dangling link counts as a configuration too: something is there that is not ours to replace.
    if startup.symlink_metadata().is_ok() {
        eprintln!("the switch has a configuration: the credential {CREDENTIAL} is ignored");
        return Ok(());
    }
    files::parse(CREDENTIAL, &text)?;
    if let Some(folder) = startup.parent() {
        files::make_folder(folder, 0o700)?;
    }
    files::write(&startup, text.as_bytes(), 0o600)?;
    eprintln!("took the credential {CREDENTIAL} as the first configuration");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Switch {
        root: tempfile::TempDir,
    }

    impl Switch {
        fn new() -> Self {
            Switch { root: tempfile::tempdir().unwrap() }
        }

        fn startup(&self) -> PathBuf {
            files::below(self.root.path(), STARTUP_CONFIG)
        }

        fn provision(&self, text: &str) -> Result<()> {
            let credential = self.root.path().join(CREDENTIAL);
            fs::write(&credential, text).unwrap();
            provision(self.root.path(), Some(&credential))
        }
    }

    #[test]
    fn a_valid_credential_becomes_the_first_configuration() {
        let switch = Switch::new();
        switch.provision("version = 1\n").unwrap();
        assert_eq!(fs::read_to_string(switch.startup()).unwrap(), "version = 1\n");
        assert_eq!(fs::metadata(switch.startup()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_credential_with_mistakes_writes_nothing_and_tells_them_all() {
        let switch = Switch::new();
        let error = switch.provision("version = 1\n[vlans.0]\n[vlans.4095]\n").unwrap_err().to_string();
        assert!(error.contains("corten.config:2:8:") && error.contains("corten.config:3:8:"), "{error}");
        assert!(!switch.startup().exists());
    }

    #[test]
    fn a_switch_with_a_configuration_ignores_the_credential() {
        let switch = Switch::new();
        switch.provision("version = 1\n").unwrap();
        switch.provision("version = 1\nsystem.hostname = \"evil\"\n").unwrap();
        assert_eq!(fs::read_to_string(switch.startup()).unwrap(), "version = 1\n");
    }

    #[test]
    fn without_a_credential_nothing_happens() {
        let switch = Switch::new();
        provision(switch.root.path(), None).unwrap();
        provision(switch.root.path(), Some(Path::new("/nonexistent/corten.config"))).unwrap();
        assert!(!switch.startup().exists());
    }

    #[test]
    fn a_credential_that_is_no_text_is_refused() {
        let switch = Switch::new();
        let credential = switch.root.path().join(CREDENTIAL);
        fs::write(&credential, [0xff, 0xfe]).unwrap();
        assert!(provision(switch.root.path(), Some(&credential)).is_err());
        assert!(!switch.startup().exists());
    }
}
