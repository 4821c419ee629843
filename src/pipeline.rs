//! Floor 5: the loop. It takes in what sources, senders and stores have to say, asks the engine,
//! and carries out what the engine commands, in batches: one wake-up of each neighbour a turn.
//!
//! The order of draining stands here too (DESIGN.md §4.8): not ready → sources hand over nothing
//! more and waiting deliveries go → attempts and writes in flight end → sources commit and close.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::domain::{Attempt, Attempted, ConsumerId, Moment, Settled, SourceId, TargetId};
use crate::engine::{Command, Engine, Input, Note};
use crate::observe::{Health, Journal, Metrics, TargetBoard};
use crate::plan::Plan;
use crate::sender::{Contacts, Senders};
use crate::source::{self, FromSource, Intake, Namespace, Report, SharedGrant, ToSource};
use crate::store::{self, FromStore, Write};

/// What reaches the loop.
#[derive(Debug)]
pub enum Message {
    /// From a source.
    Source(FromSource),
    /// From a sender thread: what has ended.
    Attempted(Vec<Attempted>),
    /// From the store of this source.
    Store(SourceId, Vec<FromStore>),
    /// Go over to another plan.
    Adopt(Box<Adoption>),
    /// Drain and end.
    Stop,
    /// Of a drain: end at once, without what is in flight.
    Hurry,
}

/// Another plan, to go over to while everything goes on.
#[derive(Debug)]
pub struct Adoption {
    /// It follows the present one ([`plan::succeed`](crate::plan::succeed)).
    pub plan: Arc<Plan>,
    /// How what it changes is reached.
    pub contacts: Contacts,
    /// Is told when it is in force; dropped, if the process is stopping.
    pub done: SyncSender<()>,
}

/// Sees every note of the engine, in order. It must not block.
pub type Observer = Box<dyn FnMut(&Note) + Send>;

/// What the loop connects. Sources and stores stand in the plan's order.
pub struct Parts {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The delivery logic.
    pub engine: Engine,
    /// Where everything arrives.
    pub inbox: Receiver<Message>,
    /// One for each consumer of the plan.
    pub consumers: Vec<ConsumerLink>,
    /// One for each source.
    pub stores: Vec<store::Handle>,
    /// Makes attempts.
    pub senders: Senders,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// For the probes.
    pub health: Arc<Health>,
    /// How targets stand, for the API.
    pub targets: Arc<TargetBoard>,
    /// For whoever wants to watch.
    pub observer: Observer,
}

/// A consumer as the loop sees it.
pub struct ConsumerLink {
    /// Takes what the loop has to say.
    pub handle: source::Handle,
    /// How much it may hand over.
    pub grant: Arc<SharedGrant>,
}

/// How the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight ended, and every source made its last commit.
    InTime,
    /// The deadline passed first. Nothing is lost: what is not committed comes again.
    Late,
}

/// The loop.
pub struct Pipeline {
    parts: Parts,
    phase: Phase,
    attempts: Vec<Attempt>,
    settled: Vec<Vec<Settled>>,
    observed: Instant,
    journal: Journal,
}

enum Phase {
    Running,
    /// Waits for what is in flight.
    Draining {
        until: Instant,
        end: Instant,
    },
    /// Waits for the sources' last commits.
    Closing {
        end: Instant,
        open: usize,
        drained: Drained,
    },
}

/// Messages taken in before the neighbours are told of the results.
const TURN: usize = 64;
/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// Of the shutdown deadline, what is kept for the last commit and for closing.
const CLOSING_SHARE: u32 = 5;
/// So long the sources have for their last commits once somebody is in a hurry.
const HURRIED_CLOSING: Duration = Duration::from_secs(2);

impl Pipeline {
    /// A loop that has not started.
    pub fn new(parts: Parts) -> Pipeline {
        let settled = parts.consumers.iter().map(|_| Vec::new()).collect();
        Pipeline {
            parts,
            phase: Phase::Running,
            attempts: Vec::new(),
            settled,
            observed: Instant::now(),
            journal: Journal::default(),
        }
    }

    /// Turns until it was told to stop and has drained.
    pub fn run(mut self) -> Drained {
        self.publish_grants();
        loop {
            self.wait();
            let now = Moment::now();
            self.parts.health.beat(now);
            self.parts.engine.advance(now);
            self.carry_out(now);
            self.tell_neighbours();
            self.observe();
            if let Some(drained) = self.next_phase() {
                self.journal.conclude(&self.parts.plan, Moment::now());
                let Parts { inbox, senders, .. } = self.parts;
                // Nobody reads it any more, and a thread that waits for room in it would not end.
                drop(inbox);
                senders.stop(Instant::now());
                return drained;
            }
        }
    }

