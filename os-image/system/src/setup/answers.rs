//! What each question takes for an answer. All of it is judged by netd-api, in the words in which it
//! would judge the document.

use std::fs::File;
use std::io::{self, Read};

use netd_api::config;
use sha_crypt::{PasswordHasher, ShaCrypt};

use super::document::{Answers, Network, quoted};

/// Shortest console password: the console is a cable, and guesses come at human speed.
pub const MIN_PASSWORD: usize = 8;
const MAX_PASSWORD: usize = 256;

/// Checks one setting by reading a document with nothing else in it.
fn judged(section: &str) -> Result<(), String> {
    config::parse(&format!("version = 1\n{section}\n")).map(|_| ()).map_err(|diagnostics| {
        let messages: Vec<String> = diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect();
        messages.join("; ")
    })
}

/// A user name.
pub fn user_name(text: &str) -> Result<String, String> {
    judged(&format!("[users.{}]\nrole = \"admin\"\nkeys = []", quoted(text)))?;
    Ok(text.to_owned())
}

/// An SSH public key.
pub fn ssh_key(text: &str) -> Result<String, String> {
    config::check_ssh_key(text)
}

/// A host name.
pub fn host_name(text: &str) -> Result<String, String> {
    judged(&format!("[system]\nhostname = {}", quoted(text)))?;
    Ok(text.to_owned())
}

/// An address with prefix length.
pub fn address(text: &str) -> Result<String, String> {
    judged(&format!("[management]\naddress = [{}]", quoted(text)))?;
    Ok(text.to_owned())
}

/// A gateway within the subnet of an address.
pub fn gateway(address: &str, text: &str) -> Result<String, String> {
    let network = Network::Static { address: address.to_owned(), gateway: Some(text.to_owned()) };
    judged(&Answers { network, ..Answers::default() }.management())?;
    Ok(text.to_owned())
}

/// The hash of a new password.
pub fn password_hash(password: &str) -> Result<String, String> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(format!("too short: {MIN_PASSWORD} characters or more"));
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("too long: at most {MAX_PASSWORD} bytes"));
    }
    let salt = random_salt().map_err(|error| format!("cannot make a salt: {error}"))?;
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| format!("cannot hash the password: {error}"))
}

/// Bytes for 16 characters of salt. crypt(3) cuts a longer salt, and would then never find the hash equal.
fn random_salt() -> io::Result<[u8; 12]> {
    let mut salt = [0; 12];
    File::open("/dev/urandom")?.read_exact(&mut salt)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_password_hash_is_what_crypt_would_make() {
        let password = "correct horse";
        let hash = password_hash(password).unwrap();
        assert!(
            judged(&format!("[users.a]\nrole = \"admin\"\nconsole_password = {}", quoted(&hash))).is_ok()
        );
        // openssl implements SHA-crypt independently.
        let fields: Vec<&str> = hash.split('$').collect();
        let salt = match fields.as_slice() {
            ["", "6", salt, _] => (*salt).to_owned(),
            ["", "6", rounds, salt, _] => format!("{rounds}${salt}"),
            _ => panic!("not a SHA-512 hash: {hash}"),
        };
        let mut openssl = Command::new("openssl")
            .args(["passwd", "-6", "-stdin", "-salt", &salt])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), hash);
    }

    #[test]
    fn answers_are_judged_like_the_document() {
        assert!(user_name("root").unwrap_err().contains("belongs to the system"));
        assert!(user_name("a\"]\n[x").is_err());
        assert!(host_name("leaf_1").is_err());
        assert!(address("192.0.2.10").unwrap_err().contains("prefix length"));
        assert!(gateway("192.0.2.10/24", "192.0.3.1").unwrap_err().contains("no subnet"));
        assert!(gateway("192.0.2.10/24", "192.0.2.1").is_ok());
        assert!(password_hash("short").is_err());
    }
}
