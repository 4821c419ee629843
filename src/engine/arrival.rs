use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::chains::Link;
use super::ledger::{EventSlot, State};
use super::protocol::Note;
use super::queue;
use super::routing::serves;
use super::waits::first_failure_ms;
use super::writes::{Obligation, Payload};
use super::{Engine, Life, MOST_UNKNOWN_TYPES};
use crate::domain::{
    DeadLetterReason, DeliveryId, Event, Kind, Moment, Move, Ordering, Receipt, RouteId, TargetId, Tier,
    Waiting,
};
use crate::plan::{Reads, Tombstones, UnknownTypes};

/// What is not in the configuration is waited for so long (DESIGN.md §4.4).
const UNKNOWN_FOR: Duration = Duration::from_secs(24 * 3600);

/// How events come in: from a source, or again from a retry tier.
impl Engine {
    pub(super) fn arrived(&mut self, event: Arc<Event>, receipt: Receipt, now: Moment) {
        let reads = self.reads(&receipt);
        let Some(slot) = self.admit(&event, receipt, None) else { return };
        let tombstones = self.plan.sources[usize::from(event.source.0)].tombstones;
        match (event.kind, tombstones, reads) {
            // What is the event's own is the shared consumer's to say.
            (Kind::Oversized(_), _, Reads::Ordered(_))
            | (Kind::Tombstone, Tombstones::Ignore | Tombstones::DeadLetter, Reads::Ordered(_)) => {}
            (Kind::Oversized(size), ..) => {
                self.note(Note::Poisoned(event.source));
                let most = self.plan.limits.max_event;
                let detail = format!("the message has {size} bytes, and limits.max_event is {most}");
                self.dead_letter_event(slot, DeadLetterReason::Oversized, Vec::new(), Some(detail));
            }
            (Kind::Tombstone, Tombstones::Ignore, _) => self.note(Note::Tombstone(event.source)),
            (Kind::Tombstone, Tombstones::DeadLetter, _) => {
                self.note(Note::Tombstone(event.source));
                self.dead_letter_event(slot, DeadLetterReason::Tombstone, Vec::new(), None);
            }
            (Kind::Tombstone, Tombstones::Deliver, _) | (Kind::Regular, ..) => {
                match (self.admits_type(&event), reads) {
                    (true, _) => self.route(slot, &event, reads, now),
                    (false, Reads::Ordered(_)) => {}
                    (false, Reads::Shared | Reads::Tiers) => {
                        self.note(Note::Poisoned(event.source));
                        self.refuse_type(slot, &event);
                    }
                }
            }
        }
        let closed = self.ledger.end_obligation(slot);
        self.closed(closed);
    }

    /// Opens an event; `None` if the process is stopping: then it is let go at once, and comes again.
    fn admit(&mut self, event: &Arc<Event>, receipt: Receipt, resumed_ms: Option<i64>) -> Option<EventSlot> {
        let slot = self.ledger.open_event(event.clone(), receipt, resumed_ms);
        if self.life == Life::Stopping {
            let closed = self.ledger.release_obligation(slot);
            self.closed(closed);
            return None;
        }
        Some(slot)
    }

    fn reads(&self, receipt: &Receipt) -> Reads {
        self.plan
            .consumers
            .get(usize::from(receipt.consumer.0))
            .map_or(Reads::Shared, |consumer| consumer.reads)
    }

    /// `false`: the event's type is not declared, and so it goes nowhere.
    fn admits_type(&mut self, event: &Arc<Event>) -> bool {
        let types = &self.plan.event_types;
        let Some(unknown) = event.event_type.as_ref().filter(|event_type| types.is_unknown(event_type))
        else {
            return true;
        };
        match types.unknown {
            UnknownTypes::Allow => true,
            UnknownTypes::DeadLetter => false,
            UnknownTypes::Warn => {
                if self.unknown_types.len() < MOST_UNKNOWN_TYPES && self.unknown_types.insert(unknown.clone())
                {
                    self.note(Note::UnknownType(event.clone()));
                }
                true
            }
        }
    }

    fn refuse_type(&mut self, slot: EventSlot, event: &Event) {
        let event_type = event.event_type.as_deref().unwrap_or_default();
        let detail = format!("no event type `{event_type}` is declared (`event_types`)");
        self.dead_letter_event(slot, DeadLetterReason::Schema, Vec::new(), Some(detail));
    }

