//! Apache Kafka as a source: a member of a consumer group on a thread of its own, a probe for
//! everything that blocks, and the frontier that says what may be committed. The shared group of a source,
//! the own groups of its ordered targets and the one that reads the retry tiers differ in what they
//! subscribe to, in what a record is to them (`reading`) and in where they start.

mod commit_queue;
mod consumer;
mod context;
mod first_start;
mod frontier;
mod last;
mod membership;
mod native;
mod ordered;
mod partition;
mod probe;
mod read_ahead;
mod reading;
mod rebalance;
mod record;
mod topics;
mod unread;
mod vanished;
mod worker;

pub(in crate::source) use consumer::start;
pub use frontier::Frontier;
pub(in crate::source) use last::last_messages;

#[cfg(test)]
mod tests;
