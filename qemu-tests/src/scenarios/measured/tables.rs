//! Long tables by the switch's own commands, beside iproute2's: all rows, the first one, and one among them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use qemu_tests::frame::{Frame, Mac};
use qemu_tests::measure::{Measurement, Reference, median};
use qemu_tests::tools::USE;
use serde::Deserialize;

use super::bulk::routes;
use crate::lab::Lab;
use crate::runner::Run;

/// Rows of each table.
const ROWS: u32 = 100_000;
/// Runs of each command.
const RUNS: usize = 15;
/// For all runs on a translated processor.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The port behind which the addresses are.
const PORT: u16 = 2;

/// A command's runs, see `commands.rs` of netd's benchmark.
#[derive(Deserialize)]
pub(super) struct Timed {
    pub(super) command: String,
    pub(super) first_s: Vec<f64>,
    pub(super) whole_s: Vec<f64>,
    lines: u32,
}

/// Times commands so many times, in turns; each is `N:WORD…`, its first row is line N.
pub(super) fn time<const N: usize>(lab: &Lab, runs: usize, commands: [&str; N]) -> Result<[Timed; N]> {
    let quoted: Vec<String> = commands.iter().map(|command| format!("'{command}'")).collect();
    let script = format!("{USE}netd-bench commands {runs} {}", quoted.join(" "));
    let output = lab.vm.sh_within(&script, PATIENCE)?;
    ensure!(output.status == 0, "{commands:?}: {}", output.text);
    let line = output.text.lines().last().unwrap_or_default();
    let timed: Vec<Timed> = serde_json::from_str(line).with_context(|| format!("no times: {line}"))?;
    timed.try_into().ok().context("of another number of commands")
}

/// The hardware address of a station.
fn station(number: u32) -> Mac {
    let [_, high, middle, low] = number.to_be_bytes();
    Mac([0x06, 0, 0, high, middle, low])
}

/// Lets so many stations be heard on a port: each by a frame to itself, which goes nowhere.
pub(super) fn fill_fdb(lab: &Lab) -> Result<()> {
    let wire = lab.vm.wire(PORT)?;
    let known = || -> Result<u32> {
        let script =
            format!("{USE}bridge fdb show dev swp{PORT} | grep -c ' 06:00:00:\\|^06:00:00:' || true");
        let text = lab.vm.run_within(&script, PATIENCE)?;
        text.trim().parse().with_context(|| format!("no number: {text}"))
    };
    // A queue that is full loses some.
    for _ in 0..5 {
        for number in 0..ROWS {
            let frame = Frame::new(station(number), station(number)).payload("here").build();
            ensure!(wire.send(&frame), "the machine did not take a frame on swp{PORT}");
        }
        if known()? >= ROWS {
            return Ok(());
        }
    }
    anyhow::bail!("swp{PORT} has {} addresses of {ROWS} that spoke", known()?)
}

/// The lab's document with addresses that are not forgotten.
pub(super) fn keeping_addresses(lab: &Lab) -> String {
    format!("{}\n[bridge]\nageing-time = 1000000\n", lab.document)
}

pub fn measure(lab: &Lab, run: &Run) -> Result<String> {
    let document = keeping_addresses(lab).replace(
        "[ports.\"swp[1-64]\"]",
        "[ports.swp1]\naddresses = [\"192.0.2.1/24\"]\n\n[ports.\"swp[2-64]\"]",
    );
    ensure!(document != keeping_addresses(lab), "the document has no ports swp1 to swp64");
    lab.restoring(|| {
        lab.write_file("/run/tables.toml", &document)?;
        lab.vm.run_within(&routes("/run/tables.toml", ROWS), PATIENCE)?;
        lab.vm.run_within("corten apply /run/tables.toml && rm /run/tables.toml", PATIENCE)?;
        fill_fdb(lab)?;
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + ROWS / 2);
        let [ip, routes, route] = time(
            lab,
            RUNS,
            ["1:/usr/bin/ip route show", "2:corten show routes", &format!("2:corten show routes {address}")],
        )?;
        let reference = Reference::new(&ip.command, &ip.whole_s);
        report(run, &reference);
        let lines = [&ip, &routes].map(|timed| timed.lines);
        ensure!(lines.iter().all(|lines| *lines >= ROWS), "routes in {lines:?} lines");
        row(run, "corten show routes, the first row of 100 000", &routes.first_s, &reference, Some(0.2));
        row(run, "corten show routes, all 100 000", &routes.whole_s, &reference, Some(1.5));
        row(run, "corten show routes ADDRESS, of 100 000", &route.whole_s, &reference, None);
        let mac = station(ROWS / 2);
        let [bridge, fdb, entry] =
            time(lab, RUNS, ["1:bridge fdb show", "2:corten show fdb", &format!("2:corten show fdb {mac}")])?;
        let reference = Reference::new(&bridge.command, &bridge.whole_s);
        report(run, &reference);
        let lines = [&bridge, &fdb].map(|timed| timed.lines);
        ensure!(lines.iter().all(|lines| *lines >= ROWS), "addresses in {lines:?} lines");
        row(run, "corten show fdb, all 100 000", &fdb.whole_s, &reference, Some(1.5));
        row(run, "corten show fdb MAC, one of 100 000", &entry.whole_s, &reference, Some(0.1));
        Ok(())
    })?;
    Ok(format!("{ROWS} rows each"))
}

fn report(run: &Run, reference: &Reference) {
    run.measured(Measurement::new(reference.name(), reference.value(), "s"));
    run.measured(reference.beside_itself("s"));
}

fn row(run: &Run, name: &str, times: &[f64], reference: &Reference, aim: Option<f64>) {
    let row = Measurement::new(name, median(&mut times.to_vec()), "s").beside(reference);
    run.measured(match aim {
        Some(aim) => row.ratio_at_most(aim),
        None => row,
    });
}
