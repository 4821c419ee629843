use std::time::Duration;

#[cfg(test)]
use super::Sabotage;
use super::ledger::{EventSlot, State};
use super::protocol::{Grant, Note};
use super::timers::Timer;
use super::writes::{Obligation, Payload};
use super::{Engine, Life, queue};
use crate::domain::{ConsumerId, DeliveryId, Moment, Move, Reply, TargetId, Tier, Waiting};
use crate::plan::{Consumer, Plan, Reads};

/// A lane that sends its queue within this is not slow, however long the queue is.
const SLOW: Duration = Duration::from_secs(5);
/// What is attempted within this is not moved to make room.
const SOON: Duration = Duration::from_secs(1);

/// The two places where a delivery waits (DESIGN.md §4.3): in memory for a short time, else in a retry
/// tier on the broker.
impl Engine {
    /// An attempt failed, and the next one is due after this wait.
    pub(super) fn retry(&mut self, id: DeliveryId, wait: Duration, reply: Reply, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot, route) = (delivery.target, delivery.slot, delivery.route);
        let attempts = delivery.attempts;
        let event = self.ledger.event(slot).clone();
        let wait_ms = wait.as_millis() as u64;
        self.note(Note::Retrying { delivery: id, target, route, event, attempts, reply, wait_ms });
        self.wait(id, wait, now);
    }

    /// No attempt before this wait is over.
    pub(super) fn wait(&mut self, id: DeliveryId, wait: Duration, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot) = (delivery.target, delivery.slot);
        if self.lane(target).is_removed() {
            return self.turn_away(id, target, now);
        }
        let is_short = wait <= self.plan.targets[target.0 as usize].retry.hold;
        if self.stays(slot) || is_short && !self.holds_part(self.ledger.consumer(slot), 2) {
            return self.hold(id, wait, now);
        }
        if self.lane(target).is_disabled() {
            return self.turn_away(id, target, now);
        }
        self.move_for(id, wait, now);
    }

    /// Moves a delivery to the smallest tier that lasts at least as long as its wait.
    fn move_for(&mut self, id: DeliveryId, wait: Duration, now: Moment) {
        let tier = Tier::for_wait(wait.saturating_mul(self.plan.time_scale));
        let not_before = (wait > self.length(tier)).then(|| now.after(wait).wall_ms);
        self.move_to(id, tier, not_before, now);
    }

    /// Waits in memory.
    pub(super) fn hold(&mut self, id: DeliveryId, wait: Duration, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot) = (delivery.target, delivery.slot);
        delivery.hold(wait, now);
        self.ledger.hold(slot);
        self.lane(target).hold();
        if self.life == Life::Stopping || self.ledger.is_ending(slot) {
            return self.release(id, self.release_reason());
        }
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::LoseHeldRetry) {
            return;
        }
        self.timers.set(now.after(wait), Timer::Retry(id));
    }

    pub(super) fn retry_due(&mut self, id: DeliveryId, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        if !delivery.is_held() {
            return;
        }
        let (target, slot) = (delivery.target, delivery.slot);
        self.ledger.unhold(slot);
        self.lane(target).unhold();
        self.make_ready(id, target, queue::Kind::Retry, now);
    }

    // ---- Tiers ----

    /// How long a tier's records wait.
    pub(super) fn length(&self, tier: Tier) -> Duration {
        tier.length() / self.plan.time_scale
    }

    /// Hands a delivery over to a retry tier: it is no attempt.
    pub(super) fn move_to(&mut self, id: DeliveryId, tier: Tier, not_before_ms: Option<i64>, now: Moment) {
        let due_ms = now.after(self.length(tier)).wall_ms;
        let Some(delivery) = self.ledger.delivery(id) else { return };
        delivery.state = State::Writing;
        delivery.moves += 1;
        let first_ms = *delivery.first_ms.get_or_insert(now.wall_ms);
        let (target, slot, route) = (delivery.target, delivery.slot, delivery.route);
        let waiting = Waiting {
            target: Some((&*self.plan.targets[target.0 as usize].name).into()),
            routes: self
                .plan
                .routes
                .get(route.0 as usize)
                .map(|route| (&*route.name).into())
                .into_iter()
                .collect(),
            tier,
            due_ms,
            not_before_ms,
            attempts: delivery.attempts,
            first_ms,
            moves: delivery.moves,
            idle_moves: delivery.idle_moves,
            priority: delivery.priority,
            failure: delivery.failure.as_deref().cloned(),
        };
        self.lane(target).hold();
        let event = self.ledger.event(slot).clone();
        let generation = event.generation;
        let payload = Payload::Move(Box::new(Move { event, waiting }));
        let write = self.writes.open(generation, Obligation::Delivery(id), payload);
        self.write(write);
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::MoveTwice)
            && let Some((obligation, moved)) = self.writes.moved(write)
        {
            let again = Payload::Move(Box::new(moved.clone()));
            let again = self.writes.open(generation, obligation, again);
            self.write(again);
        }
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::SkipMoveConfirmation) {
            self.stored(write, Ok(()), now);
        }
    }

    /// Moves a delivery that nothing is sent for now: the longer that lasts, the longer it waits.
    fn shelve(&mut self, id: DeliveryId, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let tier = match delivery.idle_moves {
            0 => Tier::ONE_MINUTE,
            1 => Tier::FIVE_MINUTES,
            _ => Tier::FIFTEEN_MINUTES,
        };
        delivery.idle_moves += 1;
        self.move_to(id, tier, None, now);
    }

    /// Moves a delivery for which there is no room; it comes back when the queue should be empty. `drain` is
    /// `None` where the target's speed says nothing of when that will be: it is closed, or stands still.
    fn spill(&mut self, id: DeliveryId, drain: Option<Duration>, now: Moment) {
        let Some(drain) = drain else { return self.shelve(id, now) };
        let Some(delivery) = self.ledger.delivery(id) else { return };
        delivery.idle_moves += 1;
        let longest = Tier::ONE_HOUR.length();
        let tier = Tier::for_wait(drain.saturating_mul(self.plan.time_scale).min(longest));
        self.move_to(id, tier, None, now);
    }

    /// Moves a delivery that has just become ready, if its target is closed for long or has more than
    /// its share. `true` if it did.
    pub(super) fn leaves_at_once(
        &mut self,
        id: DeliveryId,
        target: TargetId,
        kind: queue::Kind,
        now: Moment,
    ) -> bool {
        let Some(slot) = self.ledger.delivery(id).map(|delivery| delivery.slot) else { return false };
        if self.stays(slot) || self.life == Life::Stopping || self.ledger.is_ending(slot) {
            return false;
        }
        let hold = self.plan.targets[target.0 as usize].retry.hold;
        let lane = &self.lanes[target.0 as usize];
        if lane.is_closed_for_long(hold, now) && lane.ready() >= lane.keeps(now) {
            self.shelve(id, now);
            return true;
        }
        let consumer = self.ledger.consumer(slot);
        if kind == queue::Kind::Fresh
            && lane.holds(self.quota(consumer))
            && self.another_has_room(consumer, target)
            && let Some(drain) = self.lane(target).drain_time(now).filter(|drain| *drain > SLOW)
        {
            let is_at_rest = self.lane(target).is_at_rest(SLOW, now);
            self.spill(id, (!is_at_rest).then_some(drain), now);
            return true;
        }
        false
    }

    /// A target has been closed for so long that what is ready leaves the memory.
    pub(super) fn shelve_lane(&mut self, target: TargetId, now: Moment) {
        let hold = self.plan.targets[target.0 as usize].retry.hold;
        let lane = &self.lanes[target.0 as usize];
        if self.life == Life::Stopping || !lane.is_closed_for_long(hold, now) {
            return;
        }
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::KeepAll) {
            return;
        }
        let mut keeps = lane.keeps(now);
        let mut leaving = Vec::new();
        let (plan, ledger) = (&self.plan, &mut self.ledger);
        self.lanes[target.0 as usize].retain(|id| {
            let Some(slot) = ledger.delivery(*id).map(|delivery| delivery.slot) else { return false };
            if keeps_order(plan, ledger.consumer(slot)) {
                return true;
            }
            if keeps == 0 {
                leaving.push(*id);
                return false;
            }
            keeps -= 1;
            true
        });
        for id in leaving {
            self.shelve(id, now);
        }
    }

    /// Whether deliveries of this event stay in memory however long they wait.
    fn stays(&self, slot: EventSlot) -> bool {
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::KeepAll) {
            return true;
        }
        keeps_order(&self.plan, self.ledger.consumer(slot))
    }

    /// A consumer has no room: what waits in memory for long, and keeps others from being read, goes.
    pub(super) fn pressed(&mut self, consumer: ConsumerId, now: Moment) {
        if self.life == Life::Stopping {
            return;
        }
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::KeepAll) {
            return;
        }
        let lanes = self.reach(consumer).to_vec();
        if lanes.len() < 2 {
            return;
        }
        if self.holds_part(consumer, 4) {
            for id in self.ledger.held_ones(consumer) {
                self.unload(id, now);
            }
        }
        for target in lanes {
            self.relieve(consumer, target, now);
        }
    }

    /// Moves a delivery that is held, unless it goes on soon anyway.
    fn unload(&mut self, id: DeliveryId, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot) = (delivery.target, delivery.slot);
        let Some(left) = delivery.left(now).filter(|left| *left > SOON) else { return };
        if self.stays(slot) || self.ledger.is_ending(slot) {
            return;
        }
        self.ledger.unhold(slot);
        self.lane(target).unhold();
        match self.lane(target).is_disabled() {
            true => self.turn_away(id, target, now),
            false => self.move_for(id, left, now),
        }
    }

    /// Whether what is held takes at least this part of a consumer's window.
    fn holds_part(&self, consumer: ConsumerId, part: u64) -> bool {
        let (held, window) = (self.ledger.held(consumer), self.window(consumer));
        held.events * part >= window.events || held.bytes * part >= window.bytes
    }

    /// Takes out of the queue of a slow target what it will not send soon.
    fn relieve(&mut self, consumer: ConsumerId, target: TargetId, now: Moment) {
        while self.another_has_room(consumer, target)
            && let Some(drain) = self.lane(target).drain_time(now).filter(|drain| *drain > SLOW)
            // Asked before, because an empty lane does not stand still.
            && let is_at_rest = self.lane(target).is_at_rest(SLOW, now)
            && let Some(id) = self.lane(target).withdraw()
        {
            match self.ledger.delivery(id).is_some() {
                true => self.spill(id, (!is_at_rest).then_some(drain), now),
                false => debug_assert!(false, "a lane held a delivery that had ended"),
            }
        }
    }

    // ---- Shares ----

    /// How many events and bytes a lane may have before it is looked at whether it is slow: all lanes of
    /// a consumer together half of its window.
    fn quota(&self, consumer: ConsumerId) -> Grant {
        let window = self.window(consumer);
        let lanes = 2 * self.reach(consumer).len().max(1) as u64;
        Grant { events: (window.events / lanes).max(1), bytes: (window.bytes / lanes).max(1) }
    }

    /// The targets without order that a consumer's events may go to.
    fn reach(&self, consumer: ConsumerId) -> &[TargetId] {
        self.reach.get(usize::from(consumer.0)).map_or(&[], Vec::as_slice)
    }

    fn another_has_room(&self, consumer: ConsumerId, target: TargetId) -> bool {
        let quota = self.quota(consumer);
        let mut others = self.reach(consumer).iter().filter(|other| **other != target);
        others.any(|other| !self.lanes[other.0 as usize].holds(quota))
    }
}

/// An ordered target's own consumer uses no tiers (DESIGN.md §4.5).
fn keeps_order(plan: &Plan, consumer: ConsumerId) -> bool {
    let consumer = plan.consumers.get(usize::from(consumer.0));
    consumer.is_some_and(|consumer| matches!(consumer.reads, Reads::Ordered(_)))
}

/// For each consumer, the targets without order that its events may go to.
pub(super) fn reach(plan: &Plan) -> Vec<Vec<TargetId>> {
    let targets = |consumer: &Consumer| match consumer.reads {
        Reads::Ordered(_) => Vec::new(),
        Reads::Tiers => plan.unordered_targets().collect(),
        Reads::Shared => plan.shared_targets(consumer.source).collect(),
    };
    plan.consumers.iter().map(targets).collect()
}

/// When the first attempt of a delivery failed, as far as its record says.
pub(super) fn first_failure_ms(waiting: &Waiting) -> i64 {
    waiting.failure.as_ref().map_or(waiting.first_ms, |failure| failure.first_ms)
}
