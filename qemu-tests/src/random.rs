//! Reproducible noise: a small generator with a printed seed, and tokens unique to a run.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

/// A xorshift64* generator. Good for payloads and choices in tests, for nothing else.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that yields the same sequence for the same seed.
    pub fn new(seed: u64) -> Self {
        // The state must not be zero, and nearby seeds must not give nearby sequences.
        Random((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills a buffer. How the sequence is cut into buffers changes nothing, as long as all but the last
    /// have a length that is a multiple of eight.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// A number from the operating system, for the default seed and for run tokens.
pub fn from_system() -> u64 {
    let mut bytes = [0; 8];
    match File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Without the device the clock and the process id still tell two runs apart.
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |since| since.as_nanos() as u64) ^ (u64::from(std::process::id()) << 32)
        }
    }
}

/// The token of this run: the same for the whole process, different in every process. Payloads carry it,
/// so that a captured frame can only be one that this run sent.
pub fn run_token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| format!("corten-run-{:016x}", from_system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_however_they_are_cut() {
        let (mut whole, mut parts) = ([0; 64], [0; 64]);
        Random::new(7).fill(&mut whole);
        let mut random = Random::new(7);
        random.fill(&mut parts[..24]);
        random.fill(&mut parts[24..]);
        assert_eq!(whole, parts);
        Random::new(8).fill(&mut parts);
        assert_ne!(whole, parts);
    }
}
