//! Clocks: one that goes on over a restart of netd but not over a reboot, and the one on the wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Where the kernel tells which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The boot; empty when the kernel does not tell.
    pub boot_id: String,
    /// Nanoseconds since it began, also while the machine slept (CLOCK_BOOTTIME).
    pub boottime_ns: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
        Moment { boot_id, boottime_ns: boottime_ns() }
    }

    /// Whether it is a moment of this boot. Of an unknown boot no moment is.
    pub fn is_in(&self, boot_id: &str) -> bool {
        !self.boot_id.is_empty() && self.boot_id == boot_id
    }
}

/// Nanoseconds since the machine started, also while it slept.
pub fn boottime_ns() -> u64 {
    // Fails for clocks the kernel does not know, which this is not.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// How long this thread has had a processor.
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Seconds since 1970.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What both clocks show at one moment: moments of this boot told by it do not jump against each other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    boottime_ns: u64,
    wall_ns: u128,
}

impl Now {
    /// Reads the clocks.
    pub fn take() -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { boottime_ns: boottime_ns(), wall_ns: wall.as_nanos() }
    }

    /// The wall clock's time, in seconds since 1970, at a moment of this boot, earlier or to come.
    pub fn wall_s(&self, moment_ns: u64) -> u64 {
        let moment = self.wall_ns.saturating_add(moment_ns.into());
        let wall_ns = moment.saturating_sub(self.boottime_ns.into());
        u64::try_from(wall_ns / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// A time as people read it: `2026-01-31 14:05:09 UTC`.
pub fn show(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("second {unix_s}"), |time| time.strftime("%F %T UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(show(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(show(1_769_868_309), "2026-01-31 14:05:09 UTC");
        assert_eq!(show(u64::MAX), format!("second {}", u64::MAX));
    }

    #[test]
    fn time_of_a_thread_is_what_it_works_and_not_what_it_waits() {
        let (before, begun) = (thread_time(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(200));
        let waited = thread_time() - before;
        assert!(waited < begun.elapsed() / 2, "{waited:?}");
        let deadline = begun + Duration::from_secs(60);
        while thread_time() - before < waited + Duration::from_millis(10) {
            assert!(std::time::Instant::now() < deadline, "it does not go on");
        }
    }

    #[test]
    fn a_moment_belongs_to_its_boot_alone() {
        let now = Moment::now();
        assert!(now.is_in(&now.boot_id) && !now.is_in("another") && now.boottime_ns > 0);
        assert!(!Moment::default().is_in(""));
    }

    #[test]
    fn moments_before_and_to_come_are_told_by_the_wall_clock_of_now() {
        let now = Now { boottime_ns: 100_500_000_000, wall_ns: 1_700_000_000_250_000_000 };
        for (moment_ns, wall_s) in [
            (100_500_000_000, 1_700_000_000),
            (100_400_000_000, 1_700_000_000),
            (500_000_000, 1_699_999_900),
            // A deadline in a minute, and one that never comes.
            (160_500_000_000, 1_700_000_060),
            (161_249_999_999, 1_700_000_060),
            (161_250_000_000, 1_700_000_061),
            (u64::MAX, 1_700_000_000 + 18_446_743_973),
        ] {
            assert_eq!(now.wall_s(moment_ns), wall_s, "{moment_ns}");
        }
        // Before 1970, as on a switch without a clock.
        assert_eq!(Now { boottime_ns: 9_000_000_000, wall_ns: 1_000_000_000 }.wall_s(0), 0);
        assert!(Now::take().wall_s(boottime_ns()).abs_diff(unix_s()) <= 1);
    }
}
