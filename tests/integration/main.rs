//! The tests on the real thing: the hookferry binary, Apache Kafka, and receivers over HTTP.
//!
//! Rooms: `kafka` (brokers, topics, offsets), `receiver` (an HTTP server that answers by script),
//! `process` and `bridge` (the binary as a command, and running: its probes, its log, its signals),
//! `wait` (bounded waits), `scene` (what most tests begin with). All other modules are tests, by
//! theme. What needs a broker stands behind the feature `real-brokers`, which `scripts/test` sets;
//! there a missing broker is a failure.

mod cli;
mod docs;
mod house;
mod process;

#[cfg(feature = "real-brokers")]
mod bridge;
#[cfg(feature = "real-brokers")]
mod kafka;
#[cfg(feature = "real-brokers")]
mod receiver;
#[cfg(feature = "real-brokers")]
mod scene;
#[cfg(feature = "real-brokers")]
mod wait;

#[cfg(feature = "real-brokers")]
mod bad_input;
#[cfg(feature = "real-brokers")]
mod commit;
#[cfg(feature = "real-brokers")]
mod crash;
#[cfg(feature = "real-brokers")]
mod dead_letters;
#[cfg(feature = "real-brokers")]
mod delivery;
#[cfg(feature = "real-brokers")]
mod dialects;
#[cfg(feature = "real-brokers")]
mod frozen;
#[cfg(feature = "real-brokers")]
mod metrics;
#[cfg(feature = "real-brokers")]
mod outage;
#[cfg(feature = "real-brokers")]
mod rebalance;
#[cfg(feature = "real-brokers")]
mod retry;
#[cfg(feature = "real-brokers")]
mod shutdown;
