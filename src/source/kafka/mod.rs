//! Apache Kafka as a source.

mod frontier;

pub use frontier::Frontier;
