//! Measurements, as rows a person reads and a program compares.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One measured value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Unit of value, comparison and aim.
    pub unit: String,
    /// What it is compared with, if anything.
    pub against: Option<String>,
    /// Value divided by that of the comparison.
    pub ratio: Option<f64>,
    /// What was aimed at, as people say it (`<= 30`).
    pub aim: Option<String>,
    /// Whether the aim was met.
    pub met: Option<bool>,
}

impl Measurement {
    /// A value that nothing is compared with.
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Measurement {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            against: None,
            ratio: None,
            aim: None,
            met: None,
        }
    }

    /// Sets an upper bound as the aim.
    pub fn at_most(mut self, bound: f64) -> Self {
        self.aim = Some(format!("<= {bound}"));
        self.met = Some(self.value <= bound);
        self
    }

    /// Compares it with another value of its unit.
    pub fn against(mut self, name: &str, value: f64) -> Self {
        self.against = Some(format!("{name}: {value:.3} {}", self.unit));
        self.ratio = Some(self.value / value);
        self
    }

    /// The line for the summary.
    pub fn line(&self) -> String {
        let mut line = format!("{}: {:.2} {}", self.name, self.value, self.unit);
        if let (Some(against), Some(ratio)) = (&self.against, self.ratio) {
            line += &format!(", {ratio:.2} x {against}");
        }
        if let (Some(aim), Some(met)) = (&self.aim, self.met) {
            line += &format!(" (aim {aim}: {})", if met { "met" } else { "missed" });
        }
        line
    }
}

/// Writes measurements to `FOLDER/NAME.json`.
pub fn write(folder: &Path, name: &str, rows: &[Measurement]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(rows).context("cannot write measurements as JSON")?;
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_or_missed() {
        assert_eq!(
            Measurement::new("boot", 12.0, "s").at_most(30.0).line(),
            "boot: 12.00 s (aim <= 30: met)"
        );
        assert_eq!(Measurement::new("boot", 31.0, "s").at_most(30.0).met, Some(false));
    }
}
