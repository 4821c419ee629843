use std::sync::Arc;

#[cfg(test)]
use super::Sabotage;
use super::ledger::{Closed, EventSlot, State};
use super::protocol::{Command, Note, StoreFault, WriteId};
use super::timers::Timer;
use super::writes::{Obligation, Payload};
use super::{Engine, Life, queue, retry};
use crate::domain::{
    DeadLetter, DeadLetterReason, DeliveryId, DiscardReason, Event, Exhausted, Failure, Kind, Moment, Move,
    Outcome, RouteId, Waiting,
};

/// How deliveries end: with an outcome, or moved; each write counts once the broker has confirmed it.
impl Engine {
    /// No further attempt will be made.
    pub(super) fn give_up(&mut self, id: DeliveryId, reason: DeadLetterReason, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let target = delivery.target;
        let refused = matches!(
            reason,
            DeadLetterReason::Exhausted | DeadLetterReason::Expired | DeadLetterReason::Rejected
        );
        let policy = &self.plan.targets[target.0 as usize].retry;
        match policy.on_exhausted {
            Exhausted::Discard if refused => {
                let (status, error) = last_reply(delivery.failure.take().map(|failure| *failure));
                return self.end(
                    id,
                    Outcome::Discarded(DiscardReason::OnExhausted(reason)),
                    status,
                    error,
                    now,
                );
            }
            Exhausted::Block if refused => {
                let wait = retry::longest_wait(&policy.backoff);
                return self.hold(id, wait, now);
            }
            Exhausted::DeadLetter | Exhausted::Discard | Exhausted::Block => {}
        }
        delivery.state = State::Writing;
        let (slot, route) = (delivery.slot, delivery.route);
        let (attempts, failure) = (delivery.attempts, delivery.failure.as_deref().cloned());
        self.lane(target).hold();
        let letter = DeadLetter {
            event: self.ledger.event(slot).clone(),
            resumed_ms: self.ledger.resumed_ms(slot),
            target: Some(target),
            target_name: self.plan.targets.get(target.0 as usize).map(|target| target.name.clone()),
            unknown: None,
            routes: self.route_names(&[route]),
            reason,
            attempts,
            failure,
            detail: None,
            omit_value: false,
            omit_headers: false,
        };
        self.send_letter(Obligation::Delivery(id), letter);
    }

    pub(super) fn dead_letter_event(
        &mut self,
        slot: EventSlot,
        reason: DeadLetterReason,
        routes: Vec<RouteId>,
        detail: Option<String>,
    ) {
        let event = self.ledger.event(slot).clone();
        let omit_value = matches!(event.kind, Kind::Oversized(_));
        let detail = detail.map(String::into_boxed_str);
        let routes = self.route_names(&routes);
        self.bury(slot, DeadLetter { routes, detail, omit_value, ..own_letter(event, reason) });
    }

    /// A delivery whose target is not in the configuration, and that can't wait for it any longer.
    pub(super) fn dead_letter_unknown(
        &mut self,
        slot: EventSlot,
        event: Arc<Event>,
        waiting: Waiting,
        reason: DeadLetterReason,
    ) {
        let letter = DeadLetter {
            attempts: waiting.attempts,
            failure: waiting.failure.clone(),
            unknown: Some(Box::new(waiting)),
            ..own_letter(event, reason)
        };
        self.bury(slot, letter);
    }

    /// Of those that are in the configuration.
    fn route_names(&self, routes: &[RouteId]) -> Vec<Arc<str>> {
        let routes = routes.iter().filter_map(|route| self.plan.routes.get(route.0 as usize));
        routes.map(|route| route.name.clone()).collect()
    }

    fn bury(&mut self, slot: EventSlot, mut letter: DeadLetter) {
        letter.resumed_ms = self.ledger.resumed_ms(slot);
        self.ledger.add_obligation(slot);
        self.send_letter(Obligation::Event(slot), letter);
    }

