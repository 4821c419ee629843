use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::patience::Patience;
use crate::domain::{Generation, Lease, Moment};
use crate::source::next_generation;

/// The time for which what is open is ours: one lease for all of it, renewed by the oldest sign that
/// the server has of any of them. After a standstill everything is void, and another tenure begins.
#[derive(Debug)]
pub(super) struct Tenure {
    patience: Patience,
    generation: Generation,
    lease: Arc<Lease>,
    renewed_us: Arc<AtomicU64>,
    /// What is open of streams that are gone: nobody else can have it.
    retired: Vec<Arc<Lease>>,
    /// When the last turn was.
    turned_us: u64,
}

impl Tenure {
    pub(super) fn new(patience: Patience) -> Tenure {
        let now_us = Moment::now().mono_us;
        let renewed_us = Arc::new(AtomicU64::new(now_us));
        Tenure {
            patience,
            generation: next_generation(),
            lease: Arc::new(Lease::new(renewed_us.clone(), patience.tenure)),
            renewed_us,
            retired: Vec::new(),
            turned_us: now_us,
        }
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) fn lease(&self) -> Arc<Lease> {
        self.lease.clone()
    }

    /// To be called in every turn, with the oldest last sign of what is open. `false`: none of it is
    /// surely ours any more.
    pub(super) fn keep(&mut self, now_us: u64, oldest_sign_us: u64) -> bool {
        let silent = |since_us: u64| Duration::from_micros(now_us.saturating_sub(since_us));
        let stood_still = silent(self.turned_us) >= self.patience.standstill;
        self.turned_us = now_us;
        if stood_still || silent(oldest_sign_us) >= self.patience.tenure {
            return false;
        }
        self.renewed_us.store(oldest_sign_us, Ordering::Release);
        true
    }

    /// Begins anew. The answer is what is lost.
    pub(super) fn renew(&mut self) -> Generation {
        self.lease.end();
        let next = Tenure::new(self.patience);
        let Tenure { generation, retired, .. } = std::mem::replace(self, next);
        self.retired = retired;
        generation
    }

    /// What is open belongs to a stream that is gone: it stays ours.
    pub(super) fn retire(&mut self) {
        let next = Tenure::new(self.patience);
        let Tenure { lease, renewed_us, mut retired, .. } = std::mem::replace(self, next);
        // It is renewed by nobody any more, and it need not be.
        renewed_us.store(u64::MAX, Ordering::Release);
        retired.push(lease);
        self.retired = retired;
    }

    /// Nothing may be started any more.
    pub(super) fn end(&self) {
        self.lease.end();
        self.retired.iter().for_each(|lease| lease.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenure() -> (Tenure, u64) {
        let tenure = Tenure::new(Patience::new(Duration::from_secs(60)));
        let start_us = tenure.turned_us;
        (tenure, start_us)
    }

    fn at(us: u64) -> Moment {
        Moment { mono_us: us, wall_ms: 0 }
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn the_lease_lasts_from_the_oldest_sign_of_what_is_open() {
        let (mut tenure, start) = tenure();
        let lease = tenure.lease();
        assert!(tenure.keep(start + 5 * SECOND, start + SECOND));
        assert!(lease.holds(at(start + 50 * SECOND)));
        assert!(!lease.holds(at(start + 51 * SECOND)));
    }

    #[test]
    fn a_standstill_makes_everything_void() {
        let (mut tenure, start) = tenure();
        let (generation, lease) = (tenure.generation(), tenure.lease());
        assert!(tenure.keep(start + 9 * SECOND, start + 9 * SECOND));
        assert!(!tenure.keep(start + 19 * SECOND, start + 19 * SECOND));
        assert_eq!(tenure.renew(), generation);
        assert!(!lease.holds(at(start + 19 * SECOND)));
        assert!(tenure.lease().holds(Moment::now()) && tenure.generation() != generation);
    }

    #[test]
    fn what_the_server_was_not_told_of_in_time_is_void() {
        let (mut tenure, start) = tenure();
        for second in (5..50).step_by(5) {
            assert!(tenure.keep(start + second * SECOND, start));
        }
        assert!(!tenure.keep(start + 50 * SECOND, start));
    }

    #[test]
    fn what_is_open_of_a_stream_that_is_gone_stays_ours() {
        let (mut tenure, start) = tenure();
        let lease = tenure.lease();
        tenure.retire();
        let new = tenure.generation();
        assert_eq!(tenure.renew(), new, "also after a standstill");
        assert!(lease.holds(at(start + 3600 * SECOND)));
        tenure.end();
        assert!(!lease.holds(at(start)));
    }
}
