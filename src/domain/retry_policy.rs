use std::time::Duration;

/// When a failed attempt is made again, and what happens after the last one.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How long to wait, and how often.
    pub backoff: Backoff,
    /// Which failures are retried.
    pub retry_on: RetryOn,
    /// What a `Retry-After` header does.
    pub retry_after: HonourRetryAfter,
    /// No retry starts later than this after the first attempt.
    pub max_age: Option<Duration>,
    /// Waits up to this are spent in memory; longer ones in a retry tier.
    pub hold: Duration,
    /// What happens after the last attempt.
    pub on_exhausted: Exhausted,
}

impl RetryPolicy {
    /// Divides what is waited, and how much of it in memory, by `scale`.
    pub fn divide_waits(&mut self, scale: u32) {
        let scale = scale.max(1);
        self.hold /= scale;
        match &mut self.backoff {
            Backoff::Exponential { initial, max_delay, .. } => {
                *initial /= scale;
                *max_delay /= scale;
            }
            Backoff::Schedule { waits, .. } => waits.iter_mut().for_each(|wait| *wait /= scale),
        }
    }
}

/// How long to wait before each retry, and how many there are.
#[derive(Debug, Clone, PartialEq)]
pub enum Backoff {
    /// `initial`, then each wait `factor` times the one before, at most `max_delay`.
    Exponential {
        /// All attempts together; `None` is without end.
        attempts: Option<u32>,
        /// The first wait.
        initial: Duration,
        /// At least 1.
        factor: f64,
        /// No wait is longer, before jitter.
        max_delay: Duration,
        /// How waits are spread.
        jitter: Jitter,
    },
    /// One wait for each retry.
    Schedule {
        /// In order; attempts = its length + 1.
        waits: Vec<Duration>,
        /// How waits are spread.
        jitter: Jitter,
    },
}

/// How a wait is spread, so that many deliveries that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Jitter {
    /// Exactly the wait.
    None,
    /// Anything between zero and the wait.
    Full,
    /// The wait times 1 ± this fraction.
    Fraction(f64),
}

/// What a `Retry-After` header does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HonourRetryAfter {
    /// The wait is at least what it asks for, which is cut at `max`.
    Honour {
        /// `retry_after_max`.
        max: Duration,
    },
    /// Nothing.
    Ignore,
}

/// What happens to a delivery after its last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// It is written to the dead letters.
    DeadLetter,
    /// It is dropped and counted.
    Discard,
    /// It is tried on at the longest wait, and what comes after it waits. Ordered targets only.
    Block,
}

/// Which failures are retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// Answers with these statuses.
    pub statuses: StatusSet,
    /// DNS, connection and TLS faults.
    pub network: bool,
    /// The attempt's deadline passed.
    pub timeout: bool,
}

/// A set of HTTP status codes (100 to 599).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusSet([u64; 8]);

impl StatusSet {
    /// The codes `first` to `last`, both included; codes outside 100 to 599 are left out.
    pub fn range(first: u16, last: u16) -> StatusSet {
        let mut set = StatusSet::default();
        for status in first.max(100)..=last.min(599) {
            let bit = usize::from(status - 100);
            set.0[bit / 64] |= 1 << (bit % 64);
        }
        set
    }

    /// All codes of both sets.
    pub fn union(self, other: StatusSet) -> StatusSet {
        let mut set = self;
        for (mine, theirs) in set.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
        set
    }

    /// Whether the set holds `status`. One from 600 on has no meaning of its own (RFC 9110 §15 has
    /// it treated as a server error) and counts as 599.
    pub fn contains(&self, status: u16) -> bool {
        let bit = usize::from(status.min(599).wrapping_sub(100));
        self.0.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_beyond_599_counts_as_a_server_error() {
        let (server_errors, all) = (StatusSet::range(500, 599), StatusSet::range(100, 599));

        for status in [600, 999, u16::MAX] {
            assert!(server_errors.contains(status) && all.contains(status), "{status}");
            assert!(!StatusSet::range(200, 299).contains(status), "{status}");
            assert!(!StatusSet::range(500, 598).contains(status), "{status}");
        }
        for status in [0, 99] {
            assert!(!all.contains(status), "{status}");
        }
    }
}
