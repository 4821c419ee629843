//! Floor 4: durable places that we own on brokers. For now: dead letters.

pub mod kafka;

use crate::engine::{StoreFault, WriteId};

/// What a store tells the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromStore {
    /// What became of a write. Without an error the broker has confirmed it.
    Stored(WriteId, Result<(), StoreFault>),
    /// Whether the store can be written, told when it changes; with the reason and a remedy.
    Up(Result<(), String>),
}
