//! Rows as `cargo os bench` writes them.

use std::path::Path;

use serde::Serialize;

/// A measured value.
#[derive(Serialize)]
pub struct Row {
    name: String,
    value: f64,
    unit: String,
    against: Option<String>,
    ratio: Option<f64>,
    aim: Option<String>,
    met: Option<bool>,
}

impl Row {
    pub fn new(name: &str, value: f64, unit: &str) -> Row {
        Row {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            against: None,
            ratio: None,
            aim: None,
            met: None,
        }
    }

    pub fn seconds(name: &str, value: f64) -> Row {
        Row::new(name, value, "s")
    }

    /// Compares with another value of the same unit.
    pub fn against(mut self, name: &str, value: f64) -> Row {
        self.against = Some(format!("{name}: {value:.3} {}", self.unit));
        self.ratio = Some(self.value / value);
        self
    }

    /// Aims at a value.
    pub fn at_most(mut self, bound: f64) -> Row {
        self.aim = Some(format!("<= {bound}"));
        self.met = Some(self.value <= bound);
        self
    }

    /// Aims at a ratio to what it is compared with.
    pub fn ratio_at_most(mut self, bound: f64) -> Row {
        self.aim = Some(format!("<= {bound} x"));
        self.met = self.ratio.map(|ratio| ratio <= bound);
        self
    }
}

#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub fn print(&self) {
        for row in &self.0 {
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2} x")).unwrap_or_default();
            let aim = match (&row.aim, row.met) {
                (Some(aim), Some(met)) => format!("(aim {aim}: {})", if met { "met" } else { "missed" }),
                _ => String::new(),
            };
            println!("{:<52} {:>10.3} {:<3} {ratio:>9} {aim}", row.name, row.value, row.unit);
        }
    }

    pub fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(&self.0).expect("rows");
        std::fs::write(path, text + "\n").expect("the file of the rows");
    }
}
