//! A Kafka source.
