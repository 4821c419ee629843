use std::time::Duration;

use crate::domain::{
    Backoff, DeadLetterReason, Fault, HonourRetryAfter, Jitter, Moment, Reply, RetryAfter, RetryPolicy,
    StatusSet,
};

/// What follows from a [`Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// The receiver took it.
    Delivered,
    /// Another attempt after this wait.
    Retry(Duration),
    /// No further attempt.
    End(DeadLetterReason),
    /// Nothing was sent, and it is no attempt: try again after this wait.
    Again(Duration),
}

/// How long a withheld attempt waits. The lease is renewed or lost well within a second.
const WITHHELD_WAIT: Duration = Duration::from_millis(500);

/// Even without any wait configured, a receiver is not asked more often by what blocks its order.
const LEAST_BLOCKED_WAIT: Duration = Duration::from_secs(1);

/// A wait longer than this is not told apart from it; it keeps all times far from overflow.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 3600);

/// Decides after attempt number `attempts` (from 1), when the first one started `age` ago.
pub(super) fn decide(
    policy: &RetryPolicy,
    success: &StatusSet,
    reply: &Reply,
    attempts: u32,
    age: Duration,
    now: Moment,
    random: &mut fastrand::Rng,
) -> Decision {
    let retried = match reply {
        Reply::Status { status, .. } if success.contains(*status) => return Decision::Delivered,
        Reply::Status { status, .. } => policy.retry_on.statuses.contains(*status),
        Reply::Fault { fault: Fault::Blocked, .. } => return Decision::End(DeadLetterReason::Blocked),
        Reply::Fault { fault: Fault::Timeout, .. } => policy.retry_on.timeout,
        Reply::Fault { fault: Fault::Dns | Fault::Network | Fault::Tls | Fault::Auth, .. } => {
            policy.retry_on.network
        }
        Reply::Unrenderable(_) => return Decision::End(DeadLetterReason::Template),
        Reply::Withheld => return Decision::Again(WITHHELD_WAIT),
    };
    if !retried {
        return Decision::End(DeadLetterReason::Rejected);
    }
    let Some(wait) = wait_after(&policy.backoff, attempts, random) else {
        return Decision::End(DeadLetterReason::Exhausted);
    };
    let wait = wait.max(asked_for(policy.retry_after, reply, now)).min(LONGEST_WAIT);
    if policy.max_age.is_some_and(|max_age| age.saturating_add(wait) > max_age) {
        return Decision::End(DeadLetterReason::Expired);
    }
    Decision::Retry(wait)
}

/// What a delivery waits that is tried on without end after its last attempt (`on_exhausted: block`).
pub(super) fn longest_wait(backoff: &Backoff) -> Duration {
    let wait = match backoff {
        Backoff::Schedule { waits, .. } => waits.last().copied(),
        Backoff::Exponential { max_delay, .. } => Some(*max_delay),
    };
    wait.unwrap_or_default().max(LEAST_BLOCKED_WAIT)
}

/// The wait after attempt number `attempts`, with jitter; `None` after the last one.
fn wait_after(backoff: &Backoff, attempts: u32, random: &mut fastrand::Rng) -> Option<Duration> {
    let (wait, jitter) = match backoff {
        Backoff::Schedule { waits, jitter } => {
            let index = usize::try_from(attempts).ok()?.checked_sub(1)?;
            (*waits.get(index)?, *jitter)
        }
        Backoff::Exponential { attempts: Some(most), .. } if attempts >= *most => return None,
        Backoff::Exponential { initial, factor, max_delay, jitter, .. } => {
            let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
            let seconds = initial.as_secs_f64() * factor.powi(exponent);
            (seconds_capped(seconds, *max_delay), *jitter)
        }
    };
    Some(match jitter {
        Jitter::None => wait,
        Jitter::Full => wait.mul_f64(random.f64()),
        Jitter::Fraction(fraction) => {
            let spread = 1.0 + fraction * (2.0 * random.f64() - 1.0);
            seconds_capped(wait.as_secs_f64() * spread.max(0.0), LONGEST_WAIT)
        }
    })
}

fn seconds_capped(seconds: f64, cap: Duration) -> Duration {
    let cap = cap.min(LONGEST_WAIT);
    if seconds < cap.as_secs_f64() { Duration::from_secs_f64(seconds.max(0.0)) } else { cap }
}

/// What a `Retry-After` asks for, cut at the policy's maximum.
pub(super) fn asked_for(rule: HonourRetryAfter, reply: &Reply, now: Moment) -> Duration {
    let (HonourRetryAfter::Honour { max }, Reply::Status { retry_after: Some(retry_after), .. }) =
        (rule, reply)
    else {
        return Duration::ZERO;
    };
    let asked = match retry_after {
        RetryAfter::Seconds(seconds) => Duration::from_secs(*seconds),
        RetryAfter::At(time_ms) => {
            Duration::from_millis(u64::try_from(time_ms.saturating_sub(now.wall_ms)).unwrap_or(0))
        }
    };
    asked.min(max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exponential(jitter: Jitter) -> Backoff {
        Backoff::Exponential {
            attempts: None,
            initial: Duration::from_secs(5),
            factor: 2.0,
            max_delay: Duration::from_secs(3600),
            jitter,
        }
    }

    fn wait(backoff: &Backoff, attempts: u32) -> Option<Duration> {
        wait_after(backoff, attempts, &mut fastrand::Rng::with_seed(1))
    }

    #[test]
    fn exponential_waits_grow_by_their_factor_up_to_the_cap() {
        let waits: Vec<u64> = (1..=5)
            .map(|attempts| wait(&exponential(Jitter::None), attempts).expect("no end").as_secs())
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80]);
        assert_eq!(wait(&exponential(Jitter::None), 50), Some(Duration::from_secs(3600)));
        assert_eq!(wait(&exponential(Jitter::None), u32::MAX), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_schedule_has_one_wait_for_each_retry() {
        let schedule = Backoff::Schedule {
            waits: vec![Duration::from_secs(1), Duration::from_secs(9)],
            jitter: Jitter::None,
        };
        assert_eq!(wait(&schedule, 1), Some(Duration::from_secs(1)));
        assert_eq!(wait(&schedule, 2), Some(Duration::from_secs(9)));
        assert_eq!(wait(&schedule, 3), None);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_bounds(seed: u64, attempts in 1u32..40) {
            let mut random = fastrand::Rng::with_seed(seed);
            let exact = wait(&exponential(Jitter::None), attempts).expect("no end").as_secs_f64();
            let full = wait_after(&exponential(Jitter::Full), attempts, &mut random).expect("no end");
            prop_assert!(full.as_secs_f64() <= exact);
            let tenth = wait_after(&exponential(Jitter::Fraction(0.1)), attempts, &mut random).expect("no end");
            prop_assert!((tenth.as_secs_f64() - exact).abs() <= exact * 0.1 + 1e-6);
        }
    }
}
