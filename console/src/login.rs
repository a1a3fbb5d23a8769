//! `corten` as a login shell.
//!
//! login(1) starts it as `-corten`, without arguments: that is the TUI. sshd starts it as
//! `corten -c "show ports"` for `ssh ana@switch show ports`: the text is split into words as a shell
//! would split it, and the words are `corten`'s own arguments. Nothing else is ever executed.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;

/// The most bytes a command line may have.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The most sshd has to say about how a user logged in: a key of 16384 bits and little more.
const MAX_AUTH_BYTES: u64 = 16 * 1024;

/// The words of the command to run, from the arguments after the program name; none for the screens.
///
/// # Errors
/// A sentence for the user: arguments that are not UTF-8, or a `-c` text that is too long or whose
/// quotes do not match.
pub fn words(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>, String> {
    let words = arguments
        .map(|word| {
            word.into_string()
                .map_err(|word| format!("{}: not UTF-8", crate::text::clean(&word.to_string_lossy())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match words.as_slice() {
        [flag, line] if flag == "-c" => split(line),
        [flag] if flag == "-c" => Err("-c needs a command".into()),
        _ => Ok(words),
    }
}

/// Splits a command line into words. A leading `corten` is left out: people type it out of habit.
///
/// # Errors
/// A sentence for the user, when the line is too long or its quotes do not match.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("the command is longer than {MAX_LINE_BYTES} bytes"));
    }
    let mut words =
        shell_words::split(line).map_err(|_| "a quote in the command is not closed".to_owned())?;
    if words.first().is_some_and(|word| word == "corten") {
        words.remove(0);
    }
    Ok(words)
}

/// The fingerprint of the SSH key this session was opened with. sshd tells it where `ExposeAuthInfo` is set
/// (sshd_config(5)); at the console there is none.
pub fn key_fingerprint() -> Option<String> {
    let path = std::env::var_os("SSH_USER_AUTH")?;
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_AUTH_BYTES).read_to_string(&mut text).ok()?;
    fingerprint_of(&text)
}

/// The key in what sshd writes: a line each way the user proved who it is, such as `publickey ssh-ed25519 …`.
fn fingerprint_of(auth_info: &str) -> Option<String> {
    auth_info.lines().find_map(|line| netd_api::generation::key_fingerprint(line.strip_prefix("publickey ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_session_is_found_in_what_sshd_tells() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let fingerprint = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";
        assert_eq!(fingerprint_of(&format!("publickey {key}\n")).as_deref(), Some(fingerprint));
        assert_eq!(fingerprint_of(&format!("password\npublickey {key}\n")).as_deref(), Some(fingerprint));
        for text in ["", "password\n", "publickey\n", "publickey ssh-ed25519 \u{0}", key] {
            assert_eq!(fingerprint_of(text), None, "{text}");
        }
    }

    fn of(arguments: &[&str]) -> Result<Vec<String>, String> {
        words(arguments.iter().map(OsString::from))
    }

    #[test]
    fn no_arguments_mean_the_screens() {
        assert_eq!(of(&[]), Ok(vec![]));
        assert_eq!(of(&["-c", ""]), Ok(vec![]));
    }

    #[test]
    fn a_command_of_sshd_is_split_as_a_shell_would() {
        assert_eq!(of(&["-c", "show ports --json"]).unwrap(), ["show", "ports", "--json"]);
        assert_eq!(of(&["-c", r#"check 'my switch.toml'"#]).unwrap(), ["check", "my switch.toml"]);
        assert_eq!(of(&["-c", r#"check "a b"\ c"#]).unwrap(), ["check", "a b c"]);
    }

    #[test]
    fn shell_operators_are_words_like_others() {
        assert_eq!(of(&["-c", "show ports; reboot"]).unwrap(), ["show", "ports;", "reboot"]);
        assert_eq!(of(&["-c", "show $(id) | cat"]).unwrap(), ["show", "$(id)", "|", "cat"]);
    }

    #[test]
    fn the_program_name_may_lead_the_command() {
        assert_eq!(of(&["-c", "corten show vlans"]).unwrap(), ["show", "vlans"]);
    }

    #[test]
    fn arguments_without_c_pass_unchanged() {
        assert_eq!(of(&["show", "ports", "swp1"]).unwrap(), ["show", "ports", "swp1"]);
        assert_eq!(of(&["check", "-c"]).unwrap(), ["check", "-c"]);
    }

    #[test]
    fn broken_commands_are_refused() {
        assert!(of(&["-c", "show 'ports"]).unwrap_err().contains("quote"));
        assert!(of(&["-c"]).unwrap_err().contains("needs a command"));
        assert!(split(&"x".repeat(MAX_LINE_BYTES + 1)).unwrap_err().contains("longer"));
    }
}
