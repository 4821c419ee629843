use std::time::{Duration, Instant};

use super::outbox::Outbox;
use crate::engine::Input;

/// Without room for so long, that is no mere moment.
const LASTS_AFTER: Duration = Duration::from_millis(200);
/// While there is no room, how often that is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whether a source has no room for what it could read, and since when: then the engine is told, now and
/// then, so that what waits in memory for one slow target does not hold up all others.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Pressure {
    /// There is room.
    pub(super) fn ease(&mut self) {
        self.since = None;
    }

    /// There is no room. Whether that has lasted.
    pub(super) fn lasts(&mut self, now: Instant) -> bool {
        now.duration_since(*self.since.get_or_insert(now)) >= LASTS_AFTER
    }

    /// Whether there was no room when it was looked at last.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// There is no room; once that has lasted, the engine is told.
    pub(super) fn press(&mut self, outbox: &Outbox, now: Instant) {
        if self.lasts(now) {
            self.tell(outbox, now);
        }
    }

    /// Tells the engine, if that was not done just now.
    pub(super) fn tell(&mut self, outbox: &Outbox, now: Instant) {
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            outbox.inputs(vec![Input::Pressed(outbox.consumer())]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::ConsumerId;
    use crate::source::FromSource;

    #[test]
    fn what_lasts_is_told_once_a_second() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = told.clone();
        let outbox = Outbox::new(ConsumerId(0), "orders", move |news| {
            if let FromSource::Inputs(inputs) = news {
                let pressed = inputs.iter().filter(|input| matches!(input, Input::Pressed(ConsumerId(0))));
                count.fetch_add(pressed.count(), Ordering::Relaxed);
            }
        });
        let (mut pressure, start) = (Pressure::default(), Instant::now());
        let mut first = None;
        for ms in (0..3000).step_by(50) {
            pressure.press(&outbox, start + Duration::from_millis(ms));
            first = first.or_else(|| (told.load(Ordering::Relaxed) > 0).then_some(ms));
        }
        assert_eq!(first, Some(200));
        assert_eq!(told.load(Ordering::Relaxed), 3, "at 200, 1200 and 2200 ms");
        assert!(pressure.is_on());
        pressure.ease();
        assert!(!pressure.is_on());
        assert!(!pressure.lasts(start + Duration::from_secs(9)), "it begins anew");
    }
}
