//! How fast netd makes routes, beside `ip -batch`, BIRD and what the kernel itself needs, all in one run.
//!
//! `cargo bench -p netd` prints a table; with `--json FILE` it writes the rows, as `cargo os bench netd` does,
//! which also runs it in the booted image (`--guest`), where `pulls` watches links go down, `commands` times commands of
//! the switch beside iproute2's, and `viewer` takes whatever netd gives a viewer.
//! Each subject runs in a process and a network namespace of its own, so that its memory and processor time
//! are its own. Needs root or user namespaces, iproute2, and BIRD 2 of the root of peers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement that cannot be made ends the run

mod applying;
mod commands;
mod counts;
mod floor;
#[path = "../../tests/common/network.rs"]
mod network;
mod pulls;
mod report;
mod routes;
mod subject;
mod tables;
mod viewer;
mod vlans;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use corten_measure::{Measurement, Reference, median};
use report::{Table, seconds};
use serde::de::DeserializeOwned;
use subject::Outcome;
use tables::Times;

/// Routes of the main comparison, and entries of the tables that are shown.
const ROUTES: u32 = 100_000;
/// Routes of the large one.
const MANY: u32 = 1_000_000;
/// Ports of the VLAN comparison.
const PORTS: u32 = 62;
/// Routes whose instructions are counted.
const COUNTED: u32 = 10_000;
/// Runs of each subject of a comparison; the median counts.
const RUNS: usize = 15;
/// Where runs are long, as with a million routes or on a guest's translated processor, there are fewer: none begins
/// after this time, but there are some in any case. With three comparisons, the counting of instructions here and the
/// one run of a line a VLAN there, all takes 15 minutes at most here and twice that in a guest.
const TIME: Duration = Duration::from_secs(240);
const FEWEST_RUNS: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.first().is_some_and(|word| word == "inside") {
        subject::run_inside(&words[1..]);
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| word == "pulls") {
        let [_, port, seconds, rest @ ..] = &words[..] else { panic!("pulls PORT SECONDS [--subscribe]") };
        pulls::watch(port, seconds.parse().expect("seconds"), rest == ["--subscribe"]);
        return ExitCode::SUCCESS;
    }
    if let [command, runs, commands @ ..] = &words[..]
        && command == "commands"
    {
        commands::measure(runs.parse().expect("a number of runs"), commands);
        return ExitCode::SUCCESS;
    }
    if words == ["viewer"] {
        viewer::look();
        return ExitCode::SUCCESS;
    }
    let json = words.iter().position(|word| word == "--json").map(|at| PathBuf::from(&words[at + 1]));
    let guest = words.iter().any(|word| word == "--guest");
    let bench = Bench { folder: tempdir() };
    let table = bench.measure(guest);
    table.print();
    if let Some(path) = json {
        table.write(&path);
    }
    std::fs::remove_dir_all(&bench.folder).expect("the bench's own folder");
    ExitCode::SUCCESS
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("netd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// As it was called: what runs may be the loader, where the libraries are not the system's.
fn this_program() -> PathBuf {
    std::env::args_os().next().expect("a name").into()
}

/// The start of a command line in a network namespace of its own.
fn isolate() -> Command {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--"]);
    command
}

fn once<T: DeserializeOwned>(folder: &Path, subject: &str, size: u32) -> T {
    eprintln!("  {subject}, {size} …");
    let output = isolate()
        .arg(this_program())
        .args(["inside", subject, &size.to_string()])
        .arg(folder)
        .output()
        .expect("unshare(1)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{subject}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("the subject's answer")
}

/// Outcomes of a subject, in the order of its runs.
struct Runs(Vec<Outcome>);

impl Runs {
    /// The run whose wall time is the median.
    fn median(&self) -> &Outcome {
        let mut sorted: Vec<&Outcome> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
        sorted[sorted.len() / 2]
    }

    /// Its wall times, for others to be compared with.
    fn reference(&self, name: &str) -> Reference {
        let times: Vec<f64> = self.0.iter().map(|outcome| outcome.wall_s).collect();
        Reference::new(name, &times)
    }
}

struct Bench {
    /// Where subjects keep their files.
    folder: PathBuf,
}

impl Bench {
    fn measure(&self, guest: bool) -> Table {
        let mut table = Table::default();
        self.routes_beside_others(&mut table);
        self.routes_beside_bird(&mut table);
        // The host's bridge may know no VLANs; a translated processor has no time for a million.
        if guest {
            self.vlans_beside_others(&mut table);
        } else {
            self.tables_beside_others(&mut table);
            self.many_routes(&mut table);
            self.instructions(&mut table);
        }
        table
    }

    /// Runs subjects. They take turns, so that whatever else the machine does in the meantime falls on all of them.
    fn runs<const N: usize>(&self, subjects: [(&str, u32); N]) -> [Runs; N] {
        let mut runs = subjects.map(|_| Runs(Vec::with_capacity(RUNS)));
        let began = Instant::now();
        for number in 0..RUNS {
            if number >= FEWEST_RUNS && began.elapsed() >= TIME {
                eprintln!("  {number} runs instead of {RUNS}: they took {} s", began.elapsed().as_secs());
                break;
            }
            for (runs, (subject, size)) in runs.iter_mut().zip(subjects) {
                runs.0.push(once(&self.folder, subject, size));
            }
        }
        runs
    }

    fn routes_beside_others(&self, table: &mut Table) {
        let n = f64::from(ROUTES);
        let [ip, netd, floor, floor_inline] =
            self.runs(["ip", "netd", "floor", "floor-inline"].map(|subject| (subject, ROUTES)));
        let (ip, floor) =
            (ip.reference("ip -batch"), floor.reference("the kernel alone, next hop object, 32 kB batches"));
        let first = netd.reference("the first apply");
        let netd = netd.median();
        table.push(seconds("ip -batch, 100 000 routes", ip.value()));
        table.push(ip.beside_itself("s"));
        table.push(seconds(floor.name(), floor.value()));
        table.push(floor.beside_itself("s"));
        table.push(
            seconds("the kernel alone, next hop in each route", floor_inline.median().wall_s).beside(&floor),
        );
        let name = "netd, 100 000 routes from file to verified";
        table.push(seconds(name, netd.wall_s).beside(&ip).ratio_at_most(0.5));
        let cpu_us = netd.cpu_s * 1e6 / n;
        table.push(Measurement::new("netd, processor time a route", cpu_us, "µs").at_most(4.0));
        table.push(seconds("netd, the sending step", netd.send_s).beside(&floor).ratio_at_most(1.5));
        for (name, time_s) in [
            ("parsing", netd.parse_s),
            ("planning", netd.plan_s),
            ("reading before and after", netd.verify_s),
        ] {
            table.push(seconds(&format!("netd, {name}"), time_s));
        }
        table.push(seconds("netd, the same document again", netd.again_s).beside(&first).at_most(0.3));
        let writes = f64::from(netd.again_writes);
        table.push(Measurement::new("netd, writes of the same document again", writes, "").at_most(0.0));
    }

    fn routes_beside_bird(&self, table: &mut Table) {
        if routes::Bird::find().is_none() {
            eprintln!("  no BIRD here (`cargo os bench` gets it): it is left out");
            return;
        }
        let [bird, netd] = self.runs(["bird", "netd"].map(|subject| (subject, ROUTES)));
        let bird = bird.reference("BIRD 2");
        table.push(seconds("BIRD 2, 100 000 routes", bird.value()));
        table.push(bird.beside_itself("s"));
        table.push(seconds("netd beside BIRD 2", netd.median().wall_s).beside(&bird));
    }

    /// What a client of netd's streams waits for; in the guest the whole commands are measured.
    fn tables_beside_others(&self, table: &mut Table) {
        let mut times: Times = once(&self.folder, "tables", ROUTES);
        let ip = Reference::new("ip route show, 100 000 routes", &times.ip);
        let bridge = Reference::new("bridge fdb show, 100 000 addresses", &times.bridge);
        for (name, times, reference, aim) in [
            ("netd's table of routes, the first row", &mut times.first_route, &ip, Some(0.2)),
            ("netd's table of routes, 100 000", &mut times.routes, &ip, Some(1.5)),
            ("netd's table of routes, that of one address", &mut times.route, &ip, None),
            ("netd's forwarding database, 100 000 addresses", &mut times.fdb, &bridge, Some(1.5)),
            ("netd's forwarding database, one address among them", &mut times.entry, &bridge, Some(0.1)),
        ] {
            let row = seconds(name, median(times)).beside(reference);
            table.push(match aim {
                Some(aim) => row.ratio_at_most(aim),
                None => row,
            });
        }
        for reference in [&ip, &bridge] {
            table.push(seconds(reference.name(), reference.value()));
            table.push(reference.beside_itself("s"));
        }
    }

    fn many_routes(&self, table: &mut Table) {
        let [few, many, floor_few, floor_many] =
            self.runs([("netd", ROUTES), ("netd", MANY), ("floor", ROUTES), ("floor", MANY)]);
        let floor_few = floor_few.reference("the kernel alone, 100 000 routes");
        let few = few.reference("netd, 100 000 routes");
        table.push(floor_few.beside_itself("s"));
        table.push(
            seconds("the kernel alone, 1 000 000 routes", floor_many.median().wall_s).beside(&floor_few),
        );
        table.push(few.beside_itself("s"));
        let many = many.median();
        table.push(seconds("netd, 1 000 000 routes", many.wall_s).beside(&few).ratio_at_most(10.5));
        let bytes = many.peak_bytes as f64 / f64::from(MANY);
        table.push(Measurement::new("netd, memory a route at most", bytes, "B").at_most(1000.0));
    }

    fn vlans_beside_others(&self, table: &mut Table) {
        // Minutes, on a translated processor: one run must do, and there is no other to hold it against.
        let lines: Outcome = once(&self.folder, "vlans-lines", PORTS);
        let subjects = ["vlans-ranges", "vlans-ranges-alike", "vlans-netd"];
        let [ranges, alike, netd] = self.runs(subjects.map(|subject| (subject, PORTS)));
        let ranges = ranges.reference("bridge -batch, a line a port");
        let alike = alike.reference("bridge -batch, a line a port, on a bridge set as netd's");
        let netd = netd.median();
        table.push(seconds("bridge -batch, 62 ports, VLANs 2-4000, a line a VLAN", lines.wall_s));
        for reference in [&ranges, &alike] {
            table.push(seconds(reference.name(), reference.value()));
            table.push(reference.beside_itself("s"));
        }
        let row =
            |against: &str| seconds(&format!("netd, 62 ports, VLANs 2-4000, beside {against}"), netd.wall_s);
        let a_line_a_vlan = "bridge -batch, a line a VLAN";
        table.push(row(a_line_a_vlan).against(a_line_a_vlan, lines.wall_s).ratio_at_most(0.2));
        table.push(row(ranges.name()).beside(&ranges).ratio_at_most(1.2));
        table.push(row(alike.name()).beside(&alike));
        table.push(seconds("netd, of that the sending step", netd.send_s));
        table.push(seconds("netd, of that reading before and after", netd.verify_s));
    }

    fn instructions(&self, table: &mut Table) {
        for (subject, name) in [("plan", "planning"), ("send", "encoding and sending, without the kernel")] {
            eprintln!("  instructions of {name} …");
            match counts::count(subject, COUNTED, &self.folder, &mut isolate()) {
                Some(count) => {
                    let name = format!("instructions a route, {name}");
                    table.push(Measurement::new(&name, count / f64::from(COUNTED), ""));
                }
                None => eprintln!("  no valgrind here: instructions are not counted"),
            }
        }
    }
}
