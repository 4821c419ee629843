//! Dead letters on Apache Kafka (PRODUCT.md §5), in a topic of their own.

mod archive;
mod dead_letters;
mod letter_states;
mod topic;
mod writer;

pub(super) use archive::Archive;
pub(super) use dead_letters::start;

#[cfg(test)]
mod tests;
