//! From the moment a driver takes a link away until netd's subscriber knows and an ECMP group is smaller,
//! while another port flaps. The guest's clock counts; the host's stands beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use qemu_tests::measure::{Measurement, Reference};
use qemu_tests::random::Random;
use qemu_tests::tools::USE;
use serde::Deserialize;

use crate::lab::{Lab, eventually};
use crate::runner::Run;

/// Pulls while netd watches.
const PULLS: usize = 200;
/// Pulls while nobody does: the kernel alone.
const PULLS_ALONE: usize = 30;
/// How long a link stays as it is at least: the kernel's own events come up to a second late.
const STAY: Duration = Duration::from_millis(1300);
/// The other port changes as often.
const FLAP: Duration = Duration::from_millis(40);
/// How long before the driver's time another witness may seem to know: who looks at the driver is one among
/// others on the processor, and may come last. Such a delay counts as it is, below nothing.
const SLACK_NS: i64 = 100_000_000;

const PULLED: u16 = 1;
const FLAPPING: u16 = 3;

/// Times in nanoseconds of the guest's clock, see `pulls.rs` of netd's benchmark.
#[derive(Deserialize)]
struct Seen {
    driver: Vec<i64>,
    netlink: Vec<i64>,
    subscriber: Vec<i64>,
    group: Vec<i64>,
}

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    let alone = watched(lab, run.seed, PULLS_ALONE, "")?;
    let kernel = delays(&alone.0.driver, &alone.0.netlink)?;
    // Whoever asks the driver changes what the kernel does, so that they cannot take turns.
    let event = Reference::new("the kernel's event alone", &kernel);
    let watch = || watched(lab, run.seed, PULLS, "--subscribe");
    let (seen, orders) = lab.with_document(&with_ecmp(&lab.document), watch)?;
    let offset = clock_offset(lab, &orders, &seen.driver)?;
    let ordered: Vec<i64> = orders.iter().map(|order| offset.guest_time(*order)).collect();

    report(run, "the kernel's event alone, while nobody asks the driver", kernel, None, None);
    run.measured(event.beside_itself("ms"));
    for (name, times) in [("netd's subscriber", &seen.subscriber), ("the smaller ECMP group", &seen.group)] {
        let delays = delays(&seen.driver, times)?;
        report(run, &format!("link-down to {name}"), delays, Some((4.0, 10.0)), Some(&event));
    }
    let outside = delays(&ordered, &seen.subscriber)?;
    report(run, "QEMU's monitor to netd's subscriber, host's clock", outside, None, None);
    Ok(format!("{} pulls, clocks known to {:.1} ms", seen.driver.len(), offset.error_ms))
}

/// Both ways of an ECMP route on routed ports, the first of which is pulled.
fn with_ecmp(document: &str) -> String {
    document.replace(
        "[ports.\"swp[1-64]\"]",
        "[ports.swp1]\naddresses = [\"10.0.1.1/24\"]\n\n[ports.swp2]\naddresses = [\"10.0.2.1/24\"]\n\n\
         [[routes]]\nprefix = \"10.98.0.0/16\"\nvia = [\"10.0.1.2\", \"10.0.2.2\"]\n\n[ports.\"swp[3-64]\"]",
    )
}

/// Pulls the link so many times while the guest's program watches; answers what it saw and when the orders
/// were given.
fn watched(lab: &Lab, seed: u64, pulls: usize, how: &str) -> Result<(Seen, Vec<Instant>)> {
    let seconds = (pulls as u64 + 2) * 2 * (STAY.as_millis() as u64 + 300) / 1000;
    lab.vm.run(&format!(
        "{USE}cd /run; rm -f pulls.json; : >pulls.errors; (netd-bench pulls swp{PULLED} {seconds} {how} >pulls.new 2>pulls.errors \
         && mv pulls.new pulls.json) </dev/null >/dev/null 2>&1 &"
    ))?;
    eventually("the watching program watches", Duration::from_secs(60), || {
        let said = lab.vm.run("cat /run/pulls.errors")?;
        ensure!(said.contains("ready"), "{said}");
        Ok(())
    })?;
    let mut orders = Vec::new();
    let mut random = Random::new(seed);
    for _ in 0..pulls {
        // The moment within the flapping port's rhythm is left to chance.
        let moment = |random: &mut Random| STAY + Duration::from_millis(random.next_u64() % 250);
        orders.push(Instant::now());
        lab.vm.set_link(PULLED, false)?;
        flap_for(lab, moment(&mut random))?;
        lab.vm.set_link(PULLED, true)?;
        flap_for(lab, moment(&mut random))?;
    }
    lab.vm.set_link(FLAPPING, true)?;
    let text = eventually("the watching program ends", Duration::from_secs(seconds + 60), || {
        let said = lab.vm.sh("cat /run/pulls.json || { cat /run/pulls.errors; false; }")?;
        ensure!(said.status == 0, "{}", said.text);
        Ok(said.text)
    })?;
    let seen: Seen = serde_json::from_str(&text).with_context(|| format!("no times: {text}"))?;
    ensure!(seen.driver.len() == pulls, "{} of {pulls} pulls reached the driver", seen.driver.len());
    Ok((seen, orders))
}