    /// Takes in what is there; waits for the first message until something else is due.
    fn wait(&mut self) {
        let now = Moment::now();
        let due = self.parts.engine.next_deadline_us().map_or(OBSERVE_EVERY, |due| {
            Duration::from_micros(due.saturating_sub(now.mono_us)).min(OBSERVE_EVERY)
        });
        match self.parts.inbox.recv_timeout(due) {
            Ok(message) => self.take_in(message),
            Err(RecvTimeoutError::Timeout) => return,
            // Every sender of messages is gone, so nothing can happen any more.
            Err(RecvTimeoutError::Disconnected) => return self.stop(),
        }
        for _ in 1..TURN {
            let Ok(message) = self.parts.inbox.try_recv() else { return };
            self.take_in(message);
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Source(FromSource::Inputs(inputs)) => {
                for mut input in inputs {
                    self.complete(&mut input);
                    self.handle(input);
                }
            }
            Message::Source(FromSource::Report(consumer, report)) => self.reported(consumer, &report),
            Message::Source(FromSource::Stopped(consumer, result)) => self.consumer_stopped(consumer, result),
            Message::Attempted(batch) => self.attempted(batch),
            Message::Store(source, batch) => {
                for fact in batch {
                    self.store_said(source, fact);
                }
            }
            Message::Adopt(adoption) => self.adopt(*adoption),
            Message::Stop => self.stop(),
            Message::Hurry => self.hurry(),
        }
    }

