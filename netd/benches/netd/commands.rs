//! Commands that print rows, one after the other and all of them again and again, with when each printed its first row
//! and when it ended. In the guest, where netd, the bus and the console are the switch's own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

/// A command and the seconds its runs took, in their order.
#[derive(Debug, Serialize)]
struct Timed {
    command: String,
    /// Which line its first row is.
    #[serde(skip)]
    first_line: usize,
    first_s: Vec<f64>,
    whole_s: Vec<f64>,
    /// Lines of the last run.
    lines: usize,
}

/// Runs commands so many times and prints their times as JSON. A command is `N:WORD…`: its first row is line N.
pub fn measure(runs: usize, commands: &[String]) {
    let mut all: Vec<Timed> = commands.iter().map(|command| parse(command)).collect();
    for _ in 0..runs {
        all.iter_mut().for_each(run);
    }
    println!("{}", serde_json::to_string(&all).expect("times"));
}

fn parse(text: &str) -> Timed {
    let (line, command) = text.split_once(':').expect("N:WORD…");
    Timed {
        command: command.to_owned(),
        first_line: line.parse().expect("the number of a line"),
        first_s: Vec::new(),
        whole_s: Vec::new(),
        lines: 0,
    }
}

fn run(timed: &mut Timed) {
    let words: Vec<&str> = timed.command.split_whitespace().collect();
    let began = Instant::now();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", timed.command));
    let mut output = BufReader::with_capacity(64 * 1024, child.stdout.take().expect("its output"));
    let (mut line, mut lines, mut first_s) = (Vec::new(), 0, f64::NAN);
    while output.read_until(b'\n', &mut line).expect("its output") > 0 {
        lines += 1;
        if lines == timed.first_line {
            first_s = began.elapsed().as_secs_f64();
        }
        line.clear();
    }
    let whole_s = began.elapsed().as_secs_f64();
    let status = child.wait().expect("its end");
    assert!(status.success(), "{}: {status}", timed.command);
    assert!(lines >= timed.first_line, "{}: no row", timed.command);
    timed.first_s.push(first_s);
    timed.whole_s.push(whole_s);
    timed.lines = lines;
}
