//! Dead letters on Kafka.
