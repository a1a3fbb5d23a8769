//! Names of a task's cgroups. Pure.

use crate::error::{Error, Result};

/// The slice all workloads live in.
pub const SLICE: &str = "services.slice";

/// systemd's limit on unit names (`UNIT_NAME_MAX`).
const MAX_UNIT_NAME_BYTES: usize = 255;

/// Unit name of a task's scope. A `-` in the namespace is escaped as systemd does, so that no two tasks
/// share a name.
///
/// # Errors
/// The name is too long for systemd.
pub fn scope_name(namespace: &str, id: &str) -> Result<String> {
    let name = format!("corten-{}-{id}.scope", namespace.replace('-', "\\x2d"));
    if name.len() > MAX_UNIT_NAME_BYTES {
        return Err(Error::Invalid(format!(
            "namespace and container id make a unit name of {} bytes, at most {MAX_UNIT_NAME_BYTES} are possible",
            name.len()
        )));
    }
    Ok(name)
}

/// Path for the specification's `cgroupsPath`, whatever it asked for: workloads stay in their slice.
pub fn specification_path(scope: &str) -> String {
    format!("/{SLICE}/{scope}/task")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_ctr_moves_into_the_services_slice() {
        let scope = scope_name("default", "web-1").unwrap();
        assert_eq!(scope, "corten-default-web-1.scope");
        assert_eq!(specification_path(&scope), "/services.slice/corten-default-web-1.scope/task");
    }

    #[test]
    fn no_two_tasks_share_a_scope() {
        assert_ne!(scope_name("a-b", "c").unwrap(), scope_name("a", "b-c").unwrap());
    }

    #[test]
    fn names_too_long_for_systemd_are_refused() {
        assert!(scope_name(&"-".repeat(76), "a").unwrap_err().to_string().contains("255"));
    }
}
