//! hookferry: a webhook bridge. (The map follows.)
#![warn(missing_docs)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod json;
pub mod observe;
pub mod pipeline;
pub mod plan;
pub mod sender;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod store;
pub mod wire;
