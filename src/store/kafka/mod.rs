//! Dead letters on Apache Kafka (PRODUCT.md §5), in a topic of their own.

mod dead_letters;
mod topic;
mod writer;

pub(super) use dead_letters::start;

#[cfg(test)]
mod tests;
