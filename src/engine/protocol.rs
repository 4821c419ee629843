use std::sync::Arc;

use crate::domain::{
    Attempt, Attempted, ConsumerId, DeadLetter, DeadLetterReason, DeliveryId, Event, Generation, Move,
    Outcome, Receipt, ReleaseReason, Reply, RouteId, Settled, SourceId, TargetId, TargetStanding, Tier,
    Waiting,
};

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// A source read a message, within its [`Grant`].
    Arrived {
        /// The message.
        event: Arc<Event>,
        /// The right to acknowledge it.
        receipt: Receipt,
    },
    /// A delivery came back from a retry tier, within the [`Grant`] of the tiers' consumer.
    Resumed {
        /// The event, as it was first read.
        event: Arc<Event>,
        /// The right to acknowledge the tier's record.
        receipt: Receipt,
        /// What the record says of the delivery.
        waiting: Box<Waiting>,
    },
    /// A record in a retry tier can't be read. It goes to the dead letters as it is.
    Unreadable {
        /// The record itself, as a message of the source that keeps the tiers.
        event: Arc<Event>,
        /// The right to acknowledge it.
        receipt: Receipt,
        /// Why, for people.
        detail: Box<str>,
    },
    /// A sender ended an attempt.
    Attempted(Attempted),
    /// A store confirmed or refused a write.
    Stored {
        /// Which write.
        write: WriteId,
        /// What became of it.
        result: Result<(), StoreFault>,
    },
    /// A partition is about to be given up: dispatch no more of it, let what is in flight finish.
    /// Answered with [`Command::Released`] once nothing of it is open.
    Revoked(ConsumerId, Generation),
    /// A partition is gone: forget everything of it at once. Later completions are ignored.
    Lost(Generation),
    /// A consumer has had no room for a while: what waits in memory for long leaves it for a retry
    /// tier, if others are held up by it.
    Pressed(ConsumerId),
    /// The process is stopping: dispatch nothing more, release what waits, let what is in flight finish.
    Shutdown,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Command {
    /// Make an HTTP request; answer with [`Input::Attempted`].
    Attempt(Attempt),
    /// Write to the dead letters; answer with [`Input::Stored`].
    DeadLetter {
        /// To be named in the answer.
        write: WriteId,
        /// What to write.
        letter: Box<DeadLetter>,
    },
    /// Write to a retry tier; answer with [`Input::Stored`].
    Move {
        /// To be named in the answer.
        write: WriteId,
        /// What to write.
        moved: Box<Move>,
    },
    /// Everything that this receipt's event caused has ended: it may be acknowledged.
    Settle(Settled),
    /// Nothing of this generation is open any more.
    Released(ConsumerId, Generation),
    /// Something to count or log.
    Note(Note),
}

/// Names one write to a store. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// Why a store did not take a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreFault {
    /// It can't be reached, or can't write now. The write is made again later.
    Unavailable(Box<str>),
    /// It refuses the record for its size, for good.
    TooLarge,
}

/// What happened, for metrics and logs.
#[derive(Debug, Clone)]
pub enum Note {
    /// An event matched at least one route.
    Routed(SourceId),
    /// No route took an event.
    Unrouted(SourceId),
    /// A message without a value was ignored or written to the dead letters.
    Tombstone(SourceId),
    /// An event is poisoned for at least one route and none took it, or it is oversized.
    Poisoned(SourceId),
    /// The first event of a type that fits none of those that are declared (`event_types.unknown: warn`).
    Misfit {
        /// It.
        event: Arc<Event>,
        /// Why it does not.
        why: Box<str>,
    },
    /// A delivery was opened.
    Opened(TargetId),
    /// A delivery reached a terminal outcome.
    Ended {
        /// Whose.
        target: TargetId,
        /// The route that named the target.
        route: RouteId,
        /// How.
        outcome: Outcome,
        /// The event.
        event: Arc<Event>,
        /// Attempts made.
        attempts: u32,
        /// The last answer's status, if the receiver answered.
        status: Option<u16>,
        /// The last fault, for people, if it was one.
        error: Option<Box<str>>,
    },
    /// A delivery was moved to a retry tier, and the broker has confirmed it.
    Moved {
        /// Whose.
        target: TargetId,
        /// Where to.
        tier: Tier,
    },
    /// A delivery came back from a retry tier.
    Resumed {
        /// Whose.
        target: TargetId,
        /// Where from.
        tier: Tier,
    },
    /// A target stands otherwise than before.
    Stands {
        /// Which.
        target: TargetId,
        /// How.
        standing: TargetStanding,
    },
    /// A delivery that is ready has to wait for the rate of its target.
    RateLimited(TargetId),
    /// An event's own dead letter is confirmed.
    EventDeadLettered {
        /// The event.
        event: Arc<Event>,
        /// Why.
        reason: DeadLetterReason,
    },
    /// An attempt failed and the delivery waits for the next one.
    Retrying {
        /// Which delivery.
        delivery: DeliveryId,
        /// Whose.
        target: TargetId,
        /// The route that named the target.
        route: RouteId,
        /// The event.
        event: Arc<Event>,
        /// Attempts made so far.
        attempts: u32,
        /// What the last attempt came to.
        reply: Reply,
        /// How long it waits, in milliseconds.
        wait_ms: u64,
    },
    /// A delivery left the process unfinished.
    Released {
        /// Whose.
        target: TargetId,
        /// The route that named the target.
        route: RouteId,
        /// The event.
        event: Arc<Event>,
        /// Why.
        reason: ReleaseReason,
    },
}

/// How much a source may hand over, counted from the start of the process. It only grows: it is
/// what has been settled or released so far plus the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    /// Events in total.
    pub events: u64,
    /// Bytes ([`Event::weight`]) in total.
    pub bytes: u64,
}