    fn route(&mut self, slot: EventSlot, event: &Event, reads: Reads, now: Moment) {
        let mut matches = std::mem::take(&mut self.matches);
        self.routing.route(&self.plan, event, &mut matches);
        for (target, route, priority) in matches.deliveries.drain(..) {
            let ordering = self.plan.targets[target.0 as usize].ordering;
            let wanted = match reads {
                Reads::Ordered(own) => own == target,
                Reads::Shared | Reads::Tiers => ordering == Ordering::None,
            };
            if wanted {
                self.open_delivery(slot, event, target, route, event.priority.unwrap_or(priority), now);
            }
        }
        // After what it opened: who has counted the event has counted all that it waits for.
        if reads == Reads::Shared {
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
        }
        self.matches = matches;
    }

    fn open_delivery(
        &mut self,
        slot: EventSlot,
        event: &Event,
        target: TargetId,
        route: RouteId,
        priority: i32,
        now: Moment,
    ) {
        let id = self.ledger.open_delivery(slot, target, route, now);
        self.lane(target).opened(event.weight());
        self.note(Note::Opened(target));
        let link = self.link(event, target);
        if let Some(delivery) = self.ledger.delivery(id) {
            delivery.priority = priority;
            delivery.link = link;
        }
        self.make_first_ready(id, event, target, link, now);
    }

    fn make_first_ready(
        &mut self,
        id: DeliveryId,
        event: &Event,
        target: TargetId,
        link: Option<u64>,
        now: Moment,
    ) {
        #[cfg(test)]
        if self.sabotage == Some(super::Sabotage::WaitTogether)
            && link.is_none()
            && self.lanes.iter().any(|lane| lane.standing(now) != crate::domain::TargetStanding::default())
        {
            return self.hold(id, Duration::from_secs(60), now);
        }
        let Some(key) = link else { return self.make_ready(id, target, queue::Kind::Fresh, now) };
        let link = Link { generation: event.generation, key };
        #[cfg(test)]
        if self.sabotage == Some(super::Sabotage::IgnoreOrder) {
            return self.make_ready(id, target, queue::Kind::Fresh, now);
        }
        if self.lane(target).append(link, id) {
            return self.make_ready(id, target, queue::Kind::Fresh, now);
        }
        if let Some(delivery) = self.ledger.delivery(id) {
            delivery.state = State::Blocked;
        }
        self.lane(target).hold();
    }

    /// What a delivery waits for in its partition: 0 is for all earlier ones.
    fn link(&self, event: &Event, target: TargetId) -> Option<u64> {
        let settings = &self.plan.targets[target.0 as usize];
        match (settings.ordering, settings.key) {
            (Ordering::None, _) => None,
            (Ordering::Strict, _) => Some(0),
            (Ordering::ByKey, Some(field)) => {
                let value = event.fields.get(field).and_then(Option::as_ref);
                value.map(|value| hashed(&format!("{value:?}")))
            }
            (Ordering::ByKey, None) => event.key.as_deref().map(hashed),
        }
    }

    /// A delivery came back from a retry tier.
    pub(super) fn resumed(&mut self, event: Arc<Event>, receipt: Receipt, waiting: Waiting, now: Moment) {
        let Some(slot) = self.admit(&event, receipt, Some(waiting.first_ms)) else { return };
        match waiting.target.as_deref() {
            Some(name) => match self.target_named(name) {
                // It belonged to the event's tenant when the delivery was moved.
                Some(target) if !serves(&self.plan, target, &event) => {
                    self.dead_letter_unknown(slot, event, waiting, DeadLetterReason::TargetUnknown);
                }
                Some(target) => self.resume(slot, &event, target, waiting, now),
                None => self.keep_unknown(slot, event, waiting, now),
            },
            None if !self.admits_type(&event) => self.refuse_type(slot, &event),
            None => self.route_anew(slot, &event, &waiting, now),
        }
        let closed = self.ledger.end_obligation(slot);
        self.closed(closed);
    }

    pub(crate) fn target_named(&self, name: &str) -> Option<TargetId> {
        self.plan.live_targets().find(|(_, target)| &*target.name == name).map(|(id, _)| id)
    }

