//! Rows as `cargo os bench` writes them.

use std::path::Path;

use corten_measure::Measurement;

#[derive(Default)]
pub struct Table(Vec<Measurement>);

impl Table {
    pub fn push(&mut self, row: Measurement) {
        self.0.push(row);
    }

    pub fn print(&self) {
        for row in &self.0 {
            println!("{:<58} {:>10.3} {:<3}{}", row.name, row.value, row.unit, row.remarks());
        }
    }

    pub fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(&self.0).expect("rows");
        std::fs::write(path, text + "\n").expect("the file of the rows");
    }
}

/// A row of seconds.
pub fn seconds(name: &str, value: f64) -> Measurement {
    Measurement::new(name, value, "s")
}
