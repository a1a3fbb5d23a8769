//! Entries of the long tables: which ones the words of a command ask netd for.

use std::net::IpAddr;

use netd_api::table::Filter;

use crate::client::{Error, Netd};

/// A hardware address as tables have it, of `02-C0-27-E2-00-01`, `02c0.27e2.0001` or with colons; `None` for what is
/// none.
pub fn mac(text: &str) -> Option<String> {
    let digits = text.replace([':', '-', '.'], "").to_ascii_lowercase();
    let is_mac = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = || (0..6).map(|at| &digits[2 * at..2 * at + 2]).collect::<Vec<_>>().join(":");
    is_mac.then(pairs)
}

/// An IP address as tables have it.
pub fn address(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_string())
}

/// Entries of a table that were asked for by name.
pub struct Named<'a> {
    /// What an entry is called.
    pub noun: &'a str,
    /// As they were typed.
    pub names: &'a [String],
    /// A name as the table has it.
    pub read: fn(&str) -> Option<String>,
}

impl Named<'_> {
    /// The names as a filter has them; `None` when every entry is asked for.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what can be no entry.
    pub fn values(&self) -> Result<Option<Vec<String>>, Error> {
        let value = |name: &String| (self.read)(name).ok_or_else(|| self.none(name));
        match self.names.is_empty() {
            true => Ok(None),
            false => self.names.iter().map(value).collect::<Result<_, _>>().map(Some),
        }
    }

    /// # Errors
    /// [`Error::NotFound`] when a name has no row among those that netd found.
    pub fn check<T>(&self, rows: &[T], key: impl Fn(&T) -> &str) -> Result<(), Error> {
        let has = |name: &String| {
            let wanted = (self.read)(name);
            rows.iter().any(|row| wanted.is_some() && (self.read)(key(row)) == wanted)
        };
        self.names.iter().find(|name| !has(name)).map_or(Ok(()), |name| Err(self.none(name)))
    }

    fn none(&self, name: &str) -> Error {
        Error::NotFound(format!("no {} {}", self.noun, crate::text::clean(name)))
    }
}

/// Of the words of a table's entries takes one that is none, and names an interface, for the interface the table is
/// narrowed to: `show fdb swp6` means what `show fdb --port swp6` does. Answers the other words, and a filter for the
/// interface.
///
/// # Errors
/// [`Error::NotFound`] when there is no such interface.
pub async fn with_interface(
    netd: &Netd,
    mut words: Vec<String>,
    port: Option<String>,
    read: fn(&str) -> Option<String>,
) -> Result<(Vec<String>, Filter), Error> {
    let word = words.iter().position(|word| read(word).is_none());
    let port = match (port, word) {
        (None, Some(at)) => Some(words.remove(at)),
        (port, _) => port,
    };
    let interfaces = known_interfaces(netd, port.as_deref()).await?;
    Ok((words, Filter { interfaces, ..Filter::default() }))
}

/// The interfaces that fit a pattern, to narrow a table to; `None` for all of them.
async fn known_interfaces(netd: &Netd, pattern: Option<&str>) -> Result<Option<Vec<String>>, Error> {
    let Some(pattern) = pattern else { return Ok(None) };
    let mut names: Vec<String> = netd.ports().await?.into_iter().map(|port| port.name).collect();
    names.extend(netd.interfaces().await?.into_iter().map(|row| row.name));
    // Entries of the bridge itself are under its name.
    names.push("bridge".to_owned());
    super::named(names, &[pattern.to_owned()], "port").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: fn(&str) -> Option<String>, name: &str, row: &str) -> Result<(), Error> {
        let names = [name.to_owned()];
        Named { noun: "entry", names: &names, read }.check(&[row], |row| row)
    }

    #[test]
    fn addresses_compare_by_meaning() {
        assert_eq!(check(address, "2001:DB8::1", "2001:db8::1"), Ok(()));
        assert!(check(address, "x", "y").is_err());
        for name in ["02:c0:27:e2:00:01", "02C0.27E2.0001", "02-C0-27-E2-00-01", "02c027e20001"] {
            assert_eq!(check(mac, name, "02:c0:27:e2:00:01"), Ok(()), "{name}");
        }
        assert!(check(mac, "02:c0:27:e2:00", "02:c0:27:e2:00:01").is_err());
        assert!(check(mac, "", "").is_err());
    }
}
