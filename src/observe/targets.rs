use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{Moment, TargetId, TargetState};
use crate::engine::LaneState;
use crate::plan::{Plan, Target};

/// How every target stands, for the API. The pipeline writes it once a second, the API reads it.
#[derive(Debug)]
pub struct TargetBoard {
    /// Since when a target is as it is that was never anything else.
    started: Moment,
    posted: Mutex<Arc<[TargetStatus]>>,
}

/// How one target stands in this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its id as receivers see it.
    pub id: String,
    /// Scheme, host and port; path and query may be secret.
    pub url: String,
    /// `active`, `open`, `probing`, `paused` or `disabled`.
    pub state: String,
    /// Why it is not active, for people.
    pub reason: Option<String>,
    /// Since when it is in this state, in RFC 3339.
    pub since: Option<String>,
    /// While it is open: when one delivery is tried next, in RFC 3339.
    pub next_probe: Option<String>,
    /// While it is paused: until when, in RFC 3339.
    pub until: Option<String>,
    /// `none`, `by_key` or `strict`.
    pub ordering: String,
    /// What is open of it in this process.
    pub queue: Queue,
    /// What this process may do.
    pub limits: TargetLimits,
    /// For how long its oldest open delivery has been open, in seconds; `None` without any.
    pub oldest_age_seconds: Option<f64>,
}

/// A target's open deliveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Could start now.
    pub ready: u64,
    /// Wait for their next attempt, for a write's confirmation, or for earlier ones.
    pub retrying: u64,
    /// Have a request under way.
    pub in_flight: u64,
    /// Bytes of their events.
    pub bytes: u64,
}

/// A target's limits in this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetLimits {
    /// Requests at once.
    pub concurrency: u64,
    /// This process's part of the rate; `None` without one.
    pub rate: Option<RateLimit>,
}

/// A target's rate in this process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Attempts a second.
    pub per_second: f64,
    /// Attempts at once after a pause.
    pub burst: f64,
}

impl TargetBoard {
    /// Every target of the plan, with nothing open.
    pub fn new(plan: &Plan, now: Moment) -> TargetBoard {
        let board = TargetBoard { started: now, posted: Mutex::new(Arc::from([])) };
        board.post(plan, &vec![LaneState::default(); plan.targets.len()], now);
        board
    }

    /// Replaces what is there; `lanes` in the plan's order of targets.
    pub fn post(&self, plan: &Plan, lanes: &[LaneState], now: Moment) {
        let lane = |id: TargetId| lanes.get(id.0 as usize);
        let targets = plan.live_targets().filter_map(|(id, target)| Some((target, lane(id)?)));
        let mut statuses: Vec<TargetStatus> =
            targets.map(|(target, lane)| status(target, lane, self.started, now)).collect();
        statuses.sort_by(|one, other| one.name.cmp(&other.name));
        let statuses = statuses.into();
        *self.posted.lock().unwrap_or_else(PoisonError::into_inner) = statuses;
    }

    /// All targets, in order of their names.
    pub fn read(&self) -> Arc<[TargetStatus]> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn status(target: &Target, lane: &LaneState, started: Moment, now: Moment) -> TargetStatus {
    let standing = &lane.standing;
    let (state, reason) = match target.enabled {
        true => (standing.state, standing.reason.as_deref()),
        false => (TargetState::Disabled, Some("switched off in the configuration (`enabled: false`)")),
    };
    let since = if standing.since == Moment::default() { started } else { standing.since };
    let (next_probe, until) = match state {
        TargetState::Open { next_probe } => (Some(next_probe), None),
        TargetState::Paused { until } => (None, Some(until)),
        TargetState::Active | TargetState::Probing | TargetState::Disabled => (None, None),
    };
    TargetStatus {
        name: target.name.to_string(),
        id: target.shown.id.to_string(),
        url: target.shown.url.to_string(),
        state: state.as_str().to_owned(),
        reason: reason.map(str::to_owned),
        since: written(since),
        next_probe: next_probe.and_then(written),
        until: until.and_then(written),
        ordering: target.ordering.as_str().to_owned(),
        queue: Queue {
            ready: lane.ready as u64,
            retrying: lane.retrying as u64,
            in_flight: lane.in_flight as u64,
            bytes: lane.bytes,
        },
        limits: TargetLimits {
            concurrency: target.concurrency as u64,
            rate: target.rate.map(|rate| RateLimit { per_second: rate.per_second, burst: rate.burst }),
        },
        oldest_age_seconds: lane.oldest.map(|opened| now.since(opened).as_secs_f64()),
    }
}

/// In RFC 3339; `None` for a time that no calendar has.
fn written(moment: Moment) -> Option<String> {
    Timestamp::from_millisecond(moment.wall_ms).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::TargetStanding;
    use crate::observe::testing::plan;

    const START: Moment = Moment { mono_us: 5_000_000, wall_ms: 1_700_000_000_000 };

    #[test]
    fn a_target_is_shown_as_it_stands_and_without_its_path() {
        let plan = plan();
        let board = TargetBoard::new(&plan, START);
        let now = START.after(Duration::from_secs(60));
        let open = LaneState {
            ready: 7,
            retrying: 2,
            in_flight: 1,
            bytes: 4096,
            oldest: Some(START.after(Duration::from_secs(30))),
            standing: TargetStanding {
                state: TargetState::Open { next_probe: now.after(Duration::from_secs(10)) },
                since: now,
                reason: Some("10 failures in a row".into()),
            },
        };

        board.post(&plan, &[LaneState::default(), open], now);

        let statuses = board.read();
        let [crm, shop] = &statuses[..] else { panic!("two targets") };
        assert_eq!((crm.name.as_str(), crm.state.as_str()), ("crm", "disabled"), "as configured");
        assert_eq!(crm.since.as_deref(), Some("2023-11-14T22:13:20Z"), "since the start");
        assert_eq!((shop.state.as_str(), shop.url.as_str()), ("open", "https://shop.example.com"));
        assert_eq!(shop.reason.as_deref(), Some("10 failures in a row"));
        assert_eq!(shop.next_probe.as_deref(), Some("2023-11-14T22:14:30Z"));
        assert_eq!(shop.queue, Queue { ready: 7, retrying: 2, in_flight: 1, bytes: 4096 });
        assert_eq!(shop.oldest_age_seconds, Some(30.0));
    }
}
