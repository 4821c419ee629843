//! Reaching an Apache Kafka cluster: the settings of every client of ours, whether the brokers
//! answer, librdkafka's own log, and what a record holds.

mod admin;
mod connection;
mod listener;
mod log;
mod own_topic;
mod reachability;
mod record;
mod remedy;

pub(crate) use admin::Admin;
pub(crate) use connection::properties;
pub use connection::{Connection, refusal, sure_tenure};
pub(crate) use listener::{Listener, ask, hear_out};
pub(crate) use log::pass_on;
pub use own_topic::OwnTopic;
pub(crate) use reachability::Reachability;
pub(crate) use record::{headers, timestamp_ms};
pub(crate) use remedy::{allow, is_missing};
