//! `[users]`: roles, SSH keys and console passwords.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::document::shortened;
use super::model::{PasswordHash, Role, User};
use super::names;
use super::reader::{Node, Reader, Section};

/// Most users.
const MAX_USERS: usize = 256;
/// Most keys of a user.
const MAX_KEYS: usize = 64;
/// Longest key line: an RSA key of 16384 bits with a comment.
const MAX_KEY: usize = 4096;

/// Reads `[users]`.
pub(super) fn read<'d>(reader: &mut Reader<'d>, root: &Section<'d>) -> BTreeMap<String, User> {
    let Some(node) = reader.take(root, "users") else {
        return BTreeMap::new();
    };
    let members = reader.members(&node, MAX_USERS);
    let mut users = BTreeMap::new();
    for (name, node) in members {
        if let Err(message) = names::check_user_name(name) {
            reader.wrong_value(&node, message);
        }
        if let Some(user) = read_user(reader, &node) {
            users.insert(name.to_owned(), user);
        }
    }
    users
}

fn read_user<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<User> {
    let section = reader.section(node, "users.*")?;
    let role_node = reader.take(&section, "role");
    let keys_node = reader.take(&section, "keys");
    let password_node = reader.take(&section, "console_password");
    let all_known = reader.finish(&section);
    if role_node.is_none() {
        reader.missing(
            node,
            all_known,
            "`role` is missing: \"admin\" may change the switch, \"view\" may look",
        );
    }
    if keys_node.is_none() && password_node.is_none() {
        reader.missing(node, all_known, "the user could not log in: give `keys`, `console_password` or both");
    }
    let role = role_node.and_then(|node| reader.parsed(&node, 64, parse_role));
    let keys = keys_node.map(|node| read_keys(reader, &node)).unwrap_or_default();
    let console_password = password_node.and_then(|node| read_password(reader, &node));
    Some(User { place: node.place, role: role?, keys, console_password })
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "admin" => Ok(Role::Admin),
        "view" => Ok(Role::View),
        _ => {
            Err(format!("no role `{}`: \"admin\" may change the switch, \"view\" may look", shortened(text)))
        }
    }
}

fn read_keys<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for item in reader.array(node, MAX_KEYS) {
        match reader.parsed(&item, MAX_KEY, check_ssh_key) {
            Some(key) if keys.contains(&key) => reader.wrong_value(&item, "the key is listed twice"),
            Some(key) => keys.push(key),
            None => {}
        }
    }
    keys
}

/// Key types OpenSSH accepts by default, and the least length of the key itself in bytes.
const KEY_TYPES: [(&str, usize); 7] = [
    ("ssh-ed25519", 36),
    ("sk-ssh-ed25519@openssh.com", 36),
    ("ecdsa-sha2-nistp256", 65),
    ("ecdsa-sha2-nistp384", 97),
    ("ecdsa-sha2-nistp521", 133),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 65),
    ("ssh-rsa", 256),
];

