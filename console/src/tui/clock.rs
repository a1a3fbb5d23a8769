//! The clock in the header.

use tokio::time::{self, Duration, Instant};

/// Local time, `14:05`.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}

/// The moment the minute is over. It is kept while other things happen: what is only waited for between two of
/// them would be put off by each.
pub struct Minute {
    over: Instant,
}

impl Minute {
    /// The end of the minute that is.
    pub fn next() -> Minute {
        let second = u64::try_from(jiff::Zoned::now().second()).unwrap_or(0);
        Minute { over: Instant::now() + Duration::from_secs(60u64.saturating_sub(second).max(1)) }
    }

    /// Waits until it is over.
    pub async fn passed(&self) {
        time::sleep_until(self.over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_every_moment_does_not_hold_up_the_clock() {
        let minute = Minute { over: Instant::now() + Duration::from_millis(300) };
        for _ in 0..100 {
            tokio::select! {
                () = minute.passed() => return,
                () = time::sleep(Duration::from_millis(50)) => {}
            }
        }
        panic!("100 other events, and the clock has not gone on");
    }

    #[test]
    fn the_next_minute_is_at_most_a_minute_away() {
        let away = Minute::next().over - Instant::now();
        assert!(away <= Duration::from_secs(60), "{away:?}");
    }
}
