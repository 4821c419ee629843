//! Dead letters and retry tiers on Apache Kafka (PRODUCT.md §5), in topics of their own.

mod inspector;
mod start;
mod topics;
mod writer;

pub(super) use start::start;

#[cfg(test)]
mod tests;
