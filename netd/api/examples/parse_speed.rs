//! How long a document with very many routes takes to be read and checked, and how much memory.
//!
//! `cargo run --release -p netd-api --example parse_speed [ROUTES]`

use std::fmt::Write;
use std::time::{Duration, Instant};

/// A figure of this process in kB, from /proc/self/status (`VmRSS`, `VmHWM`).
fn memory_kb(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// CPU time of this process, in steps of 10 ms: fields 14 and 15 of /proc/self/stat.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

const HEAD: &str = "version = 1\n[vlans.10]\naddresses = [\"10.0.0.1/24\", \"2001:db8::1/64\"]\n[ports.swp1]\nvlan.access = 10\n";

/// A scattered, never repeating order of the numbers below 2^24.
fn scattered(number: u32) -> u32 {
    number.wrapping_mul(0x009e_3779) & 0x00ff_ffff
}

fn document(routes: u32, route: impl Fn(&mut String, u32) -> std::fmt::Result) -> String {
    let mut text = HEAD.to_owned();
    for number in 0..routes {
        // Writing to a text never fails.
        let _ = route(&mut text, number);
    }
    text
}

fn main() {
    let routes = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let address = |number: u32| (11 + (number >> 16), number >> 8 & 255, number & 255);
    let plain = document(routes, |text, number| {
        let (a, b, c) = address(number);
        write!(text, "\n[[routes]]\nprefix = \"{a}.{b}.{c}.0/24\"\nvia = [\"10.0.0.2\"]\n")
    });
    measure("in order, one next hop", routes, &plain);
    drop(plain);
    let hosts = document(routes, |text, number| {
        let (a, b, c) = address(scattered(number));
        let hop = 2 + number % 200;
        let a = 11 + a % 100;
        write!(text, "[[routes]]\nprefix = \"{a}.{b}.{c}.{}/32\"\nvia = [\"10.0.0.{hop}\"]\n", number % 251)
    });
    measure("scattered, 200 next hops", routes, &hosts);
    drop(hosts);
    let ecmp = document(routes, |text, number| {
        let (a, b, c) = address(number);
        let hop = 2 + number % 200;
        write!(
            text,
            "# site {number}\n[[routes]]\nvia = [\"10.0.0.{hop}\", \"10.0.0.{}\"]\nprefix = \"{a}.{b}.{c}.0/24\"\nmetric = 20\n",
            hop + 1
        )
    });
    measure("ECMP, keys in another order, a comment each", routes, &ecmp);
    drop(ecmp);
    let v6 = document(routes, |text, number| {
        write!(
            text,
            "[[routes]]\nprefix = \"2001:{:x}:{:x}::/64\"\nvia = [\"2001:db8::2\"]\n",
            0x1000 + (number >> 16),
            number & 0xffff
        )
    });
    measure("IPv6", routes, &v6);
}

fn measure(name: &str, routes: u32, text: &str) {
    // Resets the peak: see proc(5).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before_kb, start, cpu) = (memory_kb("VmRSS"), Instant::now(), cpu_time());
    let config = match netd_api::config::parse(text) {
        Ok(config) => config,
        Err(mistakes) => {
            let shown: Vec<String> = mistakes.iter().take(5).map(ToString::to_string).collect();
            println!("{name}: {}", shown.join("\n"));
            return;
        }
    };
    let (wall, cpu) = (start.elapsed(), cpu_time() - cpu);
    let peak = (memory_kb("VmHWM").saturating_sub(before_kb)) * 1024;
    let kept = (memory_kb("VmRSS").saturating_sub(before_kb)) * 1024;
    let each = |bytes: u64| bytes / u64::from(routes.max(1));
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(routes.max(1));
    println!(
        "{name}: {} routes, {} MB of text: {:.3} µs CPU and {:.3} µs wall a route; {} bytes a route at the peak, {} kept (a route itself {})",
        config.routes.len(),
        text.len() / 1_000_000,
        microseconds(cpu),
        microseconds(wall),
        each(peak),
        each(kept),
        size_of::<netd_api::config::model::Route>(),
    );
}
