//! Measurements, as rows a person reads and a program compares.
//!
//! What is compared with a [`Reference`] counts as equal to it where the ratio is no further from 1 than the reference is
//! from itself. Benchmarks of any crate may depend on this one; it depends on no other of this workspace.

mod reference;

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use reference::{Reference, median};

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
    /// How often the reference ran, in its row against itself.
    #[serde(default)]
    pub runs: Option<usize>,
    /// The ratio, or its inverse, up to which the reference differs from itself.
    #[serde(default)]
    pub spread: Option<f64>,
    /// Whether the ratio is no further from 1 than that.
    #[serde(default)]
    pub equal: Option<bool>,
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
            runs: None,
            spread: None,
            equal: None,
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

    /// Sets an upper bound of the ratio as the aim.
    pub fn ratio_at_most(mut self, bound: f64) -> Self {
        self.aim = Some(format!("<= {bound} x"));
        self.met = self.ratio.map(|ratio| ratio <= bound);
        self
    }

    /// Compares it with a reference of its unit.
    pub fn beside(mut self, reference: &Reference) -> Self {
        self = self.against(reference.name(), reference.value());
        self.spread = Some(reference.spread());
        self.equal = self.ratio.map(|ratio| reference::distance(ratio) <= reference.spread());
        self
    }

    /// Compares it with a single value of its unit, of which nobody knows how far it differs from itself.
    pub fn against(mut self, name: &str, value: f64) -> Self {
        self.against = Some(format!("{name}: {value:.3} {}", self.unit));
        self.ratio = Some(self.value / value);
        self
    }

    /// The line for the summary.
    pub fn line(&self) -> String {
        format!("{}: {:.2} {}{}", self.name, self.value, self.unit, self.remarks())
    }

    /// What it is compared with and aimed at.
    pub fn remarks(&self) -> String {
        let mut remarks = String::new();
        if let (Some(against), Some(ratio)) = (&self.against, self.ratio) {
            remarks += &format!(", {ratio:.2} x {against}");
        }
        match (self.equal, self.runs, self.spread) {
            (Some(true), _, Some(spread)) => remarks += &format!(", equal (A/A {spread:.2})"),
            (_, Some(runs), Some(spread)) => remarks += &format!(", {runs} runs, A/A {spread:.2}"),
            _ => {}
        }
        if let (Some(aim), Some(met)) = (&self.aim, self.met) {
            remarks += &format!(" (aim {aim}: {})", if met { "met" } else { "missed" });
        }
        remarks
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

    #[test]
    fn ratio_within_the_spread_of_the_reference_is_equal() {
        let values: Vec<f64> = (0..15).map(|n| if n % 2 == 0 { 1.0 } else { 1.5 }).collect();
        let reference = Reference::new("ip -batch", &values);
        let row = |value| Measurement::new("netd", value, "s").beside(&reference).ratio_at_most(1.2);
        assert_eq!(
            row(1.4).line(),
            "netd: 1.40 s, 1.40 x ip -batch: 1.000 s, equal (A/A 1.50) (aim <= 1.2 x: missed)"
        );
        assert_eq!([row(0.6).equal, row(0.7).equal, row(1.6).equal], [Some(false), Some(true), Some(false)]);
        assert_eq!(
            reference.beside_itself("s").line(),
            "ip -batch beside itself (A/A): 1.00 s, 0.67 x the other half of its runs: 1.500 s, 15 runs, A/A 1.50"
        );
    }

    #[test]
    fn row_of_one_who_knows_no_spread_is_read() {
        let row = r#"{"name":"a","value":1.0,"unit":"s","against":null,"ratio":null,"aim":null,"met":null}"#;
        assert_eq!(serde_json::from_str::<Measurement>(row).unwrap(), Measurement::new("a", 1.0, "s"));
    }
}
