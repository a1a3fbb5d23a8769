//! netd, and the switch as a whole, while nothing happens: nobody watches a port, nothing goes by ECMP or a LAG.

use std::time::Duration;

use anyhow::{Context, Result};
use qemu_tests::measure::Measurement;

use crate::lab::Lab;
use crate::runner::Run;

/// How long nothing is asked of the switch before wake-ups are counted. A minute after its start netd notes on
/// the disk that it did not crash, and is at rest from then on.
const QUIET: Duration = Duration::from_secs(80);
/// How long wake-ups are counted.
const SECONDS: u32 = 60;

const WAKE_UPS: &str = "\
netd=$(systemctl show -p MainPID --value netd.service)
cat /proc/$netd/task/*/status | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'
";
const MEMORY: &str = "\
netd=$(systemctl show -p MainPID --value netd.service)
awk '/^VmRSS:/ { print $2 }' /proc/$netd/status
";

const MEMORY_OF_ALL: &str = "\
awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { available = $2 } END { print total - available }' /proc/meminfo
";

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    let count = wake_ups(lab)?;
    let all_mib = number(lab, MEMORY_OF_ALL)? / 1024.0;
    let memory_mb = number(lab, MEMORY)? * 1024.0 / 1e6;
    let a_second = count / f64::from(SECONDS);
    run.measured(Measurement::new("netd at rest, wake-ups a second", a_second, "").at_most(0.0));
    run.measured(
        Measurement::new("netd at rest with 64 ports, resident memory", memory_mb, "MB").at_most(10.0),
    );
    let name = "the switch at rest with 64 ports, memory in use (MemTotal - MemAvailable)";
    run.measured(Measurement::new(name, all_mib, "MiB"));
    Ok(format!("{count} wake-ups in {SECONDS} s, {memory_mb:.1} MB; {all_mib:.1} MiB in all"))
}

fn number(lab: &Lab, script: &str) -> Result<f64> {
    let text = lab.vm.run(script)?;
    text.trim().parse().with_context(|| format!("no number: {text}"))
}

fn wake_ups(lab: &Lab) -> Result<f64> {
    // Ports come up and neighbours are found in the first moments.
    std::thread::sleep(QUIET);
    let before = number(lab, WAKE_UPS)?;
    std::thread::sleep(Duration::from_secs(u64::from(SECONDS)));
    Ok(number(lab, WAKE_UPS)? - before)
}
