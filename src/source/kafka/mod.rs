//! Apache Kafka as a source: a member of a consumer group on a thread of its own, a probe for
//! everything that blocks, and the frontier that says what may be committed.

mod commit_queue;
mod consumer;
mod context;
mod first_start;
mod frontier;
mod membership;
mod native;
mod partition;
mod probe;
mod rebalance;
mod record;
mod worker;

pub(in crate::source) use consumer::start;
pub use frontier::Frontier;

#[cfg(test)]
mod tests;
