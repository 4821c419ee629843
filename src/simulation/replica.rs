use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::book::Book;
use super::broker::{Broker, Slot};
use super::commands::target_of;
use super::fault::Fault;
use super::truth::{Place, Truth};
use super::{FIRST, HEALTHY};
use crate::domain::{ConsumerId, DeliveryId, Event, Generation, Lease, Moment, Receipt, TargetId};
use crate::engine::{Engine, Grant, Input};
use crate::plan::{Plan, Window};
use crate::source::kafka::Frontier;

/// How long a lease outlives the last poll: less than the broker's session.
const LEASE: Duration = Duration::from_secs(7);
/// A consumer says that it has no room when it has had none for so long, and as often again.
const PRESS_AFTER: Duration = Duration::from_secs(1);

/// One process: an engine, and what its consumers keep for each slot that they own.
pub(super) struct Replica {
    pub(super) plan: Arc<Plan>,
    pub(super) engine: Engine,
    pub(super) assigned: BTreeMap<Generation, Assigned>,
    /// Which life of this replica it is; what was started in an earlier one never arrives.
    pub(super) life: u32,
    /// A frozen process does nothing and notices nothing, until it thaws.
    pub(super) frozen: bool,
    /// It has thawed, and its source has not noticed yet that it was frozen.
    pub(super) dazed: bool,
    /// When its source last polled; leases count from there.
    polled_us: Arc<AtomicU64>,
    /// Draining at the operator's wish.
    pub(super) stopping: bool,
    consumers: Vec<Consumer>,
    /// Attempts that this process is making, by target.
    pub(super) in_flight: Vec<usize>,
    pub(super) book: Book,
    /// Opened and resumed less ended, moved and released, by target.
    pub(super) balance: Vec<i64>,
    /// Attempts that each delivery should have made by now: by generation, place and target. `None`
    /// where two records of one delivery can't be told apart.
    pub(super) attempts: HashMap<(Generation, Place, TargetId), Option<u32>>,
    /// The number that an attempt has, to count each only once.
    pub(super) numbers: HashMap<DeliveryId, u32>,
    /// A reload may have brought a target back for which no permit was kept meanwhile.
    pub(super) overbooked: bool,
    events: Vec<(Generation, u64, Weak<Event>)>,
    fault: Option<Fault>,
}

/// What one consumer of the process has handed over.
struct Consumer {
    handed_over: Grant,
    window: Window,
    /// Since when it has had no room, or has last said so.
    full_since: Option<Moment>,
}

pub(super) struct Assigned {
    /// Index among the broker's slots.
    pub(super) index: usize,
    pub(super) slot: Slot,
    pub(super) frontier: Frontier,
    pub(super) highest_settled: Option<i64>,
    /// The next offset to read.
    pub(super) position: i64,
    /// Being given up: by then at the latest.
    pub(super) leaving: Option<Moment>,
    /// When something was last read, or had no need to be.
    pub(super) moved_on: Moment,
    lease: Arc<Lease>,
}

impl Replica {
    pub(super) fn new(plan: &Arc<Plan>, life: u32, seed: u64, fault: Option<Fault>) -> Replica {
        let mut engine = Engine::new(plan.clone(), seed);
        engine.sabotage = fault.and_then(Fault::of_engine);
        let consumer = |index| Consumer {
            handed_over: Grant::default(),
            window: plan.window(ConsumerId(index)),
            full_since: None,
        };
        Replica {
            plan: plan.clone(),
            engine,
            assigned: BTreeMap::new(),
            life,
            frozen: false,
            dazed: false,
            polled_us: Arc::new(AtomicU64::new(0)),
            stopping: false,
            consumers: (0..plan.consumers.len() as u16).map(consumer).collect(),
            in_flight: vec![0; plan.targets.len()],
            book: Book::default(),
            balance: vec![0; plan.targets.len()],
            attempts: HashMap::new(),
            numbers: HashMap::new(),
            overbooked: false,
            events: Vec::new(),
            fault,
        }
    }

