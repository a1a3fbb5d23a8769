//! A million routes on a switch with 1 GiB of memory: applied, shown, taken back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::measure::{Measurement, median};

use super::bulk::print_routes;
use super::span;
use super::tables::time;
use crate::lab::Lab;
use crate::runner::Run;

const ROUTES: u32 = 1_000_000;
/// Look-ups of single addresses.
const LOOKUPS: u32 = 15;
/// For each step on a translated processor.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long the change may wait for its confirmation: longer than all of this takes.
const CONFIRM: &str = "120m";
/// Counts netd's own routes; the shell has another `ip`.
const OWN: &str = "/usr/bin/ip -o route show proto 199 | wc -l";
/// Takes the change back; the command may give up before all is gone.
const TAKE_BACK: &str = "\
read from rest </proc/uptime
corten take-back >&2 || true
while [ -n \"$(/usr/bin/ip -o route show proto 199 | head -n 1)\" ]; do busybox sleep 0.2; done
read to rest </proc/uptime
echo $from $to
";
/// Shows all routes and prints the most memory that netd had meanwhile.
const SHOW: &str = "\
group=/sys/fs/cgroup$(systemctl show -p ControlGroup --value netd.service)
corten show routes >/dev/null & reader=$!
most=0
while kill -0 $reader 2>/dev/null; do
now=$(cat $group/memory.current); [ $now -gt $most ] && most=$now; busybox sleep 0.2
done
wait $reader && echo $most
";
/// Has netd tell how long it takes for each table.
const DROP_IN: &str = "/run/systemd/system/netd.service.d/corten-test-log.conf";

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    let document = lab.document.replace(
        "[ports.\"swp[1-64]\"]",
        "[ports.swp1]\naddresses = [\"192.0.2.1/24\"]\n\n[ports.\"swp[2-64]\"]",
    );
    ensure!(document != lab.document, "the document has no ports swp1 to swp64");
    lab.vm.run(&format!(
        "mkdir -p $(dirname {DROP_IN}) && printf '[Service]\\nEnvironment=NETD_LOG=info,netd::state::stream=debug\\n' \
         >{DROP_IN} && systemctl daemon-reload && systemctl restart netd.service"
    ))?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    let outcome = lab.restoring(|| {
        // The port first, as on a switch that runs: its carrier is there when routes come.
        lab.apply_ok(&document)?;
        lab.write_file("/run/base.toml", &document)?;
        shown(lab, run)
    });
    lab.vm.run(&format!("rm {DROP_IN}; systemctl daemon-reload; systemctl restart netd.service"))?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    outcome
}

fn shown(lab: &Lab, run: &Run) -> Result<String> {
    let total = number(lab, "awk '/^MemTotal:/ { print $2 }' /proc/meminfo")? / 1024.0;
    ensure!(total <= 1024.0, "the machine has {total} MiB");
    // Never in a file: main memory is what files in /run are in.
    let script = format!(
        "read from rest </proc/uptime; {{ cat /run/base.toml; {}; }} | corten apply - --confirm {CONFIRM} --timeout 60m >&2 \
         && read to rest </proc/uptime && echo $from $to",
        print_routes(ROUTES)
    );
    run.measured(Measurement::new("corten apply, 1 000 000 routes", span(lab, &script, PATIENCE)?, "s"));
    let peak_mb = netd(lab, "MemoryPeak")? / 1e6;
    run.measured(Measurement::new("netd's memory while it applies 1 000 000 routes, at most", peak_mb, "MB"));
    let kernel = number(lab, OWN)?;
    ensure!(kernel == f64::from(ROUTES), "the kernel has {kernel} of {ROUTES} routes");

    for lookup in 0..LOOKUPS {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + lookup * (ROUTES / LOOKUPS));
        let rows = lab.show(&format!("routes {address}"))?;
        let prefixes: Vec<&str> = rows.iter().filter_map(|row| row["prefix"].as_str()).collect();
        ensure!(prefixes.contains(&&*format!("{address}/32")), "{address} is by {prefixes:?}");
    }
    let mut lookups = told(lab)?;
    ensure!(lookups.len() >= LOOKUPS as usize, "netd told of {} look-ups", lookups.len());
    let name = "netd, the route of an address among 1 000 000";
    run.measured(Measurement::new(name, median(&mut lookups), "ms").at_most(50.0));

    let [all] = time(lab, 1, ["2:corten show routes"])?;
    run.measured(Measurement::new("corten show routes, the first of 1 000 000", all.first_s[0], "s"));
    run.measured(Measurement::new("corten show routes, all 1 000 000", all.whole_s[0], "s"));
    // Many times what rows take that are on their way.
    let before = netd(lab, "MemoryCurrent")?;
    let more_mb = (number(lab, SHOW)? - before) / 1e6;
    let name = "netd's memory while it shows 1 000 000 routes, above that before";
    run.measured(Measurement::new(name, more_mb, "MB").at_most(16.0));

    run.measured(Measurement::new(
        "corten take-back of 1 000 000 routes",
        span(lab, TAKE_BACK, PATIENCE)?,
        "s",
    ));
    let left = number(lab, OWN)?;
    ensure!(left == 0.0, "{left} routes are left");
    Ok(format!("{total:.0} MiB of memory"))
}

fn number(lab: &Lab, script: &str) -> Result<f64> {
    let text = lab.vm.run_within(script, PATIENCE)?;
    text.trim().parse().with_context(|| format!("no number: {text}"))
}

/// A property of netd's unit that is a number.
fn netd(lab: &Lab, property: &str) -> Result<f64> {
    number(lab, &format!("systemctl show -p {property} --value netd.service"))
}

/// Milliseconds that netd took for each answer of at most two rows.
fn told(lab: &Lab) -> Result<Vec<f64>> {
    let script = "journalctl -b -u netd --no-pager -o cat | grep 'routes: [12] rows in' || true";
    let log = lab.vm.run(script)?;
    log.lines().map(|line| milliseconds(line).with_context(|| format!("no time: {line}"))).collect()
}

/// The time at the end of a line, as Rust prints one.
fn milliseconds(line: &str) -> Option<f64> {
    let word = line.split_whitespace().last()?;
    for (unit, factor) in [("ns", 1e-6), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(value) = word.strip_suffix(unit).and_then(|value| value.parse::<f64>().ok()) {
            return Some(value * factor);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_sizes_are_milliseconds() {
        for (line, expected) in [
            ("DEBUG routes: 1 rows in 12.5ms", Some(12.5)),
            ("DEBUG routes: 1 rows in 850.5µs", Some(0.8505)),
            ("DEBUG routes: 2 rows in 1.5s", Some(1500.0)),
            ("DEBUG routes: 2 rows", None),
        ] {
            assert_eq!(milliseconds(line), expected, "{line}");
        }
    }
}
