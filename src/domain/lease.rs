use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Moment;

/// Says whether this process still holds the partition (or message) that an event came from.
///
/// A sender asks directly before the first byte of a request, so that a process that was frozen
/// longer than the broker's session time-out starts no request for what another replica owns by
/// now (DESIGN.md §4.7).
#[derive(Debug)]
pub struct Lease {
    ended: AtomicBool,
    /// Monotonic microseconds of the last sign of life; shared by all leases of one consumer.
    renewed_us: Arc<AtomicU64>,
    lasts: Duration,
}

impl Lease {
    /// A lease that holds for `lasts` after each renewal of `renewed_us`.
    pub fn new(renewed_us: Arc<AtomicU64>, lasts: Duration) -> Lease {
        Lease { ended: AtomicBool::new(false), renewed_us, lasts }
    }

    /// A lease that holds until it is ended; for what no other process can take over.
    pub fn unlimited() -> Lease {
        Lease::new(Arc::new(AtomicU64::new(0)), Duration::MAX)
    }

    /// Ends the lease for good: nothing may be started under it any more.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether a request may start under this lease at `now`.
    pub fn holds(&self, now: Moment) -> bool {
        let renewed = self.renewed_us.load(Ordering::Acquire);
        let age = Duration::from_micros(now.mono_us.saturating_sub(renewed));
        !self.ended.load(Ordering::Acquire) && age < self.lasts
    }
}
