//! A cable between two machines that can be cut, one way or both, and bad in other ways.
//!
//! It takes frames from the port at one end and hands them to the other, one thread a direction. The ports keep their
//! carrier whatever it does: a cable that is pulled out is [`crate::machine::Vm::set_link`]'s.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machine::Cable;
use crate::random::Random;
use crate::sync::lock;
use crate::waiting::pause;
use crate::wire::{Capture, FRAME_LIMIT_BYTES, Tap};

/// How long a frame that is overtaken stays behind.
const HELD_BACK: Duration = Duration::from_millis(20);
/// How long a frame waits for a far end that does not read.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);
/// Frames on their way; what comes while there are so many is lost, as in a queue of a slow line.
const LIMIT_FRAMES: usize = 1000;

/// A direction of a cable, named by where frames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The end that was named first.
    A,
    /// The other end.
    B,
}

/// What is wrong with a direction. By default nothing is.
#[derive(Clone, Debug, PartialEq)]
pub struct Impairment {
    /// Nothing comes through.
    pub cut: bool,
    /// How long each frame is under way.
    pub delay: Duration,
    /// Share of frames that are lost, from 0 to 1.
    pub lost: f64,
    /// Share of frames that come with a bit turned over.
    pub corrupted: f64,
    /// Share of frames that come twice.
    pub duplicated: f64,
    /// Share of frames that those behind them overtake.
    pub reordered: f64,
    /// How much comes through, in bytes a second.
    pub limit_bytes_per_s: Option<u64>,
}

impl Default for Impairment {
    fn default() -> Self {
        Impairment {
            cut: false,
            delay: Duration::ZERO,
            lost: 0.0,
            corrupted: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            limit_bytes_per_s: None,
        }
    }
}

impl Impairment {
    /// A direction that is cut.
    pub fn cut() -> Self {
        Impairment { cut: true, ..Impairment::default() }
    }
}

/// Frames of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchCounters {
    /// Frames that came in at the beginning.
    pub received: u64,
    /// Frames that went out at the end.
    pub passed: u64,
    /// Frames that were lost on purpose, or that the far end did not take.
    pub lost: u64,
}

/// A cable; it is gone when dropped.
pub struct Patch {
    directions: [Direction; 2],
}

struct Direction {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Where frames come in.
    socket: UnixDatagram,
    local: PathBuf,
    /// Where they go.
    remote: PathBuf,
    impairment: Mutex<Impairment>,
    tap: Tap,
    received: AtomicU64,
    passed: AtomicU64,
    lost: AtomicU64,
}

/// Sockets of a cable through a patch: those of the port at either end.
pub fn cables(folder: &Path, name: &str) -> [Cable; 2] {
    let cable = |end: &str| Cable {
        local: folder.join(format!("{name}.{end}")),
        remote: folder.join(format!("{name}.{end}p")),
    };
    [cable("a"), cable("b")]
}

/// Sockets of a cable that leads from port to port.
pub fn direct(folder: &Path, name: &str) -> [Cable; 2] {
    let [a, b] = ["a", "b"].map(|end| folder.join(format!("{name}.{end}")));
    [Cable { local: a.clone(), remote: b.clone() }, Cable { local: b, remote: a }]
}

impl Patch {
    /// A good cable between two ports. `seed` decides which frames suffer once it is bad.
    pub fn new(name: &str, [a, b]: &[Cable; 2], seed: u64) -> Result<Patch> {
        Ok(Patch {
            directions: [
                Direction::new(&format!("{name} from a"), &a.remote, &b.local, seed)?,
                Direction::new(&format!("{name} from b"), &b.remote, &a.local, seed.wrapping_add(1))?,
            ],
        })
    }

    fn direction(&self, from: From) -> &Shared {
        &self.directions[usize::from(from == From::B)].shared
    }

    /// Makes a direction bad, from the next frame on.
    pub fn impair(&self, from: From, impairment: Impairment) {
        *lock(&self.direction(from).impairment) = impairment;
    }

    /// Makes both directions bad in the same way.
    pub fn impair_both(&self, impairment: &Impairment) {
        [From::A, From::B].into_iter().for_each(|from| self.impair(from, impairment.clone()));
    }

