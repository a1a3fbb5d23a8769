//! What is compared with, and how far it differs from itself.

use crate::Measurement;

/// Divisions into halves that are drawn, and how many of a hundred the spread covers.
const DIVISIONS: u64 = 2000;
const COVERED_PERCENT: usize = 95;

/// Values of a reference, which say how much a ratio to it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    name: String,
    value: f64,
    /// Of every other run, beginning with the first and with the second.
    halves: [f64; 2],
    spread: f64,
    runs: usize,
}

impl Reference {
    /// The median of values, which are in the order they were measured in.
    pub fn new(name: &str, values: &[f64]) -> Self {
        let mut even: Vec<f64> = values.iter().copied().step_by(2).collect();
        let mut odd: Vec<f64> = values.iter().copied().skip(1).step_by(2).collect();
        let halves = [median(&mut even), median(&mut odd)];
        let spread = spread(values).max(distance(halves[0] / halves[1]));
        let value = median(&mut values.to_vec());
        Reference { name: name.to_owned(), value, halves, spread, runs: values.len() }
    }

    /// The median.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Up to which ratio, or down to its inverse, a value is the reference's own.
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// The row of the reference against itself (A/A): one half of its runs beside the other.
    pub fn beside_itself(&self, unit: &str) -> Measurement {
        let mut row = Measurement::new(&format!("{} beside itself (A/A)", self.name), self.halves[0], unit);
        row = row.against("the other half of its runs", self.halves[1]);
        row.runs = Some(self.runs);
        row.spread = Some(self.spread);
        row
    }
}

/// How far a ratio is from 1, as a factor of at least 1.
pub(crate) fn distance(ratio: f64) -> f64 {
    ratio.max(ratio.recip())
}

/// The middle value, or the mean of the two in the middle; not a number where there is none.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The distance from 1 that 95 of 100 ratios do not exceed which compare one half of the values with the other, however
/// they are divided. Equal values give equal spreads: the divisions are drawn from a fixed seed.
fn spread(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::INFINITY;
    }
    let mut values = values.to_vec();
    let mut state = 0;
    let mut distances: Vec<f64> = (0..DIVISIONS)
        .map(|_| {
            shuffle(&mut values, &mut state);
            let (one, other) = values.split_at(values.len() / 2);
            distance(median(&mut one.to_vec()) / median(&mut other.to_vec()))
        })
        .collect();
    distances.sort_by(f64::total_cmp);
    distances[distances.len() * COVERED_PERCENT / 100]
}

/// Fisher and Yates' shuffle, with numbers of SplitMix64.
fn shuffle(values: &mut [f64], state: &mut u64) {
    for last in (1..values.len()).rev() {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = *state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        values.swap(last, ((number ^ (number >> 31)) % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn spread_of_equal_values_is_none_and_of_one_value_unknown() {
        assert_eq!(Reference::new("x", &[2.0; 15]).spread(), 1.0);
        assert!(Reference::new("x", &[2.0]).spread().is_infinite());
    }

    #[test]
    fn spread_grows_with_the_values_and_repeats() {
        let values =
            |percent: f64| (0..15).map(move |n| 1.0 + percent / 100.0 * f64::from(n * 7 % 15)).collect();
        let (calm, wild): (Vec<f64>, Vec<f64>) = (values(0.1), values(1.0));
        let [calm_spread, wild_spread] = [&calm, &wild].map(|values| Reference::new("x", values).spread());
        assert!(1.0 < calm_spread && calm_spread < wild_spread && wild_spread < 1.15, "{wild_spread}");
        assert_eq!(Reference::new("x", &wild).spread(), wild_spread);
    }

    #[test]
    fn half_that_drifts_is_within_the_spread() {
        // Every other run is slower by half: no division at random is as far apart.
        let values: Vec<f64> = (0..15).map(|n| if n % 2 == 0 { 1.0 } else { 1.5 }).collect();
        let reference = Reference::new("ip -batch", &values);
        assert_eq!(reference.spread(), 1.5);
        let row = reference.beside_itself("s");
        assert_eq!(
            (row.name.as_str(), row.value, row.runs),
            ("ip -batch beside itself (A/A)", 1.0, Some(15))
        );
        assert_eq!(row.ratio, Some(1.0 / 1.5));
    }
}
