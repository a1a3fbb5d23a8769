//! Progress of long steps: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a step reports when standard error is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);

/// A step under way.
pub struct Step {
    bar: ProgressBar,
    name: String,
    started: Instant,
    last_plain: Instant,
    terminal: bool,
}

impl Step {
    /// Begins a step of `total` units (0 when not known).
    pub fn begin(name: &str, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let template = if total > 0 {
            "{prefix} [{bar:30}] {percent:>3}% {msg}"
        } else {
            "{prefix} {spinner} {elapsed} {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_length(total);
        bar.set_prefix(format!("{name:<28}"));
        if terminal && total == 0 {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        if !terminal {
            eprintln!("{name} …");
        }
        let now = Instant::now();
        Self { bar, name: name.to_owned(), started: now, last_plain: now, terminal }
    }

    /// Moves to `position` units and says what is being worked on.
    pub fn at(&mut self, position: u64, message: &str) {
        self.bar.set_position(position);
        self.bar.set_message(message.to_owned());
        if !self.terminal && self.last_plain.elapsed() >= PLAIN_INTERVAL {
            self.last_plain = Instant::now();
            let total = self.bar.length().unwrap_or(0);
            match (100 * position.min(total)).checked_div(total) {
                Some(percent) => eprintln!("{} … {percent} % {message}", self.name),
                None => eprintln!("{} … {} s {message}", self.name, self.started.elapsed().as_secs()),
            }
        }
    }

    /// Ends the step with its outcome.
    pub fn done(self, outcome: &str) {
        self.bar.finish_and_clear();
        eprintln!("{:<28} {outcome} ({:.1} s)", self.name, self.started.elapsed().as_secs_f64());
    }
}
