//! How fast netd makes routes, beside `ip -batch`, BIRD and what the kernel itself needs, all in one run.
//!
//! `cargo bench -p netd` prints a table; with `--json FILE` it writes the rows, as `cargo os bench netd` does.
//! Each subject runs in a process and a network namespace of its own, so that its memory and processor time
//! are its own. Needs root or user namespaces, iproute2 and bird2.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement that cannot be made ends the run

mod floor;
mod report;
mod subject;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use report::{Row, Table};
use subject::Outcome;

/// Routes of the main comparison.
const ROUTES: u32 = 100_000;
/// Routes of the large one.
const MANY: u32 = 1_000_000;
/// Runs of each subject; the median counts.
const RUNS: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.first().is_some_and(|word| word == "inside") {
        subject::run_inside(&words[1..]);
        return ExitCode::SUCCESS;
    }
    let json = words.iter().position(|word| word == "--json").map(|at| PathBuf::from(&words[at + 1]));
    // In a guest there is neither BIRD nor time for a million.
    let small = words.iter().any(|word| word == "--small");
    let folder = tempdir();
    let table = measure(&folder, small);
    table.print();
    if let Some(path) = json {
        table.write(&path);
    }
    std::fs::remove_dir_all(&folder).expect("the bench's own folder");
    ExitCode::SUCCESS
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("netd-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// The median of some runs, by wall time.
fn median(folder: &Path, subject: &str, routes: u32) -> Outcome {
    let mut runs: Vec<Outcome> = (0..RUNS).map(|_| once(folder, subject, routes)).collect();
    runs.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    runs.swap_remove(RUNS / 2)
}

fn once(folder: &Path, subject: &str, routes: u32) -> Outcome {
    eprintln!("  {subject}, {routes} routes …");
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("unshare");
        command.arg("--net");
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    let this = std::env::current_exe().expect("this program");
    let output = command
        .arg("--")
        .arg(this)
        .args(["inside", subject, &routes.to_string()])
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

fn measure(folder: &Path, small: bool) -> Table {
    let mut table = Table::default();
    let n = f64::from(ROUTES);
    let ip = median(folder, "ip", ROUTES);
    let netd = median(folder, "netd", ROUTES);
    let floor = median(folder, "floor", ROUTES);
    let floor_inline = median(folder, "floor-inline", ROUTES);
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
    for (name, seconds) in
        [("parsing", netd.parse_s), ("planning", netd.plan_s), ("reading back", netd.verify_s)]
    {
        table.push(Row::seconds(&format!("netd, {name}"), seconds));
    }
    table.push(
        Row::seconds("netd, the same document again", netd.again_s)
            .against("the first apply", netd.wall_s)
            .at_most(0.3),
    );
    table.push(
        Row::new("netd, writes of the same document again", f64::from(netd.again_writes), "").at_most(0.0),
    );
    if !small {
        if subject::has_bird() {
            let bird = median(folder, "bird", ROUTES);
            table.push(Row::seconds("BIRD 2, 100 000 routes", bird.wall_s));
            table.push(Row::seconds("netd beside BIRD 2", netd.wall_s).against("BIRD 2", bird.wall_s));
        } else {
            eprintln!("  no BIRD here (bird2): it is left out");
        }
        let many = once(folder, "netd", MANY);
        table.push(
            Row::seconds("netd, 1 000 000 routes", many.wall_s)
                .against("100 000 routes", netd.wall_s)
                .ratio_at_most(11.0),
        );
        let bytes = many.peak_bytes as f64 / f64::from(MANY);
        table.push(Row::new("netd, memory a route at most", bytes, "B").at_most(1000.0));
    }
    table
}