fn flap_for(lab: &Lab, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut up = false;
    while Instant::now() < end {
        lab.vm.set_link(FLAPPING, up)?;
        up = !up;
        std::thread::sleep(FLAP);
    }
    Ok(())
}

/// For each pull, in their order, milliseconds until it was seen elsewhere first.
fn delays(from: &[i64], seen: &[i64]) -> Result<Vec<f64>> {
    let mut delays = Vec::new();
    for (number, &at) in from.iter().enumerate() {
        let next = from.get(number + 1).copied().unwrap_or(i64::MAX);
        let first = seen.iter().copied().find(|time| *time >= at - SLACK_NS && *time < next - SLACK_NS);
        let first = first.with_context(|| {
            let times: Vec<i64> = seen.iter().map(|time| (time - at) / 1_000_000).collect();
            format!("pull {} was not seen: the others are at {times:?} ms", number + 1)
        })?;
        delays.push((first - at) as f64 / 1e6);
    }
    Ok(delays)
}

/// Of sorted values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).clamp(1, sorted.len()) - 1]
}

fn report(run: &Run, name: &str, mut delays: Vec<f64>, aims: Option<(f64, f64)>, event: Option<&Reference>) {
    delays.sort_by(f64::total_cmp);
    for (percent, aim) in [(50, aims.map(|aims| aims.0)), (99, aims.map(|aims| aims.1))] {
        let mut row = Measurement::new(&format!("{name}, p{percent}"), percentile(&delays, percent), "ms");
        if let Some(event) = event.filter(|_| percent == 50) {
            row = row.beside(event);
        }
        run.measured(match aim {
            Some(aim) => row.at_most(aim),
            None => row,
        });
    }
}

/// The guest's clock by the host's.
struct Offset {
    host: Instant,
    guest_ns: i64,
    error_ms: f64,
}

impl Offset {
    fn guest_time(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.host) {
            Some(later) => self.guest_ns + later.as_nanos() as i64,
            None => self.guest_ns - (self.host - at).as_nanos() as i64,
        }
    }
}

/// Asks the guest for its uptime many times: each answer, in hundredths of a second, was true at some moment
/// between question and answer, and all must hold. No pull reached the driver before it was ordered either.
fn clock_offset(lab: &Lab, orders: &[Instant], driver: &[i64]) -> Result<Offset> {
    const HUNDREDTH_NS: i64 = 10_000_000;
    let host = Instant::now();
    let since_order = |order: &Instant| (host - *order).as_nanos() as i64;
    let of_orders = orders.iter().zip(driver).map(|(order, reached)| reached + since_order(order));
    let (mut least, mut most) = (i64::MIN, of_orders.min().unwrap_or(i64::MAX));
    for _ in 0..300 {
        let before = host.elapsed().as_nanos() as i64;
        let uptime = lab.vm.run("read up rest </proc/uptime; echo $up")?;
        let after = host.elapsed().as_nanos() as i64;
        let (seconds, hundredths) = uptime.trim().split_once('.').context("no uptime")?;
        let guest = (seconds.parse::<i64>()? * 100 + hundredths.parse::<i64>()?) * HUNDREDTH_NS;
        least = least.max(guest - after);
        most = most.min(guest + HUNDREDTH_NS - before);
    }
    ensure!(least <= most, "the guest's clock does not keep step with the host's");
    Ok(Offset { host, guest_ns: (least + most) / 2, error_ms: (most - least) as f64 / 2e6 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_from_its_own_pull() {
        let from = [1_000_000_000, 2_000_000_000];
        assert_eq!(delays(&from, &[1_001_000_000, 2_004_000_000]).unwrap(), [1.0, 4.0]);
        assert_eq!(delays(&from, &[950_000_000, 1_500_000_000, 2_004_000_000]).unwrap(), [-50.0, 4.0]);
        assert!(delays(&from, &[1_001_000_000]).is_err());
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100.0, 198.0));
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }
}
