//! What users of the configuration may do at this moment, for the threads that answer the bus.
//!
//! A session keeps the groups it was opened with for as long as it lasts, so its groups do not tell what a change
//! has revoked: the configuration does. While a change waits for its confirmation, whoever the confirmed
//! configuration has for an administrator still is one: somebody must be able to confirm it or take it back.
//!
//! One table for the process, as there is one switch: the engine writes it, the bus reads it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use netd_api::access::USER_IDS;
use netd_api::config::Config;
use netd_api::config::model::Role;

type Roles = BTreeMap<String, Role>;

/// Roles by user.
#[derive(Debug)]
struct Table {
    running: Roles,
    confirmed: Roles,
}

/// `None` while no configuration was taken over: then groups count.
static TABLE: RwLock<Option<Table>> = RwLock::new(None);
/// How often it was written.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Takes in the running configuration, and the confirmed one where it is another.
pub fn set(running: &Config, confirmed: Option<&Config>) {
    let roles = |config: &Config| config.users.iter().map(|(name, user)| (name.clone(), user.role)).collect();
    let running: Roles = roles(running);
    let confirmed = confirmed.map_or_else(|| running.clone(), roles);
    *TABLE.write().unwrap_or_else(PoisonError::into_inner) = Some(Table { running, confirmed });
    CHANGES.fetch_add(1, Ordering::Release);
}

/// Another number after each change of rights: whoever was told [`role`] need not ask again while it is the same.
pub fn change() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// The running configuration is confirmed.
pub fn confirm() {
    if let Some(table) = TABLE.write().unwrap_or_else(PoisonError::into_inner).as_mut() {
        table.confirmed = table.running.clone();
    }
    CHANGES.fetch_add(1, Ordering::Release);
}

/// The role of a user; `by_groups` is what the groups of the session say, which counts for users that are none of
/// the configuration's. `name` is `None` for a user nobody knows any more.
pub fn role(user_id: u32, name: Option<&str>, by_groups: Option<Role>) -> Option<Role> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    of(table.as_ref(), user_id, name, by_groups)
}

fn of(table: Option<&Table>, user_id: u32, name: Option<&str>, by_groups: Option<Role>) -> Option<Role> {
    let Some(table) = table.filter(|_| USER_IDS.contains(&user_id)) else { return by_groups };
    let name = name?;
    // `Admin` comes before `View`.
    [&table.running, &table.confirmed].into_iter().filter_map(|roles| roles.get(name).copied()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(running: &[(&str, Role)], confirmed: &[(&str, Role)]) -> Table {
        let roles =
            |roles: &[(&str, Role)]| roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect();
        Table { running: roles(running), confirmed: roles(confirmed) }
    }

    #[test]
    fn revoked_rights_end_in_sessions_that_have_the_group_still() {
        let revoked = table(&[("ana", Role::View)], &[("ana", Role::View)]);
        let session = Some(Role::Admin);
        assert_eq!(of(Some(&revoked), 2100, Some("ana"), session), Some(Role::View));
        assert_eq!(of(Some(&revoked), 2101, Some("bo"), session), None);
        assert_eq!(of(Some(&revoked), 2102, None, session), None);
        // Others than users of the configuration have what their groups give.
        assert_eq!(of(Some(&revoked), 999, Some("agent"), session), session);
        assert_eq!(of(None, 2100, Some("ana"), session), session);
    }

    #[test]
    fn administrators_of_the_confirmed_configuration_may_decide_on_what_waits() {
        let waits = table(&[("ana", Role::View), ("cy", Role::Admin)], &[("ana", Role::Admin)]);
        for name in ["ana", "cy"] {
            assert_eq!(of(Some(&waits), 2100, Some(name), Some(Role::View)), Some(Role::Admin), "{name}");
        }
    }
}
