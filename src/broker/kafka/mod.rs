//! Reaching an Apache Kafka cluster: the settings of every client of ours, whether the brokers
//! answer, and librdkafka's own log.

mod connection;
mod log;
mod reachability;

pub use connection::{Connection, refusal, sure_tenure};
pub(crate) use log::pass_on;
pub(crate) use reachability::Reachability;
