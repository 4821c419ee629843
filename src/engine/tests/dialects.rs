//! DIALECTS.md, tables 3 to 5, row by row, by configuration alone: messages go through the real intake
//! and routing, deliveries through the real engine with a clock of the test's own. Tables 1 and 2 are
//! proved against other people's code in `tests/integration/interop.rs`, and what a retry of hours does
//! on a real broker in `tests/integration/schedules.rs`.

use serde_json::{Value, json};

use super::*;
use crate::source::Sample;

mod delivery_rules;
mod event_types;
mod filters;

const SOURCE: &str = "sources: { events: { kafka: { brokers: 'b:9092', topics: [t] } } }\n";

/// The targets that a message of the first source goes to.
fn takers(plan: &Plan, message: &Value) -> Vec<String> {
    let body = message.to_string();
    let event = Sample { body: body.as_bytes(), ..Sample::default() }.read(plan, &plan.sources[0]);
    let mut matches = Matches::default();
    Routing::new(plan).route(plan, &event, &mut matches);
    let name = |target: &TargetId| plan.targets[target.0 as usize].name.to_string();
    matches.deliveries.iter().map(|(target, ..)| name(target)).collect()
}
