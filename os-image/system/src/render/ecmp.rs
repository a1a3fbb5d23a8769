//! What spreads packets over the next hops of a route: settings of the kernel that no netlink message has.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use netd_api::config::Config;

use crate::files;

/// Sets policy and fields in both families.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let hash = config.routing.ecmp_hash;
    for family in ["ipv4", "ipv6"] {
        // Fields first: with the policy they count at once.
        set(root, family, "fib_multipath_hash_fields", hash.fields().0)?;
        set(root, family, "fib_multipath_hash_policy", hash.policy())?;
    }
    Ok(())
}

fn set(root: &Path, family: &str, name: &str, number: u32) -> Result<()> {
    let path = files::below(root, &format!("/proc/sys/net/{family}/{name}"));
    let current = match fs::read_to_string(&path) {
        // A kernel without the family.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        current => current.with_context(|| format!("cannot read {}", path.display()))?,
    };
    if current.trim_end().parse() == Ok(number) {
        return Ok(());
    }
    fs::write(&path, number.to_string())
        .with_context(|| format!("cannot write {number} to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_fields_are_those_of_the_document_or_the_default() {
        let root = tempfile::tempdir().unwrap();
        let file = |family: &str, name: &str| {
            root.path().join(format!("proc/sys/net/{family}/fib_multipath_hash_{name}"))
        };
        for family in ["ipv4", "ipv6"] {
            fs::create_dir_all(file(family, "policy").parent().unwrap()).unwrap();
            for name in ["policy", "fields"] {
                fs::write(file(family, name), "9\n").unwrap();
            }
        }
        for (setting, policy, fields) in [
            ("", "1", "7"),
            ("ecmp-hash = \"layer3\"", "0", "7"),
            ("ecmp-hash = \"inner-layer3\"", "2", "7"),
            ("ecmp-hash = [\"destination-address\", \"inner-source-port\"]", "3", "1026"),
        ] {
            let config = netd_api::config::parse(&format!("version = 1\n[routing]\n{setting}\n")).unwrap();
            render(root.path(), &config).unwrap();
            for family in ["ipv4", "ipv6"] {
                let found = ["policy", "fields"].map(|name| fs::read_to_string(file(family, name)).unwrap());
                assert_eq!(found, [policy, fields], "{family}: {setting}");
            }
        }
    }
}
