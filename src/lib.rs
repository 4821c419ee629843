//! hookferry: a webhook bridge. (The map follows.)
#![warn(missing_docs)]

pub mod domain;
pub mod engine;
pub mod json;
pub mod plan;
pub mod sender;
pub mod source;
pub mod store;
pub mod wire;
