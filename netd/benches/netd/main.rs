//! How fast netd makes routes, beside `ip -batch`, BIRD and what the kernel itself needs, all in one run.
//!
//! `cargo bench -p netd` prints a table; with `--json FILE` it writes the rows, as `cargo os bench netd` does,
//! which also runs it in the booted image (`--guest`), where `pulls` watches links go down.
//! Each subject runs in a process and a network namespace of its own, so that its memory and processor time
//! are its own. Needs root or user namespaces, iproute2, and BIRD 2 of the root of peers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement that cannot be made ends the run

mod applying;
mod counts;
mod floor;
mod pulls;
mod report;
mod routes;
mod subject;
mod vlans;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use report::{Row, Table};
use subject::Outcome;

/// Routes of the main comparison.
const ROUTES: u32 = 100_000;
/// Routes of the large one.
const MANY: u32 = 1_000_000;
/// Ports of the VLAN comparison.
const PORTS: u32 = 62;
/// Routes whose instructions are counted.
const COUNTED: u32 = 10_000;
/// Runs of each subject; the median counts.
const RUNS: usize = 5;
/// The same in a guest, whose processor is translated.
const RUNS_IN_GUEST: usize = 3;

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
    let json = words.iter().position(|word| word == "--json").map(|at| PathBuf::from(&words[at + 1]));
    let guest = words.iter().any(|word| word == "--guest");
    let bench = Bench { folder: tempdir(), runs: if guest { RUNS_IN_GUEST } else { RUNS } };
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

fn once(folder: &Path, subject: &str, size: u32) -> Outcome {
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

struct Bench {
    /// Where subjects keep their files.
    folder: PathBuf,
    /// How often each of them runs.
    runs: usize,
}

impl Bench {
    fn measure(&self, guest: bool) -> Table {
        let mut table = Table::default();
        self.routes_beside_others(&mut table);
        // The host's bridge may know no VLANs; a translated processor has no time for a million.
        if guest {
            self.vlans_beside_others(&mut table);
        } else {
            self.many_routes(&mut table);
            self.instructions(&mut table);
        }
        table
    }

    /// The median of each subject's runs, by wall time. The subjects take turns, so that whatever else the
    /// machine does in the meantime falls on all of them.
    fn medians<const N: usize>(&self, subjects: [(&str, u32); N]) -> [Outcome; N] {
        let mut outcomes = subjects.map(|_| Vec::with_capacity(self.runs));
        for _ in 0..self.runs {
            for (outcomes, (subject, size)) in outcomes.iter_mut().zip(subjects) {
                outcomes.push(once(&self.folder, subject, size));
            }
        }
        outcomes.map(|mut outcomes| {
            outcomes.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
            outcomes.swap_remove(outcomes.len() / 2)
        })
    }

    fn routes_beside_others(&self, table: &mut Table) {
        let n = f64::from(ROUTES);
        let [ip, netd, floor, floor_inline] =
            self.medians(["ip", "netd", "floor", "floor-inline"].map(|subject| (subject, ROUTES)));
        table.push(Row::seconds("ip -batch, 100 000 routes", ip.wall_s));
        table.push(Row::seconds("the kernel alone, next hop object, 32 kB batches", floor.wall_s));
        table.push(Row::seconds("the kernel alone, next hop in each route", floor_inline.wall_s));
        table.push(
            Row::seconds("netd, 100 000 routes from file to verified", netd.wall_s)
                .against("ip -batch", ip.wall_s)
                .ratio_at_most(0.5),
        );
        table.push(Row::new("netd, processor time a route", netd.cpu_s * 1e6 / n, "µs").at_most(4.0));
        table.push(
            Row::seconds("netd, the sending step", netd.send_s)
                .against("the kernel alone, next hop object", floor.wall_s)
                .ratio_at_most(1.5),
        );
        for (name, seconds) in [
            ("parsing", netd.parse_s),
            ("planning", netd.plan_s),
            ("reading before and after", netd.verify_s),
        ] {
            table.push(Row::seconds(&format!("netd, {name}"), seconds));
        }
        table.push(
            Row::seconds("netd, the same document again", netd.again_s)
                .against("the first apply", netd.wall_s)
                .at_most(0.3),
        );
        table.push(
            Row::new("netd, writes of the same document again", f64::from(netd.again_writes), "")
                .at_most(0.0),
        );
        if routes::Bird::find().is_none() {
            eprintln!("  no BIRD here (`cargo os bench` gets it): it is left out");
            return;
        }
        let [bird, netd] = self.medians(["bird", "netd"].map(|subject| (subject, ROUTES)));
        table.push(Row::seconds("BIRD 2, 100 000 routes", bird.wall_s));
        table.push(Row::seconds("netd beside BIRD 2", netd.wall_s).against("BIRD 2", bird.wall_s));
    }

    fn many_routes(&self, table: &mut Table) {
        let [few, many, floor_few, floor_many] =
            self.medians([("netd", ROUTES), ("netd", MANY), ("floor", ROUTES), ("floor", MANY)]);
        table.push(
            Row::seconds("the kernel alone, 1 000 000 routes", floor_many.wall_s)
                .against("100 000 routes", floor_few.wall_s),
        );
        table.push(
            Row::seconds("netd, 1 000 000 routes", many.wall_s)
                .against("100 000 routes", few.wall_s)
                .ratio_at_most(11.0),
        );
        let bytes = many.peak_bytes as f64 / f64::from(MANY);
        table.push(Row::new("netd, memory a route at most", bytes, "B").at_most(1000.0));
    }

    fn vlans_beside_others(&self, table: &mut Table) {
        // Minutes, on a translated processor: one run must do.
        let lines = once(&self.folder, "vlans-lines", PORTS);
        let subjects = ["vlans-ranges", "vlans-ranges-alike", "vlans-netd"];
        let [ranges, alike, netd] = self.medians(subjects.map(|subject| (subject, PORTS)));
        table.push(Row::seconds("bridge -batch, 62 ports, VLANs 2-4000, a line a VLAN", lines.wall_s));
        table.push(Row::seconds("bridge -batch, a line a port", ranges.wall_s));
        table.push(Row::seconds("bridge -batch, a line a port, on a bridge set as netd's", alike.wall_s));
        let netd_beside = |against: &str, seconds: f64| {
            let name = format!("netd, 62 ports, VLANs 2-4000, beside {against}");
            Row::seconds(&name, netd.wall_s).against(against, seconds)
        };
        table.push(netd_beside("bridge -batch, a line a VLAN", lines.wall_s).ratio_at_most(0.2));
        table.push(netd_beside("bridge -batch, a line a port", ranges.wall_s).ratio_at_most(1.2));
        table.push(netd_beside("bridge -batch, a line a port, on a bridge set as netd's", alike.wall_s));
        table.push(Row::seconds("netd, of that the sending step", netd.send_s));
        table.push(Row::seconds("netd, of that reading before and after", netd.verify_s));
    }

    fn instructions(&self, table: &mut Table) {
        for (subject, name) in [("plan", "planning"), ("send", "encoding and sending, without the kernel")] {
            eprintln!("  instructions of {name} …");
            match counts::count(subject, COUNTED, &self.folder, &mut isolate()) {
                Some(count) => {
                    let name = format!("instructions a route, {name}");
                    table.push(Row::new(&name, count / f64::from(COUNTED), ""));
                }
                None => eprintln!("  no valgrind here: instructions are not counted"),
            }
        }
    }
}