    /// Goes over to another plan between two messages, so that each is handled by one plan as a whole.
    fn adopt(&mut self, adoption: Adoption) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let Adoption { plan, contacts, done } = adoption;
        let now = Moment::now();
        self.parts.senders.adopt(contacts);
        self.parts.metrics.adopt(&plan, now);
        self.parts.engine.adopt(plan.clone(), now);
        for link in &self.parts.consumers {
            link.handle.send(ToSource::Adopt(plan.clone()));
        }
        self.parts.plan = plan;
        self.carry_out(now);
        self.post_lanes(now);
        // Who asked may have gone.
        let _ = done.send(());
    }

    /// What a source read by the plan before is looked into again for what this one looks at: fields keep
    /// their places from plan to plan, so that those that are missing are the last.
    fn complete(&self, input: &mut Input) {
        let (Input::Arrived { event, .. } | Input::Resumed { event, .. }) = input else { return };
        let plan = &self.parts.plan;
        if event.fields.len() >= plan.fields.len() {
            return;
        }
        let source = plan.sources.get(usize::from(event.source.0));
        // It comes straight from its source, which keeps none.
        if let (Some(source), Some(event)) = (source, Arc::get_mut(event)) {
            Intake::new(plan, source, event.source, Namespace::Nats).without_limit().find_fields(event);
        }
    }

    fn attempted(&mut self, batch: Vec<Attempted>) {
        for attempted in batch {
            self.parts.metrics.attempted(&attempted);
            self.handle(Input::Attempted(attempted));
        }
    }

    fn handle(&mut self, input: Input) {
        let now = Moment::now();
        self.parts.engine.handle(input, now);
        self.carry_out(now);
    }

    fn reported(&mut self, consumer: ConsumerId, report: &Report) {
        self.parts.metrics.report(consumer, report, Moment::now());
        if let Report::Ready(state) = report {
            self.parts.health.consumer_ready(consumer, state.clone());
        }
    }

    fn store_said(&mut self, source: SourceId, fact: FromStore) {
        match fact {
            FromStore::Stored(write, result) => self.handle(Input::Stored { write, result }),
            FromStore::Up(state) => {
                self.parts.metrics.store_up(source, state.is_ok());
                self.parts.health.store_ready(source, state);
            }
        }
    }

    fn carry_out(&mut self, now: Moment) {
        while let Some(command) = self.parts.engine.next_command(now) {
            match command {
                Command::Attempt(attempt) => self.attempts.push(attempt),
                Command::DeadLetter { write, letter } => {
                    let source = usize::from(letter.event.source.0);
                    self.parts.stores[source].write(write, Write::Letter(letter));
                }
                Command::Move { write, moved } => {
                    let source = usize::from(moved.event.source.0);
                    self.parts.stores[source].write(write, Write::Move(moved));
                }
                Command::Settle(settled) => {
                    self.settled[usize::from(settled.receipt.consumer.0)].push(settled);
                }
                Command::Released(consumer, generation) => {
                    let consumer = usize::from(consumer.0);
                    // What is settled must be known before the partition goes, to be committed.
                    self.tell_settled(consumer);
                    self.parts.consumers[consumer].handle.send(ToSource::Released(generation));
                }
                Command::Note(note) => {
                    self.parts.metrics.note(&note, now);
                    self.journal.note(&self.parts.plan, &note, now);
                    (self.parts.observer)(&note);
                }
            }
        }
    }

    fn tell_neighbours(&mut self) {
        // What a sender refuses gives its permits back, and with them others may go out.
        while !self.attempts.is_empty() {
            let refused = self.parts.senders.submit(std::mem::take(&mut self.attempts));
            self.attempted(refused);
        }
        for consumer in 0..self.settled.len() {
            self.tell_settled(consumer);
        }
        self.publish_grants();
    }

    fn tell_settled(&mut self, consumer: usize) {
        if !self.settled[consumer].is_empty() {
            let settled = std::mem::take(&mut self.settled[consumer]);
            self.parts.consumers[consumer].handle.send(ToSource::Settled(settled));
        }
    }

    fn publish_grants(&self) {
        for (index, link) in self.parts.consumers.iter().enumerate() {
            link.grant.publish(self.parts.engine.credit(ConsumerId(index as u16)));
        }
    }

    fn observe(&mut self) {
        if self.observed.elapsed() < OBSERVE_EVERY {
            return;
        }
        self.observed = Instant::now();
        self.post_lanes(Moment::now());
    }

    fn post_lanes(&mut self, now: Moment) {
        let lanes = self.parts.engine.lanes(now);
        for (index, lane) in lanes.iter().enumerate() {
            self.parts.metrics.lane(TargetId(index as u32), lane, now);
        }
        self.parts.targets.post(&self.parts.plan, &lanes, now);
        self.journal.sum_up(&self.parts.plan, now);
    }

    fn stop(&mut self) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        let deadline = self.parts.plan.shutdown.deadline;
        let now = Instant::now();
        tracing::info!(deadline_s = deadline.as_secs(), "stopping: what is in flight may finish");
        self.phase =
            Phase::Draining { until: now + deadline - deadline / CLOSING_SHARE, end: now + deadline };
        self.parts.health.drain();
        for link in &self.parts.consumers {
            link.handle.send(ToSource::Drain);
        }
        self.handle(Input::Shutdown);
    }

    /// Waits no longer for what is in flight; only for the last commits, and for those not long.
    fn hurry(&mut self) {
        self.stop();
        let soon = Instant::now() + HURRIED_CLOSING;
        match &mut self.phase {
            Phase::Draining { until, end } => (*until, *end) = (Instant::now(), soon.min(*end)),
            Phase::Closing { end, .. } => *end = soon.min(*end),
            Phase::Running => {}
        }
    }

    /// Moves on through the phases of stopping; the outcome, once all of them are over.
    fn next_phase(&mut self) -> Option<Drained> {
        let now = Instant::now();
        match self.phase {
            Phase::Draining { until, end } if self.parts.engine.is_idle() || now >= until => {
                let idle = self.parts.engine.is_idle();
                if !idle {
                    tracing::warn!(
                        "attempts are still in flight at the deadline; their events will come again"
                    );
                }
                for link in &self.parts.consumers {
                    link.handle.send(ToSource::Stop);
                }
                let drained = if idle { Drained::InTime } else { Drained::Late };
                self.phase = Phase::Closing { end, open: self.parts.consumers.len(), drained };
                None
            }
            Phase::Closing { open: 0, drained, .. } => Some(drained),
            Phase::Closing { end, .. } if now >= end => {
                tracing::warn!(
                    "a source has not closed within the deadline; what it did not commit will come again"
                );
                Some(Drained::Late)
            }
            Phase::Running | Phase::Draining { .. } | Phase::Closing { .. } => None,
        }
    }

    fn consumer_stopped(&mut self, consumer: ConsumerId, result: Result<(), String>) {
        let plan = &self.parts.plan;
        let consumer = plan.consumers[usize::from(consumer.0)];
        let name = &plan.sources[usize::from(consumer.source.0)].name;
        if let Err(fault) = &result {
            tracing::warn!(source = name, consumer = plan.consumer_name(&consumer), %fault, "the last commit failed; what it covered will come again");
        }
        if let Phase::Closing { open, drained, .. } = &mut self.phase {
            *open = open.saturating_sub(1);
            if result.is_err() {
                *drained = Drained::Late;
            }
        }
    }
}
