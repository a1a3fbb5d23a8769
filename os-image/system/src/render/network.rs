//! The management network, as files for systemd-networkd (systemd.network(5), systemd.netdev(5)).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Result;
use netd_api::config::Config;
use netd_api::config::model::{Management, ManagementAddress, ManagementVrf};

use super::{Entry, Rendered, resolver, run_program, sync_folder};
use crate::files;

/// Where networkd looks for files that do not outlive the boot.
const FOLDER: &str = "/run/systemd/network";
/// Our files there begin so.
const PREFIX: &str = "10-";
/// The management port.
const PORT: &str = "mgmt0";
/// Priority of the rules that lead to name and time servers behind the management VRF: before the main
/// table, after the kernel's own rule for VRFs (1000).
const RULE_PRIORITY: u32 = 2000;
/// The user that systemd-timesyncd runs as.
const TIME_USER: &str = "systemd-timesync";

/// Writes the files and, if any changed, has networkd read them.
pub fn render(root: &Path, config: &Config) -> Result<()> {
    let rendered = files_of(&config.management, &resolver::servers(root, config));
    let changed = sync_folder(&files::below(root, FOLDER), &rendered, |name| name.starts_with(PREFIX))?;
    if changed.is_empty() {
        return Ok(());
    }
    for name in changed.iter().filter(|name| !rendered.contains_key(*name)) {
        // networkd leaves devices alone whose file is gone. One that [vrfs] defines is netd's.
        if let Some(device) = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(".netdev"))
            && !config.vrfs.contains_key(device)
        {
            run_program(root, "networkctl", &["delete", device])?;
        }
    }
    run_program(root, "networkctl", &["reload"])
}

fn files_of(management: &Management, name_servers: &[IpAddr]) -> Rendered {
    let mut rendered = Rendered::new();
    rendered.insert(format!("{PREFIX}{PORT}.network"), Entry::public(port(management)));
    if let Some(vrf) = &management.vrf {
        rendered.insert(format!("{PREFIX}{}.netdev", vrf.name), Entry::public(vrf_device(vrf)));
        rendered
            .insert(format!("{PREFIX}{}.network", vrf.name), Entry::public(vrf_network(vrf, name_servers)));
    }
    rendered
}

const HEADER: &str = "# From [management] of the running configuration; rewritten when it changes.\n";

fn vrf_device(vrf: &ManagementVrf) -> String {
    format!("{HEADER}[NetDev]\nName={}\nKind=vrf\n\n[VRF]\nTable={}\n", vrf.name, vrf.table)
}

/// networkd brings up only what a file matches. The rules stand here and not with the port: networkd sets
/// a port up anew when its file changes, which would end the lease that brought the servers.
fn vrf_network(vrf: &ManagementVrf, name_servers: &[IpAddr]) -> String {
    format!(
        "{HEADER}[Match]\nName={}\nKind=vrf\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n{}",
        vrf.name,
        server_rules(vrf, name_servers)
    )
}

fn port(management: &Management) -> String {
    let mut lines = vec![
        "[Match]".to_owned(),
        format!("Name={PORT}"),
        String::new(),
        "[Link]".to_owned(),
        "RequiredForOnline=no".to_owned(),
        String::new(),
        "[Network]".to_owned(),
        "LinkLocalAddressing=ipv6".to_owned(),
    ];
    lines.extend(management.vrf.iter().map(|vrf| format!("VRF={}", vrf.name)));
    lines.extend(management.dns.iter().map(|server| format!("DNS={server}")));
    lines.extend(management.ntp.iter().map(|server| format!("NTP={server}")));
    match &management.address {
        ManagementAddress::Dhcp => lines.extend(dhcp(management)),
        ManagementAddress::Static { addresses, gateways } => {
            lines.extend(["DHCP=no".to_owned(), "IPv6AcceptRA=no".to_owned()]);
            lines.extend(addresses.iter().map(|address| format!("Address={address}")));
            lines.extend(gateways.iter().map(|gateway| format!("Gateway={gateway}")));
        }
    }
    format!("{HEADER}{}\n", lines.join("\n"))
}

fn dhcp(management: &Management) -> Vec<String> {
    let yes_unless = |configured: bool| if configured { "no" } else { "yes" };
    let servers = |section: &str| {
        let dns = yes_unless(!management.dns.is_empty());
        let ntp = yes_unless(!management.ntp.is_empty());
        vec![String::new(), format!("[{section}]"), format!("UseDNS={dns}"), format!("UseNTP={ntp}")]
    };
    let mut lines = vec!["DHCP=yes".to_owned(), "IPv6AcceptRA=yes".to_owned()];
    lines.extend(servers("DHCPv4"));
    // The configuration names the switch, and the hardware address stays the same over a reinstallation.
    lines.extend(["ClientIdentifier=mac".to_owned(), "UseHostname=no".to_owned()]);
    lines.extend(servers("DHCPv6"));
    lines.push("UseHostname=no".to_owned());
    lines
}

/// The switch's own programs ask name and time servers from the default VRF: rules lead these questions
/// into the management VRF. Only what starts on the switch itself (`iif lo`): a host on a front-panel port
/// that sends to the same address is routed in its own VRF.
fn server_rules(vrf: &ManagementVrf, name_servers: &[IpAddr]) -> String {
    let rule = |selector: String| {
        format!(
            "\n[RoutingPolicyRule]\n{selector}\nIncomingInterface=lo\nTable={}\nPriority={RULE_PRIORITY}\n",
            vrf.table
        )
    };
    // Time servers may be names, whose addresses are known to the daemon alone: all that it sends.
    let time = format!("User={TIME_USER}\nFamily=both");
    let names: BTreeSet<&IpAddr> = name_servers.iter().collect();
    let selectors = std::iter::once(time).chain(names.into_iter().map(|server| format!("To={server}")));
    selectors.map(rule).collect()
}
