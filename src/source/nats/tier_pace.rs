use std::time::{Duration, Instant};

use crate::engine::Grant;

/// More records of a tier are never asked for at once.
const LARGEST: usize = 512;
/// However late the record that came is due, the tier is looked at again after so long: what was put off
/// before, by us or by another replica, may be due earlier.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The server gives a record again so long before it is due, so that the pull that is made then finds it.
const AHEAD: Duration = Duration::from_millis(250);
/// A record whose due time is nonsense is put off for so long.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// For how long the server shall put off a record that is not due for so long.
pub(super) fn postponement(early: Duration) -> Duration {
    let early = early.min(LONGEST_WAIT);
    // One that comes back ahead of its time is put off for all of the rest, so that it does so once.
    if early > AHEAD * 2 { early - AHEAD } else { early }
}

/// When how much of one retry tier is pulled. Records stand in order of their due times: when one is not
/// due yet, what follows it is not either, and nothing is pulled before then. So that few records come too
/// early, pulls begin with one record and grow while what comes is due. Pure.
#[derive(Debug)]
pub(super) struct Pace {
    batch: usize,
    /// So many records may still come of the pull that waits at the server.
    left: usize,
    not_before: Option<Instant>,
    size: Size,
}

/// How many bytes the next record is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// The tier's share of what there is.
    Share,
    /// The share was too little: all that there is.
    All,
    /// That was too little too: it goes alone, whatever its size.
    Alone,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { batch: 1, left: 0, not_before: None, size: Size::Share }
    }
}

impl Pace {
    /// Whether a pull waits at the server.
    pub(super) fn is_pulling(&self) -> bool {
        self.left > 0
    }

    /// Whether its next record waits for more room than its share.
    pub(super) fn needs_more(&self) -> bool {
        self.size != Size::Share
    }

    /// What to pull now: how many records and bytes at most, 0 being without a limit. `left` is what may
    /// be handed over, of which `tiers` tiers have an equal share; `alone`: nothing is open, and all of the
    /// window of so many bytes is free.
    pub(super) fn pull(
        &mut self,
        left: Grant,
        tiers: u64,
        window_bytes: u64,
        alone: bool,
        now: Instant,
    ) -> Option<(usize, usize)> {
        if left.events == 0 || left.bytes == 0 || self.not_before.is_some_and(|then| now < then) {
            return None;
        }
        let share = usize::try_from((left.events / tiers).max(1)).unwrap_or(usize::MAX);
        let (batch, bytes) = match self.size {
            Size::Share => (self.batch.min(share), (left.bytes / tiers).max(1)),
            Size::All if left.bytes >= window_bytes / 2 => (1, left.bytes),
            Size::Alone if alone => (1, 0),
            Size::All | Size::Alone => return None,
        };
        self.not_before = None;
        self.left = batch;
        Some((batch, usize::try_from(bytes).unwrap_or(usize::MAX)))
    }

    /// A record came of the pull.
    pub(super) fn came(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.size = Size::Share;
    }

    /// It was due, so more may be.
    pub(super) fn due(&mut self) {
        self.batch = (self.batch * 2).min(LARGEST);
    }

    /// It is not due for so long.
    pub(super) fn early(&mut self, early: Duration, now: Instant) {
        self.not_before(now + early.min(LOOK_AGAIN));
    }

    /// Nothing shall be pulled before this.
    pub(super) fn not_before(&mut self, then: Instant) {
        self.batch = 1;
        self.not_before = Some(self.not_before.map_or(then, |earlier| earlier.min(then)));
    }

    /// The pull has ended.
    pub(super) fn ended(&mut self) {
        self.left = 0;
    }

    /// It ended because the next record is larger than it allowed.
    pub(super) fn too_large(&mut self) {
        self.left = 0;
        self.size = if self.size == Size::Share { Size::All } else { Size::Alone };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 1 << 20;

    fn asked(pace: &mut Pace, left: Grant, now: Instant) -> Option<(usize, usize)> {
        pace.pull(left, 10, WINDOW, false, now)
    }

    fn all() -> Grant {
        Grant { events: 1000, bytes: WINDOW }
    }

    #[test]
    fn pulls_grow_while_what_comes_is_due_up_to_the_share() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let mut batches = Vec::new();
        for _ in 0..9 {
            let (batch, _) = asked(&mut pace, all(), now).expect("a pull");
            assert!(pace.is_pulling());
            (0..batch).for_each(|_| pace.came());
            pace.due();
            batches.push(batch);
        }
        assert_eq!(batches, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
    }

    #[test]
    fn nothing_is_pulled_before_the_first_record_is_due() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        (0..6).for_each(|_| pace.due());
        assert!(asked(&mut pace, all(), now).is_some_and(|(batch, _)| batch == 64));
        let due = now + Duration::from_secs(10);
        for later in [1, 0, 2] {
            pace.came();
            pace.early(Duration::from_secs(10 + later), now);
        }
        pace.ended();
        assert_eq!(asked(&mut pace, all(), due.checked_sub(Duration::from_millis(1)).expect("a time")), None);
        assert!(asked(&mut pace, all(), due).is_some_and(|(batch, _)| batch == 1), "carefully again");
    }

    #[test]
    fn a_tier_is_looked_at_again_long_before_a_record_that_is_due_in_hours() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(asked(&mut pace, all(), now).is_some());
        pace.came();
        pace.early(Duration::from_secs(3600), now);
        assert_eq!(asked(&mut pace, all(), now + Duration::from_secs(14)), None, "no hot loop");
        let next = asked(&mut pace, all(), now + LOOK_AGAIN);
        assert!(next.is_some_and(|(batch, _)| batch == 1), "what was put off earlier may be due: {next:?}");
    }

    #[test]
    fn a_record_is_given_again_shortly_before_it_is_due_and_once_only() {
        let hour = Duration::from_secs(3600);
        let mut left = hour;
        let mut times = 0;
        while !left.is_zero() && times < 10 {
            left -= postponement(left);
            times += 1;
            assert!(left <= AHEAD, "it comes in time: {left:?} before it is due");
        }
        assert_eq!(times, 2, "once ahead of its time, and then when it is due");
        assert_eq!(postponement(AHEAD), AHEAD);
        assert!(postponement(Duration::MAX) <= LONGEST_WAIT);
    }

    #[test]
    fn a_record_that_is_too_large_for_the_share_gets_more_and_at_last_all() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(asked(&mut pace, all(), now), Some((1, WINDOW as usize / 10)));
        pace.too_large();
        assert_eq!(asked(&mut pace, Grant { bytes: WINDOW / 4, ..all() }, now), None);
        assert_eq!(asked(&mut pace, all(), now), Some((1, WINDOW as usize)));
        pace.too_large();
        assert_eq!(asked(&mut pace, all(), now), None);
        assert_eq!(pace.pull(all(), 10, WINDOW, true, now), Some((1, 0)));
        pace.came();
        assert_eq!(asked(&mut pace, all(), now), Some((1, WINDOW as usize / 10)));
    }

    #[test]
    fn without_a_grant_nothing_is_pulled() {
        let none = Grant { events: 0, bytes: WINDOW };
        assert_eq!(asked(&mut Pace::default(), none, Instant::now()), None);
    }
}
