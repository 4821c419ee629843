//! The dead letters on one broker, as people look at them: read, redriven, purged.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::dead_letter_record::{DeadLetterRecord, LetterPosition, Redrive};
use super::{kafka, nats};
use crate::domain::SourceId;
use crate::plan::{Broker, Plan};

/// The dead letters on the broker of one source.
pub struct Archive<'a> {
    keeper: &'a str,
    broker: Keeper<'a>,
}

enum Keeper<'a> {
    Kafka(Box<kafka::Archive<'a>>),
    Nats(Box<nats::Archive<'a>>),
}

/// Which dead letters are read.
#[derive(Debug, Clone, Copy)]
pub enum Span<'a> {
    /// All that were there when the archive was opened; on JetStream only those of this target, if one is
    /// named.
    All(Option<&'a str>),
    /// The one that stands here.
    One(&'a LetterPosition),
}

/// How much of each is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Values may be left out.
    Headers,
    /// Everything.
    Whole,
}

/// What is found while reading.
#[derive(Debug)]
pub enum Found {
    /// A dead letter.
    Letter(Box<DeadLetterRecord>),
    /// Something that hookferry has not written.
    Foreign(LetterPosition),
}

/// Why a dead letter was not redriven or purged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterFault {
    /// The retry tier does not take so large a record.
    #[error("it is too large for the retry tier")]
    TooLarge,
    /// The broker did not confirm it. Nothing is known of whether it has it.
    #[error("the broker did not confirm it: {0}")]
    Unconfirmed(String),
    /// It was redriven, but that is not noted: it is still listed as pending.
    #[error(
        "it was redriven, but that could not be noted: {0}; it is still listed, and must not be redriven again"
    )]
    Unnoted(String),
}

/// The brokers on which dead letters of these sources are; all of them, if none is named.
pub fn keepers(plan: &Plan, sources: &[String]) -> BTreeSet<SourceId> {
    let named = |name: &String| sources.is_empty() || sources.contains(name);
    plan.sources.iter().filter(|source| named(&source.name)).map(|source| source.store).collect()
}

impl<'a> Archive<'a> {
    /// Looks at what is there now. Nothing is made or altered.
    ///
    /// # Errors
    /// Why the broker can't be used, with the remedy.
    pub fn open(plan: &'a Plan, keeper: SourceId) -> Result<Archive<'a>, String> {
        let source = plan.sources.get(usize::from(keeper.0)).ok_or("the plan has no such source")?;
        let mut kept = plan.sources.iter().filter(|source| source.store == keeper);
        let only_source = kept.next().filter(|_| kept.next().is_none()).map(|source| &*source.name);
        let broker = match &source.broker {
            Broker::Kafka(kafka) => {
                Keeper::Kafka(Box::new(kafka::Archive::open(plan, source, kafka, only_source)?))
            }
            Broker::Nats(nats) => {
                Keeper::Nats(Box::new(nats::Archive::open(plan, source, nats, only_source)?))
            }
        };
        Ok(Archive { keeper: &source.name, broker })
    }

    /// The name of the source on whose broker they are.
    pub fn keeper(&self) -> &'a str {
        self.keeper
    }

    /// How many records there are to read, at most.
    pub fn size(&self) -> u64 {
        match &self.broker {
            Keeper::Kafka(archive) => archive.size(),
            Keeper::Nats(archive) => archive.size(),
        }
    }

    /// Reads them one after the other, the oldest of each partition first, until `visit` has seen enough.
    /// `visit` may redrive and purge.
    ///
    /// # Errors
    /// The broker stopped answering.
    pub fn read(
        &self,
        span: Span<'_>,
        depth: Depth,
        visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<(), String> {
        match &self.broker {
            Keeper::Kafka(archive) => archive.read(span, visit),
            Keeper::Nats(archive) => archive.read(span, depth, visit),
        }
    }

    /// Hands them to the running replicas, and notes it once the broker has confirmed that. One result for
    /// each.
    pub fn redrive(&self, letters: &[Redrive]) -> Vec<Result<(), LetterFault>> {
        match &self.broker {
            Keeper::Kafka(archive) => archive.redrive(letters),
            Keeper::Nats(archive) => archive.redrive(letters),
        }
    }

    /// Gives them up, each by its position and when it was written. One result for each.
    pub fn purge(&self, letters: &[(LetterPosition, i64)]) -> Vec<Result<(), LetterFault>> {
        match &self.broker {
            Keeper::Kafka(archive) => archive.purge(letters),
            Keeper::Nats(archive) => archive.purge(letters),
        }
    }
}
