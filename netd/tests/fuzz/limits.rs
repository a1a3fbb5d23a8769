//! How many cases a run has, how long one may take, and how much memory all of them may.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::model::random;

/// Cases that are made from one seed of proptest's.
const BATCH: u64 = 32;
/// A case that takes longer hangs, translated or slow machines considered.
const LONGEST_CASE: Duration = Duration::from_secs(10);
/// More address space is not to be had: an allocation that would take it ends the process.
const ADDRESS_SPACE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The cases of a run and the seed of what they are made from: the same seed and count are the same run.
pub struct Cases {
    name: &'static str,
    count: u64,
    seed: u64,
}

impl Cases {
    /// As many as `NETD_FUZZ_CASES` says, or else `count`, of the seed `NETD_FUZZ_SEED`, or else one that differs
    /// from run to run. Both are printed.
    pub fn new(name: &'static str, count: u64) -> Cases {
        let count = random::asked_for("NETD_FUZZ_CASES").unwrap_or(count);
        println!("{count} {name}");
        let seed = random::seed("NETD_FUZZ_SEED");
        Cases { name, count, seed }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What makes `cases` inputs of a batch.
    pub fn runner(&self, batch: u64, cases: u64) -> TestRunner {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&batch.to_le_bytes());
        let config = Config { cases: cases as u32, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
    }

    /// Tries them all. An input that fails is made as small as it gets.
    pub fn try_all<S: Strategy<Value = Vec<u8>>>(self, inputs: S, attempt: impl FnMut(&[u8])) {
        let attempt = std::cell::RefCell::new(attempt);
        let longest = std::cell::Cell::new(Duration::ZERO);
        for first in (0..self.count).step_by(BATCH as usize) {
            let mut runner = self.runner(first / BATCH, BATCH.min(self.count - first));
            let outcome = runner.run(&inputs, |bytes| {
                let began = Instant::now();
                // A panic inside leaves nothing behind that the next attempt would mind.
                (attempt.borrow_mut())(&bytes);
                let taken = began.elapsed();
                longest.set(longest.get().max(taken));
                match taken > LONGEST_CASE {
                    true => Err(TestCaseError::fail(format!("took {taken:?}"))),
                    false => Ok(()),
                }
            });
            if let Err(TestError::Fail(reason, bytes)) = outcome {
                let text = String::from_utf8_lossy(&bytes);
                panic!("{}: {reason}\nNETD_FUZZ_SEED={} {bytes:?}\nas text:\n{text}", self.name, self.seed);
            }
            outcome.expect("inputs can be made");
        }
        println!("the longest took {:?}", longest.get());
    }
}

/// Bytes this program has allocated and not freed: now, and at most since [`Memory::limited`].
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which counts.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn took(bytes: usize) {
        let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
        MOST_HELD.fetch_max(held, Ordering::Relaxed);
    }

    fn gave_back(bytes: usize) {
        HELD.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call is the system allocator's with the same arguments; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises is what is asked for.
        let place = unsafe { System.alloc(layout) };
        if !place.is_null() {
            Counting::took(layout.size());
        }
        place
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) };
        Counting::gave_back(layout.size());
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(place, layout, new_size) };
        if !moved.is_null() {
            Counting::took(new_size);
            Counting::gave_back(layout.size());
        }
        moved
    }
}

/// The memory of this program, from a moment on.
pub struct Memory {
    before: usize,
    most: usize,
    kept: usize,
}

impl Memory {
    /// From now on the program may hold at most so many bytes more, and keep so many in the end.
    pub fn limited(most: usize, kept: usize) -> Memory {
        setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES).expect("a limit");
        let before = HELD.load(Ordering::Relaxed);
        MOST_HELD.store(before, Ordering::Relaxed);
        Memory { before, most, kept }
    }

    /// Fails when the program ever held more.
    pub fn check(&self) {
        let more = MOST_HELD.load(Ordering::Relaxed).saturating_sub(self.before);
        assert!(more < self.most, "{more} bytes were held at once, more than {}", self.most);
    }

    /// Bytes the program holds more than before.
    pub fn kept(&self) -> usize {
        HELD.load(Ordering::Relaxed).saturating_sub(self.before)
    }

    /// Fails when the program goes on holding more than it may keep.
    pub fn check_kept(&self) {
        self.check();
        let more = MOST_HELD.load(Ordering::Relaxed).saturating_sub(self.before);
        let kept = self.kept();
        println!("at most {more} bytes were held at once, {kept} are kept");
        assert!(kept < self.kept, "{kept} bytes are kept, more than {}", self.kept);
    }
}
