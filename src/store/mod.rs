//! Floor 4: durable places that we own on brokers. For now: dead letters.

pub mod kafka;
