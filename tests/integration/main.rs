//! The tests on the real thing: the hookferry binary, Apache Kafka, NATS, and receivers over HTTP.
//!
//! Rooms: `kafka` (brokers, topics, offsets), `nats` (servers, streams, durables), `record` (a message
//! of either), `receiver` (an HTTP server that answers by script), `secure` (one
//! behind TLS), `client` (one over HTTP), `process` and `bridge` (the binary
//! as a command, and running: its probes, its log, its signals), `wait` (bounded waits), `scene` and
//! `nats_scene` (what most tests begin with), `stage` (what both of these are, for tests that mean the
//! same on every broker), `consumer` (one of `source`, without an engine), `nats_credentials` (an
//! operator's accounts), `rendering` (what a target would send), `verifiers` (other people's judgement of
//! signatures), `prometheus`, `expression` (what Prometheus is asked), `composition` (what Compose starts),
//! `manifests` (who judges manifests), `page` (one of the documentation), `reader` (who follows it). All
//! other modules are tests, by theme. What needs a broker stands behind the feature `real-brokers`, which
//! `scripts/test` sets; there a missing broker is a failure.

mod cli;
mod client;
mod docs;
mod house;
mod page;
mod presets;
mod process;
mod rendering;
mod secure;
mod signing;
mod targets;

#[cfg(feature = "real-brokers")]
mod bridge;
#[cfg(feature = "real-brokers")]
mod composition;
#[cfg(feature = "real-brokers")]
mod consumer;
#[cfg(feature = "real-brokers")]
mod expression;
#[cfg(feature = "real-brokers")]
mod kafka;
#[cfg(feature = "real-brokers")]
mod kafka_login;
#[cfg(feature = "real-brokers")]
mod kafka_tiers;
#[cfg(feature = "real-brokers")]
mod manifests;
#[cfg(feature = "real-brokers")]
mod nats;
#[cfg(feature = "real-brokers")]
mod nats_credentials;
#[cfg(feature = "real-brokers")]
mod nats_scene;
#[cfg(feature = "real-brokers")]
mod prometheus;
#[cfg(feature = "real-brokers")]
mod reader;
#[cfg(feature = "real-brokers")]
mod receiver;
#[cfg(feature = "real-brokers")]
mod record;
#[cfg(feature = "real-brokers")]
mod scene;
#[cfg(feature = "real-brokers")]
mod stage;
#[cfg(feature = "real-brokers")]
mod verifiers;
#[cfg(feature = "real-brokers")]
mod wait;

#[cfg(feature = "real-brokers")]
mod auth;
#[cfg(feature = "real-brokers")]
mod bad_input;
#[cfg(feature = "real-brokers")]
mod chart;
#[cfg(feature = "real-brokers")]
mod cloud_events;
#[cfg(feature = "real-brokers")]
mod commit;
#[cfg(feature = "real-brokers")]
mod compose;
#[cfg(feature = "real-brokers")]
mod core_nats;
#[cfg(feature = "real-brokers")]
mod crash;
#[cfg(feature = "real-brokers")]
mod dashboards;
#[cfg(feature = "real-brokers")]
mod dead_letters;
#[cfg(feature = "real-brokers")]
mod delivery;
#[cfg(feature = "real-brokers")]
mod dialects;
#[cfg(feature = "real-brokers")]
mod egress;
#[cfg(feature = "real-brokers")]
mod frozen;
#[cfg(feature = "real-brokers")]
mod interop;
#[cfg(feature = "real-brokers")]
mod isolation;
#[cfg(feature = "real-brokers")]
mod jetstream;
#[cfg(feature = "real-brokers")]
mod jetstream_acks;
#[cfg(feature = "real-brokers")]
mod jetstream_frozen;
#[cfg(feature = "real-brokers")]
mod jetstream_kinds;
#[cfg(feature = "real-brokers")]
mod jetstream_letters;
#[cfg(feature = "real-brokers")]
mod jetstream_tiers;
mod json_forms;
#[cfg(feature = "real-brokers")]
mod logs;
#[cfg(feature = "real-brokers")]
mod metrics;
#[cfg(feature = "real-brokers")]
mod mixed;
#[cfg(feature = "real-brokers")]
mod nats_login;
#[cfg(feature = "real-brokers")]
mod ordering;
#[cfg(feature = "real-brokers")]
mod outage;
#[cfg(feature = "real-brokers")]
mod rebalance;
#[cfg(feature = "real-brokers")]
mod recipes;
#[cfg(feature = "real-brokers")]
mod redrive;
#[cfg(feature = "real-brokers")]
mod reload;
#[cfg(feature = "real-brokers")]
mod retry;
#[cfg(feature = "real-brokers")]
mod schedules;
#[cfg(feature = "real-brokers")]
mod secrets;
#[cfg(feature = "real-brokers")]
mod shutdown;
#[cfg(feature = "real-brokers")]
mod systemd;
#[cfg(feature = "real-brokers")]
mod tiers;
#[cfg(feature = "real-brokers")]
mod walkthrough;
