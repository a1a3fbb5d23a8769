//! Names: interfaces, port ranges, hosts, users.

use super::document::shortened;

/// Most ports one document may name.
pub const MAX_PORTS: usize = 1024;

/// Largest number in a port name.
const MAX_PORT_NUMBER: u32 = 9999;

/// Longest interface name (`IFNAMSIZ` less the final zero).
pub(super) const MAX_INTERFACE_NAME: usize = 15;

/// Whether the name is that of a front-panel port: `swpN`, or `swpNsM` for a part of a split one.
pub fn is_port_name(name: &str) -> bool {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain && (text == "0" || !text.starts_with('0'))
    };
    name.strip_prefix("swp").is_some_and(|rest| match rest.split_once('s') {
        Some((port, part)) => number(port) && number(part),
        None => number(rest),
    })
}

/// The port that a part belongs to, and the part's number.
pub fn split_name(name: &str) -> Option<(&str, u32)> {
    let (number, part) = name.strip_prefix("swp")?.split_once('s')?;
    Some((&name[..3 + number.len()], part.parse().ok()?))
}

/// The port names a pattern such as `swp[1,3,5-7]` or `swp[1-4]s[0-1]` stands for.
pub(super) fn expand_ports(pattern: &str) -> Result<Vec<String>, String> {
    let names = expand(pattern)?;
    match names.iter().find(|name| !is_port_name(name)) {
        None => Ok(names),
        Some(name) => Err(format!(
            "`{}` is no port name: ports are swpN, parts of split ports swpNsM, ranges \"swp[2-24]\" or \"swp[1,3,5-7]\"",
            shortened(name)
        )),
    }
}

/// The names a pattern of ports stands for, or the name of one LAG.
pub(super) fn expand_bridge_ports(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.starts_with("swp") {
        return expand_ports(pattern);
    }
    check_interface_name(pattern).map(|()| vec![pattern.to_owned()])
}

fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((head, rest)) = pattern.split_once('[') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let Some((numbers, tail)) = rest.split_once(']') else {
        return Err("a range has no closing bracket: write \"swp[2-24]\"".to_owned());
    };
    let tails = expand_once_more(tail)?;
    let numbers = expand_numbers(numbers)?;
    if numbers.len() * tails.len() > MAX_PORTS {
        return Err(format!(
            "the range names {} ports; at most {MAX_PORTS} are supported",
            numbers.len() * tails.len()
        ));
    }
    let name =
        |number: &u32| tails.iter().map(move |tail| format!("{head}{number}{tail}")).collect::<Vec<_>>();
    Ok(numbers.iter().flat_map(name).collect())
}

/// What follows the first range may hold one more (`swp[1-4]s[0-1]`), and no third.
fn expand_once_more(tail: &str) -> Result<Vec<String>, String> {
    if tail.matches('[').count() > 1 {
        return Err("a name may hold at most two ranges: \"swp[1-4]s[0-1]\"".to_owned());
    }
    expand(tail)
}

fn expand_numbers(list: &str) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for item in list.split(',') {
        let item = item.trim();
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range {first}-{last} runs backwards: write {last}-{first}"));
        }
        numbers.extend(first..=last);
        if numbers.len() > MAX_PORTS {
            return Err(format!("the range names more than {MAX_PORTS} ports, the most that are supported"));
        }
    }
    Ok(numbers)
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!(
            "`{}` in a range is no number: write \"swp[2-24]\" or \"swp[1,3,5-7]\"",
            shortened(text)
        ));
    }
    let number: Option<u32> = text.parse().ok().filter(|number| *number <= MAX_PORT_NUMBER);
    number.ok_or_else(|| format!("port number {} is out of range: 0 to {MAX_PORT_NUMBER}", shortened(text)))
}

/// Checks the name of an interface the operator may choose (VRFs, LAGs, loopbacks, tunnels).
pub(super) fn check_interface_name(name: &str) -> Result<(), String> {
    let shown = shortened(name);
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME {
        return Err(format!("`{shown}` is no interface name: 1 to {MAX_INTERFACE_NAME} characters"));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.bytes().all(allowed) || !name.as_bytes()[0].is_ascii_alphabetic() {
        return Err(format!(
            "`{shown}` is no interface name: begin with a letter, go on with letters, digits, `_`, `-`, `.`"
        ));
    }
    if is_reserved(name) {
        return Err(format!("the name `{shown}` is kept for the switch itself; choose another"));
    }
    Ok(())
}

/// Names with a meaning of their own: ports, VLAN interfaces, what netd and the kernel make, and the
/// two names that mean all interfaces under /proc/sys/net.
fn is_reserved(name: &str) -> bool {
    let numbered = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["swp", "vlan", "eth", "mgmt"].into_iter().any(numbered)
        || ["bridge", "lo", "all", "default", "main", "local"].contains(&name)
}

/// Checks a host name (RFC 1123), which Linux limits to 64 characters.
pub(super) fn check_host_name(name: &str) -> Result<String, String> {
    let label = |label: &str| {
        let allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        !label.is_empty() && label.len() <= 63 && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "`{}` is no host name: labels of letters, digits and `-`, joined by dots, at most 64 characters",
        shortened(name)
    ))
}

/// Checks the name of a user.
pub(super) fn check_user_name(name: &str) -> Result<(), String> {
    let shown = shortened(name);
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if !first || !rest || name.len() > 31 {
        return Err(format!(
            "`{shown}` is no user name: begin with a lower-case letter or `_`, go on with these, digits and `-`; at most 31 characters"
        ));
    }
    const SYSTEM: [&str; 18] = [
        "root",
        "daemon",
        "bin",
        "sys",
        "sync",
        "games",
        "man",
        "lp",
        "mail",
        "news",
        "proxy",
        "backup",
        "list",
        "irc",
        "nobody",
        "sshd",
        "messagebus",
        "adm",
    ];
    if SYSTEM.contains(&name) || name.starts_with("systemd-") || name.starts_with("corten") {
        return Err(format!("the user name `{shown}` belongs to the system; choose another"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_in_the_order_given() {
        assert_eq!(expand_ports("swp[1,3,5-7]").unwrap(), ["swp1", "swp3", "swp5", "swp6", "swp7"]);
        assert_eq!(expand_ports("swp[1-2]s[0-1]").unwrap(), ["swp1s0", "swp1s1", "swp2s0", "swp2s1"]);
        assert_eq!(expand_ports("swp48").unwrap(), ["swp48"]);
    }

    #[test]
    fn ranges_that_make_no_sense_are_explained() {
        for (pattern, part) in [
            ("swp[1-4000000000]", "out of range"),
            ("swp[0-9999]", "more than 1024"),
            ("swp[1-100]s[0-99]", "names 10000 ports"),
            ("swp[5-2]", "runs backwards"),
            ("swp[2-24", "closing bracket"),
            ("swp[]", "is no number"),
            ("swp[1-2][3-4][5-6]", "at most two"),
            ("eth0", "is no port name"),
            ("swp01", "is no port name"),
            ("", "is no port name"),
        ] {
            let error = expand_ports(pattern).unwrap_err();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }

    #[test]
    fn names_of_the_switch_itself_are_refused() {
        for name in ["swp1", "vlan10", "bridge", "mgmt0", "lo", "all", "a-name-too-long-", "1st", "a/b", ""] {
            assert!(check_interface_name(name).is_err(), "{name}");
        }
        for name in ["blue", "mgmt", "lo0", "lo.1", "vlan-x"] {
            assert!(check_interface_name(name).is_ok(), "{name}");
        }
    }
}
