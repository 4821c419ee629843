//! What can be seen of a running process: metrics, log lines, and whether it is alive and ready.
//! The pipeline tells it what happened; nothing here has an influence on deliveries.

mod echo;
mod health;
mod journal;
mod logs;
mod metrics;
mod targets;
#[cfg(test)]
pub(crate) mod testing;

pub use health::Health;
pub use journal::Journal;
pub use logs::{init, set_level};
pub use metrics::Metrics;
pub use targets::{Queue, RateLimit, TargetBoard, TargetLimits, TargetStatus};
