//! Floor 4: where events come from. A source reads messages, extracts the parts of each event,
//! hands them over within its grant, and acknowledges what is settled.

mod event_id;
mod event_time;
mod intake;
pub mod kafka;
mod looks;
#[cfg(test)]
pub(crate) mod test_plan;
mod words;

pub use intake::{Intake, Message};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{Generation, Receipt};
use crate::engine::{Grant, Input};

/// What a source tells the pipeline. One value is one batch and one wake-up.
#[derive(Debug)]
pub enum FromSource {
    /// For the engine, in order.
    Inputs(Vec<Input>),
    /// For metrics, readiness and logs.
    Report(crate::domain::SourceId, Report),
    /// It closed its consumer after [`ToSource::Stop`], with the last commit made or failed.
    Stopped(crate::domain::SourceId, Result<(), String>),
}

/// What the pipeline tells a source.
#[derive(Debug)]
pub enum ToSource {
    /// These may be acknowledged.
    Settled(Vec<Receipt>),
    /// Nothing of this generation is open any more; a pending revocation may complete.
    Released(Generation),
    /// Read nothing more, keep polling, go on committing what is settled.
    Drain,
    /// Commit what is settled, close, answer with [`FromSource::Stopped`].
    Stop,
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
        /// How many; `None` when the partition was given up.
        messages: Option<u64>,
    },
    /// When the oldest unsettled message of a partition was stored.
    OldestUnsettled {
        /// The partition's topic.
        topic: Arc<str>,
        /// Its number.
        partition: i32,
        /// In milliseconds since 1970-01-01 UTC, to within a second; `None` if all are settled or
        /// the partition was given up.
        stored_ms: Option<i64>,
    },
    /// Messages that the broker deleted before they were read.
    Lost {
        /// The partition's topic.
        topic: Arc<str>,
        /// Its number.
        partition: i32,
        /// The first offset that is missing.
        from: i64,
        /// How many offsets are missing.
        messages: u64,
    },
    /// A commit succeeded or failed.
    Committed(Result<(), String>),
    /// Partitions were assigned or revoked.
    Rebalanced {
        /// How many this process holds now.
        assigned: usize,
    },
}

/// The grant of one source as the pipeline publishes it and the source reads it.
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
