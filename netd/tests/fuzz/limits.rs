//! How long a run goes on, and how much memory it may take.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Seconds for each target, unless `NETD_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// Cases between two looks at the clock.
const BATCH: u32 = 32;
/// A case that takes longer hangs, translated or slow machines considered.
const LONGEST_CASE: Duration = Duration::from_secs(20);
/// The process may grow by so much; inputs are far smaller.
const GROWTH_BYTES: u64 = 400 * 1024 * 1024;
/// More address space is not to be had: an allocation that would take it ends the process.
const ADDRESS_SPACE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The time of a run and the seed of what it tries.
pub struct Budget {
    name: &'static str,
    ends: Instant,
    seed: u64,
}

impl Budget {
    /// Begins a run and prints its seed.
    pub fn new(name: &'static str) -> Budget {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let fresh = now.map_or(1, |now| now.as_nanos() as u64);
        let seed = setting("NETD_FUZZ_SEED").unwrap_or(fresh % 1_000_000_007);
        println!("{name}: seed {seed}");
        let seconds = setting("NETD_FUZZ_SECONDS").unwrap_or(SECONDS);
        Budget { name, ends: Instant::now() + Duration::from_secs(seconds), seed }
    }

    /// Whether time is left.
    pub fn is_left(&self) -> bool {
        Instant::now() < self.ends
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What makes the inputs of a batch.
    pub fn runner(&self, batch: u64) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&batch.to_le_bytes());
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    /// Tries inputs until the time is up; answers how many. One that fails is made as small as it gets.
    pub fn spend<S: Strategy<Value = Vec<u8>>>(self, inputs: S, attempt: impl FnMut(&[u8])) -> u64 {
        let attempt = std::cell::RefCell::new(attempt);
        let mut batches = 0;
        while self.is_left() {
            let outcome = self.runner(batches).run(&inputs, |bytes| {
                let began = Instant::now();
                // A panic inside leaves nothing behind that the next attempt would mind.
                (attempt.borrow_mut())(&bytes);
                match began.elapsed() {
                    taken if taken > LONGEST_CASE => Err(TestCaseError::fail(format!("took {taken:?}"))),
                    _ => Ok(()),
                }
            });
            if let Err(TestError::Fail(reason, bytes)) = outcome {
                let text = String::from_utf8_lossy(&bytes);
                panic!("{}: {reason}\nNETD_FUZZ_SEED={} {bytes:?}\nas text:\n{text}", self.name, self.seed);
            }
            outcome.expect("inputs can be made");
            batches += 1;
        }
        batches * u64::from(BATCH)
    }
}

/// The memory of this process.
pub struct Memory {
    before_bytes: u64,
}

impl Memory {
    /// From now on the process may grow by [`GROWTH_BYTES`].
    pub fn limited() -> Memory {
        setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES).expect("a limit");
        Memory { before_bytes: peak_bytes() }
    }

    /// Fails when the process ever took more.
    pub fn check(&self) {
        let grown = peak_bytes().saturating_sub(self.before_bytes);
        assert!(grown < GROWTH_BYTES, "the process grew by {} MB", grown / 1024 / 1024);
    }
}

/// The most memory this process ever had.
fn peak_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
}
