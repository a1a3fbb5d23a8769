//! What spreads packets over the next hops of a route, and how many neighbours there is room for: settings of the
//! kernel that are files.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use netd_api::config::Config;

use crate::files;

/// Sets them in both families.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let hash = config.routing.ecmp_hash;
    for family in ["ipv4", "ipv6"] {
        // Fields first: with the policy they count at once.
        set(root, family, "fib_multipath_hash_fields", hash.fields().0)?;
        set(root, family, "fib_multipath_hash_policy", hash.policy())?;
        for (number, neighbours) in thresholds(config.routing.most_neighbours) {
            set(root, family, &format!("neigh/default/gc_thresh{number}"), neighbours)?;
        }
    }
    Ok(())
}

/// When the kernel throws neighbours out (`neigh_forced_gc`, Linux 6.12): below the first threshold never, from the
/// second on at once those that did not change for 5 s, which hits hosts that are known first, so that it is close to the
/// third, where there is no more room. Numbers as in 50-corten.conf.
fn thresholds(most: u32) -> [(u8, u32); 3] {
    [(1, most / 8), (2, most - most / 16), (3, most)]
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
    fn settings_are_those_of_the_document_or_the_default() {
        const FILES: [&str; 5] = [
            "fib_multipath_hash_policy",
            "fib_multipath_hash_fields",
            "neigh/default/gc_thresh1",
            "neigh/default/gc_thresh2",
            "neigh/default/gc_thresh3",
        ];
        let root = tempfile::tempdir().unwrap();
        let file = |family: &str, name: &str| root.path().join("proc/sys/net").join(family).join(name);
        for family in ["ipv4", "ipv6"] {
            fs::create_dir_all(file(family, "neigh/default")).unwrap();
            FILES.iter().for_each(|name| fs::write(file(family, name), "9\n").unwrap());
        }
        let room = ["4096", "30720", "32768"];
        for (setting, [policy, fields], [one, two, three]) in [
            ("", ["1", "7"], room),
            ("ecmp-hash = \"layer3\"", ["0", "7"], room),
            ("ecmp-hash = \"inner-layer3\"", ["2", "7"], room),
            ("ecmp-hash = [\"destination-address\", \"inner-source-port\"]", ["3", "1026"], room),
            ("most-neighbours = 2048", ["1", "7"], ["256", "1920", "2048"]),
        ] {
            let config = netd_api::config::parse(&format!("version = 1\n[routing]\n{setting}\n")).unwrap();
            render(root.path(), &config).unwrap();
            for family in ["ipv4", "ipv6"] {
                let found = FILES.map(|name| fs::read_to_string(file(family, name)).unwrap());
                assert_eq!(found, [policy, fields, one, two, three], "{family}: {setting}");
            }
        }
    }
}
