//! What is measured, inside a network namespace of its own.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::{counts, routes, tables, vlans};

/// What a subject needed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub wall_s: f64,
    /// User and system time.
    pub cpu_s: f64,
    pub peak_bytes: u64,
    pub parse_s: f64,
    pub plan_s: f64,
    pub send_s: f64,
    pub verify_s: f64,
    /// The same document once more.
    pub again_s: f64,
    pub again_writes: u32,
}

/// Runs the subject the words name and prints its outcome.
pub fn run_inside(words: &[String]) {
    let [subject, size, folder] = words else { panic!("inside SUBJECT SIZE FOLDER") };
    let (size, folder) = (size.parse().expect("a number"), PathBuf::from(folder));
    if subject == "tables" {
        let times = tables::run(size, crate::RUNS, &folder);
        return println!("{}", serde_json::to_string(&times).expect("times"));
    }
    let outcome = if let Some(subject) = subject.strip_prefix("vlans-") {
        vlans::run(subject, size, &folder)
    } else if let Some(subject) = subject.strip_prefix("count-") {
        counts::run(subject, size)
    } else {
        routes::run(subject, size, &folder)
    };
    println!("{}", serde_json::to_string(&outcome).expect("an outcome"));
}

pub fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("ip of iproute2");
    assert!(status.success(), "ip {words}: {status}");
}

pub fn cpu(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("rusage");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// The most memory this process had.
pub fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
}
