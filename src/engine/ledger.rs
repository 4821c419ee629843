use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::protocol::Grant;
use crate::domain::{
    ConsumerId, DeliveryId, Ending, Event, Failure, Generation, Moment, Receipt, RouteId, Settled, TargetId,
};

/// What is open in this process: every event that was handed over and is not settled, and the
/// deliveries that it caused. An event closes when its last obligation ends, and only an event
/// whose obligations all ended for good gives its receipt back to be acknowledged.
#[derive(Debug)]
pub(super) struct Ledger {
    events: Slab<OpenEvent>,
    deliveries: Slab<Delivery>,
    next_serial: u32,
    tenures: HashMap<Generation, Tenure>,
    open: Vec<Grant>,
    closed: Vec<Grant>,
    /// What deliveries that are held keep in memory.
    held: Vec<Grant>,
}

/// Place of an open event in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventSlot(usize);

#[derive(Debug)]
struct OpenEvent {
    event: Arc<Event>,
    receipt: Receipt,
    /// Deliveries and own dead letter that have not ended.
    obligations: u32,
    /// Of what came back from a retry tier: see [`DeadLetter::resumed_ms`](crate::domain::DeadLetter).
    resumed_ms: Option<i64>,
    /// An obligation was released unfinished: the event must come again, so it is never settled.
    released: bool,
    ending: Ending,
}

/// The time for which one partition is assigned to this process.
#[derive(Debug)]
struct Tenure {
    consumer: ConsumerId,
    open_events: usize,
    ending: bool,
}

/// One event for one target.
#[derive(Debug)]
pub(super) struct Delivery {
    serial: u32,
    pub(super) slot: EventSlot,
    pub(super) target: TargetId,
    pub(super) route: RouteId,
    opened: Moment,
    /// Attempts started.
    pub(super) attempts: u32,
    /// When the first attempt or move was made, in milliseconds since 1970-01-01 UTC.
    pub(super) first_ms: Option<i64>,
    /// How often it was moved to a retry tier.
    pub(super) moves: u32,
    /// How often in a row without an attempt in between.
    pub(super) idle_moves: u32,
    pub(super) priority: i16,
    /// For which others of its target it waits, by this number in its partition; `None` if for none.
    pub(super) link: Option<u64>,
    /// Rare, so it takes little room where there is none.
    pub(super) failure: Option<Box<Failure>>,
    pub(super) state: State,
}

/// What a delivery does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In its lane's queue.
    Ready,
    /// An attempt is being made.
    InFlight,
    /// Waits in memory for its next attempt, which is due so many milliseconds after it was opened.
    Held { due_ms: u32 },
    /// Its dead letter or its move is on its way to the store.
    Writing,
    /// Waits for earlier ones of an ordered target.
    Blocked,
}

impl Delivery {
    /// Waits in memory from now on, for so long.
    pub(super) fn hold(&mut self, wait: Duration, now: Moment) {
        let due_ms = (now.since(self.opened) + wait).as_millis();
        self.state = State::Held { due_ms: u32::try_from(due_ms).unwrap_or(u32::MAX) };
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// How long it still waits, if it is held.
    pub(super) fn left(&self, now: Moment) -> Option<Duration> {
        match self.state {
            State::Held { due_ms } => {
                Some(Duration::from_millis(due_ms.into()).saturating_sub(now.since(self.opened)))
            }
            _ => None,
        }
    }
}

/// What follows from the end of an obligation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Closed {
    /// The event is settled.
    pub(super) settled: Option<Settled>,
    /// Nothing of a generation that is being given up is open any more.
    pub(super) ended: Option<(ConsumerId, Generation)>,
}

impl Ledger {
    /// For so many consumers. `events` are expected to be open at most; growing in the middle of that would
    /// need half as much memory again.
    pub(super) fn new(consumers: usize, events: usize) -> Ledger {
        Ledger {
            events: Slab::with_capacity(events),
            deliveries: Slab::with_capacity(events),
            next_serial: 0,
            tenures: HashMap::new(),
            open: vec![Grant::default(); consumers],
            closed: vec![Grant::default(); consumers],
            held: vec![Grant::default(); consumers],
        }
    }

    /// Opens an event with one obligation, which its routing holds until all others are opened.
    pub(super) fn open_event(
        &mut self,
        event: Arc<Event>,
        receipt: Receipt,
        resumed_ms: Option<i64>,
    ) -> EventSlot {
        let tenure = self.tenures.entry(receipt.generation).or_insert(Tenure {
            consumer: receipt.consumer,
            open_events: 0,
            ending: false,
        });
        tenure.open_events += 1;
        let open = &mut self.open[usize::from(receipt.consumer.0)];
        open.events += 1;
        open.bytes += event.weight();
        EventSlot(self.events.insert(OpenEvent {
            event,
            receipt,
            obligations: 1,
            resumed_ms,
            released: false,
            ending: Ending::Done,
        }))
    }

