//! Name servers: `/run/corten/resolv.conf`, to which `/etc/resolv.conf` points. Those of the
//! configuration, else those networkd has from DHCP.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use netd_api::config::Config;

use crate::files;

const FILE: &str = "/run/corten/resolv.conf";
/// networkd's account of what it learned (sd_network_get_dns(3) reads it, too).
pub const NETWORKD_STATE: &str = "/run/systemd/netif/state";
/// glibc asks no more than this many servers (`MAXNS`).
const MAX_SERVERS: usize = 3;
/// networkd's file is short; one that is not is not read.
const MAX_STATE_BYTES: usize = 64 * 1024;

/// Writes the file.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let servers = servers(root, config);
    let file = files::below(root, FILE);
    if let Some(folder) = file.parent() {
        files::make_folder(folder, 0o755)?;
    }
    files::write_if_changed(&file, content(&servers).as_bytes(), 0o644)?;
    Ok(())
}

/// The servers that are asked, the first first.
pub fn servers(root: &Path, config: &Config) -> Vec<IpAddr> {
    let mut servers = match config.management.dns.is_empty() {
        true => leased(&fs::read_to_string(files::below(root, NETWORKD_STATE)).unwrap_or_default()),
        false => config.management.dns.clone(),
    };
    servers.truncate(MAX_SERVERS);
    servers
}

fn content(servers: &[IpAddr]) -> String {
    let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
    format!(
        "# From the running configuration, else from DHCP; rewritten when it changes.\n{}",
        lines.collect::<String>()
    )
}

/// The servers of networkd's `DNS=` line; an entry may carry an interface and a TLS name, which are left.
fn leased(state: &str) -> Vec<IpAddr> {
    if state.len() > MAX_STATE_BYTES {
        return Vec::new();
    }
    let line = state.lines().find_map(|line| line.strip_prefix("DNS=")).unwrap_or_default();
    let address = |entry: &str| entry.split(['#', '%']).next().and_then(|address| address.parse().ok());
    line.split_whitespace().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leased_servers_are_read_from_networkds_state() {
        let state = "OPER_STATE=routable\nDNS=192.0.2.53 2001:db8::53#dns.example fe80::1%2 nonsense\nNTP=192.0.2.123\n";
        let servers: Vec<String> = leased(state).iter().map(IpAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.53", "2001:db8::53", "fe80::1"]);
        assert!(leased("").is_empty());
    }

    #[test]
    fn at_most_three_servers_are_named() {
        let root = tempfile::tempdir().unwrap();
        let text = "version = 1\nmanagement.dns = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']\n";
        render(root.path(), &files::parse("switch.toml", text).unwrap()).unwrap();
        let written = fs::read_to_string(files::below(root.path(), FILE)).unwrap();
        assert_eq!(written.matches("nameserver").count(), 3);
    }
}
