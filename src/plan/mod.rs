//! Floor 2: text → validated [`Plan`]. All faults at once, each with its place in the file.
//!
//! Files and environment → placed trees (`read`, `environment`) with references resolved
//! (`interpolate`) → one document (`merge`, `layers`) → for each target its own layers
//! (`target_layers`) → typed reading that collects faults (`walk`; one file for each part of the
//! configuration). What is built in, defaults and dialects, is data in the same language
//! (`presets`).

mod auth;
mod budget;
mod cgroup;
mod change;
mod concealed;
mod conditions;
mod consumers;
mod dead_letters;
mod dialect;
mod egress;
mod environment;
mod event_types;
mod fault;
mod handshake;
mod interpolate;
mod kafka;
mod lane_rules;
mod layers;
mod merge;
mod nats;
mod ordered;
mod origin;
mod own_places;
mod payload;
mod places;
mod presets;
mod process;
mod properties;
mod proxy;
mod read;
mod reference;
mod reload;
mod request;
mod retry;
mod route_tests;
mod routes;
mod schema;
mod settings;
mod sources;
mod succession;
mod target_layers;
mod targets;
mod tenants;
#[cfg(test)]
mod tests;
mod tls;
mod top;
mod tree;
mod units;
mod walk;

pub use auth::OAuth2;
pub(crate) use auth::basic;
pub use budget::Budget;
pub use change::{Change, Subject, changes, subjects};
pub use concealed::Concealed;
pub use consumers::{Consumer, Reads};
pub use dead_letters::DeadLetters;
pub use dialect::dialect;
pub use egress::{Egress, HostPort, Network, TargetUrl};
pub use event_types::{EventType, EventTypes, UnknownTypes};
pub use fault::{Fault, Faults};
pub use handshake::Handshake;
pub use interpolate::WhenUnset;
pub use kafka::{Kafka, Topic};
pub use layers::Layers;
pub use nats::{JetStream, Nats, NatsLogin, NatsMode, NatsTls};
pub(crate) use nats::{OPEN_IN_ORDER, OPEN_OF_A_TIER};
pub use origin::{Origin, Position};
pub use places::EventParts;
pub use process::{Admin, Limits, Log, LogFormat, LogLevel, Shutdown, Window};
pub use proxy::Proxy;
pub use reference::Reference;
pub use reload::Reload;
pub use route_tests::RouteTest;
pub use routes::Route;
pub use schema::Schema;
pub use settings::Setting;
pub use sources::{Broker, Source, Start, Tombstones};
pub use succession::{NeedsRestart, Succession, succeed};
pub use targets::{HttpVersion, Shown, Target};
pub use tls::TargetTls;
pub use top::Plan;
pub(crate) use units::duration;

use fault::Findings;

/// A plan, with where each of its values comes from.
#[derive(Debug)]
pub struct Examined {
    /// The plan.
    pub plan: Plan,
    /// All effective values, masked.
    pub settings: Vec<Setting>,
    /// What may not stand in any text that is made of the plan.
    pub concealed: Concealed,
}

/// Reads and judges a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(layers: &Layers) -> Result<Plan, Faults> {
    examine(layers).map(|examined| examined.plan)
}

/// As [`load`], and says where each value comes from.
///
/// # Errors
/// Everything that is wrong with it.
pub fn examine(layers: &Layers) -> Result<Examined, Faults> {
    let findings = Findings::default();
    let document = layers::assemble(layers, &findings);
    top::plan(document, findings)
}

/// Reads and judges one text as if it were the only file, under the name `name`. `layers` gives the
/// environment; its paths are not read.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(name: &str, text: &str, layers: &Layers) -> Result<Plan, Faults> {
    examine_text(name, text, layers).map(|examined| examined.plan)
}

/// As [`load_text`], and says where each value comes from.
///
/// # Errors
/// Everything that is wrong with it.
pub fn examine_text(name: &str, text: &str, layers: &Layers) -> Result<Examined, Faults> {
    let findings = Findings::default();
    let document = layers::assemble_text(layers, name, text, &findings);
    top::plan(document, findings)
}
