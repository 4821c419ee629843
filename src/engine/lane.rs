use std::time::Duration;

use super::breaker::{Breaker, Change, Health};
use super::chains::{Chains, Link};
use super::limiter::Limiter;
use super::meter::Meter;
use super::protocol::Grant;
use super::queue::{Kind, Queue, Queued};
use crate::domain::{DeliveryId, Moment, TargetStanding, TargetState};
use crate::plan::Target;

/// The queue of one target, its permits, its rate, its breaker and its order.
#[derive(Debug)]
pub(super) struct Lane {
    concurrency: usize,
    in_flight: usize,
    ready: Queue,
    /// Deliveries that wait in memory: for their next attempt, for a write, or for earlier ones.
    held: usize,
    /// Bytes of the events of all its open deliveries; an event of several targets counts in each.
    bytes: u64,
    limiter: Option<Limiter>,
    breaker: Option<Breaker>,
    /// The target asked for a pause until then.
    paused: Option<Pause>,
    /// Why it is switched off, if it is, and since when.
    disabled: Option<(Moment, Box<str>)>,
    /// It is switched off because its target is no longer in the configuration.
    removed: bool,
    disable_after: Option<Duration>,
    /// Since when it has failed without a success, in wall-clock milliseconds.
    failing_since_ms: Option<i64>,
    last_fault: Option<Box<str>>,
    pub(super) chains: Chains,
    meter: Meter,
    /// Bytes that it may still send in this turn of the round.
    pub(super) deficit: u64,
    /// It stands in the round of [`Permits`](super::permits::Permits).
    pub(super) in_round: bool,
    /// It stands among the lanes that were put aside there.
    pub(super) is_aside: bool,
    /// When it is looked at again.
    wake_us: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    since: Moment,
    until: Moment,
}

/// Whether a target is still where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Same,
    Other,
}

/// How many deliveries of a lane are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneState {
    /// Wait for a permit.
    pub ready: usize,
    /// Wait for the time of their next attempt, for a write's confirmation, or for earlier ones.
    pub retrying: usize,
    /// Attempts being made.
    pub in_flight: usize,
    /// Bytes of the events of its open deliveries.
    pub bytes: u64,
    /// When the oldest of its open deliveries was opened.
    pub oldest: Option<Moment>,
    /// Whether its target gets attempts.
    pub standing: TargetStanding,
}

/// Whether a lane's next delivery may be attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// Not before this time, in microseconds; because of its rate or not.
    Later {
        us: u64,
        by_rate: bool,
    },
    /// When something has happened.
    Shut,
}

/// What came of a reply for the whole target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Opened,
    Closed,
    Paused,
    Disabled,
}

impl Lane {
    pub(super) fn new(target: &Target) -> Lane {
        Lane {
            concurrency: target.concurrency,
            in_flight: 0,
            ready: Queue::default(),
            held: 0,
            bytes: 0,
            limiter: target.rate.map(Limiter::new),
            breaker: target.breaker.map(Breaker::new),
            paused: None,
            disabled: by_configuration(target),
            removed: false,
            disable_after: target.disable_after,
            failing_since_ms: None,
            last_fault: None,
            chains: Chains::default(),
            meter: Meter::default(),
            deficit: 0,
            in_round: false,
            is_aside: false,
            wake_us: None,
        }
    }

    // ---- Another plan ----

    /// Goes on with other settings; what is queued stays, and what is known of the target too, unless it
    /// is somewhere else now.
    pub(super) fn adopt(&mut self, target: &Target, address: Address, now: Moment) {
        self.concurrency = target.concurrency;
        self.disable_after = target.disable_after;
        self.limiter = target.rate.map(|rate| match self.limiter.take() {
            Some(limiter) => limiter.at_rate(rate, now),
            None => Limiter::new(rate),
        });
        self.breaker = target.breaker.map(|policy| match self.breaker.take() {
            Some(breaker) if address == Address::Same => breaker.with(policy),
            Some(_) | None => Breaker::new(policy),
        });
        if address == Address::Other {
            (self.paused, self.failing_since_ms, self.last_fault) = (None, None, None);
        }
    }

