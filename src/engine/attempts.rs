use std::time::Duration;

use super::breaker::Health;
use super::lane::{Gate, Turn};
use super::ledger::State;
use super::protocol::{Command, Note};
use super::queue::{self, Queued};
use super::retry::{self, Decision};
use super::timers::Timer;
use super::{Engine, HISTORY};
use crate::domain::{
    Attempt, Attempted, DeadLetterReason, DeliveryId, Failed, Failure, Moment, Outcome, Reply, TargetId,
};

/// How deliveries get attempts, and what follows from the replies.
impl Engine {
    /// A delivery waits for nothing any more but its turn.
    pub(super) fn make_ready(&mut self, id: DeliveryId, target: TargetId, kind: queue::Kind, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (slot, priority) = (delivery.slot, delivery.priority);
        delivery.state = State::Ready;
        let is_disabled = self.lane(target).is_disabled();
        #[cfg(test)]
        let is_disabled = is_disabled && self.sabotage != Some(super::Sabotage::IgnoreDisabled);
        if is_disabled {
            return self.turn_away(id, target, now);
        }
        if self.leaves_at_once(id, target, kind, now) {
            return;
        }
        let weight = u32::try_from(self.ledger.event(slot).weight()).unwrap_or(u32::MAX);
        self.lane(target).push(Queued { delivery: id, weight }, kind, priority, now);
        self.offer(target, now);
    }

    /// Lets a lane take its turn, or sets the time at which it may.
    pub(super) fn offer(&mut self, target: TargetId, now: Moment) {
        let lane = &mut self.lanes[target.0 as usize];
        if lane.in_round || !lane.can_dispatch() {
            return;
        }
        match self.gate(target, now) {
            Gate::Open => self.permits.join(target, &mut self.lanes[target.0 as usize]),
            Gate::Later { us, by_rate } => {
                if self.lane(target).sleeps_until(us) {
                    self.timers.set_us(us, Timer::Lane(target));
                    if by_rate {
                        self.note(Note::RateLimited(target));
                    }
                }
            }
            Gate::Shut => {}
        }
    }

    fn gate(&self, target: TargetId, now: Moment) -> Gate {
        let gate = self.lanes[target.0 as usize].gate(now);
        #[cfg(test)]
        if self.sabotage == Some(super::Sabotage::IgnoreDisabled)
            && self.lanes[target.0 as usize].is_disabled()
        {
            return Gate::Open;
        }
        #[cfg(test)]
        if self.sabotage == Some(super::Sabotage::IgnoreRate)
            && matches!(gate, Gate::Later { by_rate: true, .. })
        {
            return Gate::Open;
        }
        gate
    }

    /// One attempt of the lane whose turn it is.
    pub(super) fn dispatch(&mut self, now: Moment) -> Option<Command> {
        while let Some(target) = self.permits.next(&mut self.lanes) {
            let gate = self.gate(target, now);
            let lane = &mut self.lanes[target.0 as usize];
            if !lane.can_dispatch() {
                continue;
            }
            if gate != Gate::Open {
                self.offer(target, now);
                continue;
            }
            let rested = lane.is_resting();
            let Some(id) = lane.take(now) else { continue };
            self.permits.take(rested);
            self.offer(target, now);
            if let Some(delivery) = self.ledger.delivery(id) {
                delivery.state = State::InFlight;
                delivery.attempts += 1;
                delivery.idle_moves = 0;
                delivery.first_ms.get_or_insert(now.wall_ms);
                let (number, slot) = (delivery.attempts, delivery.slot);
                let event = self.ledger.event(slot).clone();
                return Some(Command::Attempt(Attempt { delivery: id, target, event, number }));
            }
            debug_assert!(false, "a lane held a delivery that had ended");
            self.give_back_permit(target, now);
        }
        None
    }

    fn give_back_permit(&mut self, target: TargetId, now: Moment) {
        self.permits.give_back(&mut self.lanes[target.0 as usize]);
        self.offer(target, now);
    }

