//! Bits a second, from two readings of a port's counters.

use std::collections::HashMap;
use std::time::Instant;

use netd_api::state::{Counters, Port};

/// Bits a second in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Received.
    pub rx_bits_per_s: u64,
    /// Sent.
    pub tx_bits_per_s: u64,
}

/// The last reading.
#[derive(Debug, Default)]
pub struct Rates {
    last: Option<(Instant, HashMap<u32, Counters>)>,
}

impl Rates {
    /// Takes a reading and answers each port's rate since the one before; `None` for a port that was not
    /// there, or whose counters began anew.
    pub fn update(&mut self, at: Instant, ports: &[Port]) -> Vec<Option<Rate>> {
        let before = self.last.take();
        let rates = ports
            .iter()
            .map(|port| {
                let (then, counters) = before.as_ref()?;
                rate(counters.get(&port.ifindex)?, &port.counters, at.duration_since(*then).as_secs_f64())
            })
            .collect();
        self.last = Some((at, ports.iter().map(|port| (port.ifindex, port.counters)).collect()));
        rates
    }

    /// Forgets the last reading: what follows a gap is no rate.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

fn rate(before: &Counters, now: &Counters, seconds: f64) -> Option<Rate> {
    if seconds <= 0.0 {
        return None;
    }
    let bits = |before: u64, now: u64| Some((now.checked_sub(before)? as f64 * 8.0 / seconds).round() as u64);
    Some(Rate {
        rx_bits_per_s: bits(before.rx_bytes, now.rx_bytes)?,
        tx_bits_per_s: bits(before.tx_bytes, now.tx_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn port(ifindex: u32, rx_bytes: u64, tx_bytes: u64) -> Port {
        Port { ifindex, counters: Counters { rx_bytes, tx_bytes, ..Counters::default() }, ..Port::default() }
    }

    #[test]
    fn rates_follow_the_time_that_really_passed() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.update(start, &[port(1, 1000, 0)]), [None]);
        let second = rates.update(start + Duration::from_millis(500), &[port(1, 2000, 125), port(2, 5, 5)]);
        assert_eq!(second, [Some(Rate { rx_bits_per_s: 16_000, tx_bits_per_s: 2000 }), None]);
    }

    #[test]
    fn counters_that_began_anew_are_no_rate() {
        let start = Instant::now();
        let mut rates = Rates::default();
        rates.update(start, &[port(1, 1000, 0)]);
        assert_eq!(rates.update(start + Duration::from_secs(1), &[port(1, 10, 0)]), [None]);
        assert_eq!(rates.update(start + Duration::from_secs(1), &[port(1, 10, 0)]), [None]);
    }
}