    /// Opens a delivery of an open event.
    pub(super) fn open_delivery(
        &mut self,
        slot: EventSlot,
        target: TargetId,
        route: RouteId,
        now: Moment,
    ) -> DeliveryId {
        self.add_obligation(slot);
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let delivery = Delivery {
            serial,
            slot,
            target,
            route,
            opened: now,
            attempts: 0,
            first_ms: None,
            moves: 0,
            idle_moves: 0,
            priority: 0,
            link: None,
            failure: None,
            state: State::Ready,
        };
        DeliveryId { slot: self.deliveries.insert(delivery) as u32, serial }
    }

    pub(super) fn add_obligation(&mut self, slot: EventSlot) {
        self.events[slot.0].obligations += 1;
    }

    /// Notes that a dead letter of this event is confirmed.
    pub(super) fn dead_lettered(&mut self, slot: EventSlot) {
        self.events[slot.0].ending = Ending::DeadLettered;
    }

    pub(super) fn event(&self, slot: EventSlot) -> &Arc<Event> {
        &self.events[slot.0].event
    }

    /// The delivery, unless it has ended.
    pub(super) fn delivery(&mut self, id: DeliveryId) -> Option<&mut Delivery> {
        self.deliveries.get_mut(id.slot as usize).filter(|delivery| delivery.serial == id.serial)
    }

    /// Ends a delivery for good.
    pub(super) fn end_delivery(&mut self, id: DeliveryId) -> Closed {
        match self.delivery(id).map(|delivery| delivery.slot) {
            Some(slot) => {
                self.deliveries.remove(id.slot as usize);
                self.end_obligation(slot)
            }
            None => Closed::default(),
        }
    }

    /// Lets a delivery go unfinished; its event will come again.
    pub(super) fn release_delivery(&mut self, id: DeliveryId) -> Closed {
        if let Some(slot) = self.delivery(id).map(|delivery| delivery.slot) {
            self.events[slot.0].released = true;
        }
        self.end_delivery(id)
    }

    /// Lets an event's own obligation go unfinished.
    pub(super) fn release_obligation(&mut self, slot: EventSlot) -> Closed {
        self.events[slot.0].released = true;
        self.end_obligation(slot)
    }

    pub(super) fn end_obligation(&mut self, slot: EventSlot) -> Closed {
        let open = &mut self.events[slot.0];
        open.obligations -= 1;
        if open.obligations > 0 {
            return Closed::default();
        }
        let OpenEvent { event, receipt, released, ending, .. } = self.events.remove(slot.0);
        self.account_closed(receipt.consumer, &event);
        let ended = self.leave_tenure(receipt.generation);
        Closed { settled: (!released).then_some(Settled { receipt, ending }), ended }
    }

    fn account_closed(&mut self, consumer: ConsumerId, event: &Event) {
        let index = usize::from(consumer.0);
        self.open[index].events -= 1;
        self.open[index].bytes -= event.weight();
        self.closed[index].events += 1;
        self.closed[index].bytes += event.weight();
    }

    fn leave_tenure(&mut self, generation: Generation) -> Option<(ConsumerId, Generation)> {
        let tenure = self.tenures.get_mut(&generation)?;
        tenure.open_events -= 1;
        let consumer = tenure.consumer;
        if tenure.open_events > 0 || !tenure.ending {
            return None;
        }
        self.tenures.remove(&generation);
        Some((consumer, generation))
    }

    /// Notes that a generation is being given up. `true` if something of it is still open; if not,
    /// it is forgotten.
    pub(super) fn end_tenure(&mut self, generation: Generation) -> bool {
        match self.tenures.get_mut(&generation) {
            Some(tenure) if tenure.open_events > 0 => {
                tenure.ending = true;
                true
            }
            _ => {
                self.tenures.remove(&generation);
                false
            }
        }
    }

    /// Whether the generation of this event is being given up.
    pub(super) fn is_ending(&self, slot: EventSlot) -> bool {
        self.is_tenure_ending(self.events[slot.0].receipt.generation)
    }

    /// Whether this generation is being given up.
    pub(super) fn is_tenure_ending(&self, generation: Generation) -> bool {
        self.tenures.get(&generation).is_some_and(|tenure| tenure.ending)
    }

    /// For each of `targets` targets, when the oldest of its open deliveries was opened.
    pub(super) fn oldest(&self, targets: usize) -> Vec<Option<Moment>> {
        let mut oldest = vec![None; targets];
        for (_, delivery) in &self.deliveries {
            let oldest: &mut Option<Moment> = &mut oldest[delivery.target.0 as usize];
            *oldest = Some(oldest.map_or(delivery.opened, |earlier| earlier.min(delivery.opened)));
        }
        oldest
    }

