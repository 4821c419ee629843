use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::broker::{Broker, Message};
use super::world::Fault;
use crate::domain::{ConsumerId, Event, Generation, Lease, Moment, Receipt, TargetId};
use crate::engine::{Engine, Grant, Input, Sabotage};
use crate::plan::Plan;
use crate::source::kafka::Frontier;

/// How long a lease outlives the last poll: less than the broker's session.
const LEASE: Duration = Duration::from_secs(7);

/// One process: an engine, and what a source keeps for each assigned partition.
pub(super) struct Replica {
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
    handed_over: Grant,
    /// How many events may be received and not committed.
    window: u64,
    /// Attempts that this process is making, by target.
    pub(super) in_flight: Vec<usize>,
    events: Vec<(Generation, u64, Weak<Event>)>,
    fault: Option<Fault>,
}

pub(super) struct Assigned {
    pub(super) partition: usize,
    pub(super) frontier: Frontier,
    pub(super) highest_settled: Option<i64>,
    /// The next offset to read.
    pub(super) position: i64,
    /// Being given up: by then at the latest.
    pub(super) leaving: Option<Moment>,
    lease: Arc<Lease>,
}

impl Replica {
    pub(super) fn new(plan: &Arc<Plan>, life: u32, seed: u64, fault: Option<Fault>) -> Replica {
        let mut engine = Engine::new(plan.clone(), seed);
        engine.sabotage = match fault {
            Some(Fault::SkipDeadLetterConfirmation) => Some(Sabotage::SkipDeadLetterConfirmation),
            Some(Fault::IgnoreGeneration) => Some(Sabotage::IgnoreGeneration),
            Some(Fault::LoseHeldRetry) => Some(Sabotage::LoseHeldRetry),
            Some(Fault::DiscardEarly) => Some(Sabotage::DiscardEarly),
            Some(Fault::CommitHighest | Fault::IgnoreLease | Fault::WriteWithoutLease) | None => None,
        };
        Replica {
            engine,
            assigned: BTreeMap::new(),
            life,
            frozen: false,
            dazed: false,
            polled_us: Arc::new(AtomicU64::new(0)),
            stopping: false,
            handed_over: Grant::default(),
            window: plan.limits.window.events,
            in_flight: vec![0; plan.targets.len()],
            events: Vec::new(),
            fault,
        }
    }

    pub(super) fn assign(&mut self, generation: Generation, partition: usize, committed: i64) {
        let assigned = Assigned {
            partition,
            frontier: Frontier::new(committed),
            highest_settled: None,
            position: committed,
            leaving: None,
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
    pub(super) fn read(&mut self, generation: Generation, broker: &Broker, now: Moment) -> bool {
        let credit = self.engine.credit(ConsumerId(0));
        let is_full = self.uncommitted() >= self.window;
        let Some(assigned) = self.assigned.get_mut(&generation) else { return false };
        let Some(message) = broker.read(assigned.partition, assigned.position) else { return false };
        if assigned.leaving.is_some() || self.stopping || self.dazed {
            return false;
        }
        let event = Message::event(message, assigned.partition, generation, assigned.lease.clone());
        let after =
            Grant { events: self.handed_over.events + 1, bytes: self.handed_over.bytes + event.weight() };
        if after.events > credit.events || after.bytes > credit.bytes || is_full {
            return false;
        }
        self.handed_over = after;
        assigned.position = message.offset + 1;
        assigned.frontier.received(message.offset, 0);
        self.events.push((generation, event.weight(), Arc::downgrade(&event)));
        let receipt = Receipt { consumer: ConsumerId(0), generation, position: message.offset };
        self.engine.handle(Input::Arrived { event, receipt }, now);
        true
    }

    fn uncommitted(&self) -> u64 {
        self.assigned.values().map(|assigned| assigned.frontier.uncommitted() as u64).sum()
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
        self.engine.handle(Input::Lost(generation), now);
    }

    /// Whether the group gives it partitions.
    pub(super) fn can_own(&self) -> bool {
        !self.frozen && !self.dazed && !self.stopping
    }

    pub(super) fn attempt_started(&mut self, target: TargetId) {
        self.in_flight[target.0 as usize] += 1;
    }

    pub(super) fn attempt_ended(&mut self, target: TargetId) {
        self.in_flight[target.0 as usize] -= 1;
    }

    /// Bytes and number of events that are really still in memory for partitions that this
    /// replica holds, counted without asking the engine.
    pub(super) fn alive(&mut self) -> Grant {
        self.events.retain(|(_, _, event)| event.strong_count() > 0);
        let held = self.events.iter().filter(|(generation, _, _)| {
            self.assigned.get(generation).is_some_and(|assigned| assigned.leaving.is_none())
        });
        held.fold(Grant::default(), |sum, (_, weight, _)| Grant {
            events: sum.events + 1,
            bytes: sum.bytes + weight,
        })
    }
}