    pub(super) fn assign(
        &mut self,
        generation: Generation,
        index: usize,
        slot: Slot,
        committed: i64,
        now: Moment,
    ) {
        let assigned = Assigned {
            index,
            slot,
            frontier: Frontier::new(committed),
            highest_settled: None,
            position: committed,
            leaving: None,
            moved_on: now,
            lease: Arc::new(Lease::new(self.polled_us.clone(), LEASE)),
        };
        self.assigned.insert(generation, assigned);
    }

    /// The source turns: it polls, which renews its leases.
    pub(super) fn poll(&self, now: Moment) {
        if !self.frozen && !self.dazed {
            self.polled_us.store(now.mono_us, Ordering::Relaxed);
        }
    }

    /// Hands one message over if the grant allows it; `false` if there is nothing to hand over.
    pub(super) fn read(
        &mut self,
        generation: Generation,
        broker: &Broker,
        truth: &mut Truth,
        now: Moment,
    ) -> bool {
        let Some(assigned) = self.assigned.get(&generation) else { return false };
        let (slot, position) = (assigned.slot, assigned.position);
        let idle = assigned.leaving.is_some() || self.stopping || self.dazed;
        let (event, waiting, offset) = match slot {
            Slot::Shared(log) | Slot::Ordered(log) => {
                let message = broker.message(log, position);
                let Some(message) = message.filter(|_| !idle) else { return self.stay(generation, now) };
                (message.event(log, generation, assigned.lease.clone()), None, message.offset)
            }
            Slot::Tier(tier) => {
                let due = broker.record(tier, position).filter(|record| record.waiting.due_ms <= now.wall_ms);
                let Some(record) = due.filter(|_| !idle) else { return self.stay(generation, now) };
                let message = broker.at(record.place);
                let event = message.event(record.place.0, generation, assigned.lease.clone());
                (event, Some(record), position)
            }
        };
        if !self.has_room(slot.consumer(), event.weight()) {
            self.press(slot.consumer(), now);
            return false;
        }
        let consumer = &mut self.consumers[usize::from(slot.consumer().0)];
        consumer.full_since = None;
        consumer.handed_over.events += 1;
        consumer.handed_over.bytes += event.weight();
        if let Some(assigned) = self.assigned.get_mut(&generation) {
            (assigned.position, assigned.moved_on) = (offset + 1, now);
            assigned.frontier.received(offset, 0);
        }
        self.events.push((generation, event.weight(), Arc::downgrade(&event)));
        let receipt = Receipt { consumer: slot.consumer(), generation, position: offset };
        let input = match waiting {
            None => {
                if let Slot::Shared(log) = slot
                    && self.plan.removed.contains(&FIRST)
                {
                    truth.waive((log, offset), FIRST);
                }
                if let Slot::Shared(log) = slot
                    && broker.message(log, offset).is_some_and(|message| message.is_for(HEALTHY))
                {
                    self.book.awaits(generation, (log, offset), now);
                }
                Input::Arrived { event, receipt }
            }
            Some(record) => {
                let target = target_of(record);
                let made = Some(record.waiting.attempts);
                self.book.resumed(generation, record.place, target);
                self.attempts
                    .entry((generation, record.place, target))
                    .and_modify(|known| *known = None)
                    .or_insert(made);
                Input::Resumed { event, receipt, waiting: Box::new(record.waiting.clone()) }
            }
        };
        self.engine.handle(input, now);
        true
    }

    fn stay(&mut self, generation: Generation, now: Moment) -> bool {
        if let Some(assigned) = self.assigned.get_mut(&generation) {
            assigned.moved_on = now;
        }
        false
    }

