use crate::domain::{Moment, Rate};

/// A token bucket for the attempts of one target: over any time there are at most `burst` attempts more
/// than the rate gives. Kept as the time at which the bucket would be full again (GCRA).
#[derive(Debug)]
pub(super) struct Limiter {
    /// Microseconds from one attempt to the next at the rate.
    interval_us: f64,
    /// How far ahead of the rate attempts may be.
    ahead_us: f64,
    /// When the bucket is full.
    full_us: f64,
}

impl Limiter {
    pub(super) fn new(rate: Rate) -> Limiter {
        let interval_us = 1e6 / rate.per_second;
        Limiter { interval_us, ahead_us: (rate.burst - 1.0).max(0.0) * interval_us, full_us: 0.0 }
    }

    /// The same at another rate: what was taken stays taken.
    pub(super) fn at_rate(self, rate: Rate, now: Moment) -> Limiter {
        let now_us = now.mono_us as f64;
        let taken = (self.full_us - now_us).max(0.0) / self.interval_us;
        let limiter = Limiter::new(rate);
        Limiter { full_us: now_us + taken * limiter.interval_us, ..limiter }
    }

    /// When the next attempt may be made, if not now.
    pub(super) fn next_us(&self, now: Moment) -> Option<u64> {
        let next_us = (self.full_us - self.ahead_us).ceil();
        (next_us > now.mono_us as f64).then_some(next_us as u64)
    }

    /// Takes a token.
    pub(super) fn take(&mut self, now: Moment) {
        self.full_us = self.full_us.max(now.mono_us as f64) + self.interval_us;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// The times of all attempts that are made as soon as they may be, of `wishes` (microseconds between
    /// them).
    fn attempts(rate: Rate, wishes: &[u64]) -> Vec<u64> {
        let mut limiter = Limiter::new(rate);
        let mut now = Moment::default();
        (wishes.iter())
            .map(|wish| {
                now = now.after(Duration::from_micros(*wish));
                if let Some(next) = limiter.next_us(now) {
                    now = Moment { mono_us: next, ..now };
                    assert_eq!(limiter.next_us(now), None, "it may be made when it was said that it may");
                }
                limiter.take(now);
                now.mono_us
            })
            .collect()
    }

    #[test]
    fn after_the_burst_attempts_come_at_the_rate() {
        let times = attempts(Rate { per_second: 10.0, burst: 3.0 }, &[0; 6]);
        assert_eq!(times, [0, 0, 0, 100_000, 200_000, 300_000]);
    }

    #[test]
    fn a_pause_gives_the_burst_again_and_no_more() {
        let times = attempts(Rate { per_second: 1.0, burst: 2.0 }, &[0, 0, 60_000_000, 0, 0]);
        assert_eq!(times, [0, 0, 60_000_000, 60_000_000, 61_000_000]);
    }

    #[test]
    fn another_rate_gives_no_second_burst() {
        let now = Moment::default().after(Duration::from_secs(60));
        let mut limiter = Limiter::new(Rate { per_second: 1.0, burst: 3.0 });
        (0..3).for_each(|_| limiter.take(now));
        let limiter = limiter.at_rate(Rate { per_second: 10.0, burst: 3.0 }, now);
        assert_eq!(limiter.next_us(now), Some(now.mono_us + 100_000), "at the new rate");
        let unused = Limiter::new(Rate { per_second: 1.0, burst: 3.0 });
        assert_eq!(unused.at_rate(Rate { per_second: 0.1, burst: 1.0 }, now).next_us(now), None);
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_has_more_than_the_rate_and_the_burst(
            per_second in 0.5f64..200.0,
            burst in 1u32..30,
            wishes in prop::collection::vec(0u64..300_000, 1..120),
        ) {
            let times = attempts(Rate { per_second, burst: f64::from(burst) }, &wishes);
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let most = f64::from(burst) + (end - start) as f64 / 1e6 * per_second;
                    let made = (last - first + 1) as f64;
                    prop_assert!(made <= most + 1e-6, "{made} attempts in {} us", end - start);
                }
            }
        }
    }
}
