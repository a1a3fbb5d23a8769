//! Users as JSON records of userdb (nss-systemd(8), "Drop-in files"): never in /etc/passwd.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use netd_api::access::USER_IDS;
use netd_api::config::Config;
use netd_api::config::model::User;
use serde_json::json;

use super::{Entry, Rendered, sync_folder};
use crate::files;

/// Where userdb looks for records that do not outlive the boot.
const FOLDER: &str = "/run/userdb";
/// The login shell: the console.
const SHELL: &str = "/usr/bin/corten";
/// The user ids of configured users: this and the following [`UID_COUNT`].
const FIRST_UID: u32 = *USER_IDS.start();
const UID_COUNT: u32 = *USER_IDS.end() - FIRST_UID + 1;

/// Writes the records of configured users, and removes those of all others.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let records = records(&config.users);
    sync_folder(&files::below(root, FOLDER), &records, |_| true)?;
    Ok(())
}

fn records(users: &BTreeMap<String, User>) -> Rendered {
    let mut records = Rendered::new();
    for (name, uid) in assign_uids(users.keys().map(String::as_str)) {
        let Some(user) = users.get(name) else {
            continue;
        };
        records.insert(format!("{name}.user"), Entry::public(user_record(name, uid)));
        records.insert(format!("{name}.user-privileged"), Entry::secret(privileged_record(user)));
        records.insert(format!("{uid}.user"), Entry::link(&format!("{name}.user")));
        records.insert(format!("{uid}.user-privileged"), Entry::link(&format!("{name}.user-privileged")));
        records
            .insert(format!("{name}.group"), Entry::public(pretty(&json!({"groupName": name, "gid": uid}))));
        records.insert(format!("{uid}.group"), Entry::link(&format!("{name}.group")));
        // Nobody reads what is in it, but an empty file would mean that there is no such membership.
        // The journal's group: the console shows the log.
        for group in [user.role.group(), "systemd-journal"] {
            let membership = Entry::public(format!("{name} is in {group}\n"));
            records.insert(format!("{name}:{group}.membership"), membership);
        }
    }
    records
}

fn user_record(name: &str, uid: u32) -> String {
    pretty(&json!({
        "userName": name,
        "uid": uid,
        "gid": uid,
        "disposition": "regular",
        // Nothing of a user persists on the switch, and the root is read-only: there is no home to keep.
        "homeDirectory": "/",
        "shell": SHELL,
    }))
}

fn privileged_record(user: &User) -> String {
    // `*` matches no password, and is not `!`, which sshd would take for a locked account.
    let hash = user.console_password.as_ref().map_or("*", |hash| hash.expose());
    pretty(&json!({"privileged": {"hashedPassword": [hash], "sshAuthorizedKeys": user.keys}}))
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// User ids that follow from the names, so that they are the same after a reboot and on every switch. Of
/// two names with one hash, the later in the alphabet takes the next free id.
fn assign_uids<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(&'n str, u32)> {
    let mut taken = BTreeSet::new();
    let mut assigned = Vec::new();
    for name in names {
        let start = hash(name) % UID_COUNT;
        let free =
            (0..UID_COUNT).map(|step| FIRST_UID + (start + step) % UID_COUNT).find(|uid| taken.insert(*uid));
        // There are fewer users than ids (netd-api admits 256), so one is free.
        assigned.extend(free.map(|uid| (name, uid)));
    }
    assigned
}

/// FNV-1a, 32 bits: spreads short names well and never changes.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_unique_and_in_range() {
        let names: Vec<String> = (0..256).map(|index| format!("user{index:03}")).collect();
        let first = assign_uids(names.iter().map(String::as_str));
        assert_eq!(first, assign_uids(names.iter().map(String::as_str)));
        let ids: BTreeSet<u32> = first.iter().map(|(_, uid)| *uid).collect();
        assert_eq!(ids.len(), names.len());
        assert!(ids.iter().all(|uid| (2000..3000).contains(uid)));
    }

    #[test]
    fn an_id_follows_from_the_name_alone() {
        let alone = assign_uids(["ana"].into_iter());
        let among = assign_uids(["ana", "bo", "cy"].into_iter());
        assert_eq!(alone[0], among[0]);
    }
}
