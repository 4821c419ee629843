use std::time::Duration;

use crate::domain::{BreakerPolicy, DeliveryId, Fault, Moment, Reply, TargetState};

/// Whether a target counts as down. After a run of failures only one delivery is tried now and then,
/// until one succeeds.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many failures one after the other.
    Closed {
        failures: u32,
    },
    Open {
        since: Moment,
        next_probe: Moment,
    },
    Probing {
        since: Moment,
        probe: DeliveryId,
    },
}

/// What a reply says of a target's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It answers as somebody who is there.
    Well,
    /// It does not answer, or only with an error of its own.
    Ill,
    /// Nothing.
    Unknown,
}

impl Health {
    /// 4xx are answers of a target that is well; those that ask for patience say nothing.
    pub(super) fn of(reply: &Reply) -> Health {
        match reply {
            Reply::Status { status: 408 | 425 | 429, .. } => Health::Unknown,
            Reply::Status { status: 0..=499, .. } => Health::Well,
            Reply::Status { .. } => Health::Ill,
            Reply::Fault { fault: Fault::Blocked, .. } => Health::Unknown,
            Reply::Fault { .. } => Health::Ill,
            Reply::Unrenderable(_) | Reply::Withheld => Health::Unknown,
        }
    }
}

/// What became of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

impl Breaker {
    pub(super) fn new(policy: BreakerPolicy) -> Breaker {
        Breaker { policy, state: State::Closed { failures: 0 } }
    }

    /// The same with other settings.
    pub(super) fn with(self, policy: BreakerPolicy) -> Breaker {
        Breaker { policy, ..self }
    }

    /// An attempt was made.
    pub(super) fn attempted(&mut self, delivery: DeliveryId, health: Health, now: Moment) -> Option<Change> {
        let next_probe = now.after(self.policy.probe);
        match (self.state, health) {
            (State::Closed { .. }, Health::Well) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, Health::Ill) if failures + 1 >= self.policy.failures => {
                self.state = State::Open { since: now, next_probe };
                Some(Change::Opened)
            }
            (State::Closed { failures }, Health::Ill) => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            (State::Closed { .. }, Health::Unknown) => None,
            (_, Health::Well) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            // Others were under way when it opened; only the probe's failure says something new.
            (State::Probing { since, probe }, Health::Ill) if probe == delivery => {
                self.state = State::Open { since, next_probe };
                None
            }
            // The probe said nothing, so the next one follows soon.
            (State::Probing { since, probe }, Health::Unknown) if probe == delivery => {
                let soon = now.after(self.policy.probe.min(UNKNOWN_WAIT));
                self.state = State::Open { since, next_probe: soon };
                None
            }
            (State::Open { .. } | State::Probing { .. }, Health::Ill | Health::Unknown) => None,
        }
    }

    /// When the next attempt may be made: `Ok` now, `Err` with the time, if one is known.
    pub(super) fn admits(&self, now: Moment) -> Result<(), Option<u64>> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { next_probe, .. } if next_probe.mono_us <= now.mono_us => Ok(()),
            State::Open { next_probe, .. } => Err(Some(next_probe.mono_us)),
            State::Probing { .. } => Err(None),
        }
    }

    /// An attempt is made that [`Breaker::admits`] allowed.
    pub(super) fn start(&mut self, delivery: DeliveryId) {
        if let State::Open { since, .. } = self.state {
            self.state = State::Probing { since, probe: delivery };
        }
    }

    /// Since when it is not closed.
    pub(super) fn open_since(&self) -> Option<Moment> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { since, .. } | State::Probing { since, .. } => Some(since),
        }
    }

    pub(super) fn target_state(&self) -> TargetState {
        match self.state {
            State::Closed { .. } => TargetState::Active,
            State::Open { next_probe, .. } => TargetState::Open { next_probe },
            State::Probing { .. } => TargetState::Probing,
        }
    }
}

/// After a probe that said nothing.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, probe: Duration::from_secs(10) };

    fn id(serial: u32) -> DeliveryId {
        DeliveryId { slot: 0, serial }
    }

    fn at(seconds: u64) -> Moment {
        Moment::default().after(Duration::from_secs(seconds))
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        let changes: Vec<_> = (1..=3).map(|n| breaker.attempted(id(n), Health::Ill, at(0))).collect();
        assert_eq!(changes, [None, None, Some(Change::Opened)]);
        breaker
    }

    #[test]
    fn a_run_of_failures_opens_it() {
        let breaker = open();
        assert_eq!(breaker.admits(at(9)), Err(Some(at(10).mono_us)));
        assert_eq!(breaker.target_state(), TargetState::Open { next_probe: at(10) });
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let mut breaker = Breaker::new(POLICY);
        for health in [Health::Ill, Health::Ill, Health::Well, Health::Ill, Health::Unknown, Health::Ill] {
            assert_eq!(breaker.attempted(id(1), health, at(0)), None);
        }
        assert_eq!(breaker.admits(at(0)), Ok(()));
    }

    #[test]
    fn one_delivery_is_tried_and_its_success_closes_it() {
        let mut breaker = open();
        assert_eq!(breaker.admits(at(10)), Ok(()));
        breaker.start(id(7));
        assert_eq!((breaker.admits(at(99)), breaker.target_state()), (Err(None), TargetState::Probing));
        assert_eq!(breaker.attempted(id(7), Health::Well, at(11)), Some(Change::Closed));
        assert_eq!(breaker.admits(at(11)), Ok(()));
    }

    #[test]
    fn a_failed_probe_is_followed_by_another_later() {
        let mut breaker = open();
        breaker.start(id(7));
        assert_eq!(breaker.attempted(id(2), Health::Ill, at(11)), None, "it was under way before");
        assert_eq!(breaker.target_state(), TargetState::Probing);
        assert_eq!(breaker.attempted(id(7), Health::Ill, at(12)), None);
        assert_eq!(breaker.admits(at(21)), Err(Some(at(22).mono_us)));
        assert_eq!(breaker.open_since(), Some(at(0)));
    }

    #[test]
    fn a_probe_that_says_nothing_is_repeated_soon() {
        let mut breaker = open();
        breaker.start(id(7));
        assert_eq!(breaker.attempted(id(7), Health::Unknown, at(12)), None);
        assert_eq!(breaker.admits(at(13)), Ok(()));
    }

    #[test]
    fn what_replies_say_of_a_target() {
        let status = |status| Reply::Status { status, retry_after: None };
        let fault = |fault| Reply::Fault { fault, detail: "".into() };
        for (reply, health) in [
            (status(200), Health::Well),
            (status(302), Health::Well),
            (status(410), Health::Well),
            (status(429), Health::Unknown),
            (status(503), Health::Ill),
            (fault(Fault::Timeout), Health::Ill),
            (fault(Fault::Auth), Health::Ill),
            (fault(Fault::Blocked), Health::Unknown),
            (Reply::Withheld, Health::Unknown),
        ] {
            assert_eq!(Health::of(&reply), health, "{reply:?}");
        }
    }
}
