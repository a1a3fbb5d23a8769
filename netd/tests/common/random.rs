//! Random numbers that a printed seed brings back.

#![allow(dead_code)] // each test program uses a part

/// A number that a variable of the environment asks for.
///
/// # Panics
/// When what is there is no number: the run would be another than was asked for.
pub fn asked_for(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// The seed that a variable of the environment asks for, or one that differs from run to run. It is printed, and
/// brings the same run back.
pub fn seed(variable: &str) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let fresh = now.map_or(1, |now| now.as_nanos() as u64) % 1_000_000_007;
    let seed = asked_for(variable).unwrap_or(fresh);
    println!("{variable}={seed}");
    seed
}

/// xorshift64*: the same numbers for the same seed on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}