    fn has_room(&self, id: ConsumerId, weight: u64) -> bool {
        let credit = self.engine.credit(id);
        let Consumer { handed_over, window, .. } = &self.consumers[usize::from(id.0)];
        let fits = handed_over.bytes + weight <= credit.bytes || self.engine.open(id).events == 0;
        handed_over.events < credit.events && fits && self.uncommitted(id) < window.events
    }

    /// When a consumer will have had no room for long, on the clock that only goes forward.
    pub(super) fn next_press_us(&self, now: Moment) -> Option<u64> {
        let since = self.consumers.iter().filter_map(|consumer| consumer.full_since);
        since.map(|since| since.after(PRESS_AFTER).mono_us).filter(|due| *due > now.mono_us).min()
    }

    /// As a source does that has no room for a while.
    fn press(&mut self, id: ConsumerId, now: Moment) {
        let consumer = &mut self.consumers[usize::from(id.0)];
        let since = *consumer.full_since.get_or_insert(now);
        if now.since(since) >= PRESS_AFTER {
            consumer.full_since = Some(now);
            self.engine.handle(Input::Pressed(id), now);
        }
    }

    fn uncommitted(&self, id: ConsumerId) -> u64 {
        let own = self.assigned.values().filter(|assigned| assigned.slot.consumer() == id);
        own.map(|assigned| assigned.frontier.uncommitted() as u64).sum()
    }

    /// As the source does: what belongs to a generation that is gone is ignored.
    pub(super) fn settle(&mut self, receipt: &Receipt) {
        if let Some(assigned) = self.assigned.get_mut(&receipt.generation) {
            assigned.frontier.settled(receipt.position);
            assigned.highest_settled = assigned.highest_settled.max(Some(receipt.position + 1));
        }
    }

    /// What this replica would commit now.
    pub(super) fn committable(&self, generation: Generation) -> Option<i64> {
        let assigned = self.assigned.get(&generation)?;
        match self.fault {
            Some(Fault::CommitHighest) => assigned.highest_settled,
            _ => assigned.frontier.committable(),
        }
    }

    /// Ends leases, as a source does before it says that a generation is lost.
    pub(super) fn forget(&mut self, generation: Generation, now: Moment) {
        if let Some(assigned) = self.assigned.remove(&generation) {
            assigned.lease.end();
        }
        self.book.forget(generation);
        self.engine.handle(Input::Lost(generation), now);
    }

    /// Whether the groups give it something.
    pub(super) fn can_own(&self) -> bool {
        !self.frozen && !self.dazed && !self.stopping
    }

    pub(super) fn attempt_started(&mut self, target: TargetId) {
        self.in_flight[target.0 as usize] += 1;
    }

    pub(super) fn attempt_ended(&mut self, target: TargetId) {
        self.in_flight[target.0 as usize] -= 1;
    }

    /// When a record at a tier's head is due next, on the clock that only goes forward.
    pub(super) fn next_due_us(&self, broker: &Broker, now: Moment) -> Option<u64> {
        let heads = self.assigned.values().filter_map(|assigned| match assigned.slot {
            Slot::Tier(tier) => broker.record(tier, assigned.position),
            Slot::Shared(_) | Slot::Ordered(_) => None,
        });
        let left = heads.map(|record| record.waiting.due_ms - now.wall_ms).filter(|left| *left > 0);
        left.min().map(|left| now.mono_us + left as u64 * 1000)
    }

    /// Bytes and number of events of one consumer that are really still in memory for what this
    /// replica holds, counted without asking the engine.
    pub(super) fn alive(&mut self, id: ConsumerId) -> Grant {
        self.events.retain(|(_, _, event)| event.strong_count() > 0);
        let held = self.events.iter().filter(|(generation, _, _)| {
            self.assigned
                .get(generation)
                .is_some_and(|assigned| assigned.leaving.is_none() && assigned.slot.consumer() == id)
        });
        held.fold(Grant::default(), |sum, (_, weight, _)| Grant {
            events: sum.events + 1,
            bytes: sum.bytes + weight,
        })
    }
}
