//! What those who only ask cost those who change: nothing. And what they are told is the kernel's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::objects::with_document;
use super::sender::route;
use crate::lab::{Lab, Topology};
use crate::runner::{Run, Scenario};

pub const SCENARIOS: [Scenario; 3] = [
    Scenario::new(
        "whoever asks netd all the time makes no confirmation late and netd no larger",
        Topology::Switch,
        flood_of_questions,
    )
    .alone()
    .takes(90),
    Scenario::new(
        "the route that is shown for an address is the one the kernel takes",
        Topology::Switch,
        lookups,
    )
    .takes(15),
    Scenario::new(
        "a crash of netd counts against its generation, an end by others does not",
        Topology::Switch,
        what_counts,
    )
    .alone()
    .takes(30),
];

/// Bytes of the documents that are sent again and again.
const LARGE_BYTES: u32 = 6_000_000;
/// How much more memory netd may take meanwhile: the document that is read, and what it means.
const MORE_MEMORY_BYTES: u64 = 64 << 20;

/// The unit of whoever asks, and as whom: the lab's user who may only look.
const FLOOD: &str = "corten-test-flood.service";
const VIEWER: &str = "vic";

fn flood_of_questions(lab: &Lab, _: &Run) -> Result<String> {
    let netd = |property: &str| -> Result<u64> {
        let text = lab.vm.run(&format!("systemctl show -p {property} --value netd.service"))?;
        text.trim().parse().with_context(|| format!("{property} is {text:?}"))
    };
    ensure!(netd("MemoryMax")? > 0, "netd's memory has no limit");
    let document =
        |number: u32| format!("{}\n[loopbacks.lo9]\naddresses = [\"192.0.2.{number}/32\"]\n", lab.document);
    lab.restoring(|| {
        let timed = |number: u32| -> Result<Duration> {
            let begun = Instant::now();
            lab.apply_ok(&document(number))?;
            Ok(begun.elapsed())
        };
        let alone = (1..=3).map(timed).collect::<Result<Vec<_>>>()?.into_iter().min().context("no change")?;
        lab.vm.run(&format!(
            "{{ echo 'version = 1'; head -c {LARGE_BYTES} /dev/zero | tr '\\0' '#'; echo; }} >/run/large.toml\n\
             chmod a+r /run/large.toml\n\
             systemd-run --quiet --collect --unit={FLOOD} --uid={VIEWER} -p StandardOutput=null \
             -p StandardError=null busybox sh -c 'for n in 1 2 3 4; do (while :; do corten diff /run/large.toml; \
             corten show routes --json; corten show fdb --all; done) & done; wait'"
        ))?;
        let before = netd("MemoryCurrent")?;
        let measure = || -> Result<(Duration, u64)> {
            let beside = (11..=13).map(timed).collect::<Result<Vec<_>>>()?.into_iter().min().context("no change")?;
            // A translated processor starts programs slowly beside all that.
            lab.write_file("/run/confirmed.toml", &document(20))?;
            let confirmed = "corten apply --force --confirm 60s /run/confirmed.toml && sleep 5 && corten confirm";
            lab.vm.run_within(confirmed, Duration::from_secs(120))?;
            let more = netd("MemoryPeak")?.saturating_sub(before);
            Ok((beside, more))
        };
        let outcome = measure();
        lab.vm.run(&format!("systemctl stop {FLOOD} && rm -f /run/large.toml /run/confirmed.toml"))?;
        let (beside, more) = outcome?;
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        ensure!(more <= MORE_MEMORY_BYTES, "netd took {more} bytes more");
        Ok(format!("a change {ratio:.2} times as long, {} MiB more", more >> 20))
    })
}

fn lookups(lab: &Lab, _: &Run) -> Result<String> {
    let eight = "via = [\"10.0.8.2\"]";
    let document = lab.document.clone()
        + &route("10.77.0.0/16", eight)
        + &route("10.77.1.0/24", "via = [\"10.0.7.2\"]")
        + &route("10.78.0.0/16", "blackhole = true")
        + &route("2001:db8:77::/48", "via = [\"2001:db8:8::2\"]");
    with_document(lab, &document, || {
        for address in ["10.77.1.9", "10.77.2.9", "10.0.8.77", "2001:db8:77::9"] {
            let by_kernel = lab.vm.run(&format!("/usr/bin/ip route get fibmatch {address}"))?;
            let prefix = by_kernel.split_whitespace().next().unwrap_or_default();
            let rows = lab.show(&format!("routes {address}"))?;
            let shown: Vec<&str> = rows.iter().filter_map(|row| row["prefix"].as_str()).collect();
            ensure!(shown.contains(&prefix), "{address} goes by {prefix}, and netd shows {shown:?}");
        }
        // The kernel does not say by which route it drops packets.
        let rows = lab.show("routes 10.78.1.1")?;
        ensure!(rows.len() == 1 && rows[0]["kind"] == "blackhole", "{rows:?}");
        Ok(())
    })
}

/// Starts of netd that count, and the generation that would be dropped for them.
fn starts(lab: &Lab) -> Result<u64> {
    let text = lab.vm.sh("cat /var/lib/corten/netd/starts.json")?;
    if text.status != 0 {
        return Ok(0);
    }
    let record: serde_json::Value = serde_json::from_str(&text.text).context("starts.json")?;
    record["count"].as_u64().context("starts.json has no count")
}

fn what_counts(lab: &Lab, _: &Run) -> Result<String> {
    let end = |signal: &str| -> Result<u64> {
        let ended = lab.arm_end_of_netd(Duration::from_secs(20))?;
        lab.vm.run(&format!("systemctl kill --signal={signal} --kill-whom=main netd.service"))?;
        ended.wait().with_context(|| format!("netd got SIG{signal}"))?;
        lab.wait_for_netd(Duration::from_secs(60))?;
        starts(lab)
    };
    lab.vm.run("systemctl restart netd.service")?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    // The start that runs counts until it has proved itself.
    let first = starts(lab)?;
    ensure!(first == 1, "{first} starts count after an orderly end");
    for signal in ["KILL", "KILL"] {
        let now = end(signal)?;
        ensure!(now == 1, "{now} starts count after SIG{signal}");
    }
    // What a panic or a failed assertion in C ends with.
    let crashed = end("ABRT")?;
    ensure!(crashed == 2, "{crashed} starts count after a crash");
    lab.vm.run("systemctl restart netd.service")?;
    lab.wait_for_netd(Duration::from_secs(60))?;
    Ok(String::new())
}
