//! `corten show system`: the switch at a glance.

use std::fs;

use netd_api::generation::Health;
use serde::Serialize;

use crate::cli::Format;
use crate::client::Error;
use crate::commands::Context;
use crate::look::Tone;
use crate::outcome::Outcome;
use crate::text;

/// What `corten show system --json` prints.
#[derive(Serialize)]
struct System {
    hostname: String,
    version: String,
    kernel: String,
    uptime_s: u64,
    generation: u64,
    state: Health,
    confirm_by_s: u64,
    problems: Vec<String>,
    ports_up: usize,
    ports: usize,
}

/// Prints host name, version, uptime, generation, how many front-panel ports are up, and what is wrong.
pub async fn run(format: Format, context: &Context) -> Result<Outcome, Error> {
    let netd = crate::commands::connect().await?;
    let status = netd.status().await?;
    let mut ports = netd.ports().await?;
    ports.retain(|port| port.kind == "front-panel");
    let system = System {
        hostname: hostname(),
        version: version(),
        kernel: nix::sys::utsname::uname()
            .map(|name| name.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        uptime_s: uptime_s(),
        generation: status.generation,
        state: status.state,
        confirm_by_s: status.confirm_by_s,
        problems: status.problems,
        ports_up: ports.iter().filter(|port| port.oper_state == "up").count(),
        ports: ports.len(),
    };
    if format.json {
        return crate::commands::json(&system);
    }
    let state = match system.confirm_by_s {
        0 => system.state.to_string(),
        until_s => {
            let (state, user) = (system.state, text::clean(&status.user));
            format!("{state}, to be confirmed by {user} until {}", text::clock(until_s))
        }
    };
    let rows = [
        ("Host name", system.hostname),
        ("Version", system.version),
        ("Kernel", system.kernel),
        ("Uptime", duration(system.uptime_s)),
        ("Generation", system.generation.to_string()),
        ("State", state),
        ("Ports up", format!("{} of {}", system.ports_up, system.ports)),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        let title = context.look.paint(&format!("{name}:"), Tone::Heading);
        let padding = " ".repeat(12usize.saturating_sub(name.len() + 1));
        out.push_str(&format!("{title}{padding}{}\n", text::clean(text::or_dash(&value))));
    }
    for problem in &system.problems {
        out.push_str(&format!("{}\n", context.look.paint(&text::clean(problem), Tone::Bad)));
    }
    Ok(Outcome::done(out))
}

/// The host name the kernel goes by now.
pub fn hostname() -> String {
    nix::unistd::gethostname().map(|name| text::clean(&name.to_string_lossy())).unwrap_or_default()
}

/// `PRETTY_NAME` of os-release(5).
fn version() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    shell_words::split(value).unwrap_or_default().join(" ")
}

/// Seconds since the kernel started (`/proc/uptime`).
fn uptime_s() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// A duration as a person says it: `3 d 04:05:06`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days == 0 { clock } else { format!("{days} d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_days_and_a_clock() {
        assert_eq!(duration(59), "00:00:59");
        assert_eq!(duration(3 * 86_400 + 4 * 3600 + 5 * 60 + 6), "3 d 04:05:06");
    }
}
