//! Floor 3: the delivery logic, pure and synchronous. Time and randomness come in as arguments,
//! effects go out as values, so all of it runs in tests without sockets, threads or sleeping.
//!
//! One event's way: [`Input::Arrived`] → [`routing`] names its deliveries → each waits in the
//! `lane` of its target for a permit → [`Command::Attempt`] → [`Input::Attempted`] → `retry`
//! decides → delivered, held for another attempt, or [`Command::DeadLetter`] → `ledger`: when
//! the last obligation of the event has ended, [`Command::Settle`].
//!
//! Invariants: a receipt is given back at most once, and only when every delivery of its event has
//! ended for good; whatever belongs to a generation that is gone changes nothing; a permit is held
//! for exactly as long as an attempt is in the hands of a sender.

mod departure;
mod lane;
mod ledger;
mod permits;
mod protocol;
mod retry;
/// Which routes take an event.
pub mod routing;
#[cfg(test)]
mod tests;
mod timers;
mod writes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use lane::LaneState;
pub use protocol::{Command, Grant, Input, Note, StoreFault, WriteId};

use crate::domain::{
    Attempt, Attempted, ConsumerId, DeadLetter, DeadLetterReason, DeliveryId, DiscardReason, Event,
    Exhausted, Failure, Kind, Moment, Outcome, Receipt, Reply, RouteId, TargetId,
};
use crate::plan::{Plan, Tombstones};
use lane::Lane;
use ledger::{Closed, EventSlot, Ledger, State};
use permits::Permits;
use retry::Decision;
use routing::{Matches, Routing};
use timers::{Timer, Timers};
use writes::{Obligation, Writes};

/// The delivery logic of one process.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    routing: Routing,
    matches: Matches,
    ledger: Ledger,
    lanes: Vec<Lane>,
    permits: Permits,
    writes: Writes,
    timers: Timers,
    commands: VecDeque<Command>,
    random: fastrand::Rng,
    life: Life,
    #[cfg(test)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// Room for more open events than that is made when they come.
const MOST_EXPECTED: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopping,
}

/// Faults that the simulation puts in on purpose, to show that it would notice them.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A dead letter counts when it is sent, not when it is confirmed.
    SkipDeadLetterConfirmation,
    /// What belongs to a lost generation stays alive.
    IgnoreGeneration,
    /// A held delivery is never attempted again.
    LoseHeldRetry,
    /// A delivery that is to be discarded at last is so after its first failure.
    DiscardEarly,
}

impl Engine {
    /// An engine with nothing open. `seed` decides all jitter.
    pub fn new(plan: Arc<Plan>, seed: u64) -> Engine {
        Engine {
            routing: Routing::new(&plan),
            matches: Matches::default(),
            ledger: Ledger::new(plan.consumers.len(), expected_open(&plan)),
            lanes: plan.targets.iter().map(|target| Lane::new(target.concurrency)).collect(),
            // One that is switched off never wants a permit, so none is kept for it.
            permits: Permits::new(
                plan.limits.in_flight,
                plan.targets.iter().filter(|target| target.enabled).count(),
            ),
            writes: Writes::default(),
            timers: Timers::default(),
            commands: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
            life: Life::Running,
            #[cfg(test)]
            sabotage: None,
            plan,
        }
    }

