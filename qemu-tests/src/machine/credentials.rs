//! systemd credentials for the guest (systemd.system-credentials(7)), over SMBIOS or fw_cfg.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a credential reaches the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// An SMBIOS OEM string (type 11).
    #[default]
    Smbios,
    /// A file of QEMU's firmware configuration device.
    FwCfg,
}

/// Longest name of a fw_cfg file, in bytes (`FW_CFG_MAX_FILE_PATH`, its end included, is 56).
const FW_CFG_NAME_BYTES: usize = 55;

/// The QEMU options that pass a credential; its value goes to a file in `folder`.
pub(super) fn arguments(name: &str, value: &[u8], channel: Channel, folder: &Path) -> Result<[OsString; 2]> {
    let file = folder.join(format!("credential-{name}"));
    // A comma would end the option.
    ensure!(!file.to_string_lossy().contains(','), "{} has a comma in its name", file.display());
    let (content, option, prefix) = match channel {
        Channel::Smbios => {
            let text = format!("io.systemd.credential.binary:{name}={}", STANDARD.encode(value));
            (text.into_bytes(), "-smbios", "type=11,path=".to_owned())
        }
        Channel::FwCfg => {
            let key = format!("opt/io.systemd.credentials/{name}");
            ensure!(key.len() <= FW_CFG_NAME_BYTES, "the name of credential {name} is too long for fw_cfg");
            (value.to_vec(), "-fw_cfg", format!("name={key},file="))
        }
    };
    std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    let mut argument = OsString::from(prefix);
    argument.push(&file);
    Ok([option.into(), argument])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_smbios_string() {
        let folder = tempfile::tempdir().unwrap();
        let [option, argument] = arguments("corten.config", b"a\nb", Channel::Smbios, folder.path()).unwrap();
        assert_eq!(option, "-smbios");
        let path = argument.to_str().unwrap().strip_prefix("type=11,path=").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"io.systemd.credential.binary:corten.config=YQpi");
    }

    #[test]
    fn a_name_too_long_for_fw_cfg_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let name = "systemd.extra-unit.corten-test.service";
        assert!(arguments(name, b"", Channel::FwCfg, folder.path()).is_err());
    }
}