    /// Its target is no longer in the configuration.
    pub(super) fn remove(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.removed, true) {
            self.disabled = Some((now, "removed from the configuration".into()));
        }
    }

    /// Its target is in the configuration: whatever switched it off, only that counts now.
    pub(super) fn reinstate(&mut self, target: &Target) {
        self.removed = false;
        if self.disabled.is_some() || !target.enabled {
            self.disabled = by_configuration(target);
            self.failing_since_ms = None;
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    // ---- Queue ----

    pub(super) fn push(&mut self, queued: Queued, kind: Kind, priority: i16, now: Moment) {
        self.meter.busy(now);
        self.ready.push(queued, kind, priority, now);
    }

    /// Takes the next delivery and a permit. [`Lane::can_dispatch`] and [`Lane::gate`] allow it.
    pub(super) fn take(&mut self, now: Moment) -> Option<DeliveryId> {
        let next = self.ready.pop()?;
        self.in_flight += 1;
        self.deficit = self.deficit.saturating_sub(u64::from(next.weight));
        if let Some(limiter) = &mut self.limiter {
            limiter.take(now);
        }
        if let Some(breaker) = &mut self.breaker {
            breaker.start(next.delivery);
        }
        self.meter.count(now);
        self.rest();
        Some(next.delivery)
    }

    /// Takes the next delivery out of the queue without a permit.
    pub(super) fn withdraw(&mut self) -> Option<DeliveryId> {
        let next = self.ready.pop();
        self.rest();
        next.map(|queued| queued.delivery)
    }

    fn rest(&mut self) {
        if self.ready.is_empty() {
            self.deficit = 0;
            self.meter.idle();
        }
    }

    pub(super) fn give_back_permit(&mut self) {
        debug_assert!(self.in_flight > 0, "a permit came back that was not taken");
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether no attempt of it is in flight, although there may be one.
    pub(super) fn is_resting(&self) -> bool {
        self.in_flight == 0 && self.disabled.is_none()
    }

    /// Whether it has a delivery that is ready, and room for one more attempt.
    pub(super) fn can_dispatch(&self) -> bool {
        self.in_flight < self.concurrency && !self.ready.is_empty()
    }

    /// What the delivery whose turn it is counts, in bytes.
    pub(super) fn next_weight(&self) -> u64 {
        self.ready.front().map_or(0, |queued| u64::from(queued.weight))
    }

    /// Keeps only the ready deliveries that `live` names.
    pub(super) fn retain(&mut self, live: impl FnMut(&DeliveryId) -> bool) {
        self.ready.retain(live);
        self.rest();
    }

    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    pub(super) fn unhold(&mut self) {
        debug_assert!(self.held > 0, "a delivery was let go that was not held");
        self.held = self.held.saturating_sub(1);
    }

    pub(super) fn opened(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn closed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn append(&mut self, link: Link, delivery: DeliveryId) -> bool {
        self.chains.append(link, delivery)
    }

    // ---- Whether it may send ----

    /// Whether its next delivery may be attempted now.
    pub(super) fn gate(&self, now: Moment) -> Gate {
        if self.disabled.is_some() {
            return Gate::Shut;
        }
        if let Some(pause) = self.paused.filter(|pause| pause.until.mono_us > now.mono_us) {
            return Gate::Later { us: pause.until.mono_us, by_rate: false };
        }
        match self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.admits(now)) {
            Ok(()) => {}
            Err(Some(us)) => return Gate::Later { us, by_rate: false },
            Err(None) => return Gate::Shut,
        }
        match self.limiter.as_ref().and_then(|limiter| limiter.next_us(now)) {
            Some(us) => Gate::Later { us, by_rate: true },
            None => Gate::Open,
        }
    }

    /// Whether a timer has to be set, so that it is looked at again at `us`.
    pub(super) fn sleeps_until(&mut self, us: u64) -> bool {
        let set = self.wake_us.is_none_or(|earlier| us < earlier);
        if set {
            self.wake_us = Some(us);
        }
        set
    }

    pub(super) fn wake(&mut self) {
        self.wake_us = None;
    }

    /// Whether what is ready has to leave the memory, because nothing will be sent for longer than
    /// `hold`.
    pub(super) fn is_closed_for_long(&self, hold: Duration, now: Moment) -> bool {
        let paused = self.paused.filter(|pause| pause.until.mono_us > now.mono_us);
        let pause_is_long = |pause: Pause| pause.until.since(now) > hold || now.since(pause.since) >= hold;
        let open = self.breaker.as_ref().and_then(Breaker::open_since);
        paused.is_some_and(pause_is_long) || open.is_some_and(|since| now.since(since) >= hold)
    }

    /// Whether nothing but probes is sent for now, for longer than `brief` if it is paused, or nothing has been
    /// for some seconds although its rate would allow it.
    pub(super) fn is_at_rest(&self, brief: Duration, now: Moment) -> bool {
        let is_open = self.breaker.as_ref().is_some_and(|breaker| breaker.open_since().is_some());
        let is_paused = self.paused.is_some_and(|pause| pause.until.since(now) > brief);
        let waits_for_rate = matches!(self.gate(now), Gate::Later { by_rate: true, .. });
        is_open || is_paused || (!waits_for_rate && self.meter.stands_still(now))
    }

    /// How many deliveries it keeps while it is closed: one to be tried with, but while it is paused.
    pub(super) fn keeps(&self, now: Moment) -> usize {
        usize::from(self.paused.is_none_or(|pause| pause.until.mono_us <= now.mono_us))
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.disabled.is_some()
    }

    /// How long its queue takes to be sent at the speed of the last seconds, if that is known.
    pub(super) fn drain_time(&mut self, now: Moment) -> Option<Duration> {
        let per_second = self.meter.per_second(now)?;
        let seconds = self.ready.len() as f64 / per_second.max(0.001);
        Some(Duration::from_secs_f64(seconds.min(1e6)))
    }

    /// Whether it holds as much as this, or more.
    pub(super) fn holds(&self, quota: Grant) -> bool {
        (self.ready.len() + self.held) as u64 >= quota.events || self.bytes >= quota.bytes
    }

    // ---- What replies change ----

    /// An attempt has ended. `reason` says how, for people.
    pub(super) fn attempted(
        &mut self,
        delivery: DeliveryId,
        health: Health,
        reason: impl FnOnce() -> Option<Box<str>>,
        now: Moment,
    ) -> Option<Turn> {
        match health {
            Health::Well => self.failing_since_ms = None,
            Health::Ill => {
                self.failing_since_ms.get_or_insert(now.wall_ms);
                self.last_fault = reason();
            }
            Health::Unknown => {}
        }
        let change = self.breaker.as_mut().and_then(|breaker| breaker.attempted(delivery, health, now));
        if health == Health::Ill && self.has_failed_for_long(now) {
            return Some(Turn::Disabled);
        }
        change.map(|change| match change {
            Change::Opened => Turn::Opened,
            Change::Closed => Turn::Closed,
        })
    }

    fn has_failed_for_long(&self, now: Moment) -> bool {
        match (self.failing_since_ms, self.disable_after) {
            (Some(since_ms), Some(longest)) => {
                u128::try_from(now.wall_ms.saturating_sub(since_ms)).unwrap_or(0) >= longest.as_millis()
            }
            _ => false,
        }
    }

    /// The target asked for patience. `true` if it is paused for longer than before.
    pub(super) fn pause(&mut self, wait: Duration, now: Moment) -> bool {
        let until = now.after(wait);
        let running = self.paused.filter(|pause| pause.until.mono_us > now.mono_us);
        let longer = running.is_none_or(|pause| until.mono_us > pause.until.mono_us);
        if longer {
            let since = running.map_or(now, |pause| pause.since);
            self.paused = Some(Pause { since, until });
        }
        longer
    }

    /// Switches it off, until a reload or restart.
    pub(super) fn disable(&mut self, reason: Box<str>, now: Moment) {
        self.disabled.get_or_insert((now, reason));
    }

    // ---- Looking ----

    pub(super) fn standing(&self, now: Moment) -> TargetStanding {
        if let Some((since, reason)) = &self.disabled {
            return TargetStanding {
                state: TargetState::Disabled,
                since: *since,
                reason: Some(reason.clone()),
            };
        }
        if let Some(pause) = self.paused.filter(|pause| pause.until.mono_us > now.mono_us) {
            return TargetStanding {
                state: TargetState::Paused { until: pause.until },
                since: pause.since,
                reason: Some("the receiver asked for a pause (Retry-After)".into()),
            };
        }
        let open = self.breaker.as_ref().and_then(|breaker| Some((breaker, breaker.open_since()?)));
        match open {
            Some((breaker, since)) => {
                TargetStanding { state: breaker.target_state(), since, reason: self.last_fault.clone() }
            }
            None => TargetStanding::default(),
        }
    }

    pub(super) fn state(&self, oldest: Option<Moment>, now: Moment) -> LaneState {
        LaneState {
            ready: self.ready.len(),
            retrying: self.held,
            in_flight: self.in_flight,
            bytes: self.bytes,
            oldest,
            standing: self.standing(now),
        }
    }
}

/// Why and since when a target is switched off by its settings.
fn by_configuration(target: &Target) -> Option<(Moment, Box<str>)> {
    (!target.enabled).then(|| (Moment::default(), "enabled: false".into()))
}
