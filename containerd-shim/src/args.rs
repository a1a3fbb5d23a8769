//! The command line containerd starts the shim with: flags in the style of Go's `flag` package
//! (`-id x`, `--id x`, `-id=x`), then at most one action.

use crate::error::{Error, Result, shown};

/// What containerd wants of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// No action: serve the task API on the socket passed as standard input.
    #[default]
    Serve,
    /// Start a server and print its address.
    Start,
    /// Clean up after a server that is gone.
    Delete,
    /// `-info`: describe this runtime.
    Info,
    /// `-v`: print the version.
    Version,
}

/// The parsed command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub action: Action,
    /// containerd's namespace.
    pub namespace: String,
    /// Container id.
    pub id: String,
    /// containerd's gRPC socket.
    pub address: String,
    /// Bundle folder; `delete` gets it by flag, the others as working directory.
    pub bundle: String,
    /// Log debug messages.
    pub debug: bool,
}

impl Args {
    /// Parses the words after the program's name.
    ///
    /// # Errors
    /// An unknown flag or action, a flag without its value, or an id that could escape a path.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = Args::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                args.action = match word.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    other => {
                        return Err(Error::Invalid(format!(
                            "unknown action {other:?}: expected start or delete"
                        )));
                    }
                };
                continue;
            };
            let (name, mut inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let mut value = || {
                inline
                    .take()
                    .or_else(|| words.next())
                    .ok_or_else(|| Error::Invalid(format!("flag -{name} needs a value")))
            };
            match name {
                "namespace" => args.namespace = value()?,
                "id" => args.id = value()?,
                "address" => args.address = value()?,
                "bundle" => args.bundle = value()?,
                // How events were published before ttrpc, and a socket the shim chooses itself.
                "publish-binary" | "socket" => drop(value()?),
                "debug" => args.debug = inline.as_deref() != Some("false"),
                "info" => args.action = Action::Info,
                "v" | "version" => args.action = Action::Version,
                other => return Err(Error::Invalid(format!("unknown flag -{other}"))),
            }
        }
        if !matches!(args.action, Action::Info | Action::Version) {
            check_identifier("namespace", &args.namespace)?;
            check_identifier("container id", &args.id)?;
        }
        Ok(args)
    }
}

/// Longest namespace, container or exec id; containerd's own limit is 76.
const MAX_IDENTIFIER_BYTES: usize = 128;

/// Checks that a name is safe as a file name and in unit names: letters, digits, `.`, `_`, `-`, beginning
/// with a letter or digit. containerd's own identifiers are a subset.
///
/// # Errors
/// Names `what` and the value.
pub fn check_identifier(what: &str, value: &str) -> Result<()> {
    let valid = value.len() <= MAX_IDENTIFIER_BYTES
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if valid {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{what} {} is not valid: expected 1 to {MAX_IDENTIFIER_BYTES} letters, digits, '.', '_' or '-'",
        shown(value)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_of_containerd_1_7_are_understood() {
        let args = parse(
            "-namespace default -address /run/c.sock -publish-binary /usr/bin/containerd -id a1 -debug start",
        )
        .unwrap();
        assert_eq!(args.action, Action::Start);
        assert_eq!((args.namespace.as_str(), args.id.as_str()), ("default", "a1"));
        assert!(args.debug);
        let args = parse("--namespace=n --id=a -bundle /b delete").unwrap();
        assert_eq!((args.action, args.bundle.as_str()), (Action::Delete, "/b"));
    }

    #[test]
    fn ids_that_could_leave_the_bundle_are_refused() {
        for id in ["..", "../x", "a/b", "-rf", "", "a b", "ä"] {
            assert!(check_identifier("id", id).is_err(), "{id:?}");
        }
        assert!(check_identifier("id", &"a".repeat(129)).is_err());
        assert!(check_identifier("id", "k8s.io").is_ok());
    }

    #[test]
    fn unknown_flags_and_actions_are_named() {
        assert!(parse("-id a -namespace n -frob").unwrap_err().to_string().contains("-frob"));
        assert!(parse("-id a -namespace n explode").unwrap_err().to_string().contains("explode"));
        assert!(parse("-id").unwrap_err().to_string().contains("needs a value"));
    }
}
