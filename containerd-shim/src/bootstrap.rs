//! How containerd and a shim greet each other.
//!
//! | containerd | asks | wants back |
//! | --- | --- | --- |
//! | 1.6 and before | flags and environment | the address alone |
//! | 1.7 to 2.2 | the same, and the newest task API it speaks in `MAX_SHIM_VERSION` | JSON with a version no newer than that |
//! | 2.3 and later | `BootstrapParams` (protobuf) on standard input | `BootstrapResult` (protobuf) |
//!
//! Everything here is pure; reading and printing is done by the start action.

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use serde_json::json;

use crate::error::{Error, Result, shown};

/// Oldest and newest version of the task API this shim serves.
const TASK_API: std::ops::RangeInclusive<i32> = 2..=3;

/// The form of the reply containerd expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The address and nothing else.
    Address,
    /// `{"version": …, "address": …, "protocol": "ttrpc"}`.
    Json {
        /// Task API version, 2 or 3.
        version: i32,
    },
    /// `BootstrapResult`.
    Protobuf,
}

/// What the start action needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// containerd's ttrpc socket, where events go.
    pub ttrpc_address: String,
    /// How to answer.
    pub reply: Reply,
}

/// The environment variables containerd greets with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `MAX_SHIM_VERSION`.
    pub max_shim_version: Option<String>,
    /// `TTRPC_ADDRESS`.
    pub ttrpc_address: Option<String>,
}

/// Finds out how containerd greeted this shim.
///
/// # Errors
/// The newest version containerd speaks is older than the oldest this shim serves, the bootstrap message
/// is meant for another container, or there is nowhere to send events.
pub fn negotiate(input: &[u8], namespace: &str, id: &str, environment: Environment) -> Result<Greeting> {
    if let Some(params) = bootstrap_params(input, namespace, id)? {
        return with_address(params.containerd_ttrpc_address, Reply::Protobuf);
    }
    let reply = match environment.max_shim_version {
        None => Reply::Address,
        Some(text) => {
            let newest: i32 = text
                .trim()
                .parse()
                .map_err(|_| Error::Invalid(format!("MAX_SHIM_VERSION={} is not a number", shown(&text))))?;
            if newest < *TASK_API.start() {
                return Err(Error::Unsupported(format!(
                    "containerd speaks task API version {newest} at most, this shim {} to {}",
                    TASK_API.start(),
                    TASK_API.end()
                )));
            }
            Reply::Json { version: newest.min(*TASK_API.end()) }
        }
    };
    with_address(environment.ttrpc_address.unwrap_or_default(), reply)
}

fn with_address(ttrpc_address: String, reply: Reply) -> Result<Greeting> {
    if ttrpc_address.is_empty() {
        return Err(Error::Invalid("containerd gave no ttrpc address for events (TTRPC_ADDRESS)".into()));
    }
    Ok(Greeting { ttrpc_address, reply })
}

/// `BootstrapParams`, if that is what was on standard input. Older daemons put runtime options there, a
/// protobuf `Any`, which decodes as `BootstrapParams` too: its type URL and value land in the first two
/// fields. So only a message with our own names in these fields is one.
fn bootstrap_params(input: &[u8], namespace: &str, id: &str) -> Result<Option<BootstrapParams>> {
    let Ok(params) = BootstrapParams::parse_from_bytes(input) else { return Ok(None) };
    if input.is_empty() {
        return Ok(None);
    }
    if params.instance_id == id && params.namespace == namespace {
        return Ok(Some(params));
    }
    if params.containerd_version.is_empty() && params.containerd_ttrpc_address.is_empty() {
        return Ok(None);
    }
    Err(Error::Invalid(format!(
        "bootstrap message is for {}/{}, the command line for {namespace:?}/{id:?}",
        shown(&params.namespace),
        shown(&params.instance_id)
    )))
}

/// Encodes the answer to the start action.
///
/// # Errors
/// The protobuf encoder's, which do not happen for messages this small.
pub fn encode(reply: Reply, address: &str) -> Result<Vec<u8>> {
    match reply {
        Reply::Address => Ok(address.as_bytes().to_vec()),
        Reply::Json { version } => {
            let answer = json!({ "version": version, "address": address, "protocol": "ttrpc" });
            Ok(answer.to_string().into_bytes())
        }
        Reply::Protobuf => BootstrapResult {
            version: *TASK_API.end(),
            address: address.to_owned(),
            protocol: "ttrpc".to_owned(),
            ..Default::default()
        }
        .write_to_bytes()
        .map_err(|error| Error::failed("encode the bootstrap reply", error)),
    }
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::well_known_types::any::Any;

    use super::*;

    fn environment(max: Option<&str>) -> Environment {
        Environment {
            max_shim_version: max.map(str::to_owned),
            ttrpc_address: Some("/run/c.sock.ttrpc".into()),
        }
    }

    fn reply(max: Option<&str>) -> Result<Reply> {
        negotiate(b"", "default", "a", environment(max)).map(|greeting| greeting.reply)
    }

    #[test]
    fn version_is_the_newest_both_sides_speak() {
        assert_eq!(reply(None).unwrap(), Reply::Address);
        assert_eq!(reply(Some("2")).unwrap(), Reply::Json { version: 2 });
        assert_eq!(reply(Some("3")).unwrap(), Reply::Json { version: 3 });
        assert_eq!(reply(Some("7")).unwrap(), Reply::Json { version: 3 });
    }

    #[test]
    fn a_daemon_too_old_or_unclear_is_refused() {
        assert!(reply(Some("1")).is_err());
        assert!(reply(Some("new")).is_err());
        assert!(negotiate(b"", "default", "a", Environment::default()).is_err());
    }

    #[test]
    fn json_reply_has_what_containerd_1_7_parses() {
        let text = encode(Reply::Json { version: 2 }, "unix:///run/s").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value, json!({"version": 2, "address": "unix:///run/s", "protocol": "ttrpc"}));
        assert_eq!(encode(Reply::Address, "unix:///run/s").unwrap(), b"unix:///run/s");
    }

    #[test]
    fn bootstrap_message_of_containerd_2_3_is_answered_in_kind() {
        let params = BootstrapParams {
            instance_id: "a".into(),
            namespace: "default".into(),
            containerd_version: "2.3.0".into(),
            containerd_ttrpc_address: "/run/other.ttrpc".into(),
            ..Default::default()
        };
        let input = params.write_to_bytes().unwrap();
        let greeting = negotiate(&input, "default", "a", Environment::default()).unwrap();
        assert_eq!(greeting.reply, Reply::Protobuf);
        assert_eq!(greeting.ttrpc_address, "/run/other.ttrpc");
        let answer =
            BootstrapResult::parse_from_bytes(&encode(Reply::Protobuf, "unix:///s").unwrap()).unwrap();
        assert_eq!((answer.version, answer.address.as_str()), (3, "unix:///s"));
        assert!(negotiate(&input, "default", "b", environment(None)).is_err());
    }

    #[test]
    fn runtime_options_on_standard_input_are_not_a_bootstrap_message() {
        let options = Any {
            type_url: "containerd.runc.v1.Options".into(),
            value: vec![0x32, 4, b'c', b'r', b'u', b'n'],
            ..Default::default()
        };
        let greeting =
            negotiate(&options.write_to_bytes().unwrap(), "default", "a", environment(Some("2"))).unwrap();
        assert_eq!(greeting.reply, Reply::Json { version: 2 });
        assert_eq!(
            negotiate(&[0xff, 0xfe], "default", "a", environment(None)).unwrap().reply,
            Reply::Address
        );
    }
}
