//! Dead letters and retry tiers on Apache Kafka (PRODUCT.md §5), in topics of their own.

mod archive;
mod census;
mod letter_states;
mod start;
mod topics;
mod writer;

pub(super) use archive::Archive;
pub(super) use census::start_census;
pub(super) use start::start;

#[cfg(test)]
mod tests;
