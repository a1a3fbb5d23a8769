//! The running document for those who may look but not know password hashes.

use netd_api::config::Config;

/// What stands for a hash.
const MASK: &str = "(hidden)";

/// The document with every password hash hidden. `None` when one is written in a way that cannot be
/// found again in the text.
pub fn mask(document: &str, config: &Config) -> Option<String> {
    let mut text = document.to_owned();
    for hash in config.users.values().filter_map(|user| user.console_password.as_ref()) {
        text = text.replace(hash.expose(), MASK);
    }
    // TOML can write the same value in several ways, so what came out is read again and checked.
    let table: toml::Table = text.parse().ok()?;
    let users = table.get("users").and_then(toml::Value::as_table);
    let hidden =
        |user: &toml::Value| user.get("console_password").is_none_or(|value| value.as_str() == Some(MASK));
    users.is_none_or(|users| users.values().all(hidden)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$6$saltsaltsaltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

    fn masked(written: &str) -> Option<String> {
        let document =
            format!("version = 1\n[users.ana]\nrole = \"admin\"\nconsole_password = \"{written}\"\n");
        let config = netd_api::config::parse(&document).expect("a valid document");
        mask(&document, &config)
    }

    #[test]
    fn a_hash_does_not_come_through() {
        let text = masked(HASH).unwrap();
        assert!(!text.contains("saltsalt"), "{text}");
        assert!(text.contains("role = \"admin\""));
    }

    #[test]
    fn a_hash_written_in_escapes_is_not_shown_either() {
        assert_eq!(masked(&HASH.replacen('$', "\\u0024", 1)), None);
    }
}
