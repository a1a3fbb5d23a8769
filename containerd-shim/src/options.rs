//! Runtime options of a create request: the messages `ctr` and CRI send for runc, as far as they mean
//! something here.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options as RuncOptions;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, shown};

/// Names the OCI runtime when the request does not.
pub const RUNTIME_VARIABLE: &str = "CORTEN_OCI_RUNTIME";
/// The OCI runtime of the image.
const DEFAULT_RUNTIME: &str = "crun";

/// How to run the OCI runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeOptions {
    /// Program name, looked up in `PATH`, or absolute path.
    pub binary: String,
    /// Folder for the OCI runtime's own state; empty for one in the bundle.
    pub root: String,
    /// Let the OCI runtime make cgroups through systemd. Without meaning where the shim makes them.
    pub systemd_cgroup: bool,
    /// Do not use pivot_root(2).
    pub no_pivot_root: bool,
    /// Do not make a session keyring.
    pub no_new_keyring: bool,
    /// Owner of the pipes, for containers with a user namespace.
    pub io_owner: Option<(u32, u32)>,
}

impl RuntimeOptions {
    /// Reads the options of a request; `default_binary` is the value of [`RUNTIME_VARIABLE`].
    ///
    /// # Errors
    /// The message is of an unknown type or damaged, or names a program by a relative path.
    pub fn parse(any: Option<&Any>, default_binary: Option<String>) -> Result<Self> {
        let runc = match any {
            None => RuncOptions::default(),
            Some(any) => match any.type_url.rsplit('/').next().unwrap_or_default() {
                "" => RuncOptions::default(),
                "containerd.runc.v1.Options" => RuncOptions::parse_from_bytes(&any.value)
                    .map_err(|error| Error::Invalid(format!("runtime options: {error}")))?,
                "runtimeoptions.v1.Options" | "containerd.runtimeoptions.v1.Options"
                    if any.value.is_empty() =>
                {
                    RuncOptions::default()
                }
                other => {
                    return Err(Error::Invalid(format!(
                        "runtime options of type {}: expected containerd.runc.v1.Options",
                        shown(other)
                    )));
                }
            },
        };
        let named = Some(runc.binary_name).filter(|name| !name.is_empty());
        let binary = named
            .or_else(|| default_binary.filter(|name| !name.is_empty()))
            .unwrap_or_else(|| DEFAULT_RUNTIME.to_owned());
        if binary.contains('/') && !binary.starts_with('/') {
            return Err(Error::Invalid(format!(
                "OCI runtime {}: expected a program's name or absolute path",
                shown(&binary)
            )));
        }
        if !runc.root.is_empty() && !runc.root.starts_with('/') {
            return Err(Error::Invalid(format!(
                "OCI runtime root {}: expected an absolute path",
                shown(&runc.root)
            )));
        }
        let owner = (runc.io_uid, runc.io_gid);
        Ok(RuntimeOptions {
            binary,
            root: runc.root,
            systemd_cgroup: runc.systemd_cgroup,
            no_pivot_root: runc.no_pivot_root,
            no_new_keyring: runc.no_new_keyring,
            io_owner: Some(owner).filter(|owner| *owner != (0, 0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(options: &RuncOptions) -> Any {
        Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: options.write_to_bytes().unwrap(),
            ..Default::default()
        }
    }

    #[test]
    fn the_request_wins_over_the_environment_and_that_over_the_default() {
        let named = any(&RuncOptions { binary_name: "runc".into(), ..Default::default() });
        assert_eq!(RuntimeOptions::parse(Some(&named), Some("x".into())).unwrap().binary, "runc");
        assert_eq!(RuntimeOptions::parse(None, Some("/opt/x".into())).unwrap().binary, "/opt/x");
        assert_eq!(RuntimeOptions::parse(None, Some(String::new())).unwrap().binary, "crun");
        assert_eq!(RuntimeOptions::parse(Some(&Any::default()), None).unwrap().binary, "crun");
    }

    #[test]
    fn options_of_ctr_are_understood() {
        let message = RuncOptions {
            root: "/run/x".into(),
            systemd_cgroup: true,
            io_uid: 1000,
            io_gid: 100,
            ..Default::default()
        };
        let options = RuntimeOptions::parse(Some(&any(&message)), None).unwrap();
        assert_eq!((options.root.as_str(), options.systemd_cgroup), ("/run/x", true));
        assert_eq!(options.io_owner, Some((1000, 100)));
    }

    #[test]
    fn damaged_or_foreign_options_are_refused() {
        let garbage =
            Any { type_url: "containerd.runc.v1.Options".into(), value: vec![0xff], ..Default::default() };
        assert!(RuntimeOptions::parse(Some(&garbage), None).is_err());
        let foreign = Any { type_url: "other.Options".into(), ..Default::default() };
        assert!(
            RuntimeOptions::parse(Some(&foreign), None).unwrap_err().to_string().contains("other.Options")
        );
        for bad in [
            RuncOptions { binary_name: "../evil".into(), ..Default::default() },
            RuncOptions { root: "relative".into(), ..Default::default() },
        ] {
            assert!(RuntimeOptions::parse(Some(&any(&bad)), None).is_err());
        }
    }
}
