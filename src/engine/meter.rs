use crate::domain::Moment;

/// How fast a target's deliveries leave its queue, over the last seconds.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the current second began; `None` while the target has nothing to do.
    began_us: Option<u64>,
    /// Since when it has something to do.
    busy_us: u64,
    count: u32,
    /// When the last one left, or it became busy.
    last_us: u64,
    /// How long after the one before it that was.
    interval_us: u64,
    /// Attempts a second, as of the end of the last second.
    per_second: f64,
}

/// After so much work without a pause the rate is believed.
const BELIEVED_US: u64 = 5_000_000;
const SECOND_US: u64 = 1_000_000;

impl Meter {
    /// There is something to do.
    pub(super) fn busy(&mut self, now: Moment) {
        if self.began_us.is_none() {
            let began_us = now.mono_us;
            *self =
                Meter { began_us: Some(began_us), busy_us: began_us, last_us: began_us, ..Meter::default() };
        }
    }

    /// There is nothing to do any more.
    pub(super) fn idle(&mut self) {
        self.began_us = None;
    }

    /// One more has left the queue.
    pub(super) fn count(&mut self, now: Moment) {
        self.count += 1;
        self.interval_us = now.mono_us.saturating_sub(self.last_us);
        self.last_us = now.mono_us;
        self.fold(now);
    }

    /// Whether nothing has left for so long, although there is something to do, that the rate is none.
    pub(super) fn stands_still(&self, now: Moment) -> bool {
        let long_us = BELIEVED_US.max(self.interval_us.saturating_mul(3));
        self.began_us.is_some() && now.mono_us.saturating_sub(self.last_us) >= long_us
    }

    /// How many leave the queue in a second; `None` as long as that is not known.
    pub(super) fn per_second(&mut self, now: Moment) -> Option<f64> {
        self.began_us?;
        self.fold(now);
        (now.mono_us.saturating_sub(self.busy_us) >= BELIEVED_US).then_some(self.per_second)
    }

    fn fold(&mut self, now: Moment) {
        let Some(began_us) = self.began_us else { return };
        let passed_us = now.mono_us.saturating_sub(began_us);
        if passed_us < SECOND_US {
            return;
        }
        let latest = f64::from(self.count) * SECOND_US as f64 / passed_us as f64;
        // The longer it took, the less what was before counts.
        let share = (SECOND_US as f64 / passed_us as f64) / 2.0;
        self.per_second =
            if began_us == self.busy_us { latest } else { latest * (1.0 - share) + self.per_second * share };
        self.began_us = Some(now.mono_us);
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::default().after(Duration::from_millis(ms))
    }

    #[test]
    fn a_steady_rate_is_found() {
        let mut meter = Meter::default();
        meter.busy(at(0));
        assert_eq!(meter.per_second(at(500)), None, "it is too early to tell");
        (0..700).for_each(|n| meter.count(at(n * 10)));
        let rate = meter.per_second(at(7_000)).expect("it is known by now");
        assert!((rate - 100.0).abs() < 10.0, "{rate}");
    }

    #[test]
    fn one_that_stands_still_is_slow() {
        let mut meter = Meter::default();
        meter.busy(at(0));
        (0..100).for_each(|n| meter.count(at(n * 10)));
        let rate = meter.per_second(at(20_000)).expect("it is known by now");
        assert!(rate < 6.0, "{rate}");
        meter.idle();
        assert_eq!(meter.per_second(at(30_000)), None);
    }
}