/// Checks an SSH public key as `ssh-keygen` writes it to a `.pub` file (RFC 4253, section 6.6), and gives
/// it back with single spaces.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn check_ssh_key(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("an SSH public key is one line of text".to_owned());
    }
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key: keep it secret, and give the line of the .pub file".to_owned());
    }
    let mut words = text.split_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some((_, least)) = KEY_TYPES.iter().find(|(name, _)| *name == kind) else {
        let types: Vec<&str> = KEY_TYPES.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "`{}` begins no SSH public key: give the line of the .pub file, without options, of type {}",
            shortened(kind),
            types.join(", ")
        ));
    };
    let blob = STANDARD.decode(body).map_err(|_| {
        format!("the {kind} key is damaged (not valid base64): copy the whole line of the .pub file")
    })?;
    let name_len = u32::try_from(kind.len()).unwrap_or(u32::MAX).to_be_bytes();
    let rest = blob.strip_prefix(&name_len[..]).and_then(|rest| rest.strip_prefix(kind.as_bytes()));
    match rest {
        None => Err(format!("the {kind} key is damaged: its content is of another type")),
        Some(rest) if !fields_fit(rest) => {
            Err(format!("the {kind} key is cut short: copy the whole line of the .pub file"))
        }
        Some(rest) if rest.len() < *least => {
            Err(format!("the {kind} key is too short to be safe (RSA needs 2048 bits)"))
        }
        Some(_) => Ok(text.split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

/// Whether bytes are a sequence of fields, each with its length in front (RFC 4251, section 5).
fn fields_fit(mut rest: &[u8]) -> bool {
    while let Some((length, body)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        match body.get(length..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Reads a password hash. Nothing of the value is ever repeated: it may be a password by mistake.
fn read_password<'d>(reader: &mut Reader<'d>, node: &Node<'d>) -> Option<PasswordHash> {
    let Some(text) = node.value.as_str() else {
        reader.wrong_value(node, format!("expected a string: {PASSWORD_HELP}"));
        return None;
    };
    if is_password_hash(text) {
        return Some(PasswordHash(text.to_owned()));
    }
    reader.wrong_value(node, format!("this is no password hash of a kind the switch knows: {PASSWORD_HELP}"));
    None
}

const PASSWORD_HELP: &str =
    "write what `openssl passwd -6` or `mkpasswd` prints ($6$… or $y$…), never the password itself";

/// Whether text is a crypt(5) hash of a kind that is still thought safe.
fn is_password_hash(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=,".contains(&byte);
    let parts: Vec<&str> = text.split('$').collect();
    let hash_len = parts.last().map_or(0, |hash| hash.len());
    let shape = match parts.as_slice() {
        ["", "6", _, _] => hash_len == 86,
        ["", "6", rounds, _, _] => rounds.starts_with("rounds=") && hash_len == 86,
        ["", "5", _, _] => hash_len == 43,
        ["", "5", rounds, _, _] => rounds.starts_with("rounds=") && hash_len == 43,
        ["", "y" | "gy" | "7", _, _, _] => hash_len == 43,
        ["", "2b", cost, _] => cost.len() == 2 && hash_len == 53,
        _ => false,
    };
    shape && text.len() <= 256 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn a_key_keeps_its_comment() {
        assert_eq!(check_ssh_key(&format!("{ED25519}  ana")).unwrap(), format!("{ED25519} ana"));
    }

    #[test]
    fn what_is_no_key_is_explained() {
        let rsa_1024 = {
            let mut blob = Vec::new();
            for field in [&b"ssh-rsa"[..], &[1, 0, 1], &[1; 129]] {
                blob.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
                blob.extend(field);
            }
            format!("ssh-rsa {}", STANDARD.encode(blob))
        };
        for (key, part) in [
            ("", "begins no SSH public key"),
            ("ssh-dss AAAA", "begins no SSH public key"),
            ("command=\"x\" ssh-ed25519 AAAA", "begins no SSH public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
            ("ssh-ed25519 !!!", "not valid base64"),
            ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f", "another type"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8Q", "cut short"),
            ("ssh-ed25519 AAAA\nssh-ed25519 BBBB", "one line"),
            (&rsa_1024, "too short"),
        ] {
            let error = check_ssh_key(key).unwrap_err();
            assert!(error.contains(part), "{key}: {error}");
        }
    }

    #[test]
    fn only_hashes_are_password_hashes() {
        let sha512 = format!("$6$saltsalt${}", "a".repeat(86));
        let yescrypt = format!("$y$j9T$saltsalt${}", "a".repeat(43));
        for hash in [sha512.as_str(), yescrypt.as_str(), &format!("$6$rounds=5000$salt${}", "b".repeat(86))] {
            assert!(is_password_hash(hash), "{hash}");
        }
        for text in ["", "secret", "$6$", "$1$salt$aaaa", "$6$salt$short", "$9$x$y", &format!("{sha512}\n")] {
            assert!(!is_password_hash(text), "{text}");
        }
    }
}
