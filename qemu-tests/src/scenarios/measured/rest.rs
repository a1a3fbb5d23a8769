//! netd while nothing happens: nobody watches a port, nothing goes by ECMP or a LAG.

use std::time::Duration;

use anyhow::{Context, Result};
use qemu_tests::measure::Measurement;

use crate::lab::Lab;
use crate::runner::Run;

/// How long wake-ups are counted.
const SECONDS: u32 = 60;

const WAKE_UPS: &str = "\
netd=$(systemctl show -p MainPID --value netd.service)
cat /proc/$netd/task/*/status | awk '/ctxt_switches/ { sum += $2 } END { print sum }'
";
const MEMORY: &str = "\
netd=$(systemctl show -p MainPID --value netd.service)
awk '/^VmRSS:/ { print $2 }' /proc/$netd/status
";

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    // Ports come up and neighbours are found in the first moments.
    std::thread::sleep(Duration::from_secs(30));
    let number = |script: &str| -> Result<f64> {
        let text = lab.vm.run(script)?;
        text.trim().parse().with_context(|| format!("no number: {text}"))
    };
    let before = number(WAKE_UPS)?;
    std::thread::sleep(Duration::from_secs(u64::from(SECONDS)));
    let wake_ups = number(WAKE_UPS)? - before;
    let memory_mb = number(MEMORY)? * 1024.0 / 1e6;
    // systemd's watchdog wants a sign of life now and then: those are in the number.
    let a_second = wake_ups / f64::from(SECONDS);
    run.measured(Measurement::new("netd at rest, wake-ups a second", a_second.round(), "").at_most(0.0));
    run.measured(Measurement::new("netd at rest, wake-ups in 60 s", wake_ups, ""));
    run.measured(
        Measurement::new("netd at rest with 64 ports, resident memory", memory_mb, "MB").at_most(10.0),
    );
    Ok(format!("{wake_ups} wake-ups in {SECONDS} s, {memory_mb:.1} MB"))
}