    /// Cuts both directions.
    pub fn cut(&self) {
        self.impair_both(&Impairment::cut());
    }

    /// Makes both directions good.
    pub fn mend(&self) {
        self.impair_both(&Impairment::default());
    }

    /// Cuts and mends both directions so many times.
    pub fn flap(&self, times: u32, interval: Duration) {
        for _ in 0..times {
            self.cut();
            pause(interval);
            self.mend();
            pause(interval);
        }
    }

    /// Captures, from now on, the frames that come in from an end and pass a filter, whatever becomes of them.
    pub fn capture_if(&self, from: From, filter: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Capture {
        self.direction(from).tap.capture_if(filter)
    }

    /// Frames so far.
    pub fn counters(&self, from: From) -> PatchCounters {
        let direction = self.direction(from);
        PatchCounters {
            received: direction.received.load(Ordering::Relaxed),
            passed: direction.passed.load(Ordering::Relaxed),
            lost: direction.lost.load(Ordering::Relaxed),
        }
    }
}

impl Direction {
    fn new(name: &str, local: &Path, remote: &Path, seed: u64) -> Result<Direction> {
        ensure!(local != remote, "a cable from {} to itself", local.display());
        let socket = UnixDatagram::bind(local).with_context(|| format!("cannot bind {}", local.display()))?;
        socket.set_write_timeout(Some(SEND_TIMEOUT)).context("cannot set the send time-out of a cable")?;
        let shared = Arc::new(Shared {
            socket,
            local: local.to_owned(),
            remote: remote.to_owned(),
            impairment: Mutex::default(),
            tap: Tap::new(name),
            received: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("patch-{name}"))
            .stack_size(128 * 1024)
            .spawn(move || Line::new(&for_thread, seed).run())
            .context("cannot start a patch")?;
        Ok(Direction { shared, thread: Some(thread) })
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        // Wakes the thread, which then ends. Failure means that the socket is dead already.
        let _ = self.shared.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.shared.tap.close();
        let _ = std::fs::remove_file(&self.shared.local);
    }
}

/// What is under way: when it is due, its number, and its bytes.
type UnderWay = Reverse<(Instant, u64, Vec<u8>)>;

struct Line<'a> {
    shared: &'a Shared,
    random: Random,
    under_way: BinaryHeap<UnderWay>,
    number: u64,
    /// When a limited line has handed on all it took.
    free: Instant,
}

impl<'a> Line<'a> {
    fn new(shared: &'a Shared, seed: u64) -> Line<'a> {
        let random = Random::new(seed);
        Line { shared, random, under_way: BinaryHeap::new(), number: 0, free: Instant::now() }
    }

    fn run(&mut self) {
        let mut buffer = vec![0; FRAME_LIMIT_BYTES];
        loop {
            let due = self.under_way.peek().map(|Reverse((due, ..))| *due);
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                if let Some(Reverse((_, _, frame))) = self.under_way.pop() {
                    self.hand_on(&frame);
                }
                continue;
            }
            // A time-out of zero would be none.
            if self
                .shared
                .socket
                .set_read_timeout(left.map(|left| left.max(Duration::from_micros(1))))
                .is_err()
            {
                return;
            }
            match self.shared.socket.recv(&mut buffer) {
                Ok(0) => return,
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && ((self.random.next_u64() >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    fn take(&mut self, frame: &[u8]) {
        let now = Instant::now();
        self.shared.received.fetch_add(1, Ordering::Relaxed);
        self.shared.tap.emit(now, frame);
        let Impairment { cut, delay, lost, corrupted, duplicated, reordered, limit_bytes_per_s } =
            lock(&self.shared.impairment).clone();
        if cut || self.chance(lost) || self.under_way.len() >= LIMIT_FRAMES {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut frame = frame.to_vec();
        if self.chance(corrupted) {
            let at = self.random.next_u64() as usize;
            let length = frame.len();
            frame[at / 8 % length] ^= 1 << (at % 8);
        }
        let mut due = now + delay;
        if self.chance(reordered) {
            due += HELD_BACK;
        }
        let copies = if self.chance(duplicated) { 2 } else { 1 };
        for _ in 0..copies {
            if let Some(rate) = limit_bytes_per_s {
                self.free =
                    self.free.max(now) + Duration::from_secs_f64(frame.len() as f64 / rate.max(1) as f64);
                due = due.max(self.free);
            }
            if due <= now && self.under_way.is_empty() {
                self.hand_on(&frame);
            } else {
                self.number += 1;
                self.under_way.push(Reverse((due, self.number, frame.clone())));
            }
        }
    }

    fn hand_on(&self, frame: &[u8]) {
        // The far end may be off, stand still, or be restored a moment later than this one.
        let counter = match self.shared.socket.send_to(frame, &self.shared.remote) {
            Ok(_) => &self.shared.passed,
            Err(_) => &self.shared.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::wire::Wire;

    const SOON: Duration = Duration::from_secs(10);

    /// Two ports with a patch between them; the folder goes last.
    fn plugged() -> (Patch, [Wire; 2], TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let cables = cables(folder.path(), "link");
        let patch = Patch::new("link", &cables, 7).unwrap();
        let ends = ["a", "b"].map(|end| {
            let cable = &cables[usize::from(end == "b")];
            Wire::open(end, &cable.local, &cable.remote).unwrap()
        });
        (patch, ends, folder)
    }

    fn frame(number: u32) -> Vec<u8> {
        let mut bytes = vec![0x5a; 60];
        bytes[20..24].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    /// Numbers of the frames that come out at the far end of so many, the last of which surely comes.
    fn sent(patch: &Patch, [a, b]: &[Wire; 2], impairment: Impairment, count: u32) -> Vec<u32> {
        let capture = b.capture();
        patch.impair(From::A, impairment);
        let before = patch.counters(From::A);
        (0..count).for_each(|number| assert!(a.send(&frame(number))));
        let deadline = Instant::now() + SOON;
        let arrived = || {
            let now = patch.counters(From::A);
            now.received - before.received == u64::from(count)
        };
        while !arrived() {
            assert!(Instant::now() < deadline, "{:?}", patch.counters(From::A));
            std::thread::yield_now();
        }
        patch.impair(From::A, Impairment::default());
        // Behind whatever is under way.
        pause(HELD_BACK * 3);
        assert!(a.send(&frame(u32::MAX)));
        let mut numbers = Vec::new();
        while let Some(captured) = capture.next_before(deadline) {
            let number = u32::from_be_bytes(captured.bytes[20..24].try_into().unwrap());
            if number == u32::MAX {
                return numbers;
            }
            numbers.push(number);
        }
        panic!("the last frame did not come");
    }

    #[test]
    fn good_cable_passes_every_frame_in_order_both_ways() {
        let (patch, ends, _folder) = plugged();
        assert_eq!(sent(&patch, &ends, Impairment::default(), 100), (0..100).collect::<Vec<_>>());
        let capture = ends[0].capture();
        assert!(ends[1].send(&frame(1)));
        assert!(capture.next_before(Instant::now() + SOON).is_some());
        assert_eq!(patch.counters(From::B), PatchCounters { received: 1, passed: 1, lost: 0 });
    }

    #[test]
    fn cut_direction_passes_nothing_and_the_other_goes_on() {
        let (patch, ends, _folder) = plugged();
        assert_eq!(sent(&patch, &ends, Impairment::cut(), 20), Vec::<u32>::new());
        patch.impair(From::A, Impairment::cut());
        let capture = ends[0].capture();
        assert!(ends[1].send(&frame(1)));
        assert!(capture.next_before(Instant::now() + SOON).is_some());
    }

    #[test]
    fn share_of_frames_is_lost_or_comes_twice() {
        let (patch, ends, _folder) = plugged();
        let lost = sent(&patch, &ends, Impairment { lost: 0.5, ..Impairment::default() }, 400);
        assert!((100..300).contains(&lost.len()), "{} of 400 came", lost.len());
        let twice = sent(&patch, &ends, Impairment { duplicated: 0.25, ..Impairment::default() }, 400);
        assert!((430..600).contains(&twice.len()), "{} came of 400", twice.len());
    }

    #[test]
    fn frames_are_overtaken_and_none_is_lost() {
        let (patch, ends, _folder) = plugged();
        let mut came = sent(&patch, &ends, Impairment { reordered: 0.3, ..Impairment::default() }, 200);
        assert!(!came.is_sorted(), "nothing was overtaken");
        came.sort_unstable();
        assert_eq!(came, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn one_bit_of_a_corrupted_frame_is_wrong() {
        let (patch, [a, b], _folder) = plugged();
        patch.impair(From::A, Impairment { corrupted: 1.0, ..Impairment::default() });
        let capture = b.capture();
        assert!(a.send(&frame(5)));
        let came = capture.next_before(Instant::now() + SOON).unwrap();
        let wrong: u32 = came.bytes.iter().zip(frame(5)).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(wrong, 1);
    }

    #[test]
    fn delay_and_limit_take_their_time() {
        let (patch, [a, b], _folder) = plugged();
        let time = |impairment, count: u32| {
            patch.impair(From::A, impairment);
            let capture = b.capture();
            let began = Instant::now();
            (0..count).for_each(|number| assert!(a.send(&frame(number))));
            (0..count).for_each(|_| assert!(capture.next_before(began + SOON).is_some()));
            began.elapsed()
        };
        let delay = Duration::from_millis(80);
        assert!(time(Impairment { delay, ..Impairment::default() }, 1) >= delay);
        // 20 frames of 60 bytes, at 6000 bytes a second.
        let limit_bytes_per_s = Some(6000);
        let took = time(Impairment { limit_bytes_per_s, ..Impairment::default() }, 20);
        assert!(took >= Duration::from_millis(190), "{took:?}");
    }

    #[test]
    fn flapping_cable_loses_what_comes_while_it_is_down_and_is_whole_after() {
        let (patch, [a, b], _folder) = plugged();
        let capture = b.capture();
        let mut sent = 0;
        let interval = Duration::from_millis(100);
        std::thread::scope(|scope| {
            let flapping = scope.spawn(|| {
                let began = Instant::now();
                patch.flap(2, interval);
                began.elapsed()
            });
            while !flapping.is_finished() {
                assert!(a.send(&frame(1)));
                sent += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(flapping.join().unwrap() >= 4 * interval);
        });
        assert!(a.send(&frame(u32::MAX)), "the cable stays down");
        let deadline = Instant::now() + SOON;
        let mut numbers = Vec::new();
        while numbers.last() != Some(&u32::MAX) {
            let captured = capture.next_before(deadline).expect("the last frame");
            numbers.push(u32::from_be_bytes(captured.bytes[20..24].try_into().unwrap()));
        }
        sent += 1;
        // A frame is counted once the far end has it.
        let counters = loop {
            let counters = patch.counters(From::A);
            if (counters.received, counters.passed + counters.lost) == (sent, sent) {
                break counters;
            }
            assert!(Instant::now() < deadline, "{counters:?} of {sent}");
            std::thread::yield_now();
        };
        assert_eq!(counters.passed, numbers.len() as u64);
        assert!(counters.lost > 10 && counters.passed > 10, "{counters:?}");
    }

    #[test]
    fn direct_cable_passes_frames_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let cables = direct(folder.path(), "link");
        let [a, b] = ["a", "b"].map(|end| {
            let cable = &cables[usize::from(end == "b")];
            Wire::open(end, &cable.local, &cable.remote).unwrap()
        });
        for (number, from, to) in [(1, &a, &b), (2, &b, &a)] {
            let capture = to.capture();
            assert!(from.send(&frame(number)));
            assert_eq!(capture.next_before(Instant::now() + SOON).unwrap().bytes[..], frame(number));
        }
    }

    #[test]
    fn capture_has_what_comes_in_even_if_it_goes_nowhere() {
        let (patch, [a, _b], _folder) = plugged();
        patch.cut();
        let capture = patch.capture_if(From::A, |_| true);
        assert!(a.send(&frame(9)));
        assert!(capture.next_before(Instant::now() + SOON).is_some());
        assert_eq!(patch.counters(From::A).passed, 0);
    }
}
