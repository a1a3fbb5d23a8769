//! netd's own benchmark, in the guest: there the bridge knows VLANs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::measure::Measurement;
use qemu_tests::tools::USE;

use super::span;
use crate::lab::{Lab, eventually};
use crate::runner::Run;

/// For all runs of all subjects on a translated processor.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Routes that an operator applies.
const MANY: u32 = 100_000;

/// Prints so many routes as a document has them: /32s from 10.0.0.0 on, all by one gateway.
pub(super) fn print_routes(count: u32) -> String {
    format!(
        r#"awk 'BEGIN {{ for (n = 0; n < {count}; n++)
    printf "\n[[routes]]\nprefix = \"10.%d.%d.%d/32\"\nvia = [\"192.0.2.2\"]\n", n / 65536, n / 256 % 256, n % 256 }}'"#
    )
}

/// Adds so many routes to a document in a file.
pub(super) fn routes(file: &str, count: u32) -> String {
    format!("{} >>{file}", print_routes(count))
}

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    let script =
        format!("{USE}cd /run; netd-bench --guest --json /run/rows.json >/dev/null && cat /run/rows.json");
    let output = lab.vm.sh_within(&script, PATIENCE)?;
    ensure!(output.status == 0, "the benchmark ended with {}:\n{}", output.status, output.text);
    let rows = output.text.find('[').map_or("", |at| &output.text[at..]);
    let rows: Vec<Measurement> =
        serde_json::from_str(rows).with_context(|| format!("no rows: {}", output.text))?;
    let count = rows.len();
    rows.into_iter().for_each(|row| run.measured(row));
    // The kernel takes minutes to forget 62 ports with 4000 VLANs each, and lets nobody else change links meanwhile.
    eventually("the kernel has time for others", PATIENCE, || {
        lab.vm.run("ip link show dev lo && corten show system")
    })?;
    by_an_operator(lab, run).with_context(|| {
        let log = lab.vm.run("journalctl -b -u netd -n 12 -o short-monotonic --no-pager");
        format!("netd's log ends with\n{}", log.unwrap_or_else(|error| error.to_string()))
    })?;
    Ok(format!("{count} rows"))
}

/// The same through all of the switch: the command, the bus, the journal, the generation on disk.
fn by_an_operator(lab: &Lab, run: &Run) -> Result<()> {
    let document = lab.document.replace(
        "[ports.\"swp[1-64]\"]",
        "[ports.swp1]\naddresses = [\"192.0.2.1/24\"]\n\n[ports.\"swp[2-64]\"]",
    );
    ensure!(document != lab.document, "the document has no ports swp1 to swp64");
    lab.apply_ok(&document)?;
    lab.write_file("/run/some.toml", &document)?;
    let more = routes("/run/many.toml", MANY);
    lab.vm.run_within(&format!("cp /run/some.toml /run/many.toml; {more}"), PATIENCE)?;
    let seconds = |file: &str| -> Result<f64> {
        let script = format!(
            "read from rest </proc/uptime; corten apply {file} >&2 && read to rest </proc/uptime && echo $from $to"
        );
        span(lab, &script, PATIENCE).with_context(|| format!("corten apply {file}"))
    };
    let first = seconds("/run/many.toml")?;
    run.measured(Measurement::new("corten apply, 100 000 routes", first, "s"));
    let again = seconds("/run/many.toml")?;
    // Each is a single run, of which nobody knows how far it differs from itself.
    run.measured(
        Measurement::new("corten apply, the same again", again, "s").against("the first apply", first),
    );
    run.measured(Measurement::new("corten apply, without them again", seconds("/run/some.toml")?, "s"));
    lab.apply_ok(&lab.document)
}
