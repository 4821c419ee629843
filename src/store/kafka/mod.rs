//! Dead letters on Apache Kafka (PRODUCT.md §5), in a topic of the source's own brokers.

mod dead_letters;
mod record;
mod topic;
mod writer;

pub use dead_letters::DeadLetters;

#[cfg(test)]
mod tests;