    fn resume(&mut self, slot: EventSlot, event: &Event, target: TargetId, waiting: Waiting, now: Moment) {
        let route = waiting.routes.first().and_then(|name| self.route_named(name)).unwrap_or(RouteId::GONE);
        let id = self.ledger.open_delivery(slot, target, route, now);
        self.lane(target).opened(event.weight());
        self.note(Note::Resumed { target, tier: waiting.tier });
        if let Some(delivery) = self.ledger.delivery(id) {
            delivery.attempts = waiting.attempts;
            delivery.first_ms = Some(waiting.first_ms);
            delivery.moves = waiting.moves;
            delivery.idle_moves = waiting.idle_moves;
            delivery.priority = waiting.priority;
            delivery.failure = waiting.failure.map(Box::new);
        }
        #[cfg(test)]
        match self.sabotage {
            Some(super::Sabotage::ForgetAttempts) => {
                if let Some(delivery) = self.ledger.delivery(id) {
                    delivery.attempts = 0;
                }
            }
            Some(super::Sabotage::LoseResumed) => {
                return self.end(id, crate::domain::Outcome::Delivered, None, None, now);
            }
            _ => {}
        }
        match waiting.not_before_ms.map(|time_ms| time_ms.saturating_sub(now.wall_ms)) {
            Some(left_ms @ 1..) => self.wait(id, Duration::from_millis(left_ms as u64), now),
            _ => self.make_ready(id, target, queue::Kind::Retry, now),
        }
    }

    fn route_named(&self, name: &str) -> Option<RouteId> {
        let index = self.plan.routes.iter().position(|route| &*route.name == name)?;
        Some(RouteId(index as u32))
    }

    /// An event that was poisoned and redriven: only the routes that could not judge it take it.
    fn route_anew(&mut self, slot: EventSlot, event: &Event, waiting: &Waiting, now: Moment) {
        let mut matches = std::mem::take(&mut self.matches);
        self.routing.route(&self.plan, event, &mut matches);
        let plan = self.plan.clone();
        let judged = |route: &RouteId| {
            let name = plan.routes.get(route.0 as usize).map(|route| &*route.name);
            waiting.routes.is_empty() || waiting.routes.iter().any(|own| Some(&**own) == name)
        };
        for (target, route, priority) in matches.deliveries.drain(..) {
            if judged(&route) {
                self.open_delivery(slot, event, target, route, event.priority.unwrap_or(priority), now);
            }
        }
        matches.poisoned.retain(judged);
        if !matches.poisoned.is_empty() {
            let routes = std::mem::take(&mut matches.poisoned);
            self.dead_letter_event(slot, DeadLetterReason::Poisoned, routes, Some(poisoned_because(event)));
        }
        self.matches = matches;
    }

    /// The target was removed, or this replica has not heard of it yet.
    fn keep_unknown(&mut self, slot: EventSlot, event: Arc<Event>, mut waiting: Waiting, now: Moment) {
        let age_ms = now.wall_ms.saturating_sub(first_failure_ms(&waiting));
        let patience = UNKNOWN_FOR / self.plan.time_scale;
        #[cfg(test)]
        let patience = match self.sabotage {
            Some(super::Sabotage::ForgetUnknown) => Duration::ZERO,
            Some(super::Sabotage::KeepUnknown) => Duration::MAX,
            _ => patience,
        };
        if u128::try_from(age_ms).unwrap_or(0) >= patience.as_millis() {
            return self.dead_letter_unknown(slot, event, waiting, DeadLetterReason::TargetUnknown);
        }
        waiting.tier = Tier::ONE_HOUR;
        waiting.due_ms = now.after(self.length(Tier::ONE_HOUR)).wall_ms;
        waiting.moves += 1;
        self.ledger.add_obligation(slot);
        let generation = event.generation;
        let payload = Payload::Move(Box::new(Move { event, waiting }));
        let write = self.writes.open(generation, Obligation::Event(slot), payload);
        self.write(write);
    }

    /// A tier's record that can't be read.
    pub(super) fn unreadable(&mut self, event: Arc<Event>, receipt: Receipt, detail: &str) {
        let Some(slot) = self.admit(&event, receipt, None) else { return };
        self.dead_letter_event(slot, DeadLetterReason::Poisoned, Vec::new(), Some(detail.to_owned()));
        let closed = self.ledger.end_obligation(slot);
        self.closed(closed);
    }
}

fn hashed(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn poisoned_because(event: &Event) -> String {
    match &event.content {
        crate::domain::Content::NotJson(why) if event.kind == Kind::Regular => why.to_string(),
        _ => "the event has no type, and these routes need one".to_owned(),
    }
}