    pub(super) fn attempted(&mut self, attempted: Attempted, now: Moment) {
        let Attempted { delivery: id, target, number, reply, .. } = attempted;
        self.learn(id, target, &reply, now);
        self.give_back_permit(target, now);
        let policy = &self.plan.targets[target.0 as usize];
        let Some(delivery) = self.ledger.delivery(id) else { return };
        if delivery.state != State::InFlight || delivery.attempts != number {
            return;
        }
        let age_ms = now.wall_ms.saturating_sub(delivery.first_ms.unwrap_or(now.wall_ms));
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        let decision =
            retry::decide(&policy.retry, &policy.success, &reply, number, age, now, &mut self.random);
        #[cfg(test)]
        let decision = match decision {
            Decision::Retry(_) if self.sabotage == Some(super::Sabotage::DiscardEarly) => {
                Decision::End(DeadLetterReason::Exhausted)
            }
            other => other,
        };
        match decision {
            Decision::Delivered => self.end(id, Outcome::Delivered, status(&reply), None, now),
            Decision::Again(wait) => {
                delivery.attempts -= 1;
                if delivery.attempts == 0 && delivery.moves == 0 {
                    delivery.first_ms = None;
                }
                self.hold(id, wait, now);
            }
            Decision::Retry(wait) => {
                note_failure(&mut delivery.failure, &reply, now);
                self.retry(id, wait, reply, now);
            }
            Decision::End(reason) => {
                note_failure(&mut delivery.failure, &reply, now);
                self.give_up(id, reason, now);
            }
        }
    }

    /// What a reply says of its whole target.
    fn learn(&mut self, id: DeliveryId, target: TargetId, reply: &Reply, now: Moment) {
        let plan = self.plan.clone();
        let settings = &plan.targets[target.0 as usize];
        let turn = match reply {
            Reply::Status { status, .. } if settings.disable_on.contains(*status) => {
                self.disable(target, format!("the receiver answered {status}").into(), now);
                return;
            }
            Reply::Status { status: 429 | 503, retry_after: Some(_) } => {
                let asked = retry::asked_for(settings.retry.retry_after, reply, now);
                let longer = !asked.is_zero() && self.lane(target).pause(asked, now);
                longer.then_some(Turn::Paused)
            }
            _ => None,
        };
        let lane = &mut self.lanes[target.0 as usize];
        let health = Health::of(reply);
        let change = lane.attempted(id, health, || last_error(reply).or_else(|| status_text(reply)), now);
        match change {
            Some(Turn::Disabled) => {
                let longest = settings.disable_after.unwrap_or_default().as_secs();
                self.disable(target, format!("it has failed for {longest} s without a success").into(), now);
            }
            Some(change) => self.turned(target, change, now),
            None => {}
        }
        if let Some(paused) = turn {
            self.turned(target, paused, now);
        }
    }

    fn turned(&mut self, target: TargetId, turn: Turn, now: Moment) {
        let standing = self.lane(target).standing(now);
        self.note(Note::Stands { target, standing });
        if matches!(turn, Turn::Opened | Turn::Paused) {
            let hold = self.plan.targets[target.0 as usize].retry.hold;
            self.timers.set(now.after(hold), Timer::Shelve(target));
        }
        if turn == Turn::Closed {
            self.offer(target, now);
        }
    }

    /// Switches a target off until a reload or restart: what waits for it goes to the dead letters.
    fn disable(&mut self, target: TargetId, reason: Box<str>, now: Moment) {
        if self.lane(target).is_disabled() {
            return;
        }
        self.lane(target).disable(reason, now);
        let standing = self.lane(target).standing(now);
        self.note(Note::Stands { target, standing });
        while let Some(id) = self.lane(target).withdraw() {
            self.give_up(id, DeadLetterReason::TargetDisabled, now);
        }
    }
}

fn status(reply: &Reply) -> Option<u16> {
    match reply {
        Reply::Status { status, .. } => Some(*status),
        _ => None,
    }
}

fn status_text(reply: &Reply) -> Option<Box<str>> {
    status(reply).map(|status| format!("the receiver answered {status}").into())
}

fn last_error(reply: &Reply) -> Option<Box<str>> {
    match reply {
        Reply::Fault { fault, detail } => Some(format!("{}: {detail}", fault.as_str()).into()),
        Reply::Unrenderable(detail) => Some(detail.clone()),
        Reply::Status { .. } | Reply::Withheld => None,
    }
}

fn note_failure(failure: &mut Option<Box<Failure>>, reply: &Reply, now: Moment) {
    let result = match reply {
        Reply::Status { status, .. } => status.to_string().into(),
        Reply::Fault { fault, .. } => fault.as_str().into(),
        Reply::Unrenderable(_) => "template".into(),
        Reply::Withheld => return,
    };
    let (first_ms, mut history) = match failure.take() {
        Some(earlier) => (earlier.first_ms, earlier.history),
        None => (now.wall_ms, Vec::new()),
    };
    if history.len() >= HISTORY {
        history.remove(0);
    }
    history.push(Failed { at_ms: now.wall_ms, result });
    *failure = Some(Box::new(Failure {
        first_ms,
        last_ms: now.wall_ms,
        last_status: status(reply),
        last_error: last_error(reply),
        history,
    }));
}
