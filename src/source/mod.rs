//! Floor 4: where events come from. A source reads messages, extracts the parts of each event,
//! hands them over within its grant, and acknowledges what is settled.

mod allowance;
mod event_id;
mod event_time;
mod hand;
mod intake;
pub mod kafka;
mod last;
mod looks;
pub mod nats;
mod outbox;
mod pressure;
mod sample;
#[cfg(test)]
pub(crate) mod test_plan;
mod tier_intake;
mod words;

use outbox::Outbox;

pub use intake::{Intake, Message, Namespace};
pub use last::{LastMessage, last_messages};
pub use sample::Sample;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::StartFault;
use crate::domain::{ConsumerId, Generation, Settled, Tier};
use crate::engine::{Grant, Input};
use crate::plan::{Broker, Plan};

/// What a source tells the pipeline. One value is one batch and one wake-up.
#[derive(Debug)]
pub enum FromSource {
    /// For the engine, in order.
    Inputs(Vec<Input>),
    /// For metrics, readiness and logs.
    Report(ConsumerId, Report),
    /// It closed its consumer after [`ToSource::Stop`], with the last commit made or failed.
    Stopped(ConsumerId, Result<(), String>),
}

/// What the pipeline tells a source.
#[derive(Debug)]
pub enum ToSource {
    /// These may be acknowledged.
    Settled(Vec<Settled>),
    /// Nothing of this generation is open any more; a pending revocation may complete.
    Released(Generation),
    /// Find in messages what this plan looks at, which follows the present one.
    Adopt(Arc<Plan>),
    /// Read nothing more, keep polling, go on committing what is settled.
    Drain,
    /// Commit what is settled, close, answer with [`FromSource::Stopped`].
    Stop,
}

/// Speaks to a running source.
pub struct Handle(Box<dyn Fn(ToSource) + Send>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    fn new(tell: impl Fn(ToSource) + Send + 'static) -> Handle {
        Handle(Box::new(tell))
    }

    /// Tells the source something. After [`FromSource::Stopped`] it is not heard any more.
    pub fn send(&self, message: ToSource) {
        (self.0)(message);
    }
}

/// Starts `consumer` of the plan, on a thread of its own: waits for its broker for as long as
/// it takes, and hands events to `emit` within `grant`. `emit` is called on the source's thread and
/// must not block for long.
///
/// # Errors
/// The broker's clients can't be created, or there is no thread for them.
pub fn start(
    plan: Arc<Plan>,
    consumer: ConsumerId,
    grant: Arc<SharedGrant>,
    emit: impl Fn(FromSource) + Send + 'static,
) -> Result<Handle, StartFault> {
    let Some(reader) = plan.consumers.get(usize::from(consumer.0)).copied() else {
        return Err(StartFault::NoSource(consumer.0));
    };
    let Some(settings) = plan.sources.get(usize::from(reader.source.0)) else {
        return Err(StartFault::NoSource(reader.source.0));
    };
    let outbox = Outbox::new(consumer, &settings.name, emit);
    match &settings.broker {
        Broker::Kafka(kafka) => kafka::start(&plan, reader, settings, kafka, grant, outbox),
        Broker::Nats(nats) => nats::start(&plan, reader, settings, nats, grant, outbox),
    }
}

/// A number for what a source holds from now on. Unique in the process, over all sources.
fn next_generation() -> Generation {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Generation(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A fact about a source.
#[derive(Debug, Clone)]
pub enum Report {
    /// Whether it joined its group (also with no partition), and why not.
    Ready(Result<(), String>),
    /// A partition's backlog, in messages from the oldest unsettled one on.
    Lag {
        /// The partition's topic.
        topic: Arc<str>,
        /// Its number.
        partition: i32,
        /// How many; `None` when the partition was given up, and nothing more is said of it.
        messages: Option<u64>,
    },
    /// When the oldest unsettled message of a partition was stored.
    OldestUnsettled {
        /// The partition's topic.
        topic: Arc<str>,
        /// Its number.
        partition: i32,
        /// In milliseconds since 1970-01-01 UTC, to within a second; `None` if all are settled.
        stored_ms: Option<i64>,
    },
    /// How many deliveries wait in this process's part of a retry tier.
    Waiting {
        /// Which tier.
        tier: Tier,
        /// How many.
        deliveries: u64,
    },
    /// Messages that went before they were read.
    Lost {
        /// How they went.
        loss: Loss,
        /// The partition's topic.
        topic: Arc<str>,
        /// Its number.
        partition: i32,
        /// The first offset that is missing.
        from: i64,
        /// How many messages are missing, as far as it can be known.
        messages: u64,
    },
    /// So many messages were dropped before they were read, because they came too fast (core NATS).
    Dropped(u64),
    /// So many messages came again although they were not settled (JetStream).
    Redelivered(u64),
    /// A commit succeeded or failed; on JetStream: acknowledgements were sent.
    Committed(Result<(), String>),
    /// Partitions were assigned or revoked.
    Rebalanced {
        /// How many this process holds now.
        assigned: usize,
    },
}

/// How messages went that were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The broker deleted the oldest of a log, which is the same log still.
    Retention,
    /// The log itself went: it was deleted, made anew, or cut off before where we were.
    Deleted,
}

/// The grant of one consumer as the pipeline publishes it and the source reads it.
#[derive(Debug, Default)]
pub struct SharedGrant {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl SharedGrant {
    /// Makes a newer grant known.
    pub fn publish(&self, grant: Grant) {
        self.bytes.store(grant.bytes, Ordering::Release);
        self.events.store(grant.events, Ordering::Release);
    }

    /// The newest grant.
    pub fn read(&self) -> Grant {
        Grant { events: self.events.load(Ordering::Acquire), bytes: self.bytes.load(Ordering::Acquire) }
    }
}
