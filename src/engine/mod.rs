//! Floor 3: the delivery logic, pure and synchronous. Time and randomness come in as arguments,
//! effects go out as values, so all of it runs in tests without sockets, threads or sleeping.
//!
//! One event's way: [`Input::Arrived`] → [`routing`] names its deliveries → each waits in the
//! `lane` of its target for a permit → [`Command::Attempt`] → [`Input::Attempted`] → `retry`
//! decides → delivered; or another attempt after a wait in memory or in a retry tier
//! ([`Command::Move`], [`Input::Resumed`]); or [`Command::DeadLetter`] → `ledger`: when the last
//! obligation of the event has ended, [`Command::Settle`].
//!
//! | noun | file |
//! |---|---|
//! | what is open, and for whom | `ledger` |
//! | one target: its permits, and whether it may send | `lane` |
//! | its queue: new and retried, priorities | `queue` |
//! | its order | `chains` |
//! | its rate | `limiter` |
//! | whether it is down | `breaker` |
//! | how fast it is | `meter` |
//! | what records call it | `names` |
//! | the permits of the process, in turn | `permits` |
//! | when the next attempt is due | `retry` |
//! | what is due at some time | `timers` |
//! | letters and moves until they are confirmed | `writes` |
//!
//! And what happens to them: `arrival`, `attempts`, `waits`, `endings`, `departure`; with another plan:
//! `succession`.
//!
//! Invariants: a receipt is given back at most once, and only when every delivery of its event has
//! ended for good; whatever belongs to a generation that is gone changes nothing; a permit is held
//! for exactly as long as an attempt is in the hands of a sender.

mod arrival;
mod attempts;
mod breaker;
mod chains;
mod departure;
mod endings;
mod lane;
mod ledger;
mod limiter;
mod meter;
mod names;
mod permits;
mod protocol;
mod queue;
mod retry;
/// Which routes take an event.
pub mod routing;
mod succession;
#[cfg(test)]
mod tests;
mod timers;
mod waits;
mod writes;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

pub use lane::LaneState;
pub use protocol::{Command, Grant, Input, Note, StoreFault, WriteId};

use crate::domain::{ConsumerId, Moment, TargetId};
use crate::plan::{Plan, Window};
use lane::Lane;
use ledger::Ledger;
use names::Names;
use permits::Permits;
use routing::{Matches, Routing};
use timers::{Timer, Timers};
use writes::Writes;

/// The delivery logic of one process.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    pub(crate) names: Names,
    routing: Routing,
    matches: Matches,
    ledger: Ledger,
    lanes: Vec<Lane>,
    /// How much of each consumer may be open.
    windows: Vec<Window>,
    /// For each consumer, the targets without order that its events may go to.
    reach: Vec<Vec<TargetId>>,
    permits: Permits,
    writes: Writes,
    timers: Timers,
    commands: VecDeque<Command>,
    random: fastrand::Rng,
    /// Types that were warned of: of each the first event that is none of those that are declared.
    misfits: HashSet<Arc<str>>,
    life: Life,
    #[cfg(test)]
    pub(crate) sabotage: Option<Sabotage>,
}

/// Of so many failed attempts of a delivery it is told what came of each.
const HISTORY: usize = 20;

/// Of so many types a warning is given that an event fits none that is declared.
const MOST_MISFITS: usize = 1_000;

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
    /// A move counts when it is sent, not when it is confirmed.
    SkipMoveConfirmation,
    /// Deliveries of an ordered target do not wait for each other.
    IgnoreOrder,
    /// Attempts are made although the rate does not allow them.
    IgnoreRate,
    /// A delivery that comes back from a tier has made no attempt.
    ForgetAttempts,
    /// Nothing is moved to a tier, however long it waits.
    KeepAll,
    /// What comes back from a tier is settled at once.
    LoseResumed,
    /// A record of an unknown target is given up at once.
    ForgetUnknown,
    /// A record of an unknown target is never given up.
    KeepUnknown,
    /// A target that is switched off gets attempts.
    IgnoreDisabled,
    /// First attempts wait while any target is down.
    WaitTogether,
    /// A move is written twice.
    MoveTwice,
    /// What is ready for a target that a reload removed is forgotten.
    LoseRemoved,
}

impl Engine {
    /// An engine with nothing open. `seed` decides all jitter.
    pub fn new(plan: Arc<Plan>, seed: u64) -> Engine {
        Engine {
            names: Names::new(&plan),
            routing: Routing::new(&plan),
            matches: Matches::default(),
            ledger: Ledger::new(plan.consumers.len(), expected_open(&plan)),
            lanes: plan.targets.iter().map(|target| Lane::new(target)).collect(),
            windows: (0..plan.consumers.len() as u16).map(|index| plan.window(ConsumerId(index))).collect(),
            reach: waits::reach(&plan),
            // One that is switched off never wants a permit, so none is kept for it.
            permits: Permits::new(
                plan.limits.in_flight,
                plan.targets.iter().filter(|target| target.enabled).count(),
            ),
            writes: Writes::default(),
            timers: Timers::default(),
            commands: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
            misfits: HashSet::new(),
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
            Input::Resumed { event, receipt, waiting } => self.resumed(event, receipt, *waiting, now),
            Input::Unreadable { event, receipt, detail } => self.unreadable(event, receipt, &detail),
            Input::Attempted(attempted) => self.attempted(attempted, now),
            Input::Stored { write, result } => self.stored(write, result, now),
            Input::Revoked(consumer, generation) => self.revoked(consumer, generation),
            Input::Lost(generation) => self.lost(generation),
            Input::Pressed(consumer) => self.pressed(consumer, now),
            Input::Shutdown => self.shut_down(),
        }
    }

    /// Lets time pass: what has become due happens.
    pub fn advance(&mut self, now: Moment) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Retry(delivery) => self.retry_due(delivery, now),
                Timer::Write(write) => self.write_again(write, now),
                Timer::Lane(target) => {
                    self.lane(target).wake();
                    self.offer(target, now);
                }
                Timer::Shelve(target) => self.shelve_lane(target, now),
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
        let window = self.window(consumer);
        Grant {
            events: closed.events.saturating_add(window.events),
            bytes: closed.bytes.saturating_add(window.bytes),
        }
    }

    /// How much of one consumer may be open.
    fn window(&self, consumer: ConsumerId) -> Window {
        self.windows.get(usize::from(consumer.0)).copied().unwrap_or(self.plan.limits.window)
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
    pub fn lanes(&self, now: Moment) -> Vec<LaneState> {
        let oldest = self.ledger.oldest(self.lanes.len());
        self.lanes.iter().zip(oldest).map(|(lane, oldest)| lane.state(oldest, now)).collect()
    }

    /// Deliveries of a target that are open.
    #[cfg(test)]
    pub(crate) fn open_deliveries(&self, target: usize) -> i64 {
        self.ledger.count(TargetId(target as u32))
    }

    fn lane(&mut self, target: TargetId) -> &mut Lane {
        &mut self.lanes[target.0 as usize]
    }

    fn note(&mut self, note: Note) {
        self.commands.push_back(Command::Note(note));
    }
}

/// How many events the windows of all consumers let be open, as far as that is not beyond reason. Memory
/// that is never used costs nothing.
fn expected_open(plan: &Plan) -> usize {
    let window = usize::try_from(plan.limits.window.events).unwrap_or(usize::MAX);
    window.saturating_mul(plan.sources.len()).min(MOST_EXPECTED)
}