    fn send_letter(&mut self, obligation: Obligation, letter: DeadLetter) {
        let generation = letter.event.generation;
        let write = self.writes.open(generation, obligation, Payload::Letter(Box::new(letter)));
        self.write(write);
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::SkipDeadLetterConfirmation) {
            self.stored(write, Ok(()), Moment::default());
        }
    }

    pub(super) fn write(&mut self, write: WriteId) {
        if let Some(command) = self.writes.command(write) {
            self.commands.push_back(command);
        }
    }

    /// A write that the store could not take is made again, but for a move whose wait is over: then its
    /// delivery is attempted instead.
    pub(super) fn write_again(&mut self, write: WriteId, now: Moment) {
        let over = match self.writes.moved(write) {
            Some((Obligation::Delivery(id), moved)) => (moved.waiting.due_ms <= now.wall_ms).then_some(id),
            _ => None,
        };
        let Some(id) = over else { return self.write(write) };
        self.writes.close(write);
        if let Some(target) = self.ledger.delivery(id).map(|delivery| delivery.target) {
            self.lane(target).unhold();
            self.make_ready(id, target, queue::Kind::Retry, now);
        }
    }

    pub(super) fn stored(&mut self, write: WriteId, result: Result<(), StoreFault>, now: Moment) {
        match result {
            Ok(()) => match self.writes.close(write) {
                Some((obligation, Payload::Letter(letter))) => self.buried(obligation, *letter, now),
                Some((obligation, Payload::Move(moved))) => self.moved(obligation, &moved, now),
                None => {}
            },
            Err(StoreFault::TooLarge) if self.writes.moved(write).is_some() => self.too_large(write, now),
            Err(StoreFault::TooLarge) if self.writes.shrink(write) => self.write(write),
            Err(_) if self.life == Life::Stopping || self.is_write_ending(write) => {
                self.release_write(write, self.release_reason());
            }
            Err(_) => {
                if let Some(wait) = self.writes.next_wait(write) {
                    self.timers.set(now.after(wait), Timer::Write(write));
                }
            }
        }
    }

    fn buried(&mut self, obligation: Obligation, letter: DeadLetter, now: Moment) {
        match obligation {
            Obligation::Delivery(id) => {
                self.lane_unhold(id);
                if let Some(slot) = self.ledger.delivery(id).map(|delivery| delivery.slot) {
                    self.ledger.dead_lettered(slot);
                }
                let (status, error) = last_reply(letter.failure);
                self.end(id, Outcome::DeadLettered(letter.reason), status, error, now);
            }
            Obligation::Event(slot) => {
                self.ledger.dead_lettered(slot);
                self.note(Note::EventDeadLettered { event: letter.event, reason: letter.reason });
                let closed = self.ledger.end_obligation(slot);
                self.closed(closed);
            }
        }
    }

    fn moved(&mut self, obligation: Obligation, moved: &Move, now: Moment) {
        match obligation {
            Obligation::Delivery(id) => {
                let Some(delivery) = self.ledger.delivery(id) else { return };
                let target = delivery.target;
                self.lane(target).unhold();
                self.note(Note::Moved { target, tier: moved.waiting.tier });
                self.leave_lane(id, now);
                let closed = self.ledger.end_delivery(id);
                self.closed(closed);
            }
            Obligation::Event(slot) => {
                let closed = self.ledger.end_obligation(slot);
                self.closed(closed);
            }
        }
    }

    /// The tier refuses a record for its size, for good (DESIGN.md §4.1).
    fn too_large(&mut self, write: WriteId, now: Moment) {
        let Some((obligation, Payload::Move(moved))) = self.writes.close(write) else { return };
        match obligation {
            Obligation::Delivery(id) => {
                self.lane_unhold(id);
                self.give_up(id, DeadLetterReason::Oversized, now);
            }
            Obligation::Event(slot) => {
                let Move { event, waiting } = *moved;
                self.dead_letter_unknown(slot, event, waiting, DeadLetterReason::Oversized);
                let closed = self.ledger.end_obligation(slot);
                self.closed(closed);
            }
        }
    }

    fn is_write_ending(&self, write: WriteId) -> bool {
        self.writes.generation(write).is_some_and(|generation| self.ledger.is_tenure_ending(generation))
    }

    fn lane_unhold(&mut self, id: DeliveryId) {
        if let Some(target) = self.ledger.delivery(id).map(|delivery| delivery.target) {
            self.lane(target).unhold();
        }
    }

    /// A delivery has its outcome.
    pub(super) fn end(
        &mut self,
        id: DeliveryId,
        outcome: Outcome,
        status: Option<u16>,
        error: Option<Box<str>>,
        now: Moment,
    ) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot, attempts) = (delivery.target, delivery.slot, delivery.attempts);
        let route = delivery.route;
        let event = self.ledger.event(slot).clone();
        self.note(Note::Ended { target, route, outcome, event, attempts, status, error });
        self.leave_lane(id, now);
        let closed = self.ledger.end_delivery(id);
        self.closed(closed);
    }

    /// A delivery leaves its lane: the next one of its order has its turn.
    pub(super) fn leave_lane(&mut self, id: DeliveryId, now: Moment) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot, link) = (delivery.target, delivery.slot, delivery.link);
        let event = self.ledger.event(slot).clone();
        self.lane(target).closed(event.weight());
        let Some(key) = link else { return };
        let link = super::chains::Link { generation: event.generation, key };
        if let Some(next) = self.lane(target).chains.remove(link, id) {
            self.lane(target).unhold();
            self.make_ready(next, target, queue::Kind::Fresh, now);
        }
    }

    pub(super) fn closed(&mut self, closed: Closed) {
        if let Some(settled) = closed.settled {
            self.commands.push_back(Command::Settle(settled));
        }
        if let Some((consumer, generation)) = closed.ended {
            self.commands.push_back(Command::Released(consumer, generation));
        }
    }
}

/// An event's own dead letter.
fn own_letter(event: Arc<Event>, reason: DeadLetterReason) -> DeadLetter {
    DeadLetter {
        event,
        target: None,
        target_name: None,
        unknown: None,
        routes: Vec::new(),
        reason,
        attempts: 0,
        failure: None,
        detail: None,
        omit_value: false,
        omit_headers: false,
        resumed_ms: None,
    }
}

fn last_reply(failure: Option<Failure>) -> (Option<u16>, Option<Box<str>>) {
    failure.map_or((None, None), |failure| (failure.last_status, failure.last_error))
}