    /// Takes in one fact. Effects wait in [`Engine::next_command`].
    pub fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Arrived { event, receipt } => self.arrived(event, receipt, now),
            // TODO(5)
            Input::Resumed { .. } | Input::Unreadable { .. } => {}
            Input::Attempted(attempted) => self.attempted(attempted, now),
            Input::Stored { write, result } => self.stored(write, result, now),
            Input::Revoked(consumer, generation) => self.revoked(consumer, generation),
            Input::Lost(generation) => self.lost(generation),
            Input::Shutdown => self.shut_down(),
        }
    }

    /// Lets time pass: what has become due happens.
    pub fn advance(&mut self, now: Moment) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Retry(delivery) => self.retry_due(delivery),
                Timer::Write(write) => self.write(write),
            }
        }
    }

    /// The next effect to carry out. Attempts are handed out here, as permits allow.
    pub fn next_command(&mut self, now: Moment) -> Option<Command> {
        self.commands.pop_front().or_else(|| self.dispatch(now))
    }

    /// When [`Engine::advance`] has something to do next, in microseconds on the monotonic clock.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.timers.next_due_us()
    }

    /// How much a consumer may have handed over since the start.
    pub fn credit(&self, consumer: ConsumerId) -> Grant {
        let closed = self.ledger.closed(consumer);
        let window = self.plan.limits.window;
        Grant {
            events: closed.events.saturating_add(window.events),
            bytes: closed.bytes.saturating_add(window.bytes),
        }
    }

    /// Events and bytes of one consumer that are open.
    pub fn open(&self, consumer: ConsumerId) -> Grant {
        self.ledger.open(consumer)
    }

    /// Whether nothing is open and no attempt is being made.
    pub fn is_idle(&self) -> bool {
        self.ledger.is_empty() && self.permits.are_free()
    }

    /// The state of every lane, by [`TargetId`].
    pub fn lanes(&self) -> Vec<LaneState> {
        let oldest = self.ledger.oldest(self.lanes.len());
        self.lanes.iter().zip(oldest).map(|(lane, oldest)| lane.state(oldest)).collect()
    }

    fn lane(&mut self, target: TargetId) -> &mut Lane {
        &mut self.lanes[target.0 as usize]
    }

    fn note(&mut self, note: Note) {
        self.commands.push_back(Command::Note(note));
    }

    fn arrived(&mut self, event: Arc<Event>, receipt: Receipt, now: Moment) {
        let slot = self.ledger.open_event(event.clone(), receipt);
        if self.life == Life::Stopping {
            let closed = self.ledger.release_obligation(slot);
            return self.closed(closed);
        }
        match (event.kind, self.plan.sources[usize::from(event.source.0)].tombstones) {
            (Kind::Oversized(size), _) => {
                self.note(Note::Poisoned(event.source));
                let most = self.plan.limits.max_event;
                let detail = format!("the message has {size} bytes, and limits.max_event is {most}");
                self.dead_letter_event(slot, DeadLetterReason::Oversized, Vec::new(), Some(detail));
            }
            (Kind::Tombstone, Tombstones::Ignore) => self.note(Note::Tombstone(event.source)),
            (Kind::Tombstone, Tombstones::DeadLetter) => {
                self.note(Note::Tombstone(event.source));
                self.dead_letter_event(slot, DeadLetterReason::Tombstone, Vec::new(), None);
            }
            (Kind::Tombstone, Tombstones::Deliver) | (Kind::Regular, _) => self.route(slot, &event, now),
        }
        let closed = self.ledger.end_obligation(slot);
        self.closed(closed);
    }

    fn route(&mut self, slot: EventSlot, event: &Event, now: Moment) {
        let mut matches = std::mem::take(&mut self.matches);
        self.routing.route(&self.plan, event, &mut matches);
        for (target, route) in matches.deliveries.drain(..) {
            let delivery = self.ledger.open_delivery(slot, target, route, now);
            self.lane(target).opened(event.weight());
            self.note(Note::Opened(target));
            self.make_ready(delivery, target);
        }
        // After what it opened: who has counted the event has counted all that it waits for.
        self.note(match (matches.taken, matches.poisoned.is_empty()) {
            (true, _) => Note::Routed(event.source),
            (false, true) => Note::Unrouted(event.source),
            (false, false) => Note::Poisoned(event.source),
        });
        if !matches.poisoned.is_empty() {
            let routes = std::mem::take(&mut matches.poisoned);
            let detail = poisoned_because(event);
            self.dead_letter_event(slot, DeadLetterReason::Poisoned, routes, Some(detail));
        }
        self.matches = matches;
    }

    fn make_ready(&mut self, delivery: DeliveryId, target: TargetId) {
        let lane = &mut self.lanes[target.0 as usize];
        lane.push(delivery);
        self.permits.join(target, lane);
    }

    /// One attempt of the lane whose turn it is.
    fn dispatch(&mut self, now: Moment) -> Option<Command> {
        while let Some((target, id)) = self.permits.take(&mut self.lanes) {
            if let Some(delivery) = self.ledger.delivery(id) {
                delivery.state = State::InFlight;
                delivery.attempts += 1;
                delivery.first_attempt.get_or_insert(now);
                let (number, slot) = (delivery.attempts, delivery.slot);
                let event = self.ledger.event(slot).clone();
                return Some(Command::Attempt(Attempt { delivery: id, target, event, number }));
            }
            debug_assert!(false, "a lane held a delivery that had ended");
            self.give_back_permit(target);
        }
        None
    }

    fn give_back_permit(&mut self, target: TargetId) {
        self.permits.give_back(target, &mut self.lanes[target.0 as usize]);
    }

    fn attempted(&mut self, attempted: Attempted, now: Moment) {
        let Attempted { delivery: id, target, number, reply, .. } = attempted;
        self.give_back_permit(target);
        let policy = &self.plan.targets[target.0 as usize];
        let Some(delivery) = self.ledger.delivery(id) else { return };
        if delivery.state != State::InFlight || delivery.attempts != number {
            return;
        }
        let first = delivery.first_attempt.unwrap_or(now);
        let decision =
            retry::decide(&policy.retry, &policy.success, &reply, number, first, now, &mut self.random);
        #[cfg(test)]
        let decision = match decision {
            Decision::Retry(_) if self.sabotage == Some(Sabotage::DiscardEarly) => {
                Decision::End(DeadLetterReason::Exhausted)
            }
            other => other,
        };
        match decision {
            Decision::Delivered => self.end(id, Outcome::Delivered, status(&reply), None),
            Decision::Again(wait) => {
                delivery.attempts -= 1;
                if delivery.attempts == 0 {
                    delivery.first_attempt = None;
                }
                self.hold(id, now, wait, reply);
            }
            Decision::Retry(wait) => {
                note_failure(&mut delivery.failure, &reply, now);
                self.hold(id, now, wait, reply);
            }
            Decision::End(reason) => {
                note_failure(&mut delivery.failure, &reply, now);
                self.give_up(id, reason);
            }
        }
    }

    fn hold(&mut self, id: DeliveryId, now: Moment, wait: Duration, reply: Reply) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot, route) = (delivery.target, delivery.slot, delivery.route);
        let attempts = delivery.attempts;
        delivery.state = State::Held;
        self.lane(target).hold();
        if self.life == Life::Stopping || self.ledger.is_ending(slot) {
            return self.release(id, self.release_reason());
        }
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::LoseHeldRetry) {
            return;
        }
        let event = self.ledger.event(slot).clone();
        let wait_ms = wait.as_millis() as u64;
        self.note(Note::Retrying { delivery: id, target, route, event, attempts, reply, wait_ms });
        self.timers.set(now.after(wait), Timer::Retry(id));
    }

    fn retry_due(&mut self, id: DeliveryId) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        if delivery.state != State::Held {
            return;
        }
        delivery.state = State::Ready;
        let target = delivery.target;
        self.lane(target).unhold();
        self.make_ready(id, target);
    }

    /// No further attempt will be made.
    fn give_up(&mut self, id: DeliveryId, reason: DeadLetterReason) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let target = delivery.target;
        let refused = matches!(
            reason,
            DeadLetterReason::Exhausted | DeadLetterReason::Expired | DeadLetterReason::Rejected
        );
        let on_exhausted = self.plan.targets[target.0 as usize].retry.on_exhausted;
        if refused && on_exhausted == Exhausted::Discard {
            let (status, error) = last_reply(delivery.failure.take().map(|failure| *failure));
            return self.end(id, Outcome::Discarded(DiscardReason::OnExhausted(reason)), status, error);
        }
        delivery.state = State::Writing;
        let (slot, route) = (delivery.slot, delivery.route);
        let (attempts, failure) = (delivery.attempts, delivery.failure.as_deref().cloned());
        self.lane(target).hold();
        let letter = DeadLetter {
            event: self.ledger.event(slot).clone(),
            target: Some(target),
            unknown: None,
            routes: vec![route],
            reason,
            attempts,
            failure,
            detail: None,
            omit_value: false,
            omit_headers: false,
        };
        self.send_letter(Obligation::Delivery(id), letter);
    }

    fn dead_letter_event(
        &mut self,
        slot: EventSlot,
        reason: DeadLetterReason,
        routes: Vec<RouteId>,
        detail: Option<String>,
    ) {
        self.ledger.add_obligation(slot);
        let event = self.ledger.event(slot).clone();
        let omit_value = matches!(event.kind, Kind::Oversized(_));
        let detail = detail.map(String::into_boxed_str);
        let letter = DeadLetter {
            event,
            target: None,
            unknown: None,
            routes,
            reason,
            attempts: 0,
            failure: None,
            detail,
            omit_value,
            omit_headers: false,
        };
        self.send_letter(Obligation::Event(slot), letter);
    }

    fn send_letter(&mut self, obligation: Obligation, letter: DeadLetter) {
        let generation = letter.event.generation;
        let write = self.writes.open(generation, obligation, letter);
        self.write(write);
        #[cfg(test)]
        if self.sabotage == Some(Sabotage::SkipDeadLetterConfirmation) {
            self.stored(write, Ok(()), Moment::default());
        }
    }

    fn write(&mut self, write: WriteId) {
        if let Some(letter) = self.writes.letter(write) {
            self.commands.push_back(Command::DeadLetter { write, letter: Box::new(letter) });
        }
    }

    fn stored(&mut self, write: WriteId, result: Result<(), StoreFault>, now: Moment) {
        match result {
            Ok(()) => {
                let Some((obligation, letter)) = self.writes.close(write) else { return };
                match obligation {
                    Obligation::Delivery(id) => {
                        self.lane_unhold(id);
                        if let Some(slot) = self.ledger.delivery(id).map(|delivery| delivery.slot) {
                            self.ledger.dead_lettered(slot);
                        }
                        let (status, error) = last_reply(letter.failure);
                        self.end(id, Outcome::DeadLettered(letter.reason), status, error);
                    }
                    Obligation::Event(slot) => {
                        self.ledger.dead_lettered(slot);
                        self.note(Note::EventDeadLettered { event: letter.event, reason: letter.reason });
                        let closed = self.ledger.end_obligation(slot);
                        self.closed(closed);
                    }
                }
            }
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

    fn is_write_ending(&self, write: WriteId) -> bool {
        self.writes.generation(write).is_some_and(|generation| self.ledger.is_tenure_ending(generation))
    }

    fn lane_unhold(&mut self, id: DeliveryId) {
        if let Some(target) = self.ledger.delivery(id).map(|delivery| delivery.target) {
            self.lane(target).unhold();
        }
    }

    /// A delivery has its outcome.
    fn end(&mut self, id: DeliveryId, outcome: Outcome, status: Option<u16>, error: Option<Box<str>>) {
        let Some(delivery) = self.ledger.delivery(id) else { return };
        let (target, slot, attempts) = (delivery.target, delivery.slot, delivery.attempts);
        let route = delivery.route;
        let event = self.ledger.event(slot).clone();
        self.lane(target).closed(event.weight());
        self.note(Note::Ended { target, route, outcome, event, attempts, status, error });
        let closed = self.ledger.end_delivery(id);
        self.closed(closed);
    }

    fn closed(&mut self, closed: Closed) {
        if let Some(settled) = closed.settled {
            self.commands.push_back(Command::Settle(settled));
        }
        if let Some((consumer, generation)) = closed.ended {
            self.commands.push_back(Command::Released(consumer, generation));
        }
    }
}

/// How many events the windows of all sources let be open, as far as that is not beyond reason. Memory
/// that is never used costs nothing.
fn expected_open(plan: &Plan) -> usize {
    let window = usize::try_from(plan.limits.window.events).unwrap_or(usize::MAX);
    window.saturating_mul(plan.sources.len()).min(MOST_EXPECTED)
}

fn poisoned_because(event: &Event) -> String {
    match &event.content {
        crate::domain::Content::NotJson(why) if event.kind == Kind::Regular => why.to_string(),
        _ => "the event has no type, and these routes need one".to_owned(),
    }
}

fn last_reply(failure: Option<Failure>) -> (Option<u16>, Option<Box<str>>) {
    failure.map_or((None, None), |failure| (failure.last_status, failure.last_error))
}

fn status(reply: &Reply) -> Option<u16> {
    match reply {
        Reply::Status { status, .. } => Some(*status),
        _ => None,
    }
}

fn note_failure(failure: &mut Option<Box<Failure>>, reply: &Reply, now: Moment) {
    let (last_status, last_error) = match reply {
        Reply::Status { status, .. } => (Some(*status), None),
        Reply::Fault { fault, detail } => {
            (None, Some(format!("{}: {detail}", fault.as_str()).into_boxed_str()))
        }
        Reply::Unrenderable(detail) => (None, Some(detail.clone())),
        Reply::Withheld => (None, None),
    };
    let first_ms = failure.as_ref().map_or(now.wall_ms, |earlier| earlier.first_ms);
    *failure = Some(Box::new(Failure {
        first_ms,
        last_ms: now.wall_ms,
        last_status,
        last_error,
        history: Vec::new(),
    }));
}
