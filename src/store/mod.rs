//! Floor 4: durable places that we own on brokers: dead letters, and the tiers in which deliveries wait
//! for their next attempt.

mod archive;
mod census;
mod dead_letter_record;
pub mod kafka;
pub mod nats;
mod record;
mod standing;

pub use archive::{Archive, Depth, Found, LetterFault, Span, keepers};
pub use census::{Census, Pending, start_census};
pub use dead_letter_record::{DeadLetterRecord, LetterPosition, LetterState, LetterValue, Redrive};

use std::sync::Arc;

use crate::broker::StartFault;
use crate::domain::{DeadLetter, Event, Move, SourceId};
use crate::engine::{StoreFault, WriteId};
use crate::plan::{Broker, Plan};

/// What a store tells the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromStore {
    /// What became of a write. Without an error the broker has confirmed it.
    Stored(WriteId, Result<(), StoreFault>),
    /// Whether the store can be written, told when it changes; with the reason and a remedy.
    Up(Result<(), String>),
}

/// Speaks to a running store.
pub struct Handle(Box<dyn Fn(WriteId, Write) + Send>);

/// What a store writes.
#[derive(Debug)]
pub enum Write {
    /// To the dead letters.
    Letter(Box<DeadLetter>),
    /// To a retry tier.
    Move(Box<Move>),
}

impl From<DeadLetter> for Write {
    fn from(letter: DeadLetter) -> Write {
        Write::Letter(Box::new(letter))
    }
}

impl Write {
    /// The event that it is about.
    pub fn event(&self) -> &Event {
        match self {
            Write::Letter(letter) => &letter.event,
            Write::Move(moved) => &moved.event,
        }
    }
}

impl Handle {
    fn new(write: impl Fn(WriteId, Write) + Send + 'static) -> Handle {
        Handle(Box::new(write))
    }

    /// Writes a dead letter or a move; answered with [`FromStore::Stored`]. Whoever needs the answer waits for
    /// it, so there is nothing to flush at the end.
    pub fn write(&self, id: WriteId, write: impl Into<Write>) {
        (self.0)(id, write.into());
    }
}

/// Starts the store for the dead letters of `source`, on a thread of its own; on the broker that the
/// plan names for it. What is missing there is created; a broker that does not answer is tried for
/// ever, and meanwhile writes fail as unavailable. `emit` is called on the store's thread and must
/// not block for long.
///
/// # Errors
/// The client can't be created, or there is no thread for it.
pub fn start(
    plan: Arc<Plan>,
    source: SourceId,
    emit: impl Fn(Vec<FromStore>) + Send + 'static,
) -> Result<Handle, StartFault> {
    let keeper = plan.sources.get(usize::from(source.0)).map(|source| source.store);
    let Some(keeper) = keeper.and_then(|keeper| plan.sources.get(usize::from(keeper.0))) else {
        return Err(StartFault::NoSource(source.0));
    };
    match &keeper.broker {
        Broker::Kafka(kafka) => kafka::start(&plan, keeper, kafka, emit),
        Broker::Nats(nats) => nats::start(&plan, keeper, nats, emit),
    }
}