    /// Forgets everything of a generation at once, and returns the deliveries that were open,
    /// each with its event.
    pub(super) fn forget(&mut self, generation: Generation) -> Vec<(Delivery, Arc<Event>)> {
        let lost: Vec<DeliveryId> =
            self.deliveries_where(|_, event| event.receipt.generation == generation).collect();
        let lost = (lost.into_iter())
            .map(|id| {
                let delivery = self.deliveries.remove(id.slot as usize);
                if delivery.is_held() {
                    self.unhold(delivery.slot);
                }
                let event = self.events[delivery.slot.0].event.clone();
                (delivery, event)
            })
            .collect();
        let slots: Vec<usize> = (self.events.iter())
            .filter(|(_, open)| open.receipt.generation == generation)
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            let open = self.events.remove(slot);
            self.account_closed(open.receipt.consumer, &open.event);
        }
        self.tenures.remove(&generation);
        lost
    }

    /// The deliveries of one generation that wait in memory: ready or held.
    pub(super) fn waiting(&self, generation: Option<Generation>) -> Vec<DeliveryId> {
        self.deliveries_where(|delivery, event| {
            generation.is_none_or(|generation| event.receipt.generation == generation)
                && matches!(delivery.state, State::Ready | State::Held { .. } | State::Blocked)
        })
        .collect()
    }

    fn deliveries_where(
        &self,
        wanted: impl Fn(&Delivery, &OpenEvent) -> bool,
    ) -> impl Iterator<Item = DeliveryId> {
        (self.deliveries.iter())
            .filter(move |(_, delivery)| wanted(delivery, &self.events[delivery.slot.0]))
            .map(|(slot, delivery)| DeliveryId { slot: slot as u32, serial: delivery.serial })
    }

    /// Events and bytes of one consumer that are open.
    pub(super) fn open(&self, consumer: ConsumerId) -> Grant {
        self.open[usize::from(consumer.0)]
    }

    /// Events and bytes of one consumer that have closed since the start.
    pub(super) fn closed(&self, consumer: ConsumerId) -> Grant {
        self.closed[usize::from(consumer.0)]
    }

    /// When what came back from a retry tier began.
    pub(super) fn resumed_ms(&self, slot: EventSlot) -> Option<i64> {
        self.events[slot.0].resumed_ms
    }

    /// Who read the event.
    pub(super) fn consumer(&self, slot: EventSlot) -> ConsumerId {
        self.events[slot.0].receipt.consumer
    }

    /// What deliveries that are held keep in memory.
    pub(super) fn held(&self, consumer: ConsumerId) -> Grant {
        self.held[usize::from(consumer.0)]
    }

    pub(super) fn hold(&mut self, slot: EventSlot) {
        let OpenEvent { event, receipt, .. } = &self.events[slot.0];
        let held = &mut self.held[usize::from(receipt.consumer.0)];
        held.events += 1;
        held.bytes += event.weight();
    }

    pub(super) fn unhold(&mut self, slot: EventSlot) {
        let OpenEvent { event, receipt, .. } = &self.events[slot.0];
        let held = &mut self.held[usize::from(receipt.consumer.0)];
        held.events = held.events.saturating_sub(1);
        held.bytes = held.bytes.saturating_sub(event.weight());
    }

    /// The deliveries that are held for one consumer.
    pub(super) fn held_ones(&self, consumer: ConsumerId) -> Vec<DeliveryId> {
        self.deliveries_where(|delivery, event| event.receipt.consumer == consumer && delivery.is_held())
            .collect()
    }

    /// The deliveries that are held for one target.
    pub(super) fn held_of(&self, target: TargetId) -> Vec<(DeliveryId, EventSlot)> {
        (self.deliveries.iter())
            .filter(|(_, delivery)| delivery.target == target && delivery.is_held())
            .map(|(slot, delivery)| {
                (DeliveryId { slot: slot as u32, serial: delivery.serial }, delivery.slot)
            })
            .collect()
    }

    /// Routes have other numbers from now on.
    pub(super) fn renumber_routes(&mut self, number: impl Fn(RouteId) -> RouteId) {
        for (_, delivery) in &mut self.deliveries {
            delivery.route = number(delivery.route);
        }
    }

    /// Deliveries of a target.
    #[cfg(test)]
    pub(super) fn count(&self, target: TargetId) -> i64 {
        self.deliveries.iter().filter(|(_, delivery)| delivery.target == target).count() as i64
    }

    /// Whether nothing is open.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}
