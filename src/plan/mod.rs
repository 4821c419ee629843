//! Floor 2: text → validated [`Plan`]. All faults at once, each with its place in the file.

mod types;

pub use types::{
    Admin, DeadLetters, Egress, EventParts, HostPort, Kafka, Limits, Log, LogFormat, LogLevel, Network, Plan,
    Route, Shutdown, Source, Start, Target, TargetUrl, Tombstones, Topic, Window,
};
