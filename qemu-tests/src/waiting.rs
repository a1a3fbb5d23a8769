//! Waiting, counted: how long the scenarios of a thread waited for something to happen.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Result;

thread_local! {
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Pause after the first question of [`eventually`], after the others, and the longest one.
const PAUSES: [Duration; 3] = [Duration::from_millis(30), Duration::from_millis(200), Duration::from_secs(1)];

/// Does something that waits.
pub fn counted<T>(wait: impl FnOnce() -> T) -> T {
    let before = Instant::now();
    let answer = wait();
    WAITED.set(WAITED.get() + before.elapsed());
    answer
}

/// Waits for a time that is itself what is tested, such as a time-out of the switch.
pub fn pause(time: Duration) {
    counted(|| std::thread::sleep(time));
}

/// How long this thread has waited since this was last asked.
pub fn take() -> Duration {
    WAITED.replace(Duration::ZERO)
}

/// Counts again what [`take`] took on behalf of somebody else.
pub fn give_back(waited: Duration) {
    WAITED.set(WAITED.get() + waited);
}

/// Calls `check` until it succeeds; past the time-out, its last error is the answer.
pub fn eventually<T>(what: &str, timeout: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    let [mut between, later, longest] = PAUSES;
    loop {
        let asked = Instant::now();
        match check() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("{what}: not within {:.0} s", timeout.as_secs_f64())));
            }
            // State can only be asked for. A question takes the guest's only processor from what is awaited: it
            // shall have as much time to itself.
            Err(_) => pause(between.max(asked.elapsed().min(longest))),
        }
        between = (between * 3 / 2).min(later);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn waits_are_counted_for_their_own_thread() {
        take();
        pause(Duration::from_millis(20));
        std::thread::spawn(|| pause(Duration::from_secs(1))).join().unwrap();
        let waited = take();
        assert!(waited >= Duration::from_millis(20) && waited < Duration::from_secs(1), "{waited:?}");
        assert_eq!(take(), Duration::ZERO);
    }

    #[test]
    fn eventually_answers_the_last_error() {
        let mut asked = 0;
        let outcome = eventually("the third question", Duration::from_secs(10), || {
            asked += 1;
            ensure!(asked == 3, "asked {asked} times");
            Ok(asked)
        });
        assert_eq!(outcome.unwrap(), 3);
        let error = eventually("nothing", Duration::ZERO, || -> Result<()> { anyhow::bail!("never") });
        assert!(format!("{:#}", error.unwrap_err()).contains("never"));
    }
}
